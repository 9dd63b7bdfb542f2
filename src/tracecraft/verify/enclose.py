"""What a forked process does to itself before it becomes a program.

A forked process pays for every page that it is the first to write to, so all that it does is
written down as system calls before the fork, and taken one after the other behind it.
"""

import os
import signal
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tracecraft.verify import driver, kernel, walls
from tracecraft.verify.kernel import Step
from tracecraft.verify.seccomp import filtering
from tracecraft.verify.syscalls import CALLS

__all__ = ["FIRST_FREE", "Enclosure", "become", "collect", "emptied", "rehearse"]

_PLACES = {
    "stdin": 0, "stdout": 1, "stderr": 2, "code": driver.CODE, "made": driver.MADE,
    "result": driver.RESULT, "spec": driver.SPEC, "rpc_in": driver.RPC_IN,
    "rpc_out": driver.RPC_OUT,
}  # fmt: skip
"""The descriptors of a program."""
FIRST_FREE = 16
"""Lower descriptors are taken in the zygote, so that no other is in the way of a program's."""
_LAST = 0x7FFFFFFF
_MAIN = "main.py"
_LAUNCHED = ("binary", "command")
"""Modes in which another program takes the process's place."""

Plan = tuple[
    tuple[Step, ...], Callable[[], None] | None, kernel.FilterProgram | None, tuple[Step, ...]
]
"""Steps, what is done between them, the filter, and steps of which the last installs it."""


def become(plan: Plan, take: Callable[[Iterable[Step]], None] = kernel.take) -> None:
    """Take the steps, behind the fork; nothing of the program has run yet.

    Raises:
        OSError: one of them is refused.
    """
    begin, between, sifted, end = plan
    take(begin)
    if between is not None:
        between()
    if sifted is not None:
        own, words = os.getpid(), sifted.words
        for place in sifted.places:
            words[place] = own
    take(end)


class Enclosure:
    """The steps for every program of a zygote.

    Args:
        kind: `namespaces`, `bwrap` or `landlock`: what stands already, what a child adds.
        readable: under Landlock, the trees a program may read.
    """

    def __init__(self, kind: str, readable: list[Path]) -> None:
        self.kind, self.readable = kind, readable
        private = kind == "namespaces"
        self._filters = {
            "script": filtering(paths=private),
            "binary": filtering(paths=private, launch=True),
            "command": filtering(paths=True, spawn=True),
        }
        self._for: tuple[Mapping[str, Any], list[int]] = ({}, [])
        self._plan: Plan = ((), None, None, ())

    def plan(self, request: Mapping[str, Any], descriptors: list[int]) -> "Plan":
        """The steps of one program, written down before the fork."""
        if request is self._for[0] and descriptors == self._for[1]:
            return self._plan
        mode, limits = request["mode"], request["limits"]
        sifted = self._filters.get(mode, self._filters["script"])
        home = b"/" if self.kind == "landlock" else bytes(walls.WORK)
        begin: list[Step] = [
            _prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL),
            (CALLS["setsid"],),
            (CALLS["chdir"], home),
        ]
        processes = limits["processes"] if self.kind != "landlock" else 0
        end = [*_moves(request["fds"], descriptors), *_bounds(tuple(limits.items()), processes)]
        if self.kind != "landlock":
            end.append(kernel.no_capabilities())
        end += [_prctl(kernel.PR_SET_DUMPABLE, 0), sifted.step]
        between = None
        if self.kind != "namespaces" or request["own"] or request["put"] or mode in _LAUNCHED:
            between = partial(self._furnish, request, descriptors)
        self._for = (request, descriptors)
        self._plan = (tuple(begin), between, sifted, tuple(end))
        return self._plan

    def _furnish(self, request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
        put, fetched = request["put"], request["collect"]
        if request["mode"] in _LAUNCHED:
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        if self.kind == "landlock":
            if put or fetched:
                raise OSError(30, "under Landlock a program has no folder for its files")
            kernel.landlock(self.readable, [])
            return
        own = [(_MAIN, request["fds"]["code"])] if request["own"] else []
        open_to_all = self.kind == "namespaces" or request["mode"] == "command"
        if self.kind != "namespaces" and (put or own or fetched or open_to_all):
            walls.WORK.chmod(0o700)  # a mounted folder is new, and open
        for name, index in [*own, *put]:
            _place(walls.WORK / name, descriptors[index])
        if not open_to_all:
            for name, _ in fetched:
                (walls.WORK / name).touch()
            walls.WORK.chmod(0o500)


def rehearse(times: int) -> None:
    """Go through the motions, so that a child finds them learnt."""
    steps = ((CALLS["getpid"],),) * 4
    for _ in range(times):
        become((steps, None, filtering(paths=True), steps))


def _prctl(option: int, value: int) -> Step:
    return (CALLS["prctl"], option, value, 0, 0, 0)


def _moves(fds: Mapping[str, int], descriptors: Sequence[int]) -> list[Step]:
    """Its descriptors to their places, every other closed."""
    places = {_PLACES[name]: descriptors[index] for name, index in fds.items()}
    kept = max(places) + 1
    moved: list[Step] = [(CALLS["dup3"], had, place, 0) for place, had in places.items()]
    closed = [(CALLS["close"], place) for place in range(kept) if place not in places]
    return [*moved, *closed, (CALLS["close_range"], kept, _LAST, 0)]


@lru_cache(64)
def _bounds(limits: tuple[tuple[str, int], ...], processes: int) -> list[Step]:
    """What the process may take; none of it can be raised again."""
    return [
        (CALLS["prlimit64"], 0, which, struct.pack("QQ", *(b & kernel.UNBOUNDED for b in bound)), 0)
        for which, bound in walls.bounds(dict(limits), processes=processes).items()
    ]


def _place(path: Path, descriptor: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    target, offset = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700), 0
    while block := os.pread(descriptor, 1 << 20, offset):
        offset += os.write(target, block)
    os.close(target)


def emptied(folder: Path) -> None:
    """Nobody may write here until somebody has to: its number of files has no bound."""
    import shutil  # loads much that only this needs

    folder.chmod(0o700)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    folder.chmod(0o500)


def collect(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Copy the files asked for into the keeper's; links and other oddities are not followed."""
    for name, index in request["collect"]:
        try:
            source = os.open(walls.WORK / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        try:
            info = os.fstat(source)
            if info.st_mode & 0o170000 == 0o100000:
                left, limit = min(info.st_size, request["limits"]["output"]), 1 << 20
                while left > 0 and (block := os.read(source, min(left, limit))):
                    left -= os.write(descriptors[index], block)
        finally:
            os.close(source)
