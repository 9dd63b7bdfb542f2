r"""Units: `kJ mol^-1`, `\mathrm{~m}/\mathrm{s}^2`, `metres per second` as factor and dimension.

Factors are exact by definition where the SI defines them, else CODATA 2018.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

__all__ = ["Unit", "unit"]

_BASES = "m kg s A K mol cd dollar byte rad"
_TABLE = """
m: 1 m | meter metre
g: 1e-3 kg | gram gramme
s: 1 s | sec second
A: 1 A | amp ampere
K: 1 K | kelvin
mol: 1 mol | mole
cd: 1 cd | candela
rad: 1 rad | radian
Hz: 1 s^-1 | hertz
N: 1 kg m s^-2 | newton
Pa: 1 kg m^-1 s^-2 | pascal
J: 1 kg m^2 s^-2 | joule
W: 1 kg m^2 s^-3 | watt
C: 1 A s | coulomb
V: 1 kg m^2 s^-3 A^-1 | volt
F: 1 kg^-1 m^-2 s^4 A^2 | farad
ohm: 1 kg m^2 s^-3 A^-2 | Ω
S: 1 kg^-1 m^-2 s^3 A^2 | siemens mho
Wb: 1 kg m^2 s^-2 A^-1 | weber
T: 1 kg s^-2 A^-1 | tesla
H: 1 kg m^2 s^-2 A^-2 | henry
lm: 1 cd | lumen
lx: 1 cd m^-2 | lux
Bq: 1 s^-1 | becquerel
Gy: 1 m^2 s^-2 | gray
Sv: 1 m^2 s^-2 | sievert
kat: 1 mol s^-1 | katal
eV: 1.602176634e-19 kg m^2 s^-2 | electronvolt
L: 1e-3 m^3 | l liter litre ℓ
M: 1e3 mol m^-3 | molar
cal: 4.184 kg m^2 s^-2 | calorie
pc: 3.0856775814913673e16 m | parsec
bar: 1e5 kg m^-1 s^-2 |
Da: 1.66053906660e-27 kg | dalton
P: 0.1 kg m^-1 s^-1 | poise
B: 1 byte | byte
Ci: 3.7e10 s^-1 | curie
G: 1e-4 kg s^-2 A^-1 | gauss
Torr: 133.32236842105263 kg m^-1 s^-2 | torr
t: 1e3 kg | tonne
"""
"""Symbol, factor and base units, names; each takes a prefix."""
_ALONE = """
min: 60 s | minute
h: 3600 s | hr hour
d: 86400 s | day
week: 604800 s | wk
month: 2629800 s | mo
yr: 31557600 s | year y
angstrom: 1e-10 m | Å ångström Angstrom AA
micron: 1e-6 m |
in: 0.0254 m | inch inches
ft: 0.3048 m | foot feet
yd: 0.9144 m | yard
mi: 1609.344 m | mile
nmi: 1852 m |
au: 149597870700 m | AU
ly: 9460730472580800 m | lightyear
lb: 0.45359237 kg | lbs pound lbm
oz: 0.028349523125 kg | ounce
slug: 14.593902937206364 kg |
u: 1.66053906660e-27 kg | amu
atm: 101325 kg m^-1 s^-2 | atmosphere
mmHg: 133.322387415 kg m^-1 s^-2 |
inHg: 3386.389 kg m^-1 s^-2 |
psi: 6894.757293168361 kg m^-1 s^-2 |
lbf: 4.4482216152605 kg m s^-2 |
kgf: 9.80665 kg m s^-2 |
dyn: 1e-5 kg m s^-2 | dyne
erg: 1e-7 kg m^2 s^-2 |
Btu: 1055.05585262 kg m^2 s^-2 | BTU btu
kWh: 3.6e6 kg m^2 s^-2 |
hp: 745.6998715822702 kg m^2 s^-3 | horsepower
mph: 0.44704 m s^-1 |
kph: 0.2777777777777778 m s^-1 | kmh kmph
mps: 1 m s^-1 |
fps: 0.3048 m s^-1 |
knot: 0.5144444444444445 m s^-1 | kn
cc: 1e-6 m^3 |
gal: 0.003785411784 m^3 | gallon
ha: 1e4 m^2 | hectare
acre: 4046.8564224 m^2 |
deg: 0.017453292519943295 rad | degree °
arcmin: 2.908882086657216e-4 rad | arcminute
arcsec: 4.84813681109536e-6 rad | arcsecond
rev: 6.283185307179586 rad | revolution turn cycle
rpm: 0.10471975511965977 rad s^-1 |
sr: 1 | steradian
D: 3.33564e-30 A s m | debye
e: 1.602176634e-19 A s |
hartree: 4.3597447222071e-18 kg m^2 s^-2 | Eh Hartree
%: 0.01 | percent pct
ppm: 1e-6 |
ppb: 1e-9 |
pH: 1 | pOH pKa
dollar: 1 dollar | $ USD usd
cent: 0.01 dollar | ¢
bit: 0.125 byte |
N_A: 6.02214076e23 |
dozen: 12 |
degC: 1 K | ℃ celsius Celsius
degF: 0.5555555555555556 K | ℉ fahrenheit Fahrenheit
degR: 0.5555555555555556 K | rankine
"""
_OFFSETS = {"degC": Fraction("273.15"), "degF": Fraction("459.67") * 5 / 9}
_PREFIXES = {
    **{p: Fraction(10) ** n for p, n in zip("YZEPTGMkhcmunpfazy",
       (24, 21, 18, 15, 12, 9, 6, 3, 2, -2, -3, -6, -9, -12, -15, -18, -21, -24), strict=True)},
    "da": Fraction(10), "d": Fraction(1, 10),
}  # fmt: skip
_LONG = {
    "tera": 12, "giga": 9, "mega": 6, "kilo": 3, "hecto": 2, "deci": -1, "centi": -2, "milli": -3,
    "micro": -6, "nano": -9, "pico": -12, "femto": -15,
}  # fmt: skip
Dimension = tuple[tuple[str, Fraction], ...]


@dataclass(frozen=True, slots=True)
class Unit:
    """What one of a unit is in SI base units."""

    factor: Fraction
    dimension: Dimension
    """Powers of base units, and of words that no table knows, in alphabetical order."""
    offset: Fraction = Fraction(0)
    """Kelvin at its zero, for a scale of temperature that stands alone."""
    name: str = ""
    unknown: tuple[str, ...] = ()
    """Its words that no table knows."""
    percent: bool = False


_Entry = tuple[Fraction, dict[str, Fraction]]


def _read_table(table: str) -> tuple[dict[str, _Entry], dict[str, _Entry]]:
    symbols: dict[str, _Entry] = {}
    names: dict[str, _Entry] = {}
    for line in table.strip().splitlines():
        symbol, _, rest = line.partition(": ")
        value, _, words = rest.partition("|")
        factor, *parts = value.split()
        powers = {}
        for part in parts:
            base, _, power = part.partition("^")
            powers[base] = Fraction(power or 1)
        entry = (Fraction(factor), powers)
        for name in (symbol, *words.split()):
            (names if len(name) > 3 and name.isalpha() else symbols)[name] = entry
        symbols[symbol] = entry
    return symbols, names


_SYMBOLS, _NAMES = _read_table(_TABLE)
_ALONE_SYMBOLS, _ALONE_NAMES = _read_table(_ALONE)

_SUPER = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")
_SUPERS = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+")
_DEGREE = r"(?:\^\s*\{?\s*\\circ\s*\}?|\{?\s*\\circ\s*\}?|\\degree|\\deg|°|º|˚)"
_SPELT = [
    (re.compile(r"\\(?:AA|angstrom|Angstrom)\b|\\mathring\s*\{?\s*A\s*\}?|\\AA|Å|Å"), " angstrom "),
    (re.compile(r"\\(?:Omega|ohm)(?![a-zA-Z])|Ω|Ω"), "ohm"),
    (re.compile(_DEGREE + r"\s*(?:\\[,;! ])*\s*(?:\\(?:mathrm|text|rm)\s*\{\s*~?\s*)?([CF])\b"
                r"(?:\s*\})?"), r" deg\1 "),
    (re.compile(_DEGREE), " deg "),
    (re.compile(r"\bdegrees?\s+(?:C|celsius|centigrade)\b", re.I), "degC"),
    (re.compile(r"\bdegrees?\s+(?:F|fahrenheit)\b", re.I), "degF"),
    (re.compile(r"\\(?:mathrm|mathbf|text|textrm|textbf|rm|operatorname|mathit|textit|hbox|mbox|unit"
                r"|si)\s*(?=\{)"), " "),
    (re.compile(r"\\(?:rm|mathrm|text)\b"), " "),
    (re.compile(r"\\mu(?![a-zA-Z])\s*|[µμ]\s*"), "u"),
    (re.compile(r"\\(?:cdot|times|ast|quad|ell)(?![a-zA-Z])|\\[,;:!]|[·⋅×∙•*]"
                r"|(?<=[a-zA-Z])\.(?=[a-zA-Z])"), " * "),
    (re.compile(r"\\frac\s*\{\s*\{?([^{}]*)\}?\s*\}\s*\{\s*\{?([^{}]*)\}?\s*\}"), r"(\1)/(\2)"),
    (re.compile(r"\\hat\s*\{[^{}]*(?:\{[^{}]*\})?[^{}]*\}"), " "),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\\\$"), " dollar "),
    (re.compile(r"[$~]|\\ "), " "),
    (re.compile(r"(?<=[a-zA-Z])-(?=[a-zA-Z])"), " * "),
    (re.compile(r"\bper\b"), "/"),
    (re.compile(r"\b(?:square|sq\.?)\s+([a-zA-Z]+)"), r"\1^2"),
    (re.compile(r"\b(?:cubic|cu\.?)\s+([a-zA-Z]+)"), r"\1^3"),
    (re.compile(r"\b([a-zA-Z]+)\s+squared\b"), r"\1^2"),
    (re.compile(r"\b([a-zA-Z]+)\s+cubed\b"), r"\1^3"),
    (re.compile(r"\bmm\s*\*?\s*(?:of\s+)?Hg\b"), "mmHg"),
    (re.compile(r"\b(?:cc|cm3)\b"), "cm^3"),
    (re.compile(r"\blight[- ]years?\b"), "ly"),
    (re.compile(r"\belectron[- ]?volts?\b", re.I), "eV"),
    (re.compile(r"\bamperes?\b"), "A"),
]  # fmt: skip
_HEADS = frozenset(
    {"N", "kN", "mN", "J", "kJ", "MJ", "mJ", "Pa", "kPa", "MPa", "GPa", "W", "kW", "V", "kV", "A",
     "mA", "T", "C", "kg", "mol", "F", "H", "cal", "kcal", "eV", "L"}
)  # fmt: skip
_TAILS = ("mol", "kg", "cm", "mm", "s", "m", "K", "L")
"""What stands before and behind in products without a space; no element's symbol comes of it."""
_SPEED = re.compile(r"([kcm]?m)s")
"""`ms^-1` is a speed, as `m s^-1` is, and no millisecond's inverse."""
_TOKEN = re.compile(
    r"\s*(?:(?P<name>[A-Za-z%¢]+(?:_[A-Za-z]+)?)\s*(?:\^\s*[({]?\s*(?P<power>[-+]?\d+(?:[./]\d+)?)\s*[)}]?"
    r"|(?P<tail>-?\d)(?![\d.]))?|(?P<sign>[/*()]|\*\*))"
)


