"""Drop what repeats a benchmark, and say which problem of it, where, and how much."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import BeforeValidator, Field

from tracecraft.curate import benchmarks
from tracecraft.curate.corpus import Corpus
from tracecraft.curate.leaks import Index, Item, Leak
from tracecraft.curate.minhash import COMPILE_BYTES
from tracecraft.curate.search import find
from tracecraft.errors import RecipeError
from tracecraft.plugin import MayBeFile, Volatile
from tracecraft.schema import DROPPED
from tracecraft.stage import Ask, Desk, Progress, Stage

SPAN = pl.Struct({"start": pl.Int64, "end": pl.Int64})
_NAME = r"(?:^hf:)?(?:.*/)?([^/@]+)(?:@.*)?$"
"""The last part of a source like `hf:org/name@revision`."""


def _tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _cores() -> int:
    return os.cpu_count() or 1


class Decontaminate(Stage, use="decontaminate", version=1):
    """Drop rows that repeat a problem of a benchmark; flag those with its words but other numbers.

    Rows are compared by letters and digits alone, so that LaTeX, `$`, case, spacing, Unicode and
    a prompt wrapped around make no difference. A row is dropped if it holds at least `coverage`
    of a problem's tokens, in order, within one stretch about as long, and its numbers; of a
    problem that says little, nearly all of it. A row with a problem's wording and other numbers
    is another problem with another answer: it stays, and `paraphrase_of` names the problem.
    """

    against: Annotated[
        tuple[str, ...], BeforeValidator(_tuple), Field(strict=False), MayBeFile
    ] = ()
    """Benchmarks by name (`aime24`, `aime25`, `math500`, `amc23`, `gpqa_diamond`,
    `livecodebench`, `humaneval`, `mbpp`) or files of any; besides the tables after the first."""
    column: str = "statement"
    """What is searched: `statement`, `reasoning`, `response`, …"""
    ngram: int = Field(default=8, ge=4, le=32)
    """Tokens in a row that a text must share with a problem to be compared with it at all."""
    coverage: float = Field(default=0.6, gt=0, le=1)
    """Share of a problem's tokens from which a row repeats it. Measured on competition problems
    in two typesettings and on siblings from one textbook: see `benchmarks/decontaminate.py`."""
    workers: Annotated[int, Field(ge=1), Volatile] = Field(default_factory=_cores)
    """Threads."""

    scope: ClassVar = "shard"
    writes: ClassVar[pl.Schema] = pl.Schema(
        {
            DROPPED: pl.String(),
            "contaminated_by": pl.String(),
            "contaminated_span": SPAN,
            "coverage": pl.Float64(),
            "paraphrase_of": pl.String(),
        }
    )

    def needs(self) -> tuple[pl.Schema, ...]:
        """The column searched."""
        searched: pl.Schema = pl.Schema([(self.column, pl.String())])
        return (searched,)

    def identity(self) -> dict[str, Any]:
        return {
            **super().identity(),
            "against": {name: benchmarks.identity(name) for name in self.against},
        }

    @contextmanager
    def open(self, desk: Desk) -> Iterator[Ask]:
        """The index of all benchmarks is built once, at the first shard."""
        index: list[Index] = []
        done = 0

        def ask(rows: pl.LazyFrame, *tables: pl.LazyFrame) -> pl.LazyFrame:
            nonlocal done
            if not index:
                index.append(self.index(*tables))
            marks = self._marks(index[0], rows)
            done += marks.height
            desk.report(Progress(done, done))
            return _beside(rows, marks)

        yield ask

    def __call__(self, rows: pl.LazyFrame, /, *tables: pl.LazyFrame) -> pl.LazyFrame:
        return _beside(rows, self._marks(self.index(*tables), rows))

    def index(self, *tables: pl.LazyFrame) -> Index:
        """The problems of `against` and of tables with a column `statement`, ready to be found.

        Raises:
            RecipeError: there is no benchmark at all.
            DataError: one of them cannot be read.
        """
        found = [item for name in self.against for item in benchmarks.read(name)]
        for number, table in enumerate(tables, start=1):
            found += _named(table.collect(), f"table {number}")
        if not found:
            raise RecipeError(
                "decontaminate: against which benchmark?"
                "\n  next   say `against: [aime24]`, or give benchmarks as a second input"
            )
        return Index(found, self.ngram)

    def _marks(self, index: Index, rows: pl.LazyFrame) -> pl.DataFrame:
        corpus = Corpus(rows, (self.column,))
        parts, size = [pl.DataFrame(schema=self.writes)], 0
        for batch in corpus.batches(corpus.text.alias("text")):
            texts = batch["text"]
            size += int(texts.str.len_bytes().sum() or 0)
            found = find(index, texts, workers=self.workers, compiled=size > COMPILE_BYTES)
            marks = [
                self._mark(index.items, text, leaks)
                for text, leaks in zip(texts, found, strict=True)
            ]
            parts.append(pl.DataFrame(marks, schema=self.writes, orient="row"))
        return pl.concat(parts)

    def _mark(self, items: Sequence[Item], text: str | None, leaks: Sequence[Leak]) -> Any:
        """One row of `writes`: for the problem that is held most completely."""
        if not leaks or text is None:
            return (None,) * len(self.writes)
        ranked = sorted(leaks, key=lambda leak: (-leak.coverage, -leak.likeness, leak.item))
        for leak in ranked:
            if leak.verdict(self.coverage) == "repeats":
                item, data = items[leak.item], text.encode()
                start = len(data[: leak.start].decode())
                span = {"start": start, "end": start + len(data[leak.start : leak.end].decode())}
                dropped = f"contaminated:{item.benchmark}"
                return dropped, item.id, span, round(leak.coverage, 4), None
        ranked.sort(key=lambda leak: -leak.likeness)
        for leak in ranked:
            if leak.verdict(self.coverage) == "paraphrases":
                item = items[leak.item]
                return None, None, None, None, f"{item.benchmark}:{item.id}"
        return (None,) * len(self.writes)


def _named(table: pl.DataFrame, where: str) -> list[Item]:
    """The problems of a table that a source made: its `source` names the benchmark."""
    if benchmarks.BENCHMARK not in table.columns and "source" in table.columns:
        name = pl.col("source").str.extract(_NAME, 1).str.split(".").list.first()
        table = table.with_columns(name.fill_null(where).alias(benchmarks.BENCHMARK))
    return benchmarks.items_of(table, where, where)


def _beside(rows: pl.LazyFrame, marks: pl.DataFrame) -> pl.LazyFrame:
    kept = rows.drop(marks.columns, strict=False)
    return pl.concat([kept, marks.lazy()], how="horizontal")
