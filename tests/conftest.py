"""What every test may use."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from places import ROOT, Tracecraft


@pytest.fixture
def tracecraft(tmp_path: Path) -> Tracecraft:
    """The command line as a process of its own, in an empty folder; returns what it did."""

    def call(*arguments: object, code: int | None = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [sys.executable, "-m", "tracecraft", *map(str, arguments)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        if code is not None:
            assert done.returncode == code, f"exit {done.returncode}\n{done.stderr}\n{done.stdout}"
        return done

    return call


@pytest.fixture
def workshop(tmp_path: Path) -> Path:
    """A folder with the smoke recipe and its files, free to be changed."""
    place = tmp_path / "workshop"
    shutil.copytree(ROOT / "recipes", place / "recipes")
    shutil.copytree(ROOT / "filters", place / "filters")
    return place
