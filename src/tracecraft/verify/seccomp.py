"""The system call filter as BPF, assembled by hand: an allow-list, everything else refused."""

import struct
from collections.abc import Iterable

from tracecraft.verify.kernel import FilterProgram
from tracecraft.verify.syscalls import (
    AUDIT_ARCH,
    CHECKED,
    COMPUTE,
    LAUNCH,
    PATHS,
    REFUSED_AS_UNKNOWN,
    SPAWN,
)

__all__ = ["filtering"]

# linux/bpf_common.h, linux/seccomp.h, linux/sched.h
_LOAD, _JUMP, _JEQ, _JGE, _JSET, _RET = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS = 1, 38
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020000
"""Every CLONE_NEW* flag that clone takes: namespaces."""

_PID = 0x5A5A7E57
"""Stands in the assembled filter for the process's own id, known only once it exists."""

_IOCTLS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
"""TCGETS, TIOCGWINSZ, FIONREAD, FIONBIO, FIONCLEX, FIOCLEX. Never TIOCSTI or FIOSETOWN."""
_FCNTLS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030)
"""Duplicate, flags, locks. Never F_SETOWN or F_SETSIG: they signal other processes."""
_PRCTLS = (15, 16, 0x53564D41)
"""PR_SET_NAME, PR_GET_NAME, PR_SET_VMA: names of threads and of mappings."""
_AF_UNIX = 1

_Code = list[tuple[int, int, int, int]]


def _argument(index: int, values: Iterable[int]) -> _Code:
    """Allow where the low half of the argument is one of the values, else EPERM."""
    code: _Code = [(_LOAD, 0, 0, 16 + 8 * index)]
    for value in values:
        code += [(_JEQ, 0, 1, value), (_RET, 0, 0, _ALLOW)]
    return [*code, (_RET, 0, 0, _ERRNO | _EPERM)]


def _clone(*, processes: bool) -> _Code:
    allow_thread = (_JSET, 0, 1, _CLONE_THREAD)
    code: _Code = [
        (_LOAD, 0, 0, 16),
        (_JSET, 0, 1, _CLONE_NEW),
        (_RET, 0, 0, _ERRNO | _EPERM),
    ]
    if not processes:
        code += [allow_thread, (_RET, 0, 0, _ALLOW), (_RET, 0, 0, _ERRNO | _EPERM)]
    else:
        code += [(_RET, 0, 0, _ALLOW)]
    return code


def filtering(*, paths: bool, launch: bool = False, spawn: bool = False) -> FilterProgram:
    """A filter, ready to be installed by any number of forked processes.

    A process that installs it is the only one that it may signal from there on.

    Args:
        paths: may rename, remove and change modes of files.
        launch: may exec.
        spawn: may also create processes and signal them.
    """
    if not AUDIT_ARCH:
        raise OSError(_ENOSYS, "no system call table for this machine")
    return FilterProgram(_assemble(paths=paths, launch=launch, spawn=spawn), _PID)


def _assemble(*, paths: bool, launch: bool, spawn: bool) -> bytes:
    start: _Code = [
        (_LOAD, 0, 0, 4),
        (_JEQ, 1, 0, AUDIT_ARCH),
        (_RET, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
        (_JGE, 0, 1, _X32_BIT),
        (_RET, 0, 0, _KILL),
    ]
    plain = {**COMPUTE, **(PATHS if paths else {}), **(LAUNCH if launch or spawn else {})}
    blocks = {
        "ioctl": _argument(1, _IOCTLS),
        "fcntl": _argument(1, _FCNTLS),
        "prctl": _argument(0, _PRCTLS),
        "prlimit64": _argument(0, (0, _PID)),
        "socketpair": _argument(0, (_AF_UNIX,)),
        "clone": _clone(processes=spawn),
    }
    if spawn:
        plain |= SPAWN | {name: CHECKED[name] for name in ("kill", "tkill", "tgkill")}
    else:
        blocks |= {name: _argument(0, (_PID,)) for name in ("kill", "tkill", "tgkill")}
    decisions: dict[int, _Code] = {number: [(_RET, 0, 0, _ALLOW)] for number in plain.values()}
    unknown: _Code = [(_RET, 0, 0, _ERRNO | _ENOSYS)]
    decisions |= dict.fromkeys(REFUSED_AS_UNKNOWN.values(), unknown)
    decisions |= {CHECKED[name]: block for name, block in blocks.items()}
    return b"".join(struct.pack("<HBBI", *line) for line in start + _search(_ranges(decisions)))


def _ranges(decisions: dict[int, _Code]) -> list[tuple[int, _Code]]:
    """First number of each run of numbers that are decided alike; what is not named is refused."""
    refused: _Code = [(_RET, 0, 0, _ERRNO | _EPERM)]
    found: list[tuple[int, _Code]] = [(0, refused)]
    for number in range(max(decisions) + 2):
        decision = decisions.get(number, refused)
        if decision != found[-1][1]:
            found.append((number, decision))
    return found


def _search(ranges: list[tuple[int, _Code]]) -> _Code:
    """Halve until one range is left: the kernel runs a filter for every number when it is
    installed, so a short way to each decision is what makes installing cheap.
    """
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    below, above = _search(ranges[:middle]), _search(ranges[middle:])
    if len(below) < 256:
        return [(_JGE, len(below), 0, ranges[middle][0]), *below, *above]
    return [(_JGE, 0, 1, ranges[middle][0]), (_JUMP, 0, 0, len(below)), *below, *above]
