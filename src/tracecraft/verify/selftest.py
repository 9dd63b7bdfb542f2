"""Proof that a rung holds on this machine: real attacks, made before it is relied on."""

import json
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tracecraft.verify.keeper import Broken, Job, Limits, Ran, Worker

__all__ = ["breaches"]

_TOUR = """
import ctypes, json, os, socket, sys
port, canary, folder, keeper, secret = json.loads(sys.stdin.read())
libc = ctypes.CDLL(None, use_errno=True)
found = {}

def attempt(name):
    def run(body):
        try:
            got = body()
        except Exception:
            got = None
        found[name] = "held" if got is None or got is False else repr(got)[:80]
    return run

@attempt("connect to a listener on this host")
def _():
    s = socket.socket(); s.settimeout(1); s.connect(("127.0.0.1", port)); return True

@attempt("send a datagram")
def _():
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", port))

@attempt("read a file outside")
def _():
    return open(canary).read()

@attempt("write a file outside")
def _():
    open(folder + "/planted", "w").write("x"); return True

@attempt("fork")
def _():
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid

@attempt("spawn a program")
def _():
    return os.posix_spawn("/bin/true", ["true"], {})

@attempt("signal the keeper")
def _():
    os.kill(keeper, 0); return True

@attempt("kill process 1")
def _():
    os.kill(1, 9); return True

@attempt("trace process 1 or the keeper")
def _():
    return any(libc.ptrace(16, p, 0, 0) == 0 for p in (1, keeper))

@attempt("read an environment in /proc")
def _():
    for pid in ("1", str(keeper), "self"):
        try:
            if text := open(f"/proc/{pid}/environ", "rb").read():
                return text
        except OSError:
            pass

@attempt("find the keeper's environment")
def _():
    return secret in str(os.environ)

@attempt("make a user namespace")
def _():
    return libc.unshare(0x10000000) == 0

@attempt("mount")
def _():
    return libc.mount(b"tmpfs", b"/w", b"tmpfs", 0, None) == 0

@attempt("io_uring, keyctl, userfaultfd, bpf")
def _():
    keyctl, faults, bpf = (250, 323, 321) if os.uname().machine == "x86_64" else (219, 282, 280)
    space = ctypes.create_string_buffer(120)
    for nr, *args in ((425, 4, space), (keyctl, 0, -3, 1), (faults, 0), (bpf, 0, space, 64)):
        if libc.syscall(nr, *args) >= 0:
            return nr

@attempt("use a descriptor it was not given")
def _():
    return [fd for fd in range(3, 1024) if _open(fd)] or None

def _open(fd):
    try:
        os.fstat(fd); return True
    except OSError:
        return False

@attempt("be root")
def _():
    return 0 in (os.getuid(), os.geteuid(), os.getgid())

@attempt("become another user")
def _():
    os.setresuid(0, 0, 0); return True

@attempt("raise a limit")
def _():
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2); return True

sys.stdout.write(json.dumps(found))
"""

_SMALL = Limits(cpu=5, wall=20.0, memory=256 << 20, output=1 << 20)


@dataclass(frozen=True)
class _Bait:
    """What the tour must not reach: a listener, a readable file, a folder, a variable."""

    port: int
    canary: Path
    folder: Path
    secret: str
    listener: socket.socket


@contextmanager
def _bait() -> Iterator[_Bait]:
    secret = secrets.token_hex(16)
    with tempfile.TemporaryDirectory(prefix="tracecraft-") as name, socket.socket() as listener:
        folder = Path(name)
        folder.chmod(0o777)
        canary = folder / "canary"
        canary.write_text(secret)
        canary.chmod(0o644)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)  # noqa: FBT003
        os.environ["TRACECRAFT_CANARY"] = secret
        try:
            yield _Bait(listener.getsockname()[1], canary, folder, secret, listener)
        finally:
            del os.environ["TRACECRAFT_CANARY"]


def breaches(worker: Worker) -> list[str]:
    """What the worker's walls did not hold against; empty is proof enough to use them.

    Raises:
        Broken: it cannot run programs at all.
    """
    sound = worker.run(Job("script", b"print(int(input()) * 2)", b"21\n"))
    if (sound.status, sound.stdout) != (0, b"42\n"):
        raise Broken(f"a sound program failed: {sound.stderr[-300:].decode(errors='replace')}")
    with _bait() as bait:
        told = [bait.port, str(bait.canary), str(bait.folder), os.getpid(), bait.secret]
        tour = worker.run(Job("script", _TOUR.encode(), json.dumps(told).encode(), limits=_SMALL))
        found = _read_tour(tour)
        if (bait.folder / "planted").exists():
            found.append("write a file outside: it is there")
        try:
            bait.listener.accept()[0].close()
            found.append("connect to a listener on this host: it came")
        except BlockingIOError:
            pass
    return found + [name for name, held in _bounds(worker) if not held]


def _read_tour(tour: Ran) -> list[str]:
    try:
        found: dict[str, str] = json.loads(tour.stdout)
    except ValueError:
        tail = tour.stderr[-300:].decode(errors="replace")
        raise Broken(f"the self-test did not finish (status {tour.status}): {tail}") from None
    return [f"{name}: {got}" for name, got in found.items() if got != "held"]


def _bounds(worker: Worker) -> Iterator[tuple[str, bool]]:
    """Attacks whose effect is seen from outside."""
    greedy = b"a = []\nwhile len(a) < 512: a.append(bytearray(1 << 20))\nprint(len(a))"
    yield "take twice its memory", worker.run(Job("script", greedy, limits=_SMALL)).status != 0
    flood = b"import os\nwhile True: os.write(1, b'x' * 65536)"
    yield "flood its output", len(worker.run(Job("script", flood, limits=_SMALL)).stdout) <= 1 << 20
    sleeper = b"import signal, time\nsignal.pthread_sigmask(0, range(1, 65))\ntime.sleep(60)"
    brief = replace(_SMALL, wall=0.2)
    yield "outlive its time", worker.run(Job("script", sleeper, limits=brief)).late
    yield "break the worker", worker.run(Job("script", b"print(1)")).stdout == b"1\n"
