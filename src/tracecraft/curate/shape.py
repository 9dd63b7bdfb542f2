"""Which column type holds values as they come: nothing is rounded, cut or renumbered."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
import polars as pl

DEEPEST = 64
"""Lists and objects within one another; polars compares types by recursion."""
EXACT = 2**53
"""Whole numbers up to this size survive as a double (IEEE 754, 53 bits of significand)."""


class Shape:
    """What the values of one column, or of one nested place, have shown so far."""

    __slots__ = ("depth", "fields", "items", "kinds", "largest", "ragged")

    def __init__(self, depth: int = 0) -> None:
        if depth > DEEPEST:
            raise RecursionError
        self.depth = depth
        self.kinds: set[type] = set()
        self.largest = 0
        self.ragged = False
        self.items: Shape | None = None
        self.fields: dict[str, Shape] | None = None

    def see(self, value: Any) -> None:
        """Take one more value into account."""
        kind = type(value)
        self.kinds.add(kind)
        if kind is int:
            size = value if value >= 0 else -value - 1
            self.largest = max(size, self.largest)
        elif kind is list:
            self.items = self.items or Shape(self.depth + 1)
            for one in value:
                self.items.see(one)
        elif kind is dict:
            self._see_fields(value)

    def _see_fields(self, value: Mapping[str, Any]) -> None:
        if self.fields is None:
            self.fields = {name: Shape(self.depth + 1) for name in value}
        if value.keys() != self.fields.keys():
            self.ragged = True
            return
        for name, one in value.items():
            self.fields[name].see(one)

    def dtype(self) -> pl.DataType:
        """The column's type; String where values have to be kept as text."""
        kinds = self.kinds - {type(None)}
        if kinds == {int, float} and self.largest <= EXACT:
            return pl.Float64()
        return self._inner() or pl.String()

    def _inner(self) -> pl.DataType | None:
        """The type inside a list or an object; None where only JSON text can hold it."""
        kinds = self.kinds - {type(None)}
        if not kinds:
            return pl.String()
        if len(kinds) > 1:
            return None
        kind = kinds.pop()
        if kind is int:
            return pl.Int64() if self.largest < 2**63 else None
        if kind is list:
            item = self.items._inner() if self.items else None
            return pl.List(item) if item is not None else None
        if kind is dict:
            return self._struct()
        return {str: pl.String(), bool: pl.Boolean(), float: pl.Float64()}.get(kind)

    def _struct(self) -> pl.DataType | None:
        fields = {} if self.ragged or not self.fields else self.fields
        inner = {name: shape._inner() for name, shape in fields.items()}
        known = {name: dtype for name, dtype in inner.items() if dtype is not None}
        return pl.Struct(known) if known and len(known) == len(inner) else None


def schema(rows: Iterable[Mapping[str, Any]]) -> pl.Schema:
    """The columns of rows, in the order in which they first appear."""
    shapes: dict[str, Shape] = {}
    for row in rows:
        for name, value in row.items():
            shape = shapes.get(name)
            if shape is None:
                shape = shapes[name] = Shape()
            shape.see(value)
    return pl.Schema({name: shape.dtype() for name, shape in shapes.items()})


def table(rows: Sequence[Mapping[str, Any]], columns: pl.Schema) -> pl.DataFrame:
    """Rows as a table of these columns; what a row lacks is null."""
    return pl.DataFrame(
        [series(name, [row.get(name) for row in rows], dtype) for name, dtype in columns.items()]
    )


def series(name: str, values: list[Any], dtype: pl.DataType) -> pl.Series:
    """Values as one column; those of a String column become text unchanged."""
    if dtype == pl.String:
        return pl.Series(name, [as_text(one) for one in values], dtype=pl.String)
    if dtype == pl.Float64:
        values = [None if one is None else float(one) for one in values]
    return pl.Series(name, values, dtype=dtype, strict=True)


def as_text(value: Any) -> str | None:
    """A value as text that says the same: 42 is `42`, 42.0 is `42.0`, nested is JSON."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if not isinstance(value, (list, dict)):
        return str(value)
    try:
        made = orjson.dumps(value, default=str)
    except TypeError:  # a whole number of more than 64 bits
        made = b"null"
    if b"null" not in made:
        return made.decode()
    # orjson writes null for NaN as well; the standard library tells them apart
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


def common(one: pl.DataType, other: pl.DataType) -> pl.DataType:
    """The type that holds the columns of two files; String where they do not agree."""
    if one == other:
        return one
    if pl.Null in (one, other):
        return other if one == pl.Null else one
    if one.is_integer() and other.is_integer():
        return pl.Int64() if pl.UInt64 not in (one, other) else pl.String()
    if one.is_float() and other.is_float():
        return pl.Float64()
    return pl.String()


def cast(frame: pl.DataFrame, columns: pl.Schema) -> pl.DataFrame:
    """The frame with exactly these columns, in their order; what it lacks is null."""
    made = []
    for name, dtype in columns.items():
        if name not in frame.columns:
            made.append(pl.Series(name, [None] * frame.height, dtype=dtype))
        elif frame[name].dtype == dtype:
            made.append(frame[name])
        elif dtype == pl.String:
            made.append(to_text(frame[name]))
        else:
            made.append(frame[name].cast(dtype, strict=True))
    return pl.DataFrame(made)


def to_text(column: pl.Series) -> pl.Series:
    """A column as text, each value unchanged."""
    if column.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Float32):
        return column.cast(pl.String)
    if column.dtype.is_integer() or column.dtype.is_decimal():
        return column.cast(pl.String)
    return pl.Series(column.name, [as_text(one) for one in column.to_list()], dtype=pl.String)
