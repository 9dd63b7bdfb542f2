"""Two final answers, one ruling: the quick readings in turn, then the parser."""

import re
from fractions import Fraction
from functools import lru_cache

from tracecraft.verify.compare import compared
from tracecraft.verify.evaluate import exact
from tracecraft.verify.grammar import Unparsed, parsed
from tracecraft.verify.guards import refused
from tracecraft.verify.lettered import lettered
from tracecraft.verify.nodes import Node, Text, walk
from tracecraft.verify.normalise import normalised
from tracecraft.verify.ruling import OPEN, Ruling, both, no, unsure, yes
from tracecraft.verify.units import compound, converted, split_unit
from tracecraft.verify.wordings import clocks, days, several_options
from tracecraft.verify.words import (
    SCALES,
    bare,
    digitised,
    parts,
    said,
    spelled,
)

__all__ = ["decided", "literal"]

_LITERAL = re.compile(r"[-+]?\s*(?:\d+(?:\.\d*)?|\.\d+)")
_PERCENT = frozenset({"percent", "pct", "percentage", "%", "percentage point", "percents"})
_SPACED_DIGITS = re.compile(r"\d{1,3}(?: \d{3})+(?:\.\d+)?")
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_WORD = re.compile(r"[A-Za-z]{3,}")
_NUMBER = re.compile(
    r"(?<![\w.^])(?<![\w']\()[-+]?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*/\s*\d+)?(?![\w^_\\])"
)
_LAST = re.compile(r"(?:\bis|\bare|=|\bequals)\s*\$?(\d+(?:\.\d+)?)(?:\$|%)?(?:\s+[a-zA-Z]+)?$")
_MOST_DIGITS = 1_000
_LONGEST = 2_000
_LEAST_WRITTEN = 10
"""Two significant digits: what a reference must show before it grants its rounding."""
_LISTED = re.compile(r"(?:\b(?:is|are)|=|:)\s*(\[[^\[\]]*\])$")
_OTHERWISE = re.compile(
    r"^(?:since|because|if|when)\b|\b(?:not|no|never|neither|undefined|impossible|cannot|\w+n't)\b"
    r"|\bor (?:more|less|fewer|greater|higher|lower)\b"
    r"|\b(?:more|less|greater|fewer|larger|smaller|higher|lower) than\b[^\d]{0,14}\d",
    re.IGNORECASE,
)
"""Words beside a number that say that it is not the answer."""
_PROSE = re.compile(r"(?<![\\a-zA-Z{])[a-z]{2,}\s+[a-z]+\s+[a-z]{2,}\b")
_NOUNS = frozenset(
    ["function", "triangle", "number", "value", "series", "sequence", "curve", "angle", "figure"]
)
"""What an adjective may leave out: `even` is `an even function`."""
_TO = re.compile(r"^(\d+(?:\.\d+)?) to (\d+(?:\.\d+)?)$")
_GLUED = re.compile(r"[-+\d./ ]*\d[a-z](?:\^\{?\d\}?)?").fullmatch
"""`6m`, which may be six metres or six times m."""
_NO_VALUE = frozenset({"none", "undefined", "infinitely many"})
_LEAD = re.compile(r"(yes|no|true|false)(?:\s*[,.;:]|\s+[-–—])", re.IGNORECASE)
_YES_NO = frozenset({"yes", "no"})


@lru_cache(maxsize=1 << 15)
def literal(text: str) -> tuple[Fraction, int | None] | None:
    """The value of a plain number and the decimals it shows; None for anything else."""
    if len(text) > _MOST_DIGITS or _LITERAL.fullmatch(text) is None:
        return None
    digits = text.replace(" ", "")
    point = digits.find(".")
    decimals = len(digits) - point - 1 if 0 <= point < len(digits) - 1 else None
    return Fraction(digits.rstrip(".")), decimals


