"""SQL text → a polars test of one row; what looks at other rows, or can stop a run, is refused."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl

from tracecraft.errors import RuleError, did_you_mean

_STRING = re.compile(r"'(?:[^']|'')*'")
_OTHER_ROWS = re.compile(r"(?i)\b(over|select|exists)\b\s*\(|\b(select)\b")
_NOT_A_ROW = {
    "Agg": "an aggregate",
    "Len": "an aggregate",
    "NullCount": "an aggregate",
    "Correlation": "an aggregate",
    "Quantile": "an aggregate",
    "Any": "an aggregate",
    "All": "an aggregate",
    "Explode": "a list unfolded into rows",
    "Over": "a window",
    "Window": "a window",
    "Rolling": "a window",
    "SubPlan": "a subquery",
}
"""Nodes of a polars expression whose value for one row depends on, or makes, other rows."""
_COMPARED = re.compile(
    r"(?i)\b(\w+)\s*(?:=|<>|!=|(?:not\s+)?in\b)\s*(\(\s*'[^)]*'\s*\)|'(?:[^']|'')*')"
)


def parse(sql: str, where: str) -> pl.Expr:
    """The test that `sql` describes.

    Raises:
        RuleError: it is no SQL, or no test of one row by itself.
    """
    bare = _STRING.sub("''", sql)
    if found := _OTHER_ROWS.search(bare):
        raise RuleError(f"{where}: {found.group().rstrip('( ').upper()} looks at other rows")
    try:
        test = pl.sql_expr(sql)
    except pl.exceptions.PolarsError as error:
        raise RuleError(f"{where}: {_first_line(error)}") from None
    for node, content in _nodes(json.loads(test.meta.serialize(format="json"))):
        if node in _NOT_A_ROW:
            raise RuleError(f"{where}: {_NOT_A_ROW[node]} is not a test of one row: {sql}")
        if node == "Cast" and _can_fail(content):
            raise RuleError(f"{where}: CAST stops the run at a value it cannot read; use TRY_CAST")
    return test


def columns(test: pl.Expr) -> list[str]:
    """The columns a test reads, each once, in the order of their mention."""
    return list(dict.fromkeys(test.meta.root_names()))


def check_type(test: pl.Expr, empty: pl.DataFrame, where: str) -> None:
    """Try a test on a table without rows.

    Raises:
        RuleError: it cannot be computed on columns of these types, or its value is no Boolean.
    """
    try:
        kind = empty.select(test.alias("test")).schema["test"]
    except pl.exceptions.PolarsError as error:
        raise RuleError(f"{where}: {_first_line(error)}") from None
    if kind != pl.Boolean:
        raise RuleError(f"{where}: gives {kind}, not true or false")


def check_words(sql: str, schema: Mapping[str, Any], where: str) -> None:
    """Look for comparisons that can never hold: a word that the column's enum does not have.

    Raises:
        RuleError: naming the nearest word that it has.
    """
    for column, compared in _COMPARED.findall(sql):
        kind = schema.get(column)
        if not isinstance(kind, pl.Enum):
            continue
        known = kind.categories.to_list()
        for word in _STRING.findall(compared):
            if word[1:-1] not in known:
                raise RuleError(
                    f"{where}: {column} is never {word}" + did_you_mean(word[1:-1], known)
                )


def _first_line(error: Exception) -> str:
    text = str(error)
    if text.startswith("regex error"):
        return "regex: " + text.rpartition("error:")[2].strip().partition("\n")[0]
    return text.partition("\n")[0]


def _can_fail(cast: Mapping[str, Any]) -> bool:
    return cast.get("options") == "Strict" and cast.get("dtype") != {"Literal": "Boolean"}


def _nodes(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every node of a serialised expression; what a user wrote in quotes is not one."""
    if isinstance(tree, str):
        yield tree, None
    elif isinstance(tree, list):
        for item in tree:
            yield from _nodes(item)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield key, value
            if key not in {"Literal", "Column", "Alias", "FieldByName"}:
                yield from _nodes(value)
