"""The unit behind a number: split off, named in one way, converted where a table knows how."""

import re
from fractions import Fraction
from functools import lru_cache

__all__ = ["compound", "converted", "split_unit"]

_TABLE = """
length: mm=1/1000 millimeter millimetre
length: cm=1/100 centimeter centimetre | km=1000 kilometer
length: m=1 meter metre | dm=1/10 decimeter decimetre | inch=254/10000 in inches
length: yard=9144/10000 yd
length: foot=3048/10000 ft feet | mile=1609344/1000 mi
mass: mg=1/1000000 milligram | g=1/1000 gram | kg=1 kilogram | ton=1000 tonne
mass: lb=45359237/100000000 lbs pound | oz=45359237/1600000000 ounce
time: ms=1/1000 millisecond | second=1 s sec | minute=60 min | hour=3600 h hr | day=86400
time: week=604800 | month=2629800 | year=31557600 yr
money: cent=1/100 | dollar=1 usd
euros: euro=1 eur
rupees: rupee=1 inr
yen: yen=1 jpy
volume: ml=1/1000 milliliter millilitre | liter=1 l litre | gallon=3785411784/1000000000
angle: degree=1 deg | radian=57295779513082320877/1000000000000000000 rad
"""
_UNITS: dict[str, tuple[str, Fraction]] = {}
for _line in _TABLE.strip().splitlines():
    _dimension, _, _rest = _line.partition(": ")
    for _entry in _rest.split(" | "):
        _head, *_aliases = _entry.split()
        _name, _, _factor = _head.partition("=")
        for _alias in (_name, *_aliases):
            _UNITS[_alias] = (_dimension, Fraction(_factor))
            if len(_alias) > 3 and _alias[-1] not in "s/h":
                _UNITS[_alias + "s"] = _UNITS[_alias]
_UNITS["feet"] = _UNITS["foot"]
for _alias in ("inches", "yds", "hrs", "mins", "secs", "hours", "months", "meters"):
    _UNITS.setdefault(_alias, _UNITS.get(_alias[:-1], _UNITS.get(_alias[:-2], ("?", Fraction(1)))))

_SPEEDS = {"mph": "mile/hour", "kph": "km/hour", "kmh": "km/hour", "mps": "m/s"}
_WRAPPED = (
    r"\\(?:text|mathrm|mbox|textrm|textbf|textit|textnormal|operatorname|hbox|rm|bf)\s*\{[^{}]*\}"
)
_POWER = r"(?:\s*\^\s*(?:\{\s*-?\d\s*\}|-?\d))?"
_BEHIND = re.compile(
    rf"^(?P<head>.*[\d}})!\]a-z|%'])\s*(?P<unit>(?:\s*(?:/|\\cdot|\\times)?\s*{_WRAPPED}{_POWER})+)$"
)
_FRACTION = r"\\frac\s*\{\d+\}\s*\{\d+\}"
_AMOUNT = (
    r"[-+]?(?:\d[\d ]*(?:\.\d+)?|\.\d+)"
    rf"(?:\s*/\s*\d+|\s*{_FRACTION})?|[-+]?\\frac\s*\{{[^{{}}]*\}}\s*\{{[^{{}}]*\}}"
)
_PLAIN = re.compile(
    rf"^(?P<head>{_AMOUNT})\s*(?P<unit>[a-zA-Z][a-zA-Z.\-/ ]*{_POWER}(?:/[a-zA-Z]+{_POWER})?)$"
)
_KNOWN = "|".join(re.escape(u) for u in sorted(_UNITS, key=len, reverse=True) if len(u) > 1)
_KNOWN_BEHIND = re.compile(
    r"^(?P<head>.*[\d})])\s+(?P<unit>(?:square |sq\.? |cubic |cu\.? )?"
    rf"(?:{_KNOWN})\.?{_POWER})$"
)
_PIECE = re.compile(rf"(\d+(?:\.\d+)?)\s*({_WRAPPED}|[a-zA-Z]+)")
_BETWEEN = re.compile(r"\\text\s*\{\s*and\s*\}|\band\b|[\s,]")
_COUNTED = re.compile(
    rf"^(?P<head>{_AMOUNT})\s*(?P<unit>[\u3040-\u9fff\uac00-\ud7af\u0400-\u04ff]+)$"
)
_CURRENCY = re.compile(
    r"^(?P<sign>[-+]?)\s*(?P<unit>\$+|\\pounds|\\euro|€|£|¥|₹|₽|₩|Rs\.?|USD|US\$)\s*(?=[-\d.\\])"
)
_CURRENCY_BEHIND = re.compile(r"^(?P<head>[^$]*\d)\s*(?P<unit>\$+|€|£|¥|¢|₹|₽|₩)$")
_SIGNS = {
    "$": "dollar", "$$": "dollar", "USD": "dollar", "US$": "dollar", "€": "euro",
    "\\euro": "euro", "₹": "rupee", "Rs": "rupee", "Rs.": "rupee", "₽": "ruble", "₩": "won",
}  # fmt: skip
"""`¥` is two currencies, and `pound` a weight as well: these two are compared by name alone."""
_JOINS = re.compile(r"\b(?:and|or|to|than|if|where|for|is|are|mod|base|with|when|not)\b")
_NUMERIC = re.compile(r"^e?\d|^(?:pi|sqrt|sin|cos|tan|log|ln|e|i|x|y|z|n|k)$")


