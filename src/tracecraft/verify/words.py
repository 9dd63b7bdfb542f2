"""Answers in words: letters of options, yes and no, names, clock times, dates, numbers spelled."""

import re
from fractions import Fraction
from functools import lru_cache

from tracecraft.verify.dates import MONTHS

__all__ = [
    "SCALES",
    "bare",
    "choice",
    "clock",
    "digitised",
    "options",
    "parts",
    "said",
    "spelled",
    "without_letter",
]

_WRAPPER = re.compile(
    r"\\(?:text|mathrm|mbox|textrm|textbf|textit|textnormal|mathbf|operatorname|emph|hbox|textsf"
    r"|underline|rm|bf)\s*\{([^{}]*)\}"
)
_CHOICE = re.compile(
    r"^(?:option|choice|answer)?\s*[(\[]?\s*([A-J])\s*[)\]]?\s*[.:]?$", re.IGNORECASE
)
_LETTERED = re.compile(
    r"^\(\s*([A-J]|[a-j](?=\)\s))\s*\)\s*[.:,]?\s*(.+)$|^([A-J])\s*[).:]\s*(.+)$", re.DOTALL
)
_CLOCK = re.compile(
    r"^(\d{1,2})(?::(\d{2}))?(?::(\d{2}))?\s*(a\.?\s*m\.?|p\.?\s*m\.?|noon|midnight|o'clock)?\.?$",
    re.IGNORECASE,
)
_PART = re.compile(r"(?:^|(?<=[\s,;.]))\(?([a-e1-5]|i{1,3}|iv)\)\s*")
_SPACE = re.compile(r"\\(?:quad|qquad)\b|\\\\")
_QUADRANT = re.compile(r"\b(?:quadrant (\w+)|(\w+) quadrant)\b")
_QUARTERS = {"i": "1", "ii": "2", "iii": "3", "iv": "4"}
_ORDERS = ("abcde", "12345", ("i", "ii", "iii", "iv"))
_SAME = {  # without the words that `said` drops
    "true": "yes", "correct": "yes", "false": "no", "incorrect": "no", "wrong": "no",
    "there no solutions": "none", "there no solution": "none", "there no real solutions": "none",
    "no solution exists": "none", "no solutions exist": "none", "no real roots": "none",
    "no such number exists": "none", "no roots": "none", "there none": "none", "nothing": "none",
    "limit does not exist": "undefined", "not defined": "undefined", "not exist": "undefined",
    "there infinitely many solutions": "infinitely many",
    "infinite solutions": "infinitely many", "infinite number solutions": "infinitely many",
    "no solution": "none", "no solutions": "none", "no real solution": "none", "empty": "none",
    "no real solutions": "none", "empty set": "none", "emptyset": "none", "no such": "none",
    "none exist": "none", "no values": "none", "no integer solutions": "none",
    "no such integers": "none", "does not exist": "undefined", "dne": "undefined",
    "diverges": "undefined", "infinite": "infinitely many", "infinity": "infinitely many",
    "infty": "infinitely many", "infinitely many solutions": "infinitely many",
    "infinite number": "infinitely many", "not enough information": "undetermined",
    "insufficient information": "undetermined", "cannot determined": "undetermined",
    "can not determined": "undetermined", "not determined": "undetermined",
    "all real numbers": "reals", "all reals": "reals", "mathbb r": "reals", "real numbers": "reals",
    "set all real numbers": "reals", "any real number": "reals",
    "да": "yes", "верно": "yes", "да верно": "yes", "нет": "no", "неверно": "no", "oui": "yes",
    "vrai": "yes", "non": "no", "faux": "no", "sí": "yes", "verdadero": "yes", "falso": "no",
    "ja": "yes", "wahr": "yes", "richtig": "yes", "nein": "no", "falsch": "no", "是": "yes",
    "是的": "yes", "对": "yes", "正确": "yes", "真": "yes", "否": "no", "不是": "no", "不对": "no",
    "错误": "no", "错": "no", "假": "no", "はい": "yes", "いいえ": "no", "예": "yes",
    "아니요": "no",
    "无解": "none", "没有解": "none", "无实数解": "none", "空集": "none", "нет решений": "none",
    "pas de solution": "none", "aucune solution": "none", "keine lösung": "none",
    "sin solución": "none", "不存在": "undefined", "无穷多": "infinitely many",
    "无数个": "infinitely many", "全体实数": "reals",
}  # fmt: skip
_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_ORDINALS = {
    "first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "eleventh": 11, "twelfth": 12, "twentieth": 20,
}  # fmt: skip
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10,
}  # fmt: skip
SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_FILLER = frozenset(
    ["a", "an", "the", "of", "is", "are", "be", "it", "its", "option", "so", "only"]
)


@lru_cache(maxsize=1 << 14)
def bare(text: str) -> str:
    r"""Without `\text{…}` and the like."""
    before = None
    while text != before:
        before, text = text, _WRAPPER.sub(r"\1", text)
    return " ".join(text.split())


