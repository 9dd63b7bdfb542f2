"""The door: exit codes, and messages that say where, what, what next."""

import json
import subprocess
from pathlib import Path

import polars as pl
import pytest

GSM = [
    {"id": i, "question": q, "gold": g, "output": o}
    for i, (q, g, o) in enumerate(
        [
            ("What is 2+2?", "4", "<think>easy</think>The answer is \\boxed{4}."),
            ("What is 2+3?", "5", "So it is \\boxed{6}."),
            ("What is 1/2 + 1/4?", "3/4", "\\boxed{0.75}"),
            ("what is  2+2?", "4", "\\boxed{4}"),
            ("Say something.", None, "hello"),
        ]
    )
]


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in GSM))
    return path


@pytest.mark.parametrize("ending", ["jsonl", "parquet", "arrow"])
def test_verify_adds_its_columns_and_keeps_the_rest(tracecraft, rows, tmp_path, ending):
    out = tmp_path / f"out.{ending}"
    done = tracecraft(
        "verify",
        rows,
        "--use",
        "math",
        "--map",
        "reference=gold",
        "--map",
        "response=output",
        "--out",
        out,
        "--json",
    )
    told = json.loads(done.stdout)
    assert told["rows_in"] == told["rows_out"] == 5
    read = {"jsonl": pl.read_ndjson, "parquet": pl.read_parquet, "arrow": pl.read_ipc}[ending]
    table = read(out)
    assert table.columns[:4] == ["id", "question", "gold", "output"]
    assert table["id"].to_list() == [0, 1, 2, 3, 4]
    assert table["outcome"].to_list() == [
        "correct",
        "incorrect",
        "correct",
        "correct",
        "unverifiable",
    ]
    assert {"extracted", "detail", "verifier"} <= set(table.columns)
    assert table["output"].to_list() == [row["output"] for row in GSM]


@pytest.mark.parametrize("use", ["code", "auto"])
def test_programs_with_tests_need_no_column_of_answers(tracecraft, tmp_path, use):
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    tests = [{"input": "1 2\n", "output": "3\n"}]
    program = "```python\nprint(sum(map(int, input().split())))\n```"
    path.write_text(json.dumps({"response": program, "tests": tests}) + "\n")
    tracecraft("verify", path, "--use", use, "--out", out)
    (row,) = lines(out)
    assert (row["outcome"], row["verifier"], "answer" in row) == ("correct", "code@1", False)
    assert "no column for 'answer'" in (
        tracecraft("verify", path, "--use", "math", "--out", out, code=2).stderr
    )


