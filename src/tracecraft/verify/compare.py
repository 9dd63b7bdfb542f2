"""Two answers by their shapes: lists, points, intervals, sets, equations, matrices, values."""

from tracecraft.verify.constants import constants, parametrised, planar
from tracecraft.verify.equations import relations
from tracecraft.verify.families import family, same_family, undeclared
from tracecraft.verify.labels import ordering
from tracecraft.verify.lists import in_order, lists, point
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
    mentioned,
    symbols,
)
from tracecraft.verify.realsets import equal_sets, real_set
from tracecraft.verify.ruling import OPEN, Ruling, both, no, unsure, yes
from tracecraft.verify.scalars import scalar
from tracecraft.verify.shapes import undressed

__all__ = ["compared"]


def compared(a: Node, b: Node) -> Ruling:
    """Whether the answer `b` says what the reference `a` says."""
    if isinstance(a, Number) and isinstance(b, Number):
        return yes("identical") if a == b else scalar(a, b)
    a, b = undressed(a, b)
    if a == b:
        return yes("identical")
    a, b = planar(a), planar(b)
    other = parametrised(a, b)
    if other is not None and compared(a, other).holds:
        return yes("equal", "parameter")
    if "…" in mentioned(a) or "…" in mentioned(b):
        return unsure("an ellipsis")
    if family(a) is not None or family(b) is not None:
        found = same_family(a, b)
        if found is not None:
            return yes("family") if found else no("family")
    elif undeclared(a) and undeclared(b) and same_family(a, b):
        return yes("family", "parameter")
    return lists(a, b, compared) or _sets(a, b) or _single(a, b) or OPEN


# sets of reals


def _sets(a: Node, b: Node) -> Ruling | None:
    """Both are sets of real numbers, at least one of them infinite or written by a condition."""
    if not any(_setlike(n) for n in (a, b)):
        return None
    if isinstance(a, Group) and isinstance(b, Group):
        return None  # two intervals or points: value by value
    parts = _by_name(a), _by_name(b)
    if parts[0] is not None and parts[1] is not None and set(parts[0]) == set(parts[1]):
        return both([compared(x, parts[1][n]) for n, x in parts[0].items()], "a condition")
    if parts != (None, None):
        return None
    a, b = _of_one_name(a), _of_one_name(b)
    whole = ["#Z" in mentioned(x) for x in (a, b)]
    for comma in ("and", "or"):
        left, right = real_set(a, comma=comma), real_set(b, comma=comma)
        if left is not None and right is not None and equal_sets(left, right):
            return yes("set") if _known_apart(a, b) else yes("set", "set")
        if left is None or right is None:
            return None
    if whole[0] != whole[1] and all(_setlike(n) for n in (a, b)):
        return unsure("whole numbers on one side only")
    if any(isinstance(n, (Relation, Listing)) for n in (a, b)) and symbols(a) == symbols(b):
        return None if _several(a) or _several(b) else no("set")
    return no("set") if len(symbols(a) | symbols(b)) < 2 else None


def _by_name(node: Node) -> dict[str, Node] | None:
    """Conditions on several names, each on one of them: `d = 3, S < 1`; None for anything else."""
    if not isinstance(node, Listing) or not all(isinstance(i, Relation) for i in node.items):
        return None
    found: dict[str, list[Node]] = {}
    for item in node.items:
        names = symbols(item)
        if len(names) != 1:
            return None
        found.setdefault(next(iter(names)), []).append(item)
    if len(found) < 2:
        return None
    return {
        n: i[0] if len(i) == 1 else Listing(tuple(i), ("and",) * (len(i) - 1))
        for n, i in found.items()
    }


def _of_one_name(node: Node) -> Node:
    """`0 < f(x) < 1` as a condition on one unknown."""
    match node:
        case Relation(ops, sides) if set(ops) <= {"<", ">", "<=", ">="}:
            inner = {s for s in sides if isinstance(s, Call) and s.op.startswith("apply ")}
            if not all(isinstance(x, Symbol) for s in inner if isinstance(s, Call) for x in s.args):
                return node
            if len(inner) == 1 and not any(symbols(s) for s in sides if s not in inner):
                return Relation(ops, tuple(Symbol("f") if s in inner else s for s in sides))
    return node


