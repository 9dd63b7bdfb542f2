"""Two answers by their shapes: lists, points, intervals, sets, equations, matrices, values."""

from fractions import Fraction

from tracecraft.verify.evaluate import _digits as digits
from tracecraft.verify.evaluate import attempted, differ, points, same
from tracecraft.verify.families import family, same_family
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
    symbols,
    walk,
)
from tracecraft.verify.realsets import equal_sets, real_set
from tracecraft.verify.ruling import OPEN, Ruling, both, no, unsure, yes
from tracecraft.verify.scalars import scalar

__all__ = ["compared"]

_ORDERED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
_EQUAL = {"=", "~"}


def compared(a: Node, b: Node) -> Ruling:
    """Whether the answer `b` says what the reference `a` says."""
    if a == b:
        return yes("identical")
    if any(n == Symbol("…") for t in (a, b) for n in walk(t)):
        return unsure("an ellipsis")
    if family(a) is not None or family(b) is not None:
        found = same_family(a, b)
        if found is not None:
            return yes("family") if found else no("family")
    for rule in (_lists, _sets, _single):
        ruling = rule(a, b)
        if ruling is not None:
            return ruling
    return OPEN


# several answers


def _lists(a: Node, b: Node) -> Ruling | None:
    """Both are several values, or one is and so is the other in another dress."""
    a, b = _regrouped(a), _regrouped(b)
    left, right = _items(a), _items(b)
    if left is None and right is None:
        return None
    if any(_ordering(i) for side in (left or [a], right or [b]) for _, i in side_nodes(side)):
        return None
    if left is None or right is None:
        return _dressed(a, b, left, right)
    if _tuple(a) is not None or _tuple(b) is not None:
        return _dressed(a, b, left, right)
    return _matched(left, right)


def side_nodes(side: "list[Labelled] | list[Node]") -> "list[Labelled]":
    """Items with their labels; a lone node has none."""
    return [i if isinstance(i, tuple) else (None, i) for i in side]


Labelled = tuple[Node | None, Node]
"""What an answer says it is (`x`, `f(x)`, `AB`), and its value."""


def _items(node: Node) -> list[Labelled] | None:
    """The several values of a list, a set or a plus-minus sign; None for one value."""
    match node:
        case Listing(items, _):
            found: list[Labelled] = []
            label: Node | None = None
            for item in items:
                for own, value in _items(item) or [_labelled(item)]:
                    label = own or label
                    found.append((label, value))
            return found
        case Group("{", items, "}"):
            return [x for item in items for x in (_items(item) or [_labelled(item)])]
        case Call("pm" | "mp"):
            return [(None, value) for value in _signs(node)]
        case Call("cup", (left, right)):
            parts = _items(left), _items(right)
            if parts[0] is not None and parts[1] is not None:
                return [*parts[0], *parts[1]]
        case Relation(ops, _) if set(ops) <= {"=", "~", "in"}:
            own, value = _labelled(node)
            inner = _items(value) if own is not None else None
            return None if inner is None else [(own, v) for _, v in inner]
        case Group("cases", items, _):
            return _items(Listing(items, (",",) * (len(items) - 1)))
    return None


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


def _ordering(node: Node) -> bool:
    return isinstance(node, Relation) and bool(set(node.ops) & {*_ORDERED, "in", "notin"})


def _tuple(node: Node) -> tuple[Node, ...] | None:
    """The coordinates of a point, a vector or a column."""
    match node:
        case Group(("(" | "[" | "langle"), items, (")" | "]" | "rangle")):
            return items
        case Matrix(rows) if len(rows) == 1 or all(len(r) == 1 for r in rows):
            return rows[0] if len(rows) == 1 else tuple(r[0] for r in rows)
        case Relation(ops, _) if set(ops) <= _EQUAL:
            label, value = _labelled(node)
            return None if label is None else _tuple(value)
    return None


