"""The few kernel calls that Python does not wrap, through ctypes; each raises OSError."""

import ctypes
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracecraft.verify.syscalls import NR

__all__ = [
    "MS_BIND",
    "MS_NODEV",
    "MS_NOSUID",
    "MS_PRIVATE",
    "MS_RDONLY",
    "MS_REC",
    "MS_REMOUNT",
    "Prepared",
    "PreparedFilter",
    "fork",
    "landlock",
    "landlock_version",
    "mount",
    "pivot_root",
    "prctl",
    "prepared_drop",
    "prepared_prctl",
    "readonly",
    "unmount",
    "unshare",
]

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
_MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 4, 24, 38

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
_fork = ctypes.PyDLL(None).fork


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


class Prepared:
    """A call whose arguments are converted already.

    A forked process pays for every page that it is the first to write to, and converting
    arguments writes to many.
    """

    def __init__(self, function: Callable[..., int], what: str, *arguments: Any) -> None:
        self._function, self._what, self._arguments = function, what, arguments

    def __call__(self) -> int:
        return _checked(self._function(*self._arguments), self._what)


def prepared_prctl(option: int, *args: int) -> Prepared:
    """`prctl(2)`, to be called later."""
    padded = [ctypes.c_ulong(a) for a in (*args, 0, 0, 0, 0)][:4]
    return Prepared(_libc.prctl, f"prctl {option}", ctypes.c_int(option), *padded)


def prctl(option: int, *args: int) -> int:
    """`prctl(2)`."""
    return prepared_prctl(option, *args)()


def fork() -> int:
    """`fork(3)` of the C library, without what Python does in the child beside it.

    For a process with one thread that costs nothing but the new seed of `random`, and saves half
    of what a fork takes.
    """
    return _checked(_fork(), "fork")


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


def readonly(target: Path) -> None:
    """Make a mount and all below it read-only, without devices and set-uid."""
    attributes = struct.pack("QQQQ", 1 | 2 | 4, 0, 0, 0)  # RDONLY NOSUID NODEV of mount_setattr(2)
    at_fdcwd, at_recursive = -100, 0x8000
    _syscall("mount_setattr", at_fdcwd, bytes(target), at_recursive, attributes, len(attributes))


def pivot_root(new: Path, old: Path) -> None:
    """`pivot_root(2)`."""
    _syscall("pivot_root", bytes(new), bytes(old))


def prepared_drop() -> Prepared:
    """Give up every capability of the process that calls it, for good."""
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3
    return Prepared(_libc.syscall, "capset", ctypes.c_long(NR["capset"]), header, bytes(24))


class PreparedFilter:
    """A seccomp filter made of `struct sock_filter`s, to be installed later.

    Args:
        program: the filter.
        own: four bytes in it that stand for the number of the process that installs it.
    """

    def __init__(self, program: bytes, own: bytes) -> None:
        self._places = [i for i in range(len(program)) if program.startswith(own, i)]
        self._program = bytearray(program)
        self._held = (ctypes.c_char * len(program)).from_buffer(self._program)
        fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(self._held))
        filtered = 1  # SECCOMP_SET_MODE_FILTER
        words = (ctypes.c_long(word) for word in (NR["seccomp"], filtered, 0))
        self._call = Prepared(_libc.syscall, "seccomp", *words, fprog)

    def install(self) -> None:
        """Filter this process's calls from here on; needs no_new_privs."""
        own = os.getpid().to_bytes(4, "little")
        for place in self._places:
            self._program[place : place + 4] = own
        self._call()


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