@lru_cache(maxsize=1 << 13)
def unit(text: str) -> Unit | None:
    """The unit that a text names; None where it names none or holds more than a unit."""
    plain = _SUPERS.sub(lambda m: "^" + m.group(0).translate(_SUPER), text)
    for pattern, into in _SPELT:
        plain = pattern.sub(into, plain)
    plain = re.sub(r"\^\s*\{\s*([-+]?\d+(?:/\d+)?)\s*\}", r"^\1", plain)
    plain = re.sub(r"\s*\^\s*", "^", plain.replace("−", "-").replace("{", " ").replace("}", " "))
    plain = " ".join(plain.split()).strip(" .,;")
    if not plain or len(plain) > 120:
        return None
    return _product(plain)


def _product(text: str) -> Unit | None:
    factor, powers, unknown = Fraction(1), dict[str, Fraction](), list[str]()
    under, depth, at, count = [1], 0, 0, 0
    offset, percent = Fraction(0), False
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            return None
        at = token.end()
        match token.group("sign"):
            case "/":
                under[-1] = -abs(under[-1])
                continue
            case "(":
                under.append(1)
                continue
            case ")":
                if len(under) < 2:
                    return None
                under.pop()
                under[-1] = abs(under[-1])
                continue
            case "*" | "**":
                continue
        depth = 1
        for sign in under:
            depth *= sign
        if not token.group("name"):
            return None
        name = token.group("name")
        found = _named(name)
        speed = _SPEED.fullmatch(name)
        if speed is not None and (token.group("power") or token.group("tail") or "")[:1] == "-":
            found = None
        parts = _run_together(name) if found is None else ()
        power = Fraction(token.group("power") or token.group("tail") or 1) * depth
        if len(under) == 1:
            under[-1] = 1 if "/" not in text or text.count("/") > 1 else under[-1]
        if parts:
            *heads, name = parts
            for head in heads:
                factor *= _applied(powers, _named(head), Fraction(depth))
            found = _named(name)
        if found is None:
            unknown.append(_singular(name))
            found = (Fraction(1), {_singular(name): Fraction(1)})
        if abs(power) > 12:
            return None
        factor *= _applied(powers, found, power)
        count += 1
        offset = _OFFSETS.get(name, Fraction(0)) if power == 1 else Fraction(0)
        percent = percent or name in {"%", "percent", "pct"}
    if not count:
        return None
    dimension = tuple(sorted((b, p) for b, p in powers.items() if p and b != "rad"))
    return Unit(
        factor, dimension, offset if count == 1 else Fraction(0), text, tuple(unknown), percent
    )


