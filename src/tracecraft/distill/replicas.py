"""Offline engines, each in a process of its own: kept full, started again when one dies."""

import contextlib
import logging
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tracecraft import errors
from tracecraft.distill.child import Child, advice, environment
from tracecraft.distill.engine import Completion, Request
from tracecraft.distill.owed import Asked, Owed
from tracecraft.errors import EngineError

log = logging.getLogger(__name__)

_MOST_DEATHS = 6
"""In a row, without an answer between and without a culprit found: see `owed.py`, which needs
five to find one among thousands."""
_PAUSE_SECONDS = 1.0
"""Before the next start, for a GPU's memory to come free; doubled with each death in a row."""


class Replica:
    """One engine's process, and what it holds."""

    def __init__(self, number: int, replicas: int, gpus: str | None, logs: Path) -> None:
        self.gpus = gpus
        self.log = logs / f"vllm-{number}.log"
        self.env = environment(gpus, replicas)
        self.rows = 0
        """Requests it may hold, so that its batch is full and the next few are at hand."""
        self.ready = False
        self.flying: dict[str, Asked] = {}
        self.trouble = ""
        """What it said before it died."""
        self.child: Child | None = None
        self.connection: Connection | None = None

    @property
    def free(self) -> int:
        return max(0, self.rows - len(self.flying)) if self.ready else 0

    def start(self, options: str) -> None:
        """Have the process begin to load; `ready` comes by the connection."""
        ours, theirs = socket.socketpair()
        with theirs:
            fd = theirs.fileno()
            self.child = Child(self.command(fd, options), self.log, self.env, [fd])
        self.connection = Connection(ours.detach())
        self.ready, self.trouble = False, ""

    def command(self, fd: int, options: str) -> list[str]:
        """What starts the process, which speaks through the socket `fd`."""
        return [sys.executable, "-m", "tracecraft.distill.worker", str(fd), options]

    def stop(self) -> list[Asked]:
        """End the process; what it held."""
        if self.connection is not None:
            self.connection.close()
        if self.child is not None:
            self.child.stop()
        self.connection, self.ready = None, False
        held = list(self.flying.values())
        self.flying.clear()
        return held


