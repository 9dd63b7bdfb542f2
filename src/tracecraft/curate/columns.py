"""Which of their columns is which of ours: declared by a map, or found by the usual names."""

import ast
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
import polars as pl

from tracecraft.curate import shape
from tracecraft.errors import DataError, did_you_mean
from tracecraft.schema import DROPPED

USUAL: Mapping[str, tuple[str, ...]] = {
    "statement": ("statement", "problem", "question", "prompt", "instruction", "query", "input"),
    "answer": (
        "answer",
        "final_answer",
        "gold",
        "ground_truth",
        "target",
        "reference",
        "reference_answer",
        "expected_answer",
        "gt",
    ),
    "solution": ("solution",),
    "tests": ("tests", "test_cases"),
    "choices": ("choices", "options"),
    "difficulty": ("difficulty",),
    "license": ("license",),
    "source": ("source",),
    "domain": ("domain",),
    "reasoning": ("reasoning", "reasoning_content", "thinking", "thought"),
    "completion": ("completion", "generation", "generations", "model_answer", "model_outputs"),
    "response": (
        "response",
        "output",
        "completion",
        "generation",
        "model_answer",
        "model_outputs",
        "prediction",
    ),
    "finish": ("finish", "finish_reason"),
    "teacher": ("teacher", "model"),
}
"""Ours to theirs, the likeliest first. Letter case does not count."""

ROLES = {"human": "user", "gpt": "assistant", "model": "assistant", "bot": "assistant"}
ROLE_NAMES = frozenset({"user", "assistant", "system"})


def find(
    ours: Sequence[str],
    theirs: Sequence[str],
    mapping: Mapping[str, str],
    where: str,
    required: Sequence[str] = (),
) -> dict[str, str]:
    """Our column names with the path of theirs that each is read from; what is absent is left out.

    Raises:
        DataError: a mapped column is not there, or a required one is under no usual name.
    """
    found: dict[str, str] = {}
    for name, path in mapping.items():
        if name not in ours:
            raise DataError(
                f"{where}: map: no column of ours is {name!r}{did_you_mean(name, ours)}"
            )
        if root(path, theirs) is None:
            hint = did_you_mean(path.split(".")[0], theirs)
            raise DataError(f"{where}: map.{name}: no column {path!r}{hint}")
        found[name] = path
    lower = {name.lower(): name for name in reversed(theirs)}
    taken = {path for path in found.values() if path in theirs}
    for name in ours:
        usual = USUAL.get(name, (name,))
        match = next((lower[one] for one in usual if one in lower), None)
        if name not in found and match is not None and match not in taken:
            found[name] = match
            taken.add(match)
    for name in required:
        if name not in found:
            raise DataError(
                f"{where}: no column for {name!r}: it has {', '.join(theirs)}"
                f"\n  next   say which it is: map: {{{name}: …}}"
            )
    return found


def root(path: str, columns: Sequence[str]) -> str | None:
    """The column that a dotted path starts in: the longest one that fits."""
    return next((head for head, _ in _cuts(path) if head in columns), None)


def text(frame: pl.DataFrame, path: str) -> pl.Series:
    """What lies at a path as text, each value unchanged."""
    if path in frame.columns:
        return shape.to_text(frame[path])
    return pl.Series(path, [shape.as_text(one) for one in values(frame, path)], dtype=pl.String)


def values(frame: pl.DataFrame, path: str) -> list[Any]:
    """What lies at a path: a column, or a place inside the objects and lists of one."""
    head = root(path, frame.columns)
    if head is None:
        return [None] * frame.height
    column = frame[head].to_list()
    return column if path == head else [walk(one, path[len(head) + 1 :]) for one in column]


def walk(value: Any, path: str) -> Any:
    """What lies at a path in a nested value, JSON text included; None where it does not lead.

    A step is a field, a position in a list, or a role in a list of messages (`messages.user` is
    the first such message's text, `messages.assistant` the last one's).
    """
    value = decoded(value)
    if isinstance(value, Mapping):
        for head, rest in _cuts(path):
            if head in value:
                return walk(value[head], rest) if rest else value[head]
    elif isinstance(value, list):
        head, _, rest = path.partition(".")
        one = said(value, head) if head in ROLE_NAMES else _at(value, head)
        return walk(one, rest) if rest else one
    return None


def decoded(value: Any) -> Any:
    """The value of JSON text that holds an object or a list; anything else as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in ("{", "["):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return _python(value)


def _python(text: str) -> Any:
    """Some sets hold what Python prints instead of JSON."""
    with warnings.catch_warnings():  # LaTeX looks like a bad escape
        warnings.simplefilter("ignore")
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return text


def said(messages: Sequence[Any], role: str) -> str | None:
    """What a role says in a chat of either convention: role/content or from/value."""
    spoken = [m for m in messages if isinstance(m, Mapping) and speaker(m) == role]
    if not spoken:
        return None
    message = spoken[-1 if role == "assistant" else 0]
    return shape.as_text(message.get("content", message.get("value")))


def speaker(message: Mapping[str, Any]) -> str:
    """`user`, `assistant` or `system`, whatever the set calls them."""
    role = str(message.get("role") or message.get("from") or "")
    return ROLES.get(role, role)


def _at(values: list[Any], step: str) -> Any:
    number = int(step) if step.lstrip("-").isdigit() else len(values)
    return values[number] if -len(values) <= number < len(values) else None


def _cuts(path: str) -> Iterator[tuple[str, str]]:
    """A path cut in two at each dot, the longest head first: names may hold dots themselves."""
    parts = path.split(".")
    for n in range(len(parts), 0, -1):
        yield ".".join(parts[:n]), ".".join(parts[n:])


def prose(frame: pl.DataFrame, path: str, where: str) -> pl.Series:
    """Text at a path that must be text: a list of messages is not taken for one.

    Raises:
        DataError: it holds objects or lists.
    """
    if path in frame.columns and frame[path].dtype.is_nested():
        raise DataError(
            f"{where}: column {path!r} holds {frame[path].dtype}, not text"
            f"\n  next   say which part of it: {path}.user, {path}.0.content, …"
        )
    return text(frame, path)


def aside(frame: pl.DataFrame, used: Iterable[str], made: Collection[str]) -> list[pl.Series]:
    """Their columns that became none of ours; one whose name is taken is `theirs_NAME`."""
    consumed = set(used)
    return [
        column.alias(f"theirs_{column.name}") if column.name in (*made, DROPPED) else column
        for column in frame
        if column.name not in consumed
    ]
