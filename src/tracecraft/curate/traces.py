"""Traces that others recorded: a published set by its name, or any file that a map explains."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from tracecraft.curate import columns
from tracecraft.curate.files import contents, many, open_files, read_table
from tracecraft.curate.hub import check_pinned, open_hub
from tracecraft.curate.layouts import LAYOUTS, Layout
from tracecraft.curate.questions import OURS as ASKED
from tracecraft.curate.questions import Domain, Opened, check_filled
from tracecraft.curate.samples import BESIDE, TOKENS, Manner
from tracecraft.curate.source import Source
from tracecraft.errors import DataError, RecipeError, did_you_mean

TEXTS = ("completion", "reasoning", "response")
OURS = (*ASKED, *TEXTS, "finish", "teacher", *TOKENS)
CHATS = ("messages", "conversations")


class Traces(Source, use="traces", version=1):
    """Recorded traces of a published set, or of any file whose columns a map explains."""

    layout: str | None = None
    """A published set, by name: its columns, teacher and licence are then known."""
    path: tuple[Path, ...] = Field(default=(), strict=False)
    """Local files, as for `files`; without them the hub is asked."""
    repo: str | None = None
    """`org/name` on the hub; a layout knows its own."""
    revision: str | None = None
    """Commit of the repository."""
    config: str | None = None
    """Which configuration of it."""
    split: str | None = None
    """Which split; on the hub `train` without a word."""
    map: dict[str, str] = Field(default_factory=dict)
    """Ours: theirs, as for `files`. A trace is one text (`completion`, split where its thought
    ends) or two (`reasoning`, `response`); a list of texts is several samples."""
    flags: tuple[str, ...] = Field(default=(), strict=False)
    """Columns that judge each generation, kept as `theirs_NAME`."""
    keep: tuple[str, ...] = Field(default=(), strict=False)
    """Other columns of a row, kept as `theirs_NAME`."""
    problems: tuple[Path, ...] = Field(default=(), strict=False)
    """A file that holds the problems apart; a map calls its columns `problems.NAME`."""
    on: dict[str, str] = Field(default_factory=dict, max_length=1)
    """Which column of the traces is which of the problems; without it they go row by row."""
    teacher: str | None = None
    """Who wrote them: `model@revision`."""
    license: str | None = None
    """The licence of rows that name none."""
    source: str | None = None
    """Where the rows are from."""
    domain: Domain | None = None
    """The domain of all rows; without it a row's own."""
    marks: tuple[str, str] | None = Field(default=None)
    """What opens and closes a thought, in a set that has marks of its own."""
    opened: bool = False
    """The prompt ended with the opening mark: a text that never closes is all thought."""
    answer_after: str | None = None
    """The reference answer is what follows the last such mark (GSM8K: `####`)."""

    _one_or_many = field_validator("path", "problems", mode="before")(many)

    @field_validator("marks", mode="before")
    @classmethod
    def _pair(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _placed(self) -> Self:
        if self.layout is not None and self.layout not in LAYOUTS:
            raise RecipeError(f"no layout {self.layout!r}{did_you_mean(self.layout, LAYOUTS)}")
        if self.path and self.repo:
            raise RecipeError("path and repo: name one of the two")
        if not self.path and not (self.repo or self.layout):
            raise RecipeError("which traces? say path:, repo: or layout:")
        if not self.path:
            check_pinned(self._repo, self.revision)
        return self

    @property
    def _set(self) -> Layout:
        return LAYOUTS[self.layout] if self.layout else Layout("", {}, teacher=None)

    @property
    def _repo(self) -> str:
        return self.repo or self._set.repo

    def identity(self) -> dict[str, Any]:
        """Files count by name and content, wherever they lie."""
        bare = self.model_copy(update={"path": (), "problems": ()})
        files = {"path": contents(self.path, self.split), "problems": contents(self.problems, None)}
        return {**Source.identity(bare), **files}

    def read(self) -> Iterator[pl.DataFrame]:
        if self.path:
            place = open_files(self.path, self.split)
        else:
            split = self.split or "train"
            place = open_hub(self._repo, str(self.revision), self.config, split)
        beside = self._beside()
        manner = self._manner(place, [*place.columns, *beside.columns])
        rows, filled = 0, set()
        pieces = place.pieces(place.as_text(manner.paths))
        for name, piece in self._joined(pieces, beside, place.where):
            if self.path and self.layout:
                name = f"hf:{self._set.repo}"
            made = manner.traces(piece, self.source or name)
            filled |= {n for n in self.map if self._told(made, n)}
            rows += piece.height
            yield made
        check_filled(place.where, rows, self.map, filled)

    def _told(self, made: pl.DataFrame, name: str) -> bool:
        if name in TEXTS:
            return bool((made["finish"] != "failed").any())
        return bool((made[name].cast(pl.String).fill_null("") != "").any())

    def _manner(self, place: Opened, theirs: list[str]) -> Manner:
        known = self._set
        for path in (*self.flags, *self.keep):
            if columns.root(path, theirs) is None:
                hint = did_you_mean(path, theirs)
                raise DataError(f"{place.where}: flags and keep: no column {path!r}{hint}")
        there = [path for path in known.flags if columns.root(path, theirs)]
        more = [path for path in known.keep if columns.root(path, theirs)]
        return Manner(
            where=place.where,
            paths=self._paths(place.where, theirs),
            flags=tuple(dict.fromkeys((*there, *self.flags))),
            keep=tuple(dict.fromkeys((*more, *self.keep))),
            teacher=self.teacher or known.teacher,
            license=self.license or known.license,
            domain=self.domain or known.domain,
            marks=self.marks,
            opened=self.opened,
            answer_after=self.answer_after,
        )

    def _paths(self, where: str, theirs: list[str]) -> dict[str, str]:
        """Ours to theirs: what the recipe says, what the layout says, what the names say."""
        mapping = dict(self._set.map)
        if any(name in self.map for name in TEXTS):
            mapping = {name: path for name, path in mapping.items() if name not in TEXTS}
        mapping = {n: p for n, p in mapping.items() if columns.root(p, theirs)} | self.map
        found = columns.find(self._sought(mapping), theirs, mapping, where)
        chat = next((name for name in CHATS if name in theirs), None)
        if chat is not None and self.layout is None:
            found.setdefault("statement", f"{chat}.user")
            if not any(name in found for name in TEXTS):
                found["completion"] = f"{chat}.assistant"
        if "reasoning" not in found and "response" in found:
            found.setdefault("completion", found.pop("response"))
        wanted = "response" if "reasoning" in found else "completion"
        for name in ("statement", wanted):
            if name not in found:
                raise DataError(
                    f"{where}: no column for {name!r}: it has {', '.join(theirs)}"
                    f"\n  next   say which it is: map: {{{name}: …}}"
                )
        return found

    def _sought(self, mapping: dict[str, str]) -> list[str]:
        """What may be found by its usual name; a trace is one text or two, never three."""
        if self.layout is not None:
            return [name for name in OURS if name in mapping]
        if "completion" in mapping:
            return [name for name in OURS if name not in ("reasoning", "response")]
        apart = any(name in mapping for name in TEXTS)
        return [name for name in OURS if not (apart and name == "completion")]

    def _beside(self) -> pl.DataFrame:
        if not self.problems:
            return pl.DataFrame()
        tables = [read_table(one) for one in self.problems]
        return pl.concat(tables, how="diagonal_relaxed").collect().select(
            pl.all().name.prefix(BESIDE)
        )  # fmt: skip

    def _joined(
        self, pieces: Iterator[tuple[str, pl.DataFrame]], beside: pl.DataFrame, where: str
    ) -> Iterator[tuple[str, pl.DataFrame]]:
        """Each row of the traces with its problem's columns, found by key or by position."""
        if not self.problems:
            yield from pieces
            return
        key = next(iter(self.on.items()), None)
        row_of = _rows_by(beside, BESIDE + key[1], where) if key else {}
        start = 0
        for name, piece in pieces:
            if key:
                wanted = [row_of.get(one) for one in columns.text(piece, key[0])]
            else:
                wanted = list(range(start, min(start + piece.height, beside.height)))
            start += piece.height
            if None in wanted or len(wanted) < piece.height:
                lost = piece[wanted.index(None)] if None in wanted else piece[len(wanted)]
                raise DataError(
                    f"{where}: no problem for the row {str(lost.row(0))[:60]}…"
                    "\n  next   say on: {column of the traces: column of the problems}"
                )
            yield name, piece.hstack(beside[pl.Series(wanted, dtype=pl.UInt32)])
        if not key and start != beside.height:
            raise DataError(
                f"{where}: {start} rows beside {beside.height} problems"
                "\n  next   say on: {column of the traces: column of the problems}"
            )


def _rows_by(beside: pl.DataFrame, column: str, where: str) -> dict[str | None, int]:
    if column not in beside.columns:
        hint = did_you_mean(column, beside.columns)
        raise DataError(f"{where}: on: no column {column!r}{hint}")
    row_of = {key: row for row, key in enumerate(columns.text(beside, column))}
    if len(row_of) < beside.height:
        raise DataError(f"{where}: on: two problems have the same {column!r}")
    return row_of
