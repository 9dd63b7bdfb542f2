import os
import signal
import subprocess
import sys
import time

import pytest
from processes import descendants, gone

from tracecraft.distill.child import Child, advice, environment, gpu_groups, log_folder
from tracecraft.errors import EngineError

FAMILY = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("begun", flush=True)
time.sleep(600)
"""
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FAMILY
PARENT = """
import os, sys, time
from pathlib import Path
from tracecraft.distill.child import Child
Child([sys.executable, "-c", sys.argv[2]], Path(sys.argv[1]), os.environ)
time.sleep(600)
"""


def begun(log) -> None:
    while not (log.exists() and b"begun" in log.read_bytes()):
        time.sleep(0.02)


@pytest.fixture
def log(tmp_path):
    return tmp_path / "child.log"


@pytest.mark.parametrize("program", [FAMILY, STUBBORN], ids=["family", "stubborn"])
def test_a_child_ends_with_all_that_it_started(log, program):
    child = Child([sys.executable, "-c", program], log, os.environ)
    begun(log)
    family = descendants(child.process.pid)
    assert len(family) == 2
    child.stop()
    assert gone(family)
    assert not child.alive


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_ends_when_its_parent_is_killed(log, end):
    with subprocess.Popen([sys.executable, "-c", PARENT, str(log), FAMILY]) as parent:
        begun(log)
        family = descendants(parent.pid)
        assert len(family) == 3, "the guard, the child and what it started"
        parent.send_signal(end)
    assert gone(family)


def test_what_a_child_started_goes_when_the_child_is_killed(log):
    child = Child([sys.executable, "-c", FAMILY], log, os.environ)
    begun(log)
    family = descendants(child.process.pid)
    (leader,) = descendants(child.process.pid).keys() - descendants(next(iter(family))).keys()
    os.kill(leader, signal.SIGKILL)
    assert gone(family)
    child.process.wait()
    assert child.end() == "was ended by SIGKILL"


def test_the_last_words_of_a_child_are_kept(log):
    words = "import sys\nfor i in range(50): print('line', i)\nsys.exit('that was it')"
    child = Child([sys.executable, "-c", words], log, os.environ)
    child.process.wait()
    assert child.end() == "ended with exit code 1"
    lines = child.tail().splitlines()
    assert lines[0].endswith("child.log")
    assert len(lines) == 9
    assert lines[-1].endswith("that was it")


def test_a_child_that_ran_out_of_memory_is_known_by_its_words(log):
    for words, ran_out in (("CUDA out of memory. Tried", True), ("shape mismatch", False)):
        child = Child([sys.executable, "-c", f"raise RuntimeError('{words}')"], log, os.environ)
        child.process.wait()
        assert child.ran_out_of_memory() is ran_out


@pytest.mark.parametrize(
    ("said", "cause", "next_"),
    [
        (
            "Traceback (most recent call last):\n  File 'a.py', line 1\n"
            "RuntimeError: Unsupported CPU attention configuration: head_dim=16",
            "RuntimeError: Unsupported CPU attention configuration: head_dim=16",
            "take `engine: {use: transformers}`",
        ),
        (
            "(EngineCore pid=7) ERROR 11-24 12:53:59 [core.py:10] torch.OutOfMemoryError: CUDA out"
            " of memory. Tried\n(APIServer pid=1) ERROR 11-24 12:53:59 [async_llm.py:906]"
            " vllm.v1.engine.exceptions.EngineDeadError: EngineCore encountered an issue.",
            "OutOfMemoryError: CUDA out of memory. Tried",
            "lower engine.max_num_seqs",
        ),
        (
            "(A pid=8) WARNING 11-24 12:53:18 [a.py:2] limits cause errors like `OSError: [24]`",
            "",
            "read the log above",
        ),
    ],
)
def test_the_cause_of_an_end_is_found_among_what_was_said(log, said, cause, next_):
    log.write_text("an earlier one\nValueError: of before\n")
    child = Child([sys.executable, "-c", f"print({said!r})"], log, os.environ)
    child.process.wait()
    assert child.cause() == cause
    assert next_ in advice(child.cause())


def test_logs_stay_after_trouble_alone(tmp_path):
    with log_folder(None) as calm:
        (calm / "log").touch()
    assert not calm.exists()
    with pytest.raises(KeyboardInterrupt), log_folder(None) as left:
        raise KeyboardInterrupt
    assert not left.exists()
    with pytest.raises(EngineError), log_folder(None) as troubled:
        raise EngineError
    assert troubled.exists()
    troubled.rmdir()
    with log_folder(tmp_path / "logs" / "here") as wanted:
        assert wanted.is_dir()
    assert wanted.exists()


@pytest.mark.parametrize(
    ("visible", "replicas", "size", "groups"),
    [
        ("0,1,2,3", 2, 2, ["0,1", "2,3"]),
        ("4,5,6,7", 0, 1, ["4", "5", "6", "7"]),
        ("0,1,2", 0, 2, [None]),
        ("GPU-a,GPU-b", 2, 1, ["GPU-a", "GPU-b"]),
        ("0,1", 1, 2, [None]),
        ("", 2, 1, [None, None]),
    ],
)
def test_each_replica_gets_gpus_of_its_own(monkeypatch, visible, replicas, size, groups):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_groups(replicas, size) == groups


def test_more_replicas_than_gpus_are_said(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with pytest.raises(EngineError, match="2 with 2 GPUs each are more than the 3 here"):
        gpu_groups(2, 2)


def test_replicas_without_gpus_share_the_cores(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert environment(None, 2)["OMP_NUM_THREADS"] == "4"
    assert "OMP_NUM_THREADS" not in environment(None, 1)
    assert environment("2,3", 2)["CUDA_VISIBLE_DEVICES"] == "2,3"
