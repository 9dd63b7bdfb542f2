r"""A quantity as it is written: value, power of ten, error, unit; `3.52 $10^{-19} \mathrm{~J}$`."""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from tracecraft.verify.dimensions import Unit, unit

__all__ = ["Amount", "amount"]

_DIGITS = r"(?:\d{1,3}(?:(?:,|\{,\}|\\,|~| |\u202f)\d{3})+(?!\d)|\d+)(?:\.\d*)?|\.\d+"
_TEN = (
    r"10\s*(?:\^\s*(?:\{\s*([-+]?\s*\d+)\s*\}|\(\s*([-+]?\d+)\s*\)|([-+]?\d+))"
    r"|\*\*\s*\(?([-+]?\d+)\)?)"
)
_TIMES = r"(?:\\times|\\cdot|\\ast|\\[,;:!]|[×x*·⋅∙]|\s)"
_VALUE = re.compile(
    rf"^(?P<sign>[-+])?\s*(?:\\?\$\s*)?(?:(?P<alone>{_TEN})|(?P<digits>{_DIGITS})"
    rf"(?P<bracket>\(\d+\))?(?:[eE](?P<e>[-+]?\d+)(?![a-zA-Z\d]))?"
    rf"(?:\s*/\s*(?P<under>\d+(?:\.\d+)?)(?![a-zA-Z]))?"
    rf"(?:\s*(?:\\pm|±|\+/-|\+-)\s*(?P<error>{_DIGITS}))?(?:\s*\))?"
    rf"(?:\s*{_TIMES}\s*\$?\s*(?P<ten>{_TEN}))?)"
)
_TENS = sorted(set(range(1, _VALUE.groups + 1)) - set(_VALUE.groupindex.values()))
"""The groups of `_VALUE` that hold a power of ten."""
_FRACTION = re.compile(
    r"^(?P<sign>[-+])?\s*(?P<whole>\d+\s*)?\\[dt]?frac\s*\{?(?P<over>\d+(?:\.\d+)?)\}?"
    r"\s*\{?(?P<under>\d+(?:\.\d+)?)\}?"
)
_TEN_IN_ROMAN = re.compile(r"\\(?:mathrm|text)\s*\{\s*(10\s*\^\s*(?:\{[-+\d\s]*\}|-?\d+))\s*\}")
_LEAD = re.compile(
    r"^(?:[\s$*_(\[]|\\[(\[,;! ]|\\(?:approx|sim|simeq|displaystyle|left)\b|[≈~∼]|\b(?:about"
    r"|pH\s*[=:]?|approximately|approx\.?|roughly|around|nearly|equal to|is|of|the value|value"
    r")\b)+",
    re.IGNORECASE,
)
_SPELT = [
    (re.compile(r"\$\s*\$"), " "),
    (re.compile(r"\\mathrm\s*\{\s*[eE]\s*\}\s*\{?\s*([-+]?\d+)\s*\}?"), r"e\1"),
    (re.compile(r"(?<=[\d)])(\s*(?:\\times|\\cdot|[×x*·⋅])\s*)10\s*-\s*(\d{1,2})(?!\d|\s*\^)"),
     r"\g<1>10^{-\2}"),
    (re.compile(r"^([-+]?\d{1,3}),(\d{1,2}|\d{4,})(?=\s*(?:\\times|\\cdot|\\,|[×*·⋅]|[A-Za-zµμ°Ω]))"),
     r"\1.\2"),
    *((re.compile(rf"(?<=[\d.])\s*(?:\\text\s*\{{\s*)?{word}\b\s*\}}?", re.IGNORECASE),
       rf"\\times 10^{{{power}}} ")
      for word, power in (("thousand", 3), ("million", 6), ("billion", 9), ("trillion", 12))),
]  # fmt: skip
"""Powers of ten in words or without a caret, decimal commas, formulas in two pieces."""
_DOLLARS = re.compile(r"^\s*(?P<sign>[-+]?)\\?\$\s*(?P<rest>[-+]?[\d.][^$]*)$")
_ROUNDING = re.compile(
    r"\s*\(\s*(?:rounded|rounding|correct(?:ed)?|accurate|approx\w*|to|up\s*to|nearest)\b[^()]*\)$"
)
_SUPER = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_MOST_DIGITS, _MOST_EXPONENT = 300, 400


@dataclass(frozen=True, slots=True)
class Amount:
    """A number with its unit."""

    value: Fraction
    """In its own unit."""
    step: Fraction
    """One unit of the last digit that is shown; 0 for a fraction."""
    significant: int
    """Digits that are shown, without leading zeros."""
    integer: bool
    """Written as a whole number, with no point and no power of ten."""
    unit: Unit | None
    error: Fraction | None = None
    """The uncertainty that is stated."""


