"""The commands of an answer: fractions, roots, vectors, matrices, and the names of symbols."""

from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING

from tracecraft.verify.nodes import (
    Call,
    Group,
    Listing,
    Matrix,
    Node,
    Number,
    Relation,
    SuchThat,
    Symbol,
    Text,
)
from tracecraft.verify.sums import indexed, summed
from tracecraft.verify.tokens import FUNCTIONS, Token, Unparsed

if TYPE_CHECKING:
    from tracecraft.verify.grammar import Parser

__all__ = [
    "PRIMARIES",
    "SYMBOLS",
    "applied",
    "beside",
    "braced_set",
    "degrees",
    "function",
    "inverse",
    "mixed",
    "primed",
    "subscripted",
]

_MATRICES = frozenset(
    (
        "pmatrix", "bmatrix", "vmatrix", "Vmatrix", "matrix", "smallmatrix", "Bmatrix", "array",
        "cases", "aligned", "align",
    )
)  # fmt: skip
_ARROWS = frozenset({"vec", "overrightarrow"})
_ACCENTS = (*sorted(_ARROWS), "hat", "widehat", "tilde", "dot", "ddot")
_LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Phi Psi Omega pi infty ell "
    "hbar nabla partial"
)
SYMBOLS = {
    **{name: name for name in _LETTERS.split()},
    "emptyset": "#emptyset",
    "ldots": "…",
    "prime": "'",
}
"""Commands that are names, and the names they are."""


def _digit_or_argument(p: "Parser") -> Node:
    r"""`\frac12` takes one digit each."""
    token = p.tokens[p.at] if p.at < len(p.tokens) else None
    if (
        token is not None
        and token.kind == "number"
        and len(token.text) > 1
        and token.text.isdigit()
    ):
        rest = token.text[1:]
        p.tokens[p.at] = Token("number", rest, Number(Fraction(rest)))
        return Number(Fraction(token.text[0]))
    return p.argument()


def _frac(p: "Parser") -> Node:
    top, bottom = _digit_or_argument(p), _digit_or_argument(p)
    match top, bottom:
        case Symbol("d" | "partial"), Call("mul", (Symbol("d" | "partial"), Symbol())):
            raise Unparsed("a derivative that is not worked out")
    return Call("div", (top, bottom))


def _binom(p: "Parser") -> Node:
    return Call("binom", (_digit_or_argument(p), _digit_or_argument(p)))


def _sqrt(p: "Parser") -> Node:
    if p.accept("["):
        (degree, *more) = p.items("]")
        if more:
            raise Unparsed("a root of several degrees")
        p.expect("]")
        return Call("root", (p.argument(), degree))
    return Call("sqrt", (p.argument(),))


def _over(p: "Parser") -> Node:
    inner = p.argument()
    match inner:
        case Call("mul", _) | Symbol():
            return Symbol("seg_" + "".join(_spelled(inner)))
    raise Unparsed("an overline")


def _accented(p: "Parser") -> Node:
    accent = p.tokens[p.at - 1].text
    name = "".join(_spelled(p.argument()))
    if accent in _ARROWS or (accent == "hat" and name in {"i", "j", "k"}):
        accent = "vec"
    return Symbol(f"{accent}_{name}")


def _angle(p: "Parser") -> Node:
    name = "".join(_spelled(p.factor()))
    while len(name) < 3 and name.isupper() and p.kind() == "name":
        name += p.take().text
    return Symbol(f"angle_{name}")


def _blackboard(p: "Parser") -> Node:
    inner = p.argument()
    if not isinstance(inner, Symbol):
        raise Unparsed("a blackboard letter")
    name = f"#{inner.name}"
    if p.kind() in {"^", "_"} and p.kind(1) in {"+", "*"}:
        p.at += 2
        return Symbol(f"{name}+")
    if p.kind() in {"^", "_"} and p.kind(1) == "{" and p.kind(2) == "+":
        p.at += 4
        return Symbol(f"{name}+")
    return Symbol(name)


def _floor(p: "Parser", name: str) -> Node:
    inner = p.listing()
    p.expect("rfloor" if name == "floor" else "rceil")
    return Call(name, (inner,))


