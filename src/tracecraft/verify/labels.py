"""What an answer says it is, apart from what it is worth: `x = 5`, `f(x) = …`, `AB = 3`."""

from tracecraft.verify.evaluate import same
from tracecraft.verify.nodes import Call, Group, Node, Relation, Symbol, Text, symbols

__all__ = ["EQUAL", "ORDERED", "Labelled", "argument", "clash", "labelled", "named", "ordering"]

ORDERED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}
"""Relations of order, and what they are read from the other end."""
EQUAL = frozenset({"=", "~"})

Labelled = tuple[Node | None, Node]
"""What an answer says it is, if it does, and its value."""


def ordering(node: Node) -> bool:
    """Whether it is a condition on a variable rather than a value."""
    return isinstance(node, Relation) and bool(set(node.ops) & {*ORDERED, "in", "notin"})


def named(node: Node) -> bool:
    """Whether a side only names what the other side is worth."""
    match node:
        case Symbol(name):
            return name not in {"pi", "e", "i"}
        case Call(op, _) if op.startswith("apply ") and op.endswith("_"):
            return True
        case Call(op, args) if op.startswith("apply "):
            return all(isinstance(x, Symbol) or not symbols(x) or named(x) for x in args)
        case Call("mul", (Symbol("m"), Symbol(name))) if name.startswith("angle_"):
            return True
        case Call("abs", (inner,)):
            return _product(inner)
        case Call(("mul" | "div" | "ratio" | "prime"), _) if _product(node) or _derivative(node):
            return True
        case Call("ratio", args):
            return all(isinstance(x, Symbol) for x in args)
        case Group("(", items, ")"):
            return all(named(i) for i in items)
        case Text():
            return True
        case Call(("max" | "min" | "det" | "arg" | "Re" | "Im" | "gcd" | "lcm"), _):
            return bool(symbols(node))
    return False


def _derivative(node: Node) -> bool:
    """`dy/dx`."""
    match node:
        case Call(
            "div", (Call("mul", (Symbol("d"), Symbol())), Call("mul", (Symbol("d"), Symbol())))
        ):
            return True
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


def labelled(node: Node) -> Labelled:
    """An equation as its name and its value; anything else has no name.

    Of a chain the last value before an approximation counts.
    """
    if not isinstance(node, Relation) or not set(node.ops) <= {*EQUAL, "in"}:
        return None, node
    if node.ops == ("in",):
        return (node.sides[0], node.sides[1]) if named(node.sides[0]) else (None, node)
    if "in" in node.ops:
        return None, node
    is_named = named(node.sides[0])
    exact = [s for op, s in zip(("=", *node.ops), node.sides, strict=True) if op == "="]
    if is_named:
        values = exact[1:] or [node.sides[-1]]
        return node.sides[0], values[-1]
    if len(exact) > 1 and not any(symbols(s) for s in exact) and _consistent(exact):
        return None, exact[-1]
    if node.ops == ("~",) and not symbols(node):
        return None, node.sides[0]
    if named(node.sides[-1]) and len(node.sides) == 2 and not symbols(node.sides[0]):
        return node.sides[1], node.sides[0]  # `5 = x`
    return None, node


def _consistent(sides: list[Node]) -> bool:
    return all(same(sides[0], s) is not False for s in sides[1:])


def argument(a: Node | None, b: Node | None) -> dict[str, Symbol]:
    """How to rename the argument of `f(t)` to that of `f(x)`."""
    match a, b:
        case Call(f, (Symbol(x),)), Call(g, (Symbol(y),)) if f == g and x != y:
            return {y: Symbol(x)}
    return {}


def clash(a: Node | None, b: Node | None) -> bool:
    """Whether two plain letters name different unknowns; `y` and `f(x)` may be one."""
    if not isinstance(a, Symbol) or not isinstance(b, Symbol) or a == b:
        return False
    return len(a.name) == len(b.name) == 1 and a.name.lower() != b.name.lower()