def test_auto_sends_each_row_of_a_mixed_file_to_its_verifier(tracecraft, tmp_path):
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    program = "```python\nprint(int(input()) + 1)\n```"
    rows = [
        {"response": program, "tests": [{"input": "1", "output": "2"}]},
        {"response": program, "tests": {"inputs": ["1"], "outputs": ["3"]}},
        {"response": r"\boxed{7}", "answer": "7"},
        {"response": "The answer is (B).", "answer": "B", "choices": ["x", "y"], "tests": []},
        {"response": "It is 5 cm.", "answer": "5 cm"},
        {"response": r"\boxed{5}"},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    tracecraft("verify", path, "--out", out)
    assert [(row["verifier"].split("@")[0], row["outcome"]) for row in lines(out)] == [
        ("code", "correct"),
        ("code", "incorrect"),
        ("math", "correct"),
        ("choice", "correct"),
        ("quantity", "correct"),
        ("math", "unverifiable"),
    ]
    path.write_text(json.dumps({"response": "5"}) + "\n")
    assert "no column for 'answer'" in tracecraft("verify", path, "--out", out, code=2).stderr


def test_verify_writes_a_folder_that_datasets_opens(tracecraft, rows, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets

    tracecraft("verify", rows, "--use", "math", "--map", "answer=gold", "--out", tmp_path / "out")
    assert datasets.load_from_disk(str(tmp_path / "out")).num_rows == 5


def test_dedupe_keeps_one_of_each_and_names_what_a_drop_repeats(tracecraft, rows, tmp_path):
    out, gone = tmp_path / "out.jsonl", tmp_path / "gone.jsonl"
    tracecraft(
        "dedupe",
        rows,
        "--column",
        "question",
        "--threshold",
        "0.8",
        "--out",
        out,
        "--dropped",
        gone,
    )
    assert len(lines(out)) == 4
    (dropped,) = lines(gone)
    assert dropped["dropped"] == "duplicate"
    assert dropped["duplicate_of"] is not None
    assert list(lines(out)[0]) == ["id", "question", "gold", "output"]


def test_decontaminate_names_the_benchmark_item_and_the_span(tracecraft, tmp_path):
    item = (
        "Find the number of ordered pairs of positive integers (a, b) with a + b = 1000 such that "
        "neither a nor b has a zero digit."
    )
    bench, data = tmp_path / "bench.jsonl", tmp_path / "data.jsonl"
    bench.write_text(json.dumps({"problem": item}) + "\n")
    data.write_text(
        json.dumps({"statement": f"Please solve: {item} Explain."})
        + "\n"
        + json.dumps({"statement": "A farmer has 12 cows and sells 5. How many are left now?"})
        + "\n"
    )
    out, gone = tmp_path / "out.jsonl", tmp_path / "gone.jsonl"
    tracecraft(
        "decontaminate",
        data,
        "--against",
        bench,
        "--column",
        "statement",
        "--out",
        out,
        "--dropped",
        gone,
    )
    (dropped,) = lines(gone)
    assert str(dropped["dropped"]).startswith("contaminated")
    assert len(lines(out)) == 1


def test_filter_drops_by_rule_and_looks_first_when_asked(tracecraft, rows, tmp_path):
    rules = tmp_path / "mine.yaml"
    rules.write_text(
        "name: mine\ncolumns: {gold: String}\n"
        "rules:\n  - {drop: no_gold, when: gold IS NULL, why: nothing to check}\n"
        "cases:\n  - {expect: no_gold, row: {gold: null}}\n  - {expect: keep, row: {gold: '4'}}\n"
    )
    out, gone = tmp_path / "out.jsonl", tmp_path / "gone.jsonl"
    tracecraft("filter", rows, "--rules", rules, "--out", out, "--dropped", gone)
    assert [row["id"] for row in lines(out)] == [0, 1, 2, 3]
    assert [row["dropped"] for row in lines(gone)] == ["no_gold"]
    tracecraft("filter", rows, "--rules", rules, "--what-if")
    rules.write_text(rules.read_text().replace("gold IS NULL", "goold IS NULL"))
    done = tracecraft("filter", rows, "--rules", rules, "--out", out, code=2)
    assert "goold" in done.stderr


def test_a_filter_of_programs_with_tests_needs_no_answers(tracecraft, tmp_path):
    rules = tmp_path / "mine.yaml"
    rules.write_text(
        "name: mine\nrules:\n  - {drop: no_reference, when: answer IS NULL AND domain <> 'code', "
        "why: no verdict}\n"
    )
    programs, out = tmp_path / "programs.jsonl", tmp_path / "out.jsonl"
    programs.write_text('{"question": "Read n and print it.", "tests": "[]"}\n')
    done = tracecraft("filter", programs, "--rules", rules, "--out", out)
    assert "no column answer, domain" in done.stderr
    assert len(lines(out)) == 1
    programs.write_text('{"question": "What is 1+2?"}\n')
    done = tracecraft("filter", programs, "--rules", rules, "--out", out, code=2)
    assert "no column for 'answer'" in done.stderr


def test_an_index_of_what_stays_serves_the_next_dedupe_and_grows(tracecraft, tmp_path):
    def rows(name, *numbers):
        text = "How many ways are there to seat {} guests around one table"
        cells = [{"id": f"{name}{n}", "question": text.format(n)} for n in numbers]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(c) + "\n" for c in cells))
        return tmp_path / f"{name}.jsonl"

    out, index, both = (tmp_path / name for name in ("out.jsonl", "a.index", "b.index"))
    tracecraft("dedupe", rows("a", 3, 4, 3), "--out", out, "--index", index, "--set", "id=id")
    assert [row["id"] for row in lines(out)] == ["a3", "a4"]
    said = "--set", f"published={index}"
    tracecraft("dedupe", rows("b", 4, 5), "--out", out, "--index", both, *said)
    assert [row["id"] for row in lines(out)] == ["b5"]
    assert lines(tmp_path / "out.dropped.jsonl")[0]["duplicate_of"] == "a4"
    tracecraft("dedupe", rows("c", 3, 5, 6), "--out", out, "--set", f"published={both}")
    assert [row["id"] for row in lines(out)] == ["c6"]