def _environment(p: "Parser") -> Node:
    p.expect("{")
    name = ""
    while p.kind() != "}":
        name += p.take().text
    p.expect("}")
    name = name.rstrip("*")
    if name not in _MATRICES:
        raise Unparsed(f"environment {name}")
    if name == "array":
        _skip_braces(p)
    rows: list[list[Node]] = [[]]
    while p.kind() != "end":
        if p.accept("&") or (name == "cases" and p.accept(",")):
            continue
        if p.accept("\\"):
            rows.append([])
            continue
        rows[-1].append(p.clause() if name in {"cases", "aligned", "align"} else p.listing())
    p.take()
    _skip_braces(p)
    rows = [row for row in rows if row]
    if name in {"cases", "aligned", "align"}:
        return Group("cases", tuple(n for row in rows for n in row), "end")
    if not rows or len({len(row) for row in rows}) > 1:
        raise Unparsed("a matrix with ragged rows")
    matrix = Matrix(tuple(tuple(row) for row in rows))
    return Call("det", (matrix,)) if name == "vmatrix" else matrix


def _skip_braces(p: "Parser") -> None:
    """Skip `{…}`."""
    p.expect("{")
    while p.take().kind != "}":
        pass


def _spelled(node: Node) -> list[str]:
    """A subscript or a segment's name as letters."""
    match node:
        case Number(value):
            return [str(value)]
        case Symbol(name) | Text(name):
            return [name]
        case Call(op, args):
            sign = {"neg": "-", "add": "+"}.get(op, "")
            parts = [sign] if op == "neg" else []
            for i, arg in enumerate(args):
                parts += ([sign] if i and sign else []) + _spelled(arg)
            return parts
        case Listing(items, _):
            return [",".join("".join(_spelled(i)) for i in items)]
    raise Unparsed("a subscript")


