import json
from pathlib import Path

import polars as pl
import pytest


@pytest.fixture
def pushed(hub, smoke_runs, tracecraft):
    tracecraft("push", "latest/dataset", "--repo", "org/set", "--store", smoke_runs)
    return hub


def test_a_downloaded_dataset_gives_its_verdicts_again(pushed, tracecraft):
    told = json.loads(tracecraft("verify", "hub:org/set", "--json").stdout)
    assert told == {"command": "verify", "rows": 8, "compared": 8, "same": 8, "differ": []}


def test_where_a_verdict_is_another_is_said(pushed, smoke_runs, tmp_path, tracecraft):
    [raw] = (smoke_runs / "latest/dataset/raw/math").glob("*.arrow")
    rows = pl.read_ipc_stream(raw).with_columns(pl.col("outcome").cast(pl.String))
    first = rows["trace_id"][0]
    turned = pl.when(pl.col("trace_id") == first).then(pl.lit("failed")).otherwise("outcome")
    rows.with_columns(turned.alias("outcome")).write_parquet(tmp_path / "rows.parquet")
    done = tracecraft("verify", "rows.parquet", "--use", "math", code=1)
    assert "8 stored verdicts, 7 the same again" in done.stderr
    assert f"{first}  failed → " in done.stderr
    told = json.loads(tracecraft("verify", "rows.parquet", "--json", code=1).stdout)
    assert [one["row"] for one in told["differ"]] == [first]


def test_the_options_of_then_are_asked_again(pushed, tracecraft):
    done = tracecraft("verify", "hub:org/set", "--out", "judged.parquet")
    assert "8 in, 8 out" in done.stderr
    record = json.loads(pushed.text("dataset", "org/set", "tracecraft.json"))
    asked = [s["identity"]["verifier"] for s in record["steps"] if s["identity"]["use"] == "verify"]
    assert [one["policy"] for one in asked] == ["strict"]


def test_rows_without_verdicts_want_a_place_to_write_to(tmp_path: Path, tracecraft):
    (tmp_path / "rows.jsonl").write_text('{"answer": "1", "response": "1"}\n')
    assert "--out is missing" in tracecraft("verify", "rows.jsonl", code=2).stderr


@pytest.mark.parametrize("name", ["hub:org/none", "hub:org/set@0000000"])
def test_what_is_not_on_the_hub_is_said(name, pushed, tracecraft):
    done = tracecraft("verify", name, code=2)
    assert name in done.stderr
    assert "next" in done.stderr


def test_tests_go_along_so_that_programs_are_judged_again(hub, tmp_path, tracecraft):
    problem = {
        "statement": "Read n, print n + 1.",
        "answer": None,
        "tests": json.dumps({"inputs": ["1\n"], "outputs": ["2\n"]}),
        "license": "MIT",
        "source": "mine",
    }
    (tmp_path / "problems.jsonl").write_text(json.dumps(problem) + "\n")
    answers = ["<think>easy</think>```python\nprint(int(input()) + 1)\n```", "<think>no</think>2"]
    (tmp_path / "answers.yaml").write_text(json.dumps({problem["statement"]: answers}))
    (tmp_path / "recipe.yaml").write_text(
        """
name: code
inputs:
  problems: {use: files, path: problems.jsonl}
stages:
  - {name: clean, use: normalize, from: problems, domain: code}
  - name: traces
    use: generate
    from: clean
    engine: {use: replay, path: answers.yaml}
    samples: 2
  - {name: judged, use: verify, from: [traces, clean], verifier: {use: code}}
  - {name: kept, use: filter, from: judged, rules: all.yaml}
  - {name: examples, use: pick, from: kept}
  - {name: dataset, use: write, from: [examples, judged]}
"""
    )
    (tmp_path / "all.yaml").write_text(
        "name: all\nrules: [{drop: wrong, when: outcome <> 'correct', why: only right ones}]\n"
    )
    tracecraft("run", "recipe.yaml")
    tracecraft("push", "latest/dataset", "--repo", "org/code")
    assert "problems/train-00000-of-00001.parquet" in hub.repos["dataset", "org/code"].files
    told = json.loads(tracecraft("verify", "hub:org/code", "--json").stdout)
    assert (told["compared"], told["same"]) == (2, 2)


def test_who_judged_which_rows_is_told_where_several_did(hub, workshop, tmp_path):
    import tracecraft as tc
    from tracecraft.cli.again import groups
    from tracecraft.publish.card_facts import lineage
    from tracecraft.publish.hub import push, ready
    from tracecraft.publish.hub_bundle import Origin, dataset_bundle
    from tracecraft.publish.hub_stored import Stored

    recipe = workshop / "recipes/smoke.yaml"
    recipe.write_text(
        recipe.read_text()
        + "  - {name: mild, use: verify, from: traces, verifier: {use: math, policy: lenient}}\n"
        + "  - {name: other, use: write, from: [examples, mild]}\n"
    )
    run = tc.run(tc.plan(tc.load_recipe(recipe), tmp_path / "runs"))
    names = ("dataset", "other")
    origin = Origin(tuple(lineage(run.steps, names)), {}, names)
    ready("org/two", "dataset")
    homes = [run.output(name) for name in names]
    push(dataset_bundle("org/two", homes, tmp_path / "made", origin=origin))
    stored = Stored.at(Path("hub:org/two"))
    rows = pl.concat([pl.read_parquet(file) for file in stored.files])
    assert rows["judged_by"].to_list() == ["judged"] * 8 + ["mild"] * 8
    asked = groups(stored.verifiers, rows)
    assert [(one["policy"], mask.sum()) for one, mask in asked] == [("strict", 8), ("lenient", 8)]
