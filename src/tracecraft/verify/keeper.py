"""The keeper's end of one worker: starts it, hands it programs, and ends it."""

import array
import json
import os
import re
import select
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from tracecraft.verify import bwrap
from tracecraft.verify.ended import INLINE, Ended

__all__ = ["Broken", "Job", "Limits", "Ran", "Worker"]

Rung = Literal["namespaces", "bwrap", "landlock"]

_START_SECONDS = 60.0
_GRACE = 20.0
"""Seconds past a program's wall limit after which the worker itself is given up."""
_FAREWELL = 2.0
"""Seconds a worker has to end by itself."""
FIRST_UID = 61_184
"""Each worker of a keeper that is root has a user of its own, from here: systemd's range for
users that exist only while a service runs, which no account has."""

_BOOT = """
import sys, types
for name, folder in (("tracecraft", sys.argv[1]), ("tracecraft.verify", sys.argv[1] + "/verify")):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [folder]
from tracecraft.verify import zygote
zygote.main()
"""


class Broken(Exception):
    """The sandbox itself failed; says nothing of the program."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may take."""

    cpu: int = 4
    """Seconds of processor time."""
    wall: float = 6.0
    """Seconds of waiting."""
    memory: int = 1 << 30
    """Bytes of address space."""
    output: int = 16 << 20
    """Bytes of any file it writes, its outputs included."""
    disk: int = 32 << 20
    """Bytes of its folder."""
    files: int = 2048
    """Files in its folder."""
    open_files: int = 64
    processes: int = 64
    """Threads, for a program; processes, for a compiler."""
    stack: int = 64 << 20
    """Bytes of the main thread's stack."""


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one program."""

    mode: str
    """`command`, or one of `driver.MODES`."""
    code: bytes = b""
    stdin: bytes = b""
    spec: bytes = b""
    limits: Limits = Limits()
    argv: tuple[str, ...] = ()
    """The command line of a `command`; what a `script` finds after its name."""
    prelude: bool = False
    """For a `script`: the names graders import for a program are there."""
    env: dict[str, str] = field(default_factory=dict)
    """For a `command`, beside the usual few."""
    put: dict[str, bytes] = field(default_factory=dict)
    """Files to find in the work folder."""
    collect: tuple[str, ...] = ()
    """Files to bring back from it."""
    pipes: dict[str, int] = field(default_factory=dict)
    """Descriptors to lend it as `rpc_in` and `rpc_out`."""


@dataclass(frozen=True, slots=True)
class Ran:
    """How a run ended."""

    status: int
    """Exit code, or minus the signal's number."""
    stdout: bytes
    stderr: bytes
    result: bytes
    files: dict[str, bytes]
    cpu: float
    wall: float
    memory: int
    late: bool
    """It met the wall limit."""


def memory_file(content: bytes = b"") -> int:
    """A descriptor of a nameless file in memory."""
    handle = os.memfd_create("tracecraft")
    if content:
        view = memoryview(content)
        while view:
            view = view[os.write(handle, view) :]
        os.lseek(handle, 0, os.SEEK_SET)
    return handle


def _content(handle: int, limit: int) -> bytes:
    size = min(os.fstat(handle).st_size, limit)
    return os.pread(handle, size, 0) if size else b""


