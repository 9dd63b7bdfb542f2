"""Plain assertions as calls and what they should return, so that the two can be kept apart."""

import ast
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Call", "as_call"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call and what it should return."""

    args: tuple[Any, ...]
    expected: Any
    named: dict[str, Any] = field(default_factory=dict)


def as_call(line: str) -> tuple[str, Call] | None:
    """`assert name(literals) == literal` (or its mirror) as a call and its expected result."""
    try:
        body = ast.parse(line.strip()).body
        statement = body[0] if len(body) == 1 else None
        if not isinstance(statement, ast.Assert) or not isinstance(statement.test, ast.Compare):
            return None
        test = statement.test
        if len(test.ops) != 1 or not isinstance(test.ops[0], (ast.Eq, ast.Is)):
            return None
        sides = [test.left, test.comparators[0]]
        if not isinstance(sides[0], ast.Call):
            sides.reverse()
        call, wanted = sides
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
            return None
        expected = ast.literal_eval(wanted)
        if isinstance(test.ops[0], ast.Is) and not isinstance(expected, (bool, type(None))):
            return None
        args = tuple(ast.literal_eval(a) for a in call.args)
        named = {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
    if len(named) != len(call.keywords):
        return None
    return call.func.id, Call(args, expected, named)