@lru_cache(maxsize=1 << 14)
def decided(reference: str, answer: str) -> Ruling:
    """The ruling on two final answers as they were written; `final` is False if it is open."""
    a, b = normalised(reference), normalised(answer)
    if not a or not b:
        return unsure("empty")
    if a == b:
        return yes("identical")
    left, right = literal(a), literal(b)
    if left is not None and right is not None:
        return _numbers(left, right)
    for rule in (
        _large,
        _parts,
        several_options,
        _letters,
        clocks,
        days,
        _counted,
        _spoken,
        _measured,
    ):
        ruling = rule(a, b)
        if ruling is not None:
            break
    else:
        ruling = _read(a, b)
    if ruling.final:
        return ruling
    reason = refused(a) or refused(b)
    return ruling if reason is None else unsure(reason)


def _numbers(a: tuple[Fraction, int | None], b: tuple[Fraction, int | None]) -> Ruling:
    if a[0] == b[0]:
        return yes("number")
    places, given = a[1], b[1]
    if places is None or given is None or places == given:
        return no("another number")
    coarse = min(places, given)
    if abs(a[0] - b[0]) <= Fraction(1, 2 * 10**coarse):
        if given > places and abs(a[0]) * 10**places >= _LEAST_WRITTEN:
            return yes("rounded", "rounded")
        if given < places and given >= 2:
            return unsure(f"rounded to {given} decimals")
    return no("another number")


def _large(a: str, b: str) -> Ruling | None:
    if max(len(a), len(b)) <= _LONGEST:
        return None
    return unsure(f"an answer of {max(len(a), len(b)):,} characters")


def _letters(a: str, b: str) -> Ruling | None:
    return lettered(a, b, decided)


def _parts(a: str, b: str) -> Ruling | None:
    """Answers in parts, `(a) 5 (b) 6`, part by part; or beside a list of as many values."""
    left, right = parts(a), parts(b)
    if left is None and right is None:
        return None
    sides = [
        own if own is not None else [t.strip() for t in re.split(r"[,;]|\band\b", bare(text))]
        for own, text in ((left, a), (right, b))
    ]
    if len(sides[0]) != len(sides[1]):
        return None
    ruling = both([decided(x, y) for x, y in zip(*sides, strict=True)], "a part")
    return ruling if left is not None and right is not None else ruling.flagged("order")


_COUNT_JOINT = re.compile(r"\s*(?:[,;]\s*and\b|[,;&]|\band\b)\s*")
_COUNT = re.compile(r"(\d+(?:\.\d+)?)\s+([A-Za-z][A-Za-z ]*)")


def _counted(a: str, b: str) -> Ruling | None:
    """`5 red, 3 blue`: what is counted goes with its number, in any order."""
    sides = [_COUNT_JOINT.split(bare(text).strip()) for text in (a, b)]
    if len(sides[0]) != len(sides[1]) or len(sides[0]) < 2:
        return None
    found = [[_COUNT.fullmatch(part) for part in side] for side in sides]
    pairs = [[(m.group(2).lower(), m.group(1)) for m in side if m] for side in found]
    if any(len(p) < len(sides[0]) or len({w for w, _ in p}) < len(p) for p in pairs):
        return None
    if {w for w, _ in pairs[0]} != {w for w, _ in pairs[1]}:
        return None
    there = dict(pairs[1])
    return both([decided(number, there[word]) for word, number in pairs[0]], "a count")


def _spoken(a: str, b: str) -> Ruling | None:
    """Answers in words: equal once they are brought into one form."""
    if ":" in a or ":" in b:
        ratios = [_TO.sub(r"\1:\2", bare(text)) for text in (a, b)]
        if ratios != [bare(a), bare(b)]:
            return decided(*ratios)
    for words, other in ((a, b), (b, a)):
        value = spelled(words) if _WORD.search(words) else None
        digits = digitised(words) if value is None and _WORD.search(words) else None
        if digits is not None and any(c.isdigit() for c in other):
            return _measured(digits, other) if words is a else _measured(other, digits)
        tree = None if value is None else _tree(split_unit(other)[0])
        number = None if tree is None else exact(tree)
        if number is not None:
            return yes("number in words") if number == value else no("another number")
    for command, word in ((r"\emptyset", "emptyset"), (r"\infty", "infinity")):
        a, b = (word if t == command else t for t in (a, b))
    left, right = said(a), said(b)
    lead = _LEAD.match(bare(b)) if left in _YES_NO else None
    if lead is not None:
        return yes("words", "in words") if left == said(lead.group(1)) else no("words")
    if not (_plain_words(a) and _plain_words(b)):
        return None
    if left and left == right and (left in _YES_NO or _WORD.search(left)):
        return yes("words")
    if {left, right} <= _YES_NO:
        return no("words")
    return None


