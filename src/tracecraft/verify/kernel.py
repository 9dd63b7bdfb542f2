"""The few kernel calls that Python does not wrap, through ctypes; each raises OSError."""

import ctypes
import os
import signal
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tracecraft.verify.syscalls import NR

__all__ = [
    "MS_BIND",
    "MS_NOATIME",
    "MS_NODEV",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "UNBOUNDED",
    "FilterProgram",
    "Step",
    "fork",
    "kill_all",
    "landlock",
    "landlock_version",
    "mount",
    "no_capabilities",
    "pivot_root",
    "prctl",
    "readonly",
    "reap",
    "take",
    "unmount",
    "unshare",
]

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_NOATIME = 1, 2, 4, 32, 1024
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
_MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_fork = ctypes.PyDLL(None).fork
_raw = ctypes.PyDLL(None).syscall
UNBOUNDED = (1 << 64) - 1
"""RLIM_INFINITY."""


def _checked(result: int, what: str) -> int:
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def _syscall(name: str, *args: object) -> int:
    if name not in NR:
        raise OSError(38, f"{name}: no number for this machine")
    wrapped = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return _checked(_libc.syscall(ctypes.c_long(NR[name]), *wrapped), name)


Step = tuple[Any, ...]
"""A system call: its number, and arguments that are small numbers or bytes."""


def take(steps: Iterable[Step], raw: Any = _raw) -> None:
    """Make system calls that were written down beforehand.

    Raises:
        OSError: one of them is refused.
    """
    for step in steps:
        if raw(*step) == -1:
            _checked(_libc.syscall(*step), f"system call {step[0]}")


def prctl(option: int, *args: int) -> int:
    """`prctl(2)`."""
    padded = [ctypes.c_ulong(a) for a in (*args, 0, 0, 0, 0)][:4]
    return _checked(_libc.prctl(ctypes.c_int(option), *padded), f"prctl {option}")


def fork() -> int:
    """`fork(3)` of the C library, without what Python does in the child beside it.

    For a process with one thread that costs nothing but the new seed of `random`, and saves half
    of what a fork takes.
    """
    return _checked(_fork(), "fork")


_status, _usage = ctypes.c_int(), (ctypes.c_long * 18)()
_wait4, _kill = ctypes.PyDLL(None).wait4, ctypes.PyDLL(None).kill


def reap(child: int) -> tuple[int, float, int]:
    """How the child ended, as `wait4(2)` gives it; its CPU seconds; the most bytes it had."""
    if _wait4(child, ctypes.byref(_status), 0, _usage) != child:
        raise OSError(10, f"no child {child}")
    seconds, micro = _usage[0] + _usage[2], _usage[1] + _usage[3]
    return _status.value, seconds + micro / 1e6, _usage[4] * 1024


def kill_all() -> bool:
    """End every process that this one may signal, itself left out; tells whether there was any.

    Only for process 1 of a process namespace: outside, that is everybody.
    """
    return os.getpid() == 1 and bool(_kill(-1, signal.SIGKILL) == 0)


def unshare(flags: int) -> None:
    """`unshare(2)`."""
    _checked(_libc.unshare(flags), "unshare")


def mount(source: str, target: Path, kind: str = "", flags: int = 0, data: str = "") -> None:
    """`mount(2)`."""
    result = _libc.mount(source.encode(), bytes(target), kind.encode(), ctypes.c_ulong(flags),
                         data.encode())  # fmt: skip
    _checked(result, f"mount {kind or source} on {target}")


def unmount(target: Path) -> None:
    """`umount2(2)`, lazily."""
    _checked(_libc.umount2(bytes(target), _MNT_DETACH), f"umount {target}")


def readonly(target: Path, *, devices: bool = False) -> None:
    """Make a mount and all below it read-only, without set-uid and, unless wanted, devices."""
    wanted = 1 | 2 | (0 if devices else 4)  # RDONLY NOSUID NODEV of mount_setattr(2)
    attributes = struct.pack("QQQQ", wanted, 0, 0, 0)
    at_fdcwd, at_recursive = -100, 0x8000
    _syscall("mount_setattr", at_fdcwd, bytes(target), at_recursive, attributes, len(attributes))


def pivot_root(new: Path, old: Path) -> None:
    """`pivot_root(2)`."""
    _syscall("pivot_root", bytes(new), bytes(old))


def no_capabilities() -> Step:
    """Gives up every capability of the process that takes it, for good."""
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3
    return (NR["capset"], header, bytes(24))


class FilterProgram:
    """A seccomp filter made of `struct sock_filter`s.

    Args:
        program: the filter.
        own: a number in it that stands for that of the process that installs it.
    """

    def __init__(self, program: bytes, own: int) -> None:
        self._program = bytearray(program)
        self.words = memoryview(self._program).cast("I")
        """The filter; an instruction is two of them, the second its operand."""
        self.places = tuple(i for i, word in enumerate(self.words) if word == own)
        """Where the number of the process that takes the step must be put before."""
        self._held = (ctypes.c_char * len(program)).from_buffer(self._program)
        fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(self._held))
        self.step: Step = (NR["seccomp"], 1, 0, fprog)
        """Installs it (SECCOMP_SET_MODE_FILTER); needs no_new_privs."""


_READ = (1 << 0) | (1 << 2) | (1 << 3)  # EXECUTE READ_FILE READ_DIR of linux/landlock.h
_FILES = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}


def landlock_version() -> int:
    """The Landlock ABI of this kernel; 0 where it has none."""
    try:
        return _syscall("landlock_create_ruleset", 0, 0, 1)
    except OSError:
        return 0


def landlock(readable: list[Path], writable: list[Path]) -> None:
    """Deny this process all files but those; also TCP, and from ABI 6 signals and abstract sockets.

    Args:
        readable: trees that may be read and executed.
        writable: trees in which anything may be done.
    """
    version = landlock_version()
    if version < 1:
        raise OSError(38, "landlock: not in this kernel")
    files = _FILES[min(version, 5)]
    net = 3 if version >= 4 else 0  # BIND_TCP CONNECT_TCP
    scoped = 3 if version >= 6 else 0  # abstract unix sockets, signals
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = _syscall("landlock_create_ruleset", struct.pack("QQQ", files, net, scoped)[:size],
                       size, 0)  # fmt: skip
    try:
        for path, access in [*((p, _READ) for p in readable), *((p, files) for p in writable)]:
            handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                of_file = (1 << 0) | (1 << 1) | (1 << 2) | (1 << 14) | (1 << 15)
                allowed = access & files & (-1 if path.is_dir() else of_file)
                _syscall("landlock_add_rule", ruleset, 1, struct.pack("=Qi", allowed, handle), 0)
            finally:
                os.close(handle)
        _syscall("landlock_restrict_self", ruleset, 0)
    finally:
        os.close(ruleset)
