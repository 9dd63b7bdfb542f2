"""A stage at work: batches of its first input in, records of finished batches out."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

from tracecraft.batches import Batch, Record, settle
from tracecraft.errors import BrokenContract
from tracecraft.plan import Planned
from tracecraft.stage import Desk, Expecting, Marker, Stage
from tracecraft.store import Claims, Dataset

MARKS = "marks.arrow"
"""Where a step keeps what a `Marker` decided, until its shards have it."""


@dataclass(frozen=True, slots=True)
class Worker:
    """A stage held open by one process."""

    step: Planned
    stage: Stage
    ask: Callable[[Batch], pl.LazyFrame]
    expect: Callable[[Batch], None] | None
    """Likes to be told the batch after the one that is done now."""

    def do(self, batch: Batch) -> Record:
        """Make a batch's shards; its record, written last, is the proof that it is done.

        Raises:
            StageError: the stage stopped, or broke its contract.
        """
        return finished(self.step, self.stage, batch.name, self.ask(batch).collect(), batch.rows)

    def claimed(
        self, batch: Batch, after: Callable[[], Batch | None], claims: Claims
    ) -> Record | None:
        """`do`, unless another process works on it; `after` names what comes next."""
        if not claims.take(batch.name):
            return None
        try:
            record = Record.read(self.step.home, batch.name)  # done while we asked
            if record is None:
                if self.expect is not None and (coming := after()) is not None:
                    self.expect(coming)
                record = self.do(batch)
            return record
        finally:
            claims.give_back(batch.name)


@contextmanager
def at_work(step: Planned, desk: Desk) -> Iterator[Worker]:
    """The step's stage, opened on its finished inputs; a `Marker` must have marked before.

    Raises:
        BrokenContract: a table that it reads is not what it declares.
    """
    stage = bound(step)
    _, *beside = scans(step, stage)
    if isinstance(stage, Marker):
        yield Worker(step, stage, _marked(stage, step.home / MARKS), None)
        return
    with stage.open(desk) as ask:
        expect = ask.expect if isinstance(ask, Expecting) else None
        yield Worker(
            step,
            stage,
            lambda batch: ask(batch.scan(), *beside),
            expect and (lambda batch: expect(batch.scan(), *beside)),
        )


def bound(step: Planned) -> Stage:
    """The step's stage, with the models of other steps that it takes."""
    stage = step.spec.part
    assert isinstance(stage, Stage)
    for home in step.models:
        stage = stage.with_model(home)
    return stage


def tables(step: Planned) -> list[Dataset]:
    """The step's inputs that are tables."""
    return [Dataset.open(home) for home in step.inputs if home not in step.models]


def scans(step: Planned, stage: Stage) -> list[pl.LazyFrame]:
    """Those tables, not yet read.

    Raises:
        BrokenContract: one is not what the stage declares to read.
    """
    found = [dataset.scan() for dataset in tables(step)]
    for table, schema in zip(found, stage.needs(), strict=False):
        require(table, schema, f"{step.spec.name} reads")
    return found


def finished(step: Planned, stage: Stage, name: str, table: pl.DataFrame, rows: int) -> Record:
    """File a table as what became of a batch of so many rows."""
    begun = time.monotonic()
    require(table.lazy(), stage.gives(), f"{step.spec.name} writes")
    record = settle(step.home, name, table, rows, stage.shard_rows, fans_out=stage.fans_out)
    record = replace(record, seconds=round(time.monotonic() - begun, 3))
    record.write(step.home, name)
    return record


def require(table: pl.LazyFrame, schema: pl.Schema, who: str) -> None:
    """Raises BrokenContract where a column is missing or of another type."""
    have = table.collect_schema()
    for column, want in schema.items():
        if have.get(column) != want:
            found = have.get(column) or "nothing"
            raise BrokenContract(
                f"{who} column {column!r} as {want}, found {found}"
                f"\n  columns: {', '.join(have.names())}"
            )


def _marked(stage: Marker, place: Path) -> Callable[[Batch], pl.LazyFrame]:
    marks = pl.scan_ipc(place, glob=False)
    columns = marks.collect_schema().names()

    def ask(batch: Batch) -> pl.LazyFrame:
        rows = batch.scan().drop(columns, strict=False)
        added = marks.slice(batch.start, batch.rows)
        return stage.dress(pl.concat([rows, added], how="horizontal"))

    return ask
