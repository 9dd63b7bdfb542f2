"""The verifier plug point, and the stage that asks a verifier about every trace."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Self

import polars as pl
from pydantic import Field

from tracecraft.plugin import Plugin, Volatile
from tracecraft.schema import OPINION, OUTCOME, Verdict
from tracecraft.stage import Ask, Desk, Progress, Stage
from tracecraft.verify.bench import Bench, cores

__all__ = ["Doubt", "Verdict", "Verifier", "Verify"]


@dataclass(frozen=True, slots=True)
class Doubt:
    """What a glance could read but not decide: `Verifier.settle(*question)` decides it.

    Equal questions are settled once, so a question holds the two answers and not the whole
    response.
    """

    question: tuple[str, ...]
    extracted: str | None = None
    span: tuple[int, int] | None = None


class Verifier(Plugin, kind="verifier"):
    """Decides by the reference answer. Subclass, give it a `use=`, write `judge`.

    One that can tell most rows at once writes `glance` instead, and `settle` for the others.
    """

    where: ClassVar[Literal["process", "thread"]] = "process"
    """`process`: `judge` runs in worker processes that are killed when they hang or grow.
    `thread`: it runs in threads here, because it guards what it runs itself or waits for a
    server; `workers` of them at once."""
    columns: ClassVar[tuple[str, ...] | None] = None
    """Columns of the row that are read; None: all."""
    requires: ClassVar[tuple[str, ...]] = ("answer",)
    """Columns without which nothing can be told: a null in one makes the row unverifiable."""
    seconds: ClassVar[float] = 5.0
    """CPU time one verdict may take; wall time may be four times as long."""
    memory: ClassVar[int] = 2 << 30
    """Bytes a verdict may take on top of the loaded verifier."""

    def judge(self, problem: Mapping[str, Any], response: str) -> Verdict:
        """The verdict on one response; `problem` is its row, with `answer` the reference.

        It may take long where `settle` is asked, so call it where it can be killed.
        """
        seen = self.glance(problem, response)
        if seen is None:
            raise NotImplementedError(f"{type(self).__name__} has no `judge`")
        if isinstance(seen, Verdict):
            return seen
        verdict = self.settle(*seen.question)
        return replace(verdict, extracted=seen.extracted, span=seen.span)

    def glance(self, problem: Mapping[str, Any], response: str) -> Verdict | Doubt | None:
        """What can be told here and now, in microseconds and a bounded amount of memory.

        None leaves the whole pair to `judge`, a `Doubt` its question to `settle`.
        """
        return None

    def settle(self, *question: str) -> Verdict:
        """The verdict on a question that `glance` left open."""
        raise NotImplementedError

    def chosen(self, problem: Mapping[str, Any]) -> "Verifier":
        """The verifier that decides this row: itself, unless it only sends rows to others."""
        return self

    def warm(self) -> None:
        """Imports and first calls that must not count against the first verdict's time."""

    @contextmanager
    def open(self, desk: Desk) -> Iterator[Self]:
        """Whatever a `thread` verifier holds while a stage runs: a sandbox, a server."""
        yield self

    @property
    def name(self) -> str:
        """`use@version`, as the column `verifier` says it."""
        return f"{self.use}@{self.version}"


SPAN = pl.Struct({"start": pl.Int32, "end": pl.Int32})


class Verify(Stage, use="verify", version=1):
    """Judge every trace by its reference answer; adds columns, keeps rows and their order.

    The verdict comes from `response`; where that text still holds its thought, from what
    follows the thought. A row whose thought never ends is unverifiable.
    """

    verifier: Verifier
    """Who decides."""
    prefix: Literal["", "second_"] = ""
    """Put before the names of the columns, so that a second opinion leaves the first alone."""
    workers: Annotated[int, Volatile] = Field(default=0, ge=0)
    """Worker processes or threads; 0 is one a core. Changes speed, never results."""

    reads: ClassVar[tuple[pl.Schema, ...]] = (
        pl.Schema({"answer": pl.String, "response": pl.String}),
    )
    writes: ClassVar[pl.Schema] = pl.Schema({**OPINION, "span": SPAN})
    shard_rows: ClassVar[int] = 10_000

    def __call__(
        self, traces: pl.LazyFrame, problems: pl.LazyFrame | None = None, /
    ) -> pl.LazyFrame:
        """The traces with the verifier's opinion.

        Args:
            traces: with at least `answer` and `response`.
            problems: whence columns are joined by `problem_id` that the traces lack (`tests`,
                `choices`); a join column of the traces wins.
        """
        with self.open(Desk()) as ask:
            return ask(*([traces] if problems is None else [traces, problems]))

    @contextmanager
    def open(self, desk: Desk) -> Iterator[Ask]:
        """Keeps the worker processes alive from shard to shard."""
        done = 0

        def ask(traces: pl.LazyFrame, problems: pl.LazyFrame | None = None) -> pl.LazyFrame:
            nonlocal done
            table = traces.collect()
            rows = _with_problems(table, problems)

            def report(more: int, facts: dict[str, float | int | str]) -> None:
                desk.report(Progress(done + more, done + table.height, facts=facts))

            opinions = bench.opinions(self.verifier, rows, report)
            done += table.height
            return table.with_columns(
                pl.Series(f"{self.prefix}{name}", opinions[name], dtype=kind)
                for name, kind in self._written()
            ).lazy()

        with Bench(self.workers or cores(), desk) as bench:
            yield ask

    def _written(self) -> list[tuple[str, Any]]:
        return [("outcome", OUTCOME), *list(OPINION.items())[1:], ("span", SPAN)]


def _with_problems(table: pl.DataFrame, problems: pl.LazyFrame | None) -> pl.DataFrame:
    if problems is None:
        return table
    lacking = [c for c in problems.collect_schema().names() if c not in table.columns]
    extra = problems.select("problem_id", *lacking).unique("problem_id", keep="first").collect()
    return table.join(extra, on="problem_id", how="left", maintain_order="left")


Verifier.known.update(
    {
        "math": "tracecraft.verify.math",
        "code": "tracecraft.verify.code",
        "choice": "tracecraft.verify.choice",
        "quantity": "tracecraft.verify.quantity",
        "judge": "tracecraft.verify.judge",
        "auto": "tracecraft.verify.auto",
    }
)
