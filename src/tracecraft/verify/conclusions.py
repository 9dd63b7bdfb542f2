"""Options that a response judges, concludes with, or ends in, where none is announced."""

import re
from collections.abc import Iterator

from tracecraft.verify.marks import SPECIES, Letters, standing

__all__ = ["called_wrong", "concluded", "denied", "ended", "enumerates", "judged", "lines"]

_SAID = re.compile(
    r"(?:\b(?:options?|choices?|answers?|statements?|letters?|opción|opção|alternativa|antwort"
    r"|réponse|respuesta|risposta|resposta|вариант)\s*|(?:选项|विकल्प)\s*|^\W*)"
    r"(?P<open>[(\[*$]*)(?P<letter>[A-J])(?P<shut>[)\]*$.]*)(?:\s*[:,(](?:[^.\n]|\.(?=\d)){0,120}?[,)]?)?\s*"
    r"(?:(?:is|are|seems|must\s+be|would\s+be|appears|as)\b\s*(?:to\s+be\s+|thus\s+|therefore\s+"
    r"|indeed\s+|clearly\s+|likely\s+|the\s+|only\s+|one\s+|most\s+|best\s+)*"
    r"(?:correct|right|true|answer|best|accurate|appropriate)\b|(?:是)?正确|ist\s+richtig"
    r"|ist\s+korrekt|est\s+(?:la\s+)?(?:bonne|correcte)|es\s+(?:la\s+)?correcta"
    r"|[éè]\s+(?:a\s+|la\s+)?corr?e(?:c?ta|tta)|सही)",
    re.IGNORECASE | re.MULTILINE,
)
_NAMED_RIGHT = re.compile(
    r"(?<![\w'(\[])(?P<it>[A-J])\s+it\s+is\b"
    r"|(?<![\w'(\[])(?P<letter>[A-J])\s+(?:is|must be)\s+"
    r"(?:therefore |thus |clearly |indeed )?the\s+(?:only\s+)?"
    r"(?:correct|right|best|proper|appropriate|true)?\s*(?:answer|option|choice)\b"
    r"|\b[Oo]nly\s+(?:(?:option|choice|statement)\s+)?\(?(?P<only>[A-J])\)?\s+"
    r"(?:satisf|fits|holds|works|matches|meets"
    r"|(?i:is\s+(?:correct|true|right|valid|possible|a\s+possible))\b)"
    r"|\b[Oo]nly\s+(?:(?:(?:option|choice|statement)\s+)[(\[]?|[(\[])(?P<alone>[A-J])"
    r"(?:[)\]]\s+|\s+)(?=[a-z]{2})"
)
_DENIED = re.compile(
    r"[^.\n]{0,40}?\b(?:is|are)\s+(?:\w+ly\s+|also\s+)?(?:not|incorrect|false|wrong|n't)\b",
    re.IGNORECASE,
)
_REFUSED = re.compile(
    r"\W{0,4}\?\s*(?:no|wrong|not)\b|(?:[^.;\n]|\.(?=\S)){0,160}?\b(?:but|although|though|however)\b[^.;\n]{0,60}?"
    r"(?:\b(?:is|are|was)\s+not|n't|'s\s+not)\s+(?:(?:the|a|an|really|actually|quite)\s+)*"
    r"(?:correct|right|true)\b",
    re.IGNORECASE,
)
"""An option that is named as the nearest and called wrong in the same breath."""
_NONE = re.compile(
    r"\bnone\s+of\s+(?:the|these)\b(?:\s+(?:above|given|options?|statements?|choices?|answers?))*"
    r"\s+(?:is|are)\s+(?:correct|true|right|valid)\b|\bnone\s+of\s+the\s+above\W*$",
    re.IGNORECASE,
)
_CONCLUDED = re.compile(
    r"(?:^|[.!;:,\n]\s*|\b)(?:so|thus|therefore|hence|thereby|conclusion|overall|∴|=>|⇒|→|因此"
    r"|所以|故)[,:\s]*(?:(?:it|this|that)(?:'s|\s+is|\s+must\s+be|\s+would\s+be)\s+|only\s+"
    r"|we\s+(?:have|get)\s+)?(?=[(\[*$\\]*(?:option|choice)?s?\s*[(\[*$]*[A-J]\b)",
    re.IGNORECASE,
)
_ENDS_WITH = re.compile(
    r"\b(?:is|are|option|choice)\b(?:\s*\(are\)|\(s\))*[\s:*$]*(?P<named>[(\[][A-J][)\]])"
    r"|\(\s*(?:[Oo]ption|[Cc]hoice)\s+(?P<told>[A-J])\s*\)\W*$|(?:[.}%]|\d[a-z]{0,3})\$?\s*(?P<last>[(\[][A-J][)\]])\W*$"
)
_IS_OPTION = re.compile(
    r"\bis\s+(?:therefore\s+|thus\s+)?(?=(?:option|choice)\s*[(\[*$]*[A-J]\b)", re.IGNORECASE
)
_IT_IS = re.compile(r"\b[Ii]t(?:'s|’s|\s+is)\s+(?=[(\[*]*[A-J][)\]*]*\s*(?:[.!,]|$))")
_IN_BRACKETS = re.compile(r"\(\s*(?:option|choice)\s+([A-J])\s*\)", re.IGNORECASE)
_IS_BELOW = re.compile(r"\b(?:is|are)\s*:[ \t*]*\n\s*(?=[(\[]?[A-J][)\].:])")
_BEGINS = re.compile(r"^[ \t*]*[(\[]?([A-J])(?:[)\].:]|\*\*)", re.MULTILINE)
_BARE = re.compile(
    r"[\s>*_#$\"'`\-]*(?:(?i:(?:final\s+)?(?:options?|choices?|answers?))\s*)?[(\[*_$\\{]*"
    r"(?:\\text(?:bf)?\{|\\boxed\{)*(?P<letters>[A-Ja-j](?:\s*(?:,|and|&|、)?\s*[A-J])*)"
    r"(?P<shut>[)\]}*_$.:：\"'`,]*)(?P<text>(?:\s.*)?)$"
)