def _applied(powers: dict[str, Fraction], entry: _Entry | None, power: Fraction) -> Fraction:
    """The factor of a unit raised to a power, whose dimensions are added to `powers`."""
    factor, own = entry or (Fraction(1), {})
    for base, exponent in own.items():
        powers[base] = powers.get(base, Fraction(0)) + exponent * power
    return _raised(factor, power)


def _raised(factor: Fraction, power: Fraction) -> Fraction:
    if power.denominator == 1:
        return factor ** int(power)
    return Fraction(float(factor) ** float(power))


@lru_cache(maxsize=1 << 12)
def _run_together(name: str) -> tuple[str, ...]:
    """The two units of a product without a space, as `Nm` and `kJmol`; none where it is no such."""
    speed = _SPEED.fullmatch(name)
    if speed is not None:
        return (speed.group(1), "s")
    for tail in _TAILS:
        head = name.removesuffix(tail)
        if head != name and head in _HEADS:
            return (head, tail)
    return ()


@lru_cache(maxsize=1 << 12)
def _named(name: str) -> _Entry | None:
    """A unit by its symbol, its symbol with a prefix, or its name in the singular or plural."""
    for table in (_ALONE_SYMBOLS, _SYMBOLS, _ALONE_NAMES, _NAMES):
        if name in table:
            return table[name]
    for prefix, scale in _PREFIXES.items():
        rest = name[len(prefix) :]
        if name.startswith(prefix) and rest in _SYMBOLS and rest not in {"t", "B"} | {"min"}:
            return scale * _SYMBOLS[rest][0], _SYMBOLS[rest][1]
    if name[0] == "K" and name[1:] in _SYMBOLS and name[1:] not in {"", "mol", "t", "B"}:
        return 1000 * _SYMBOLS[name[1:]][0], _SYMBOLS[name[1:]][1]
    word = _singular(name.lower())
    for table in (_ALONE_NAMES, _NAMES, _ALONE_SYMBOLS):
        if len(word) > 2 and word in table:
            return table[word]
    for long, exponent in _LONG.items():
        inner = _NAMES.get(word.removeprefix(long)) if word.startswith(long) else None
        if inner is not None:
            return Fraction(10) ** exponent * inner[0], inner[1]
    return None


def _singular(word: str) -> str:
    if (
        word in {"gauss", "hertz", "siemens", "celsius", "lux"}
        or len(word) < 4
        or word.endswith("ss")
    ):
        return word
    return word.removesuffix("s")
