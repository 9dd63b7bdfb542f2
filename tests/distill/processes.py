"""Which processes a process has started, and whether they are gone."""

import time
from pathlib import Path


def descendants(root: int) -> dict[int, str]:
    """Every process under a process, with its command line."""
    parents, commands = _running()
    found, fresh = {}, {root}
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh}
        found |= {pid: commands[pid] for pid in fresh}
    return found


def guarded(root: int) -> set[int]:
    """The processes that guards under a process have started."""
    guards = {pid for pid, command in descendants(root).items() if "guard.py" in command}
    return {pid for pid, parent in _running()[0].items() if parent in guards}


def _running() -> tuple[dict[int, int], dict[int, str]]:
    parents, commands = {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text()
                words = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            pid = int(folder.name)
            state, parent = stat.rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[pid], commands[pid] = int(parent), words
    return parents, commands


def gone(pids, seconds: float = 15.0) -> bool:
    """Whether all are gone, or soon are."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(_alive(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