def called_wrong(text: str, start: int, end: int) -> bool:
    """Whether the sentence around an option that it quotes denies it."""
    before = re.split(r"[.!?;\n]\s", text[max(0, start - 60) : start])[-1]
    if re.search(r"\b(?:not|neither|nor|than|except|unlike)\b|n't\b", before):
        return True
    return bool(_DENIED.match(text, end) or _REFUSED.match(text, end))


def denied(text: str, read: Letters) -> bool:
    """Whether what follows a choice takes it back."""
    if _REFUSED.match(text, read.end):
        return True
    none = _NONE.search(text, read.end)
    return none is not None and re.search(r"[.!?\n]", text[read.end : none.start()]) is not None


def judged(text: str, known: str) -> Iterator[Letters]:
    for match in _NAMED_RIGHT.finditer(text):
        name = match.lastgroup or ""
        before = re.split(r"[.!?;\n]", text[max(0, match.start() - 80) : match.start()])[-1]
        denied = re.search(r"\b(?:none|neither|whether|if|not)\b|n't\b", before)
        if match.group(name) in known and not denied:
            yield Letters(match.group(name), "announced", match.start(name), match.end(name))
    for said in _SAID.finditer(text):
        letter = said.group("letter")
        bracketed = bool(said.group("open") and said.group("shut"))
        if not letter.isupper() and not bracketed:
            continue
        if letter.upper() not in known:
            continue
        before = re.split(r"[.!?;\n]", text[max(0, said.start() - 80) : said.start()])[-1]
        if re.search(r"\b(?:none|neither|whether|if|not)\b|n't\b", before + said.group(0)):
            continue
        if not bracketed and re.match(
            r"\s+(?!is|are|must|would|seems|appears|as|est|es|ist)[a-z]", text[said.end("letter") :]
        ):
            continue
        yield Letters(letter.upper(), "announced", said.start("letter"), said.end("letter"))


