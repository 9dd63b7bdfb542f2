r"""Answers of one shape in several dresses: `[[1,2],[3,4]]` is a matrix, `2\mathbf{i}` a point."""

from fractions import Fraction

from tracecraft.verify.nodes import Call, Group, Matrix, Node, Number, Symbol, mentioned, walk

__all__ = ["undressed"]

_AXES = ("i", "j", "k")
_UNIT_VECTORS = frozenset(f"vec_{axis}" for axis in _AXES)
_ZERO, _ONE = Number(Fraction(0)), Number(Fraction(1))


def undressed(a: Node, b: Node) -> tuple[Node, Node]:
    """Both answers in the plainest dress that they share."""
    a, b = (_named_point(_spread(_rows(n))) for n in (a, b))
    bold = [not _UNIT_VECTORS.isdisjoint(mentioned(x)) for x in (a, b)]
    if not any(bold):
        return a, b
    a, b = (x if is_bold else _bold(x) for x, is_bold in zip((a, b), bold, strict=True))
    left, right = _coordinates(a), _coordinates(b)
    size = max(_length(left or a), _length(right or b), 2)
    return _point(left, size) or a, _point(right, size) or b


def _rows(node: Node) -> Node:
    """Brackets of brackets of one length, as programs write a matrix."""
    match node:
        case Group("[", items, "]") if len(items) > 1 and all(
            isinstance(i, Group) and (i.left, i.right) == ("[", "]") for i in items
        ):
            rows = tuple(i.items for i in items if isinstance(i, Group))
            return Matrix(rows) if len({len(r) for r in rows}) == 1 else node
    return node


def _named_point(node: Node) -> Node:
    """`P(2, 3)` as its coordinates."""
    match node:
        case Call("mul", (Symbol(name), Group("(", items, ")") as point)) if (
            len(name.rstrip("'")) == 1 and name[0].isupper() and len(items) > 1
        ):
            return point
        case Call(op, items) if op.startswith("apply ") and op[6:7].isupper() and len(items) > 1:
            return Group("(", items, ")")
    return node


def _spread(node: Node) -> Node:
    """A multiple or a sum of matrices as one matrix."""
    if not isinstance(node, Call) or not any(isinstance(n, Matrix) for n in walk(node)):
        return node
    match node.op, tuple(_spread(x) for x in node.args):
        case "neg", (Matrix(rows),):
            return Matrix(tuple(tuple(Call("neg", (x,)) for x in row) for row in rows))
        case ("mul" | "div") as op, (Matrix(rows), factor) if not isinstance(factor, Matrix):
            return Matrix(tuple(tuple(Call(op, (x, factor)) for x in row) for row in rows))
        case "mul", (factor, Matrix(rows)) if not isinstance(factor, Matrix):
            return Matrix(tuple(tuple(Call("mul", (factor, x)) for x in row) for row in rows))
        case "add", (Matrix(rows), Matrix(more)) if len(rows) == len(more):
            if [len(r) for r in rows] == [len(r) for r in more]:
                pairs = [zip(r, m, strict=True) for r, m in zip(rows, more, strict=True)]
                return Matrix(tuple(tuple(Call("add", p) for p in row) for row in pairs))
    return node


# sums of unit vectors


def _axis(node: Node) -> int | None:
    match node:
        case Symbol(name) if name.startswith("vec_") and name[4:] in _AXES:
            return _AXES.index(name[4:])
    return None


def _bold(node: Node) -> Node:
    """With plain `i`, `j` and `k` as unit vectors, for an answer beside one that has them."""
    match node:
        case Symbol(name) if name in _AXES:
            return Symbol(f"vec_{name}")
        case Call(("add" | "neg" | "mul" | "div") as op, args):
            return Call(op, tuple(_bold(x) for x in args))
    return node


def _coordinates(node: Node) -> tuple[Node, ...] | None:
    """A sum of multiples of unit vectors as three coordinates; None for anything else."""
    axis = _axis(node)
    if axis is not None:
        return tuple(_ONE if i == axis else _ZERO for i in range(3))
    match node:
        case Call("neg", (inner,)):
            found = _coordinates(inner)
            return None if found is None else tuple(Call("neg", (x,)) for x in found)
        case Call("add", (left, right)):
            first, second = _coordinates(left), _coordinates(right)
            if first is None or second is None:
                return None
            return tuple(Call("add", pair) for pair in zip(first, second, strict=True))
        case Call("mul", (left, right)):
            for vector, factor in ((right, left), (left, right)):
                found = _coordinates(vector)
                if found is not None and _coordinates(factor) is None:
                    return tuple(Call("mul", (factor, x)) for x in found)
        case Call("div", (vector, factor)):
            found = _coordinates(vector)
            return None if found is None else tuple(Call("div", (x, factor)) for x in found)
    return None


def _length(found: Node | tuple[Node, ...]) -> int:
    match found:
        case Group(_, items, _):
            return len(items)
        case Matrix(rows):
            return max(len(rows), len(rows[0]))
        case tuple():
            return 3 if found[2] != _ZERO and not _vanishes(found[2]) else 2
    return 0


def _vanishes(node: Node) -> bool:
    """Whether a coordinate is nothing but zeros added up."""
    match node:
        case Number(value):
            return value == 0
        case Call("neg", (inner,)) | Call("div", (inner, _)):
            return _vanishes(inner)
        case Call("add", (left, right)):
            return _vanishes(left) and _vanishes(right)
        case Call("mul", (left, right)):
            return _vanishes(left) or _vanishes(right)
    return False


def _point(found: tuple[Node, ...] | None, size: int) -> Node | None:
    return None if found is None else Group("(", found[:size], ")")
