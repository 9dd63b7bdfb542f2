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
import os
import random
import resource
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

from tracecraft.verify import driver, kernel, served, walls
from tracecraft.verify.seccomp import Filter

__all__ = ["main", "served"]

_PRELOAD = """
abc array ast bisect builtins cmath codecs collections collections.abc contextlib copy dataclasses
datetime decimal encodings.ascii encodings.latin_1 encodings.utf_8 enum errno fractions functools gc
heapq inspect io itertools json linecache math numbers operator os pprint queue random re resource
select signal socket statistics string struct sys textwrap threading time token tokenize traceback
types typing unicodedata warnings weakref
"""
"""What programs import: loaded once, before the walls stand, and free for each of them."""

_WORK = str(walls.WORK)
_INLINE = 1 << 16
"""Bytes of output that are told with the answer; more is handed over as a file."""
_SHOWN = 1 << 12
"""Bytes of the end of what it said on standard error that are told with the answer."""
_DIE_WITH_ZYGOTE = kernel.prepared_prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
_NO_NEW_PRIVILEGES = kernel.prepared_prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
_NOT_DUMPABLE = kernel.prepared_prctl(kernel.PR_SET_DUMPABLE, 0)
_NO_CAPABILITIES = kernel.prepared_drop()
_ORDER = {
    name: place
    for place, name in enumerate(
        ("stdin", "stdout", "stderr", "code", "result", "spec", "rpc_in", "rpc_out")
    )
}
"""The descriptors of a program."""
_FREE = 16
"""Lower descriptors are taken in the zygote, so that no other is in the way of a program's."""


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
        self.keeper, self.keeper_process = keeper, keeper_process
        self.kind, self.readable = walls_kind, readable
        private = walls_kind == "namespaces"
        self.filters = {
            "script": Filter(paths=private),
            "binary": Filter(paths=private, launch=True),
            "command": Filter(paths=True, spawn=True),
        }
        self.work: tuple[int, int] | None = None
        """Size and files of the work folder that is mounted."""

    def serve(self) -> None:
        """Answer requests until the keeper is gone."""
        while True:
            select.select([self.keeper.fileno(), self.keeper_process], [], [])
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

    def _say(self, answer: dict[str, Any], more: bytes = b"") -> None:
        self.keeper.send(json.dumps(answer).encode() + b"\n" + more)

    def _serve(self, request: dict[str, Any], descriptors: list[int]) -> None:
        if request.get("stop"):
            return  # what it would stop has ended
        if "inputs" not in request:
            self._say(self.run(request, descriptors))
            return
        code, inputs = descriptors
        start = 0
        for size in request["inputs"]:
            if select.select([self.keeper.fileno()], [], [], 0)[0]:
                break
            if not self._one_of_many(request, code, (inputs, start, size)):
                break
            start += size
        self._say({"end": True})

    def _one_of_many(self, request: dict[str, Any], code: int, given: tuple[int, int, int]) -> bool:
        """Run a program on one of several inputs; tells whether to go on to the next."""
        files = [os.memfd_create("tracecraft") for _ in range(3)]
        inputs, start, size = given
        try:
            while size > 0 and (sent := os.sendfile(files[0], inputs, start, size)):
                start, size = start + sent, size - sent
            os.lseek(files[0], 0, os.SEEK_SET)
            answer = self.run(request, [*files, code])
            if "broken" in answer:
                self._say(answer)
                return False
            answer["out"] = os.fstat(files[1]).st_size
            shown = os.pread(files[2], _SHOWN, max(0, os.fstat(files[2]).st_size - _SHOWN))
            if answer["out"] <= _INLINE:
                self._say(answer, os.pread(files[1], _INLINE, 0) + shown)
            else:
                self._say(answer, shown)
                socket.send_fds(self.keeper, [b"out"], [files[1]])
        finally:
            for descriptor in files:
                os.close(descriptor)
        well = answer["status"] == 0 and not answer["late"]
        return well or bool(request["go_on"])

    def run(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        """Run one program to its end and say how it ended."""
        self._prepare_work(request)
        ready, telling = os.pipe()
        started = time.monotonic()
        child = kernel.fork()
        if child == 0:
            os.close(ready)
            self._child(request, descriptors, telling)
        os.close(telling)
        try:
            timely, status, used = self._wait(child, request["limits"]["wall"])
            self._end_others()
            trouble = os.read(ready, 4096)
        finally:
            os.close(ready)
            self._collect(request, descriptors)
        if trouble:
            return {"broken": trouble.decode(errors="replace")}
        return {
            "status": status,
            "cpu": used.ru_utime + used.ru_stime,
            "wall": time.monotonic() - started,
            "memory": used.ru_maxrss * 1024,
            "late": not timely,
        }

    def _prepare_work(self, request: dict[str, Any]) -> None:
        if self.kind == "landlock":
            return
        if self.kind == "bwrap":
            _emptied(walls.WORK)
            return
        limits = request["limits"]
        size = (limits["disk"], limits["files"])
        untouched = os.stat(_WORK).st_mode == 0o40700 and not os.listdir(_WORK)  # noqa: PTH116, PTH208
        if self.work != size or not untouched:
            if self.work is not None:
                kernel.unmount(walls.WORK)
            walls.fresh_work(*size)
            self.work = size

    def _wait(self, child: int, wall: float) -> tuple[bool, int, resource.struct_rusage]:
        handle = os.pidfd_open(child)
        try:
            timely = handle in select.select([handle, self.keeper_process], [], [], wall)[0]
        finally:
            os.close(handle)
        if not timely:
            os.kill(child, signal.SIGKILL)
        _, status, used = os.wait4(child, 0)
        return timely, status, used

    def _end_others(self) -> None:
        """As process 1: whatever the program started is killed and reaped."""
        if self.kind == "landlock" or os.getpid() != 1:
            return
        try:
            os.kill(-1, signal.SIGKILL)
            while True:
                os.waitpid(-1, 0)
        except (ProcessLookupError, ChildProcessError):
            return

    def _collect(self, request: dict[str, Any], descriptors: list[int]) -> None:
        """Copy the files asked for into the keeper's; links and other oddities are not followed."""
        for name, index in request.get("collect", []):
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

    def _child(self, request: dict[str, Any], descriptors: list[int], telling: int) -> NoReturn:
        try:
            self._enclose(request, descriptors, telling)
        except BaseException as error:  # nothing of the program has run: the sandbox is broken
            os.write(telling, f"{type(error).__name__}: {error}".encode())
            os._exit(70)
        mode = request["mode"]
        try:
            if mode == "command":
                os.execve(request["argv"][0], request["argv"], dict(request["env"]))
            driver.MODES[mode](request)
        finally:
            os._exit(71)

    def _furnish(self, request: dict[str, Any], descriptors: list[int]) -> None:
        put, collect = request.get("put", []), request.get("collect", [])
        if self.kind == "landlock":
            if put or collect:
                raise OSError(30, "under Landlock a program has no folder for its files")
            return
        open_to_all = self.kind == "namespaces" or request["mode"] == "command"
        if self.kind != "namespaces" and (put or collect or open_to_all):
            walls.WORK.chmod(0o700)  # a mounted folder is new, and open
        for name, index in put:
            _place(walls.WORK / name, descriptors[index])
        if not open_to_all:
            for name, _ in collect:
                (walls.WORK / name).touch()
            walls.WORK.chmod(0o500)

    def _enclose(self, request: dict[str, Any], descriptors: list[int], telling: int) -> None:
        _DIE_WITH_ZYGOTE()
        os.setsid()
        mode, limits = request["mode"], request["limits"]
        os.chdir(_WORK if self.kind != "landlock" else "/")
        self._furnish(request, descriptors)
        for name, index in request["fds"].items():
            os.dup2(descriptors[index], _ORDER[name])
        kept = max(_ORDER[name] for name in request["fds"]) + 1
        for name, unused in _ORDER.items():
            if unused < kept and name not in request["fds"]:
                os.close(unused)
        os.closerange(kept, telling)
        os.closerange(telling + 1, _FREE + 256)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        if mode in ("binary", "command"):
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.umask(0o077)
        walls.tighten(limits, processes=limits["processes"] if self.kind != "landlock" else 0)
        _NO_NEW_PRIVILEGES()
        if self.kind == "landlock":
            kernel.landlock(self.readable, [])
        else:
            _NO_CAPABILITIES()
        _NOT_DUMPABLE()
        self.filters[mode if mode in self.filters else "script"].install()
        os.close(telling)


def _emptied(folder: Path) -> None:
    """Nobody may write here until somebody has to: its number of files has no bound."""
    import shutil  # loads much that only this needs

    folder.chmod(0o700)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    folder.chmod(0o500)


def _place(path: Path, descriptor: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.lseek(descriptor, 0, os.SEEK_SET)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o700)
    while block := os.read(descriptor, 1 << 20):
        os.write(target, block)
    os.close(target)
    os.lseek(descriptor, 0, os.SEEK_SET)


def _preload(packages: list[str]) -> None:
    """Do beforehand what every program would have to."""
    for name in [*_PRELOAD.split(), *packages]:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    random.seed(0)  # every program draws the same numbers: a verdict can be had again
    driver.open_streams()
    driver.add_site_names()
    atexit._clear()
    while (taken := os.open("/dev/null", os.O_RDONLY)) < _FREE:
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
