"""An answer in one spelling, cut into tokens."""

import re
from dataclasses import dataclass, replace
from fractions import Fraction

from tracecraft.verify.nodes import Number

__all__ = ["FUNCTIONS", "Token", "Unparsed", "tokens"]


class Unparsed(ValueError):
    """The answer is not in the language that the parser knows; says nothing about its truth."""


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an answer."""

    kind: str
    """`number`, `name`, `command`, `text`, or the sign itself."""
    text: str
    number: Number | None = None
    spaced: bool = False
    """Whether a space stands before it."""


FUNCTIONS = frozenset(
    [
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "sinh",
        "cosh",
        "tanh",
        "coth",
        "sech",
        "csch",
        "arcsinh",
        "arccosh",
        "arctanh",
        "arsinh",
        "arcosh",
        "artanh",
        "asinh",
        "acosh",
        "atanh",
        "erf",
        "arcsin",
        "arccos",
        "arctan",
        "arccot",
        "arcsec",
        "arccsc",
        "asin",
        "acos",
        "atan",
        "ln",
        "log",
        "lg",
        "exp",
        "sqrt",
        "abs",
        "gcd",
        "lcm",
        "max",
        "min",
        "det",
        "floor",
        "ceil",
        "sgn",
        "sign",
        "arg",
        "Re",
        "Im",
        "mod",
    ]
)
_NAMES = frozenset(
    [
        "alpha",
        "beta",
        "gamma",
        "delta",
        "epsilon",
        "zeta",
        "eta",
        "theta",
        "iota",
        "kappa",
        "lambda",
        "mu",
        "nu",
        "xi",
        "rho",
        "sigma",
        "tau",
        "upsilon",
        "phi",
        "chi",
        "psi",
        "omega",
        "pi",
        "infty",
    ]
)
_SPELLED = {
    "infinity": "infty",
    "inf": "infty",
    "oo": "infty",
    "degrees": "degree",
    "deg": "degree",
}
_TEXTS = frozenset(
    [
        "text",
        "mathrm",
        "textbf",
        "textit",
        "mbox",
        "textrm",
        "textnormal",
        "mathbf",
        "mathit",
        "mathsf",
        "texttt",
        "mathtt",
        "operatorname",
        "hbox",
        "textsf",
        "emph",
        "underline",
        "bm",
        "mathcal",
        "mathfrak",
        "pmb",
    ]
)
_WORDS = frozenset(
    [
        "and",
        "or",
        "not",
        "the",
        "odd",
        "yes",
        "day",
        "sec",
        "one",
        "two",
        "six",
        "ten",
        "all",
        "any",
        "red",
        "min",
        "mph",
        "men",
    ]
)
_MOST_TOKENS = 1_500

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<recurring>\d*\.\d*(?:\\overline\s*\{\d+\}|\\dot\s*\{?\d\}?(?:\d*\\dot\s*\{?\d\}?)?|\(\d+\)))"
    r"|(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+(?![\d.]))?)"
    r"|(?P<command>\\[a-zA-Z]+|\\\\|\\[{}|])"
    r"|(?P<letters>[a-zA-Z]+)"
    r"|(?P<sign>\S)"
    r")"
)
_RECURRING = re.compile(r"(\d*)\.(\d*?)(?:\\overline\s*\{(\d+)\}|\((\d+)\)|(\\dot.*))$")
_BRACED = re.compile(r"\s*\{")


def tokens(text: str) -> list[Token]:
    """The tokens of a normalised answer.

    Raises:
        Unparsed: longer than an answer is.
    """
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            break
        at = match.end()
        spaced = match.group(0)[:1].isspace()
        piece = match.group(match.lastgroup or 0)
        match match.lastgroup:
            case "recurring":
                found.append(Token("number", piece, _recurring(piece), spaced))
            case "number":
                found.append(Token("number", piece, _number(piece), spaced))
            case "letters":
                found += _letters(piece, spaced=spaced)
            case "command":
                name = piece[1:] if piece[1:] not in "{}|" else piece
                if name in _TEXTS and _BRACED.match(text, at):
                    inside, at = _inside(text, at)
                    found += _worded(name, inside, spaced=spaced)
                else:
                    found.append(Token("command", name, None, spaced))
            case _:
                if piece != "$":
                    found.append(Token(piece, piece, None, spaced))
        if len(found) > _MOST_TOKENS:
            raise Unparsed("too long")
    return found


def _number(piece: str) -> Number:
    mantissa, _, exponent = piece.lower().partition("e")
    if len(mantissa) > 1_000 or abs(int(exponent or 0)) > 1_000:
        raise Unparsed("a number too long")
    value = Fraction(int(mantissa) if mantissa.isdigit() else mantissa.rstrip(".") or "0")
    if exponent:
        value *= Fraction(10) ** int(exponent)
    point = mantissa.find(".")
    shown = len(mantissa) - point - 1 if 0 <= point < len(mantissa) - 1 else None
    if exponent:
        shown = (shown or 0) - int(exponent)
    return Number(value, shown)


def _recurring(piece: str) -> Number:
    match = _RECURRING.match(piece)
    if match is None:
        raise Unparsed(piece)
    whole, fixed, over, round_, dotted = match.groups()
    if dotted:
        digits = re.findall(r"\d", dotted)
        cycle = "".join(digits)
    else:
        cycle = over or round_
    base = Fraction(int((whole + fixed) or 0), 10 ** len(fixed))
    return Number(base + Fraction(int(cycle), (10 ** len(cycle) - 1) * 10 ** len(fixed)))


def _letters(run: str, *, spaced: bool) -> list[Token]:
    """A run of plain letters: a function, a word, or a product of one-letter names."""
    if run in FUNCTIONS or run in _NAMES:
        return [Token("command", run, None, spaced)]
    lower = run.lower()
    if lower in _SPELLED:
        return [Token("command", _SPELLED[lower], None, spaced)]
    for name in ("sqrt", "sin", "cos", "tan", "ln", "log", "pi"):
        if run.startswith(name) and len(run) == len(name) + 1:
            return [Token("command", name, None, spaced), Token("name", run[-1])]
    if lower in _WORDS or (len(run) > 3 and (run.islower() or run.istitle())):
        return [Token("text", run, None, spaced)]
    if len(run) > 4 and any(c in "aeiouAEIOU" for c in run):
        return [Token("text", run, None, spaced)]
    return [Token("name", c, None, spaced and not i) for i, c in enumerate(run)]


def _inside(text: str, at: int) -> tuple[str, int]:
    """What stands between the braces that open at `at`, and where they have closed."""
    at = text.index("{", at)
    depth = 0
    for end in range(at, len(text)):
        if text[end] == "{" and text[end - 1] != "\\":
            depth += 1
        elif text[end] == "}" and text[end - 1] != "\\":
            depth -= 1
            if not depth:
                return text[at + 1 : end], end + 1
    return text[at + 1 :], len(text)


def _worded(name: str, inside: str, *, spaced: bool) -> list[Token]:
    r"""`\text{…}`: words, or what happens to be mathematics."""
    words = inside.strip()
    bare = words.strip(" ,.;")
    if not words:
        return []
    if bare.lower() in {"and", "or"}:
        return [Token("text", bare.lower(), None, spaced)]
    if len(words) == 1 and words.isalpha():
        unit_vector = name in {"mathbf", "bm"} and words in "ijk"
        return [Token("name", f"vec_{words}" if unit_vector else words, None, spaced)]
    if words in FUNCTIONS or words in _NAMES:
        return [Token("command", words, None, spaced)]
    if not any(c.isalpha() for c in words) or "\\" in words or "$" in words:
        inner = tokens(words.replace("$", " "))
        return [replace(t, spaced=spaced) if t is inner[0] else t for t in inner]
    return [Token("text", words, spaced=True)]
