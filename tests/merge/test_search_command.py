"""`tracecraft merge --search`: real checkpoints, a recipe that asks them, a table of scores."""

import json
from pathlib import Path

import pytest
from pico import maker

ENGINE = '''
import hashlib
from pathlib import Path

from tracecraft import Completion, Engine


class Oracle(Engine, use="oracle"):
    """Answers right as often as the bytes of the model say; counts its calls beside it."""

    model: str
    """A checkpoint folder."""

    @property
    def teacher(self):
        return self.model

    def complete(self, prompts, sampling):
        weights = (Path(self.model) / "model.safetensors").read_bytes()
        with open("asked.txt", "a") as log:
            log.write(f"{Path(self.model).name}\\n")
        level = hashlib.sha256(weights).digest()[0] % 5
        right = [2 * int(prompt.split()[2]) for prompt in prompts]
        answers = [answer if i < level else 0 for i, answer in enumerate(right)]
        return [Completion(f"so \\\\boxed{{{answer}}}", "stop", 1, 1) for answer in answers]
'''
RECIPE = """
name: scoring
plugins: [oracle.py]
inputs:
  problems: {use: files, path: problems.jsonl, license: Apache-2.0, source: test}
stages:
  - {name: clean, use: normalize, from: problems, domain: math}
  - name: answers
    use: generate
    from: clean
    engine: {use: oracle, model: nothing}
    prompt: prompt.txt
    opening: ""
  - {name: judged, use: verify, from: answers, verifier: {use: math}}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "oracle.py").write_text(ENGINE)
    (tmp_path / "prompt.txt").write_text("{statement}")
    rows = [{"statement": f"What is {n} plus {n}?", "answer": str(2 * n)} for n in range(3, 8)]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "scoring.yaml").write_text(RECIPE)
    return tmp_path / "scoring.yaml"


def test_every_order_and_value_is_scored_once_and_kept(recipe, tracecraft, tmp_path):
    make = maker(tmp_path)
    folders = {name: make(name, seed, delta=1e-2) for seed, name in enumerate("ab", 1)}
    models = [part for name, root in folders.items() for part in ("--model", f"{name}={root}")]

    def search(*more):
        done = tracecraft(
            "merge", "--search", recipe, *models, "--out", tmp_path / "out", "--json", *more
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    found = search()
    assert len({row["order"] for row in found}) == len(found) == 2
    assert [row["score"] for row in found] == sorted((row["score"] for row in found), reverse=True)
    asked = (tmp_path / "asked.txt").read_text().splitlines()
    assert search() == found
    assert (tmp_path / "asked.txt").read_text().splitlines() == asked
    more = search("--method", "slerp", "--grid", "t=0.3,0.5")
    assert len(more) == 4
    assert {row["t"] for row in more} == {0.3, 0.5}
    assert len({row["score"] for row in [*found, *more]}) > 1
    recipe.write_text(RECIPE.replace("{use: math}", "{use: math, policy: strict}"))
    assert {row["order"] for row in search()} == {row["order"] for row in found}


def test_what_a_search_cannot_do_is_told_before_it_merges(recipe, tracecraft, tmp_path):
    make = maker(tmp_path)
    a, b = make("a", 1), make("b", 2)
    out = ("--out", tmp_path / "out")
    one = tracecraft("merge", "--search", recipe, "--model", a, *out, code=2)
    assert "at least twice" in one.stderr
    gone = tracecraft("merge", "--search", recipe, "--model", a, "--model", "x=no", *out, code=2)
    assert "no: no such folder" in gone.stderr
    pair = ("--model", a, "--model", b)
    grid = tracecraft("merge", "--search", recipe, *pair, *out, "--grid", "t", code=2)
    assert "option=value" in grid.stderr
    wrong = tracecraft("merge", "--search", recipe, *pair, *out, "--grid", "t=0.5", code=2)
    assert "ArceeFusion has no 't'" in wrong.stderr
    recipe.write_text(RECIPE.split("  - name: answers")[0])
    mute = tracecraft("merge", "--search", recipe, *pair, *out, code=2)
    assert "no stage has an engine with a `model`" in mute.stderr
    alone = tracecraft("merge", "--base", a, "--other", b, *pair, *out, code=2)
    assert "belong to --search" in alone.stderr
    assert not (tmp_path / "out").exists()
