"""The process that programs are forked from; runs on a bare interpreter, standard library only.

A launcher enters the walls and forks the zygote, which is process 1 of its own process namespace:
when it dies, everything in it dies. The launcher watches the keeper and the zygote and ends with
either. For every request the zygote forks a child, which gives up all it can and then runs the
program; what is left over afterwards is killed before the answer goes out.
"""

import array
import atexit
import contextlib
import fcntl
import gc
import importlib
import json
import mmap
import os
import random
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from tracecraft.verify import driver, kernel, pytest_shim, served, walls
from tracecraft.verify.enclose import FIRST_FREE, Enclosure, become, collect, emptied, rehearse
from tracecraft.verify.ended import INLINE, SHOWN, Ended

__all__ = ["main", "served"]

_PRELOAD = """
abc array ast bisect builtins cmath codecs collections collections.abc contextlib copy dataclasses
datetime decimal encodings.ascii encodings.latin_1 encodings.utf_8 enum errno fractions functools gc
heapq inspect io itertools json linecache math numbers operator os pprint queue random re resource
select signal socket statistics string struct sys textwrap threading time token tokenize traceback
types typing unicodedata warnings weakref
"""
"""What programs import: loaded once, before the walls stand, and free for each of them."""


class Zygote:
    """Serves requests from `keeper` until it closes.

    Args:
        keeper: a SEQPACKET socket; each message is a JSON request with descriptors.
        keeper_process: a descriptor that is readable once the keeper is dead.
        walls_kind: `namespaces`, `bwrap` or `landlock`: what stands already, what a child adds.
        readable: under Landlock, the trees a program may read.
    """

    def __init__(
        self, keeper: socket.socket, keeper_process: int, walls_kind: str, readable: list[Path]
    ) -> None:
        if walls_kind != "landlock" and os.getpid() != 1:
            # it ends leftovers with kill(-1), which outside a process namespace is everybody
            raise OSError(1, "a zygote must be process 1 of a namespace of its own")
        self.keeper, self.kind = keeper, walls_kind
        self.enclosure = Enclosure(walls_kind, readable)
        self.entered = mmap.mmap(-1, mmap.PAGESIZE)
        """Shared with a child until it becomes a program: whether it has taken all its steps, or
        which it could not take."""
        self.asked, self.waiting = select.poll(), select.poll()
        for polled in (self.asked, self.waiting):
            polled.register(keeper_process, select.POLLIN)
        self.asked.register(keeper.fileno(), select.POLLIN)
        self.size: tuple[int, int] | None = None
        """Bytes and files of the work folder that is mounted."""
        self.untouched: tuple[int, ...] = ()
        walls.never()
        os.umask(0o077)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)

    def serve(self) -> None:
        """Answer requests until the keeper is gone."""
        while True:
            self.asked.poll()
            message, ancillary, _, _ = self.keeper.recvmsg(1 << 16, socket.CMSG_SPACE(4 * 64))
            if not message:
                return
            descriptors = array.array("i")
            for _, _, data in ancillary:
                descriptors.frombytes(data)
            try:
                self._serve(json.loads(message), list(descriptors))
            except OSError as error:
                self._say({"broken": f"{error}"})
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _say(self, answer: dict[str, Any]) -> None:
        self.keeper.send(json.dumps(answer).encode())

    def _serve(self, request: dict[str, Any], descriptors: list[int]) -> None:
        if request.get("stop"):
            return  # what it would stop has ended
        if "inputs" not in request:
            self.keeper.send(self.run(request, descriptors).message())
            return
        code, inputs = descriptors
        start, made = 0, os.memfd_create("tracecraft")
        try:
            for size in request["inputs"]:
                if self.asked.poll(0):
                    break
                if not self._one_of_many(request, [code, made], (inputs, start, size)):
                    break
                start += size
        finally:
            os.close(made)
        self._say({"end": True})

    def _one_of_many(
        self, request: dict[str, Any], program: list[int], given: tuple[int, int, int]
    ) -> bool:
        """Run a program on one of several inputs; tells whether to go on to the next."""
        files = [os.memfd_create("tracecraft") for _ in range(3)]
        inputs, start, size = given
        try:
            while size > 0 and (sent := os.sendfile(files[0], inputs, start, size)):
                start, size = start + sent, size - sent
            os.lseek(files[0], 0, os.SEEK_SET)
            ended = self.run(request, [*files, *program])
            out = os.lseek(files[1], 0, os.SEEK_END)
            said = os.lseek(files[2], 0, os.SEEK_END)
            shown = os.pread(files[2], SHOWN, max(0, said - SHOWN)) if said else b""
            if out <= INLINE:
                self.keeper.send(ended.message(os.pread(files[1], INLINE, 0) + shown, out))
            else:
                self.keeper.send(ended.message(shown, out))
                socket.send_fds(self.keeper, [b"out"], [files[1]])
        finally:
            for descriptor in files:
                os.close(descriptor)
        well = ended.status == 0 and not ended.late
        return well or bool(request["go_on"])

    def run(self, request: dict[str, Any], descriptors: list[int]) -> Ended:
        """Run one program to its end and say how it ended.

        Raises:
            OSError: it could not be walled in; nothing of it was run.
        """
        self._prepare_work(request)
        plan = self.enclosure.plan(request, descriptors)
        entered = self.entered
        entered[0] = 0
        started = time.monotonic()
        child = kernel.fork()
        if child == 0:
            try:
                become(plan)
                entered[0] = 1
                entered.close()
            except BaseException as error:  # nothing of the program has run
                told = f"{type(error).__name__}: {error}".encode()[: mmap.PAGESIZE - 2]
                entered[1 : 1 + len(told)] = told
                os._exit(70)
            _run(request)
        ended = self._wait(child, started, request["limits"]["wall"])
        self._end_others()
        if self.entered[0] != 1 and not ended.late:
            why = self.entered[1:].partition(b"\0")[0].decode(errors="replace")
            self.entered[:] = bytes(mmap.PAGESIZE)
            raise OSError(5, why or "a process died while it was walled in")
        if request["collect"]:
            collect(request, descriptors)
        return ended

    def _prepare_work(self, request: dict[str, Any]) -> None:
        if self.kind == "landlock":
            return
        if self.kind == "bwrap":
            emptied(walls.WORK)
            return
        limits = request["limits"]
        size = (limits["disk"], limits["files"])
        if self.size != size or walls.state_of_work() != self.untouched:
            if self.size is not None:
                kernel.unmount(walls.WORK)
            self.untouched = walls.fresh_work(*size)
            self.size = size

    def _wait(self, child: int, started: float, wall: float) -> Ended:
        handle = os.pidfd_open(child)
        try:
            self.waiting.register(handle, select.POLLIN)
            timely = any(which == handle for which, _ in self.waiting.poll(wall * 1000))
            self.waiting.unregister(handle)
        finally:
            os.close(handle)
        if not timely:
            os.kill(child, signal.SIGKILL)
        status, cpu, memory = kernel.reap(child)
        return Ended(status, cpu, time.monotonic() - started, memory, not timely)

    def _end_others(self) -> None:
        """As process 1: whatever the program started is killed and reaped."""
        if self.kind == "landlock" or not kernel.kill_all():
            return
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)


