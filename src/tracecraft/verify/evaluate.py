"""The value of an expression: exactly where it is rational, else to forty digits at test points."""

import cmath
import hashlib
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import Any

from tracecraft.verify.nodes import Call, Node, Number, Symbol, symbols

__all__ = ["Undefined", "exact", "real", "same", "value"]

DIGITS = 40
_COARSE, _FINE = 1e-7, 1e-25
"""Relative differences: doubles that differ by more are looked at closely; at forty digits, what
differs by more is different."""
_MOST_BITS = 20_000
_MOST_FACTORIAL = 2_000


class Undefined(ArithmeticError):
    """No value here: outside the domain, too large, or not an expression of numbers."""


def exact(node: Node) -> Fraction | None:
    """The rational value of an expression without names; None where it is none, or not seen."""
    match node:
        case Number(value):
            return value
        case Call("percent", (inner,)):
            found = exact(inner)
            return None if found is None else found / 100
        case Call(("add" | "mul" | "div" | "neg" | "pow" | "fact" | "binom" | "abs") as op, args):
            values = []
            for arg in args:
                found = exact(arg)
                if found is None:
                    return None
                values.append(found)
            return _exactly(op, values)
    return None


def _exactly(op: str, v: list[Fraction]) -> Fraction | None:
    match op:
        case "add":
            return v[0] + v[1]
        case "mul":
            return v[0] * v[1] if _bits(v[0]) + _bits(v[1]) < _MOST_BITS else None
        case "neg":
            return -v[0]
        case "abs":
            return abs(v[0])
        case "div":
            return v[0] / v[1] if v[1] else None
        case "pow":
            return _power(v[0], v[1])
    whole = [int(x) for x in v if x.denominator == 1 and 0 <= x <= _MOST_FACTORIAL]
    if len(whole) < len(v):
        return None
    return Fraction(math.factorial(whole[0]) if op == "fact" else math.comb(whole[0], whole[1]))


def _bits(value: Fraction) -> int:
    return max(value.numerator.bit_length(), value.denominator.bit_length())


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    if exponent.denominator != 1 or (not base and exponent <= 0):
        return None
    if _bits(base) * abs(exponent) > _MOST_BITS:
        return None
    return base ** int(exponent)


@cache
def _precise() -> Any:
    """Forty-digit arithmetic, in a context of our own."""
    import mpmath

    context = mpmath.MPContext()
    context.dps = DIGITS
    return context


class _Doubles:
    """Complex doubles, with the functions that both arithmetics have."""

    pi, e, i = complex(math.pi), complex(math.e), 1j
    sqrt, exp, log = cmath.sqrt, cmath.exp, cmath.log
    sin, cos, tan = cmath.sin, cmath.cos, cmath.tan
    sinh, cosh, tanh = cmath.sinh, cmath.cosh, cmath.tanh
    asin, acos, atan = cmath.asin, cmath.acos, cmath.atan

    @staticmethod
    def number(v: Fraction) -> complex:
        return complex(v)

    @staticmethod
    def gamma(z: complex) -> complex:
        if z.imag:
            raise Undefined("gamma of a complex double")
        return complex(math.gamma(z.real))


_SHARED = (
    "sqrt", "exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "asin", "acos", "atan",
    "gamma",
)  # fmt: skip


class _Digits:
    """The same at forty digits."""

    def __init__(self) -> None:
        m = _precise()
        self.pi, self.e, self.i = m.mpc(m.pi), m.mpc(m.e), m.mpc(0, 1)
        for name in _SHARED:
            setattr(self, name, getattr(m, name))
        self.m = m

    def number(self, v: Fraction) -> Any:
        return self.m.mpc(self.m.mpf(v.numerator) / v.denominator)


@cache
def _digits() -> Any:
    return _Digits()


def value(node: Node, at: Mapping[str, Any], k: Any) -> Any:
    """The value where the names have the values `at`, in the arithmetic `k`.

    Raises:
        Undefined: none there.
    """
    match node:
        case Number(v):
            return k.number(v)
        case Symbol(name):
            return _symbol(name, at, k)
        case Call(op, args):
            if op.startswith("apply "):
                return _unknown(op, [value(a, at, k) for a in args], k)
            known = _OPERATIONS.get(op)
            if known is None:
                raise Undefined(op)
            if op == "pow" and args[0] == Symbol("e"):
                return k.exp(_tame(value(args[1], at, k), 40_000))
            return known(k, *(value(a, at, k) for a in args))
    raise Undefined(type(node).__name__)


