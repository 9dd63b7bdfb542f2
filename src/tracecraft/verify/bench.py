"""Where verifiers sit: sends each row to its verifier, the easy ones here, the rest to workers."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import polars as pl

from tracecraft.schema import Verdict
from tracecraft.stage import Desk
from tracecraft.think import split
from tracecraft.verify.extract import tagged
from tracecraft.verify.workers import Pool, Task, guarded

if TYPE_CHECKING:
    from tracecraft.verify.verifier import Verifier

__all__ = ["Bench", "cores"]

Report = Callable[[int, dict[str, float | int | str]], None]
Row = Mapping[str, Any]

_BLOCK = 4_096
"""Rows that are Python objects at once."""


def cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Bench:
    """Holds what verifiers need while they sit: worker pools, opened sandboxes and servers."""

    def __init__(self, workers: int, desk: Desk | None = None) -> None:
        self.workers, self.desk = workers, desk or Desk()
        self._pools: dict[str, Pool] = {}
        self._opened: dict[str, Verifier] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers and close what was opened."""
        for pool in self._pools.values():
            pool.close()
        self._pools.clear()
        self._opened.clear()
        self._stack.close()

    def opinions(
        self, verifier: "Verifier", table: pl.DataFrame, report: Report = lambda n, facts: None
    ) -> dict[str, list[Any]]:
        """The columns of an opinion, one value a row of `table`."""
        columns: dict[str, list[Any]] = {
            name: [] for name in ("outcome", "extracted", "detail", "verifier", "span")
        }
        counts: Counter[str] = Counter()
        for rows in _blocks(verifier, table):
            judges = [verifier.chosen(row) for row in rows]
            for judge, verdict in zip(judges, self.verdicts(judges, rows), strict=True):
                columns["outcome"].append(verdict.outcome)
                columns["extracted"].append(verdict.extracted)
                columns["detail"].append(verdict.detail)
                columns["verifier"].append(judge.name)
                span = verdict.span
                columns["span"].append(None if span is None else {"start": span[0], "end": span[1]})
                counts[verdict.outcome] += 1
            report(len(columns["outcome"]), dict(counts))
        return columns

    def verdicts(self, judges: Sequence["Verifier"], rows: Sequence[Row]) -> list[Verdict]:
        """One verdict a row, from the verifier that was chosen for it."""
        verdicts: list[Verdict | None] = [None] * len(rows)
        groups: dict[int, tuple[Verifier, list[int]]] = {}
        responses, offsets = [""] * len(rows), [0] * len(rows)
        for i, (judge, row) in enumerate(zip(judges, rows, strict=True)):
            heard = _response(judge, row)
            if isinstance(heard, Verdict):
                verdicts[i] = heard
            else:
                responses[i], offsets[i] = heard
                groups.setdefault(id(judge), (judge, []))[1].append(i)
        for judge, members in groups.values():
            found = self._group(judge, [(rows[i], responses[i]) for i in members])
            for i, verdict in zip(members, found, strict=True):
                verdicts[i] = _shifted(verdict, offsets[i])
        return [v for v in verdicts if v is not None]

    def _group(self, judge: "Verifier", pairs: list[tuple[Row, str]]) -> list[Verdict]:
        """The verdicts of one verifier: by a glance, else by one question a set of equal ones."""
        from tracecraft.verify.verifier import Doubt

        verdicts: list[Verdict | None] = [None] * len(pairs)
        asked: dict[Any, list[int]] = {}
        doubts: dict[int, Doubt] = {}
        tasks: list[Task] = []
        for i, (row, response) in enumerate(pairs):
            seen = _glanced(judge, row, response)
            if isinstance(seen, Verdict):
                verdicts[i] = seen
                continue
            if isinstance(seen, Doubt):
                doubts[i] = seen
                if seen.question in asked:
                    asked[seen.question].append(i)
                    continue
                tasks.append(("settle", seen.question))
            else:
                tasks.append(("judge", (dict(row), response)))
            asked[seen.question if seen else i] = [i]
        for members, verdict in zip(asked.values(), self._ask(judge, tasks), strict=True):
            for i in members:
                verdicts[i] = _completed(verdict, doubts.get(i))
        return [v for v in verdicts if v is not None]

    def _ask(self, judge: "Verifier", tasks: list[Task]) -> list[Verdict]:
        if not tasks:
            return []
        key = f"{type(judge).__module__}.{type(judge).__qualname__}:{judge!r}"
        if judge.where == "process":
            if key not in self._pools:
                self._pools[key] = Pool(
                    judge, self.workers, seconds=judge.seconds, memory=judge.memory
                )
            return self._pools[key].ask(tasks)
        if key not in self._opened:
            self._opened[key] = self._stack.enter_context(judge.open(self.desk))
        opened = self._opened[key]

        def one(task: Task) -> Verdict:
            method, arguments = task
            return guarded(lambda: getattr(opened, method)(*arguments))

        if len(tasks) == 1:
            return [one(tasks[0])]
        with ThreadPoolExecutor(min(self.workers, len(tasks))) as threads:
            return list(threads.map(one, tasks))


def _blocks(verifier: "Verifier", table: pl.DataFrame) -> Iterator[list[dict[str, Any]]]:
    wanted = table.columns if verifier.columns is None else [*verifier.columns, *verifier.requires]
    wanted = [c for c in table.columns if c in {*wanted, "response", "finish"}]
    chosen = table.select(wanted).with_columns(
        pl.col(c).cast(pl.String) for c in ("answer", "response") if c in wanted
    )
    for block in chosen.iter_slices(_BLOCK):
        yield block.to_dicts()


def _response(judge: "Verifier", row: Row) -> tuple[str, int] | Verdict:
    """What of the row is judged, and its offset in the response; or why nothing can be."""
    text = row.get("response")
    cut = " (finish: length)" if row.get("finish") == "length" else ""
    if text is None or not text.strip():
        return Verdict("unverifiable", detail=f"no response{cut}", seconds=0.0)
    for column in judge.requires:
        if row.get(column) is None:
            what = "reference answer" if column == "answer" else column
            return Verdict("unverifiable", detail=f"no {what}", seconds=0.0)
    if not tagged(text):
        return text, 0
    thought = split(text)
    if not thought.closed:
        return Verdict(
            "unverifiable", detail=f"truncated: the thought never ends{cut}", seconds=0.0
        )
    if not thought.response:
        return Verdict(
            "unverifiable", detail=f"truncated: nothing after the thought{cut}", seconds=0.0
        )
    return thought.response, text.rfind(thought.response)


def _glanced(judge: "Verifier", row: Row, response: str) -> Any:
    """What a glance told; None where it told nothing or raised, so that a worker says how."""
    try:
        return judge.glance(row, response)
    except Exception:
        return None


def _completed(verdict: Verdict, doubt: Any) -> Verdict:
    if doubt is None:
        return verdict
    return replace(verdict, extracted=doubt.extracted, span=doubt.span)


def _shifted(verdict: Verdict, offset: int) -> Verdict:
    if verdict.span is None or not offset:
        return verdict
    return replace(verdict, span=(verdict.span[0] + offset, verdict.span[1] + offset))
