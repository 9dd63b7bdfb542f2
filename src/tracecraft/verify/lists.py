"""Several answers beside several: lists, sets, plus-minus signs, points, named values."""

from collections.abc import Callable, Sequence

from tracecraft.verify.labels import EQUAL, Labelled, labelled, ordering
from tracecraft.verify.nodes import (
    Call,
    Group,
    Listing,
    Matrix,
    Node,
    Relation,
    SuchThat,
    Symbol,
    Text,
)
from tracecraft.verify.ruling import Ruling, both, no, unsure

__all__ = ["in_order", "lists", "point"]

Compare = Callable[[Node, Node], Ruling]
_MOST_PAIRS = 2_500
_ALL = (Symbol("#R"), Symbol("#C"))


def lists(a: Node, b: Node, compare: Compare) -> Ruling | None:
    """Both are several values, or one is and so is the other in another dress."""
    a, b = _regrouped(a), _regrouped(b)
    left, right = _items(a), _items(b)
    if left is None and right is None:
        return None
    if any(_ordered(i) for i in (*_valued(a, left), *_valued(b, right))):
        return None
    if left is None or right is None:
        return _dressed(a, b, left, right, compare)
    if point(a) is not None or point(b) is not None:
        return _dressed(a, b, left, right, compare)
    return _matched(left, right, compare)


def _ordered(node: Node) -> bool:
    return ordering(node) or (isinstance(node, Listing) and any(map(_ordered, node.items)))


def _valued(node: Node, items: list[Labelled] | None) -> list[Node]:
    return [node] if items is None else [value for _, value in items]


def _items(node: Node) -> list[Labelled] | None:
    """The several values of a list, a set or a plus-minus sign; None for one value."""
    match node:
        case Listing(items, _):
            found: list[Labelled] = []
            label: Node | None = None
            for item in items:
                if isinstance(item, Relation) and item.ops == ("in",) and item.sides[1] in _ALL:
                    continue  # `c in R` restricts nothing
                for own, value in _items(item) or [labelled(item)]:
                    label = own or label
                    found.append((label, value))
            return found
        case Group("{", items, "}"):
            return [x for item in items for x in (_items(item) or [labelled(item)])]
        case Call("cup", (left, right)):
            parts = _items(left), _items(right)
            if parts[0] is not None and parts[1] is not None:
                return [*parts[0], *parts[1]]
        case Relation(ops, _) if set(ops) <= {"=", "~", "in"}:
            own, value = labelled(node)
            inner = _items(value) if own is not None else None
            return None if inner is None else [(own, v) for _, v in inner]
        case Group("cases", items, _):
            return _items(Listing(items, (",",) * (len(items) - 1)))
    signs = _signs(node)
    return [(None, value) for value in signs] if len(signs) > 1 else None


def _signs(node: Node) -> list[Node]:
    match node:
        case Call("pm", (left, right)):
            lefts = _signs(left)
            return [Call(op, args) for x in lefts for op, args in (
                ("add", (x, right)), ("add", (x, Call("neg", (right,))))
            )]  # fmt: skip
        case Call("mp", (left, right)):
            return list(reversed(_signs(Call("pm", (left, right)))))
        case Call(("add" | "mul" | "div" | "pow") as op, (left, right)):
            return [Call(op, (x, y)) for x in _signs(left) for y in _signs(right)]
        case Call(("neg" | "sqrt" | "percent" | "degree") as op, (inner,)):
            return [Call(op, (x,)) for x in _signs(inner)]
    return [node]


def point(node: Node) -> tuple[Node, ...] | None:
    """The coordinates of a point, a vector or a column."""
    match node:
        case Group(("(" | "[" | "langle"), items, (")" | "]" | "rangle")):
            return items
        case Matrix(rows) if len(rows) == 1 or all(len(r) == 1 for r in rows):
            return rows[0] if len(rows) == 1 else tuple(r[0] for r in rows)
        case Relation(ops, _) if set(ops) <= EQUAL:
            label, value = labelled(node)
            return None if label is None else point(value)
    return None


def _dressed(
    a: Node,
    b: Node,
    left: list[Labelled] | None,
    right: list[Labelled] | None,
    compare: Compare,
) -> Ruling | None:
    """A list beside a point: value by value, in order."""
    for side, other in ((left, b), (right, a)):
        if side is not None and len(side) == 1 and (left is None or right is None):
            only = side[0][1]
            return compare(only, other) if side is left else compare(other, only)
    point_a, point_b = point(a), point(b)
    if point_a is not None and right is not None:
        right = _coordinates(right)
        values = [v for _, v in right]
        nested = [point(v) for v in values]
        if len(nested) == 1 or any(n is not None and len(n) == len(point_a) for n in nested):
            return no("one of several") if len(nested) > 1 else None
        return in_order(point_a, values, compare, *_unless_named(a, right))
    if point_b is not None and left is not None:
        left = _coordinates(left)
        return in_order(_plain(left), point_b, compare, *_unless_named(b, left))
    if left is None and right is not None:
        return _one_of(a, right, compare)
    if right is None and left is not None:
        return _one_of(b, left, compare)
    return None