_INVERSES = {
    **{f"a{name}": f"arc{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
    **{f"ar{name}": f"arc{name}" for name in ("sinh", "cosh", "tanh")},
    "sgn": "sign",
}


def function(p: "Parser", name: str) -> Node:
    power: Node | None = None
    base: Node | None = None
    while p.kind() in {"^", "_"}:
        if p.take().kind == "^":
            power = p.argument()
        else:
            base = p.argument()
    if p.kind() in {"(", "["} and p.take():
        closer = {"(": ")", "[": "]"}[p.tokens[p.at - 1].kind]
        args = p.items(closer)
        p.expect(closer)
    else:
        args = (_operand(p),)
    if base is not None:
        args = (*args, base)
    call: Node = Call(_INVERSES.get(name, name), args)
    if power == Call("neg", (Number(Fraction(1)),)) and f"arc{name}" in FUNCTIONS:
        return Call(f"arc{name}", args)
    return call if power is None else Call("pow", (call, power))


def _operand(p: "Parser") -> Node:
    r"""What a function without parentheses takes: `\sin 2x`, but not the `\cos x` after it."""
    left = p.signed_factor()
    while p._multiplies() and p.kind() not in FUNCTIONS - {"sqrt"} and p.kind() != "(":
        if p.kind() in {"text", "["}:
            break
        left = Call("mul", (left, p.factor()))
    if p.kind() == "/" and p.kind(1) in {"number", "name"}:
        p.at += 1
        left = Call("div", (left, p.factor()))
    return left


def applied(p: "Parser", name: str) -> str | None:
    """The operation where a name before a bracket is a function; None where it is a factor.

    It is one by custom (`f`, `C(5, 2)`, `W(n)`), and as all of an equation's left side: `y(0) =`.
    """
    if p.tokens[p.at].spaced:
        return None
    pair = p.kind(1) == p.kind(3) == "number" and p.kind(2) == ","
    if name == "C" and pair and p.kind(4) == ")":
        return "binom"
    lone = p.kind(2) == ")"
    letter = lone and p.kind(1) in {"name", "number"} and name.isupper() and len(name) == 1
    fraction = p.kind(2) == "/" and p.kind(3) == "number" and p.kind(4) == ")"
    behind = p.kind(3 if lone else 5)
    first = p.at == p.start + 1 + name.count("'")
    left_side = first and (lone or fraction) and behind in {"=", "approx"}
    if name.rstrip("'") in {"f", "g", "h"} or letter or left_side:
        return f"apply {name}"
    return None


def inverse(p: "Parser", base: Node) -> Node:
    """`f^{-1}(x)` as a function's value; anything else as it is."""
    match base:
        case Call("pow", (Symbol(name), Call("neg", (Number(Fraction(numerator=1)),)))) if name in {
            "f",
            "g",
            "h",
        } and p.accept("("):
            items = p.items(")")
            p.expect(")")
            return Call(f"apply {name}^-1", items)
    return base


def mixed(left: Node, right: Node) -> Node | None:
    r"""`2\frac{1}{3}` and `1 1/2`: a whole number beside a fraction of whole numbers is a sum."""
    if not (isinstance(left, Number) and left.value.denominator == 1 and left.decimals is None):
        return None
    match right:
        case Call("div", (Number(top, None), Number(bottom, None))) if (
            top.denominator == bottom.denominator == 1 and 0 < top < bottom
        ):
            return Number(left.value + top / bottom)
        case Call(("percent" | "degree") as sign, (inner,)):
            whole = mixed(left, inner)
            return None if whole is None else Call(sign, (whole,))
    return None


def beside(p: "Parser", whole: Number) -> Node:
    """`1 1/2`; two numbers side by side are nothing else."""
    top = p.take().number
    if p.accept("/") and p.kind() == "number" and top is not None:
        bottom = p.take().number
        if bottom is not None and bottom.value:
            sum_ = mixed(whole, Call("div", (top, bottom)))
            if sum_ is not None:
                return sum_
    raise Unparsed("two numbers side by side")


def degrees(p: "Parser", whole: Node) -> Node:
    """Degrees, with the minutes and seconds that may follow."""
    parts, scale = [whole], 1
    while p.kind() == "number" and p.kind(1) in {"'", '"'} and scale < 3600:
        scale *= 60
        minutes = p.take().number
        assert minutes is not None
        parts.append(Number(minutes.value / scale))
        if p.take().kind == "'" and p.kind() == "'":
            break
    while p.accept("'", '"'):
        pass
    total = parts[0]
    for part in parts[1:]:
        total = Call("add", (total, part))
    return Call("degree", (total,))


def primed(base: Node) -> Node:
    return Symbol(f"{base.name}'") if isinstance(base, Symbol) else Call("prime", (base,))


def subscripted(base: Node, index: Node, last: Token) -> Node:
    if isinstance(base, Number):
        return Call("base", (base, index))
    if isinstance(base, Symbol):
        reckoned = indexed(base, index)
        if reckoned is not None:
            return reckoned
        return Symbol(f"{base.name}_" + "".join(_spelled(index)))
    if isinstance(base, Text):
        return Symbol(f"{base.words}_" + "".join(_spelled(index)))
    raise Unparsed(f"a subscript at {last.text!r}")


def braced_set(p: "Parser") -> Node:
    r"""After `\{`."""
    if p.accept("\\}", "}"):
        return Symbol("#emptyset")
    start, bars = p.at, p.bars
    p.bars = 1  # a bar here says "such that"
    try:
        element = p.listing()
    except Unparsed:
        p.at, p.bars = start, 0
        element = p.listing()
    p.bars = bars
    if isinstance(element, Call) and element.op == "ratio" and len(element.args) == 2:
        raise Unparsed("a set with a colon")
    if p.accept("|", "mid", ":", "vert", "\\|"):
        condition = p.listing()
        _close_set(p)
        match element:
            case Relation(("in",), (Symbol() as name, Symbol("#R"))):
                return SuchThat(name, condition)
            case Relation(("in",), (Symbol() as name, _)):
                return SuchThat(name, Listing((element, condition), ("and",)))
        return SuchThat(element, condition)
    _close_set(p)
    items = element.items if isinstance(element, Listing) else (element,)
    return Group("{", items, "}")


def _close_set(p: "Parser") -> None:
    if not p.accept("}", "\\}"):
        raise Unparsed("a set is not closed")


PRIMARIES: "dict[str, Callable[[Parser], Node]]" = {
    "frac": _frac,
    "sum": summed,
    "prod": summed,
    "binom": _binom,
    "sqrt": _sqrt,
    "abs": lambda p: function(p, "abs"),
    "\\{": braced_set,
    "\\|": lambda p: p.between_bars("\\|"),
    "langle": lambda p: p.group("langle"),
    "lfloor": lambda p: _floor(p, "floor"),
    "lceil": lambda p: _floor(p, "ceil"),
    "boxed": lambda p: p.argument(),
    "mathbb": _blackboard,
    "begin": _environment,
    **dict.fromkeys(("overline", "bar"), _over),
    **dict.fromkeys(_ACCENTS, _accented),
    **dict.fromkeys(("angle", "triangle"), _angle),
}
"""Commands that take arguments, and how."""
