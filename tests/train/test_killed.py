"""Killed, out of space, or started by a launcher: a branch ends as if nothing had happened."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from classroom import backbone, dataset, talk, train

from tracecraft.errors import StoreError
from tracecraft.stage import Progress
from tracecraft.train.sft import last_whole

HERE = Path(__file__).parent
TRAIN = """
import sys
from pathlib import Path
from classroom import train
from tracecraft.errors import TracecraftError
data, student, out = sys.argv[1:]
trainer = {"use": "trl", "save_every": 2}
options = {"epochs": 6, "lr": 3e-3, "packing": "block", "trainer": trainer}
try:
    train(Path(data), Path(out), backbone=student, **options)
except TracecraftError as error:
    sys.exit(f"{type(error).__name__}: {error}")
"""
OPTIONS = {"epochs": 6, "lr": 3e-3, "packing": "block"}


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backbone(tmp_path_factory.mktemp("backbone") / "pico")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("data"), {"math": [talk(i) for i in range(60)]})


def training(data: Path, student: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", TRAIN, *map(str, (data, student, out))]
    environment = {**os.environ, "PYTHONPATH": str(HERE)}
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)


def checkpoints(out: Path) -> Path:
    return out.with_name(f"{out.name}-scratch") / "train/checkpoints"


def test_a_killed_branch_goes_on_and_ends_in_the_same_weights(data, student, tmp_path):
    out = tmp_path / "killed"
    process = training(data, student, out)
    try:
        deadline = time.monotonic() + 300
        while last_whole_quietly(out) is None:
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
    (checkpoints(out) / "checkpoint-99").mkdir()  # as a kill in the middle of saving leaves one
    assert not (out / "model.safetensors").exists()
    told = train(data, out, backbone=str(student), **OPTIONS)
    assert not (checkpoints(out) / "checkpoint-99").exists()
    begun = next(p.done for p in told if p.done)
    assert begun > 1, "it began anew"
    train(data, tmp_path / "whole", backbone=str(student), **OPTIONS)
    assert (out / "model.safetensors").read_bytes() == (
        tmp_path / "whole/model.safetensors"
    ).read_bytes()
    records = [json.loads((f / "branch.json").read_text()) for f in (out, tmp_path / "whole")]
    steps = [[one["loss"] for one in record["history"]] for record in records]
    assert steps[0] == steps[1]


def last_whole_quietly(out: Path) -> Path | None:
    """A checkpoint that is whole; unlike `last_whole` it removes nothing."""
    found = sorted(checkpoints(out).glob("checkpoint-*/branch.json"))
    return found[-1].parent if found else None


def test_a_disk_that_fills_up_is_said_and_training_goes_on_when_there_is_room(
    data, student, tmp_path
):
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted by root")

    def fill(progress: Progress) -> None:
        if progress.done == 5:
            with contextlib.suppress(OSError), (place / "filler").open("wb") as file:
                file.write(bytes(8 << 20))

    options = {**OPTIONS, "trainer": {"use": "trl", "save_every": 2}}
    try:
        with pytest.raises(StoreError, match="the disk is full; checkpoint-4 is kept"):
            train(data, place / "out", fill, backbone=str(student), **options)
        (place / "filler").unlink()
        told = train(data, place / "out", backbone=str(student), **options)
        assert next(p.done for p in told if p.done) == 5
        assert (place / "out/model.safetensors").exists()
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_too_little_room_is_seen_before_the_first_step(data, student, tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted by root")
    try:
        with pytest.raises(StoreError, match=r"training takes 0\.0 GB there, 0\.0 GB are free"):
            train(data, place / "out", backbone=str(student), **OPTIONS)
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_only_whole_checkpoints_are_resumed_from(tmp_path):
    for step, whole in ((2, True), (10, True), (12, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if whole:
            (tmp_path / f"checkpoint-{step}/branch.json").touch()
    assert last_whole(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-12").exists()
    assert last_whole(tmp_path / "none") is None


@pytest.mark.slow
def test_two_processes_of_a_launcher_train_the_same_branch(data, student, tmp_path):
    words = ["torchrun", "--nproc_per_node", "2"]
    train(data, tmp_path / "one", backbone=str(student), **OPTIONS)
    told = train(
        data,
        tmp_path / "two",
        backbone=str(student),
        trainer={"use": "trl", "launch": words},
        **OPTIONS,
    )
    assert told[-1].done == told[-1].total
    records = [json.loads((tmp_path / f / "branch.json").read_text()) for f in ("one", "two")]
    losses = [[one["loss"] for one in record["history"]] for record in records]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
