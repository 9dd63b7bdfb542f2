"""The value of an expression: exactly where it is rational, else to forty digits at test points."""

import cmath
import hashlib
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tracecraft.verify.arithmetic import DOUBLES, digits, precise_context, value
from tracecraft.verify.nodes import Call, Node, Number, Symbol, symbols

__all__ = ["attempted", "differ", "exact", "points", "precise", "real", "same"]

_COARSE, _FINE = 1e-3, 1e-25
"""Relative differences: doubles that differ by more are different, and at forty digits what
differs by more is."""
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


_SCALES = (1, 1, 6, 25)
"""Sizes of the test points: near one where little overflows, and far enough for a floor to tell."""


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
    if None not in coarse and differ(coarse[0], coarse[1], _COARSE):
        return False
    k = digits()
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
    left = exact(a)
    right = None if left is None else exact(b)
    if right is not None:
        return left == right
    names = symbols(a) | symbols(b)
    if not names:
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
    k = digits()
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
    found = attempted(node, at or {}, DOUBLES)
    if found is None or abs(found.imag) > 1e-9 * max(1.0, abs(found)):
        return None
    return float(found.real)


def precise(node: Node) -> Any:
    """The value of an expression without names at forty digits; None where there is none."""
    return None if symbols(node) else attempted(node, {}, digits())