def test_a_filter_of_whole_completions_parts_them_and_looks_where_nobody_judged(
    tracecraft, tmp_path
):
    rules = tmp_path / "mine.yaml"
    rules.write_text(
        "name: mine\nmeasures: [cut_off]\nrules:\n"
        "  - {drop: wrong, when: outcome = 'incorrect', why: no}\n"
        "  - {drop: truncated, when: cut_off IS NOT NULL, why: no end}\n"
    )
    raw, out = tmp_path / "raw.jsonl", tmp_path / "out.jsonl"
    texts = ("<think>I add.</think> 3", "<think>I add", "3")
    cells = [{"id": i, "question": "1+2?", "response": text} for i, text in enumerate(texts)]
    raw.write_text("".join(json.dumps(row) + "\n" for row in cells))
    done = tracecraft("filter", raw, "--rules", rules, "--out", out, code=2)
    assert "tracecraft verify" in done.stderr
    done = tracecraft("filter", raw, "--rules", rules, "--what-if", "--json")
    wrong, truncated = json.loads(done.stdout)["rules"]
    assert (wrong["dropped"], wrong["unknown"], wrong["right"]) == (0, 3, None)
    assert [row["id"] for row in truncated["examples"]] == [1]
    raw.write_text("".join(json.dumps(row | {"outcome": "correct"}) + "\n" for row in cells))
    tracecraft("filter", raw, "--rules", rules, "--out", out)
    assert [row["response"] for row in lines(out)] == [texts[0], texts[2]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "rows.jsonl"),
        ("\n\n", "rows.jsonl"),
        ('{"gold": "4", "output": "4"}\nnot json\n', "rows.jsonl:2"),
        ('{"gold": "4", "output": "4"}\n{"gold": "5", "outp', "rows.jsonl:2"),
        ('{"gold": "4", "said": "4"}\n', "response"),
        ("[1, 2]\n", "rows.jsonl:1"),
    ],
)
def test_a_bad_file_is_told_with_its_line_and_nothing_is_written(
    tracecraft, tmp_path, content, says
):
    path = tmp_path / "rows.jsonl"
    path.write_text(content)
    out = tmp_path / "out.jsonl"
    done = tracecraft("verify", path, "--use", "math", "--map", "answer=gold", "--out", out, code=2)
    assert says in done.stderr
    assert not out.exists()


def test_wrong_requests_exit_2_and_say_what_is_known(tracecraft, rows, tmp_path):
    out = tmp_path / "out.jsonl"
    assert (
        "did you mean 'math'"
        in tracecraft("verify", rows, "--use", "maths", "--out", out, code=2).stderr
    )
    assert (
        "is not there"
        in tracecraft(
            "verify", tmp_path / "none.jsonl", "--use", "math", "--out", out, code=2
        ).stderr
    )
    assert (
        "no column 'godl'"
        in tracecraft(
            "verify", rows, "--use", "math", "--map", "answer=godl", "--out", out, code=2
        ).stderr
    )
    tracecraft("verify", rows, "--nonsense", code=2)
    assert "latest: no such run" in tracecraft("show", "latest", code=2).stderr


def test_a_teacher_that_is_not_there_is_told_and_finished_work_is_kept(
    tracecraft, workshop, tmp_path
):
    recipe = workshop / "recipes/smoke.yaml"
    done = tracecraft(
        "run",
        recipe,
        "--store",
        tmp_path / "runs",
        "--set",
        "stages.traces.engine={use: vllm, model: /nowhere/model}",
        code=None,
    )
    assert done.returncode in {2, 3}
    assert "/nowhere/model" in done.stderr