@lru_cache(maxsize=1 << 14)
def split_unit(text: str) -> tuple[str, str | None]:
    """A normalised answer without its unit, and the unit as one name; None where it has none."""
    money = _CURRENCY.match(text)
    if money is not None:
        head, behind = split_unit(money.group("sign") + text[money.end() :])
        unit = _SIGNS.get(money.group("unit"), money.group("unit"))
        return head, unit if behind is None or behind in _UNITS else behind
    for pattern in (_BEHIND, _PLAIN, _KNOWN_BEHIND, _CURRENCY_BEHIND, _COUNTED):
        match = pattern.match(text)
        if match is None:
            continue
        unit = _named(match.group("unit"))
        if not unit or _JOINS.search(unit) or _NUMERIC.match(unit):
            continue
        base = unit.partition("^")[0]
        if pattern is _PLAIN and len(base) < 3 and base not in _UNITS:
            continue
        head = match.group("head").strip().rstrip("\\").strip()
        return (head, unit) if head else (text, None)
    return text, None


def compound(text: str) -> tuple[str, str] | None:
    """`2 hours 30 minutes` as one number of the first unit; None for a single amount."""
    found = list(_PIECE.finditer(text))
    if len(found) < 2 or _BETWEEN.sub("", _PIECE.sub("", text)):
        return None
    units = [_named(m.group(2)) for m in found]
    rates = [converted(unit, units[0]) for unit in units]
    if not all(rates):
        return None
    total = sum(Fraction(m.group(1)) * (r or 0) for m, r in zip(found, rates, strict=True))
    return f"{total}", units[0]


def _named(raw: str) -> str:
    r"""`\text{ square cm}` as `cm^2`."""
    raw = re.sub(r"\\(?:cdot|times)", "*", raw)
    raw = re.sub(r"\\[a-zA-Z]+\s*\{([^{}]*)\}", r"\1", raw)
    raw = raw.replace("$", "dollar").replace("¢", "cent").replace("€", "euro").replace("₹", "rupee")
    name = " ".join(raw.replace("{", "").replace("}", "").replace("-", " ").split()).strip(" .,;")
    if name not in _UNITS:
        name = name.lower()
    name = re.sub(r"\s*\^\s*", "^", name)
    name = re.sub(r"\s*(?:/|\bper\b)\s*", "/", name)
    name = _SPEEDS.get(name, name)
    squared = re.match(r"(?:square|sq\.?) (.+)$|(.+?) squared$", name)
    cubed = re.match(r"(?:cubic|cu\.?) (.+)$|(.+?) cubed$", name)
    if squared or cubed:
        found = squared or cubed
        assert found is not None
        name = f"{_single(found.group(1) or found.group(2))}^{2 if squared else 3}"
    if name in {"units^2", "unit^2", "units^3", "unit^3", "units", "unit"}:
        return "unit"
    return "/".join(_single(part) for part in name.split("/"))


def _single(name: str) -> str:
    base, power, exponent = name.partition("^")
    if base not in _UNITS and base.endswith("s") and len(base) > 3 and not base.endswith("ss"):
        base = base[:-1]
    known = _UNITS.get(base)
    if known is not None:
        base = next(n for n, v in _UNITS.items() if v == known)
    return base + power + exponent


def converted(unit: str, into: str) -> Fraction | None:
    """How many of `into` one `unit` is; None where the table does not know both.

    0 means that both are known and measure different things.
    """
    if unit == into:
        return Fraction(1)
    here, there = _dimensions(unit), _dimensions(into)
    if here is None or there is None:
        return None
    return here[1] / there[1] if here[0] == there[0] else Fraction(0)


def _dimensions(unit: str) -> tuple[dict[str, int], Fraction] | None:
    """`km/hour` as powers of dimensions, and its size in the table's own units."""
    powers: dict[str, int] = {}
    size = Fraction(1)
    for place, part in enumerate(unit.split("/")):
        base, _, exponent = part.partition("^")
        if base not in _UNITS or not re.fullmatch(r"-?\d?", exponent):
            return None
        power = int(exponent or 1) * (-1 if place else 1)
        dimension, factor = _UNITS[base]
        if dimension == "volume":  # a litre is a thousandth of a cubic metre
            dimension, factor = "length", factor / 1000
            powers[dimension] = powers.get(dimension, 0) + 2 * power
        powers[dimension] = powers.get(dimension, 0) + power
        size *= factor**power
    return powers, size