def _dressed(
    a: Node, b: Node, left: list[Labelled] | None, right: list[Labelled] | None
) -> Ruling | None:
    """A list beside a point: value by value, in order."""
    point_a, point_b = _tuple(a), _tuple(b)
    if point_a is not None and right is not None:
        values = [v for _, v in right]
        nested = [_tuple(v) for v in values]
        if len(nested) == 1 or any(n is not None and len(n) == len(point_a) for n in nested):
            return no("one of several") if len(nested) > 1 else None
        return _in_order(list(point_a), values)
    if point_b is not None and left is not None:
        return _in_order([v for _, v in left], list(point_b))
    if left is None and right is not None:
        return _one_of(a, right)
    if right is None and left is not None:
        return _one_of(b, left)
    return None


def _one_of(single: Node, several: list[Labelled]) -> Ruling | None:
    """One value beside several: right only if the several are one value repeated."""
    label, value = _labelled(single)
    distinct: list[Node] = []
    for _, other in several:
        if not any(compared(other, d).holds for d in distinct):
            distinct.append(other)
    if len(distinct) == 1:
        return compared(value, distinct[0])
    if isinstance(single, (Text, Group, SuchThat)) or _ordering(single):
        return None
    return no("count")


def _grouped(node: Node) -> list[list[Node]] | None:
    """`p=5,q=2;p=7,q=2`: groups of labelled values between semicolons."""
    if not isinstance(node, Listing) or ";" not in node.joints or "," not in node.joints:
        return None
    groups: list[list[Node]] = [[]]
    for item, joint in zip(node.items, (*node.joints, ""), strict=True):
        groups[-1].append(_labelled(item)[1])
        if joint == ";":
            groups.append([])
    return groups if len({len(g) for g in groups}) == 1 else None


def _regrouped(node: Node) -> Node:
    """Groups between semicolons as points."""
    groups = _grouped(node)
    if groups is None or any(isinstance(v, Group) for g in groups for v in g):
        return node
    points_ = tuple(Group("(", tuple(g), ")") for g in groups)
    return Listing(points_, (",",) * (len(points_) - 1))


def _in_order(left: list[Node], right: list[Node]) -> Ruling:
    if len(left) != len(right):
        return no("count")
    ruling = both([compared(x, y) for x, y in zip(left, right, strict=True)], "a coordinate")
    return ruling.flagged("order") if ruling.holds else ruling


def _matched(left: list[Labelled], right: list[Labelled]) -> Ruling:
    """Two lists: by their labels where these tell the values apart, else in any order."""
    names = [[label for label, _ in side] for side in (left, right)]
    if all(None not in side and len(set(side)) == len(side) > 1 for side in names):
        if set(names[0]) == set(names[1]):
            there = dict((n, v) for n, v in right)
            return both([compared(v, there[n]) for n, v in left], "a named value")
        return _in_order([v for _, v in left], [v for _, v in right])
    for n, side in enumerate(names):
        if None not in side and len(set(side)) == len(side) > 1 and not any(names[1 - n]):
            return _in_order([v for _, v in left], [v for _, v in right])
    return _unordered([v for _, v in left], [v for _, v in right])


def _unordered(left: list[Node], right: list[Node]) -> Ruling:
    """Each value has its equal on the other side; repeats do not count."""
    if len(left) * len(right) > 2_500:
        return unsure("too many values")
    table = [[compared(x, y) for y in right] for x in left]
    rulings: list[Ruling] = []
    columns = [list(column) for column in zip(*table, strict=True)]
    for line in [*table, *columns]:
        held = [r for r in line if r.holds]
        if held:
            rulings.append(min(held, key=lambda r: len(r.flags)))
        elif any(r.holds is None for r in line):
            rulings.append(next(r for r in line if r.holds is None))
        else:
            return no("a value is missing")
    return both(rulings, "a value is missing")


# sets of reals


def _sets(a: Node, b: Node) -> Ruling | None:
    """Both are sets of real numbers, at least one of them infinite or written by a condition."""
    if not any(_setlike(n) for n in (a, b)):
        return None
    if isinstance(a, Group) and isinstance(b, Group):
        return None  # two intervals or points: value by value
    for comma in ("and", "or"):
        left, right = real_set(a, comma=comma), real_set(b, comma=comma)
        if left is not None and right is not None and equal_sets(left, right):
            return yes("set") if _known_apart(a, b) else yes("set", "set")
        if left is None or right is None:
            return None
    if any(isinstance(n, (Relation, Listing)) for n in (a, b)) and symbols(a) == symbols(b):
        return None if _several(a) or _several(b) else no("set")
    return no("set") if len(symbols(a) | symbols(b)) < 2 else None


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
        case Relation(ops, _):
            return _ordering(node)
        case Listing(items, _):
            return any(_setlike(i) for i in items)
    return False


