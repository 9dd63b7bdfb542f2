"""Problems × samples → traces, by way of the completion ledger."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import polars as pl
from pydantic import Field, field_validator

from tracecraft.distill.asking import Asking
from tracecraft.distill.budget import Budget
from tracecraft.distill.draws import Draw, Draws, Manner
from tracecraft.distill.judging import Judging
from tracecraft.distill.prompt import MATH, OPENING, fill, load_template
from tracecraft.distill.samples import Adaptive, Truncation
from tracecraft.engine import Completion, Engine, Sampling
from tracecraft.plugin import Volatile, digest
from tracecraft.schema import PROBLEM, TRACE
from tracecraft.stage import Ask, Desk, Stage


class Generate(Stage, use="generate", version=1):
    """Ask the teacher for chain-of-thought traces, several a problem.

    Every completion comes from the ledger where it was ever paid for, and goes there the moment
    it arrives. The engine starts when the first one is owed, so a stage whose answers are all on
    file starts none. A completion that fails for good is a row like any other, with `finish`
    `failed` and the reason in `error`; it stays owed (see `attempt`).
    """

    engine: Engine
    """The teacher."""
    sampling: Sampling = Sampling()
    """How completions are drawn."""
    samples: Annotated[int, Field(ge=1, le=32_767)] | Adaptive = 1
    """Draws per problem. More of them later ask for the new ones alone. As `{target: 1, at_most:
    8}`: one after the other, until that many are verified."""
    on_truncation: Truncation = Truncation()
    """What is done about an answer that reached `max_tokens`: `keep`, `retry` or `continue`."""
    prompt: Path | None = Field(default=None, strict=False)
    r"""Template of the user's turn, a text file with `{statement}` as its only hole; without one,
    R1's for mathematics: reason step by step, the answer in `\boxed{}`."""
    opening: str = OPENING
    """What the answer is made to begin with; empty, the teacher begins as it likes."""
    attempt: int = Field(default=1, ge=1)
    """Raise it to make a finished stage ask again for what failed, and for nothing else."""
    retries: Annotated[int, Volatile, Field(ge=0)] = 2
    """How often a failed completion is asked for again before its row is written."""
    budget: Annotated[Budget | None, Volatile] = None
    """Caps on tokens, GPU-hours or dollars; at the first one reached the stage stops, and goes on
    from there when it is run again with more."""

    reads: ClassVar = (PROBLEM,)
    writes: ClassVar = TRACE
    fans_out: ClassVar[bool] = True
    shard_rows: ClassVar[int] = 512

    @field_validator("prompt")
    @classmethod
    def _has_a_hole(cls, prompt: Path | None) -> Path | None:
        if prompt is not None:
            load_template(prompt)
        return prompt

    def identity(self) -> dict[str, Any]:
        """The template counts by its text, not by where it lies."""
        return {**super().identity(), "prompt": digest(self.template, 16)}

    @property
    def template(self) -> str:
        """The user's turn, with `{statement}` where the problem goes."""
        return MATH if self.prompt is None else load_template(self.prompt)

    @property
    def gpus(self) -> int:
        return self.engine.gpus

    @property
    def takes_model(self) -> bool:
        return self.engine.takes_model

    def with_model(self, home: Path) -> Self:
        return self.model_copy(update={"engine": self.engine.with_model(home)})

    def __call__(self, problems: pl.LazyFrame, /) -> pl.LazyFrame:
        with self.open(Desk()) as ask:
            return ask(problems)

    @contextmanager
    def open(self, desk: Desk) -> Iterator[Ask]:
        with ExitStack() as stack:
            yield _Round(self, desk, stack)


