"""What all sources of problems share: their columns become ours, the rest passes through."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from pydantic import Field, field_validator

from tracecraft.curate import columns, shape
from tracecraft.curate.source import Source
from tracecraft.errors import DataError, did_you_mean
from tracecraft.schema import DOMAIN, OPTIONAL, QUESTION

Domain = Literal["math", "code", "science", "logic", "chat"]
OURS = (*QUESTION, "domain", *OPTIONAL)


@dataclass(frozen=True, slots=True)
class Opened:
    """A place with rows, its columns known before the first row is handed out."""

    where: str
    """For messages."""
    columns: pl.Schema
    """Of all rows."""
    pieces: Callable[[pl.Schema], Iterator[tuple[str, pl.DataFrame]]]
    """The rows in pieces of the columns asked for, each with the name of where it is from."""

    def as_text(self, paths: Mapping[str, str]) -> pl.Schema:
        """The columns, those that a map reads as text, where they are not nested."""
        read = set(paths.values())
        return pl.Schema(
            {
                name: pl.String() if name in read and not dtype.is_nested() else dtype
                for name, dtype in self.columns.items()
            }
        )


class Questions(Source):
    """Problems of others under our column names."""

    map: dict[str, str] = Field(default_factory=dict)
    """Ours: theirs. Theirs may lead into objects and lists: `extra_info.answer`, `prompt.user`."""
    keep: tuple[str, ...] | None = None
    """Which other columns pass through; without it all of them do."""
    license: str | None = None
    """The licence of rows that name none."""
    source: str | None = None
    """Where the rows are from."""
    domain: Domain | None = None
    """The domain of all rows; without it a row's own `domain`."""
    answer_after: str | None = None
    """The reference answer is what follows the last such mark (GSM8K: `####`); what stands
    before it becomes the solution. An answer without the mark is null."""

    @field_validator("keep", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @abstractmethod
    def opened(self) -> Opened:
        """The place this source reads."""

    def read(self) -> Iterator[pl.DataFrame]:
        place = self.opened()
        known = self._found(place)
        rows, filled = 0, set()
        for name, piece in place.pieces(self._read_of(place, known)):
            made = self._dressed(questions(piece, known, place.where, self.keep), name)
            filled |= {n for n in self.map if made[n].null_count() < made.height}
            rows += piece.height
            yield made
        check_filled(place.where, rows, self.map, filled)

    def _read_of(self, place: Opened, known: Mapping[str, str]) -> pl.Schema:
        """The columns to read: what becomes ours, and what passes through."""
        schema = place.as_text(known)
        if self.keep is None:
            return schema
        for name in self.keep:
            if name not in schema:
                hint = did_you_mean(name, schema)
                raise DataError(f"{place.where}: keep: no column {name!r}{hint}")
        read = {columns.root(path, list(schema)) for path in known.values()} | {*self.keep}
        return pl.Schema({name: dtype for name, dtype in schema.items() if name in read})

    def _found(self, place: Opened) -> dict[str, str]:
        theirs = list(place.columns)
        known = columns.find(OURS, theirs, self.map, place.where, required=("statement",))
        for name in ("source", "domain"):
            if getattr(self, name) is not None and name not in self.map:
                known.pop(name, None)
        numeric = place.columns.get(known.get("difficulty", ""))
        if "difficulty" not in self.map and not (numeric and numeric.is_numeric()):
            known.pop("difficulty", None)
        return known

    def _dressed(self, made: pl.DataFrame, name: str) -> pl.DataFrame:
        """The same questions with what holds for all of them filled in."""
        made = made.with_columns(
            pl.col("source").fill_null(self.source or name),
            pl.col("license").fill_null(pl.lit(self.license, pl.String)),
        )
        if self.domain is not None:
            domain = pl.lit(self.domain, DOMAIN).alias("domain")
            made = made.insert_column(len(QUESTION), domain)
        return made if self.answer_after is None else parted(made, self.answer_after)


def questions(
    piece: pl.DataFrame,
    known: Mapping[str, str],
    where: str,
    keep: Sequence[str] | None = None,
) -> pl.DataFrame:
    """A table of theirs with our columns in front; behind, what became none of ours: all of it,
    or what `keep` names.
    """
    made: dict[str, pl.Series] = {}
    for name in OURS:
        if name in known:
            made[name] = _column(piece, name, known[name], where)
        elif name in QUESTION:
            made[name] = pl.Series(name, [None] * piece.height, dtype=pl.String)
    passing = piece if keep is None else piece.select(keep)
    others = columns.aside(passing, known.values(), OURS)
    return pl.DataFrame([*(column.alias(name) for name, column in made.items()), *others])


def _column(piece: pl.DataFrame, name: str, path: str, where: str) -> pl.Series:
    if name == "statement":
        return columns.prose(piece, path, where)
    if name == "choices":
        lists = map(columns.decoded, columns.values(piece, path))
        texts = [[shape.as_text(o) for o in v] if isinstance(v, list) else None for v in lists]
        return pl.Series(name, texts, dtype=OPTIONAL["choices"])
    column = columns.text(piece, path)
    if name != "difficulty":
        return column
    try:
        return column.cast(pl.Float32)
    except pl.exceptions.InvalidOperationError:
        raise DataError(
            f"{where}: map.difficulty: {path!r} holds what is no number"
            "\n  next   map another column to difficulty"
        ) from None


def parted(made: pl.DataFrame, mark: str) -> pl.DataFrame:
    """The answer cut at the last `mark`; what stood before it is the solution."""
    parts = pl.col("answer").str.split(mark)
    marked = pl.col("answer").str.contains(mark, literal=True)
    whole = parts.list.slice(0, parts.list.len() - 1).list.join(mark)
    before = pl.when(marked).then(whole).otherwise("answer").str.strip_chars()
    kept = pl.coalesce("solution", before) if "solution" in made.columns else before
    return made.with_columns(
        pl.when(marked).then(parts.list.last().str.strip_chars()).alias("answer"),
        kept.alias("solution"),
    )


def check_filled(where: str, rows: int, mapping: Mapping[str, str], filled: set[str]) -> None:
    """Raise where nothing came, or a mapped column had no value at all."""
    if rows == 0:
        raise DataError(f"{where}: holds no rows\n  next   check that it was written to its end")
    for name, path in mapping.items():
        if name not in filled:
            raise DataError(
                f"{where}: map.{name}: {path!r} has no value in any of {rows} rows"
                "\n  next   look at one row: the path may lead past what it means"
            )
