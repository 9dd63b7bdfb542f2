"""The samples of one table of problems: which are wanted, what came, and the traces they make."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from tracecraft.distill.samples import Adaptive, Truncation
from tracecraft.engine import Completion, Request, Sampling, request
from tracecraft.plugin import digest
from tracecraft.schema import PROBLEM, TRACE
from tracecraft.think import OPEN, split

_ADDED = pl.Schema([*TRACE.items(), ("error", pl.String)])


@dataclass(slots=True, eq=False)
class Draw:
    """One sample of one problem."""

    row: int
    asked: list[Request]
    """Its request, and those that followed truncated answers."""

    @property
    def index(self) -> int:
        """Which sample of its problem it is."""
        return self.asked[0].index


@dataclass(slots=True)
class _Tally:
    draws: list[Draw] = field(default_factory=list)
    open: int = 0
    correct: int = 0


@dataclass(frozen=True, slots=True)
class Manner:
    """What decides which requests a problem leads to."""

    samples: int | Adaptive
    on_truncation: Truncation
    sampling: Sampling
    teacher: str


class Draws:
    """Wants requests, is told their answers, and at the end is a table of traces."""

    def __init__(self, rows: pl.DataFrame, prompts: Sequence[str], manner: Manner) -> None:
        self.rows = rows
        self.prompts = prompts
        self.manner = manner
        self._problems = [_Tally() for _ in prompts]
        self._open = 0

    def first(self) -> list[Draw]:
        """What every problem is asked to begin with."""
        samples = self.manner.samples
        count = samples.wanted(0, 0) if isinstance(samples, Adaptive) else samples
        return [draw for row in range(len(self.prompts)) for draw in self._more(row, count)]

    def got(self, draw: Draw, said: Completion) -> Draw | None:
        """An answer came; the same sample where its next request is to be asked.

        Unless that is so, the sample is final: with a fixed number of them it is done, otherwise
        `judged` must say of it.
        """
        manner = self.manner
        follow = manner.on_truncation.follow(draw.asked, said, manner.teacher, manner.sampling)
        if follow is not None:
            draw.asked.append(follow)
            return draw
        if not isinstance(manner.samples, Adaptive):
            self._open -= 1
        return None

    def judged(self, draw: Draw, *, correct: bool) -> list[Draw]:
        """A final sample is verified or not; the further ones that this leads to."""
        samples = self.manner.samples
        assert isinstance(samples, Adaptive)
        self._open -= 1
        problem = self._problems[draw.row]
        problem.open -= 1
        problem.correct += correct
        if problem.open:
            return []
        return self._more(draw.row, samples.wanted(len(problem.draws), problem.correct))

    @property
    def done(self) -> bool:
        """Whether nothing is outstanding."""
        return self._open == 0

    def all(self) -> list[Draw]:
        """Every sample, by problem and index."""
        return [draw for problem in self._problems for draw in problem.draws]

    def table(self, draws: Sequence[Draw], said: Sequence[Completion]) -> pl.DataFrame:
        """A trace a sample: the problem's own columns, then what was said."""
        thoughts = [
            split(c.text, opened=d.asked[0].prompt.rstrip().endswith(OPEN))
            for c, d in zip(said, draws, strict=True)
        ]
        problems = self.rows.select(PROBLEM.names())[[draw.row for draw in draws]]
        answers = {
            "trace_id": [
                digest([problem, draw.asked[-1].key], 12)
                for problem, draw in zip(problems["problem_id"], draws, strict=True)
            ],
            "teacher": [self.manner.teacher] * len(said),
            "sample_index": [draw.index for draw in draws],
            "reasoning": [t.reasoning for t in thoughts],
            "response": [t.response for t in thoughts],
            "finish": [c.finish for c in said],
            "prompt_tokens": [c.prompt_tokens for c in said],
            "completion_tokens": [c.completion_tokens for c in said],
            "error": [c.error for c in said],
        }
        table = pl.DataFrame(answers, schema={name: _ADDED[name] for name in answers})
        return pl.concat([problems, table], how="horizontal")

    def _more(self, row: int, count: int) -> list[Draw]:
        problem, manner = self._problems[row], self.manner
        begin = len(problem.draws)
        more = [
            Draw(row, [request(self.prompts[row], index, manner.teacher, manner.sampling)])
            for index in range(begin, begin + count)
        ]
        problem.draws += more
        problem.open += count
        self._open += count
        return more
