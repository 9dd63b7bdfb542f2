"""Equations and inequalities: by what they name, by their solutions, by a constant factor."""

from collections.abc import Callable

from tracecraft.verify.arithmetic import digits
from tracecraft.verify.evaluate import attempted, differ, points, real
from tracecraft.verify.labels import EQUAL, ORDERED, argument, clash, labelled, named
from tracecraft.verify.nodes import Call, Node, Number, Relation, Symbol, renamed, symbols
from tracecraft.verify.ruling import OPEN, Ruling, both, no, unsure, yes
from tracecraft.verify.scalars import scalar

__all__ = ["relations"]

_LINES = ((0.3, 0.7, 1), (-1.1, -0.4, 1), (2.3, 1.9, 1), (1.3, 0.9, 30), (0.7, -1.3, 500))
"""Starts, slopes and scales of the lines on which two equations are compared."""

_BESIDE = 1e-3
"""How far from a zero of one equation the other is looked at, too; they are sought 0.25 apart."""

Compare = Callable[[Node, Node], Ruling]


def relations(a: Node, b: Node, compare: Compare) -> Ruling | None:
    (name_a, value_a), (name_b, value_b) = labelled(a), labelled(b)
    reduced = name_a is not None or name_b is not None or value_a != a or value_b != b
    if reduced and not isinstance(value_a, Relation) and not isinstance(value_b, Relation):
        ruling = compare(value_a, renamed(value_b, argument(name_a, name_b)))
        if ruling.holds and clash(name_a, name_b):
            return no("another variable")
        if ruling.holds or name_a is None or name_b is None or not symbols(value_a):
            return ruling
        if name_a == name_b and ruling.final and not _within(name_a, value_a, value_b):
            return ruling
        if name_a != name_b and _term(name_a) == _term(name_b) is not None:
            return unsure("a recursion from another index")
    if isinstance(a, Relation) and isinstance(b, Relation):
        if a.ops == b.ops == ("=",):
            return _equations(a, b)
        return _chains(a, b)
    lone, other = (a, b) if isinstance(a, Relation) else (b, a)
    if isinstance(lone, Relation) and set(lone.ops) <= {*EQUAL, *ORDERED}:
        if isinstance(other, Number) or not symbols(other):
            return no("shape")
        if lone.ops == ("=",) and isinstance(other, (Call, Symbol)):
            return no("an equation") if not named(lone.sides[0]) else OPEN
    return None


def _term(name: Node) -> str | None:
    """The sequence of which a side names a term: `a` for `a_n` and `a_{n+1}`."""
    match name:
        case Symbol(found) if "_" in found and not found[-1].isdigit():
            return found.partition("_")[0]
        case Call(op, _) if op.startswith("apply ") and op.endswith("_"):
            return op[6:-1]
    return None


def _within(name: Node, *values: Node) -> bool:
    return any(symbols(name) & symbols(value) for value in values)


def _equations(a: Relation, b: Relation) -> Ruling:
    """Two equations have one solution set if their sides differ by a constant factor."""
    left = Call("add", (a.sides[0], Call("neg", (a.sides[1],))))
    right = Call("add", (b.sides[0], Call("neg", (b.sides[1],))))
    names = symbols(left) | symbols(right)
    if not names:
        return no("equation")
    k = digits()
    ratios = []
    for point in [*points(names, "positive"), *points(names, "mixed")]:
        at = {n: k.number(v) for n, v in point.items()}
        found = attempted(left, at, k), attempted(right, at, k)
        if found[0] is None or found[1] is None:
            continue
        if not found[0] or not found[1]:
            return no("equation") if bool(found[0]) != bool(found[1]) else OPEN
        ratios.append(found[0] / found[1])
    if len(ratios) < 2:
        return OPEN
    if all(not differ(ratios[0], r, 1e-20) for r in ratios[1:]):
        return yes("equation")
    if _solved_alone(left, right, names) or _solved_alone(right, left, names):
        return no("equation")
    return OPEN


