"""Runs a command and ends it, with all that it started, when whoever asked for it is gone.

Started as a script, `python -I guard.py PARENT_PID COMMAND…`, so it imports nothing of ours. It
polls for its parent, and does not rely on the kernel's signal at a parent's death, since that
comes when the *thread* ends that started it.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time

_POLL_SECONDS = 0.1
_GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> int:
    """The command's exit code; 128 and the signal where a signal ended it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    asked_to_stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked_to_stop.append(number))
    libc = ctypes.CDLL(None, use_errno=True)
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        close_fds=False,
        process_group=0,
        # Should the guard itself be killed. It has one thread, so the signal is right here.
        preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
    )
    while child.poll() is None and os.getppid() == parent and not asked_to_stop:
        time.sleep(_POLL_SECONDS)
    if child.poll() is None:
        _signal(child.pid, signal.SIGTERM)
        end = time.monotonic() + _GRACE_SECONDS
        while child.poll() is None and time.monotonic() < end:
            time.sleep(_POLL_SECONDS)
    _signal(child.pid, signal.SIGKILL)  # what is left of the group: it may outlive its leader
    code = child.wait()
    return 128 - code if code < 0 else code


def _signal(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
