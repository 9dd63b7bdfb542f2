"""Expressions as numbers, in doubles or at forty digits; what grows too large has no value."""

import cmath
import hashlib
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

from tracecraft.verify.nodes import Call, Matrix, Node, Number, Symbol

__all__ = ["DOUBLES", "MANY", "MOST_TERMS", "Undefined", "digits", "precise_context", "value"]

DIGITS, MANY = 40, 160
_MOST_FACTORIAL = 2_000
MOST_TERMS = 300
_LARGEST = 5
"""Rows of a determinant."""


class Undefined(ArithmeticError):
    """No value here: outside the domain, too large, or not an expression of numbers."""


@cache
def precise_context(count: int = DIGITS) -> Any:
    """Arithmetic of so many digits, in a context of our own."""
    import mpmath  # type: ignore[import-untyped]

    context = mpmath.MPContext()
    context.dps = count
    return context


class DOUBLES:
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
    """The same at so many digits."""

    def __init__(self, count: int) -> None:
        m = precise_context(count)
        self.pi, self.e, self.i = m.mpc(m.pi), m.mpc(m.e), m.mpc(0, 1)
        for name in _SHARED:
            setattr(self, name, getattr(m, name))
        self.m = m
        self.number = lru_cache(maxsize=1 << 12)(self._number)

    def _number(self, v: Fraction) -> Any:
        return self.m.mpc(self.m.mpf(v.numerator) / v.denominator)


@cache
def digits(count: int = DIGITS) -> Any:
    return _Digits(count)


def value(node: Node, at: Mapping[str, Any], k: Any) -> Any:
    """The value where the names have the values `at`, in the arithmetic `k`.

    Raises:
        Undefined: none there.
    """
    match node:
        case Number(v):
            return k.number(v)
        case Call(("sum" | "prod") as op, (body, Symbol(name), low, high)):
            first, last = (value(x, at, k) for x in (low, high))
            terms = [value(body, {**at, name: n}, k) for n in _counted(first, last, k)]
            nothing = k.number(Fraction(op == "prod"))
            return sum(terms, nothing) if op == "sum" else math.prod(terms, start=nothing)
        case Call("det", (Matrix(rows),)):
            return _det([[value(x, at, k) for x in row] for row in rows])
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


def _counted(first: Any, last: Any, k: Any) -> list[Any]:
    """The whole numbers from the first to the last."""
    ends = [int(x.real) for x in (first, last)]
    if any(x.imag or x.real != end for x, end in zip((first, last), ends, strict=True)):
        raise Undefined("a sum between numbers that are not whole")
    if not -1 <= ends[1] - ends[0] < MOST_TERMS:
        raise Undefined("a sum")
    return [k.number(Fraction(n)) for n in range(ends[0], ends[1] + 1)]


def _det(rows: list[list[Any]]) -> Any:
    """A determinant, expanded along its first row."""
    if len(rows) != len(rows[0]) or len(rows) > _LARGEST:
        raise Undefined("det")
    if len(rows) == 1:
        return rows[0][0]
    minors = [[row[:i] + row[i + 1 :] for row in rows[1:]] for i in range(len(rows))]
    return sum((-1) ** i * rows[0][i] * _det(minor) for i, minor in enumerate(minors))


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


def _fact2(k: Any, x: Any) -> Any:
    if x.imag or x.real != int(x.real) or not 0 <= x.real <= _MOST_FACTORIAL:
        raise Undefined("double factorial")
    return k.number(Fraction(math.prod(range(int(x.real), 0, -2))))


def _binom(k: Any, n: Any, r: Any) -> Any:
    return _fact(k, n) / (_fact(k, r) * _fact(k, n - r))


def _integral(x: Any, what: Callable[[Any], int], k: Any) -> Any:
    if x.imag or abs(x) > 1e15:
        raise Undefined("floor")
    return k.number(Fraction(what(x.real)))


def _sign(x: Any) -> int:
    return int(x > 0) - int(x < 0)


def _divided(k: Any, a: Any, b: Any) -> Any:
    if not b:
        raise Undefined("division by 0")
    return a / b


def _named(name: str) -> Callable[..., Any]:
    return lambda k, a: getattr(k, name)(_tame(a, 1e6))


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "add": lambda k, a, b: a + b,
    "sub": lambda k, a, b: a - b,
    "mul": lambda k, a, b: a * b,
    "div": _divided,
    "neg": lambda k, a: 0 - a,  # -a would turn the sign of a zero, and a root to its conjugate
    "pow": _pow,
    "sqrt": lambda k, a: k.sqrt(a),
    "root": _root,
    "percent": lambda k, a: a / 100,
    "degree": lambda k, a: a * k.pi / 180,
    "abs": lambda k, a: k.number(Fraction(0)) + abs(a),
    "fact": _fact,
    "fact2": _fact2,
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
    "arcsinh": lambda k, a: k.log(a + k.sqrt(a * a + 1)),
    "arccosh": lambda k, a: k.log(a + k.sqrt(a - 1) * k.sqrt(a + 1)),
    "arctanh": lambda k, a: _ln(k, _divided(k, 1 + a, 1 - a)) / 2,
    "arccot": lambda k, a: k.pi / 2 - k.atan(a),
    "arcsec": lambda k, a: k.acos(_divided(k, k.number(Fraction(1)), a)),
    "arccsc": lambda k, a: k.asin(_divided(k, k.number(Fraction(1)), a)),
    "coth": lambda k, a: _divided(k, k.cosh(_tame(a, 1e4)), k.sinh(a)),
    "sech": lambda k, a: 1 / k.cosh(_tame(a, 1e4)),
    "csch": lambda k, a: _divided(k, k.number(Fraction(1)), k.sinh(_tame(a, 1e4))),
    "sign": lambda k, a: _integral(a, _sign, k),
    "gamma": lambda k, a: _fact(k, a - 1),
    "cot": lambda k, a: _divided(k, k.cos(a), k.sin(a)),
    "sec": lambda k, a: _divided(k, k.number(Fraction(1)), k.cos(a)),
    "csc": lambda k, a: _divided(k, k.number(Fraction(1)), k.sin(a)),
    "ratio": _divided,
    "min": lambda k, *a: k.number(Fraction(0)) + min(x.real for x in a),
    "max": lambda k, *a: k.number(Fraction(0)) + max(x.real for x in a),
    **{name: _named(name) for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")},
}
