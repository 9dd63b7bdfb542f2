"""Carry out a plan. All effects of a run (shards, ledgers of drops, manifests) happen here."""

import contextlib
import logging
import shutil
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import polars as pl

from tracecraft.batches import Batch, Record, cut, settle
from tracecraft.completions import Completions
from tracecraft.curate.source import Source
from tracecraft.errors import BrokenContract, StageError, StoreError
from tracecraft.history import Attempt, Run
from tracecraft.plan import Plan, Planned
from tracecraft.scale import Fleet, cluster
from tracecraft.stage import Desk, Job, Marker, Progress, Stage
from tracecraft.store import OUTPUT, Claims, Dataset, Manifest, write_shard
from tracecraft.version import made_by
from tracecraft.work import MARKS, Worker, at_work, bound, finished, require, scans, tables

log = logging.getLogger(__name__)

WAIT_SECONDS = 0.5
"""Between two looks at batches that another process has claimed."""


class Watcher(Protocol):
    """Whoever wants to see how a run goes. The command line is one."""

    def started(self, step: Planned) -> None:
        """A step that is not cached begins."""

    def advanced(self, step: Planned, progress: Progress) -> None:
        """It moved."""

    def finished(self, step: Planned, manifest: Manifest) -> None:
        """It is done, or was already."""


class Silent:
    """A watcher that looks away."""

    def started(self, step: Planned) -> None:
        """Nothing."""

    def advanced(self, step: Planned, progress: Progress) -> None:
        """Nothing."""

    def finished(self, step: Planned, manifest: Manifest) -> None:
        """Nothing."""


def run(plan: Plan, *, watch: Watcher | None = None, on: str | None = None) -> Run:
    """Make what is missing, in order. Run it again to resume; a finished plan touches no file.

    Args:
        plan: What to carry out.
        watch: Whoever wants to see how it goes.
        on: Where the batches of stages run: by default this process, else `ray` or
            `ray://host:port`, a cluster whose nodes share the store.

    Raises:
        StageError: a stage stopped; finished batches and all completions are kept.
    """
    watch = watch or Silent()
    known = Run.find(plan)
    if known is not None and all(step.state == "cached" for step in plan.steps):
        for step in plan.steps:
            watch.finished(step, Manifest.read(step.home))
        return known
    with contextlib.ExitStack() as stack:
        attempt = stack.enter_context(Attempt.begin(plan))
        completions = stack.enter_context(Completions(plan.store / "completions"))
        fleet = stack.enter_context(cluster(on, plan)) if on else None
        for step in plan.steps:
            _finish(step, plan, completions, watch, attempt, fleet)
    return attempt.run


def _finish(
    step: Planned,
    plan: Plan,
    completions: Completions,
    watch: Watcher,
    attempt: Attempt,
    fleet: Fleet | None,
) -> None:
    if step.state == "cached":
        watch.finished(step, Manifest.read(step.home))
        return
    begun = time.monotonic()
    watch.started(step)
    attempt.event("started", step)
    last: dict[str, float | int | str] = {}

    def report(progress: Progress) -> None:
        last.update(progress.facts)
        watch.advanced(step, progress)

    spread = fleet.spread if fleet is not None else None
    desk = Desk(completions, step.home / "scratch", report, spread)
    claims = Claims(plan.store / "claims" / step.home.name)
    try:
        manifest = _do(step, desk, claims, fleet)
    except (OSError, MemoryError, pl.exceptions.PolarsError) as error:
        told = f"{type(error).__name__}: {error}"
        raise StageError(_stopped(step, told, plan, attempt)) from error
    except StageError as error:
        raise type(error)(_stopped(step, str(error), plan, attempt)) from error
    finally:
        claims.close()
    manifest = replace(manifest, seconds=round(time.monotonic() - begun, 3), facts=last)
    manifest.write(step.home)
    shutil.rmtree(step.home / "scratch", ignore_errors=True)
    attempt.event("finished", step, manifest)
    watch.finished(step, manifest)


def _stopped(step: Planned, told: str, plan: Plan, attempt: Attempt) -> str:
    done = [Record.read(step.home, file.stem) for file in (step.home / "batches").glob("*.json")]
    rows = sum(record.rows_in for record in done if record is not None)
    try:
        of = f" of {Dataset.open(step.inputs[0]).rows:,}" if step.inputs else ""
    except StoreError:
        of = ""
    first, _, rest = told.partition("\n")
    lines = [f"{step.spec.name} stopped ({rows:,}{of} rows done, kept): {first}"]
    lines += [rest] if rest else []
    lines.append(f"  log    {attempt.log}")
    if "  next " not in told:
        lines.append(f"  next   mend the cause, then: tracecraft run {plan.recipe.path}")
    return "\n".join(lines)


