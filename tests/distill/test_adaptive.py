"""Samples until enough are verified, truncated answers followed, budgets, an engine kept full."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import ClassVar

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tracecraft as tc
from tracecraft.completions import Completions
from tracecraft.distill.budget import Budget, Purse
from tracecraft.distill.engine import Completion, Engine
from tracecraft.distill.generate import Generate
from tracecraft.distill.samples import Adaptive
from tracecraft.errors import BudgetSpent, RecipeError
from tracecraft.schema import PROBLEM
from tracecraft.stage import Desk

JUDGE = {"use": "verify", "verifier": {"use": "to_the_letter"}, "workers": 1}


class ToTheLetter(tc.Verifier, use="to_the_letter"):
    """The response is the answer."""

    where: ClassVar = "thread"

    def judge(self, problem, response):
        return tc.Verdict("correct" if response.strip() == problem["answer"] else "incorrect")


class Stubborn(Engine, use="stubborn"):
    """A teacher whose problem `n` is solved by its samples n, n+1, …, two answers at a time."""

    room: int = 0
    """Words of an answer; 0 is no bound."""
    asked: ClassVar[list[tuple[str, int]]] = []
    held: ClassVar[list[int]] = []

    @property
    def teacher(self) -> str:
        return "stubborn@1"

    @contextmanager
    def open(self) -> Iterator["Stubborn"]:
        yield self

    def stream(self, requests):
        pending, flying = iter(requests), []
        while True:
            flying += islice(pending, 2 - len(flying))
            if not flying:
                return
            self.held.append(len(flying))
            request = flying.pop(0)
            self.asked.append((request.prompt, request.index))
            yield request, self.said(request)

    def said(self, request) -> Completion:
        statement, _, begun = request.prompt.partition("|")
        words = ["hm"] * 7 + ["</think>", "yes" if request.index >= int(statement) else "no"]
        words = words[len(begun.split()) :]
        most = request.sampling.max_tokens
        text = "".join(f" {word}" for word in words[:most])
        return Completion(text, "stop" if len(words) <= most else "length", 3, len(words[:most]))


@pytest.fixture(autouse=True)
def _nothing_was_asked():
    Stubborn.asked.clear()
    Stubborn.held.clear()


@pytest.fixture
def ledger(tmp_path):
    with Completions(tmp_path / "completions") as ledger:
        yield ledger


@pytest.fixture
def prompt(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("{statement}")
    return path


def problems(*needed: int) -> pl.LazyFrame:
    rows = [[f"p{i}", "math", "test", None, str(n), "yes"] for i, n in enumerate(needed)]
    return pl.LazyFrame(rows, schema=PROBLEM, orient="row")


def stage(prompt, **options) -> Generate:
    return Generate.bind(
        {"engine": {"use": "stubborn"}, "prompt": prompt, "opening": "|", **options}
    )


def adaptive(prompt, target: int, at_most: int, **options) -> Generate:
    samples = {"target": target, "at_most": at_most, "judge": JUDGE}
    return stage(prompt, samples=samples, **options)


def run(made: Generate, ledger: Completions, *shards: pl.LazyFrame) -> pl.DataFrame:
    with made.open(Desk(completions=ledger)) as ask:
        return pl.concat([ask(shard).collect() for shard in shards])


def samples(traces: pl.DataFrame) -> dict[str, int]:
    return dict(traces.group_by("problem_id", maintain_order=True).len().iter_rows())


def test_a_problem_is_sampled_until_one_trace_is_verified(ledger, prompt):
    traces = run(adaptive(prompt, 1, 8), ledger, problems(0, 2, 5, 100))
    assert samples(traces) == {"p0": 1, "p1": 3, "p2": 6, "p3": 8}
    assert traces["sample_index"].to_list() == [0, *range(3), *range(6), *range(8)]
    assert len(Stubborn.asked) == traces.height


def test_a_problem_that_cannot_reach_its_target_is_given_up(ledger, prompt):
    traces = run(adaptive(prompt, 3, 4), ledger, problems(0, 1, 2))
    assert samples(traces) == {"p0": 3, "p1": 4, "p2": 3}


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=6), st.integers(1, 4), st.integers(1, 8))
def test_samples_hang_on_verdicts_alone(tmp_path_factory, needed, target, at_most):
    prompt = tmp_path_factory.mktemp("prompt") / "prompt.txt"
    prompt.write_text("{statement}")
    rule = Adaptive.model_validate({"target": target, "at_most": at_most, "judge": JUDGE})

    def expected(n: int) -> int:
        asked = correct = 0
        while more := rule.wanted(asked, correct):
            correct += sum(index >= n for index in range(asked, asked + more))
            asked += more
        return asked

    traces = run(adaptive(prompt, target, at_most), Completions(), problems(*needed))
    assert traces.height == sum(map(expected, needed))


def test_fixed_and_adaptive_samples_share_their_completions(ledger, prompt):
    fixed = run(stage(prompt, samples=4), ledger, problems(0, 2))
    asked = len(Stubborn.asked)
    some = run(adaptive(prompt, 1, 4), ledger, problems(0, 2))
    assert len(Stubborn.asked) == asked == 8
    assert some.equals(fixed.filter(pl.col("trace_id").is_in(some["trace_id"].to_list())))


def test_a_recipe_s_verify_stage_is_who_judges(workshop):
    sets = ["stages.traces.samples={target: 1, at_most: 3}"]
    recipe = tc.load_recipe(workshop / "recipes/smoke.yaml", sets)
    steps = {step.name: step.part for step in recipe.steps}
    assert steps["traces"].samples.judge.verifier == steps["judged"].verifier
    text = (workshop / "recipes/smoke.yaml").read_text().replace("from: traces", "from: clean")
    lone = workshop / "recipes/lone.yaml"
    lone.write_text(text)
    with pytest.raises(RecipeError, match=r"traces\.samples\.judge: who verifies\?"):
        tc.load_recipe(lone, sets)


@pytest.mark.parametrize(
    ("policy", "finish", "tokens", "asked"),
    [
        ("keep", "length", 4, 1),
        ("retry", "length", 8, 2),
        ({"do": "retry", "max_tokens": 9}, "stop", 9, 2),
        ({"do": "retry", "times": 2}, "stop", 9, 3),
        ("continue", "length", 8, 2),
        ({"do": "continue", "times": 3}, "stop", 9, 3),
        ({"do": "continue", "max_tokens": 5}, "stop", 9, 2),
    ],
)
def test_a_truncated_answer_is_kept_retried_or_continued(
    ledger, prompt, policy, finish, tokens, asked
):
    options = {"on_truncation": policy, "sampling": {"max_tokens": 4}}
    traces = run(stage(prompt, **options), ledger, problems(0))
    assert traces["finish"].to_list() == [finish]
    assert traces["completion_tokens"].to_list() == [tokens]
    assert traces["prompt_tokens"].to_list() == [3]
    assert len(Stubborn.asked) == asked
    if finish == "stop":
        assert traces["response"].to_list() == ["yes"]
        assert traces["reasoning"].to_list() == [" ".join(["hm"] * 7)]
    again = run(stage(prompt, **options), ledger, problems(0))
    assert again.equals(traces)
    assert len(Stubborn.asked) == asked


def test_the_engine_stays_full_from_shard_to_shard(ledger, prompt):
    shards = [problems(0), problems(1, 2), problems(3)]
    made = stage(prompt, samples=3)
    with made.open(Desk(completions=ledger)) as ask:
        for i, shard in enumerate(shards):
            if i + 1 < len(shards):
                ask.expect(shards[i + 1])
            ask(shard).collect()
    assert Stubborn.held == [2] * 11 + [1]


def test_what_was_expected_and_never_came_is_on_file(ledger, prompt):
    made = stage(prompt)
    with made.open(Desk(completions=ledger)) as ask:
        ask.expect(problems(5))
        traces = ask(problems(0, 1)).collect()
    assert traces.height == 2
    run(made, ledger, problems(5))
    assert len(Stubborn.asked) == 3


def test_a_budget_of_tokens_stops_before_it_is_overrun(ledger, prompt):
    made = stage(prompt, samples=4, budget={"tokens": 100})
    with pytest.raises(BudgetSpent, match=r"of 100 tokens; \d+ completions are owed of 40"):
        run(made, ledger, problems(*range(10)))
    assert 100 <= 12 * len(Stubborn.asked) <= 124
    more = stage(prompt, samples=4, budget={"tokens": 2_000})
    assert more.identity() == stage(prompt, samples=4).identity()
    assert run(more, ledger, problems(*range(10))).height == 40
    assert len(Stubborn.asked) == 40


def test_a_budget_counts_what_earlier_attempts_spent(tmp_path):
    budget = Budget(gpu_hours=1e-4, gpus=8)
    first = Purse(budget, tmp_path, 1)
    with first.running():
        pass
    first.open_seconds = 0.04
    first._save()
    assert first.reached(0, 0) is None
    second = Purse(budget, tmp_path, 1)
    second.open_seconds = 0.02
    assert second.reached(0, 0) == "0.0001333 of 0.0001 GPU-hours"


def test_dollars_are_tokens_and_hours_at_their_price():
    budget = Budget.model_validate({"usd": 3, "price": {"prompt": 0.5, "output": 2.0}})
    purse = Purse(budget, None, 1)
    assert purse.reached(1e6, 1e6) is None
    assert purse.reached(2e6, 1e6) == "$3.00 of $3.00"


@pytest.mark.parametrize("budget", [{}, {"usd": 3}, {"price": {"gpu_hour": 2}}, {"token": 3}])
def test_a_budget_that_caps_nothing_is_refused(prompt, budget):
    with pytest.raises(RecipeError, match=r"budget"):
        stage(prompt, budget=budget)