def _coordinates(side: list[Labelled]) -> list[Labelled]:
    """Values named x, y and z in the order of these names."""
    names = [label.name if isinstance(label, Symbol) else "" for label, _ in side]
    if len(side) > 1 and sorted(names) == ["x", "y", "z"][: len(side)]:
        return [pair for _, pair in sorted(zip(names, side, strict=True), key=lambda p: p[0])]
    return side


def _unless_named(point_: Node, side: list[Labelled]) -> tuple[str, ...]:
    """That values stand in the order of a point's coordinates is a convention, unless named."""
    label, _ = labelled(point_)
    names = [name for name, _ in side]
    return () if isinstance(label, Group) and list(label.items) == names else ("order",)


def _one_of(single: Node, several: list[Labelled], compare: Compare) -> Ruling | None:
    """One value beside several: right only if the several are one value repeated."""
    _, value = labelled(single)
    distinct: list[Node] = []
    for _, other in several:
        if not any(compare(other, d).holds for d in distinct):
            distinct.append(other)
    if len(distinct) == 1:
        return compare(value, distinct[0])
    if isinstance(single, (Text, Group, SuchThat)) or ordering(single):
        return None
    return no("count")


def _grouped(node: Node) -> list[list[Node]] | None:
    """`p=5,q=2;p=7,q=2`: groups of values between semicolons; labelled, also between `or`."""
    if not isinstance(node, Listing) or not {";", "or"} & {*node.joints} or "," not in node.joints:
        return None
    groups: list[list[Labelled]] = [[]]
    for item, joint in zip(node.items, (*node.joints, ""), strict=True):
        groups[-1].append(labelled(item))
        if joint in {";", "or"}:
            groups.append([])
    names = {tuple(name for name, _ in g) for g in groups}
    if "or" in node.joints and (len(names) > 1 or None in next(iter(names))):
        return None
    return [_plain(g) for g in groups] if len({len(g) for g in groups}) == 1 else None


def _regrouped(node: Node) -> Node:
    """Groups between semicolons as points."""
    groups = _grouped(node)
    if groups is None or any(isinstance(v, Group) for g in groups for v in g):
        return node
    points = tuple(Group("(", tuple(g), ")") for g in groups)
    return Listing(points, (",",) * (len(points) - 1))


def in_order(left: Sequence[Node], right: Sequence[Node], compare: Compare, *flags: str) -> Ruling:
    """Value by value."""
    if len(left) != len(right):
        return no("count")
    ruling = both([compare(x, y) for x, y in zip(left, right, strict=True)], "a coordinate")
    return ruling.flagged(*flags) if ruling.holds else ruling


def _matched(left: list[Labelled], right: list[Labelled], compare: Compare) -> Ruling:
    """Two lists: by their labels where these tell the values apart, else in any order."""
    names = [[_base(label) for label, _ in side] for side in (left, right)]
    if all(None not in side and len(set(side)) == len(side) > 1 for side in names):
        if set(names[0]) == set(names[1]):
            there = dict(right)
            return both([compare(v, there[n]) for n, v in left], "a named value")
        return in_order(_plain(left), _plain(right), compare, "order")
    for n, side in enumerate(names):
        if None not in side and len(set(side)) == len(side) > 1 and not any(names[1 - n]):
            return in_order(_plain(left), _plain(right), compare, "order")
    return _unordered(_plain(left), _plain(right), compare)


def _base(label: Node | None) -> Node | None:
    """`x_1` and `x_2` are roots in any order; `a` and `b` are not."""
    if isinstance(label, Symbol) and label.name[:1].islower() and "_" in label.name:
        base, _, index = label.name.partition("_")
        return Symbol(base) if index.isdigit() and int(index) < 5 else label
    return label


def _plain(side: list[Labelled]) -> list[Node]:
    return [value for _, value in side]


def _unordered(left: list[Node], right: list[Node], compare: Compare) -> Ruling:
    """Each value has its equal on the other side; repeats do not count."""
    if len(left) * len(right) > _MOST_PAIRS:
        return unsure("too many values")
    table: list[list[Ruling]] = []
    rulings: list[Ruling | None] = []
    for x in left:
        table.append([compare(x, y) for y in right])
        rulings.append(_best(table[-1]))
        if rulings[-1] is None:
            return no("a value is missing")
    rulings += [_best(column) for column in zip(*table, strict=True)]
    found = [r for r in rulings if r is not None]
    return both(found, "") if len(found) == len(rulings) else no("a value is missing")


def _best(line: Sequence[Ruling]) -> Ruling | None:
    """The ruling with the fewest conventions; None where a value has no equal for certain."""
    held = [r for r in line if r.holds]
    if held:
        return min(held, key=lambda r: len(r.flags))
    return next((r for r in line if r.holds is None), None)