class Worker:
    """A zygote behind its walls; one run at a time.

    Args:
        rung: which walls.
        slot: its place among the keeper's workers.
        python: the interpreter.
        packages: installed packages, by name, that programs may import.
        folders: further folders to find, each a path inside and a path outside.
        trusted: for a problem's own code, never a response's.

    Raises:
        Broken: it cannot be started on this machine.
    """

    def __init__(
        self,
        rung: Rung,
        slot: int,
        python: Path,
        packages: dict[str, Path] | None = None,
        folders: tuple[tuple[str, str], ...] = (),
        *,
        trusted: bool = False,
    ) -> None:
        self.owner, self.rung = os.getpid(), rung
        self._sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._complaints = memory_file()
        self._heard = bytearray(1 << 18)
        uid = FIRST_UID + slot if os.geteuid() == 0 else None
        config = {
            "walls": rung,
            "trusted": trusted,
            "uid": uid,
            "socket": theirs.fileno(),
            "keeper": self.owner,
            "prefixes": _prefixes(python),
            "extras": {str(Path("/site", p.name)): str(p) for p in (packages or {}).values()}
            | dict(folders),
            "packages": [*(packages or {})],
        }
        home = str(Path(__file__).parents[1])
        argv = [str(python), "-I", "-S", "-B", "-c", _BOOT, home]
        if rung == "bwrap":
            config["launch"] = bwrap.command(argv, config, home)
        try:
            self._process = subprocess.Popen(
                [*argv, json.dumps(config)],
                env=bwrap.ENVIRONMENT,
                pass_fds=(theirs.fileno(),), cwd="/", start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self._complaints,
            )  # fmt: skip
        except OSError as error:
            self._sock.close()
            os.close(self._complaints)
            raise Broken(f"{python}: {error}") from None
        finally:
            theirs.close()
        try:
            self._receive(_START_SECONDS)
        except Broken:
            self.close()
            raise

    def _receive(self, seconds: float) -> tuple[Ended, int, bytes] | None:
        """How a run ended, its bytes of output, what is told along; None for any other message."""
        if not select.select([self._sock], [], [], seconds)[0]:
            raise Broken("the worker does not answer")
        try:
            size = self._sock.recv_into(self._heard)
        except OSError:
            size = 0
        if not size:
            said = _content(self._complaints, 1 << 16)[-300:].decode(errors="replace").strip()
            raise Broken(f"the worker is gone: {said}" if said else "the worker is gone")
        message = memoryview(self._heard)[:size]
        ended = Ended.read(message)
        if ended is None:
            answer = json.loads(bytes(message))
            if "broken" in answer:
                raise Broken(answer["broken"])
        return ended

    def start(self, job: Job) -> "Running":
        """Begin a run; `finish` of what is returned must be called."""
        return Running(self, job)

    def run(self, job: Job) -> Ran:
        """One program, from its start to its end.

        Raises:
            Broken: the sandbox failed; the worker must be closed.
        """
        return self.start(job).finish()

    def stream(self, job: Job, inputs: Sequence[bytes], *, go_on: bool = False) -> Iterator[Ran]:
        """One program on each of several inputs, a process for each; ends at one that ends badly.

        Args:
            job: the program; without files to bring or fetch.
            inputs: what it reads, in turn.
            go_on: do not end at a run that ended badly.

        Raises:
            Broken: the sandbox failed; the worker must be closed.
        """
        files = [memory_file(job.code), memory_file(b"".join(inputs))]
        request: dict[str, Any] = {
            **_common(job),
            "fds": {
                name: index
                for index, name in enumerate(("stdin", "stdout", "stderr", "code", "made"))
            },
            "inputs": [*map(len, inputs)],
            "go_on": go_on,
        }
        try:
            self._send(request, files)
        finally:
            for handle in files:
                os.close(handle)
        try:
            while (answer := self._receive(job.limits.wall + _GRACE)) is not None:
                yield self._streamed(*answer, job.limits.output)
        except GeneratorExit:
            self._send({"stop": True}, [])
            while (answer := self._receive(job.limits.wall + _GRACE)) is not None:
                self._streamed(*answer, 0)

    def _streamed(self, ended: Ended, out: int, more: bytes, limit: int) -> Ran:
        """A run's answer with its output, which is in it or in a file that follows it."""
        if out <= INLINE:
            return _ran(ended, more[:out], more[out:])
        _, handles, _, _ = socket.recv_fds(self._sock, 16, 1)
        try:
            return _ran(ended, _content(handles[0], limit), more)
        finally:
            for handle in handles:
                os.close(handle)

    def _send(self, request: dict[str, Any], handles: list[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", handles))]
        try:
            self._sock.sendmsg([json.dumps(request).encode()], rights if handles else [])
        except OSError as error:
            raise Broken(f"the worker is gone: {error}") from None

    def close(self) -> None:
        """End the worker and everything in it. In a forked copy of the keeper: only let go."""
        self._sock.close()
        os.close(self._complaints)
        if self.owner == os.getpid():
            try:  # without its keeper it ends by itself, and reaps what it started
                self._process.wait(_FAREWELL)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        else:
            self._process.returncode = 0  # not ours to wait for


class Running:
    """A run under way."""

    def __init__(self, worker: Worker, job: Job) -> None:
        self.worker, self.job = worker, job
        names = ["stdin", "stdout", "stderr"]
        self._files = [memory_file(job.stdin), memory_file(), memory_file()]
        for name, wanted, content in (
            ("code", job.mode != "command", job.code),
            ("result", job.mode in _REPORTING, b""),
            ("spec", job.mode in _REPORTING, job.spec),
        ):
            if wanted:
                names.append(name)
                self._files.append(memory_file(content))
        fds = {name: index for index, name in enumerate(names)}
        self._index = dict(fds)
        lent = list(job.pipes.values())
        fds |= {name: len(self._files) + i for i, name in enumerate(job.pipes)}
        first = len(self._files) + len(lent)
        put = dict(job.put)
        if worker.rung == "namespaces" and b"/dev/stdin" in job.code:
            put[".stdin"] = job.stdin  # where the device's name leads; there is no /proc
        extra = [memory_file(c) for c in put.values()] + [memory_file() for _ in job.collect]
        self._brought = dict(zip(job.collect, extra[len(put) :], strict=True))
        request = {
            **_common(job),
            "fds": fds,
            "put": [[name, first + i] for i, name in enumerate(put)],
            "collect": [[n, first + len(put) + i] for i, n in enumerate(job.collect)],
            "env": {**_ENVIRONMENT, **job.env},
        }
        handles = [*self._files, *lent, *extra]
        self._files += extra
        try:
            worker._send(request, handles)
        except Broken:
            self.abandon()
            raise

    def finish(self) -> Ran:
        """Wait for the end."""
        limit = self.job.limits.output
        try:
            answer = self.worker._receive(self.job.limits.wall + _GRACE)
            if answer is None:
                raise Broken("the worker answers something else")
            read = {n: _content(self._files[i], limit) for n, i in self._index.items() if i != 0}
            files = {n: _content(h, limit) for n, h in self._brought.items()}
        finally:
            self.abandon()
        return _ran(answer[0], read["stdout"], read["stderr"], read.get("result", b""), files)

    def abandon(self) -> None:
        """Let go of its files, whatever became of it."""
        for handle in self._files:
            os.close(handle)
        self._files = []


@lru_cache(64)
def _limits(limits: Limits) -> dict[str, float]:
    return asdict(limits)


def _common(job: Job) -> dict[str, Any]:
    return {
        "mode": job.mode,
        "limits": _limits(job.limits),
        "prelude": job.prelude,
        "argv": job.argv,
        "own": job.mode not in ("binary", "command") and _OWN_TEXT.search(job.code) is not None,
        "put": [],
        "collect": [],
    }


_OWN_TEXT = re.compile(rb"__file__|\bargv\b|main\.py|sourcefile|co_filename|(?:import|from) main\b")
"""Words without which a program does not open the file that it is in."""


def _ran(
    ended: Ended,
    stdout: bytes,
    stderr: bytes,
    result: bytes = b"",
    files: dict[str, bytes] | None = None,
) -> Ran:
    status = os.waitstatus_to_exitcode(ended.status)
    return Ran(status, stdout, stderr, result, files or {}, *ended[1:])


_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/w", "TMPDIR": "/w", "LANG": "C.UTF-8"}
_REPORTING = ("calls", "serve", "tests")


def _prefixes(python: Path) -> list[str]:
    """Folders the interpreter needs beside the system's."""
    if python == Path(sys._base_executable):  # type: ignore[attr-defined]
        return sorted({sys.base_prefix, sys.base_exec_prefix})
    return [str(python.resolve().parents[1])]
