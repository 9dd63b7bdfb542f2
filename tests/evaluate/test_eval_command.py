"""`tracecraft eval` from outside: models, recorded answers, tables, gates, exports."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from exam import PROBLEMS, half, right, write_benchmark, write_lines, write_model, wrong
from typer.testing import CliRunner

from places import Tracecraft
from tracecraft.cli.app import app
from tracecraft.errors import UsageError

import_module("tracecraft.cli.evaluate")


def spec(engine: dict[str, str]) -> str:
    return json.dumps(engine)


def test_models_are_scored_and_the_second_run_does_nothing(
    tmp_path: Path, tracecraft: Tracecraft
) -> None:
    write_benchmark(tmp_path)
    models = [
        f"{name}={spec(write_model(tmp_path, name, say))}"
        for name, say in (("good", right), ("half", half))
    ]
    done = tracecraft("eval", *models, "--on", "sums.yaml", "--out", "scores.md")
    for said in ("avg@4 (pass@1)", "100.0", "50.0", "half − good: -50.0 points", "digest"):
        assert said in done.stdout, done.stdout
    assert "| half | 50.0 ± 0.0 (5) |" in (tmp_path / "scores.md").read_text()
    again = tracecraft("eval", *models, "--on", "sums.yaml", "--json")
    assert '"event": "started"' not in again.stdout
    last = json.loads(again.stdout.splitlines()[-1])
    assert [row["value"] for row in last["scores"] if row["metric"] == "avg@4"] == [1.0, 0.5]


def test_recorded_answers_are_scored_without_a_model(
    tmp_path: Path, tracecraft: Tracecraft
) -> None:
    write_benchmark(tmp_path)
    rows = [
        {"problem": f"  {one['problem'].upper()} ", "model_outputs": [half(i, s) for s in range(4)]}
        for i, one in enumerate(PROBLEMS)
    ]
    whole = {"results": {"Sums": {"examples": rows}}}
    (tmp_path / "log.json").write_text(json.dumps(whole))
    chats = [
        {"id": one["id"], "messages": [{"role": "assistant", "content": right(i, 0)}]}
        for i, one in enumerate(PROBLEMS)
        for _ in range(4)
    ]
    write_lines(tmp_path / "chats.jsonl", [*chats, {"id": "other", "messages": []}])
    done = tracecraft("eval", "--completions", "log.json", "--completions", "best=chats.jsonl",
                      "--on", "sums.yaml", "--out", "scores.json")  # fmt: skip
    assert "its answers are on file" in done.stdout
    assert "1 of its problems are none of the benchmark's" in done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    found = {s["model"]: s["value"] for s in scores["scores"] if s["metric"] == "avg@4"}
    assert found == {"log": 0.5, "best": 1.0}
    assert "log: token counts are not recorded" in done.stdout


def test_recorded_answers_to_a_part_are_an_error_and_no_score(
    tmp_path: Path, tracecraft: Tracecraft
) -> None:
    write_benchmark(tmp_path)
    rows = [{"id": one["id"], "completion": "\\boxed{1}"} for one in PROBLEMS[:4]]
    write_lines(tmp_path / "part.jsonl", rows)
    done = tracecraft("eval", "--completions", "part.jsonl", "--on", "sums.yaml", code=2)
    assert "no answer to 2 of 6 problems" in done.stderr
    write_lines(tmp_path / "none.jsonl", [{"id": "x", "completion": "1"}])
    done = tracecraft("eval", "--completions", "none.jsonl", "--on", "sums.yaml", code=2)
    assert "none of its rows is a problem of sums.yaml" in done.stderr
    assert not list((tmp_path / "runs/store").glob("scores-*"))


def test_table_one_has_ours_beside_the_published(tmp_path: Path, tracecraft: Tracecraft) -> None:
    write_lines(tmp_path / "aime.jsonl", PROBLEMS)
    model = f"mine={spec(write_model(tmp_path, 'mine', half))}"
    tracecraft("eval", model, "--on", "aime24=aime.jsonl", "--samples", 4)
    done = tracecraft("eval", "--table", "--out", "table.md")
    assert "72.6 (9.6k)" in done.stdout
    told = (tmp_path / "table.md").read_text()
    assert "| model | AIME 2024 | LiveCodeBench 24.08–25.02 | GPQA-Diamond |" in told
    assert "| DeepSeek-R1 † | 79.8 (9.6k) | 65.9 (10.4k) | 71.5 (5.3k) |" in told
    assert "| TinyR1-32B-Preview † | 78.1 (11.8k) | 61.6 (12.4k) | 65.0 (8.6k) |" in told
    assert "| mine | 50.0 ± 0.0 (5) | – | – |" in told
    rows = json.loads(tracecraft("eval", "--table", "--json", "--out", "t.csv").stdout)["rows"]
    assert [row["origin"] for row in rows] == ["published"] * 4 + ["measured"]
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[1].startswith('DeepSeek-R1,published,"arXiv 2503.04872, table 1",aime24,0.798,')
    assert lines[-1].startswith("mine,measured,tracecraft,aime24,0.5,")


def test_an_unmet_gate_is_exit_one_after_the_scores(tmp_path: Path, tracecraft: Tracecraft) -> None:
    write_benchmark(tmp_path)
    model = f"m={spec(write_model(tmp_path, 'm', wrong))}"
    asked = ("eval", model, "--on", "sums.yaml", "--gate", "sums.avg@4>=0.1")
    done = tracecraft(*asked, "--out", "scores.json", code=1)
    assert "sums.avg@4 at least 0.1: m has 0" in done.stderr
    assert "avg@4 (pass@1)" in done.stdout
    assert (tmp_path / "scores.json").exists()
    assert "broke" not in done.stderr


def test_leaks_are_looked_for_in_a_step_of_a_run(tmp_path: Path, tracecraft: Tracecraft) -> None:
    write_benchmark(tmp_path)
    recipe = "inputs: {own: {use: files, path: sums.jsonl}}\nstages: [{name: clean, use: "
    (tmp_path / "data.yaml").write_text(recipe + "normalize, from: own, domain: math}]\n")
    tracecraft("run", "data.yaml", "--limit", 3)
    model = f"m={spec(write_model(tmp_path, 'm', right))}"
    done = tracecraft("eval", model, "--on", "sums.yaml", "--trained-on", "latest/clean")
    assert "contamination" in done.stdout
    assert "50.0" in done.stdout


def test_leaks_are_looked_for_in_the_examples_of_a_written_dataset(
    tmp_path: Path, workshop: Path, tracecraft: Tracecraft
) -> None:
    tracecraft("run", workshop / "recipes/smoke.yaml", "--set", "stages.examples.most=2")
    lines = (workshop / "recipes/problems/smoke.jsonl").read_text().splitlines()
    rows = [{**json.loads(line), "id": str(i)} for i, line in enumerate(lines)]
    names = list({" ".join(row["statement"].casefold().split()): row for row in rows}.values())
    write_benchmark(tmp_path, rows=names, samples=1)
    answers = [{"statement": row["statement"], "answers": ["\\boxed{1}"]} for row in names]
    write_lines(tmp_path / "m.jsonl", answers)
    asked = ("eval", "m={use: replay, path: m.jsonl}", "--on", "sums.yaml", "--out", "s.json")
    tracecraft(*asked, "--trained-on", "latest/dataset")
    scores = json.loads((tmp_path / "s.json").read_text())["scores"]
    found = {row["metric"]: row["value"] for row in scores}
    assert found["contamination"] == pytest.approx(2 / len(names))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["m"], "on what?"),
        (["--on", "aime24"], "which model?"),
        (["org/model", "--on", "aime24"], "must be pinned"),
        (["embedded", "--on", "aime"], "did you mean 'aime25' or 'aime24'"),
        (["embedded", "--on", "sums.yaml", "--preset", "r2"], "'r1' or 'chat'"),
        (["embedded", "--on", "sums.yaml", "--gate", "avg>1"], "write it as"),
        (["embedded", "--on", "sums.yaml", "--trained-on", "x=y"], "no model is called 'x'"),
        (["embedded", "--on", "sums.yaml", "--export", "csv", "x"], "only `inspect`"),
        (["embedded", "embedded", "--on", "sums.yaml"], "two models are called"),
    ],
)
def test_a_wrong_request_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    write_benchmark(tmp_path)
    done = CliRunner().invoke(app, ["eval", *arguments])
    assert isinstance(done.exception, UsageError), done.output
    assert said in str(done.exception)
    assert not (tmp_path / "runs/store").exists()


@pytest.mark.parametrize("name", ["log.json", "log.eval"])
def test_inspect_scores_the_same_answers_the_same(
    tmp_path: Path, tracecraft: Tracecraft, name: str
) -> None:
    inspect = pytest.importorskip("inspect_ai.log")
    scorers = pytest.importorskip("inspect_ai.scorer")
    from inspect_ai import score

    write_benchmark(tmp_path)
    model = f"m={spec(write_model(tmp_path, 'm', lambda i, s: (right if i > s else wrong)(i, s)))}"
    asked = ("eval", model, "--on", "sums.yaml", "--out", "scores.json")
    tracecraft(*asked, "--export", "inspect", name)
    rows = json.loads((tmp_path / "scores.json").read_text())["scores"]
    ours = next(row for row in rows if row["metric"] == "avg@4")
    log = inspect.read_eval_log(str(tmp_path / name))
    judge = scorers.pattern(r"boxed\{([^}]*)\}")
    again = score(log, judge, action="append", epochs_reducer="mean")
    for made in again.results.scores:
        assert made.metrics["accuracy"].value == pytest.approx(ours["value"])
        assert made.metrics["stderr"].value == pytest.approx(ours["stderr_problem"])
