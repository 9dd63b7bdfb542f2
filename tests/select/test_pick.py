import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rows import verdicts

from tracecraft.errors import DataError
from tracecraft.schema import EXAMPLE
from tracecraft.select.pick import Pick


def picked(rows: pl.DataFrame, judged: pl.DataFrame | None = None, **options: Any) -> list[str]:
    """Ids of the traces that stay."""
    made = Pick(**options)(rows.lazy(), *([] if judged is None else [judged.lazy()])).collect()
    assert made["trace_id"].to_list() == rows["trace_id"].to_list()
    return made.filter(pl.col("dropped").is_null())["trace_id"].to_list()


def fates(rows: pl.DataFrame, **options: Any) -> list[str | None]:
    return Pick(**options)(rows.lazy()).collect()["dropped"].to_list()


LENGTHS = verdicts(*({"completion_tokens": n} for n in (50, 10, 30, 90, 20)))


@pytest.mark.parametrize(
    ("prefer", "best", "two"),
    [
        ("shortest", ["t1"], ["t1", "t4"]),
        ("longest", ["t3"], ["t0", "t3"]),
        ("median", ["t2"], ["t2", "t4"]),
        ("first", ["t0"], ["t0", "t1"]),
    ],
)
def test_of_a_problem_the_preferred_stay(prefer: str, best: list[str], two: list[str]) -> None:
    assert picked(LENGTHS, prefer=prefer) == best
    assert picked(LENGTHS, prefer=prefer, per_problem=2) == two
    assert picked(LENGTHS, prefer=prefer, per_problem=9) == LENGTHS["trace_id"].to_list()


def test_most_agreed_is_the_answer_of_most_and_then_the_shortest() -> None:
    rows = verdicts(
        {"extracted": "4", "completion_tokens": 1},
        {"extracted": "3", "completion_tokens": 9},
        {"extracted": "3", "completion_tokens": 7},
        {"extracted": None, "completion_tokens": 1},
    )
    assert picked(rows, prefer="most_agreed") == ["t2"]


def test_unknown_lengths_are_counted_in_characters_for_the_whole_problem() -> None:
    rows = verdicts(
        {"completion_tokens": 0, "response": "x" * 50},
        {"completion_tokens": 500, "response": "x" * 20},
    )
    assert picked(rows) == ["t1"]


def test_a_wrong_trace_is_never_picked() -> None:
    rows = verdicts({"outcome": "incorrect", "completion_tokens": 1}, {}, {"outcome": None})
    assert fates(rows, per_problem=9) == ["wrong", None, None]


def test_a_band_of_difficulty_counts_all_traces_of_a_problem() -> None:
    def problem(name: str, right: int, of: int) -> list[dict[str, Any]]:
        kinds = ["correct"] * right + ["incorrect"] * (of - right) + ["failed"]
        return [{"problem_id": name, "outcome": kind} for kind in kinds]

    cells = problem("easy", 4, 4) + problem("some", 2, 4) + problem("hard", 1, 10)
    judged = verdicts(*cells)
    kept = judged.filter(pl.col("outcome") == "correct")
    band = {"pass_rate": (0.2, 0.8)}
    stay = picked(kept, judged, **band)
    assert kept.filter(pl.col("trace_id").is_in(stay))["problem_id"].to_list() == ["some"]
    told = Pick(**band)(kept.lazy(), judged.lazy()).collect()
    assert set(told["dropped"]) == {"too_easy", "too_hard", "not_picked", None}
    rates = dict(told.select("problem_id", "pass_rate").iter_rows())
    assert rates == pytest.approx({"easy": 1.0, "some": 0.5, "hard": 0.1})
    assert picked(judged, **band) == stay
    with pytest.raises(DataError, match=r"from: \[kept, judged\]"):
        Pick(**band)(kept.lazy())


def test_where_there_is_no_reference_answer_the_majority_decides() -> None:
    plain = {"answer": None, "outcome": "unverifiable"}

    def votes(name: str, *answers: str | None) -> list[dict[str, Any]]:
        return [{**plain, "problem_id": name, "extracted": a} for a in answers]

    cells = [
        *votes("clear", "3", "3", "4"),
        *votes("tie", "3", "3", "4", "4"),
        *votes("split", "1", "2", "3", "3", "5"),
        *votes("mute", None, None),
        {"problem_id": "known", "extracted": "3"},
        {"problem_id": "known", "extracted": "4"},
        {"problem_id": "known", "extracted": "4"},
    ]
    told = fates(verdicts(*cells), majority=0.5, per_problem=9)
    assert told[:3] == [None, None, "minority"]
    assert told[3:14] == ["no_majority"] * 11
    assert told[14:] == [None] * 3


def many(seed: int = 0, problems: int = 60, samples: int = 4) -> pl.DataFrame:
    rng = random.Random(seed)
    cells = [
        {
            "problem_id": f"p{p}",
            "trace_id": f"t{p}-{s}",
            "sample_index": s,
            "domain": ("math", "code", "science")[p % 3],
            "source": f"s{p % 5}",
            "completion_tokens": rng.randrange(5, 30),
            "outcome": rng.choice(["correct", "correct", "incorrect"]),
            "extracted": rng.choice("123"),
        }
        for p in range(problems)
        for s in range(samples)
    ]
    return verdicts(*cells)