# one answer


def _single(a: Node, b: Node) -> Ruling | None:
    if isinstance(a, Text) or isinstance(b, Text):
        return None
    if isinstance(a, Relation) or isinstance(b, Relation):
        return _relations(a, b)
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
    if _setlike(a) or _setlike(b):
        if isinstance(a, (Number, Call)) and isinstance(b, (Number, Call)):
            return None
        return no("shape") if isinstance(a, Number) or isinstance(b, Number) else None
    infinite = [n in (Symbol("infty"), Call("neg", (Symbol("infty"),))) for n in (a, b)]
    if any(infinite):
        return no("infinity") if not all(infinite) or a != b else yes("identical")
    ruling = scalar(a, b)
    if ruling.holds is False:
        renamed = _constant(a, b)
        if renamed is not None and scalar(a, renamed).holds:
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


def _constant(a: Node, b: Node) -> Node | None:
    """The answer with its integration constant named as in the reference."""
    only_a, only_b = symbols(a) - symbols(b), symbols(b) - symbols(a)
    letters = set("cCkK") | {"C_1", "c_1", "k_1", "C_2", "c_2"}
    if len(only_a) == len(only_b) == 1 and only_a | only_b <= letters and len(symbols(a)) > 1:
        return _with(b, {only_b.pop(): Symbol(only_a.pop())})
    return None


def _with(node: Node, names: dict[str, Symbol]) -> Node:
    match node:
        case Symbol(name):
            return names.get(name, node)
        case Call(op, args):
            return Call(op, tuple(_with(x, names) for x in args))
    return node


def _groups(a: Group, b: Group) -> Ruling | None:
    if "cases" in {a.left, b.left}:
        return None
    if len(a.items) != len(b.items):
        return no("count")
    ends = (a.left, a.right), (b.left, b.right)
    ruling = both([compared(x, y) for x, y in zip(a.items, b.items, strict=True)], "a coordinate")
    if ends[0] == ends[1] or ruling.holds is not True:
        return ruling
    if "{" in {a.left, b.left} or "langle" in {a.left, b.left}:
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
            vectors = _tuple(a), _tuple(b)
            if vectors[0] is None or vectors[1] is None:
                return no("size")
            return _in_order(list(vectors[0]), list(vectors[1]))
        pairs = [
            compared(x, y)
            for row, other in zip(left, right, strict=True)
            for x, y in zip(row, other, strict=True)
        ]
        return both(pairs, "an entry")
    vectors = _tuple(a), _tuple(b)
    if vectors[0] is None or vectors[1] is None:
        return None
    return _in_order(list(vectors[0]), list(vectors[1]))


# equations and inequalities


def _named(node: Node) -> bool:
    """Whether a side only names what the other side is worth."""
    match node:
        case Symbol(name):
            return name not in {"pi", "e", "i"}
        case Call(op, args) if op.startswith("apply "):
            return all(isinstance(x, (Symbol, Number)) or _named(x) for x in args)
        case Call("abs", (inner,)):
            return _product(inner)
        case Call(("mul" | "div" | "ratio" | "prime"), _) if _product(node):
            return True
        case Group("(", items, ")"):
            return all(_named(i) for i in items)
        case Text():
            return True
        case Call(("max" | "min" | "det" | "arg" | "Re" | "Im" | "gcd" | "lcm"), _):
            return bool(symbols(node))
    return False


def _product(node: Node) -> bool:
    """`AB`, `S_{ABC}`, `NO/BO`: capital letters side by side, as geometry names lengths."""
    match node:
        case Symbol(name):
            return name[0].isupper() or "_" in name
        case Text():
            return True
        case Call(("mul" | "div" | "ratio" | "abs" | "prime"), args):
            return all(_product(x) for x in args)
    return False