def _do(step: Planned, desk: Desk, claims: Claims, fleet: Fleet | None) -> Manifest:
    part = step.spec.part
    if isinstance(part, Source):
        return _read(step, part, desk)
    inputs = tables(step)
    if isinstance(part, Job):
        return _alone(step, claims, lambda: _work(step, part, inputs, desk))
    stage = bound(step)
    if stage.scope == "dataset":
        return _alone(step, claims, lambda: _whole(step, stage, inputs))
    if isinstance(stage, Marker):
        _mark(step, stage, inputs, desk, claims)
    if fleet is not None:
        return _manifest(step, fleet.each(step, claims, desk))
    with at_work(step, desk) as worker:
        return _manifest(step, _each(worker, inputs[0], claims, desk))


def _alone(step: Planned, claims: Claims, work: Callable[[], Manifest]) -> Manifest:
    """What cannot be shared: this process does it, or waits for the one that does."""
    while True:
        with claims.hold("whole") as ours:
            if step.state == "cached":
                return Manifest.read(step.home)
            if ours:
                manifest = work()
                manifest.write(step.home)  # before the claim goes, so that nobody starts over
                return manifest
        time.sleep(WAIT_SECONDS)


def _whole(step: Planned, part: Stage, inputs: list[Dataset]) -> Manifest:
    """A stage that needs all rows at once."""
    made = part(*scans(step, part)).collect()
    return _manifest(step, [finished(step, part, "00000", made, inputs[0].rows)])


def _read(step: Planned, source: Source, desk: Desk) -> Manifest:
    """Bring a source's rows in, whole or not at all."""
    records: list[Record] = []
    limit, rows = step.spec.limit, 0
    for piece in source.read():
        table = piece if limit is None else piece.head(limit - rows)
        rows += table.height
        require(table.lazy(), source.writes, f"{step.spec.name} gives")
        name = f"{len(records):05d}"
        record = Record.read(step.home, name)
        if record is None:
            record = settle(step.home, name, table, table.height, Stage.shard_rows, fans_out=False)
            record.write(step.home, name)
        records.append(record)
        desk.report(Progress(rows, limit or rows))
        if limit is not None and rows >= limit:
            break
    return _manifest(step, records)


def _work(step: Planned, job: Job, inputs: list[Dataset], desk: Desk) -> Manifest:
    """Let a job fill its folder, which takes its name when the job is done."""
    half, whole = step.home / f"{OUTPUT}.half", step.home / OUTPUT
    if half.exists() and not job.resumes:
        shutil.rmtree(half)
    half.mkdir(parents=True, exist_ok=True)
    job(step.inputs, half, desk)
    shutil.rmtree(whole, ignore_errors=True)
    half.replace(whole)
    rows = inputs[0].rows if inputs else 0
    files = {
        str(file.relative_to(step.home)): file.stat().st_size
        for file in sorted(whole.rglob("*"))
        if file.is_file()
    }
    return replace(_manifest(step, []), rows_in=rows, rows_out=rows, files=files)


def _mark(step: Planned, part: Marker, inputs: list[Dataset], desk: Desk, claims: Claims) -> None:
    """Decide on all rows at once; the marks are added shard by shard later."""
    place = step.home / MARKS
    read = scans(step, part)
    while not place.exists():
        with claims.hold("marks") as ours:
            if ours:
                with part.open(desk):
                    made = part.mark(*read)
                if made.height != inputs[0].rows:
                    raise BrokenContract(
                        f"{step.spec.name} marks {made.height} rows of {inputs[0].rows}"
                    )
                write_shard(made, place)
            else:
                time.sleep(WAIT_SECONDS)


def _each(worker: Worker, rows: Dataset, claims: Claims, desk: Desk) -> list[Record]:
    """Every batch once, by this process or by another that shares the store."""
    home, stage = worker.step.home, worker.stage
    todo = list(cut(rows, stage.shard_rows))
    total, records = len(todo), {}
    while todo:
        waiting: list[Batch] = []
        for at, batch in enumerate(todo):
            after = partial(_next, home, todo[at + 1 :], claims)
            record = Record.read(home, batch.name) or worker.claimed(batch, after, claims)
            if record is None:
                waiting.append(batch)
                continue
            records[record.index] = record
            if stage.scope != "shard" or total > 1:
                desk.report(Progress(len(records), total, "shards"))
        if len(waiting) == len(todo):
            time.sleep(WAIT_SECONDS)
        todo = waiting
    return [records[index] for index in sorted(records)]


def _next(home: Path, batches: list[Batch], claims: Claims) -> Batch | None:
    """The first that is owed and nobody works on, claimed."""
    owed = (batch for batch in batches if Record.read(home, batch.name) is None)
    return next((batch for batch in owed if claims.take(batch.name)), None)


def _manifest(step: Planned, records: list[Record]) -> Manifest:
    drops: Counter[str] = Counter()
    shards, files = {}, {}
    for record in records:
        drops.update(record.dropped)
        for name, told in record.files.items():
            if name.startswith("shards/"):
                shards[name.removeprefix("shards/")] = told
            else:
                files[name] = told[2]
    return Manifest(
        name=step.spec.name,
        identity=step.spec.identity(),
        inputs=[home.name for home in step.inputs],
        rows_in=sum(record.rows_in for record in records),
        rows_out=sum(record.rows_out for record in records),
        dropped=dict(drops.most_common()),
        shards=shards,
        files=files,
        made_by=made_by(),
    )