def _symbol(name: str, at: Mapping[str, Any], k: Any) -> Any:
    if name in at:
        return at[name]
    if name in {"pi", "e", "i"}:
        return getattr(k, name)
    raise Undefined(name)


def _unknown(op: str, args: list[Any], k: Any) -> Any:
    """A smooth function of its own for each unknown name: equal arguments, equal values."""
    seed = int.from_bytes(hashlib.blake2b(op.encode(), digest_size=4).digest(), "big") / 2**32
    total = k.number(Fraction(seed).limit_denominator(10**6) + 1)
    for place, arg in enumerate(args, 2):
        total = total + k.sin(_tame(arg, 1e6) * place / 3 + total)
    return total


def _tame(x: Any, most: float) -> Any:
    if abs(x) > most:
        raise Undefined("too large")
    return x


def _pow(k: Any, base: Any, exponent: Any) -> Any:
    if not base:
        if exponent.real > 0:
            return base
        raise Undefined("0 to a power that is not positive")
    if abs(exponent) * abs(math.log(float(abs(base)) or 1.0)) > 40_000:
        raise Undefined("too large")
    if not exponent.imag and exponent.real == int(exponent.real) and abs(exponent) < 1_000:
        return base ** int(exponent.real)
    if not exponent.imag and not base.imag and base.real < 0:
        odd = Fraction(float(exponent.real)).limit_denominator(99)
        if odd.denominator % 2 and abs(float(odd) - float(exponent.real)) < 1e-12:
            return (-1) ** (odd.numerator % 2) * k.exp(exponent * k.log(-base))
    return k.exp(exponent * k.log(base))


def _root(k: Any, base: Any, degree: Any) -> Any:
    if not degree:
        raise Undefined("a root of degree 0")
    if not base.imag and base.real < 0 and degree.real % 2 == 1:
        return -_pow(k, -base, 1 / degree)
    return _pow(k, base, 1 / degree)


def _log(k: Any, x: Any, base: Any = None) -> Any:
    if not x or (base is not None and (not base or base == 1)):
        raise Undefined("log")
    return k.log(x) / k.log(base if base is not None else k.number(Fraction(10)))


def _ln(k: Any, x: Any) -> Any:
    if not x:
        raise Undefined("ln 0")
    return k.log(x)


def _fact(k: Any, x: Any) -> Any:
    if abs(x) > _MOST_FACTORIAL or (not x.imag and x.real < 0 and x.real == int(x.real)):
        raise Undefined("factorial")
    return k.gamma(x + 1)


def _binom(k: Any, n: Any, r: Any) -> Any:
    return _fact(k, n) / (_fact(k, r) * _fact(k, n - r))


def _integral(x: Any, what: Callable[[Any], int], k: Any) -> Any:
    if x.imag or abs(x) > 1e15:
        raise Undefined("floor")
    return k.number(Fraction(what(x.real)))


def _divided(k: Any, a: Any, b: Any) -> Any:
    if not b:
        raise Undefined("division by 0")
    return a / b