def _run(request: dict[str, Any]) -> NoReturn:
    try:
        if request["mode"] == "command":
            os.execve(request["argv"][0], request["argv"], dict(request["env"]))
        driver.MODES[request["mode"]](request)
    finally:
        os._exit(71)


def _preload(packages: list[str]) -> None:
    """Do beforehand what every program would have to."""
    for name in [*_PRELOAD.split(), *packages]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    os.environ.pop("LD_BIND_NOW", None)
    random.seed(0)  # every program draws the same numbers: a verdict can be had again
    sys.modules.setdefault("pytest", pytest_shim)  # programs that bring tests import it
    driver.add_site_names()
    driver.rehearse()
    rehearse(driver.TIMES)
    atexit._clear()
    while (taken := os.open("/dev/null", os.O_RDONLY)) < FIRST_FREE:
        pass
    os.close(taken)
    gc.collect()
    gc.freeze()


def _watch(keeper: int, zygote: int) -> NoReturn:
    """Live as long as both do; take the zygote along."""
    select.select([keeper, os.pidfd_open(zygote)], [], [])
    os.kill(zygote, signal.SIGKILL)
    os.waitpid(zygote, 0)
    os._exit(0)


def _launch(config: dict[str, Any], keeper: int) -> NoReturn:
    """Start bubblewrap with a zygote in it, as an ordinary user, and live as long as both do."""
    if not config["launch"]:
        raise OSError(2, "bubblewrap is not installed")
    if config["uid"] is not None:
        walls.become(config["uid"])
    child = os.fork()
    if child == 0:
        fcntl.fcntl(config["socket"], fcntl.F_SETFD, 0)
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        os.execve(config["launch"][0], config["launch"], {})
    os.close(config["socket"])
    _watch(keeper, child)


def _enter(config: dict[str, Any], keeper: int) -> list[Path]:
    """Stand behind the walls; returns what Landlock leaves readable."""
    kind, uid = config["walls"], config["uid"]
    if kind == "bwrap" and not config.get("launched"):
        _launch(config, keeper)
    if kind == "landlock":
        readable = [*walls.library_roots(config["prefixes"]), Path("/dev/null"), Path("/dev/zero"),
                    Path("/dev/urandom"), *map(Path, config["extras"].values())]  # fmt: skip
        if uid is not None:
            walls.become(uid)
        return [p for p in readable if p.exists()]
    if kind == "namespaces":
        walls.enter_namespaces(config["prefixes"], config["extras"], uid)
        zygote = os.fork()
        if zygote:
            os.closerange(3, keeper)
            os.close(config["socket"])
            _watch(keeper, zygote)
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    return []


def main() -> None:
    """Start from the configuration in the last argument; ends when the keeper does."""
    config = json.loads(sys.argv[-1])
    sock = socket.socket(fileno=config["socket"])
    try:
        if config["trusted"]:
            importlib.import_module("tracecraft.verify.oracle")
        keeper = sock.fileno() if config.get("launched") else os.pidfd_open(config["keeper"])
        readable = _enter(config, keeper)
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        inside = config["walls"] != "landlock"
        if config["packages"]:
            places = {str(Path(i if inside else o).parent) for i, o in config["extras"].items()}
            sys.path.extend(places)
        _preload(config["packages"])
        zygote = Zygote(sock, keeper, config["walls"], readable)
        sock.send(b'{"ready":true}')
    except Exception as error:  # told to the keeper, who chooses another rung
        sock.send(json.dumps({"broken": f"{type(error).__name__}: {error}"}).encode())
        return
    zygote.serve()
