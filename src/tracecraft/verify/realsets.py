"""Sets of real numbers, however they are written: intervals, inequalities, unions, builders."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tracecraft.verify.evaluate import points, real
from tracecraft.verify.nodes import (
    Call,
    Group,
    Listing,
    Node,
    Relation,
    SuchThat,
    Symbol,
    symbols,
)

__all__ = ["RealSet", "equal_sets", "real_set"]

_ORDER = {"<", ">", "<=", ">=", "!=", "="}
_GRID = sorted(
    {s * k / 4 for k in range(81) for s in (1, -1)}
    | {s * 1.37**k for k in range(8, 30) for s in (1, -1)}
)
_NEAR = 1e-9


@dataclass(frozen=True, slots=True)
class RealSet:
    """A set by its membership, and the points where membership may change."""

    holds: Callable[[float], bool]
    critical: tuple[float, ...]


def equal_sets(a: RealSet, b: RealSet) -> bool:
    """Whether both have the same members at every critical point, and between each two."""
    marks = sorted({x for x in (*a.critical, *b.critical) if math.isfinite(x)})
    kept: list[float] = []
    for mark in marks:
        if not kept or mark - kept[-1] > _NEAR * (1 + abs(mark)):
            kept.append(mark)
    probes = [*kept, *((x + y) / 2 for x, y in pairwise(kept))]
    probes += (
        [kept[0] - 1.7, kept[-1] + 1.7, kept[0] - 1e3, kept[-1] + 1e3]
        if kept
        else [0.0, -7.3, 11.1]
    )
    return all(a.holds(x) == b.holds(x) for x in probes)


def real_set(node: Node, *, comma: str = "or") -> RealSet | None:
    """The set that a condition, an interval or a union describes; None for anything else.

    Args:
        node: the answer.
        comma: how inequalities with only a comma between them are joined.
    """
    names = symbols(node)
    variable = _variable(node, names)
    others = names - {variable}
    at = points(others, "positive")[0] if others else {}
    return _built(node, variable, {k: complex(v) for k, v in at.items()}, comma)


def _variable(node: Node, names: set[str]) -> str | None:
    """The name whose values the set holds."""
    match node:
        case SuchThat(element, _):
            return element.name if isinstance(element, Symbol) else None
        case Relation(ops, sides):
            if ops[0] in {"in", "notin"}:
                return sides[0].name if isinstance(sides[0], Symbol) else None
            lone = [s.name for s in sides if isinstance(s, Symbol) and s.name in names]
            if lone:
                return lone[0]
        case Listing(items, _):
            found = [_variable(i, names) for i in items]
            return next((f for f in found if f is not None), None)
        case Group() | Call(("cup" | "cap" | "setminus"), _):
            return None
    return next(iter(names)) if len(names) == 1 else None


def _built(node: Node, x: str | None, at: Mapping[str, Any], comma: str) -> RealSet | None:
    match node:
        case Symbol(name) if name.startswith("#"):
            return _named(name)
        case Group(left, (low, high), right) if (
            left in "([" and right in ")]" and not _nested(node)
        ):
            return _interval(left, real(low, at), real(high, at), right)
        case Group("{", items, "}") if not _nested(node):
            return _finite([real(i, at) for i in items])
        case Call(("cup" | "cap" | "setminus") as op, (a, b)):
            return _combined(op, _built(a, x, at, comma), _built(b, x, at, comma))
        case SuchThat(Symbol(name), condition):
            return _built(condition, name, at, "and")
        case Relation(("in",), (Symbol(), inside)):
            return _built(inside, None, at, comma)
        case Relation(("notin",), (Symbol(), inside)):
            return _combined("setminus", _named("#R"), _built(inside, None, at, comma))
        case Relation(("!=",), (left, Call("pm", (middle, gap)))) if x is not None:
            both = [Call(op, (middle, gap)) for op in ("add", "sub")]
            parts = [_inequality("!=", left, side, x, at) for side in both]
            return _combined("cap", *parts)
        case Relation(ops, sides) if set(ops) <= _ORDER and x is not None:
            return _solutions(ops, sides, x, at)
        case Relation(("<" | ">" | "<=" | ">=" | "!=", *_) as ops, sides) if x is not None:
            if ops[-1] == "in" and set(ops[:-1]) <= _ORDER:
                return None
        case Listing(items, joints):
            return _joined(items, joints, x, at, comma)
    return None


def _nested(node: Group) -> bool:
    return any(isinstance(i, (Group, Relation, Listing, SuchThat)) for i in node.items)


def _named(name: str) -> RealSet | None:
    match name:
        case "#R":
            return RealSet(lambda v: True, ())
        case "#R+":
            return RealSet(lambda v: v > _NEAR, (0.0,))
        case "#Z":
            return RealSet(lambda v: _close(v, round(v)), tuple(map(float, range(-40, 41))))
        case "#emptyset":
            return RealSet(lambda v: False, ())
    return None


def _interval(left: str, low: float | None, high: float | None, right: str) -> RealSet | None:
    if low is None or high is None:
        return None

    def holds(v: float) -> bool:
        if _close(v, low):
            return left == "[" and (v < high or _close(v, high))
        if _close(v, high):
            return right == "]" and v > low
        return low < v < high

    return RealSet(holds, (low, high))


def _close(a: float, b: float) -> bool:
    return math.isfinite(b) and abs(a - b) <= _NEAR * (1 + abs(b))


def _finite(values: list[float | None]) -> RealSet | None:
    known = [v for v in values if v is not None]
    if len(known) < len(values):
        return None
    return RealSet(lambda v: any(_close(v, k) for k in known), tuple(known))


def _combined(op: str, a: RealSet | None, b: RealSet | None) -> RealSet | None:
    if a is None or b is None:
        return None
    match op:
        case "cup":
            return RealSet(lambda v: a.holds(v) or b.holds(v), (*a.critical, *b.critical))
        case "cap":
            return RealSet(lambda v: a.holds(v) and b.holds(v), (*a.critical, *b.critical))
    return RealSet(lambda v: a.holds(v) and not b.holds(v), (*a.critical, *b.critical))


def _joined(
    items: tuple[Node, ...],
    joints: tuple[str, ...],
    x: str | None,
    at: Mapping[str, Any],
    comma: str,
) -> RealSet | None:
    relation = any(isinstance(i, (Relation, Listing)) for i in items)
    if not relation:
        return None
    total: RealSet | None = None
    for item, joint in zip(items, (",", *joints), strict=True):
        part = _built(item, x, at, comma)
        if part is None and isinstance(item, Relation):
            if item.ops == ("in",) and item.sides[1] == Symbol("#R"):
                continue  # `x in R` adds nothing
            return None
        if part is None:  # `x != 0, 1`: the operator is said once
            value, first = real(item, at), items[0]
            if value is None or not isinstance(first, Relation) or len(first.ops) > 1:
                return None
            part = _solutions(first.ops, (first.sides[0], item), x or "", at)
            if part is None:
                return None
        excluded = isinstance(item, Relation) and item.ops == ("!=",)
        excluded = excluded or item == Relation(("in",), (Symbol(x or ""), Symbol("#Z")))
        joint = {"or": "cup", "and": "cap", "where": "cap"}.get(joint) or (
            "cap" if comma == "and" or excluded else "cup"
        )
        total = part if total is None else _combined(joint, total, part)
    return total


def _solutions(
    ops: tuple[str, ...], sides: tuple[Node, ...], x: str, at: Mapping[str, Any]
) -> RealSet | None:
    total: RealSet | None = None
    for op, left, right in zip(ops, sides, sides[1:], strict=False):
        part = _inequality(op, left, right, x, at)
        if part is None:
            return None
        total = part if total is None else _combined("cap", total, part)
    return total


def _inequality(op: str, left: Node, right: Node, x: str, at: Mapping[str, Any]) -> RealSet | None:
    def gap(v: float) -> float | None:
        here = {**at, x: complex(v)}
        a, b = real(left, here), real(right, here)
        return None if a is None or b is None or (math.isinf(a) and math.isinf(b)) else a - b

    def holds(v: float) -> bool:
        found = gap(v)
        if found is None:
            return False
        level = abs(found) <= 1e-8 * (1 + abs(v))
        match op:
            case "<":
                return found < 0 and not level
            case ">":
                return found > 0 and not level
            case "<=":
                return found <= 0 or level
            case ">=":
                return found >= 0 or level
            case "=":
                return level
        return not level

    critical = _zeros(gap)
    return None if critical is None else RealSet(holds, critical)


def _zeros(gap: Callable[[float], float | None]) -> tuple[float, ...] | None:
    """Where a gap changes sign: exactly if it is affine, else by looking closely."""
    a, b, c = gap(0.0), gap(1.0), gap(3.0)
    if a is not None and b is not None and c is not None and math.isfinite(a + b + c):
        slope = b - a
        if abs(a + 3 * slope - c) <= 1e-9 * (1 + abs(c)):
            return (-a / slope,) if slope else ()
    if a is not None and math.isinf(a):
        return ()
    found: list[float] = []
    previous: tuple[float, float | None] | None = None
    for v in _GRID:
        here = gap(v)
        if previous is not None:
            found += _between(gap, previous, (v, here))
        if here == 0:
            found.append(v)
        previous = (v, here)
    return tuple(found) if found else None


def _between(
    gap: Callable[[float], float | None],
    left: tuple[float, float | None],
    right: tuple[float, float | None],
) -> list[float]:
    (low, at_low), (high, at_high) = left, right
    if (at_low is None) == (at_high is None) and (
        at_low is None or at_high is None or (at_low > 0) == (at_high > 0)
    ):
        return []
    for _ in range(60):
        middle = (low + high) / 2
        here = gap(middle)
        if (here is None) == (at_low is None) and (
            here is None or at_low is None or (here > 0) == (at_low > 0)
        ):
            low, at_low = middle, here
        else:
            high = middle
    return [low]