def concluded(text: str, known: str, *, several: bool) -> Iterator[Letters]:
    for cue in _CONCLUDED.finditer(text, max(len(text) - 600, 0)):
        at = cue.end()
        named = re.compile(r"[\s(*]*(?:option|choice)s?\b", re.IGNORECASE).match(text, at)
        at = named.end() if named else at
        read = standing(text, at, known, "concluded", several=several, sure=False)
        if read is not None and _DENIED.match(read.rest):
            continue
        if read is not None and (named or not re.match(r"\s*[A-Za-z=<>+]", read.rest)):
            yield read


def ended(text: str, known: str, *, several: bool) -> Iterator[Letters]:
    """A bracketed letter that the last paragraph says something is, or ends with."""
    begin = max(text.rstrip().rfind("\n"), len(text) - 600, 0)
    for match in _ENDS_WITH.finditer(text, begin):
        if (
            match.lastgroup == "told"
            and len({*_IN_BRACKETS.findall(text, max(len(text) - 600, 0))}) > 1
        ):
            continue
        start = match.start(match.lastgroup or 0)
        read = standing(text, start, known, "concluded", several=several, sure=False)
        if read is None or _DENIED.match(read.rest):
            continue
        if not re.match(r"\s*(?:not|in|false|wrong)", read.rest):
            yield read
    calls = [m.end() for m in _IS_OPTION.finditer(text)]
    reads = [standing(text, _word_end(text, at), known, "concluded", several=several, sure=False)
             for at in calls]  # fmt: skip
    called = [r for r in reads if r is not None and not _DENIED.match(r.rest)]
    if len({r.letters for r in called}) == 1:
        yield called[-1]
    for match in _IT_IS.finditer(text, begin):
        read = standing(text, match.end(), known, "concluded", several=several, sure=False)
        if read is not None:
            yield read
    if len(set(_BEGINS.findall(text))) == 1:
        for match in _IS_BELOW.finditer(text):
            read = standing(text, match.end(), known, "concluded", several=several, sure=False)
            if read is not None:
                yield read


def lines(text: str, known: str, *, several: bool) -> Iterator[Letters]:
    """The last line, where it is a letter or begins with one as an option does."""
    body = text.rstrip()
    start = body.rfind("\n") + 1
    bare = _BARE.match(body, start)
    if bare is None:
        return
    letters, rest = bare.group("letters"), bare.group("text").strip()
    alone = not rest
    marked = bool(re.match(r"[)\].:：]|\*\*", bare.group("shut")))
    only_line = not body[:start].strip()
    if not alone and (
        not marked
        or (
            not only_line
            and not text[start:].lstrip().startswith(("*", "(", "["))
            and len(rest) > 200
        )
    ):
        return
    if letters.islower() and not (alone and (marked or only_line)):
        return
    if rest and enumerates(body[:start], letters[0].upper()):
        return
    if SPECIES.match(body, bare.end("letters")) or re.match(
        r"[ \t]*(?:[=>+^/\-]|_(?!_)|<(?!/))", body[bare.end("letters") :]
    ):
        return
    marks = sorted({c for c in re.sub(r"and", "", letters).upper() if c.isalpha()})
    if not set(marks) <= set(known) or (len(marks) > 1 and not several and "," not in letters):
        return
    end = bare.end("shut") if rest else bare.end("letters")
    yield Letters("".join(marks), "line", bare.start("letters"), end,
                  hedged=len(marks) > 1 and not several, rest=rest)  # fmt: skip


def enumerates(before: str, letter: str) -> bool:
    """Whether a line that begins with an option only goes on with those of the lines before."""
    begun = _BEGINS.findall(before)
    if not begun or begun[-1] >= letter:
        return False
    above = before.rstrip().rsplit("\n", 1)[-1]
    return letter not in begun or _BEGINS.match(above) is not None


def _word_end(text: str, at: int) -> int:
    """The place behind the word at a place."""
    word = re.compile(r"\w+\s*").match(text, at)
    return word.end() if word else at
