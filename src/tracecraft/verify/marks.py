"""A letter of an option where it stands: alone or in a run, no article, name or symbol."""

import re
import unicodedata
from dataclasses import dataclass

__all__ = ["SPECIES", "Letters", "folded", "standing"]


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


_OPEN = re.compile(
    r"(?:[\s*_$\"'`“‘「『【(\[{<:：]"
    r"|\\(?:textbf|textit|textrm|text|mathbf|mathrm|boxed|fbox|bf|rm|quad|,|;|\(|\[|!)\s*\{?)*"
)
_SHUT = re.compile(r"(?:[*_$\"'`”’」』】)\]}]|\\[)\]]|\\text\b)*")
_NEXT = re.compile(
    r"(?:\s*(?P<more>,?\s*\band\b(?!/)|,|;|&|、|,?\s*(?:和|与|及|und|et|y|e)\b)"
    r"|\s*(?P<or>,?\s*(?:\b(?:and/)?or\b|/|或|oder|\bou\b))|(?P<none>\s*))"
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
SPECIES = re.compile(
    r"\.\s?(?:coli|elegans|melanogaster|difficile|albicans|botulinum|diphtheriae)\b"
)
_ALSO = re.compile(
    r"(?:(?!\b(?:because|since|as|not|unlike|rather|than|over|while|but|whereas|wrong|incorrect"
    r"|false|options?|choices?|eliminat\w+|exclud\w+)\b)(?:[^.!?;\n]|\.(?=\d))){0,200}?"
    r"\band\s+(?:option\s+)?[(\[](?P<letter>[A-J])[)\]](?![^.\n]{0,60}\b(?:not|false|incorrect|wrong)\b)"
)
"""A second option in the same breath, each with its text: `(C) an eye and (H) a wing`."""
_MATCHED = re.compile(r"[\s$]*(?:\\(?:long)?rightarrow|\\to\b|→|->|[-–—=]>?\s*\()")
_FORMULA = re.compile(
    r"[A-Za-z\dÀ-ɏͰ-Ͽ^_=+°-]|['’](?!d[iıuü]r)[a-z]|\s*(?:[=^>+]|<(?!/))"
    r"|\s*\\(?:left|cdot|times|frac|sqrt|cap|cup|[lg]eq?\b)|\((?:\s*[-+]?\d|[a-z]\))"
)


def folded(text: str) -> str:
    """The text with full-width and styled characters as plain ones; every offset stays."""
    if text.isascii():
        return text
    return "".join(c if c < "\x80" else _plain(c) for c in text)


def _plain(char: str) -> str:
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 else char


def standing(
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
    also = None if several else _ALSO.match(rest)
    if also is not None and also.group("letter") in known:
        marks = "".join(sorted({*marks, also.group("letter")}))
    return Letters(
        marks, method, start, reach, hedged=hedged or (len(marks) > 1 and not several), rest=rest
    )


def _adjacent(text: str, at: int) -> bool:
    """Whether another letter follows in brackets; before an arrow it is an item that is matched."""
    following = re.match(r"\s*[(\[]\s*[A-J]\s*[)\]]", text[at : at + 8])
    return following is not None and not _MATCHED.match(text, at + following.end())


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
    if letters.islower() and bracketed and _part(text, end, letters):
        return None
    if not _ends(text, run.end(), end, bracketed=bracketed, sure=sure, letter=letters):
        return None
    return letters.upper(), begin, end, bracketed


def _part(text: str, end: int, letter: str) -> bool:
    """Whether `(a)` begins a part of the answer, as a `(b)` behind it shows."""
    behind = text[end : end + 400]
    word = re.match(r"\s+([^\W_]+|\S)", behind)
    if word is None or word.group(1) in _GOES_ON:
        return False
    return re.search(rf"(?<![^\W_]){chr(ord(letter) + 1)}\)", behind) is not None


def _ends(
    text: str, letter_end: int, end: int, *, bracketed: bool, sure: bool, letter: str
) -> bool:
    """Whether a letter stands alone, and is no article, name or symbol of a formula."""
    behind = text[letter_end : letter_end + 40]
    if _FORMULA.match(behind):
        return False
    if SPECIES.match(behind):
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
