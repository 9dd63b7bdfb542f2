"""A benchmark's rows become items: windows, options in orders, names; and benchmark files."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from exam import write_benchmark

from tracecraft.errors import DataError, RecipeError
from tracecraft.evaluate.benchmark import Benchmark, Window, load, shipped
from tracecraft.evaluate.items import LETTERS, Items
from tracecraft.recipe import build


def questions(rows: list[dict[str, Any]]) -> pl.LazyFrame:
    table = pl.DataFrame(rows)
    known = [(c, pl.String) for c in ("source", "license", "statement", "answer")]
    lacking = [pl.lit(None, t).alias(c) for c, t in known if c not in table.columns]
    return table.with_columns(lacking).lazy()


CHOICES = [
    {"statement": f"Which is {i}?", "answer": f"right {i}", "w1": "a", "w2": "b", "w3": "c"}
    | {"id": i}
    for i in range(40)
]  # fmt: skip
ASKED = Items(benchmark="quiz", id=("id",), wrong=("w1", "w2", "w3"), orders=4)


def test_each_sample_of_an_item_has_an_order_of_its_own_and_the_letter_follows():
    made = ASKED(questions(CHOICES)).collect()
    assert made.height == 160
    for row in made.iter_rows(named=True):
        assert row["choices"][LETTERS.index(row["answer"])] == f"right {row['item']}"
        assert f"({row['answer']}) right {row['item']}" in row["statement"]
    orders = made.group_by("item").agg(pl.col("choices").n_unique())
    assert orders["choices"].to_list() == [4] * 40
    counts = made["answer"].value_counts()["count"].to_list()
    assert len(counts) == 4  # shuffled anew with one seed, the right one would stand in one place
    assert min(counts) > 20


def test_an_order_depends_on_item_and_sample_alone():
    whole = ASKED(questions(CHOICES)).collect()
    fewer = ASKED.model_copy(update={"orders": 2})(questions(CHOICES[::-1][:7])).collect()
    both = fewer.join(whole, on=["item", "order"], suffix="_whole")
    assert both.height == 14
    assert both["statement"].to_list() == both["statement_whole"].to_list()
    other = ASKED.model_copy(update={"seed": 1})(questions(CHOICES)).collect()
    assert other["answer"].to_list() != whole["answer"].to_list()


def test_more_samples_than_orders_begin_again():
    rows = [{"statement": "Is it?", "answer": "yes", "w1": "no", "id": "x"}]
    made = Items(benchmark="quiz", id=("id",), wrong=("w1",), orders=5)(questions(rows)).collect()
    assert sorted(made["answer"].value_counts()["count"].to_list()) == [2, 3]


@pytest.mark.parametrize("answer", ["B", "(b)", "1", "green"])
def test_a_reference_may_be_a_letter_an_index_or_a_text(answer: str) -> None:
    rows = [{"statement": "Which?", "answer": answer, "choices": ["red", "green", "blue"]}]
    made = Items(benchmark="quiz")(questions(rows)).collect()
    assert made["answer"].to_list() == ["B"]


def test_a_window_takes_its_first_day_and_not_its_last_and_drops_by_name():
    days = ["2024-07-31T23:00:00", "2024-08-01T00:00:00", "2025-01-31", "2025-02-01T00:00:00"]
    rows = [{"statement": day, "answer": "1", "contest_date": day} for day in days]
    window = Window(since="2024-08-01", until="2025-02-01")
    made = Items(benchmark="contest", window=window)(questions(rows)).collect()
    kept = made.filter(pl.col("dropped").is_null())
    assert kept["statement"].to_list() == days[1:3]
    assert made["dropped"].drop_nulls().to_list() == ["outside_window"] * 2
    stamps = pl.Series("contest_date", days).str.slice(0, 10).str.to_datetime("%Y-%m-%d")
    again = Items(benchmark="contest", window=window)(questions(rows).with_columns(stamps))
    assert again.collect()["dropped"].null_count() == 2


def test_what_a_column_holds_follows_the_statement_where_it_holds_something():
    rows = [
        {"statement": "Write it.", "answer": "x", "starter": "def f():"},
        {"statement": "Print it.", "answer": "x", "starter": ""},
    ]
    made = Items(benchmark="code", append={"starter": "Begin:\n{value}"})(questions(rows)).collect()
    assert made["statement"].to_list() == ["Write it.\n\nBegin:\ndef f():", "Print it."]


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"statement": "a", "answer": None}, {"statement": "b", "answer": "1"}], "1 no answer"),
        ([{"statement": " ", "answer": "1"}], "1 have no statement"),
        ([{"statement": s, "answer": "1", "id": "same"} for s in "ab"], "stand for several rows"),
        ([{"statement": "a", "answer": "nowhere", "choices": ["x", "y"]}], "neither a letter"),
    ],
)
def test_what_would_make_a_wrong_score_is_an_error(rows: list[Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        Items(benchmark="quiz", id=("id",))(questions(rows)).collect()


def test_the_shipped_benchmarks_are_whole_and_make_recipes(tmp_path: Path) -> None:
    from tracecraft.evaluate.section import lowered

    assert {"aime24", "aime25", "math500", "gpqa_diamond", "livecodebench"} <= set(shipped())
    made = lowered([{"benchmark": name} for name in shipped()], {"m": {"use": "local"}})
    recipe = build({"name": "all", "inputs": made.inputs, "stages": made.stages}, tmp_path / "r")
    samples = {
        step.name: step.part.model_dump()["samples"]
        for step in recipe.steps
        if step.part.use == "generate"
    }
    # TinyR1's protocol: 16, 4 and 4 samples a problem
    assert samples["eval.aime24.m.traces"] == 16
    assert samples["eval.livecodebench.m.traces"] == 4
    gpqa = next(step for step in recipe.steps if step.name == "eval.gpqa_diamond.items")
    assert gpqa.part.model_dump()["orders"] == 4  # each asked once, in an order of its own
    assert samples["eval.gpqa_diamond.m.traces"] == 1
    for name in shipped():
        benchmark = load(name)
        assert benchmark.source["revision"], name
        assert benchmark.title, name
        assert not benchmark.prompt or "{statement}" in benchmark.prompt.read_text()


def test_a_benchmark_file_says_where_it_is_wrong(tmp_path: Path) -> None:
    path = write_benchmark(tmp_path, sample=3)
    with pytest.raises(RecipeError, match=r"sums.yaml: sample: Benchmark has no 'sample'.*samples"):
        Benchmark.read(path)
    with pytest.raises(RecipeError, match=r"no benchmark .aime42.(?s:.)*aime24"):
        load("aime42")


def test_a_local_copy_takes_the_place_of_the_source(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    made = load(f"aime24={tmp_path / 'sums.jsonl'}")
    assert made.name == "aime24"
    assert made.source == {"use": "files", "path": str(tmp_path / "sums.jsonl")}
