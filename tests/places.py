"""Where tests find the project, and the real data that development may have beside it."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
Tracecraft = Callable[..., "subprocess.CompletedProcess[str]"]
"""The command line as a fixture: arguments in, what the process did out."""


def shared_data(name: str) -> Path:
    """A file or folder of the real data."""
    path = Path(os.environ.get("TRACECRAFT_DATA", ROOT.parent / "shared/data")) / name
    if not path.exists():
        pytest.skip(f"real data {name} is not on this machine (set TRACECRAFT_DATA to its folder)")
    return path