def _named(name: str) -> Callable[..., Any]:
    return lambda k, a: getattr(k, name)(_tame(a, 1e6))


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda k, a, b: a + b,
    "mul": lambda k, a, b: a * b,
    "div": _divided,
    "neg": lambda k, a: -a,
    "pow": _pow,
    "sqrt": lambda k, a: k.sqrt(a),
    "root": _root,
    "percent": lambda k, a: a / 100,
    "degree": lambda k, a: a * k.pi / 180,
    "abs": lambda k, a: k.number(Fraction(0)) + abs(a),
    "fact": _fact,
    "binom": _binom,
    "exp": lambda k, a: k.exp(_tame(a, 40_000)),
    "ln": _ln,
    "log": _log,
    "lg": _log,
    "floor": lambda k, a: _integral(a, math.floor, k),
    "ceil": lambda k, a: _integral(a, math.ceil, k),
    "arcsin": lambda k, a: k.asin(a),
    "arccos": lambda k, a: k.acos(a),
    "arctan": lambda k, a: k.atan(a),
    "cot": lambda k, a: _divided(k, k.cos(a), k.sin(a)),
    "sec": lambda k, a: _divided(k, k.number(Fraction(1)), k.cos(a)),
    "csc": lambda k, a: _divided(k, k.number(Fraction(1)), k.sin(a)),
    "ratio": _divided,
    "min": lambda k, *a: k.number(Fraction(0)) + min(x.real for x in a),
    "max": lambda k, *a: k.number(Fraction(0)) + max(x.real for x in a),
    **{name: _named(name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
}


def attempted(node: Node, at: Mapping[str, Any], k: Any) -> Any:
    """The value, or None where there is none."""
    try:
        found = value(node, at, k)
    except (ArithmeticError, ValueError, TypeError, RecursionError):
        return None
    if isinstance(found, complex):
        return found if cmath.isfinite(found) else None
    return found if _precise().isfinite(found) else None


_SCALES = (1, 1, 6, 25)
"""Sizes of the test points: near one where little overflows, and far enough for a floor to tell."""


def points(names: set[str], kind: str) -> list[dict[str, Fraction]]:
    """Test points, the same in every process: `positive`, or `mixed` in sign."""
    found = []
    for n, scale in enumerate(_SCALES):
        point = {}
        for name in sorted(names):
            seed = hashlib.blake2b(f"{name}/{n}".encode(), digest_size=8).digest()
            unit = Fraction(int.from_bytes(seed[:4], "big"), 2**32)
            sign = -1 if kind == "mixed" and (seed[5] % 2 or len(names) == 1) else 1
            point[name] = (sign * (Fraction(1, 3) + unit * 2) * scale).limit_denominator(10**4)
        found.append(point)
    return found


def differ(a: Any, b: Any, tolerance: float) -> bool:
    """Whether two values differ by more than `tolerance`, relative to the larger."""
    size = max(abs(a), abs(b))
    return bool(abs(a - b) > tolerance * size) if size > 1e-290 else bool(a != b)


def _agree(a: Node, b: Node, point: Mapping[str, Fraction]) -> bool | None:
    """Whether two expressions have one value at a point; None where one has none."""
    coarse = [attempted(n, {s: complex(v) for s, v in point.items()}, _Doubles) for n in (a, b)]
    if None not in coarse and differ(coarse[0], coarse[1], 1e-3):
        return False
    k = _digits()
    fine = [attempted(n, {s: k.number(v) for s, v in point.items()}, k) for n in (a, b)]
    if None in fine:
        return None
    if not differ(fine[0], fine[1], _FINE):
        return True
    # what vanishes is known only up to the size of what cancels in it
    return max(abs(fine[0]), abs(fine[1])) < 1e-30 and not _plain(a) and not _plain(b)


def _plain(node: Node) -> bool:
    return exact(node) is not None


def same(a: Node, b: Node) -> bool | None:
    """Whether two expressions are equal where both are real; None where no point can tell.

    Names stand for real numbers: what differs only at complex or undefined points is equal.
    """
    if a == b:
        return True
    names = symbols(a) | symbols(b)
    if not names:
        left, right = exact(a), exact(b)
        if left is not None and right is not None:
            return left == right
        return _agree(a, b, {})
    seen = 0
    for point in points(names, "positive"):
        match _agree(a, b, point):
            case False:
                return _over_integers(a, b, names)
            case True:
                seen += 1
    for point in points(names, "mixed"):
        match _agree(a, b, point):
            case False if _real_there(a, b, point):
                return False
            case True:
                seen += 1
    if seen >= 2:
        return True
    return _over_integers(a, b, names) or None


_COUNTS = frozenset("nkmNKMlj")


def _over_integers(a: Node, b: Node, names: set[str]) -> bool:
    r"""Whether they agree wherever the counting letters are whole: `\cos n\pi` and `(-1)^n`."""
    if not names <= _COUNTS:
        return False
    return all(
        _agree(a, b, {n: Fraction(w + i) for i, n in enumerate(sorted(names))}) for w in range(1, 8)
    )


def _real_there(a: Node, b: Node, point: Mapping[str, Fraction]) -> bool:
    k = _digits()
    for node in (a, b):
        found = attempted(node, {s: k.number(v) for s, v in point.items()}, k)
        if found is None or abs(found.imag) > 1e-25 * max(1, abs(found)):
            return False
    return True


def real(node: Node, at: Mapping[str, Any] | None = None) -> float | None:
    """The value as a double, where it is real; infinities included."""
    match node:
        case Symbol("infty"):
            return math.inf
        case Call("neg", (Symbol("infty"),)):
            return -math.inf
    found = attempted(node, at or {}, _Doubles)
    if found is None or abs(found.imag) > 1e-9 * max(1.0, abs(found)):
        return None
    return float(found.real)


def precise(node: Node) -> Any:
    """The value of an expression without names at forty digits; None where there is none."""
    return None if symbols(node) else attempted(node, {}, _digits())
