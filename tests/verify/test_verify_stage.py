"""The stage: rows and their order stay, an opinion is added."""

import polars as pl
import pytest

from tracecraft.errors import RecipeError
from tracecraft.schema import OPINION, OUTCOME, Verdict
from tracecraft.stage import Desk, Progress
from tracecraft.verify import Verifier, Verify
from tracecraft.verify.math import Math


class Longer(Verifier, use="longer_for_tests"):
    """Needs another column, and guards itself."""

    where = "thread"
    requires = ("least",)

    def judge(self, problem, response):
        if response == "raise":
            raise KeyError("gone")
        return Verdict("correct" if len(response) >= problem["least"] else "incorrect")


class Either(Verifier, use="either_for_tests"):
    """Sends each row to the verifier of its domain."""

    math: Verifier = Math()
    other: Verifier = Longer()

    def chosen(self, problem):
        return self.math if problem["domain"] == "math" else self.other

    def judge(self, problem, response):
        raise AssertionError("the chosen verifier judges")


TRACES = pl.DataFrame(
    {
        "trace_id": ["a", "b", "c", "d", "e"],
        "answer": ["0.5", "0.5", None, "7", "7"],
        "response": [r"\boxed{\frac12}", r"\boxed{2}", r"\boxed{1}", None, "<think>\\boxed{7}"],
        "extra": [1, 2, 3, 4, 5],
    }
)


def test_an_opinion_is_added_and_everything_else_stays():
    table = Verify(verifier=Math())(TRACES.lazy()).collect()
    assert table.select(TRACES.columns).equals(TRACES)
    assert table["outcome"].to_list() == ["correct", "incorrect", *["unverifiable"] * 3]
    assert table["outcome"].dtype == OUTCOME
    assert table["extracted"].to_list() == [r"\frac12", "2", None, None, None]
    assert set(table["verifier"]) == {"math@1"}
    assert table["detail"].to_list()[2:] == [
        "no reference answer",
        "no response",
        "truncated: the thought never ends",
    ]
    assert table["span"].to_list()[0] == {"start": 0, "end": 15}
    assert {name: table.schema[name] for name in OPINION} == dict(OPINION)
    assert Verify.writes.items() <= dict(table.schema).items()


def test_a_second_opinion_leaves_the_first_alone():
    first = Verify(verifier=Math())(TRACES.lazy())
    both = Verify(verifier=Math(policy="strict"), prefix="second_")(first).collect()
    assert both.select(first.collect().columns).equals(first.collect())
    assert both["second_outcome"].to_list() == both["outcome"].to_list()


def test_the_same_table_gives_the_same_columns_whatever_the_workers():
    responses = [rf"\boxed{{\sum_{{k=1}}^{{{n}}} k}}" for n in range(3, 6)] * 2
    table = pl.LazyFrame({"answer": ["10"] * 6, "response": responses})
    one, two = (Verify(verifier=Math(), workers=n)(table).collect() for n in (1, 2))
    assert one.equals(two)
    assert one["outcome"].to_list().count("correct") == 2


def test_columns_of_the_problems_are_joined_by_their_id():
    traces = pl.LazyFrame({"problem_id": ["x", "y", "x"], "response": ["aaa", "aaa", "a"]})
    problems = pl.LazyFrame({"problem_id": ["x", "y"], "least": [2, None]})
    table = Verify(verifier=Longer())(traces, problems).collect()
    assert table["outcome"].to_list() == ["correct", "unverifiable", "incorrect"]
    assert table["detail"].to_list()[1] == "no least"
    assert "least" not in table.columns


def test_a_thread_verifier_that_raises_fails_its_row_alone():
    table = pl.LazyFrame({"least": [1, 1], "response": ["raise", "fine"]})
    done = Verify(verifier=Longer(), workers=2)(table).collect()
    assert done["outcome"].to_list() == ["failed", "correct"]
    assert done["detail"].to_list()[0] == "KeyError: 'gone'"


def test_each_row_names_the_verifier_that_judged_it():
    table = pl.LazyFrame(
        {
            "domain": ["math", "code"],
            "answer": ["5", None],
            "least": [None, 3],
            "response": [r"\boxed{5}", "long enough"],
        }
    )
    done = Verify(verifier=Either())(table).collect()
    assert done["outcome"].to_list() == ["correct", "correct"]
    assert done["verifier"].to_list() == ["math@1", "longer_for_tests@1"]


def test_progress_counts_rows_over_all_shards():
    seen: list[Progress] = []
    with Verify(verifier=Math()).open(Desk(report=seen.append)) as ask:
        ask(TRACES.lazy())
        ask(TRACES.lazy())
    assert [p.done for p in seen] == [5, 10]
    assert seen[-1].facts["unverifiable"] == 3


def test_numbers_as_answers_are_read_as_text():
    table = pl.LazyFrame({"answer": [18, 7], "response": ["#### 18", "#### 8"]})
    assert Verify(verifier=Math())(table).collect()["outcome"].to_list() == ["correct", "incorrect"]


def test_an_empty_table_stays_empty_and_has_the_columns():
    done = Verify(verifier=Math())(TRACES.lazy().head(0)).collect()
    assert done.height == 0
    assert set(Verify.writes) <= set(done.columns)


def test_an_unknown_policy_is_an_error_of_the_recipe():
    with pytest.raises(RecipeError, match="policy"):
        Verify.bind({"verifier": {"use": "math", "policy": "kind"}})
