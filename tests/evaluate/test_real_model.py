"""A real model through vLLM: killed in the middle, an evaluation goes on where it was."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from exam import write_benchmark


def answers(store: Path) -> int:
    """Completions on file."""
    files = (store / "completions").glob("*.jsonl")
    return sum(len(path.read_text().splitlines()) for path in files)


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_evaluation_asks_for_what_is_missing_alone(tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    write_benchmark(tmp_path, preset="chat", sampling={"max_tokens": 24})
    command = [sys.executable, "-m", "tracecraft", "eval", "embedded", "--on", "sums.yaml"]
    command += ["--set", "engine.max_num_seqs=4", "--set", "engine.max_model_len=512"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=tmp_path, **silent) as process:
        while answers(tmp_path / "runs") < 6 and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    paid = answers(tmp_path / "runs")
    assert 6 <= paid < 24
    done = subprocess.run(
        [*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert answers(tmp_path / "runs") == 24  # none was asked for twice
    last = json.loads(done.stdout.splitlines()[-1])
    (score,) = [row for row in last["scores"] if row["metric"] == "avg@4"]
    assert (score["problems"], score["samples"]) == (6, 4)
    assert last["answers"][0]["teacher"][0].startswith("SmolLM2-135M-Instruct")
