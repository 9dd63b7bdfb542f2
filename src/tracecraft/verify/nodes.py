"""What an answer is once it is read: a small tree of numbers, names, operations and shapes."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

__all__ = [
    "Call",
    "Group",
    "Listing",
    "Matrix",
    "Node",
    "Number",
    "Relation",
    "SuchThat",
    "Symbol",
    "Text",
    "mentioned",
    "renamed",
    "symbols",
    "walk",
]


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational, with how it was written where that matters."""

    value: Fraction
    decimals: int | None = None
    """Place of the last digit written, counted after the point (`1.5e3` has -2); None for what
    is not a decimal."""


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable or a constant: `x`, `x_1`, `pi`, `e`, `i`, `infty`, `R`."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """Words."""

    words: str


@dataclass(frozen=True, slots=True)
class Call:
    """An operation and its arguments: `add`, `mul`, `pow`, `sin`, `pm`, `cup`, `apply f`, …"""

    op: str
    args: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Group:
    """Items between delimiters: a point, an interval, a set (`{`)."""

    left: str
    items: "tuple[Node, ...]"
    right: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries, all of one length."""

    rows: "tuple[tuple[Node, ...], ...]"


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain `a < b = c`; `ops[i]` stands between `sides[i]` and `sides[i + 1]`."""

    ops: tuple[str, ...]
    sides: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class SuchThat:
    r"""`{x | condition}`."""

    element: "Node"
    condition: "Node"


@dataclass(frozen=True, slots=True)
class Listing:
    """Several answers side by side, and the words between them: `,` `;` `and` `or`."""

    items: "tuple[Node, ...]"
    joints: tuple[str, ...]


Node = Number | Symbol | Text | Call | Group | Matrix | Relation | SuchThat | Listing

CONSTANTS = frozenset({"pi", "e", "i", "infty"})
SPACES = frozenset({"R", "Z", "N", "Q", "C", "emptyset"})
"""Names of sets, as `\\mathbb{R}` is read: with a leading `#`."""


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    waiting = [node]
    while waiting:
        here = waiting.pop()
        yield here
        match here:
            case Number() | Symbol() | Text():
                pass
            case Call(_, parts) | Group(_, parts, _) | Listing(parts, _) | Relation(_, parts):
                waiting.extend(reversed(parts))
            case Matrix(rows):
                waiting.extend(part for row in reversed(rows) for part in reversed(row))
            case SuchThat(element, condition):
                waiting += (condition, element)


def mentioned(node: Node) -> set[str]:
    """All names in it, with those of constants and named sets."""
    if isinstance(node, Number):
        return set()
    return {n.name for n in walk(node) if type(n) is Symbol}


def symbols(node: Node) -> set[str]:
    """The free names in it; constants and named sets are none."""
    return {n for n in mentioned(node) if n not in CONSTANTS and n[0] != "#"}


def renamed(node: Node, names: Mapping[str, Node]) -> Node:
    """An expression with other names, or with values for names."""
    match node:
        case Symbol(name):
            return names.get(name, node)
        case Call(op, args) if names:
            return Call(op, tuple(renamed(x, names) for x in args))
    return node