class _Round:
    """One opening of the stage: called with a shard of problems, it returns their traces."""

    def __init__(self, stage: Generate, desk: Desk, stack: ExitStack) -> None:
        self.stage = stage
        self.template = stage.template
        self.asking = Asking(stage.engine, desk, stack, stage.retries, stage.budget)
        self.adaptive = stage.samples if isinstance(stage.samples, Adaptive) else None
        self.judging = Judging(self.adaptive.judge if self.adaptive else None, desk, stack)
        self.manner = Manner(
            stage.samples, stage.on_truncation, stage.sampling, self.asking.teacher
        )
        self.waiting: dict[str, list[tuple[Draws, Draw]]] = {}
        self.coming: pl.LazyFrame | None = None
        self.expected: Draws | None = None

    def __call__(self, problems: pl.LazyFrame) -> pl.LazyFrame:
        """The traces of a shard, in the order of its problems and samples."""
        rows = self._rows(problems)
        draws, self.expected = self.expected, None
        if draws is None or not draws.rows["problem_id"].equals(rows["problem_id"]):
            draws = self._begun(rows)
        if self.coming is not None:
            self.expected, self.coming = self._begun(self._rows(self.coming)), None
        while not draws.done:
            self._step()
        table = self._table(draws)
        self.asking.report(now=True)
        return table.lazy()

    def expect(self, problems: pl.LazyFrame) -> None:
        """The shard after the next: its requests follow on, so that the engine stays full."""
        self.coming = problems

    def _rows(self, problems: pl.LazyFrame) -> pl.DataFrame:
        return (problems if self.adaptive else problems.select(PROBLEM.names())).collect()

    def _begun(self, rows: pl.DataFrame) -> Draws:
        draws = Draws(rows, [self._prompt(s) for s in rows["statement"]], self.manner)
        self.asking.ledger.refresh()
        self._want((draws, draw) for draw in draws.first())
        self.asking.report()
        return draws

    def _prompt(self, statement: str | None) -> str:
        content = fill(self.template, statement or "")
        return self.stage.engine.render([{"role": "user", "content": content}], self.stage.opening)

    def _want(self, wanted: Iterable[tuple[Draws, Draw]], *, next_in_line: bool = False) -> None:
        """Take from the ledger what is on file, and put the rest in line."""
        while wanted := list(wanted):
            by_key: dict[str, list[tuple[Draws, Draw]]] = {}
            for draws, draw in wanted:
                by_key.setdefault(draw.asked[-1].key, []).append((draws, draw))
            self.asking.total += sum(key not in self.waiting for key in by_key)
            on_file = [key for key in by_key if key in self.asking.ledger]
            found = dict(zip(on_file, self.asking.ledger.get_many(on_file), strict=True))
            wanted = []
            for key, samples in by_key.items():
                said = found.get(key)
                if said is None:
                    self.waiting.setdefault(key, []).extend(samples)
                    self.asking.put(samples[0][1].asked[-1], first=next_in_line)
                else:
                    self.asking.count(said, "on_file")
                    wanted += self._got(samples, said)

    def _got(self, samples: list[tuple[Draws, Draw]], said: Completion) -> list[tuple[Draws, Draw]]:
        """Tell an answer to all that waited for it; those that ask on."""
        more = []
        for draws, draw in samples:
            if draws.got(draw, said) is not None:
                more.append((draws, draw))
            elif self.adaptive is not None:
                self.judging.put(draws, draw, self._whole(draw, said))
        return more

    def _step(self) -> None:
        """One more answer, and the verdicts that came meanwhile."""
        for draws, draw, correct in self.judging.ready(wait=not self.asking.busy):
            self.asking.tally["verified"] += correct
            more = draws.judged(draw, correct=correct)
            self._want(((draws, one) for one in more), next_in_line=True)
        if self.asking.busy:
            asked, said = self.asking.take()
            served = self.asking.ledger.get(asked.key) or said  # another's, where it came first
            more_of = self._got(self.waiting.pop(asked.key, []), served)
            self._want(more_of, next_in_line=True)
        self.asking.report()

    def _whole(self, draw: Draw, said: Completion) -> Completion:
        earlier = self.asking.ledger.get_many(one.key for one in draw.asked[:-1])
        return self.stage.on_truncation.whole([*filter(None, earlier), said])

    def _table(self, draws: Draws) -> pl.DataFrame:
        samples = draws.all()
        keys = [one.key for draw in samples for one in draw.asked]
        failed = self.asking.failed
        said = iter(self.asking.ledger.get_many(keys))
        whole = [
            self.stage.on_truncation.whole([next(said) or failed[one.key] for one in draw.asked])
            for draw in samples
        ]
        return draws.table(samples, whole)
