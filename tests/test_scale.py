"""Batches on a simulated Ray cluster: workers killed, a node removed, the driver killed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import tracecraft as tc
from tracecraft.errors import StageError, UsageError

ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = pytest.mark.slow

PROBLEMS = 2_600
RECIPE = """
name: many
inputs: {problems: {use: files, path: problems.jsonl, domain: math}}
stages:
  - {name: clean,  use: normalize, from: problems, domain: math}
  - {name: unique, use: dedupe, from: clean, threshold: 0.99}
  - name: traces
    use: generate
    from: unique
    engine: {use: replay, path: said.jsonl, seconds: SECONDS}
  - {name: judged, use: verify, from: traces, verifier: {use: math}, workers: 1}
"""
DRIVER = """
import sys
import tracecraft as tc
tc.run(tc.plan(tc.load_recipe(sys.argv[1]), sys.argv[2]), on="ray")
"""


@pytest.fixture(scope="module")
def nodes():
    """A head without workers, and two nodes."""
    made = cluster_utils.Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    for _ in range(2):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    before = os.environ.get("RAY_ADDRESS")
    os.environ["RAY_ADDRESS"] = made.address
    yield made
    os.environ.pop("RAY_ADDRESS") if before is None else os.environ.update(RAY_ADDRESS=before)
    with contextlib.suppress(Exception):
        ray.shutdown()
    made.shutdown()


def recipe(folder: Path, seconds: float) -> Path:
    with (folder / "problems.jsonl").open("w") as asked, (folder / "said.jsonl").open("w") as said:
        for k in range(PROBLEMS):
            statement = f"How much is {k} and {k}, in all?"
            asked.write(json.dumps({"statement": statement, "answer": str(2 * k)}) + "\n")
            answer = f"<think>\nhm\n</think>\n\\boxed{{{2 * k if k % 3 == 0 else 1}}}"
            said.write(json.dumps({"statement": statement, "answers": [answer]}) + "\n")
    path = folder / "many.yaml"
    path.write_text(RECIPE.replace("SECONDS", str(seconds)))
    return path


def asked(store: Path) -> Counter[str]:
    """How often each completion was put on file."""
    lines = [
        line
        for path in (store / "completions").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    return Counter(json.loads(line)["key"] for line in lines)


def workers(store: Path) -> list[int]:
    """Processes that work on a batch of the teacher's now."""
    claims = (store / "claims").glob("traces-*/*.claim")
    return [int(text.split()[1]) for text in map(Path.read_text, claims) if text]


def check(store: Path, path: Path) -> None:
    done = tc.run(tc.plan(tc.load_recipe(path), store))
    judged = done["judged"].scan().collect()
    assert judged.height == judged["problem_id"].n_unique() == PROBLEMS
    right = judged.filter(judged["outcome"] == "correct").height
    assert right == len(range(0, PROBLEMS, 3))
    times = asked(store)
    assert len(times) == PROBLEMS
    assert max(times.values()) == 1


@contextlib.contextmanager
def driver(path: Path, store: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", DRIVER, path, store]) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(store: Path, answers: int) -> None:
    for _ in range(600):
        if sum(asked(store).values()) >= answers:
            return
        time.sleep(0.1)
    raise AssertionError("the teacher was not asked")


def test_killed_workers_lose_nothing_and_ask_nothing_twice(nodes, tmp_path):
    path, store = recipe(tmp_path, 0.004), tmp_path / "runs"
    with driver(path, store) as running:
        for answers in (200, 900):
            wait_for(store, answers)
            for process in workers(store)[:1]:
                os.kill(process, signal.SIGKILL)
        assert running.wait(120) == 0
    check(store, path)


def test_a_node_that_leaves_and_a_driver_that_dies_change_nothing(nodes, tmp_path):
    path, store = recipe(tmp_path, 0.004), tmp_path / "runs"
    with driver(path, store):
        wait_for(store, 200)
        nodes.remove_node(next(iter(nodes.worker_nodes)), allow_graceful=False)
        wait_for(store, 700)
    assert sum(asked(store).values()) < PROBLEMS
    nodes.add_node(num_cpus=1)
    with driver(path, store) as again:
        assert again.wait(120) == 0
    check(store, path)


def test_what_stops_a_stage_is_told_as_anywhere_else(nodes, tmp_path):
    path = recipe(tmp_path, 0)
    text = path.read_text().replace("from: unique\n", "from: unique\n    budget: {tokens: 50}\n")
    path.write_text(text)
    with pytest.raises(StageError, match=r"the budget is spent: .* of 50 tokens"):
        tc.run(tc.plan(tc.load_recipe(path), tmp_path / "runs"), on="ray")


def test_a_cluster_that_is_none_is_refused(tmp_path):
    path = recipe(tmp_path, 0)
    with pytest.raises(UsageError, match=r"--on slurm: say ray, or ray://host:port"):
        tc.run(tc.plan(tc.load_recipe(path), tmp_path / "runs"), on="slurm")
