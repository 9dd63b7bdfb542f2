"""Verdicts become scores through a recipe: what counts as right, what is an error, what is told."""

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from exam import PROBLEMS, half, right, write_benchmark, write_lines, write_model, wrong

import tracecraft as tc
from tracecraft.errors import DataError, GateFailed, RecipeError, StageError
from tracecraft.evaluate.section import lowered
from tracecraft.recipe import build
from tracecraft.schema import SCORE


def carried_out(folder: Path, entries: Any, models: Any, **more: Any) -> tc.Run:
    made = lowered(entries, models, path=folder / "recipe.yaml", **more)
    mapping = {"name": "exam", "inputs": made.inputs, "stages": made.stages}
    return tc.run(tc.plan(build(mapping, folder / "recipe.yaml"), folder / "runs"))


def scores(run: tc.Run) -> dict[str, dict[str, float]]:
    table = pl.read_parquet(run.output("scores") / "scores.parquet")
    assert table.schema == SCORE
    found: dict[str, dict[str, float]] = {}
    for row in table.iter_rows(named=True):
        found.setdefault(f"{row['benchmark']}.{row['model']}", {})[row["metric"]] = row["value"]
    return found


def told(run: tc.Run) -> dict[str, Any]:
    return json.loads((run.output("scores") / "scores.json").read_text())


def test_models_on_a_benchmark_of_ones_own(tmp_path: Path) -> None:
    write_benchmark(tmp_path, problems=6)
    models = {name: write_model(tmp_path, name, say) for name, say in
              (("good", right), ("half", half), ("bad", wrong))}  # fmt: skip
    run = carried_out(tmp_path, [{"benchmark": "sums.yaml"}], models)
    found = scores(run)
    assert [found[f"sums.{name}"]["avg@4"] for name in models] == [1.0, 0.5, 0.0]
    assert found["sums.half"]["pass@2"] == pytest.approx(1 - 1 / 6)
    assert found["sums.half"]["maj@4"] == 0.5  # two right beside two of one wrong answer
    pairs = pl.read_parquet(run.output("scores") / "differences.parquet")
    assert pairs.select("model", "other", "value").rows() == [
        ("half", "good", -0.5),
        ("bad", "good", -1.0),
        ("bad", "half", -0.5),
    ]
    facts = told(run)["benchmarks"][0]
    assert facts["dataset"]["items"] == 6
    assert len(facts["dataset"]["digest"]) == 32
    assert told(run)["notes"] == []
    again = carried_out(tmp_path, [{"benchmark": "sums.yaml"}], models)
    assert again.folder == run.folder


def test_what_was_cut_off_is_wrong_whatever_it_says(tmp_path: Path) -> None:
    write_benchmark(tmp_path)

    def cut(item: int, sample: int) -> Any:
        said = {"text": right(item, sample), "completion_tokens": 100 + sample}
        return said | ({"finish": "length"} if sample == 0 else {})

    found = scores(
        carried_out(tmp_path, [{"benchmark": "sums.yaml"}], {"m": write_model(tmp_path, "m", cut)})
    )["sums.m"]
    assert found["avg@4"] == 0.75
    assert found["truncated"] == 0.25
    assert found["tokens.mean"] == 101.5
    assert found["tokens.wrong.mean"] == 100
    assert found["tokens.right.median"] == 102
    parts = found["tokens.reasoning.mean"] + found["tokens.answer.mean"]
    assert parts == pytest.approx(found["tokens.mean"])


