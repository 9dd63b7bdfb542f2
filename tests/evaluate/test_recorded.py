"""Recorded answers in the shapes of other harnesses, and the figures that those published."""

import gzip
import json
import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from exam import PROBLEMS, write_lines

from places import Tracecraft, shared_data
from tracecraft.errors import DataError
from tracecraft.evaluate.recorded import matched, read
from tracecraft.evaluate.statistics import average

BENCHMARK = pl.DataFrame(
    {
        "item": [one["id"] for one in PROBLEMS],
        "statement": [one["problem"] for one in PROBLEMS],
    }
)
SHAPES: dict[str, list[dict[str, Any]]] = {
    "evalchemy": [{"problem": "What is 1 plus 1?", "model_outputs": ["a", "b"]}],
    "livecodebench": [{"question_id": "sum-1", "output_list": "['a', 'b']", "graded_list": "[1]"}],
    "one row a sample": [{"id": "sum-1", "completion": "a"}, {"id": "sum-1", "completion": "b"}],
    "thought apart": [
        {"id": "sum-1", "reasoning": "t", "response": "a"},
        {"id": "sum-1", "reasoning": "t", "response": "b"},
    ],
    "within a prompt": [{"prompt": "Solve. What is $1$ plus $1$?", "generations": ["a", "b"]}],
    "chats": [
        {
            "messages": [
                {"role": "user", "content": "What is 1 plus 1?"},
                {"role": "assistant", "content": text},
            ],
            "problem": "What is 1 plus 1?",
        }
        for text in "ab"
    ],
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("packed", [False, True])
def test_a_shape_is_read(tmp_path: Path, shape: str, packed: bool) -> None:
    path = tmp_path / ("log.json.gz" if packed else "log.jsonl")
    if packed:
        path.write_bytes(gzip.compress(json.dumps({"examples": SHAPES[shape]}).encode()))
    else:
        write_lines(path, SHAPES[shape])
    found = matched(read(path), BENCHMARK)
    assert list(found) == ["What is 1 plus 1?"]
    texts = [one["text"] for one in found["What is 1 plus 1?"].answers]
    assert [text[-1] for text in texts] == ["a", "b"]
    assert all(("<think>" in text) == (shape == "thought apart") for text in texts)


def test_ends_and_tokens_are_kept_where_they_are_recorded(tmp_path: Path) -> None:
    row = {"id": "sum-1", "outputs": ["a", "b"], "finish_reasons": ["stop", "length"]}
    path = write_lines(tmp_path / "log.jsonl", [row | {"completion_tokens": [5, 9]}])
    (said,) = read(path)
    assert [(a["finish"], a["completion_tokens"]) for a in said.answers] == [
        ("stop", 5),
        ("length", 9),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"id": 1}\n', "no column holds answers"),
        ('{"completion": "x"}\n', "row 1 names no problem"),
        ('{"id": 1, "completion": "x"}\n{"id"\n', ":2: is not JSON"),
        ("[]", "holds no rows"),
    ],
)
def test_a_file_that_cannot_be_scored_says_why(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        read(path)


MODELS = ("HuggingFaceTB__SmolLM2-1.7B-Instruct", "Qwen__Qwen2.5-1.5B-Instruct")


def log(task: str, model: str) -> tuple[Path, dict[str, Any]]:
    path = shared_data(f"evallogs_evalchemy/{task}__{model}.json.gz")
    return path, json.loads(gzip.decompress(path.read_bytes()))["results"][task]


@pytest.mark.parametrize("model", MODELS)
def test_published_figures_of_livecodebench_are_those_of_its_rows(model: str) -> None:
    _, told = log("LiveCodeBench", model)
    for part in ("", "easy", "medium", "hard"):
        rows = [one for one in told["examples"] if part in ("", one["difficulty"])]
        right = np.array([[float(one["correctness"])] for one in rows])
        name = f"accuracy_{part}_avg" if part else "accuracy_avg"
        assert average(right).value == pytest.approx(told[name], abs=1e-12)


@pytest.mark.parametrize("model", MODELS)
def test_published_figures_of_aime_are_those_of_its_answers(
    tmp_path: Path, tracecraft: Tracecraft, model: str
) -> None:
    path, told = log("AIME24", model)
    answers = [
        [float(said == one["expected_answer"]) for said in one["model_answers"]]
        for one in told["examples"]
    ]
    right = np.array(answers)
    runs = right.mean(axis=0)
    assert runs.tolist() == pytest.approx([run["accuracy"] for run in told["run_stats"]])
    assert average(right).value == pytest.approx(told["accuracy_avg"])
    spread = statistics.pstdev(runs) / math.sqrt(len(runs))
    assert spread == pytest.approx(told["accuracy_std_err"], abs=1e-12)

    problems = shared_data("math_nemo_skills/aime24.jsonl")
    asked = ("--completions", f"m={path}", "--on", f"aime24={problems}", "--out", "scores.json")
    tracecraft("eval", *asked)  # from the texts of the answers, by our verifier
    scores = json.loads((tmp_path / "scores.json").read_text())["scores"]
    (ours,) = [row for row in scores if row["metric"] == "avg@10"]
    assert ours["value"] == pytest.approx(told["accuracy_avg"])
    assert ours["stderr"] == 0  # ten greedy samples are one


def test_pass_at_1_of_recorded_programs_is_the_published_one() -> None:
    folder = "code_lcb_qwen7b/output__Qwen2.5-Ins-7B"
    rows = json.loads(
        gzip.decompress(
            shared_data(
                f"{folder}-ZeroShotCoT__Scenario.codegeneration_1_0.2_eval_all.json.gz"
            ).read_bytes()
        )
    )
    graded = [one["graded_list"] for one in rows]
    right = np.array([[float("True" in str(one))] for one in graded])
    whole = shared_data(f"{folder}__Scenario.codegeneration_1_0.2_eval.json.gz")
    published = json.loads(gzip.decompress(whole.read_bytes()))[0]["pass@1"]
    assert average(right).value == pytest.approx(published, abs=1e-12)
    said = read(shared_data(
        f"{folder}-ZeroShotCoT__Scenario.codegeneration_1_0.2_eval_all.json.gz"
    ))  # fmt: skip
    assert len(said) == 1055
    assert all(len(one.answers) == 1 and "```" in one.answers[0]["text"] for one in said[:50])
