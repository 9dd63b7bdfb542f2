"""Where programs nobody trusts are run: workers behind the strongest walls this machine can build.

Three rungs, tried in order, each proven by attacks before it is used: namespaces, bubblewrap,
Landlock with a system call filter. Where none holds nothing is run.
"""

import atexit
import os
import platform
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar, get_args

from tracecraft.errors import StageError
from tracecraft.verify.keeper import Broken, Job, Limits, Ran, Rung, Worker
from tracecraft.verify.selftest import breaches

__all__ = [
    "Job",
    "Limits",
    "Ran",
    "Rung",
    "Sandbox",
    "SandboxBroken",
    "SandboxUnavailable",
    "describe",
    "rung",
    "shared",
]

T = TypeVar("T")

_WEAKER = {
    "namespaces": "",
    "bwrap": "programs cannot write files",
    "landlock": "programs cannot write files; nothing can be compiled; file names outside can be "
    "probed, their contents not",
}


class SandboxUnavailable(StageError):
    """No rung holds on this machine, so no program is run."""


class SandboxBroken(StageError):
    """A worker failed twice at the same program; says nothing of the program."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One rung of the ladder on this machine."""

    rung: Rung
    holds: bool
    why: str
    """Why it does not hold; for one that does, what it lacks."""


def interpreter() -> Path:
    """The interpreter that programs run on unless another is named: this one, outside its venv."""
    return Path(getattr(sys, "_base_executable", sys.executable))


@cache
def ladder(python: Path | None = None, user: int = -1) -> tuple[Tried, ...]:
    """Every rung from the strongest to the first that holds, each put to the proof once a process.

    Args:
        python: the interpreter the programs will run on.
        user: whose proof it is; the caller's own unless told.
    """
    if sys.platform != "linux":
        return tuple(Tried(name, holds=False, why="needs Linux") for name in get_args(Rung))
    if user == -1:
        return ladder(python, os.geteuid())
    tried = []
    for name in get_args(Rung):
        try:
            worker = Worker(name, 0, python or interpreter())
            try:
                found = breaches(worker)
            finally:
                worker.close()
        except Broken as error:
            tried.append(Tried(name, holds=False, why=str(error)))
            continue
        if not found:
            return (*tried, Tried(name, holds=True, why=_WEAKER[name]))
        tried.append(Tried(name, holds=False, why="does not hold: " + "; ".join(found)))
    return tuple(tried)


def rung(python: Path | None = None) -> Rung | None:
    """The rung that programs are run on here; None where none holds."""
    last = ladder(python)[-1]
    return last.rung if last.holds else None


def describe(python: Path | None = None) -> str:
    """A line for each rung tried: what it is, and why not, or what it lacks."""
    lines = []
    for t in ladder(python):
        verdict = "holds" if t.holds else "no"
        lines.append(f"{t.rung}: {verdict}" + (f" ({t.why})" if t.why else ""))
    return "\n".join(lines)


def _demand(python: Path | None) -> Rung:
    found = rung(python)
    if found is None:
        raise SandboxUnavailable(
            f"no sandbox holds on this {platform.system()} machine, so no program is run\n"
            + "\n".join(f"  {line}" for line in describe(python).splitlines())
            + "\n  next   allow unprivileged user namespaces (sysctl"
            " kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns), or"
            " install bubblewrap, or use a kernel with Landlock (5.13);"
            " in Docker: --security-opt seccomp=unconfined"
        )
    return found


@dataclass
class _Slot:
    """A place in the fleet: its workers, by what they have loaded and whose secrets they see."""

    number: int
    workers: dict[object, Worker] = field(default_factory=dict)

    def close(self) -> None:
        while self.workers:
            self.workers.popitem()[1].close()


