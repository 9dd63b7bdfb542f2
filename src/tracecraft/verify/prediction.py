"""Output prediction (CRUXEval): the response names a value; nothing is run."""

import ast
import re

from tracecraft import think
from tracecraft.schema import Verdict
from tracecraft.verify.code_compare import equal_values

__all__ = ["judge_prediction"]

_TAGGED = re.compile(r"\[ANSWER\](.*?)(?:\[/ANSWER\]|\Z)", re.S | re.I)
_FENCED = re.compile(r"```[^\n]*\n(.*?)(?:```|\Z)", re.S)
_SAID = re.compile(
    r"(?:answer|output|result|returns?)\b[^\n:`]*?(?::|\bis\b)\s*(.+)|\breturns\s+(.+)", re.I
)
_MOST = 100_000
"""Characters of a literal that are read; the longest of CRUXEval's has 50."""


def judge_prediction(expected: str, response: str) -> Verdict:
    """Whether the response predicts the value that `expected` writes as a literal."""
    thought = think.split(response)
    if not thought.closed:
        return Verdict("unverifiable", detail="truncated: the reasoning never ends")
    wanted = _literal(expected)
    if wanted is None:
        return Verdict("unverifiable", detail="bad_tests: the expected output is no literal")
    text = thought.response
    offset = max(response.rfind(text), 0)
    for found, start in _candidates(text):
        value = _value_of(found)
        if value is not None:
            at = offset + start
            same = equal_values(value[0], wanted[0])
            detail = (
                "prediction" if same else f"prediction: {found[:60]} instead of {expected[:60]}"
            )
            return Verdict("correct" if same else "incorrect", found, detail, (at, at + len(found)))
    return Verdict("incorrect", detail="no_answer: the response names no value")


def _candidates(text: str) -> list[tuple[str, int]]:
    """Where an answer may stand, likeliest first."""
    found = [(m[1], m.start(1)) for m in reversed(list(_TAGGED.finditer(text)))]
    blocks = [(m[1], m.start(1)) for m in reversed(list(_FENCED.finditer(text)))]
    found += [(line, at) for body, start in blocks for line, at in _lines_back(body, start)]
    found += blocks
    found += [(m[1], m.start(1)) for m in reversed(list(re.finditer(r"`([^`\n]+)`", text)))]
    found += [_stripped(m, m.lastindex or 1) for m in reversed(list(_SAID.finditer(text)))]
    found += _lines_back(text, 0)
    return [(part.strip(), at + len(part) - len(part.lstrip())) for part, at in found]


def _stripped(match: re.Match[str], group: int) -> tuple[str, int]:
    said = match[group]
    return said.strip(" .*"), match.start(group) + len(said) - len(said.lstrip(" .*"))


def _lines_back(text: str, start: int) -> list[tuple[str, int]]:
    lines, at = [], start
    for line in text.split("\n"):
        if line.strip():
            lines.append((line, at))
        at += len(line) + 1
    return lines[::-1]


def _value_of(text: str) -> tuple[object] | None:
    """The value a text claims: `assert f(…) == value`, `f(…) == value`, or the value itself."""
    if (plain := _literal(text)) is not None:
        return plain
    try:
        body = ast.parse(text.strip().removeprefix(">>>").strip()).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    node: ast.AST | None = body[-1] if body else None
    if isinstance(node, ast.Assert):
        node = node.test
    elif isinstance(node, ast.Expr):
        node = node.value
    elif isinstance(node, ast.Assign):
        return _literal(ast.unparse(node.value))
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        return _literal(ast.unparse(node.comparators[0])) or _literal(ast.unparse(node.left))
    return None


def _literal(text: str) -> tuple[object] | None:
    if len(text) > _MOST:
        return None
    try:
        return (ast.literal_eval(text.strip()),)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return None
