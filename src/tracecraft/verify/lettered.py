"""Answers that are an option's letter, or have one before their value."""

import re
from collections.abc import Callable

from tracecraft.verify.ruling import Ruling, no, unsure, yes
from tracecraft.verify.words import bare, choice, options, without_letter

__all__ = ["lettered"]

_LEADING = re.compile(
    r"(?:option|choice|answer)?\s*(?:\(([A-Ja-j])\)|(?![AI] [a-z])([A-J])(?:[\s.,:)]|$))"
)
_RUN = re.compile(r"[A-J]{2,5}")
_LETTER = re.compile(r"\(([A-Ja-j])\)")


def lettered(a: str, b: str, decided: Callable[[str, str], Ruling]) -> Ruling | None:
    """A reference that is an option's letter; an answer that puts a letter before its value."""
    want = choice(a)
    letter, rest = without_letter(b)
    if want is not None:
        given = choice(b) or (letter and letter.upper())
        if given is None and (len(options(b) or ()) > 1 or _RUN.fullmatch(bare(b))):
            return no("several letters")
        if given is None:
            words = bare(b)
            lead = _LEADING.match(words)
            given = lead.group(lead.lastindex or 1).upper() if lead else None
        if given is not None and len(set(_LETTER.findall(b))) > 1:
            return unsure("several letters")
        if given is None and len(bare(b)) == 1:
            return yes("letter", "case") if bare(b).upper() == bare(a) else None
        if given is None:
            return unsure("a letter against a value")
        if given == want:
            return yes("letter")
        return no("another letter")
    if letter is not None and without_letter(a)[0] is None and len(a) < 200:
        ruling = decided(a, rest)
        if letter.islower() and not ruling.holds and letter in a:
            return None  # a factor, perhaps
        return ruling.flagged("letter") if ruling.holds else ruling
    own, value = without_letter(a)
    if own is not None and value:
        given = choice(b)
        if given is not None:
            return yes("letter", "letter") if given == own.upper() else no("another letter")
        if letter is None:
            ruling = decided(value, b)
            return ruling.flagged("letter") if ruling.holds else ruling
    return None