class Sandbox:
    """A fleet of workers; `run` may be called from any number of threads.

    Args:
        workers: runs at a time; a core each unless told.
        python: the interpreter that programs run on; this one unless told.
        rung: walls to use; the strongest that hold unless told. Still proven first.

    Raises:
        SandboxUnavailable: no rung holds.
    """

    def __init__(
        self, workers: int | None = None, python: Path | None = None, rung: Rung | None = None
    ) -> None:
        self.python = python or interpreter()
        self.rung: Rung = rung or _demand(python)
        self.owner = os.getpid()
        self._size = workers or len(os.sched_getaffinity(0))
        self._slots: queue.LifoQueue[_Slot] = queue.LifoQueue()
        self._all = [_Slot(number) for number in range(self._size)]
        for slot in reversed(self._all):
            self._slots.put(slot)

    def run(
        self,
        job: Job,
        packages: tuple[str, ...] = (),
        folders: tuple[tuple[str, str], ...] = (),
        *,
        trusted: bool = False,
    ) -> Ran:
        """One program, from its start to its end.

        Args:
            job: what to run.
            packages: installed packages it may import beside the standard library.
            folders: further folders to find, each a path inside and a path outside.
            trusted: the problem's own code; it gets another process than the responses' code,
                so that nothing of it is in memory where they run.

        Raises:
            SandboxBroken: the sandbox failed, twice.
        """
        with self._slot() as slot:
            return self._twice(
                lambda: self._worker(slot, packages, folders, trusted=trusted).run(job), slot
            )

    def stream(
        self,
        job: Job,
        inputs: Sequence[bytes],
        packages: tuple[str, ...] = (),
        *,
        go_on: bool = False,
    ) -> Iterator[Ran]:
        """One program on several inputs, each in a process of its own, as they end.

        Args:
            job: the program; without files to bring or fetch.
            inputs: what it reads, in turn.
            packages: installed packages it may import beside the standard library.
            go_on: do not end at a run that ended badly.

        Raises:
            SandboxBroken: the sandbox failed, twice at one input.
        """
        with self._slot() as slot:
            done, failures = 0, 0
            while done < len(inputs):
                try:
                    worker = self._worker(slot, packages, trusted=False)
                    for ran in worker.stream(job, inputs[done:], go_on=go_on):
                        done, failures = done + 1, 0
                        yield ran
                except Broken as error:
                    slot.close()
                    failures += 1
                    if failures == 2:
                        raise SandboxBroken(f"sandbox ({self.rung}): {error}") from None
                else:
                    return

    def run_pair(self, first: Job, second: Job, packages: tuple[str, ...] = ()) -> tuple[Ran, Ran]:
        """A response's program and the problem's own, side by side, talking through their pipes.

        Raises:
            SandboxBroken: the sandbox failed, twice.
        """
        with self._slot() as slot:
            return self._twice(lambda: self._side_by_side(slot, first, second, packages), slot)

    def _side_by_side(
        self, slot: _Slot, first: Job, second: Job, packages: tuple[str, ...]
    ) -> tuple[Ran, Ran]:
        to_first, to_second = os.pipe(), os.pipe()
        lent = [
            replace(first, pipes={"rpc_in": to_first[0], "rpc_out": to_second[1]}),
            replace(second, pipes={"rpc_in": to_second[0], "rpc_out": to_first[1]}),
        ]
        runs = []
        try:
            for job, trusted in zip(lent, (False, True), strict=True):
                runs.append(self._worker(slot, packages, trusted=trusted).start(job))
        except Broken:
            for begun in runs:
                begun.abandon()
            raise
        finally:
            for handle in (*to_first, *to_second):
                os.close(handle)
        theirs = runs[1].finish()
        return runs[0].finish(), theirs

    @contextmanager
    def _slot(self) -> Iterator[_Slot]:
        slot = self._slots.get()
        try:
            yield slot
        except GeneratorExit:
            raise
        except BaseException:
            slot.close()
            raise
        finally:
            self._slots.put(slot)

    def _twice(self, attempt: Callable[[], T], slot: _Slot) -> T:
        try:
            return attempt()
        except Broken:
            slot.close()
        try:
            return attempt()
        except Broken as error:
            raise SandboxBroken(f"sandbox ({self.rung}): {error}") from None

    def _worker(
        self,
        slot: _Slot,
        packages: tuple[str, ...],
        folders: tuple[tuple[str, str], ...] = (),
        *,
        trusted: bool,
    ) -> Worker:
        key = (packages, folders, trusted)
        if key in slot.workers and slot.workers[key].owner != os.getpid():
            slot.workers.pop(key).close()  # a forked copy of the keeper starts its own
        if key not in slot.workers:
            number = 2 * slot.number + trusted
            slot.workers[key] = Worker(
                self.rung, number, self.python, _folders(packages), folders, trusted=trusted
            )
        return slot.workers[key]

    def close(self) -> None:
        """End every worker."""
        for slot in self._all:
            slot.close()

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _folders(packages: tuple[str, ...]) -> dict[str, Path]:
    """Where the packages are installed, with the libraries that wheels bring along."""
    found = {}
    for name in packages:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            folder = Path(next(iter(spec.submodule_search_locations)))
            found[name] = folder
            if (libraries := folder.with_name(f"{name}.libs")).is_dir():
                found[f"{name}.libs"] = libraries
    return found


_lock = threading.Lock()
_shared: Sandbox | None = None


def shared() -> Sandbox:
    """The fleet of this process, started on first use and ended with it.

    Raises:
        SandboxUnavailable: no rung holds.
    """
    global _shared
    with _lock:
        if _shared is None or _shared.owner != os.getpid():
            _shared = Sandbox()
        return _shared


def _end() -> None:
    if _shared is not None:
        _shared.close()


def _after_fork() -> None:
    """A forked copy lets go of its parent's workers and starts its own when it needs them."""
    global _lock, _shared
    _lock = threading.Lock()
    if _shared is not None:
        _shared.close()
        _shared = None


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