def _solved_alone(left: Node, right: Node, names: set[str]) -> bool:
    """Whether some zero of one side is none of the other: looked for along a few lines."""
    ordered = sorted(names)
    for start, step, scale in _LINES:
        # squares, lest all names be equal at one point of a line
        ends = [(n, start * (i * i + 1), 1 + step * i) for i, n in enumerate(ordered)]

        def here(
            t: float, ends: list[tuple[str, float, float]] = ends, scale: float = scale
        ) -> dict[str, complex]:
            return {n: complex(scale * (begin + slope * t)) for n, begin, slope in ends}

        previous: tuple[float, float] | None = None
        for tick in range(-24, 25):
            t = tick / 4 + 0.01
            value = real(left, here(t))
            if value is None:
                previous = None
                continue
            if previous is not None and previous[1] * value < 0:
                low, high = previous[0], t
                for _ in range(60):
                    middle = (low + high) / 2
                    found = real(left, here(middle))
                    if found is None:
                        break
                    low, high = (middle, high) if found * previous[1] > 0 else (low, middle)
                near = real(left, here(low))
                if near is not None and abs(near) < 1e-9:
                    around = [real(right, here(low + gap)) for gap in (0, -_BESIDE, _BESIDE)]
                    if _nonzero(around):
                        return True
            previous = (t, value)
    return False


def _nonzero(around: list[float | None]) -> bool:
    """Whether what has these values at a point and on both sides of it does not vanish there.

    Far out, what is a zero but for the last digit of a double may be large.
    """
    there, *sides = around
    if there is None or None in sides or abs(there) <= 1e-4:
        return False
    return all(abs(there) > abs(side or 0) / 2 for side in sides)


def _chains(a: Relation, b: Relation) -> Ruling | None:
    """Two chains of inequalities: the same, read from either end."""
    for ops, sides in ((b.ops, b.sides), _turned(b)):
        if ops == a.ops and len(sides) == len(a.sides):
            ruling = both([scalar(x, y) for x, y in zip(a.sides, sides, strict=True)], "a side")
            if ruling.holds:
                return ruling
    if set(a.ops) | set(b.ops) <= set(ORDERED) and _disagree(a, b):
        return no("inequality")
    if len(a.sides) == len(b.sides) == 2 and set(a.ops) | set(b.ops) <= set(ORDERED):
        return _halves(a, b)
    return None


def _disagree(a: Relation, b: Relation) -> bool:
    """Whether some point satisfies one chain and not the other."""
    names = sorted(symbols(a) | symbols(b))
    if symbols(a) != symbols(b):
        return False
    for n in range(40):
        at = {x: complex(((n * (7 + 5 * i) + 3 * i) % 23 - 11) / 2) for i, x in enumerate(names)}
        truths = _truth(a, at), _truth(b, at)
        if None not in truths and truths[0] != truths[1]:
            return True
    return False


def _truth(chain: Relation, at: dict[str, complex]) -> bool | None:
    values = [real(s, at) for s in chain.sides]
    for op, x, y in zip(chain.ops, values, values[1:], strict=False):
        if x is None or y is None or abs(x - y) < 1e-9:
            return None  # on an edge, where only the kind of sign would tell
        if not ((x < y) if "<" in op else (x > y) if ">" in op else True):
            return False
    return True


def _turned(b: Relation) -> tuple[tuple[str, ...], tuple[Node, ...]]:
    turned = tuple({**ORDERED, "=": "="}.get(op, op) for op in reversed(b.ops))
    return turned, tuple(reversed(b.sides))


def _halves(a: Relation, b: Relation) -> Ruling | None:
    """`2x > 2y` and `x - y > 0`: the differences have a constant positive ratio."""
    gaps = []
    for node in (a, b):
        low, high = node.sides if node.ops[0] in {"<", "<="} else node.sides[::-1]
        gaps.append(Call("add", (high, Call("neg", (low,)))))
    strict = [node.ops[0].strip("<>") for node in (a, b)]
    names = symbols(gaps[0]) | symbols(gaps[1])
    if not names:
        return None
    k, ratios = digits(), []
    for point in [*points(names, "positive"), *points(names, "mixed")]:
        at = {n: k.number(v) for n, v in point.items()}
        found = attempted(gaps[0], at, k), attempted(gaps[1], at, k)
        if found[0] is not None and found[1]:
            ratios.append(found[0] / found[1])
    if len(ratios) < 2 or any(differ(ratios[0], r, 1e-20) for r in ratios[1:]):
        return None
    if ratios[0].real > 0 and strict[0] == strict[1]:
        return yes("inequality")
    return no("inequality")