class Replicas:
    """The session over all replicas of a teacher."""

    def __init__(self, replicas: Sequence[Replica], name: str, options: str, rows: int) -> None:
        self.replicas = replicas
        self.name = name
        self.options = options
        self.rows = rows
        self.count = 0
        self.deaths = 0
        self.owed = Owed()
        self.last: tuple[str, Replica] | None = None

    def start(self) -> None:
        """Load the weights, all replicas at once.

        Raises:
            EngineError: one does not start.
            MissingExtra: vLLM is not installed where they run.
        """
        for replica in self.replicas:
            replica.rows = self.rows
            replica.start(self.options)
        while not all(replica.ready for replica in self.replicas):
            for replica, told in self._told():
                if told is None:
                    raise EngineError(self._obituary(replica, "did not start"))
                self._heed(replica, told)

    def close(self) -> None:
        for replica in self.replicas:
            replica.stop()

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion]]:
        pending = iter(requests)
        try:
            while True:
                self._fill(pending)
                if not len(self.owed) and not any(r.flying for r in self.replicas):
                    aside = self.owed.guilty(last=True)
                    if not aside:
                        return
                    yield from map(_set_aside, aside)
                    continue
                for replica, told in self._told():
                    if told is None:
                        self._bury(replica)
                    else:
                        yield from self._answers(replica, self._heed(replica, told))
                yield from map(_set_aside, self.owed.guilty())
        finally:
            self._forget()

    def _fill(self, pending: Iterator[Request]) -> None:
        """Suspects to engines that hold nothing; what is new to the one with the most room.

        The samples of one problem go to one replica, which has its prompt in the cache then.
        """
        for replica in self.replicas:
            self._give(replica, self.owed.suspects(replica, len(replica.flying), replica.free))
        while rooms := [r for r in self.replicas if r.free and not self.owed.tries(r)]:
            request = next(pending, None)
            if request is None:
                return
            freest = max(rooms, key=lambda r: r.free)
            if self.last is not None and self.last[0] == request.prompt and self.last[1] in rooms:
                freest = self.last[1]
            self.last = (request.prompt, freest)
            self._give(freest, [Asked(request)])

    def _give(self, replica: Replica, some: Iterable[Asked]) -> None:
        for asked in some:
            self.count += 1
            replica.flying[str(self.count)] = asked
            if replica.connection is not None:
                with contextlib.suppress(OSError):  # it died: seen when it is listened to
                    replica.connection.send((str(self.count), asked.request))

    def _told(self) -> Iterator[tuple[Replica, Any]]:
        """Each message that is there, after waiting for one; None from a process that died."""
        open_ends = [r.connection for r in self.replicas if r.connection is not None]
        there = wait(open_ends)
        for replica in self.replicas:
            connection = replica.connection
            if connection is None or connection not in there:
                continue
            try:
                told = connection.recv()
            except (EOFError, OSError):
                told = None
            yield replica, told

    def _heed(self, replica: Replica, told: Any) -> list[tuple[str, Completion]]:
        kind, *rest = told
        if kind == "ready":
            replica.ready = True
        elif kind == "failed":
            error, text = rest
            if not self.count:
                raise getattr(errors, error, EngineError)(text)
            replica.trouble = text
        elif kind == "broken":
            replica.trouble = rest[0]
        else:
            said: list[tuple[str, Completion]] = rest[0]
            return said
        return []

    def _answers(
        self, replica: Replica, said: Iterable[tuple[str, Completion]]
    ) -> Iterator[tuple[Request, Completion]]:
        for name, completion in said:
            if completion.finish != "failed":
                self.owed.answered()
                self.deaths = 0
            asked = replica.flying.pop(name, None)
            if asked is not None:  # else it is of a stream that was left
                yield asked.request, completion

    def _bury(self, replica: Replica) -> None:
        """What a dead engine held is owed again, and the engine starts again."""
        held = replica.stop()
        told = self._obituary(replica, "died")
        found = self.owed.died(replica, held, told.partition("\n")[0])
        log.warning("%s", told)
        self.deaths = 0 if found else self.deaths + 1
        if self.owed.hopeless:
            raise EngineError(self._obituary(replica, "died", self.owed.hopeless))
        if self.deaths >= _MOST_DEATHS:
            also = f"{self.deaths} times in a row, without an answer"
            raise EngineError(self._obituary(replica, "died", also))
        if replica.child is not None and replica.child.ran_out_of_memory():
            replica.rows = max(1, min(replica.rows, self.rows // 2) // 2)  # of what it computed on
            log.warning("%s: %d requests at once from now on", self.name, replica.rows)
        time.sleep(_PAUSE_SECONDS * 2 ** max(0, self.deaths - 1))
        replica.start(self.options)

    def _obituary(self, replica: Replica, what: str, also: str = "") -> str:
        child = replica.child
        assert child is not None
        child.stop()
        cause = child.cause()
        told = replica.trouble or f"its process {child.end()}" + (f": {cause}" if cause else "")
        first, _, advised = told.partition("\n")
        lines = [f"vllm: {self.name} {what}: {first}", child.tail()]
        lines += [f"  also   {also}"] if also else []
        return "\n".join([*lines, advised or f"  next   {advice(told)}"])

    def _forget(self) -> None:
        """Let go of what is still under way: nobody waits for it any more."""
        self.owed = Owed(proven=self.owed.proven)
        for replica in self.replicas:
            if replica.flying and replica.connection is not None:
                with contextlib.suppress(OSError):
                    replica.connection.send("drop")
            replica.flying.clear()


def _set_aside(asked: Asked) -> tuple[Request, Completion]:
    why = f"set aside: {asked.deaths} engines died of it: {asked.why}"
    return asked.request, Completion("", "failed", error=why)
