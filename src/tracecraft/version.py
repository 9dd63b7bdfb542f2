"""Which code made an output, and where."""

import os
import subprocess
import time
from functools import cache
from pathlib import Path

__version__ = "0.1.0"


@cache
def git_revision() -> str:
    """The commit this code was checked out from, `-dirty` where files differ; empty elsewhere."""
    here = Path(__file__).parent
    if not (here.parents[1] / ".git").exists():
        return ""
    try:
        told = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return told.stdout.strip()


def made_by() -> dict[str, str]:
    """Tracecraft's version and revision, the host, and the time in UTC."""
    return {
        "tracecraft": __version__,
        "git": git_revision(),
        "host": os.uname().nodename,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