def _several(node: Node) -> bool:
    return len(symbols(node)) > 1


def _known_apart(a: Node, b: Node) -> bool:
    """Whether neither names its variable otherwise than the other."""
    return not symbols(a) or not symbols(b) or symbols(a) == symbols(b)


def _setlike(node: Node) -> bool:
    match node:
        case SuchThat() | Call(("cup" | "cap" | "setminus"), _):
            return True
        case Symbol(name):
            return name.startswith("#")
        case Relation():
            return ordering(node)
        case Listing(items, _):
            return any(_setlike(i) for i in items)
    return False


# one answer


def _single(a: Node, b: Node) -> Ruling | None:
    if isinstance(a, Text) or isinstance(b, Text):
        return None
    if isinstance(a, Relation) or isinstance(b, Relation):
        return relations(a, b, compared)
    if isinstance(a, Matrix) or isinstance(b, Matrix):
        return _matrices(a, b)
    if isinstance(a, Group) and isinstance(b, Group):
        return _groups(a, b)
    if isinstance(a, (Group, SuchThat)) != isinstance(b, (Group, SuchThat)):
        other = b if isinstance(a, (Group, SuchThat)) else a
        return no("shape") if isinstance(other, (Number, Call)) and not _setlike(other) else None
    if isinstance(a, (Number, Call, Symbol)) and isinstance(b, (Number, Call, Symbol)):
        return _values(a, b)
    return None


def _values(a: Node, b: Node) -> Ruling | None:
    sets = _setlike(a), _setlike(b)
    if any(sets):
        lone = b if sets[0] else a
        return None if all(sets) or symbols(lone) else no("shape")
    infinite = [n in (Symbol("infty"), Call("neg", (Symbol("infty"),))) for n in (a, b)]
    if any(infinite):
        return no("infinity") if not all(infinite) or a != b else yes("identical")
    ruling = scalar(a, b)
    if ruling.holds is False:
        if any(scalar(a, other).holds for other in constants(a, b)):
            return yes("equal", "constant")
        natural = _natural(a), _natural(b)
        if natural != (a, b) and scalar(*natural).holds:
            return yes("equal", "natural log")
    return ruling


def _natural(node: Node) -> Node:
    """With every logarithm of no stated base to the base e."""
    match node:
        case Call("log", (x,)):
            return Call("ln", (_natural(x),))
        case Call(op, args):
            return Call(op, tuple(_natural(x) for x in args))
    return node


def _groups(a: Group, b: Group) -> Ruling | None:
    if "cases" in {a.left, b.left}:
        pieces = in_order(a.items, b.items, compared)
        return pieces if pieces.holds else None
    if len(a.items) != len(b.items):
        return no("count")
    ends = (a.left, a.right), (b.left, b.right)
    ruling = both([compared(x, y) for x, y in zip(a.items, b.items, strict=True)], "a coordinate")
    if ends[0] == ends[1] or ruling.holds is not True:
        return ruling
    if "langle" in {a.left, b.left}:
        return ruling
    if "{" in {a.left, b.left}:
        return ruling.flagged("order")
    square = {"[": "]", "(": ")"}
    closed = [square.get(left) == right for left, right in ends]
    if all(closed) and len(a.items) != 2:
        return ruling.flagged("brackets")
    return no("an end is open or closed")


def _matrices(a: Node, b: Node) -> Ruling | None:
    if isinstance(a, Matrix) and isinstance(b, Matrix):
        left, right = a.rows, b.rows
        if (len(left), len(left[0])) != (len(right), len(right[0])):
            vectors = point(a), point(b)
            if vectors[0] is None or vectors[1] is None:
                return no("size")
            return in_order(vectors[0], vectors[1], compared)
        pairs = [
            compared(x, y)
            for row, other in zip(left, right, strict=True)
            for x, y in zip(row, other, strict=True)
        ]
        return both(pairs, "an entry")
    vectors = point(a), point(b)
    if vectors[0] is None or vectors[1] is None:
        return None
    return in_order(vectors[0], vectors[1], compared)