def _plain_words(text: str) -> bool:
    return re.search(r"[=<>^+*/_\\]", bare(text)) is None or text == r"\mathbb{R}"


def _measured(a: str, b: str) -> Ruling | None:
    """At least one answer has a unit: compare the numbers, converted where both units are known.

    What looks like a unit may be a variable: if the numbers differ, the whole is read, too.
    """
    (head_a, unit_a), (head_b, unit_b) = compound(a) or split_unit(a), compound(b) or split_unit(b)
    if unit_a is None and unit_b is None:
        return None
    ruling = _with_units(head_a, unit_a, head_b, unit_b)
    if ruling.holds and (unit_a is None) != (unit_b is None) and (_GLUED(a) or _GLUED(b)):
        return unsure("a unit or a variable")
    if ruling.holds is not True and not any("\\text" in t or "\\mathrm" in t for t in (a, b)):
        left, right = _tree(a), _tree(b)
        if left is not None and right is not None and not _worded(left) and not _worded(right):
            whole = compared(left, right)
            if whole.holds:
                return whole
    return ruling


def _with_units(a: str, unit_a: str | None, b: str, unit_b: str | None) -> Ruling:
    if None in (unit_a, unit_b) and (_scale(unit_a) or _scale(unit_b)) and decided(a, b).holds:
        return unsure("millions on one side only")
    (a, unit_a), (b, unit_b) = _scaled(a, unit_a), _scaled(b, unit_b)
    a, b = _percented(a, unit_a), _percented(b, unit_b)
    unit_a = None if unit_a in _PERCENT else unit_a
    unit_b = None if unit_b in _PERCENT else unit_b
    rate = 1 if unit_a is None or unit_b is None else converted(unit_b, unit_a)
    plain = decided(a, b)
    if rate == 1 or unit_a is None or unit_b is None:
        return plain
    if rate is None:
        kin = set(unit_a.split()) & set(unit_b.split()) or unit_a in unit_b or unit_b in unit_a
        return plain if kin or not plain.holds else plain.flagged("unit")
    if rate == 0:
        return no("another unit")
    scaled = decided(a, f"{b} * {rate.numerator} / {rate.denominator}")
    if scaled.holds or not plain.holds:
        return scaled
    return no("another unit")


def _scale(unit: str | None) -> int | None:
    return SCALES.get((unit or "").partition(" ")[0])


def _scaled(head: str, unit: str | None) -> tuple[str, str | None]:
    """`2.5 million dollars` as 2500000 dollars."""
    first, _, rest = (unit or "").partition(" ")
    value = literal(head)
    if first not in SCALES or value is None:
        return head, unit
    number = value[0] * SCALES[first]
    whole = str(number) if number.denominator == 1 else f"{head} * {SCALES[first]}"
    return whole, rest or None


def _percented(head: str, unit: str | None) -> str:
    return f"{head}%" if unit in _PERCENT else head


def _tree(text: str) -> Node | None:
    try:
        return parsed(text)
    except (Unparsed, ValueError, RecursionError):
        return None


def _read(a: str, b: str) -> Ruling:
    """By the parser; what it cannot read is compared as words or left open."""
    if _SPACED_DIGITS.fullmatch(a) or _SPACED_DIGITS.fullmatch(b):
        return decided(a.replace(" ", ""), b.replace(" ", ""))
    left, right = _tree(a), _tree(b)
    if left is None or right is None or _worded(left) or _worded(right):
        return _with_words(a, b, left, right)
    ruling = compared(left, right)
    if not ruling.holds and _comma(a, b):
        decimal = decided(a.replace(",", "."), b.replace(",", "."))
        return decimal.flagged("decimal comma") if decimal.holds else ruling
    return ruling


def _worded(tree: Node) -> bool:
    return any(isinstance(n, Text) for n in walk(tree))


def _comma(a: str, b: str) -> bool:
    """Whether one is a decimal with a point, and the other may be one with a comma."""
    return any(
        _DECIMAL_COMMA.fullmatch(x) and "." in y and literal(y) is not None
        for x, y in ((a, b), (b, a))
    )


