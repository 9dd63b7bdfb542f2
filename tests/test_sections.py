"""Sections of a recipe: what they stand for, what they refuse, a model that a step makes."""

from pathlib import Path

import polars as pl
import pytest

import tracecraft as tc
from tracecraft import yaml
from tracecraft.errors import GateFailed, RecipeError, StageError
from tracecraft.history import Run

BASE = """
name: two
inputs:
  recorded: {use: traces, path: traces.jsonl, domain: math, teacher: a@1}
stages:
  - {name: examples, use: pick,  from: recorded}
  - {name: dataset,  use: write, from: examples}
  - {name: backbone, use: pico,  from: dataset, vocabulary: 300, heads: 2}
"""
SECTIONS = """
branches:
  math: {examples: dataset, backbone: backbone, domain: math, epochs: 2, context: 128}
  code: {examples: [dataset], backbone: backbone, domain: code, context: 128}
merge:
  - {name: student, into: code, other: math, mode: reference, dtype: float32}
"""
STAGES = """
  - {name: math, use: train, from: [dataset, backbone], domain: math, epochs: 2, context: 128}
  - {name: code, use: train, from: [dataset, backbone], domain: code, context: 128}
  - name: student
    use: merge
    from: [code, math]
    method: {use: arcee_fusion, mode: reference}
    dtype: float32
"""
ASKED = """
  - name: asked
    use: generate
    from: [recorded, %s]
    engine: {use: transformers, model: %s}
    sampling: {max_tokens: 4}
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    row = (
        '{"problem": "What is %d and %d?", "generations": ["<think>\\nOne.\\n</think>\\nIt is 7."]}'
    )
    (tmp_path / "traces.jsonl").write_text("\n".join(row % (n, n) for n in range(8)) + "\n")
    return tmp_path


def recipe(home: Path, text: str, *sets: str) -> tc.Recipe:
    path = home / "two.yaml"
    path.write_text(text)
    return tc.load_recipe(path, sets)


def keys(home: Path, text: str, *sets: str) -> dict[str, str]:
    steps = tc.plan(recipe(home, text, *sets), home / "runs").steps
    return {step.spec.name: step.key for step in steps}


def test_a_section_is_another_way_to_say_its_stages(home):
    assert keys(home, BASE + SECTIONS) == keys(home, BASE + STAGES)


def test_the_resolved_recipe_runs_again_as_the_same(home):
    told = recipe(home, BASE + SECTIONS)
    again = keys(home, yaml.dump(told.resolved))
    assert again == keys(home, BASE + SECTIONS)


def test_an_override_reaches_a_branch_and_a_merge_by_name(home):
    before = keys(home, BASE + SECTIONS)
    longer = keys(home, BASE + SECTIONS, "branches.math.epochs=3")
    other = keys(home, BASE + SECTIONS, "merge.student.dtype=bfloat16")
    assert {n for n in before if before[n] != longer[n]} == {"math", "student"}
    assert {n for n in before if before[n] != other[n]} == {"student"}


def test_a_plan_may_end_with_a_section(home):
    plan = tc.plan(recipe(home, BASE + ASKED % ("backbone", "step") + SECTIONS), home / "runs")
    assert [step.spec.name for step in plan.until("branches").steps][-3:] == [
        "backbone",
        "math",
        "code",
    ]
    assert "asked" not in {step.spec.name for step in plan.until("merge").steps}


EVALUATED = """
  - {name: other,    use: pico,  from: dataset, vocabulary: 300, heads: 2, seed: 5}
merge:
  - {name: student, into: backbone, other: other}
evaluate:
  - {benchmark: sums.yaml, samples: 2, sampling: {max_tokens: 4}, engine: {use: transformers}}
gates:
  - {metric: sums.avg@2, at_least: 0.5}
"""
SUMS = """
name: sums
title: Sums
domain: math
samples: 2
source: {use: files, path: sums.jsonl}
verifier: {use: math}
"""


def test_an_evaluation_asks_the_models_and_its_gates_tell_how_it_went(home):
    (home / "sums.yaml").write_text(SUMS)
    row = '{"statement": "What is %d and 1?", "answer": "%d"}'
    (home / "sums.jsonl").write_text("\n".join(row % (n, n + 1) for n in range(4)) + "\n")
    made = recipe(home, BASE + EVALUATED)
    assert made.sections["evaluate"][-2:] == ("scores", "gates")
    store = home / "runs"
    with pytest.raises(GateFailed, match=r"sums\.avg@2 at least 0\.5"):
        tc.run(tc.plan(made, store))
    (run,) = Run.all(store)
    scores = pl.read_parquet(run.output("scores") / "scores.parquet")
    assert set(scores["model"]) == {"student"}
    assert scores.filter(pl.col("metric") == "avg@2")["problems"].to_list() == [4]


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("branches: [math]", "branches: must be a mapping"),
        ("branches: {math: {backbone: backbone}}", "branches.math: `examples` is missing"),
        ("branches: {math: {examples: datasets}}", "did you mean 'dataset'"),
        ("branches: {math: {examples: dataset, epoch: 2}}", "Train has no 'epoch'"),
        ("branches: {math: {examples: dataset, use: train}}", "branches.math.use"),
        ("merge: [{name: a, into: math, other: code}]", "nothing above is named 'math'"),
        ("merge: [{name: a, into: b}]", "merge.0.other: is missing"),
        ("branch: {}", "did you mean 'branches'"),
        ("evaluate: [{benchmark: aime24}]", "there is no model to evaluate"),
        ("gates: [{metric: aime24.avg@16, at_least: 0.7}]", "there is no `evaluate:`"),
        ("publish: {repo: one/two, data: [datasets]}", "did you mean 'dataset'"),
        ("publish: {repo: one/two}", "says neither `data` nor `models`"),
    ],
)
def test_a_wrong_section_says_where_and_what(home, section, said):
    with pytest.raises(RecipeError, match=r"two\.yaml") as raised:
        recipe(home, BASE + section + "\n")
    assert said in str(raised.value)


def test_a_teacher_may_be_the_model_that_a_step_makes(home):
    run = tc.run(tc.plan(recipe(home, BASE + ASKED % ("backbone", "step")), home / "runs"))
    asked = run["asked"].scan().collect()
    assert asked.height == 8
    assert asked["completion_tokens"].min() > 0
    (teacher,) = asked["teacher"].unique()
    assert teacher.startswith("backbone@")


@pytest.mark.parametrize(
    ("source", "model", "said"),
    [
        ("dataset", "step", None),
        ("backbone", "embedded", "takes tables alone; of jobs it names: backbone"),
        ("examples", "step", "takes one step that makes a model; of jobs it names: none"),
    ],
)
def test_a_teacher_takes_just_the_model_it_names(home, source, model, said):
    if said is None:
        plan = tc.plan(recipe(home, BASE + ASKED % (source, model)), home / "runs")
        with pytest.raises(StageError, match=r"dataset-\w+ made no model"):
            tc.run(plan)
    else:
        with pytest.raises(RecipeError, match=said):
            recipe(home, BASE + ASKED % (source, model))
