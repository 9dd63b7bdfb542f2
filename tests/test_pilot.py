"""A pilot answers some problems and predicts all; what it paid for is on file."""

import json

import pytest

import tracecraft as tc
from tracecraft.distill.budget import Price
from tracecraft.errors import UsageError
from tracecraft.pilot import LEAST, pilot

RECIPE = """
name: many
inputs: {problems: {use: files, path: problems.jsonl, domain: math}}
stages:
  - {name: clean,  use: normalize, from: problems, domain: math}
  - name: traces
    use: generate
    from: clean
    engine: {use: replay, path: said.jsonl}
    samples: 2
  - {name: judged, use: verify, from: traces, verifier: {use: math}}
"""
WORDS = 100


@pytest.fixture
def recipe(tmp_path):
    """400 problems; the k-th is answered in 10 + k % 7 words, and every third one right."""
    with (
        (tmp_path / "problems.jsonl").open("w") as asked,
        (tmp_path / "said.jsonl").open("w") as said,
    ):
        for k in range(400):
            statement = f"How much is {k} and {k}, in all?"
            asked.write(json.dumps({"statement": statement, "answer": str(2 * k)}) + "\n")
            text = f"<think>\nhm\n</think>\n\\boxed{{{2 * k if k % 3 == 0 else 1}}}"
            answer = {"text": text, "completion_tokens": WORDS + k % 7, "prompt_tokens": 20}
            said.write(json.dumps({"statement": statement, "answers": [answer] * 2}) + "\n")
    (tmp_path / "many.yaml").write_text(RECIPE)
    return tmp_path / "many.yaml"


def plan(recipe):
    return tc.plan(tc.load_recipe(recipe), recipe.parent / "runs")


def test_a_pilot_of_everything_is_exact(recipe):
    (found,) = pilot(plan(recipe), 1.0, Price(prompt=1, output=2))
    words = 2 * sum(WORDS + k % 7 for k in range(400))
    assert (found.problems, found.asked) == (400, 400)
    assert found.output_tokens.value == pytest.approx(words)
    assert found.output_tokens.low == found.output_tokens.value == found.output_tokens.high
    assert found.prompt_tokens.value == 16_000
    assert found.usd.value == pytest.approx(0.016 + 2 * words / 1e6)
    assert found.pass_rate.value == found.solved == pytest.approx(134 / 400)


def test_a_small_pilot_holds_the_truth_in_its_interval_and_pays_in_advance(recipe):
    (found,) = pilot(plan(recipe), 0.1, Price())
    words = 2 * sum(WORDS + k % 7 for k in range(400))
    assert found.asked == 40
    assert found.output_tokens.low < words < found.output_tokens.high
    assert found.pass_rate.low < 1 / 3 < found.pass_rate.high
    assert found.usd is None
    done = tc.run(plan(recipe))
    assert done.manifest("traces").facts["on_file"] == 80
    assert done.manifest("traces").facts["answered"] == 720


def test_a_larger_pilot_asks_for_what_the_smaller_left(recipe):
    pilot(plan(recipe), 0.05, Price())
    before = sum(1 for _ in open_ledger(recipe))
    pilot(plan(recipe), 0.10, Price())
    assert (before, sum(1 for _ in open_ledger(recipe))) == (40, 80)


def open_ledger(recipe):
    for path in (recipe.parent / "runs/completions").glob("*.jsonl"):
        yield from path.read_text().splitlines()


def test_a_pilot_asks_a_few_problems_of_each_domain_at_the_least(recipe):
    (found,) = pilot(plan(recipe), 0.001, Price())
    assert found.asked == LEAST


def test_a_recipe_without_a_teacher_has_no_pilot(recipe):
    recipe.write_text(RECIPE[: RECIPE.index("  - name: traces")])
    with pytest.raises(UsageError, match="asks no teacher"):
        pilot(plan(recipe), 0.1, Price())
