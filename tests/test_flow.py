"""The smoke recipe as a whole: conservation, resumption, no-op second runs, kills."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import tracecraft as tc
from tracecraft.errors import RecipeError

RULES = "filters/math.yaml"


@pytest.fixture
def recipe(workshop: Path) -> Path:
    return workshop / "recipes/smoke.yaml"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def carried_out(recipe: Path, store: Path, *sets: str) -> tc.Run:
    return tc.run(tc.plan(tc.load_recipe(recipe, sets), store))


def files(store: Path) -> dict[str, tuple[int, int]]:
    """Every file with its time of change and its size."""
    return {
        str(path.relative_to(store)): (path.lstat().st_mtime_ns, path.lstat().st_size)
        for path in store.rglob("*")
        if not path.is_dir() or path.is_symlink()
    }


def completions(store: Path) -> list[dict[str, object]]:
    lines = [
        line
        for path in sorted((store / "completions").glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    return [json.loads(line) for line in lines]


def shards(run: tc.Run) -> dict[str, str]:
    return {
        f"{s.name}/{f}": told[1]
        for s in run.steps
        if s.kind != "job"
        for f, told in run.manifest(s.name).shards.items()
    }


def test_rows_are_conserved_and_every_drop_is_on_file_with_its_rule(recipe, store):
    run = carried_out(recipe, store)
    for step in run.steps:
        told = run.manifest(step.name)
        if step.kind == "stage" and step.use != "generate":
            assert told.rows_in == told.rows_out + sum(told.dropped.values()), step.name
        if step.kind == "stage":
            assert run.dropped(step.name).collect().height == sum(told.dropped.values())
    assert run.manifest("asked").dropped == {"figure": 1}
    assert run.manifest("unique").dropped == {"duplicate": 1}
    assert sum(run.manifest("kept").dropped.values()) == 3, "wrong, cut short, no answer"
    assert run.manifest("kept").dropped["wrong"] == 1
    assert run["examples"].rows == 4
    assert run["examples"].scan().collect()["messages"].list.len().to_list() == [2] * 4


def test_the_dataset_opens_in_datasets_polars_and_pyarrow(recipe, store, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    import datasets
    import pyarrow as pa

    run = carried_out(recipe, store)
    folder = run.output("dataset")
    assert datasets.load_from_disk(str(folder))["math"].num_rows == 4
    assert datasets.load_from_disk(str(folder / "math")).num_rows == 4
    file = next((folder / "math").glob("*.arrow"))
    assert pl.read_ipc_stream(file).height == 4
    with pa.memory_map(str(file)) as source:
        assert pa.ipc.open_stream(source).read_all().num_rows == 4


def test_a_second_run_touches_no_file(recipe, store):
    first = carried_out(recipe, store)
    before = files(store)
    again = carried_out(recipe, store)
    assert files(store) == before
    assert again.folder == first.folder


def test_a_deleted_shard_is_remade_alone_and_with_the_same_bytes(recipe, store):
    run = carried_out(recipe, store)
    lost = run.step("judged").home / "shards/math/00000.arrow"
    content, before = lost.read_bytes(), files(store / "store")
    lost.unlink()
    plan = tc.plan(tc.load_recipe(recipe), store)
    assert [s.spec.name for s in plan.steps if s.state != "cached"] == ["judged"]
    tc.run(plan)
    assert lost.read_bytes() == content
    changed = {
        name.split("/")[0]
        for name, told in files(store / "store").items()
        if before.get(name) != told
    }
    assert changed == {run.step("judged").home.name}


def test_the_same_recipe_gives_the_same_bytes_in_another_store(recipe, tmp_path):
    one = carried_out(recipe, tmp_path / "one")
    two = carried_out(recipe, tmp_path / "two")
    assert shards(one) == shards(two)
    left, right = one.output("dataset"), two.output("dataset")
    for file in sorted(p.relative_to(left) for p in left.rglob("*") if p.is_file()):
        assert (left / file).read_bytes() == (right / file).read_bytes(), file


def test_a_changed_rule_runs_the_filter_again_and_not_the_verifier(recipe, store):
    carried_out(recipe, store)
    rules = recipe.parents[1] / RULES
    rules.write_text(
        rules.read_text()
        .replace("drop: wrong", "drop: mistaken")
        .replace("expect: wrong", "expect: mistaken")
    )
    plan = tc.plan(tc.load_recipe(recipe), store)
    owed = [s.spec.name for s in plan.steps if s.state != "cached"]
    assert owed == ["kept", "examples", "dataset"]


def test_what_was_answered_is_never_asked_again(recipe, store):
    carried_out(recipe, store, "stages.traces.samples=1")
    assert len(completions(store)) == 4
    carried_out(recipe, store)
    assert len(completions(store)) == 8, "the second sample alone is asked for"
    problems = recipe.parent / "problems/smoke.jsonl"
    lines = problems.read_text().splitlines()
    problems.write_text("\n".join(reversed(lines)) + "\n")
    carried_out(recipe, store)
    assert len(completions(store)) == 8, "another order asks for nothing"
    carried_out(recipe, store, "stages.kept.rules=../filters/problems.yaml")
    assert len(completions(store)) == 8, "a later stage asks for nothing"
    carried_out(recipe, store, "stages.traces.sampling.temperature=0.9")
    assert len(completions(store)) == 16, "other sampling asks anew"


def start(recipe: Path, store: Path, *sets: str) -> "subprocess.Popen[bytes]":
    flags = [word for one in sets for word in ("--set", one)]
    command = [sys.executable, "-m", "tracecraft", "run", recipe, "--store", store, *flags]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def waited(store: Path, count: int) -> None:
    for _ in range(600):
        if len(completions_so_far(store)) >= count:
            return
        time.sleep(0.05)
    pytest.fail("the teacher never answered")


def completions_so_far(store: Path) -> list[str]:
    return [
        line
        for path in sorted((store / "completions").glob("*.jsonl"))
        for line in path.read_text().splitlines()
        if line.endswith("}")
    ]


def test_a_kill_in_mid_generation_loses_only_what_was_in_flight(recipe, store):
    slow = "stages.traces.engine.seconds=0.3"
    process = start(recipe, store, slow)
    waited(store, 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    held = {json.loads(line)["key"] for line in completions_so_far(store)}
    assert 3 <= len(held) < 8
    run = carried_out(recipe, store)
    keys = [told["key"] for told in completions(store)]
    assert len(keys) == len(set(keys)) == 8, "nothing was asked twice"
    assert held <= set(keys)
    assert run["traces"].rows == 8


def test_two_processes_on_one_store_share_the_work(recipe, store):
    slow = "stages.traces.engine.seconds=0.2"
    pair = [start(recipe, store, slow), start(recipe, store, slow)]
    assert [process.wait(timeout=120) for process in pair] == [0, 0]
    keys = [told["key"] for told in completions(store)]
    assert len(keys) == len(set(keys)) == 8
    assert carried_out(recipe, store)["examples"].rows == 4


def test_ctrl_c_exits_130_and_keeps_what_is_done(recipe, store):
    process = start(recipe, store, "stages.traces.engine.seconds=0.5")
    waited(store, 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert completions_so_far(store)


def test_nothing_kept_is_a_clear_message_and_not_a_crash(recipe, store, tracecraft):
    answers = recipe.parent / "problems/smoke-answers.yaml"
    answers.write_text(
        answers.read_text()
        .replace("boxed{42}", "boxed{1}")
        .replace("boxed{7}", "boxed{1}")
        .replace("boxed{0.5}", "boxed{9}")
    )
    done = tracecraft("run", recipe, "--store", store)
    assert "nothing" in done.stderr
    assert "wrong" in done.stderr


def test_why_tells_a_whole_life(recipe, store, tracecraft):
    run = carried_out(recipe, store)
    gone = run.dropped("kept").collect().row(0, named=True)
    done = tracecraft("why", gone["trace_id"], "--store", store, "--json")
    life = json.loads(done.stdout)
    assert [event["stage"] for event in life] == ["traces", "judged", "kept"]
    assert life[-1]["fate"] == gone["dropped"]
    problem = tracecraft("why", gone["problem_id"], "--store", store, "--json")
    assert {"clean", "asked", "unique", "traces"} <= {
        e["stage"] for e in json.loads(problem.stdout)
    }


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_full_disk_stops_the_stage_and_keeps_what_is_finished(recipe, tmp_path, tracecraft):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("this machine does not let us mount a small disk")
    try:
        done = tracecraft("run", recipe, "--store", disk / "runs", code=3)
        assert "No space left" in done.stderr
        assert "next" in done.stderr
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("wrong", "right", "says"),
    [
        ("use: dedupe", "use: dedup", "did you mean 'dedupe'"),
        ("verifier: {use: math, policy: strict}", "verifier: {use: maths}", "did you mean 'math'"),
        ("from: unique", "from: uniqe", "stages[3].from: nothing above is named 'uniqe'"),
        (
            "samples: 2",
            "sampling: {temprature: 1.0}",
            "stages[3].sampling.temprature: Sampling has",
        ),
        ("samples: 2", "samples: two", "stages[3].samples"),
        ("seed: 17", "seed: 17\nseed: 18", "smoke.yaml:4: not valid YAML: found duplicate key"),
        ("problems/smoke.jsonl", "problems/none.jsonl", "no file 'problems/none.jsonl'"),
        ("seed: 17", "sed: 17", "did you mean 'seed'"),
        ("name: clean,", "", "'name' is missing"),
    ],
)
def test_mistakes_are_told_where_they_are_before_anything_runs(recipe, store, wrong, right, says):
    recipe.write_text(recipe.read_text().replace(wrong, right, 1))
    with pytest.raises(RecipeError) as caught:
        tc.plan(tc.load_recipe(recipe), store)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(recipe))
    assert caught.value.exit_code == 2
    assert not store.exists()


def test_an_override_reaches_any_option_and_nothing_else(recipe):
    loaded = tc.load_recipe(recipe, ["stages.traces.sampling.max_tokens=64", "limit=2"])
    (traces,) = (s for s in loaded.steps if s.name == "traces")
    assert traces.part.sampling.max_tokens == 64
    assert loaded.steps[0].limit == 2
    for wrong in ("stages.trace.samples=3", "stags.traces.samples=3", "stages.traces.sampls=3"):
        with pytest.raises(RecipeError, match="did you mean"):
            tc.load_recipe(recipe, [wrong])


def test_a_runs_own_recipe_is_the_same_run(recipe, store):
    run = carried_out(recipe, store)
    again = tc.plan(tc.load_recipe(run.folder / "recipe.yaml"), store)
    assert {s.state for s in again.steps} == {"cached"}
    assert tc.run(again).folder == run.folder
