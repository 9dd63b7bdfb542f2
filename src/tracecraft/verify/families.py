r"""Families of values with an integer parameter: `\frac{\pi}{2} + 2k\pi, k \in \mathbb{Z}`."""

from collections.abc import Iterator
from itertools import product

from tracecraft.verify.evaluate import real
from tracecraft.verify.nodes import (
    Call,
    Listing,
    Node,
    Relation,
    SuchThat,
    Symbol,
    mentioned,
    symbols,
)

__all__ = ["family", "same_family", "undeclared"]

_COUNTS = frozenset("knmlj")
_WHOLE = frozenset({"#Z", "#N", "#Z+", "#N+"})


def family(node: Node) -> tuple[tuple[Node, ...], set[str]] | None:
    """The expressions of a family and its declared parameters; None for anything else."""
    match node:
        case Listing(items, _):
            parts = items
        case SuchThat(Symbol(), Listing(items, _)):
            parts = items
        case SuchThat(Listing(items, _), Relation() as condition):
            parts = (*items, condition)
        case SuchThat(element, Relation() as condition):
            parts = (element, condition)
        case SuchThat(element, Listing(items, _)):
            parts = (element, *items)
        case _:
            return None
    found, declared = [], set()
    for item in parts:
        match item:
            case Relation(("in",), (Symbol(name), Symbol(kind))) if kind in _WHOLE:
                declared.add(name)
            case Relation(("in",), (Listing(names, _), Symbol(kind))) if kind in _WHOLE:
                declared |= {n.name for n in names if isinstance(n, Symbol)}
            case _:
                found.append(item)
    return (tuple(found), declared) if declared and found else None


def undeclared(node: Node) -> bool:
    """Whether an answer looks like a family of angles, and does not say that its letter counts."""
    inner = node.sides[-1] if isinstance(node, Relation) else node
    if not isinstance(inner, Call) or "pi" not in mentioned(inner):
        return False
    names = symbols(inner)
    return len(names) == 1 and names <= {"k", "n", "m"}


def same_family(a: Node, b: Node) -> bool | None:
    """Whether two families have the same values; None where either is no family of numbers."""
    left, right = _expressions(a), _expressions(b)
    if left is None or right is None:
        return None
    for inner, outer in ((left, right), (right, left)):
        few, many = _values(inner, 2), _values(outer, 12)
        if few is None or many is None:
            return None
        table = sorted(many)
        if not all(_within(v, table) for v in few):
            return False
    return True


def _expressions(node: Node) -> tuple[tuple[Node, ...], set[str]] | None:
    found = family(node)
    if found is None:
        names = symbols(node) & _COUNTS
        inner = node.sides[-1] if isinstance(node, Relation) else node
        found = ((inner,), names) if names else None
        if found is None:
            return None
    bodies, parameters = found
    values = []
    for body in bodies:
        if isinstance(body, Relation):
            if body.ops not in {("=",), ("in",)}:
                return None
            body = body.sides[1]
        if symbols(body) - parameters:
            return None
        values += list(_signs(body))
    return tuple(values), parameters


def _signs(node: Node) -> Iterator[Node]:
    """Both readings of a plus-minus sign."""
    match node:
        case Call(("pm" | "mp"), (a, b)):
            for left in _signs(a):
                yield Call("add", (left, b))
                yield Call("add", (left, Call("neg", (b,))))
        case Call(("add" | "mul" | "div") as op, (a, b)):
            for left, right in product(_signs(a), _signs(b)):
                yield Call(op, (left, right))
        case _:
            yield node


def _values(found: tuple[tuple[Node, ...], set[str]], reach: int) -> list[float] | None:
    bodies, parameters = found
    names = sorted(parameters)
    if len(names) > 2:
        return None
    values = []
    for body in bodies:
        used = [n for n in names if n in symbols(body)]
        for choice in product(range(-reach, reach + 1), repeat=len(used)):
            value = real(body, {n: complex(c) for n, c in zip(used, choice, strict=True)})
            if value is not None:
                values.append(value)
    return values or None


def _within(value: float, table: list[float]) -> bool:
    return any(abs(value - t) <= 1e-9 * (1 + abs(t)) for t in table)
