"""The letters of options that a response chooses: what is announced last, never a stray capital."""

import re
from collections.abc import Iterator
from dataclasses import replace

from tracecraft.verify.conclusions import concluded, denied, ended, judged, lines
from tracecraft.verify.marks import Letters, folded, standing
from tracecraft.verify.several import extended, selections, verdicts

__all__ = ["Letters", "chosen_letters", "folded"]

_IS = (
    r"(?:is|are|was|were|be|would be|will be|should be|must be|has to be|seems to be"
    r"|appears to be|is likely|=|:|：|->|→|-|–|—)"
)
_FILLER = (
    r"(?:[\s*_:：,]|\.{3}|…|\((?:are|s)\)|\b(?:therefore|thus|then|hence|likely|most|probably|clearly|definitely|indeed"
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
    r"antwort|lösung|réponse|reponse|respuesta|opción\s+correcta|opção\s+correta|risposta|resposta|antwoord|svar"
    r"|svaret|vastaus|cevap|odpowiedź|odpověď|jawaban|đáp\s+án|trả\s+lời|ответ|відповідь|вариант"
    r"|απάντηση|option\s+correcte|alternativa\s+correta"
)
_COPULA = (
    r"finale?|correcta?|correcte|corretta|correta|richtige|lautet|is|est|es|ist|la|die|der|den|är"
    r"|adalah|jest|[aèéà]|это|là|είναι|to|yang|benar|đúng|donc|alors|also|somit|portanto|quindi"
    r"|opción|opção|option|alternativa|letra|lettre|lettera|buchstabe|variante"
)
_CUE = re.compile(
    rf"""
    (?:\banswers?\b(?:\s*\(s\))?(?:\s+(?:choice|option|letter))?
        (?:\s+(?:to|for|of|in|among|from|that|here|choice)\b[^.\n:]{{0,80}}?)?["'\s*_]*\s{_IS})
    | (?:\banswers?\b(?:\s*\(s\))?(?:\s+(?:choice|option|letter))?["'\s*_]*{_IS})
    | (?:\b{_PRAISED}\s+(?:answer\s+)?{_NAMED}s?\b(?:\s*\(s\))?
        (?:\s+(?:to|for|of|in|about|regarding|among|from|that|here)\b[^.\n:]{{0,80}}?)?["'\s*_]*\s*{_IS})
    | (?:\b(?:only|one)\s+(?:\w+\s+){{0,2}}{_NAMED}\s+(?:is|must\s+be)\b)
    | (?:\b(?:choose|chose|pick|picked|select|selected|selecting|opt\s+for|go(?:ing)?\s+with
        |settle\s+on)\b)
    | (?:\b(?:corresponds?|corresponding|matches|closest|equivalent)\s+(?:best\s+)?(?:to|with)?
        \s+(?={_NAMED}s?\b))
    | (?:\b(?:leads|leaves|brings|points)\s+(?:us\s+)?(?:to|with)\s+(?=(?:answer|{_NAMED})s?\b))
    | (?:\bans\b\.?\s*{_IS})
    | (?:\bit\s+(?:must|has\s+to|should)\s+(?:therefore\s+)?be\b)
    | (?:{_CHINESE})
    | (?:\b(?:{_ANSWER})(?:\s+(?:l['’])?(?:{_COPULA})\b)*\s*(?:[:：]|—|–)?)
    | (?:\b(?:ist|est|es)\s+(?=[(\[]?[A-J][)\]]?\s+(?:richtig|korrekt|correcte?|correcta)\b))
    | (?:\bmy\s+(?:final\s+)?(?:guess|choice|pick|selection|vote|conclusion)\s*{_IS})
    | (?:\blean(?:ing)?\s+to(?:wards?)?\b)
    | (?:答え|解答|正解|정답|답|(?:الإجابة|الجواب)(?:\s+الصحيحة?)?(?:\s+(?:هي|هو))?|उत्तर|जवाब|विकल्प)
        \s*(?:は|은|는|है)?\s*[:：]?
    """,
    re.IGNORECASE | re.VERBOSE,
)
_MORE_LINES = re.compile(
    r"[^\n]*\n\s*[\\\[ *]*(?:text\{)?[(\[]?[A-J](?:[)\].:]|\*\*)", re.IGNORECASE
)
"""Another option on the line below."""
_TAG = re.compile(
    r"<(?:answer|choice|option|letter|final_answer)>|[\"'](?:final_|correct_)?"
    r"(?:answer|choice|option|letter|prediction)(?:_letter|_choice)?[\"']\s*[:=]"
    r"|\b(?:final|correct)_answer\s*[:=]",
    re.IGNORECASE,
)
_BOX = re.compile(r"\\(?:boxed|fbox)\s*\{?")


def chosen_letters(
    text: str, known: str = "ABCDEFGHIJ", *, several: bool = False, every: str | None = None
) -> Letters | None:
    """What a response chooses, by its last announcement; None where it names no letter.

    Args:
        text: a response without its thought.
        known: the letters that there are.
        several: whether more than one may be right.
        every: the letters that `all of them` means; None for `known`.
    """
    text = folded(text)
    found = [*_announced(text, known, several=several), *_boxed(text, known, several=several)]
    if several:
        sets = [
            Letters(m, "announced", a, b) for m, a, b in selections(text, known, every or known)
        ]
        found = [_whole(text, f, known) for f in found] + sets
    else:
        found += judged(text, known)
        found += [Letters(m, "announced", a, b) for m, a, b in verdicts(text, known) if len(m) == 1]
    found = [f for f in found if not denied(text, f)]
    if not found:
        found = [
            *lines(text, known, several=several),
            *concluded(text, known, several=several),
            *ended(text, known, several=several),
        ]
        if several:
            found = [_whole(text, f, known) for f in found]
    found = [f for f in found if not denied(text, f)]
    return max(found, key=lambda f: (f.end, -f.start)) if found else None


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
            tag = method == "tag"
            read = standing(text, at, known, method, several=several, sure=sure, lower=tag)
            if read is None:
                continue
            plural = not several and re.search(r"s\b[^\n]*\bare\b", cue.group(0))
            if plural and _MORE_LINES.match(text, read.end):
                read = replace(read, hedged=True)
            yield read


def _boxed(text: str, known: str, *, several: bool) -> Iterator[Letters]:
    for box in _BOX.finditer(text):
        filler = re.compile(_FILLER, re.IGNORECASE).match(text, box.end())
        at = filler.end() if filler else box.end()
        read = standing(text, at, known, "box", several=several, sure=True, lower=True)
        if read is not None:
            yield read
