"""Worker processes that can be killed: a verdict that hangs, dies or eats memory costs only itself.

A worker is a fresh interpreter (no fork, no re-import of `__main__`), so it starts alike from
threads, notebooks, daemonic and forked processes. Requests and replies are length-prefixed
pickles and JSON on its standard input and output.
"""

import gc
import json
import os
import pickle
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from tracecraft.errors import StageError
from tracecraft.plugin import Plugin
from tracecraft.schema import OUTCOMES, Verdict
from tracecraft.verify.freight import landed, shipped

__all__ = ["Pool", "Task", "guarded"]

Task = tuple[str, tuple[Any, ...]]
"""A method of the verifier and its arguments."""

_PEEK = os.WEXITED | os.WNOHANG | os.WNOWAIT
_LENGTH = struct.Struct("<Q")
_CHUNK = 16
"""Tasks a worker holds at once; enough to hide the pipe, few enough to share the tail."""
_LIFE = 1_000
"""Verdicts after which a worker is replaced: sympy's caches grow."""
_START_SECONDS = 120.0
_WALL = 4.0
"""Wall seconds for each CPU second granted, so that a busy machine fails no honest verdict."""
_FOREIGN: list["_Worker"] = []
"""Another process's workers, kept so that nothing here ends or warns of them."""
_EXTENSIONS = 10
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from tracecraft.verify.workers import serve; serve()"
)
_ENVIRONMENT = {
    "PYTHONHASHSEED": "0",  # sympy's ordering, hence its verdicts, must not vary
    "SYMPY_GROUND_TYPES": "python",  # gmpy2 aborts the process where Python raises MemoryError
    "MPMATH_NOGMPY": "1",
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


def guarded(call: Callable[[], Any]) -> Verdict:
    """What other people's code says, or `failed` with what it raised."""
    started = time.perf_counter()
    try:
        verdict = call()
    except MemoryError:
        verdict = Verdict("failed", detail="out of memory")
    except (Exception, SystemExit) as error:
        verdict = Verdict("failed", detail=f"{type(error).__name__}: {error}"[:500])
    if not isinstance(verdict, Verdict):
        verdict = Verdict("failed", detail=f"judge returned {type(verdict).__name__}, no Verdict")
    elif verdict.outcome not in OUTCOMES:
        verdict = Verdict("failed", detail=f"judge returned the outcome {verdict.outcome!r}")
    return Verdict(
        verdict.outcome,
        verdict.extracted,
        verdict.detail,
        verdict.span,
        time.perf_counter() - started,
    )


class _Worker:
    """One process, what it was asked and has not answered yet, and until when it may take."""

    def __init__(self, hello: bytes) -> None:
        if not sys.executable:
            raise StageError("no worker can start: sys.executable is unknown in this interpreter")
        self.tasks: deque[int] = deque()
        self.ready = False
        self.extensions = _EXTENSIONS
        self.retired = False
        self.inbox = bytearray()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _BOOT, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **_ENVIRONMENT},
            start_new_session=True,
            bufsize=0,
        )
        self.deadline = time.monotonic() + _START_SECONDS
        self.send(hello)

    def send(self, payload: bytes) -> None:
        view = memoryview(_LENGTH.pack(len(payload)) + payload)
        with suppress(BrokenPipeError):  # its end of file tells the rest
            while view:
                view = view[os.write(self._pipe(self.process.stdin), view) :]

    def receive(self) -> tuple[list[list[Any]], bool]:
        """The replies that have come in, and whether the process has ended."""
        data = os.read(self._pipe(self.process.stdout), 1 << 16)
        self.inbox += data
        replies = []
        while len(self.inbox) >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(self.inbox)
            if len(self.inbox) < _LENGTH.size + size:
                break
            replies.append(json.loads(self.inbox[_LENGTH.size : _LENGTH.size + size]))
            del self.inbox[: _LENGTH.size + size]
        return replies, not data

    def runnable(self) -> bool:
        """Whether it would compute if it had a core; False where the system does not say."""
        try:
            stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] == "R"

    def end(self, *, ended: bool = False) -> int:
        """Kill it with all it started; its return code, which its own earlier death keeps."""
        patience = 20 if ended else 0  # its pipe closes a moment before the process is gone
        while patience and not os.waitid(os.P_PID, self.process.pid, _PEEK):
            time.sleep(0.05)
            patience -= 1
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)  # not reaped yet: the id is still its own
        code = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return code

    @staticmethod
    def _pipe(pipe: IO[bytes] | None) -> int:
        assert pipe is not None
        return pipe.fileno()