def _wordy(text: str, tree: Node | None) -> bool:
    if tree is not None and not _worded(tree):
        return False
    return len(_WORD.findall(re.sub(r"\\[a-zA-Z]+", " ", bare(text)))) > 0


def _with_words(a: str, b: str, left: Node | None, right: Node | None) -> Ruling:
    wordy_a, wordy_b = _wordy(a, left), _wordy(b, right)
    if not wordy_a and not wordy_b:
        return OPEN
    if _akin({said(a)}, {said(b)}) and 1 in (len(said(a)), len(said(b))):
        return unsure("a letter against a word")
    if wordy_b and not wordy_a and left is not None and said(b) in _NO_VALUE:
        return no("words for a value")
    if wordy_a and wordy_b:
        return _sentences(a, b)
    number, words = (a, b) if wordy_b else (b, a)
    found = _NUMBER.findall(words)
    value = literal(split_unit(number)[0].rstrip("%"))
    if value is not None and "\\" not in re.sub(r"\\(?:text|mathrm|textbf)\b", "", words):
        if not found:
            return no("words for a number") if wordy_b else unsure("words")
        if len(found) == 1 and _OTHERWISE.search(words):
            return unsure("words")
        if len(found) == 1:
            ruling = decided(number, found[0].replace("$", ""))
            return ruling.flagged("in words") if ruling.holds else ruling
        last = _LAST.search(words)
        ruling = unsure("several numbers") if last is None else decided(number, last.group(1))
        return ruling.flagged("in words") if ruling.holds else unsure("several numbers")
    formula = re.findall(r"\$([^$]+)\$|\\\((.+?)\\\)", words)
    if len(formula) == 1:
        ruling = decided(number, formula[0][0] or formula[0][1])
        return ruling.flagged("in words") if ruling.holds else unsure("words")
    listed = _LISTED.search(words)
    if listed is not None:
        ruling = decided(number, listed.group(1))
        return ruling.flagged("in words") if ruling.holds else unsure("words")
    if _PROSE.search(words):
        last = _LAST.search(words)
        ruling = unsure("words") if last is None else decided(number, last.group(1))
        return ruling.flagged("in words") if ruling.holds else unsure("words")
    return Ruling(holds=None, rule="words", final="\\" not in words)


def _sentences(a: str, b: str) -> Ruling:
    left, right = set(said(a).split()), set(said(b).split())
    numbers = _NUMBER.findall(a), _NUMBER.findall(b)
    if left - right <= _NOUNS and right - left <= _NOUNS and left & right and not any(numbers):
        return yes("words", "in words") if left != right else yes("words", "order of words")
    if left == right:
        clauses = _clauses(a), _clauses(b)
        if not any(numbers) or clauses[0] == clauses[1]:
            return yes("words", "order of words")
        return no("words") if len(clauses[0]) == len(clauses[1]) > 1 else unsure("words")
    if max(len(left), len(right)) <= 3 and not left & right and not any(numbers):
        return unsure("words") if _akin(left, right) else no("words")
    if (
        sorted(numbers[0]) != sorted(numbers[1])
        and numbers[0]
        and numbers[1]
        and max(len(left), len(right)) <= 6
    ):
        return no("words")
    listed = [_names(t) for t in (a, b)]
    if listed[0] == listed[1] and len(listed[0]) > 1:
        return yes("names", "order of words")
    return unsure("words")


def _clauses(text: str) -> frozenset[tuple[str, ...]]:
    parts = re.split(r",|;|\band\b|&", bare(text))
    return frozenset(tuple(sorted(said(p).split())) for p in parts if said(p))


def _akin(left: set[str], right: set[str]) -> bool:
    """Whether two words may be forms of one: `convergent` and `converges`, `east` and `e`."""
    return any(
        x[:5] == y[:5]
        if min(len(x), len(y)) > 5
        else 1 in (len(x), len(y)) and x[:1] == y[:1] and x[:1].isalpha()
        for x in left
        for y in right
    )


def _names(text: str) -> frozenset[str]:
    return frozenset(said(p) for p in re.split(r",|;|\band\b|&", bare(text)) if said(p))
