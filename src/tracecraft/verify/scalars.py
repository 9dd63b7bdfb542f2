"""One value beside another: percent, degrees, bases, ratios, rounding, then plain equality."""

from fractions import Fraction

from tracecraft.verify.arithmetic import DOUBLES
from tracecraft.verify.evaluate import attempted, differ, exact, precise, same, wider
from tracecraft.verify.nodes import Call, Node, Number, symbols
from tracecraft.verify.ruling import OPEN, Ruling, no, unsure, yes

__all__ = ["rounding", "scalar"]

_HUNDRED = Number(Fraction(100))
_NEAR, _FAR = 0.2, 0.25
"""Relative differences: no rounding moves a value so far; doubles that differ so much do so
without being looked at more closely."""
_LARGEST_SHARE = 10
_LEAST_WRITTEN = 2
"""Significant digits a reference must show before it grants its rounding to an answer."""
_LEAST_DIGITS = 4
"""Significant digits from which a decimal stands for an exact reference."""


def scalar(a: Node, b: Node) -> Ruling:
    """Whether the answer `b` has the value of the reference `a`."""
    for op, rule in (
        ("percent", _percent),
        ("degree", _degree),
        ("base", _base),
        ("ratio", _ratio),
    ):
        if any(isinstance(n, Call) and n.op == op for n in (a, b)):
            return rule(a, b)
    return _plain(a, b)


def _inner(node: Node, op: str) -> Node | None:
    match node:
        case Call(name, (inner,)) if name == op:
            return inner
        case Call("neg", (Call(name, (inner,)),)) if name == op:
            return Call("neg", (inner,))
    return None


def _plain(a: Node, b: Node) -> Ruling:
    equal = same(a, b)
    if equal:
        return yes("equal", "domain") if wider(a, b) else yes("equal")
    close = rounding(a, b)
    if close is not None:
        return close
    if equal is None:
        return OPEN
    return no("another value")


def _percent(a: Node, b: Node) -> Ruling:
    left, right = _inner(a, "percent"), _inner(b, "percent")
    if left is not None and right is not None:
        return _plain(left, right)
    if left is None and right is None:
        return _plain(a, b)
    bare = _plain(left or a, right or b)
    if bare.holds:
        return bare.flagged("percent")
    whole = _plain(a, b)
    if whole.holds:
        # 5000% is 50, but whoever writes it for 50 has most likely taken a percentage twice
        number = precise(b if left is not None else a)
        small = number is not None and abs(number) < _LARGEST_SHARE
        return yes("percent", *whole.flags) if small else unsure("percent")
    return bare


def _degree(a: Node, b: Node) -> Ruling:
    left, right = _inner(a, "degree"), _inner(b, "degree")
    if left is None and right is None:
        return _plain(a, b)
    bare = _plain(left or a, right or b)
    if bare.holds or (left is not None and right is not None):
        return bare
    turned = _plain(a, b)
    return turned if turned.holds else bare


def _base(a: Node, b: Node) -> Ruling:
    left, right = _digits(a), _digits(b)
    if left is None or right is None:
        return no("another value") if left or right else OPEN
    if left[1] is not None and right[1] is not None:
        if left == right:
            return yes("base")
        worth = _worth(*left), _worth(*right)
        return yes("base", "base") if worth[0] == worth[1] is not None else no("base")
    return yes("base", "base") if left[0] == right[0] else unsure("a base on one side only")


def _worth(digits: Fraction, base: Fraction | None) -> int | None:
    """The value of digits in a base up to ten."""
    if digits.denominator != 1 or base is None or not 2 <= base <= 10:
        return None
    try:
        return int(str(digits), int(base))
    except ValueError:
        return None


def _digits(node: Node) -> tuple[Fraction, Fraction | None] | None:
    match node:
        case Call("base", (Number(value), base)):
            return value, exact(base)
        case Number(value):
            return value, None
    return None


def _ratio(a: Node, b: Node) -> Ruling:
    match a, b:
        case Call("ratio", left), Call("ratio", right):
            if len(left) != len(right) or any(exact(x) == 0 for x in (*left, *right)):
                return no("ratio")
            for i in range(1, len(left)):
                crossed = same(Call("mul", (left[0], right[i])), Call("mul", (right[0], left[i])))
                if not crossed:
                    return no("ratio") if crossed is False else OPEN
            return yes("ratio")
    ruling = _plain(a, b)
    return ruling.flagged("ratio") if ruling.holds else ruling


def _decimal(node: Node) -> tuple[Fraction, Fraction, int] | None:
    """A decimal as written: its value, half a unit of its last digit, its significant digits."""
    match node:
        case Number(value, decimals) if decimals is not None:
            unit = Fraction(10) ** -decimals
            return value, unit / 2, len(str(int(abs(value) / unit))) if value else 0
        case Call("neg", (inner,)):
            found = _decimal(inner)
            return None if found is None else (-found[0], found[1], found[2])
        case Call("percent", (inner,)):
            found = _decimal(inner)
            return None if found is None else (found[0] / 100, found[1] / 100, found[2])
        case Call(
            "mul", (inner, Call("pow", (Number(Fraction(numerator=10, denominator=1)), _)) as power)
        ):
            found, scale = _decimal(inner), exact(power)
            if found is not None and scale is not None:
                return found[0] * scale, found[1] * scale, found[2]
    return None


def rounding(a: Node, b: Node) -> Ruling | None:
    """Whether one of two unequal values is the other, rounded as written; None where neither is.

    A reference with decimals says how far it was rounded, so an answer that rounds to it is
    right. A decimal answer to an exact reference must show four significant digits.
    """
    if symbols(a) or symbols(b):
        return None
    written, given = _decimal(a), _decimal(b)
    if written is None and given is None:
        return None
    rough = attempted(a, {}, DOUBLES), attempted(b, {}, DOUBLES)
    if None not in rough and differ(*rough, _FAR):
        return None
    left, right = precise(a), precise(b)
    if left is None or right is None or differ(left, right, _NEAR):
        return None
    gap = abs(left - right)
    slack = 1 + 1e-9
    if written is not None and (given is None or given[1] < written[1]):
        _, half, digits = written
        whole = exact(b)
        if digits < _LEAST_WRITTEN:
            return None
        if gap <= _float(half) * slack and not (whole is not None and whole.denominator == 1):
            return yes("rounded", "rounded")
        if whole is None and _truncated(left, right, written[1], digits):
            return yes("truncated", "rounded")
        return None
    if given is not None and (written is None or written[1] < given[1]):
        _, half, digits = given
        if exact(a) is not None and _terminates(a):
            return None if gap > _float(half) * slack or digits < 3 else unsure("rounded")
        if gap <= _float(half) * slack:
            if digits >= _LEAST_DIGITS:
                return yes("rounded", "rounded")
            return unsure(f"rounded to {digits} digits")
        if _truncated(right, left, half, digits):
            return yes("truncated", "rounded")
    return None


def _truncated(shown: complex, value: complex, half: Fraction, digits: int) -> bool:
    """Whether a decimal is a value whose further digits were left out: 3.1415 for pi."""
    short = abs(value) - abs(shown)
    return digits >= _LEAST_DIGITS and 0 <= short < 2 * _float(half)


def _terminates(node: Node) -> bool:
    found = exact(node)
    if found is None:
        return False
    bottom = found.denominator
    for prime in (2, 5):
        while bottom % prime == 0:
            bottom //= prime
    return bottom == 1


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf")
