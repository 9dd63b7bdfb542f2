"""The value of an expression: exactly where it is rational, else to forty digits at test points."""

import cmath
import hashlib
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tracecraft.verify.arithmetic import DOUBLES, MANY, MOST_TERMS, digits, precise_context, value
from tracecraft.verify.nodes import Call, Node, Number, Symbol, mentioned, renamed, symbols, walk

__all__ = ["attempted", "differ", "exact", "points", "precise", "real", "same", "wider"]

_COARSE, _FINE = 1e-3, 1e-25
"""Relative differences: doubles that differ by more are different, and at forty digits what
differs by more is."""
_CANCELLED = 1e-6
"""Values this small may be what a cancellation left of larger ones."""
_VANISHING, _LEFT = 1e-30, 1e-60
"""What a cancellation leaves at forty digits, and by how much less four times as many leave."""
_IMAGINARY = 1e-9
_MOST_PARTS = 150
"""Parts of an expression that are looked at one by one."""
_MOST_BITS = 20_000
_MOST_FACTORIAL = 2_000


def exact(node: Node) -> Fraction | None:
    """The rational value of an expression without names; None where it is none, or not seen."""
    match node:
        case Number(value):
            return value
        case Call("percent", (inner,)):
            found = exact(inner)
            return None if found is None else found / 100
        case Call(("sum" | "prod") as op, (body, Symbol(name), low, high)):
            return _exact_sum(op, body, name, exact(low), exact(high))
        case Call(
            (
                "add" | "mul" | "div" | "neg" | "pow" | "fact" | "binom" | "abs" | "gcd" | "lcm"
            ) as op,
            args,
        ):
            values = []
            for arg in args:
                found = exact(arg)
                if found is None:
                    return None
                values.append(found)
            return _exactly(op, values)
    return None


def _exact_sum(
    op: str, body: Node, name: str, low: Fraction | None, high: Fraction | None
) -> Fraction | None:
    if low is None or high is None or not 0 <= high - low < MOST_TERMS:
        return None
    if low.denominator > 1 or high.denominator > 1:
        return None
    total = Fraction(op == "prod")
    for count in range(int(low), int(high) + 1):
        term = exact(renamed(body, {name: Number(Fraction(count))}))
        if term is None or _bits(total) > _MOST_BITS:
            return None
        total = total * term if op == "prod" else total + term
    return total


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
    if op in {"gcd", "lcm"}:
        if any(x.denominator > 1 or _bits(x) > 2_000 for x in v):
            return None
        return Fraction((math.gcd if op == "gcd" else math.lcm)(*(int(x) for x in v)))
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


def attempted(node: Node, at: Mapping[str, Any], k: Any) -> Any:
    """The value, or None where there is none."""
    try:
        found = value(node, at, k)
    except (ArithmeticError, ValueError, TypeError, RecursionError):
        return None
    if isinstance(found, complex):
        return found if cmath.isfinite(found) else None
    return found if precise_context().isfinite(found) else None


_SCALES: tuple[Fraction, ...] = tuple(map(Fraction, ("1", "1", "6", "25", "0.2")))
"""Sizes of the test points: near one where little overflows, far enough for a floor to tell, and
small enough for `\\sqrt{1 - x^2}`."""


def points(names: set[str], kind: str) -> Sequence[Mapping[str, Fraction]]:
    """Test points, the same in every process: `positive`, or `mixed` in sign."""
    return _points(tuple(sorted(names)), kind)


@lru_cache(maxsize=1 << 10)
def _points(names: tuple[str, ...], kind: str) -> list[dict[str, Fraction]]:
    found = []
    for n, scale in enumerate(_SCALES):
        point = {}
        for name in names:
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
    coarse = [attempted(n, {s: complex(v) for s, v in point.items()}, DOUBLES) for n in (a, b)]
    if (
        None not in coarse
        and differ(coarse[0], coarse[1], _COARSE)
        and max(abs(coarse[0]), abs(coarse[1])) > _CANCELLED
    ):
        return False
    fine = _finely(a, b, point, digits())
    if None in fine:
        return None
    if not differ(fine[0], fine[1], _FINE):
        return True
    if differ(fine[0], fine[1], _COARSE) and max(abs(fine[0]), abs(fine[1])) > _VANISHING:
        return False
    finest = _finely(a, b, point, digits(MANY))
    if None in finest:
        return None
    if not differ(finest[0], finest[1], _FINE):
        return True
    # of what cancels, as much is left as the digits are rounded
    left = [abs(y) <= abs(x) * _LEFT for x, y in zip(fine, finest, strict=True)]
    return all(left) and max(abs(fine[0]), abs(fine[1])) < _VANISHING


