"""The letters of options that a response chooses: what is announced last, never a stray capital."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tracecraft.verify.several import extended, selections

__all__ = ["Letters", "chosen_letters", "folded"]


@dataclass(frozen=True, slots=True)
class Letters:
    """A choice in a response."""

    letters: str
    """Sorted, each once; several where several are chosen."""
    method: str
    """`announced`, `box`, `tag`, `line`, `concluded`."""
    start: int
    end: int
    hedged: bool = False
    """Alternatives are named, so nothing is chosen."""
    rest: str = ""
    """What follows on the same line: often the option's text."""


_IS = (
    r"(?:is|are|was|were|be|would be|will be|should be|must be|has to be|seems to be"
    r"|appears to be|is likely|=|:|：|->|→|-|–|—)"
)
_FILLER = (
    r"(?:[\s*_:：,]|\b(?:therefore|thus|then|hence|likely|most|probably|clearly|definitely|indeed"
    r"|simply|either|both|all|only|the|be|is|are|following|final|correct|best|right|answers?"
    r"|options?|choices?|letters?|statements?|alternatives?|given|by|part)\b)*"
)
_NAMED = r"(?:option|choice|alternative|statement|one|response|letter|match|selection|pick)"
_PRAISED = (
    r"(?:correct|right|best|final|true|proper|suitable|appropriate|chosen|closest|only|matching"
    r"|accurate)"
)
_CHINESE = (
    r"(?:答案|正确选项|正确的选项|最佳选项|故选|应选|应该选|所以选|选择|因此选|我选|选)"
    r"(?:应该|应当|应|就)?(?:是|为)?"
)
_ANSWER = (
    r"antwort|lösung|réponse|reponse|respuesta|opción\s+correcta|risposta|resposta|antwoord|svar"
    r"|svaret|vastaus|cevap|odpowiedź|odpověď|jawaban|đáp\s+án|trả\s+lời|ответ|відповідь|вариант"
    r"|απάντηση|option\s+correcte|alternativa\s+correta"
)
_COPULA = (
    r"finale?|correcta?|correcte|corretta|correta|richtige|lautet|is|est|es|ist|la|die|der|den|är"
    r"|adalah|jest|[èéà]|это|là|είναι"
)
_CUE = re.compile(
    rf"""
    (?:\banswers?\b(?:\s*\(s\))?(?:\s+(?:choice|option|letter))?
        (?:\s+(?:to|for|of|in|among|from|that|here|choice)\b[^.\n:]{{0,80}}?)?["'\s*_]*\s{_IS})
    | (?:\banswers?\b(?:\s*\(s\))?(?:\s+(?:choice|option|letter))?["'\s*_]*{_IS})
    | (?:\b{_PRAISED}\s+(?:answer\s+)?{_NAMED}s?\b(?:\s*\(s\))?
        (?:\s+(?:to|for|of|in|among|from|that|here)\b[^.\n:]{{0,60}}?)?["'\s*_]*\s*{_IS})
    | (?:\b(?:choose|chose|pick|picked|select|selected|selecting|opt\s+for|go(?:ing)?\s+with
        |settle\s+on)\b)
    | (?:\b(?:corresponds?|corresponding|matches|closest|equivalent)\s+(?:best\s+)?(?:to|with)?
        \s+(?={_NAMED}s?\b))
    | (?:\b(?:leads|leaves|brings|points)\s+(?:us\s+)?(?:to|with)\s+(?=(?:answer|{_NAMED})s?\b))
    | (?:\bans\b\.?\s*{_IS})
    | (?:\bit\s+(?:must|has\s+to|should)\s+(?:therefore\s+)?be\b)
    | (?:{_CHINESE})
    | (?:\b(?:{_ANSWER})(?:\s+(?:{_COPULA})\b)*\s*[:：]?)
    | (?:答え|解答|正解|정답|답|الإجابة(?:\s+الصحيحة)?(?:\s+هي)?|उत्तर|जवाब)
        \s*(?:は|은|는|है)?\s*[:：]?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_TAG = re.compile(
    r"<(?:answer|choice|option|letter|final_answer)>|[\"'](?:final_|correct_)?"
    r"(?:answer|choice|option|letter|prediction)(?:_letter|_choice)?[\"']\s*[:=]"
    r"|\b(?:final|correct)_answer\s*[:=]",
    re.IGNORECASE,
)
_SAID = re.compile(
    r"(?:\b(?:options?|choices?|answers?|statements?|letters?)\s*|选项\s*|^\W*)"
    r"(?P<open>[(\[*$]*)(?P<letter>[A-J])(?P<shut>[)\]*$.]*)(?:\s*[:,(][^.\n]{0,120}?[,)]?)?\s*"
    r"(?:(?:is|are|seems|must\s+be|would\s+be|appears|as)\b\s*(?:to\s+be\s+|thus\s+|therefore\s+"
    r"|indeed\s+|clearly\s+|likely\s+|the\s+|only\s+|one\s+|most\s+|best\s+)*"
    r"(?:correct|right|true|answer|best|accurate|appropriate)\b|(?:是)?正确|ist\s+richtig"
    r"|est\s+(?:la\s+)?(?:bonne|correcte)|es\s+(?:la\s+)?correcta)",
    re.IGNORECASE | re.MULTILINE,
)
_NAMED_RIGHT = re.compile(
    r"(?<![\w'(\[])(?P<letter>[A-J])\s+(?:is|must be)\s+"
    r"(?:therefore |thus |clearly |indeed )?the\s+(?:only\s+)?"
    r"(?:correct|right|best|proper|appropriate|true)?\s*(?:answer|option|choice)\b"
    r"|\b[Oo]nly\s+(?:(?:option|choice|statement)\s+)?\(?(?P<only>[A-J])\)?\s+"
    r"(?:satisf|fits|holds|works|matches|meets|is\s+(?:correct|true|right|a\s+possible)\b)"
)
_DENIED = re.compile(
    r"[^.\n]{0,40}?\b(?:is|are)\s+(?:\w+ly\s+|also\s+)?(?:not|incorrect|false|wrong|n't)\b",
    re.IGNORECASE,
)
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
    r"|\(\s*(?:[Oo]ption|[Cc]hoice)\s+(?P<told>[A-J])\s*\)\W*$|[.}]\$?\s*(?P<last>[(\[][A-J][)\]])\W*$"
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{?")
_OPEN = re.compile(
    r"(?:[\s*_$\"'`“‘「『【(\[{<:：]"
    r"|\\(?:textbf|textit|textrm|text|mathbf|mathrm|boxed|fbox|bf|rm|quad|,|;|\(|\[|!)\s*\{?)*"
)
_SHUT = re.compile(r"(?:[*_$\"'`”’」』】)\]}]|\\[)\]]|\\text\b)*")
_NEXT = re.compile(
    r"(?:\s*(?P<more>,?\s*\band\b|,|;|&|、|,?\s*(?:和|与|及|und|et|y|e)\b)"
    r"|\s*(?P<or>,?\s*(?:\bor\b|/|或|oder|\bou\b))|(?P<none>\s*))"
    r"\s*(?:\boptions?\b|\bchoices?\b|\bstatements?\b)?",
    re.IGNORECASE,
)
_GOES_ON = frozenset(
    {"because", "since", "as", "is", "are", "was", "with", "which", "and", "for", "due", "based",
     "given", "by", "from", "where", "while", "when", "who", "that", "would", "only", "also",
     "in", "on", "if", "so", "although", "though", "according", "considering", "being", "has",
     "have", "should", "could", "can", "must", "will", "does", "not", "rather", "instead", "or",
     "but", "therefore", "thus", "hence"}
)  # fmt: skip
"""Lower-case words that may follow a letter; before any other, `A` is an article and `B` a name."""
_SPECIES = re.compile(
    r"\.\s?(?:coli|elegans|melanogaster|difficile|albicans|botulinum|diphtheriae)\b"
)
_BARE = re.compile(
    r"[\s>*_#$\"'`\-]*(?:(?:final\s+)?(?:options?|choices?|answers?)\s*)?[(\[*_$\\{]*"
    r"(?:\\text(?:bf)?\{|\\boxed\{)*(?P<letters>[A-Ja-j](?:\s*(?:,|and|&|、)?\s*[A-J])*)"
    r"(?P<shut>[)\]}*_$.:：\"'`,]*)(?P<text>(?:\s.*)?)$"
)
_FORMULA = re.compile(
    r"[A-Za-z\dÀ-ɏͰ-Ͽ^_=+°-]|['’][a-z]|\s*(?:[=^>+]|<(?!/))"
    r"|\s*\\(?:left|cdot|times|frac|sqrt|cap|cup|[lg]eq?\b)"
)


def folded(text: str) -> str:
    """The text with full-width and styled characters as plain ones; every offset stays."""
    if text.isascii():
        return text
    return "".join(c if c < "\x80" else _plain(c) for c in text)


def _plain(char: str) -> str:
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 else char


def chosen_letters(
    text: str, known: str = "ABCDEFGHIJ", *, several: bool = False
) -> Letters | None:
    """What a response chooses, by its last announcement; None where it names no letter.

    Args:
        text: a response without its thought.
        known: the letters that there are.
        several: whether more than one may be right.
    """
    text = folded(text)
    found = [*_announced(text, known, several=several), *_boxed(text, known, several=several)]
    if several:
        sets = [Letters(m, "announced", a, b) for m, a, b in selections(text, known)]
        found = [_whole(text, f, known) for f in found] + sets
    else:
        found += _judged(text, known)
    if not found:
        found = [
            *_lines(text, known, several=several),
            *_concluded(text, known, several=several),
            *_ended(text, known, several=several),
        ]
        if several:
            found = [_whole(text, f, known) for f in found]
    if not found:
        return None
    last = max(found, key=lambda f: (f.end, -f.start))
    denied = _NONE.search(text, last.end)
    return None if denied and re.search(r"[.!?\n]", text[last.end : denied.start()]) else last


def _whole(text: str, read: Letters, known: str) -> Letters:
    """A choice with those that follow it, where several may be right."""
    if read.hedged or text[read.end - 1 : read.end] not in {")", "]"}:
        return read
    more, end = extended(text, read.end, known)
    marks = "".join(sorted({*read.letters, *more}))
    return replace(read, letters=marks, end=end) if more else read


def _announced(text: str, known: str, *, several: bool) -> Iterator[Letters]:
    for pattern, method in ((_CUE, "announced"), (_TAG, "tag")):
        for cue in pattern.finditer(text):
            at = cue.end()
            filler = re.compile(_FILLER, re.IGNORECASE).match(text, at)
            at = filler.end() if filler else at
            symbols = (":", "：", "-", "–", "—", "->", "→", "=")
            sure = not cue.group(0).rstrip().endswith(symbols)
            sure = sure and ":" not in text[cue.end() : at]
            read = _at(text, at, known, method, several=several, sure=sure)
            if read is not None:
                yield read


def _boxed(text: str, known: str, *, several: bool) -> Iterator[Letters]:
    for box in _BOX.finditer(text):
        filler = re.compile(_FILLER, re.IGNORECASE).match(text, box.end())
        at = filler.end() if filler else box.end()
        read = _at(text, at, known, "box", several=several, sure=True, lower=True)
        if read is not None:
            yield read


def _judged(text: str, known: str) -> Iterator[Letters]:
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
            r"\s+(?!is|are|must|would|seems|appears|as)[a-z]", text[said.end("letter") :]
        ):
            continue
        yield Letters(letter.upper(), "announced", said.start("letter"), said.end("letter"))


def _concluded(text: str, known: str, *, several: bool) -> Iterator[Letters]:
    for cue in _CONCLUDED.finditer(text, max(len(text) - 600, 0)):
        at = cue.end()
        named = re.compile(r"[\s(*]*(?:option|choice)s?\b", re.IGNORECASE).match(text, at)
        at = named.end() if named else at
        read = _at(text, at, known, "concluded", several=several, sure=False)
        if read is not None and _DENIED.match(read.rest):
            continue
        if read is not None and (named or not re.match(r"\s*[A-Za-z=<>+]", read.rest)):
            yield read


def _ended(text: str, known: str, *, several: bool) -> Iterator[Letters]:
    """A bracketed letter that the last paragraph says something is, or ends with."""
    begin = max(text.rstrip().rfind("\n"), len(text) - 600, 0)
    for match in _ENDS_WITH.finditer(text, begin):
        start = match.start(match.lastgroup or 0)
        read = _at(text, start, known, "concluded", several=several, sure=False)
        if read is not None and not re.match(r"\s*(?:not|in|false|wrong)", read.rest):
            yield read


def _lines(text: str, known: str, *, several: bool) -> Iterator[Letters]:
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
    if _SPECIES.match(body, bare.end("letters")) or re.match(
        r"[ \t]*(?:[=>+^_/\-]|<(?!/))", body[bare.end("letters") :]
    ):
        return
    marks = sorted({c for c in re.sub(r"and", "", letters).upper() if c.isalpha()})
    if not set(marks) <= set(known) or (len(marks) > 1 and not several and "," not in letters):
        return
    yield Letters("".join(marks), "line", bare.start("letters"), bare.end("letters"),
                  hedged=len(marks) > 1 and not several, rest=rest)  # fmt: skip


def _at(
    text: str, at: int, known: str, method: str, *, several: bool, sure: bool, lower: bool = False
) -> Letters | None:
    """The letters that stand at a place; None where there is a word, a formula or nothing."""
    first = _one(text, at, known, several=several, sure=sure, lower=lower)
    if first is None:
        return None
    letters, start, end, bracketed = first
    hedged = False
    reach = end
    while len(letters) <= len(known):
        step = _NEXT.match(text, reach)
        if step is None or (step.group("none") is not None and not _adjacent(text, reach)):
            break
        after = _one(text, step.end(), known, several=several, sure=True, lower=False)
        if after is None or (
            step.group("more")
            and not after[3]
            and bracketed
            and text[step.end() : after[1]].strip() not in {'"', "'"}
        ):
            break
        if "\n" in text[reach : after[1]]:
            break
        hedged = hedged or step.group("or") is not None
        letters, reach = letters + after[0], after[2]
    marks = "".join(sorted(set(letters)))
    rest = text[reach : reach + 400].split("\n", 1)[0]
    return Letters(
        marks, method, start, reach, hedged=hedged or (len(marks) > 1 and not several), rest=rest
    )


def _adjacent(text: str, at: int) -> bool:
    return re.match(r"\s*[(\[]\s*[A-J]\s*[)\]]", text[at : at + 8]) is not None


def _one(
    text: str, at: int, known: str, *, several: bool, sure: bool, lower: bool
) -> tuple[str, int, int, bool] | None:
    """One letter, or a run of them such as `ABD`; where it stands, and whether in brackets."""
    opening = _OPEN.match(text, at)
    begin = opening.end() if opening else at
    opened = text[at:begin]
    if opened.count("\n") > 2:
        return None
    run = re.compile(r"[A-Za-z]+").match(text, begin)
    if run is None:
        return None
    letters = run.group(0)
    shut = _SHUT.match(text, run.end())
    end = shut.end() if shut else run.end()
    bracketed = bool(set(opened) & set("([{") or "\\" in opened) and end > run.end()
    if len(letters) > 1 and not (
        several
        and letters.isupper()
        and list(letters) == sorted(set(letters))
        and len(letters) <= 6
    ):
        return None
    if letters.islower() and not (bracketed or lower):
        line = text[begin : text.find("\n", begin) if "\n" in text[begin:] else len(text)]
        if line.strip(" .*)\"'`") != letters or (
            "\n" not in text[at - 60 if at > 60 else 0 : begin] and at > 60
        ):
            return None
    if not set(letters.upper()) <= set(known):
        return None
    if not _ends(text, run.end(), end, bracketed=bracketed, sure=sure, letter=letters):
        return None
    return letters.upper(), begin, end, bracketed


def _ends(
    text: str, letter_end: int, end: int, *, bracketed: bool, sure: bool, letter: str
) -> bool:
    """Whether a letter stands alone, and is no article, name or symbol of a formula."""
    behind = text[letter_end : letter_end + 40]
    if _FORMULA.match(behind):
        return False
    if _SPECIES.match(behind):
        return False
    if bracketed or end > letter_end:
        return True
    word = re.match(r"\s+([A-Za-z]+)", behind)
    if word is None or "\n" in behind[: word.start(1)]:
        return True
    follows = word.group(1)
    if follows in _GOES_ON:
        return True
    return sure and letter == "A" and not follows.islower()