def test_plan_list_doctor_and_check_speak_json(tracecraft, workshop, tmp_path):
    recipe = workshop / "recipes/smoke.yaml"
    told = json.loads(tracecraft("plan", recipe, "--json").stdout)
    assert [step["state"] for step in told["steps"]] == ["to run"] * 9
    assert {"stage", "engine", "verifier"} <= {
        row["kind"] for row in json.loads(tracecraft("list", "--json").stdout)
    }
    assert any(
        row["option"] == "samples"
        for row in json.loads(tracecraft("list", "stages", "generate", "--json").stdout)
    )
    assert {"python", "code sandbox"} <= {
        row["what"] for row in json.loads(tracecraft("doctor", "--json").stdout)
    }
    tracecraft("check", recipe, workshop / "filters/math.yaml")
    (workshop / "filters/bad.yaml").write_text(
        "name: bad\nrules: [{drop: x, when: 'a =', why: y}]\n"
    )
    assert "bad.yaml" in tracecraft("check", workshop / "filters/bad.yaml", code=2).stderr


@pytest.mark.parametrize("kind", ["verifier", "measure", "engine", "source", "stage", "filter"])
def test_what_new_writes_can_be_used(tracecraft, workshop, tmp_path, kind):
    tracecraft("new", kind, "mine")
    recipe = workshop / "recipes/smoke.yaml"
    text = recipe.read_text()
    if kind == "filter":
        tracecraft("check", tmp_path / "mine.yaml")
        return
    edits = {
        "verifier": ("verifier: {use: math, policy: strict}", "verifier: {use: mine}"),
        "measure": ("", ""),
        "engine": ("{use: replay, path: problems/smoke-answers.yaml}", "{use: mine}"),
        "source": (
            "{use: files, path: problems/smoke.jsonl, license: Apache-2.0, source: smoke}",
            "{use: mine}",
        ),
        "stage": ("use: dedupe,    from: asked, threshold: 0.8", "use: mine, from: asked"),
    }
    text = text.replace(*edits[kind]).replace(
        "seed: 17", f"seed: 17\nplugins: [{tmp_path}/mine.py]"
    )
    recipe.write_text(text)
    tracecraft("run", recipe, "--store", tmp_path / "runs", "--until", "judged")


def test_a_run_can_be_shown_compared_and_swept(tracecraft, workshop, tmp_path):
    recipe, store = workshop / "recipes/smoke.yaml", tmp_path / "runs"
    tracecraft("run", recipe, "--store", store)
    tracecraft("run", recipe, "--store", store, "--set", "stages.traces.samples=1")
    told = json.loads(tracecraft("show", "latest", "--store", store, "--json").stdout)
    assert told["pass_rate"]["traces"] == 4
    runs = sorted(p.name for p in store.glob("smoke-*"))
    rows = json.loads(tracecraft("diff", *runs, "--store", store, "--json").stdout)
    assert [r["same bytes"] for r in rows if r["stage"] == "unique"] == [True]
    assert [r["same bytes"] for r in rows if r["stage"] == "traces"] == [False]
    assert json.loads(
        tracecraft("show", "latest/asked", "--dropped", "--store", store, "--json").stdout
    )
    for run in runs:
        for file in (store / run).rglob("plan.json"):
            file.unlink()
    tracecraft("sweep", "--keep-days", "0", "--yes", "--store", store)
    assert not list((store / "store").iterdir())
    assert list((store / "completions").glob("*.jsonl")), "what was paid for is never swept"


def test_launch_writes_a_slurm_array_that_shares_a_store(
    tracecraft, tmp_path, monkeypatch, workshop
):
    monkeypatch.chdir(tmp_path)
    recipe = workshop / "recipes/smoke.yaml"
    options = ("--workers", "64", "--until", "traces", "--set", "stages.traces.samples=1")
    done = tracecraft("launch", "slurm", str(recipe), *options)
    script = tmp_path / "smoke.slurm.sh"
    assert done.stdout.strip() == script.name
    subprocess.run(["bash", "-n", script], check=True)
    text = script.read_text()
    assert "#SBATCH --array=1-64\n" in text
    (command,) = [line for line in text.splitlines() if line.startswith("exec ")]
    assert command.split()[1:3] == ["tracecraft", "run"]
    assert command.split()[-1] == "--until=traces"
    again = tracecraft("launch", "slurm", str(recipe), code=2)
    assert "smoke.slurm.sh: exists" in again.stderr
