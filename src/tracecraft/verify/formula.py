r"""Chemical formulas and reaction equations: `2H2 + O2 -> 2H2O` as `\ce{O2 + 2H2 -> 2H2O}`."""

import re
from collections import Counter
from fractions import Fraction
from functools import lru_cache

from tracecraft.verify.ruling import Ruling, no, unsure, yes

__all__ = ["chemical"]

_ELEMENTS = frozenset(
    {"H", "He", "Li", "Be", "B", "C", "N", "O", "F", "Ne", "Na", "Mg", "Al", "Si", "P", "S",
     "Cl", "Ar", "K", "Ca", "Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn", "Ga",
     "Ge", "As", "Se", "Br", "Kr", "Rb", "Sr", "Y", "Zr", "Nb", "Mo", "Tc", "Ru", "Rh", "Pd",
     "Ag", "Cd", "In", "Sn", "Sb", "Te", "I", "Xe", "Cs", "Ba", "La", "Ce", "Pr", "Nd", "Pm",
     "Sm", "Eu", "Gd", "Tb", "Dy", "Ho", "Er", "Tm", "Yb", "Lu", "Hf", "Ta", "W", "Re", "Os",
     "Ir", "Pt", "Au", "Hg", "Tl", "Pb", "Bi", "Po", "At", "Rn", "Fr", "Ra", "Ac", "Th", "Pa",
     "U", "Np", "Pu", "Am", "Cm", "Bk", "Cf", "Es", "Fm", "Md", "No", "Lr", "Rf", "Db", "Sg",
     "Bh", "Hs", "Mt", "Ds", "Rg", "Cn", "Nh", "Fl", "Mc", "Lv", "Ts", "Og", "D", "T"}
)  # fmt: skip
_ARROW = re.compile(
    r"\\(?:long)?(?:left)?rightarrow|\\rightleftharpoons|\\leftrightharpoons|\\to(?![a-z])"
    r"|\\xrightarrow\s*(?:\[[^\]]*\])?\s*\{[^{}]*\}"
    r"|<?(?:=|-)+>|[→⟶⇌⇄↔⇋]|(?<=[\s\w)\]}])=(?=[\s\w(\[{])",
    re.IGNORECASE,
)
_HALF = re.compile(r"\\[dt]?frac\s*\{(\d+)\}\s*\{(\d+)\}")
_SUBS = str.maketrans("₀₁₂₃₄₅₆₇₈₉₊₋", "0123456789+-")
_SUPERS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-", strict=True))
_STATE = re.compile(r"\((?:s|l|g|aq|cr|conc|dil)\.?\)")
_SPECIES = re.compile(r"(?:(?:[A-Z][a-z]?|[()\[\]·])\d*)+|e|e-")
_TOKEN = re.compile(r"([A-Z][a-z]?)(\d*)|([(\[])|([)\]])(\d*)|(·)(\d*)")
_CHARGE = re.compile(r"\^?\(?(\d*)([+-])(\d*)\)?$|\^(\d+)$")
_CONFIGURATION = re.compile(r"(?:\[[A-Z][a-z]?\])?(?:[1-7][spdf]\d{1,2})+")

Species = tuple[tuple[tuple[str, int], ...], int]


def chemical(reference: str, answer: str) -> Ruling | None:
    """The ruling on two formulas or equations; None where the reference is neither."""
    a, b = _spelled(reference), _spelled(answer)
    left, right = _configuration(a), _configuration(b)
    if left is not None:
        return (
            unsure("no configuration")
            if right is None
            else (yes if left == right else no)("configuration")
        )
    sides = _equation(a)
    if sides is not None:
        other = _equation(b)
        if other is None:
            return unsure("no equation")
        return yes("equation") if _proportional(sides, other) else no("another equation")
    own = _species(a)
    if own is None or not _looks_chemical(a):
        return None
    given = _species(b.split("=")[-1])
    if given is None:
        return (
            unsure("a name against a formula")
            if re.search(r"[a-z]{3}", b)
            else unsure("no formula")
        )
    plain_a, plain_b = (re.sub(r"[\[\]^]", "", t) for t in (a, b.split("=")[-1]))
    if plain_a == plain_b:
        return yes("formula")
    if own != given:
        return no("another formula")
    if _molecular(a) or _molecular(b):
        return yes("composition", "composition")
    return unsure("the same composition, perhaps isomers")