def _finely(a: Node, b: Node, point: Mapping[str, Fraction], k: Any) -> list[Any]:
    at = {s: k.number(v) for s, v in point.items()}
    return [attempted(n, at, k) for n in (a, b)]


def same(a: Node, b: Node) -> bool | None:
    """Whether two expressions are equal where both are real; None where no point can tell.

    Names stand for real numbers: what differs only at complex or undefined points is equal.
    """
    if a == b:
        return True
    left = exact(a)
    right = None if left is None else exact(b)
    if right is not None:
        return left == right
    names = symbols(a) | symbols(b)
    if not names:
        return _agree(a, b, {})
    seen = 0
    complex_ = "i" in mentioned(a) | mentioned(b)
    for point in points(names, "positive"):
        match _agree(a, b, point):
            case False if complex_ or _real_there(a, b, point):
                return _over_integers(a, b, names) or False
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
    return _over_integers(a, b, names)


_PARTIAL = frozenset({"ln", "log", "lg", "sqrt", "root", "arcsin", "arccos", "arccosh"})


def _partial(node: Node) -> bool:
    """Whether it may be real for some arguments only."""
    match node:
        case Call("pow", (_, Number(power))):
            return power.denominator > 1
        case Call(op, _):
            return op in _PARTIAL or op == "pow"
    return False


def wider(a: Node, b: Node) -> bool:
    r"""Whether one of two equal expressions is real where the other is not: `\\ln|x|`, `\\ln x`."""
    names = symbols(a) | symbols(b)
    if not names or not any(map(_partial, [*walk(a), *walk(b)])):
        return False
    tried = [*points(names, "positive"), *points(names, "mixed")]
    return any(_imaginary(a, p) != _imaginary(b, p) for p in tried)


_COUNTS = frozenset("nkmNKMlj")


def _over_integers(a: Node, b: Node, names: set[str]) -> bool | None:
    r"""Whether they agree wherever the counting letters are whole: `\cos n\pi` and `(-1)^n`.

    None where that cannot be told.
    """
    counts = names if names <= _COUNTS else _counting(a) | _counting(b)
    if not counts or not counts <= _COUNTS:
        return None
    places = [*points(names - counts, "positive"), *points(names - counts, "mixed")]
    told: list[bool | None] = []
    for whole, place in zip(range(1, 8), places, strict=False):
        point = {**place, **{n: Fraction(whole + i) for i, n in enumerate(sorted(counts))}}
        told.append(_agree(a, b, point))
        if told[-1] is False:
            return False if _real_there(a, b, point) else None
    return True if all(told) else None


def _counting(node: Node) -> set[str]:
    """The names in exponents and at the ends of sums."""
    found = set[str]()
    for part in walk(node):
        match part:
            case Call("pow", (_, power)):
                found |= symbols(power)
            case Call(("sum" | "prod"), (_, _, low, high)):
                found |= symbols(low) | symbols(high)
    return found


def _real_there(a: Node, b: Node, point: Mapping[str, Fraction]) -> bool:
    """Whether both are real at a point, and so is all that they are made of."""
    at = {s: complex(v) for s, v in point.items()}
    if _imaginary(a, point) or _imaginary(b, point):
        return False
    return all(attempted(node, at, DOUBLES) is not None for node in (a, b))


def _imaginary(node: Node, point: Mapping[str, Fraction]) -> bool:
    """Whether it, or anything that it is made of, is not real at a point."""
    at = {s: complex(v) for s, v in point.items()}
    parts = [n for n in walk(node) if isinstance(n, Call)]
    for part in parts if len(parts) <= _MOST_PARTS else [node]:
        found = attempted(part, at, DOUBLES)
        if found is not None and abs(found.imag) > _IMAGINARY * max(1.0, abs(found)):
            return True
    return False


def real(node: Node, at: Mapping[str, Any] | None = None) -> float | None:
    """The value as a double, where it is real; infinities included."""
    match node:
        case Symbol("infty"):
            return math.inf
        case Call("neg", (Symbol("infty"),)):
            return -math.inf
    found = attempted(node, at or {}, DOUBLES)
    if found is None or abs(found.imag) > 1e-9 * max(1.0, abs(found)):
        return None
    return float(found.real)


def precise(node: Node) -> Any:
    """The value of an expression without names at forty digits; None where there is none."""
    return None if symbols(node) else attempted(node, {}, digits())
