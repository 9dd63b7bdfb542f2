"""Problems × samples → traces, by way of the completion ledger."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import polars as pl
from pydantic import Field, field_validator

from tracecraft.completions import Completions
from tracecraft.distill.prompt import MATH, OPENING, fill, load_template
from tracecraft.engine import Completion, Engine, Request, Sampling, Session, request
from tracecraft.plugin import Volatile, digest
from tracecraft.schema import PROBLEM, TRACE
from tracecraft.stage import Ask, Desk, Progress, Stage
from tracecraft.think import OPEN, split

_REPORT_SECONDS = 0.2
_FACTS = (
    "answered",
    "on_file",
    "failed",
    "truncated",
    "in_flight",
    "prompt_tokens",
    "output_tokens",
)
_ADDED = pl.Schema([*TRACE.items(), ("error", pl.String)])


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
    samples: int = Field(default=1, ge=1, le=32_767)
    """Draws per problem. More of them later ask for the new ones alone."""
    prompt: Path | None = Field(default=None, strict=False)
    r"""Template of the user's turn, a text file with `{statement}` as its only hole; without one,
    R1's for mathematics: reason step by step, the answer in `\boxed{}`."""
    opening: str = OPENING
    """What the answer is made to begin with; empty, the teacher begins as it likes."""
    attempt: int = Field(default=1, ge=1)
    """Raise it to make a finished stage ask again for what failed, and for nothing else."""
    retries: Annotated[int, Volatile, Field(ge=0)] = 2
    """How often a failed completion is asked for again before its row is written."""

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
            yield _Round(self, desk, stack).traces


class _Round:
    """One opening of the stage: the ledger, the engine once it is needed, and the counts."""

    def __init__(self, stage: Generate, desk: Desk, stack: ExitStack) -> None:
        self.stage = stage
        self.desk = desk
        self.stack = stack
        self.ledger = desk.completions if desk.completions is not None else Completions()
        self.template = stage.template
        self.teacher = stage.engine.teacher
        self.session: Session | None = None
        self.tally: Counter[str] = Counter()
        self.total = 0
        self.reported = 0.0

    def traces(self, problems: pl.LazyFrame) -> pl.LazyFrame:
        """The traces of a shard, in the order of its problems and samples."""
        rows = problems.select(PROBLEM.names()).collect()
        requests = [
            request(prompt, index, self.teacher, self.stage.sampling)
            for prompt in map(self._prompt, rows["statement"])
            for index in range(self.stage.samples)
        ]
        once = {r.key: r for r in requests}
        self.total += len(once)
        self.ledger.refresh()
        owed = {key: r for key, r in once.items() if key not in self.ledger}
        for completion in self.ledger.get_many(once.keys() - owed.keys()):
            self._count(completion, "on_file")
        self._report()
        failed = self._ask(owed)
        filed = self.ledger.get_many(r.key for r in requests)
        said = [c or failed[r.key] for c, r in zip(filed, requests, strict=True)]
        self._report(now=True)
        return self._table(rows, requests, said).lazy()

    def _prompt(self, statement: str | None) -> str:
        content = fill(self.template, statement or "")
        return self.stage.engine.render([{"role": "user", "content": content}], self.stage.opening)

    def _ask(self, owed: dict[str, Request]) -> dict[str, Completion]:
        """Have all owed completions filed; what failed for good."""
        failed: dict[str, Completion] = {}
        for _ in range(1 + self.stage.retries):
            failed = {key: Completion("", "failed", error="no answer came") for key in owed}
            for asked, completion in self._stream(owed.values()):
                completion = _clean(completion)
                self.ledger.put(asked.key, completion, self.teacher)
                if completion.finish == "failed":
                    failed[asked.key] = completion
                else:
                    failed.pop(asked.key, None)
                    self._count(completion, "answered")
                self._report()
            owed = {key: owed[key] for key in failed}
            if not owed:
                break
        for completion in failed.values():
            self._count(completion, "failed")
        return failed

    def _stream(self, owed: Collection[Request]) -> Iterator[tuple[Request, Completion]]:
        if not owed:
            return
        if self.session is None:
            self.session = self.stack.enter_context(self.stage.engine.open())
        self.tally["in_flight"] = 0
        for asked, completion in self.session.stream(self._handed(owed)):
            self.tally["in_flight"] -= 1
            yield asked, completion

    def _handed(self, owed: Iterable[Request]) -> Iterator[Request]:
        for asked in owed:
            self.tally["in_flight"] += 1
            yield asked

    def _count(self, completion: Completion | None, how: str) -> None:
        if completion is None:
            return
        self.tally[how] += 1
        self.tally["done"] += 1
        self.tally["truncated"] += completion.finish == "length"
        self.tally["prompt_tokens"] += completion.prompt_tokens
        self.tally["output_tokens"] += completion.completion_tokens

    def _report(self, *, now: bool = False) -> None:
        if not now and time.monotonic() - self.reported < _REPORT_SECONDS:
            return
        self.reported = time.monotonic()
        facts: dict[str, float | int | str] = {name: self.tally[name] for name in _FACTS}
        facts |= {"teacher": self.teacher, "engine": self.stage.engine.via}
        self.desk.report(Progress(self.tally["done"], self.total, "completions", facts))

    def _table(
        self, rows: pl.DataFrame, requests: list[Request], said: list[Completion]
    ) -> pl.DataFrame:
        samples = self.stage.samples
        thoughts = [
            split(c.text, opened=r.prompt.rstrip().endswith(OPEN))
            for c, r in zip(said, requests, strict=True)
        ]
        asked = rows[[row for row in range(rows.height) for _ in range(samples)]]
        answers = {
            "trace_id": [
                digest([problem, r.key], 12)
                for problem, r in zip(asked["problem_id"], requests, strict=True)
            ],
            "teacher": [self.teacher] * len(said),
            "sample_index": [r.index for r in requests],
            "reasoning": [t.reasoning for t in thoughts],
            "response": [t.response for t in thoughts],
            "finish": [c.finish for c in said],
            "prompt_tokens": [c.prompt_tokens for c in said],
            "completion_tokens": [c.completion_tokens for c in said],
            "error": [c.error for c in said],
        }
        table = pl.DataFrame(answers, schema={name: _ADDED[name] for name in answers})
        return pl.concat([asked, table], how="horizontal")


def _clean(completion: Completion) -> Completion:
    """The completion in valid Unicode, the only text that a table can hold."""
    try:
        completion.text.encode()
    except UnicodeEncodeError:
        return replace(completion, text=completion.text.encode(errors="replace").decode())
    return completion
