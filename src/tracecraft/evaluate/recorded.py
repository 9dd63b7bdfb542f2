"""Answers that something else generated, in the shapes in which evaluation logs hold them."""

import ast
import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from tracecraft.errors import DataError
from tracecraft.evaluate.items import ITEM
from tracecraft.think import join

IDS = ("item", "id", "unique_id", "question_id", "task_id", "problem_id", "Record ID", "doc_id")
STATEMENTS = ("statement", "problem", "question", "question_content", "prompt", "input")
TEXTS = (
    "output_list", "model_outputs", "model_output", "generations", "completions", "outputs",
    "completion", "generation", "response", "output", "answers", "content", "text",
)  # fmt: skip
ROWS = ("examples", "rows", "data", "samples", "details")
ENDS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_length"), "length"),
}
_GIVEN = re.compile(r"[\W_]+")


@dataclass(slots=True)
class Said:
    """All recorded answers to one problem."""

    names: set[str]
    """What the file calls it."""
    statement: str
    """In one form; empty where the file holds none."""
    answers: list[dict[str, Any]] = field(default_factory=list)
    """As the `replay` engine reads them: text, finish, completion_tokens."""


def read(path: Path) -> list[Said]:
    """The recorded answers of a file: JSON, JSON lines, also .gz, or Parquet.

    Raises:
        DataError: it cannot be read, or no column holds an answer.
    """
    rows = _rows(path)
    texts = next((name for name in TEXTS if any(row.get(name) is not None for row in rows)), None)
    if texts is None and not any("messages" in row for row in rows):
        known = ", ".join(sorted({key for row in rows[:50] for key in row}))
        raise DataError(
            f"{path}: no column holds answers: it has {known}\n  known  {', '.join(TEXTS)}"
        )
    found: list[Said] = []
    places: dict[str, Said] = {}
    for number, row in enumerate(rows, 1):
        names = {str(row[name]) for name in IDS if row.get(name) is not None}
        statement = plain(_statement(row))
        key = next(iter(sorted(names)), statement)
        if not key:
            raise DataError(
                f"{path}: row {number} names no problem: neither an id nor a statement"
                f"\n  known  {', '.join((*IDS, *STATEMENTS))}"
            )
        if key not in places:
            places[key] = Said(names, statement)
            found.append(places[key])
        places[key].answers += _answers(row, texts)
    return found


def matched(said: Sequence[Said], problems: pl.DataFrame) -> dict[str, Said]:
    """Each problem's statement with what is recorded for it.

    By the item's name; else by the statement's letters and digits, which may stand within a
    longer prompt.
    """
    by_name = {name: one for one in said for name in one.names}
    by_text = {one.statement: one for one in said if one.statement}
    found = {}
    for item, statement in problems.select(ITEM, "statement").iter_rows():
        text = plain(statement)
        one = by_text.get(text) or by_name.get(item) or _within(text, by_text)
        if one is not None:
            found[statement] = one
    return found


def plain(text: str) -> str:
    """A statement's letters and digits, so that spacing and LaTeX's marks do not count."""
    return _GIVEN.sub("", text).casefold()


def _within(text: str, by_text: Mapping[str, Said]) -> Said | None:
    """The one recorded prompt that holds the statement, or that it holds."""
    holding = [one for told, one in by_text.items() if text in told or told in text]
    return holding[0] if len(holding) == 1 else None


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            return pl.read_parquet(path).to_dicts()
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = _lines(text, path)
    rows = _found(value)
    if not rows:
        raise DataError(f"{path}: holds no rows")
    return rows


def _lines(text: str, path: Path) -> list[Any]:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: is not JSON: {error.msg}") from None
    return rows


def _found(value: Any) -> list[dict[str, Any]]:
    """The rows of a JSON value: a list, or what stands under a usual name."""
    if isinstance(value, list):
        return [row for row in value if isinstance(row, dict)]
    if not isinstance(value, dict):
        return []
    for name in ROWS:
        if isinstance(value.get(name), list):
            return _found(value[name])
    if isinstance(value.get("results"), dict):  # evalchemy: results of several tasks
        return [row for task in value["results"].values() for row in _found(task)]
    return [value]


def _statement(row: Mapping[str, Any]) -> str:
    for name in STATEMENTS:
        told = row.get(name)
        if isinstance(told, list):  # a chat
            users = [m for m in told if isinstance(m, dict) and m.get("role") == "user"]
            told = users[0].get("content") if users else None
        if isinstance(told, str) and told.strip():
            return told
    return ""


def _answers(row: Mapping[str, Any], name: str | None) -> list[dict[str, Any]]:
    value = row.get(name) if name else None
    if value is None and isinstance(row.get("messages"), list):
        value = [m.get("content") for m in row["messages"] if m.get("role") == "assistant"][-1:]
    texts = _texts(value)
    thought = row.get("reasoning") or row.get("reasoning_content")
    if isinstance(thought, str) and thought and name in ("response", "output", "content"):
        texts = [join(thought, text) for text in texts]
    ends = _spread(_first(row, ("finish", "finish_reasons", "finish_reason")), len(texts))
    tokens = _spread(_first(row, ("completion_tokens", "output_tokens", "num_tokens")), len(texts))
    return [
        {
            "text": text,
            "finish": "stop" if end is None else ENDS.get(str(end).lower(), "failed"),
            "completion_tokens": int(count) if isinstance(count, (int, float)) else 0,
        }
        for text, end, count in zip(texts, ends, tokens, strict=True)
    ]


def _texts(value: Any) -> list[str]:
    if isinstance(value, str) and value[:2] in ("['", '["') and value.endswith("]"):
        try:
            told = ast.literal_eval(value)  # a list that was printed
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return [value]
        value = told if isinstance(told, list) else value
    if isinstance(value, Mapping):
        value = value.get("text", value.get("content"))
    values: Iterable[Any] = value if isinstance(value, list) else [value]
    return [
        one if isinstance(one, str) else str(one.get("text", "")) if isinstance(one, dict) else ""
        for one in values
    ]


def _first(row: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _spread(value: Any, count: int) -> list[Any]:
    return value if isinstance(value, list) and len(value) == count else [value] * count
