"""`tracecraft train`: one branch of a recipe, or what another program trains it from."""

import json
from pathlib import Path

import pytest

RECIPE = """
name: two
inputs:
  recorded: {use: traces, path: traces.jsonl, domain: math, teacher: a@1}
stages:
  - {name: examples, use: pick,  from: recorded}
  - {name: dataset,  use: write, from: examples}
  - {name: backbone, use: pico,  from: dataset, vocabulary: 300, hidden: 32}
branches:
  math: {examples: dataset, backbone: backbone, epochs: 2, batch: 4, context: 128, packing: block}
  code: {examples: dataset, backbone: backbone, domain: code}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    said = "<think>\nOne and %d.\n</think>\nIt is %d."
    rows = [{"problem": f"What is 1 + {n}?", "generations": [said % (n, n + 1)]} for n in range(8)]
    lines = [json.dumps(row) + "\n" for row in rows]
    (tmp_path / "traces.jsonl").write_text("".join(lines))
    path = tmp_path / "two.yaml"
    path.write_text(RECIPE)
    return path


def test_a_branch_that_is_not_there_is_said(recipe, tracecraft):
    done = tracecraft("train", recipe, "--branch", "maths", code=2)
    assert "no branch 'maths'; did you mean 'math'?" in done.stderr


def test_one_branch_is_trained_with_what_it_needs_and_once(recipe, tracecraft, tmp_path):
    tracecraft("train", recipe, "--branch", "math")
    made = sorted(folder.name.partition("-")[0] for folder in (tmp_path / "runs/store").iterdir())
    assert made == ["backbone", "dataset", "examples", "math", "recorded"]
    (found,) = (tmp_path / "runs/store").glob("math-*/output/model.safetensors")
    again = tracecraft("train", recipe, "--branch", "math")
    assert "every stage is cached" in again.stderr
    assert found.exists()


@pytest.mark.parametrize("program", ["llamafactory", "axolotl"])
def test_a_branch_is_written_for_another_program_and_not_trained(
    recipe, tracecraft, tmp_path, program
):
    tracecraft("train", recipe, "--branch", "math", "--export", program)
    (out,) = (tmp_path / "runs/store").glob("math-*/output")
    assert (out / "branch.yaml").exists()
    assert len((out / "branch.jsonl").read_text().splitlines()) == 8
    assert not (out / "model.safetensors").exists()
