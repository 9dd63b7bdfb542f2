r"""Sums and products over a counted letter: `\sum_{k=1}^{n} k^2`."""

from typing import TYPE_CHECKING

from tracecraft.verify.nodes import Call, Node, Symbol
from tracecraft.verify.tokens import Unparsed

if TYPE_CHECKING:
    from tracecraft.verify.grammar import Parser

__all__ = ["indexed", "summed"]


def summed(p: "Parser") -> Node:
    r"""After `\sum` or `\prod`: body, counted letter, which is no free name, first and last."""
    op = p.tokens[p.at - 1].text
    p.expect("_")
    p.expect("{")
    letter = p.take()
    p.expect("=")
    low = p.sum()
    p.expect("}")
    p.expect("^")
    high = p.argument()
    if letter.kind != "name" or high == Symbol("infty"):
        raise Unparsed(f"\\{op} without end")
    bound = Symbol(f"#{letter.text}{p.depth}")
    return Call(op, (_bound(p.term(), letter.text, bound), bound, low, high))


def _bound(node: Node, name: str, bound: Symbol) -> Node:
    """With the counted letter as a name of its own, also where it is an index: `F_k`."""
    match node:
        case Symbol(found) if found == name:
            return bound
        case Symbol(found) if found.endswith(f"_{name}"):
            return Call(f"apply {found.removesuffix(name)}", (bound,))
        case Symbol(found) if f"_{name}" in found:
            raise Unparsed("an index that counts")
        case Call(("sum" | "prod"), _):
            raise Unparsed("a sum of sums")  # as many terms as the counts multiplied
        case Call(op, args):
            return Call(op, tuple(_bound(x, name, bound) for x in args))
    return node


def indexed(base: Symbol, index: Node) -> Node | None:
    """A name whose index is reckoned, as in `a_{n+1}`, as an unknown function of it."""
    match index:
        case Call("add", _):
            return Call(f"apply {base.name}_", (index,))
    return None