@lru_cache(maxsize=1 << 14)
def amount(text: str) -> Amount | None:
    """The quantity that a text is; None where it is none, or more than one."""
    plain = text.replace("−", "-").replace("–", "-").replace("\u00a0", " ").strip()
    if len(plain) > _MOST_DIGITS:
        return None
    plain = re.sub(
        r"10([⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+)", lambda m: "10^{" + m.group(1).translate(_SUPER) + "}", plain
    )
    plain = re.sub(
        r"^\\\((.*)\\\)$|^\\\[(.*)\\\]$", lambda m: m.group(1) or m.group(2), plain, flags=re.DOTALL
    )
    plain = re.split(r"=|≈|\\approx|\\simeq|\\doteq|≃", plain)[-1] if _named_value(plain) else plain
    money = _DOLLARS.match(plain)
    if money is not None:
        plain = f"{money.group('sign')}{money.group('rest')} dollar"
    plain = _TEN_IN_ROMAN.sub(r"\1", _LEAD.sub("", plain).strip())
    for pattern, into in _SPELT:
        plain = pattern.sub(into, plain)
    plain = _ROUNDING.sub("", plain)
    match = _VALUE.match(plain)
    if match is None:
        return _fraction(plain)
    digits = re.sub(r"[^\d.]", "", (match.group("digits") or "1").replace("{,}", ""))
    tens = [found for i in _TENS if (found := match.group(i)) is not None]
    exponent = int(match.group("e") or 0) + sum(int(re.sub(r"\s", "", t)) for t in tens)
    if abs(exponent) > _MOST_EXPONENT or not digits.strip("."):
        return None
    behind = plain[match.end() :]
    scale = Fraction(10) ** exponent
    value = Fraction(digits.rstrip(".")) * scale
    if match.group("under"):
        if not Fraction(match.group("under")):
            return None
        value /= Fraction(match.group("under"))
    _, point, decimals = digits.partition(".")
    step = scale / 10 ** len(decimals)
    plain_unit, measure = _unit_behind(behind)
    if not plain_unit:
        return None
    error = (
        Fraction(re.sub(r"[^\d.]", "", match.group("error"))) * scale
        if match.group("error")
        else None
    )
    if match.group("bracket"):
        error = int(match.group("bracket")[1:-1]) * step
    sign = -1 if match.group("sign") == "-" else 1
    integer = (
        not point and not exponent and not match.group("under") and match.group("alone") is None
    )
    step = Fraction(0) if match.group("under") else step
    shown = len(digits.replace(".", "").lstrip("0"))
    return Amount(sign * value, step, shown, integer, measure, error)


def _named_value(text: str) -> bool:
    r"""Whether what stands before the last equals sign only names the quantity or derives it."""
    return len(re.findall(r"=|≈|\\approx", text)) <= 3 and re.search(r"[,;]|\band\b", text) is None


def _fraction(text: str) -> Amount | None:
    match = _FRACTION.match(text)
    if match is None or not Fraction(match.group("under")):
        return None
    plain_unit, measure = _unit_behind(text[match.end() :])
    if not plain_unit:
        return None
    value = Fraction(match.group("over")) / Fraction(match.group("under")) + int(
        match.group("whole") or 0
    )
    sign = -1 if match.group("sign") == "-" else 1
    return Amount(sign * value, Fraction(0), 0, integer=False, unit=measure)


def _unit_behind(text: str) -> tuple[bool, Unit | None]:
    """Whether nothing but a unit stands after a number, and that unit."""
    rest = text.replace("\\$", " dollar ").strip().rstrip("$.;,* ").lstrip("$,*~ ")
    rest = re.sub(r"^(?:\\[,;!: ]|\\quad|\\right\)?|[)\]])+|(?:\\[)\]])+$", "", rest).strip()
    rest = re.sub(r"^[-\s]+(?=[A-Za-z])", "", rest)
    if not rest:
        return True, None
    if len(rest) > 80 or re.search(
        r"\d\s*(?:\\times|[×=])|=|\\(?:sqrt|pi|frac\{\\pi|sin|cos|ln|log|exp)\b|[?!<>|]"
        r"|\^\s*[{(]?\s*[-+]?[\d.]*[a-zA-Z]",  # `e^{2t}` is a function, no unit
        rest,
    ):
        return False, None
    if re.match(r"[a-z']+\s+\d", rest) or re.match(
        r"[+!]|\^(?!\s*\{?\s*\\circ)|-\s*\d|\\(?:pm|ln|log)|(?:and|or|to|x|y|i|pi)\b", rest
    ):
        return False, None
    rest = re.split(r"\s+\(|,\s|;\s|\.\s", rest, maxsplit=1)[0]
    found = unit(rest)
    if found is None or len(found.unknown) > 3:
        return False, None
    return True, found
