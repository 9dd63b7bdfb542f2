"""What is left of a merge that was killed, or that the disk refused: all that it had written."""

import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pico import Make, a_nan, contents, edited, maker, merging

from tracecraft.errors import DataError, StoreError
from tracecraft.merge import merge_pair


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return maker(tmp_path)


def at_most(size: int) -> Callable[[], None]:
    """Run in a new process: no file of it grows beyond."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.fixture
def large(make) -> tuple[Path, Path]:
    """Two checkpoints of 96 tensors more, so that a merge takes long enough to be killed."""
    base, other = make("base"), make("other", 1)
    for root, seed in ((base, 1), (other, 2)):
        rng, common = np.random.default_rng(seed), np.random.default_rng(0)
        more = {
            f"more.{i}": sum(
                scale * draw.standard_normal((128, 1024), np.float32)
                for scale, draw in ((1, common), (1e-3, rng))
            ).astype(np.float32)
            for i in range(96)
        }
        edited(root, "model.safetensors", lambda w, m=more: w.update(m))
        edited(
            root,
            "model.safetensors",
            lambda w: w.update({k: v.astype(np.float32) for k, v in w.items()}),
        )
    return base, other


def test_a_killed_merge_goes_on_to_the_same_bytes(large, tmp_path):
    merge_pair(*large, tmp_path / "whole")
    journal = tmp_path / "out/.merge.journal"
    process = merging(*large, tmp_path / "out")
    try:
        while process.poll() is None:
            if journal.exists() and journal.read_bytes().count(b"\n") > 8:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.0005)
    finally:
        process.kill()
        process.communicate()
    done = journal.read_bytes().count(b"\n") - 1
    assert 8 <= done < 117
    assert not (tmp_path / "out/model.safetensors").exists()
    with journal.open("ab") as file:
        file.write(b'{"tensor": "torn')
    told = []
    merge_pair(*large, tmp_path / "out", told=lambda done, total: told.append(done))
    assert len(told) == 117 - done
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_merge_stopped_while_files_take_their_names_goes_on(make, tmp_path):
    base, other = make("base", shards=2), make("other", 1, shards=2)
    (base / "modeling.py").write_bytes(b"#" * (1 << 20))  # the shards fit into the limit, it not
    process = merging(base, other, tmp_path / "out", preexec_fn=at_most(500_000))
    assert "File too large" in process.communicate()[1]
    first = tmp_path / "out/model-00001-of-00002.safetensors"
    first.with_name(f"{first.name}.partial").rename(first)
    merge_pair(base, other, tmp_path / "out")
    merge_pair(base, other, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_what_was_written_before_the_machine_went_down_is_written_again(
    make, tmp_path, monkeypatch
):
    base, other = make("base"), make("other", 1)
    merge_pair(base, other, tmp_path / "whole")
    edited(other, "model.safetensors", a_nan)
    with pytest.raises(DataError):
        merge_pair(base, other, tmp_path / "out")
    boot = tmp_path / "boot"
    boot.write_text("another start")
    monkeypatch.setattr("tracecraft.merge.journal.BOOT", boot)
    told = []
    with pytest.raises(DataError):
        merge_pair(base, other, tmp_path / "out", told=lambda done, total: told.append(done))
    assert told[0] < 20_000


def test_two_processes_do_not_merge_into_one_folder(make, tmp_path):
    from tracecraft.merge.journal import Journal

    base, other = make("base"), make("other", 1)
    with Journal(tmp_path / "out", "held"), pytest.raises(StoreError, match="another process"):
        merge_pair(base, other, tmp_path / "out")


def test_a_limit_of_the_disk_stops_a_real_process_and_loses_nothing(large, tmp_path):
    process = merging(*large, tmp_path / "out", preexec_fn=at_most(1 << 20))
    _, errors = process.communicate()
    assert process.returncode == 1
    assert errors.startswith("StoreError")
    assert "model.safetensors.partial: cannot be written: File too large" in errors
    merge_pair(*large, tmp_path / "out")
    merge_pair(*large, tmp_path / "whole")
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_full_disk_is_seen_before_a_byte_is_written(large, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk takes root")
    try:
        process = merging(*large, place / "out")
        _, errors = process.communicate()
        assert errors.startswith("DataError")
        assert "the result takes 0.05 GB, 0.02 GB are free there" in errors
        assert not list(place.iterdir())
    finally:
        subprocess.run(["umount", str(place)], check=True)
