"""A stage maps tables to a table and never deletes a row; a job fills a directory.

A stage that wants a row gone writes the name of the rule into the `dropped` column; the runner
moves such rows to the ledger. Hence rows in = rows out + rows dropped, always.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import polars as pl

from tracecraft.completions import Completions
from tracecraft.errors import BrokenContract
from tracecraft.plugin import Plugin

Table = pl.LazyFrame
Ask = Callable[..., pl.LazyFrame]
"""A stage made ready: tables in, table out."""


@runtime_checkable
class Expecting(Protocol):
    """An `Ask` that likes to know its next tables before it is called with them."""

    def expect(self, *tables: pl.LazyFrame) -> None:
        """The call after the one that follows now will be with these."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a stage is, for whoever watches; all fields are totals so far."""

    done: int
    total: int
    unit: str = "rows"
    facts: dict[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Desk:
    """What a runner lends to a stage while it runs."""

    completions: Completions | None = None
    """The completion ledger; None keeps nothing (a notebook without a store)."""
    scratch: Path | None = None
    """A folder for large intermediate files; None: a temporary one of the stage's own."""
    report: Callable[[Progress], None] = lambda progress: None
    """Called as work advances."""
    spread: Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]] | None = None
    """As `map`, on the machines of a cluster: the function and what it gets and gives are pickled.
    None: there is this process alone."""


class Stage(Plugin, kind="stage"):
    """Tables in, table out. Subclass, give it a `use=`, write `__call__`."""

    reads: ClassVar[tuple[pl.Schema, ...]] = ()
    """The columns each table must have, in the order of the arguments."""
    writes: ClassVar[pl.Schema] = pl.Schema()
    """Columns the result has; others pass through."""
    scope: ClassVar[Literal["shard", "dataset", "marks"]] = "shard"
    """`shard`: rows are independent, so shards run apart and resume apart. `marks`: needs all
    rows to decide but only adds columns (see `Marker`). `dataset`: needs all rows at once."""
    fans_out: ClassVar[bool] = False
    """One input row may become several rows; otherwise rows in = rows out + dropped."""
    shard_rows: ClassVar[int] = 50_000
    """Most rows of the first input that one call gets."""

    @abstractmethod
    def __call__(self, *tables: Any, **named: Any) -> pl.LazyFrame:
        """The table this stage makes. Pure: same tables, same result, row order included."""

    def needs(self) -> tuple[pl.Schema, ...]:
        """`reads`, where it depends on the options."""
        return self.reads

    def gives(self) -> pl.Schema:
        """`writes`, where it depends on the options."""
        return self.writes

    @property
    def gpus(self) -> int:
        """How many GPUs one process of it takes."""
        return 0

    @property
    def takes_model(self) -> bool:
        """Whether one of its inputs is a step that makes a model."""
        return False

    def with_model(self, home: Path) -> Self:
        """This stage with the model that the step at `home` made, where it takes one."""
        raise BrokenContract(f"{self.use} takes no model of another step")

    @contextmanager
    def open(self, desk: Desk) -> Iterator[Ask]:
        """Whatever is costly to start (a model, worker processes) is held open while the runner
        calls what this yields, shard by shard. Most stages have nothing to open.
        """
        yield self


class Marker(Stage):
    """A stage that reads everything but only adds columns, so that texts never pile up in memory.

    `mark` may scan its first table as often as it likes; what it returns has one row per row of
    that table, in order, and holds only the columns to add (`dropped` among them).
    """

    scope: ClassVar[Literal["shard", "dataset", "marks"]] = "marks"

    @abstractmethod
    def mark(self, *tables: Any, **named: Any) -> pl.DataFrame:
        """The columns to add."""

    def dress(self, table: pl.LazyFrame) -> pl.LazyFrame:
        """The last touch on a shard of rows and their marks; may add columns, never rows."""
        return table

    def __call__(self, *tables: Any, **named: Any) -> pl.LazyFrame:
        marks = self.mark(*tables, **named)
        first: pl.LazyFrame = tables[0]
        return self.dress(
            pl.concat([first.drop(marks.columns, strict=False), marks.lazy()], how="horizontal")
        )


class Job(Plugin, kind="job"):
    """A stage's sibling for what is not a table: it fills an empty directory."""

    reads: ClassVar[tuple[pl.Schema, ...]] = ()
    resumes: ClassVar[bool] = False
    """`into` may hold what an earlier, interrupted attempt left; otherwise it is empty."""

    @abstractmethod
    def __call__(self, inputs: tuple[Path, ...], into: Path, desk: Desk) -> None:
        """Make the output in `into`, from the finished outputs of other steps."""


Stage.known.update(
    {
        "normalize": "tracecraft.curate.normalize",
        "dedupe": "tracecraft.curate.dedupe",
        "decontaminate": "tracecraft.curate.decontaminate",
        "generate": "tracecraft.distill.generate",
        "verify": "tracecraft.verify.verifier",
        "filter": "tracecraft.select.rules",
        "pick": "tracecraft.select.pick",
        "benchmark": "tracecraft.evaluate.items",
    }
)
Job.known.update(
    {
        "write": "tracecraft.publish.shards",
        "train": "tracecraft.train.branch",
        "pico": "tracecraft.train.pico",
        "merge": "tracecraft.merge.fold",
        "score": "tracecraft.evaluate.score",
        "leaks": "tracecraft.evaluate.leaks",
        "gate": "tracecraft.evaluate.gate",
    }
)