def counts(rows: pl.DataFrame, stay: list[str], column: str) -> dict[str, int]:
    left = rows.filter(pl.col("trace_id").is_in(stay))[column].cast(pl.String)
    return dict(left.value_counts().iter_rows())


def test_caps_hold_for_every_group_or_for_those_named() -> None:
    rows = many()
    assert set(counts(rows, picked(rows, per_source=3), "source").values()) == {3}
    named = counts(rows, picked(rows, per_domain={"code": 4}), "domain")
    assert named["code"] == 4
    assert named["math"] > 4
    assert "domain_cap" in fates(rows, per_domain={"code": 4})
    assert len(picked(rows, most=7)) == 7


def test_a_mixture_keeps_its_proportions_and_all_of_the_scarcest() -> None:
    rows = many()
    assert len(set(counts(rows, picked(rows, balance="domain"), "domain").values())) == 1
    shares = {"math": 2.0, "code": 1.0}
    mixed = counts(rows, picked(rows, balance="domain", shares=shares), "domain")
    everyone = counts(rows, picked(rows), "domain")
    assert set(mixed) == {"math", "code"}
    assert mixed["math"] == everyone["math"]
    assert mixed["code"] == mixed["math"] // 2
    with pytest.raises(DataError, match="no example of domain 'chat'"):
        picked(rows, balance="domain", shares={"chat": 1.0, "math": 1.0})


def test_another_seed_keeps_others_and_as_many() -> None:
    rows = many()
    one, same, other = (picked(rows, most=10, seed=seed) for seed in (1, 1, 2))
    assert one == same != other
    assert len(other) == len(one)


OPTIONS = st.fixed_dictionaries(
    {
        "per_problem": st.integers(1, 3),
        "prefer": st.sampled_from(["shortest", "longest", "median", "most_agreed", "first"]),
        "pass_rate": st.sampled_from([(0.0, 1.0), (0.2, 0.9)]),
        "per_source": st.sampled_from([None, 4, {"s1": 2}]),
        "balance": st.sampled_from([None, "domain", "source"]),
        "most": st.sampled_from([None, 12]),
        "seed": st.integers(0, 3),
    }
)


@settings(max_examples=25, deadline=None)
@given(OPTIONS, st.integers(0, 5), st.randoms(use_true_random=False))
def test_the_same_stay_in_whatever_order_the_rows_come(
    options: dict[str, Any], seed: int, rng: random.Random
) -> None:
    rows = many(seed, problems=20)
    order = list(range(rows.height))
    rng.shuffle(order)
    assert set(picked(rows, **options)) == set(picked(rows[order], **options))
    stay = rows.filter(pl.col("trace_id").is_in(picked(rows, **options)))
    most = stay.group_by("problem_id").len()["len"].max() or 0
    assert most <= options["per_problem"]
    assert (stay["outcome"] == "correct").all()


def test_what_stays_is_an_example_with_its_thought_inline() -> None:
    rows = verdicts(
        {"problem_id": "a", "reasoning": " I add. ", "response": "\n3"},
        {"problem_id": "b", "reasoning": "", "response": "3"},
        {"problem_id": "c", "reasoning": "I </think> add.", "response": "3</think>"},
        {"problem_id": "d", "outcome": "incorrect"},
    )
    made = Pick()(rows.lazy()).collect()
    assert {name: made.schema[name] for name in EXAMPLE} == dict(EXAMPLE)
    assert set(rows.columns) <= set(made.columns)
    said = [turns and turns[1]["content"] for turns in made["messages"].to_list()]
    assert said == [
        "<think>\nI add.\n</think>\n\n3",
        "3",
        "<think>\nI  add.\n</think>\n\n3",
        None,
    ]
    assert made["messages"][0].to_list()[0] == {"role": "user", "content": "What is 1+2?"}
    assert made["tokens"].to_list() == [10] * 4
    assert made["example_id"].n_unique() == 4
    again = Pick()(rows.reverse().lazy()).collect()
    assert again["example_id"].reverse().equals(made["example_id"])


def test_an_empty_table_gives_an_empty_table() -> None:
    made = Pick(balance="domain", most=3)(verdicts({}).clear().lazy()).collect()
    assert made.height == 0
    assert set(EXAMPLE) <= set(made.columns)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pass_rate": (0.9, 0.1)}, "two shares in order"),
        ({"pass_rate": (0.0, 2.0)}, "two shares in order"),
        ({"shares": {"math": 1.0}}, "balance:"),
        ({"balance": "domain", "shares": {"math": 0.0}}, "above 0"),
        ({"balance": "domain", "shares": {"maths": 1.0}}, "did you mean 'math'"),
        ({"per_domain": {"cod": 3}}, "did you mean 'code'"),
        ({"prefer": "best"}, "prefer"),
    ],
)
def test_options_that_cannot_hold_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        Pick(**options)
