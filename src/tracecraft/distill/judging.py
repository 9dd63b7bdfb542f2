"""Verdicts while the teacher goes on: traces are judged in a thread, as many at once as wait."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import polars as pl

from tracecraft.distill.draws import Draw, Draws
from tracecraft.engine import Completion
from tracecraft.stage import Ask, Desk, Stage

Right = tuple[Draws, Draw, bool]
"""A sample, and whether it is correct."""


class Judging:
    """Takes final samples, gives verdicts."""

    def __init__(self, judge: Stage | None, desk: Desk, stack: ExitStack) -> None:
        self.judge = judge
        self.desk = Desk(completions=desk.completions, scratch=desk.scratch)
        self.stack = stack
        self._waiting: list[tuple[Draws, Draw, Completion]] = []
        self._settled: list[Right] = []
        self._running: Future[list[Right]] | None = None
        self._ask: Ask | None = None
        self._pool: ThreadPoolExecutor | None = None

    def put(self, draws: Draws, draw: Draw, said: Completion) -> None:
        """Judge this sample; one without an end is not correct."""
        if said.finish == "stop":
            self._waiting.append((draws, draw, said))
        else:
            self._settled.append((draws, draw, False))

    def ready(self, *, wait: bool) -> list[Right]:
        """What is judged by now; with `wait`, at least one where any is outstanding."""
        found, self._settled = self._settled, []
        self._start()
        if self._running is not None and (self._running.done() or (wait and not found)):
            found += self._running.result()
            self._running = None
            self._start()
        return found

    def _start(self) -> None:
        if self._running is not None or not self._waiting:
            return
        if self._pool is None or self._ask is None:
            assert self.judge is not None
            self._ask = self.stack.enter_context(self.judge.open(self.desk))
            self._pool = self.stack.enter_context(ThreadPoolExecutor(1, "judge"))
        batch, self._waiting = self._waiting, []
        self._running = self._pool.submit(_verdicts, self._ask, batch)


def _verdicts(
    ask: Callable[..., pl.LazyFrame], batch: list[tuple[Draws, Draw, Completion]]
) -> list[Right]:
    found = []
    for draws in {id(one): one for one, _, _ in batch}.values():
        samples = [(draw, said) for one, draw, said in batch if one is draws]
        drawn = [draw for draw, _ in samples]
        table = draws.table(drawn, [said for _, said in samples])
        own = draws.rows[[draw.row for draw in drawn]].drop(table.columns, strict=False)
        judged = ask(pl.concat([table, own], how="horizontal").lazy())
        outcomes = judged.select("outcome").collect()["outcome"]
        found += [
            (draws, draw, outcome == "correct")
            for draw, outcome in zip(drawn, outcomes, strict=True)
        ]
    return found