@lru_cache(maxsize=1 << 13)
def _spelled(text: str) -> str:
    """One spelling: plain digits, `^2+` for a charge, `·` for water, `->`, no spaces or states."""
    text = text.translate(_SUBS).replace("−", "-").replace("–", "-")
    text = re.sub("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻]+", lambda m: "^" + "".join(_SUPERS[c] for c in m.group(0)), text)
    text = _HALF.sub(r"\1/\2 ", text.replace("½", "1/2 "))
    text = _ARROW.sub(" -> ", text)
    text = re.sub(r"\\(?:mathrm|text|ce|mathbf|rm|operatorname|textbf|mathit)\b\s*", "", text)
    text = re.sub(r"\\(?:cdot|bullet|ast)|[·•⋅∙*]", "·", text)
    text = re.sub(r"\\(?:left|right|quad|[,;:! ()\[\]])|[$~_{}]", "", text)
    text = re.sub(r"(?<=[\d\w)])\.(?=\d*H2O)", "·", text)
    text = _STATE.sub("", text)
    text = re.sub(r"\s*\+\s+|\s+\+\s*", " + ", text) if " -> " in text else text
    return text.strip(" .;,")


def _configuration(text: str) -> str | None:
    """The subshells in one order; None for anything else."""
    plain = re.sub(r"[\s^]", "", text)
    if _CONFIGURATION.fullmatch(plain) is None:
        return None
    core, shells = re.match(r"(\[\w+\])?(.*)", plain).groups()  # type: ignore[union-attr]
    return "".join([core or "", *sorted(re.findall(r"\d[spdf]\d{1,2}?(?=\d[spdf]|$)", shells))])


def _looks_chemical(text: str) -> bool:
    plain = re.sub(r"\s", "", text)
    elements = re.findall(r"[A-Z][a-z]?", plain)
    return len(elements) > 1 or (bool(elements) and re.search(r"\d|[+-]$|\^", plain) is not None)


def _molecular(text: str) -> bool:
    elements = re.findall(r"[A-Z][a-z]?", text)
    return len(elements) == len(set(elements)) and not re.search(r"[(\[·]", text)


@lru_cache(maxsize=1 << 13)
def _species(text: str) -> Species | None:
    """Composition and charge; None where it is no formula of known elements."""
    plain = re.sub(r"\s", "", text)
    charge = 0
    match = _CHARGE.search(plain)
    if match is not None and plain not in {"e", "e-"}:
        if match.group(4):
            return None
        size = int(match.group(3) or (match.group(1) if "^" in match.group(0) else "") or 1)
        charge = size if match.group(2) == "+" else -size
        keep = "" if "^" in match.group(0) else match.group(1)
        plain = plain[: match.start()] + keep
    if plain in {"e", "e-"}:
        return (("e", 1),), -1
    if not plain or len(plain) > 200 or _SPECIES.fullmatch(plain) is None:
        return None
    counts = _counted(plain)
    return None if counts is None else (tuple(sorted(counts.items())), charge)


def _counted(text: str) -> Counter[str] | None:
    total = Counter[str]()
    for i, part in enumerate(text.split("·")):
        times = 1
        if i:
            lead = re.match(r"\d+", part)
            times, part = (int(lead.group(0)), part[lead.end() :]) if lead else (1, part)
        inner = _group(part)
        if inner is None:
            return None
        for element, count in inner.items():
            total[element] += count * times
    return total


def _group(text: str) -> Counter[str] | None:
    stack = [Counter[str]()]
    for element, count, opened, closed, times, _, _ in _TOKEN.findall(text):
        if opened:
            stack.append(Counter())
        elif closed:
            if len(stack) < 2:
                return None
            inner = stack.pop()
            for name, number in inner.items():
                stack[-1][name] += number * int(times or 1)
        elif element not in _ELEMENTS:
            return None
        else:
            stack[-1][element] += int(count or 1)
    return stack[0] if len(stack) == 1 else None


Sides = tuple[tuple[tuple[Species, Fraction], ...], ...]


def _equation(text: str) -> Sides | None:
    sides = text.split(" -> ")
    if len(sides) != 2:
        return None
    made = []
    for side in sides:
        amounts = Counter[Species]()
        for term in re.split(r"\s\+\s|(?<=[A-Za-z0-9)\]])\+(?=\d*[A-Z(\[])", side):
            lead = re.match(r"\s*\(?(\d+(?:/\d+)?|\d*\.\d+)?\)?\s*(.+)$", term)
            found = _species(lead.group(2)) if lead else None
            if lead is None or found is None:
                return None
            amounts[found] += Fraction(lead.group(1) or 1)  # type: ignore[assignment]
        made.append(tuple(sorted((s, Fraction(n)) for s, n in amounts.items())))
    return tuple(made)


def _proportional(a: Sides, b: Sides) -> bool:
    """Whether both sides hold the same species, in the same proportions."""
    if [[s for s, _ in side] for side in a] != [[s for s, _ in side] for side in b]:
        return False
    ratios = {m / n for x, y in zip(a, b, strict=True) for (_, n), (_, m) in zip(x, y, strict=True)}
    return len(ratios) == 1