def _labelled(node: Node) -> Labelled:
    """An equation as its name and its value; anything else has no name.

    Of a chain the last value before an approximation counts.
    """
    if not isinstance(node, Relation) or not set(node.ops) <= {*_EQUAL, "in"}:
        return None, node
    if node.ops == ("in",):
        return (node.sides[0], node.sides[1]) if _named(node.sides[0]) else (None, node)
    if "in" in node.ops:
        return None, node
    named = _named(node.sides[0])
    exact = [s for op, s in zip(("=", *node.ops), node.sides, strict=True) if op == "="]
    if named:
        values = exact[1:] or [node.sides[-1]]
        return node.sides[0], values[-1]
    if len(exact) > 1 and not any(symbols(s) for s in exact) and _consistent(exact):
        return None, exact[-1]
    if node.ops == ("~",) and not symbols(node):
        return None, node.sides[0]
    if _named(node.sides[-1]) and len(node.sides) == 2 and not symbols(node.sides[0]):
        return node.sides[1], node.sides[0]  # `5 = x`
    return None, node


def _consistent(sides: list[Node]) -> bool:
    return all(same(sides[0], s) is not False for s in sides[1:])


def _relations(a: Node, b: Node) -> Ruling | None:
    (name_a, value_a), (name_b, value_b) = _labelled(a), _labelled(b)
    reduced = name_a is not None or name_b is not None or value_a != a or value_b != b
    if reduced and not isinstance(value_a, Relation) and not isinstance(value_b, Relation):
        ruling = compared(value_a, value_b)
        if ruling.holds and _clash(name_a, name_b):
            return no("another variable")
        if ruling.holds or not (name_a is not None and name_b is not None and symbols(value_a)):
            return ruling
    if isinstance(a, Relation) and isinstance(b, Relation):
        if a.ops == b.ops == ("=",):
            return _equations(a, b)
        return _chains(a, b)
    lone, other = (a, b) if isinstance(a, Relation) else (b, a)
    if isinstance(lone, Relation) and set(lone.ops) <= {*_EQUAL, *_ORDERED}:
        if isinstance(other, Number) or not symbols(other):
            return no("shape")
        if lone.ops == ("=",) and isinstance(other, (Call, Symbol)):
            return no("an equation") if not _named(lone.sides[0]) else OPEN
    return None


def _clash(a: Node | None, b: Node | None) -> bool:
    """Whether two plain letters name different unknowns; `y` and `f(x)` may be one."""
    if not isinstance(a, Symbol) or not isinstance(b, Symbol) or a == b:
        return False
    return len(a.name) == len(b.name) == 1 and a.name.lower() != b.name.lower()


def _equations(a: Relation, b: Relation) -> Ruling:
    """Two equations have one solution set if their sides differ by a constant factor."""
    left = Call("add", (a.sides[0], Call("neg", (a.sides[1],))))
    right = Call("add", (b.sides[0], Call("neg", (b.sides[1],))))
    names = symbols(left) | symbols(right)
    if not names or symbols(left) != symbols(right):
        return no("equation") if not names else OPEN
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
    return OPEN


def _chains(a: Relation, b: Relation) -> Ruling | None:
    """Two chains of inequalities: the same, read from either end."""
    for ops, sides in ((b.ops, b.sides), _turned(b)):
        if ops == a.ops and len(sides) == len(a.sides):
            ruling = both([scalar(x, y) for x, y in zip(a.sides, sides, strict=True)], "a side")
            if ruling.holds:
                return ruling
    if len(a.sides) == len(b.sides) == 2 and set(a.ops) | set(b.ops) <= set(_ORDERED):
        return _halves(a, b)
    return None


def _turned(b: Relation) -> tuple[tuple[str, ...], tuple[Node, ...]]:
    turned = tuple({**_ORDERED, "=": "="}.get(op, op) for op in reversed(b.ops))
    return turned, tuple(reversed(b.sides))


def _halves(a: Relation, b: Relation) -> Ruling | None:
    """`2x > 2y` and `x - y > 0`: the differences have a constant positive ratio."""
    gaps = []
    for node in (a, b):
        low, high = node.sides if node.ops[0] in {"<", "<="} else node.sides[::-1]
        gaps.append(Call("add", (high, Call("neg", (low,)))))
    strict = [node.ops[0].strip("<>") for node in (a, b)]
    names = symbols(gaps[0]) | symbols(gaps[1])
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


ZERO = Number(Fraction(0))