def choice(text: str) -> str | None:
    """The letter of an option, where the answer is nothing else."""
    plain = bare(text)
    match = _CHOICE.match(plain)
    if match is None or (plain.islower() and len(plain) < 3):
        return None
    return match.group(1).upper()


def without_letter(text: str) -> tuple[str | None, str]:
    """`(C) 5` as its letter and the rest."""
    match = _LETTERED.match(bare(text))
    if match is None:
        return None, text
    return match.group(1) or match.group(3), (match.group(2) or match.group(4)).strip()


def clock(text: str) -> tuple[int, int, int, str] | None:
    """A time of day as hour, minute, second and `am`, `pm` or nothing."""
    plain = bare(text)
    match = _CLOCK.match({"noon": "12 noon", "midnight": "12 midnight"}.get(plain.lower(), plain))
    if match is None:
        return None
    hour, minute, second, half = match.groups()
    if half == "o'clock":
        minute, half = minute or "00", ""
    half = re.sub(r"[.\s]", "", half or "").lower()
    half = {"noon": "pm", "midnight": "am"}.get(half, half)
    if not (minute or half) or int(minute or 0) > 59 or int(hour) > 24:
        return None
    return int(hour), int(minute or 0), int(second or 0), half


def parts(text: str) -> list[str] | None:
    """`(a) 5 (b) 6` as its parts; None for an answer in one."""
    text = _SPACE.sub(" ", bare(text))
    marks = list(_PART.finditer(text))
    if len(marks) < 2 or marks[0].start() > 0:
        return None
    letters = [m.group(1) for m in marks]
    if not any(letters == list(order[: len(letters)]) for order in _ORDERS):
        return None
    ends = [*(m.start() for m in marks[1:]), len(text)]
    found = [text[m.end() : end].strip(" ,;.") for m, end in zip(marks, ends, strict=True)]
    return found if all(found) else None


@lru_cache(maxsize=1 << 14)
def said(text: str) -> str:
    """Words in one form: lower case, no punctuation, no articles, synonyms of `none` and so on."""
    plain = re.sub(r"\\([a-zA-Z]+)", r" \1 ", bare(text))
    plain = re.sub(r"\b(?:text|mathrm|textbf)\b", " ", plain)
    words = re.sub(r"[^\w%+\-/.]+", " ", plain.lower()).replace("_", " ")
    kept = [w.strip(".") for w in words.split() if w.strip(".") not in _FILLER]
    whole = " ".join(w for w in kept if w)
    if "quadrant" in kept:
        whole = _QUADRANT.sub(_quarter, whole)
    if any(w in MONTHS for w in kept):
        whole = " ".join(sorted(re.sub(r"(?<=\d)(?:st|nd|rd|th)$", "", w) for w in kept))
    return _SAME.get(whole, whole)


def _quarter(match: re.Match[str]) -> str:
    name = match[1] or match[2]
    return f"quadrant {_QUARTERS.get(name) or _ORDINALS.get(name, name)}"


def digitised(text: str) -> str | None:
    """`ten dollars` as `10 dollars`; None where no number in words stands before one word."""
    *number, unit = bare(text).split() or [""]
    if not number or not unit.isalpha() or unit in {"of", "or", "and"} or len(unit) < 3:
        return None
    value = spelled(" ".join(number))
    return None if value is None or value.denominator > 1 else f"{value} {unit}"


@lru_cache(maxsize=1 << 14)
def options(text: str) -> frozenset[str] | None:
    """The letters or Roman numerals of `A, C`, `I and III only`; None for anything else."""
    plain = _ONLY.sub(" ", bare(text)).strip(" .,")
    items = [i.strip(" ().") for i in re.split(r"\s*(?:,|;|&|\band\b)\s*", plain) if i.strip()]
    if not items or not all(_OPTION.fullmatch(i) for i in items):
        return None
    return frozenset(items)


_ONLY = re.compile(r"\b(?:only|both|options?|statements?|choices?)\b", re.IGNORECASE)
_OPTION = re.compile(r"[A-H]|I{1,3}|IV|VI{0,3}")


@lru_cache(maxsize=1 << 14)
def spelled(text: str) -> Fraction | None:
    """The value of a number in English words: `twenty-one`, `two thirds`, `a half`."""
    words = re.sub(r"[-\s]+", " ", bare(text).lower()).replace(" and ", " ").split()
    if not words or len(words) > 12:
        return None
    if len(words) == 1 and words[0] in _ORDINALS and words[0] != "half":
        return Fraction(_ORDINALS[words[0]])
    part_of = _PARTS.get(words[-1].replace("halves", "half").rstrip("s"))
    if part_of is not None:
        top = Fraction(1) if words[:-1] in ([], ["a"]) else spelled(" ".join(words[:-1]))
        return None if top is None else top / part_of
    total, part = 0, 0
    for word in words:
        if word in _ONES:
            part += _ONES.index(word)
        elif word in _TENS:
            part += 20 + 10 * _TENS.index(word)
        elif word == "hundred":
            part = max(part, 1) * 100
        elif word in SCALES:
            total, part = total + max(part, 1) * SCALES[word], 0
        else:
            return None
    return Fraction(total + part)