def test_what_names_no_answer_is_wrong_and_counted(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    silent = write_model(tmp_path, "m", lambda i, s: "I cannot say." if s < 1 else right(i, s))
    found = scores(carried_out(tmp_path, [{"benchmark": "sums.yaml"}], {"m": silent}))["sums.m"]
    assert (found["avg@4"], found["unverifiable"], found["failed"]) == (0.75, 0.25, 0.0)


def test_a_missing_answer_is_an_error_and_no_number(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    few = write_model(tmp_path, "m", right, samples=3)
    with pytest.raises(StageError, match=r"6 of 24 answers are missing.*(?s:.)*attempt") as error:
        carried_out(tmp_path, [{"benchmark": "sums.yaml"}], {"m": few})
    assert "6 of 6 problems have fewer than 4" in str(error.value)
    found = scores(carried_out(tmp_path, [{"benchmark": "sums.yaml", "samples": 3}], {"m": few}))
    assert found["sums.m"]["avg@3"] == 1.0


def test_fewer_samples_than_a_benchmark_allows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="not scored on fewer than 4 samples"):
        lowered([{"benchmark": "aime24", "samples": 2}], {"m": {"use": "local"}})


def test_a_part_of_a_benchmark_or_of_its_samples_says_so(tmp_path: Path) -> None:
    write_benchmark(tmp_path, problems=30, samples=16)
    model = write_model(tmp_path, "m", right)
    run = carried_out(tmp_path, [{"benchmark": "sums.yaml", "samples": 4}], {"m": model})
    assert told(run)["notes"] == [
        "sums: 6 of its 30 problems",
        "sums: 4 samples a problem, its protocol has 16",
    ]


def test_two_items_of_one_statement_are_an_error(tmp_path: Path) -> None:
    write_benchmark(tmp_path, rows=[PROBLEMS[0], {**PROBLEMS[0], "id": "again"}])
    with pytest.raises(DataError, match="same statement"):
        carried_out(
            tmp_path, [{"benchmark": "sums.yaml"}], {"m": write_model(tmp_path, "m", right)}
        )


def test_leaks_stand_beside_the_score_of_the_model_that_was_trained_on_them(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    user = {"role": "user", "content": f"Please solve: {PROBLEMS[2]['problem']} Thanks."}
    chat = [user, {"role": "assistant", "content": "4"}]
    data = write_lines(tmp_path / "trained.jsonl", [{"messages": chat}])
    models = {"clean": write_model(tmp_path, "clean", right)}
    models["leaky"] = write_model(tmp_path, "leaky", lambda i, s: (right if i == 2 else half)(i, s))
    run = carried_out(tmp_path, [{"benchmark": "sums.yaml"}], models, trained_on={"leaky": [data]})
    found = scores(run)
    assert "contamination" not in found["sums.clean"]
    assert found["sums.leaky"]["contamination"] == pytest.approx(1 / 6)
    assert found["sums.leaky"]["avg@4"] == pytest.approx(3.5 / 6)
    assert found["sums.leaky"]["avg@4.clean"] == 0.5
    items = pl.read_parquet(run.output("scores") / "items.parquet").filter(pl.col("contaminated"))
    assert items["item"].to_list() == ["sum-2"]


def test_a_gate_that_holds_not_leaves_the_scores_and_says_by_how_much(tmp_path: Path) -> None:
    write_benchmark(tmp_path)
    models = {"a": write_model(tmp_path, "a", right), "b": write_model(tmp_path, "b", half)}
    gates = [
        {"metric": "sums.avg@4", "at_least": 0.9, "model": "a"},
        {"metric": "sums.pass@1", "at_least": 0.9},
        {"metric": "sums.truncated", "at_most": 0},
    ]
    with pytest.raises(GateFailed, match=r"1 of 3 gates(?s:.)*at least 0.9: b has 0.5"):
        carried_out(tmp_path, [{"benchmark": "sums.yaml"}], models, gates=gates)
    assert list((tmp_path / "runs/store").glob("scores-*/output/scores.json"))
    run = carried_out(tmp_path, [{"benchmark": "sums.yaml"}], models, gates=gates[::2])
    assert all(one["holds"] for one in json.loads((run.output("gates") / "gates.json").read_text()))


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({"metric": "sums.avg@4"}, "at_least or at_most"),
        ({"metric": "avg", "at_least": 1}, "BENCHMARK.METRIC"),
        ({"metric": "aime.avg@4", "at_least": 1}, "'aime' is not evaluated"),
        ({"metric": "sums.avg@4", "at_least": 1, "model": "c"}, "no model 'c'"),
        ({"metric": "contamination", "at_most": 0}, "not known what 'm' was trained on"),
        ({"metric": "sums.avg@4", "atleast": 1}, "did you mean 'at_least'"),
    ],
)
def test_a_gate_that_means_nothing_is_refused_before_anything_runs(
    tmp_path: Path, gate: Any, said: str
) -> None:
    write_benchmark(tmp_path)
    with pytest.raises(RecipeError, match=said):
        lowered(
            [{"benchmark": "sums.yaml"}],
            {"m": {"use": "local"}},
            path=tmp_path / "r.yaml",
            gates=[gate],
        )


def test_a_model_that_a_step_makes_is_loaded_from_that_step() -> None:
    made = lowered(
        [{"benchmark": "aime24", "models": ["student"], "engine": {"max_model_len": 4096}}],
        {"backbone": {"use": "local", "model": "org/it", "revision": "1"}, "student": "student"},
        trained_on={"student": ["math.examples"]},
    )
    asked = next(one for one in made.stages if one["use"] == "generate")
    assert asked["from"] == ["eval.aime24.problems", "student"]
    assert asked["engine"] == {"use": "local", "model": "step", "max_model_len": 4096}
    leaks = next(one for one in made.stages if one["use"] == "leaks")
    assert leaks["from"] == ["eval.aime24.problems", "math.examples"]
    assert made.stages[-1]["leaks"] == [["student"]]