class Pool:
    """Up to `size` workers for one verifier; started when first needed, replaced when they die."""

    def __init__(self, verifier: Plugin, size: int, *, seconds: float, memory: int) -> None:
        self.size, self.seconds = size, seconds
        self._wall = seconds * _WALL
        self._hello = shipped(verifier, seconds, memory)
        self._name = verifier.use or type(verifier).__name__
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._workers: list[_Worker] = []

    def ask(self, tasks: Sequence[Task]) -> list[Verdict]:
        """One verdict a task, in order.

        Raises:
            StageError: the verifier cannot be loaded in a worker at all.
        """
        with self._lock:
            if self._pid != os.getpid():  # forked: those workers are the parent's
                _FOREIGN.extend(self._workers)
                self._pid, self._workers = os.getpid(), []
            try:
                return _Session(self, tasks).run()
            except BaseException:
                self._end()
                raise

    def close(self) -> None:
        """End every worker."""
        with self._lock:
            if self._pid == os.getpid():
                self._end()

    def _end(self) -> None:
        for worker in self._workers:
            worker.end()
        self._workers.clear()


class _Session:
    """One call of `Pool.ask`: an event loop over the pipes, in the caller's thread."""

    def __init__(self, pool: Pool, tasks: Sequence[Task]) -> None:
        self.pool, self.tasks = pool, tasks
        self.queue = deque(range(len(tasks)))
        self.verdicts: list[Verdict | None] = [None] * len(tasks)
        self.left = len(tasks)
        self.deaths: dict[int, int] = {}
        self.false_starts = 0

    def run(self) -> list[Verdict]:
        with selectors.DefaultSelector() as self.selector:
            for worker in self.pool._workers:
                self._watch(worker)
            while self.left:
                self._staff()
                soonest = min(w.deadline for w in self.pool._workers if w.tasks or not w.ready)
                timeout = max(soonest - time.monotonic(), 0)
                for key, _ in self.selector.select(timeout):
                    self._hear(key.data)
                now = time.monotonic()
                for worker in [w for w in self.pool._workers if w.tasks or not w.ready]:
                    if now > worker.deadline and not self._waits_for_a_core(worker):
                        self._bury(worker, late=True)
        return [v for v in self.verdicts if v is not None]

    def _waits_for_a_core(self, worker: _Worker) -> bool:
        """Whether it is late only because others compute; then it gets as long again, at times.

        What computes without end is stopped by its CPU limit however busy the machine is.
        """
        if not worker.extensions or not worker.runnable():
            return False
        worker.extensions -= 1
        worker.deadline = time.monotonic() + self.pool._wall
        return True

    def _watch(self, worker: _Worker) -> None:
        self.selector.register(worker._pipe(worker.process.stdout), selectors.EVENT_READ, worker)

    def _staff(self) -> None:
        """Hand out work, and start a worker while the queue is longer than those at hand."""
        workers = self.pool._workers
        for worker in workers:
            if self.queue and worker.ready and not worker.tasks:
                self._give(worker)
        starting = sum(not w.ready for w in workers)
        wanted = min(self.pool.size - len(workers), -(-len(self.queue) // 4) - starting)
        for _ in range(wanted):
            worker = _Worker(self.pool._hello)
            workers.append(worker)
            self._watch(worker)

    def _give(self, worker: _Worker) -> None:
        share = max(1, min(_CHUNK, len(self.queue) // (2 * self.pool.size)))
        if self.deaths.get(self.queue[0]):  # what killed a worker once is tried alone
            share = 1
        worker.tasks = deque(self.queue.popleft() for _ in range(share))
        worker.deadline = time.monotonic() + self.pool._wall
        worker.send(pickle.dumps([self.tasks[i] for i in worker.tasks]))

    def _hear(self, worker: _Worker) -> None:
        replies, ended = worker.receive()
        for reply in replies:
            worker.deadline = time.monotonic() + self.pool._wall
            worker.extensions = _EXTENSIONS
            match reply:
                case ["ready"]:
                    worker.ready, self.false_starts = True, 0
                case ["bye"]:
                    worker.retired = True
                case ["broken", message]:
                    raise StageError(
                        f"the verifier {self.pool._name!r} cannot be loaded in a worker: {message}"
                    )
                case [outcome, extracted, detail, span, seconds]:
                    span = None if span is None else (span[0], span[1])
                    verdict = Verdict(outcome, extracted, detail, span, seconds)
                    self._settle(worker.tasks.popleft(), verdict)
        if ended:
            self._bury(worker)

    def _bury(self, worker: _Worker, *, late: bool = False) -> None:
        self.selector.unregister(worker._pipe(worker.process.stdout))
        self.pool._workers.remove(worker)
        code = worker.end(ended=not late)
        if not worker.ready:
            self.false_starts += 1
            if self.false_starts > 1:
                why = "took too long to start" if late else f"ended with code {code} as it started"
                raise StageError(f"the worker for the verifier {self.pool._name!r} {why}")
        elif worker.tasks and not worker.retired:
            self._blame(worker.tasks[0], code, late=late)
        for index in reversed(worker.tasks):
            if self.verdicts[index] is None:
                self.queue.appendleft(index)

    def _blame(self, index: int, code: int, *, late: bool) -> None:
        self.deaths[index] = self.deaths.get(index, 0) + 1
        spent: float | None = None
        if late:
            spent = self.pool._wall
            reason = f"no verdict within {self.pool._wall:g} s"
        elif code == -signal.SIGPROF:
            spent = self.pool.seconds
            reason = f"no verdict within {self.pool.seconds:g} s of CPU time"
        elif self.deaths[index] < 2:  # perhaps not its fault: somebody killed the process
            return
        else:
            reason = f"the verifier's process died ({_death(code)})"
        self._settle(index, Verdict("failed", detail=reason, seconds=spent))

    def _settle(self, index: int, verdict: Verdict) -> None:
        self.verdicts[index] = verdict
        self.left -= 1


def _death(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def serve() -> None:
    """The life of a worker process: load the verifier, then answer until the input ends."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 0)
    os.dup2(quiet, 1)  # what a verifier prints must not reach the pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()

    def reply(*parts: Any) -> None:
        data = json.dumps(parts).encode()
        replies.write(_LENGTH.pack(len(data)) + data)
        replies.flush()

    try:
        hello = _frame(requests)
        if hello is None:
            return
        verifier, seconds, memory = landed(hello)
    except Exception as error:
        reply("broken", f"{type(error).__name__}: {error}")
        return
    gc.freeze()  # what is loaded by now stays: no collection need look at it again
    _limit_memory(memory)
    reply("ready")
    try:
        _answer(verifier, seconds, requests, reply)
    except BrokenPipeError:
        os._exit(0)  # nobody listens any more


def _answer(verifier: Any, seconds: float, requests: IO[bytes], reply: Callable[..., None]) -> None:
    done = 0
    while (frame := _frame(requests)) is not None:
        for method, arguments in pickle.loads(frame):
            signal.setitimer(signal.ITIMER_PROF, seconds)
            verdict = guarded(lambda: getattr(verifier, method)(*arguments))  # noqa: B023
            signal.setitimer(signal.ITIMER_PROF, 0)
            v = verdict
            reply(v.outcome, _text(v.extracted), _text(v.detail), v.span, v.seconds)
            done += 1
            if done >= _LIFE or verdict.detail == "out of memory":
                reply("bye")
                return


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _frame(stream: IO[bytes]) -> bytes | None:
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    return stream.read(_LENGTH.unpack(head)[0])


def _limit_memory(more: int) -> None:
    """Allow `more` bytes beyond what the process maps by now."""
    import resource

    try:
        mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:  # no /proc: a guess at what the interpreter and its libraries map
        mapped = 2 << 30
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = mapped + more if hard == resource.RLIM_INFINITY else min(mapped + more, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _leave_with(parent: int) -> None:
    """End this process when the one that started it is gone, however it went."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(0)
