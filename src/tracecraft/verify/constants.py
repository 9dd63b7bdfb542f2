"""Letters that an answer is free to choose: constants of integration, parameters of a line."""

import re
from collections.abc import Iterator
from itertools import permutations

from tracecraft.verify.nodes import (
    Call,
    Group,
    Matrix,
    Node,
    Relation,
    SuchThat,
    Symbol,
    renamed,
    symbols,
)

__all__ = ["constants", "parametrised", "planar"]

_CONSTANT = re.compile(r"[ABCDKck](?:_\d)?")
_MOST = 3
_PARAMETERS = frozenset({"t", "s", "k", "u", "v", "lambda", "mu", "m", "n", "r"})


def constants(a: Node, b: Node) -> Iterator[Node]:
    r"""The answer with its constants named as those of the reference, in each way there is.

    Letters that both have are the same, unless they are numbered, as in `C_1 \sin x + C_2 \cos x`.
    """
    left, right = ({n for n in symbols(x) if _CONSTANT.fullmatch(n)} for x in (a, b))
    shared = {n for n in left & right if "_" not in n}
    ours, theirs = sorted(left - shared), sorted(right - shared)
    if not 0 < len(ours) == len(theirs) <= _MOST or symbols(a) - left != symbols(b) - right:
        return
    if not symbols(a) - left:
        return
    for order in permutations(ours):
        if theirs != list(order):
            yield renamed(b, {n: Symbol(m) for n, m in zip(theirs, order, strict=True)})


def parametrised(a: Node, b: Node) -> Node | None:
    """The answer with the one parameter of its coordinates named as the reference's."""
    if not isinstance(a, (Group, Matrix)) or not isinstance(b, (Group, Matrix)):
        return None
    left, right = symbols(a), symbols(b)
    if len(left) != 1 or len(right) != 1 or left == right or not left | right <= _PARAMETERS:
        return None
    return _renamed(b, {right.pop(): Symbol(left.pop())})


def _renamed(node: Node, names: dict[str, Symbol]) -> Node:
    match node:
        case Group(left, items, right):
            return Group(left, tuple(_renamed(i, names) for i in items), right)
        case Matrix(rows):
            return Matrix(tuple(tuple(_renamed(x, names) for x in row) for row in rows))
        case Call() | Symbol():
            return renamed(node, names)
    return node


def planar(node: Node) -> Node:
    """`{(x, y) | y = 2x}` as its equation."""
    match node:
        case SuchThat(Group("(", items, ")"), Relation() as condition) if all(
            isinstance(i, Symbol) for i in items
        ):
            return condition
    return node
