"""LiveCodeBench in the shape in which it is published, from a local copy."""

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

from exam import write_lines

from places import Tracecraft


def packed(cases: list[dict[str, str]]) -> str:
    """As its files hold private tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


def problem(name: str, day: str, statement: str, **more: Any) -> dict[str, Any]:
    return {
        "question_title": name,
        "question_content": statement,
        "platform": "atcoder",
        "question_id": name,
        "contest_id": "c",
        "contest_date": f"{day}T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": "[]",
        "metadata": "{}",
        **more,
    }


STARTER = "class Solution:\n    def double(self, n: int) -> int:\n        "
PROBLEMS = [
    problem(
        "early",
        "2024-07-31",
        "Print it.",
        private_test_cases=packed([{"input": "1\n", "output": "1\n", "testtype": "stdin"}]),
    ),
    problem(
        "adds",
        "2024-08-01",
        "Print the sum of two numbers.",
        public_test_cases=json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]),
        private_test_cases=packed([{"input": "2 9\n", "output": "11\n", "testtype": "stdin"}]),
    ),
    problem(
        "doubles",
        "2025-01-31",
        "Double the number.",
        starter_code=STARTER,
        metadata=json.dumps({"func_name": "double"}),
        private_test_cases=packed([{"input": "4", "output": "8", "testtype": "functional"}]),
    ),
]
GOOD = {
    "adds": "print(sum(map(int, input().split())))",
    "doubles": STARTER + "return 2 * n",
}
BAD = {"adds": "input(); print(3)", "doubles": STARTER + "return n * n"}  # pass some tests


def test_a_window_of_it_is_scored_by_running_every_test(
    tmp_path: Path, tracecraft: Tracecraft
) -> None:
    write_lines(tmp_path / "lcb.jsonl", PROBLEMS)
    for name, programs in (("good", GOOD), ("bad", BAD)):
        rows = [
            {"question_id": key, "output_list": [f"So:\n```python\n{text}\n```"] * 2}
            for key, text in programs.items()
        ]
        write_lines(tmp_path / f"{name}.jsonl", rows)
    recorded = ("--completions", "good.jsonl", "--completions", "bad.jsonl")
    done = tracecraft("eval", *recorded, "--on", "livecodebench=lcb.jsonl", "--out", "scores.json")
    told = json.loads((tmp_path / "scores.json").read_text())
    found = {row["model"]: row["value"] for row in told["scores"] if row["metric"] == "avg@2"}
    assert found == {"good": 1.0, "bad": 0.0}  # a program must pass every test
    assert told["benchmarks"][0]["dataset"]["items"] == 2
    assert told["benchmarks"][0]["dataset"]["outside_window"] == 1
    assert "livecodebench: 2 of its 279 problems" in told["notes"]
    assert "maj@2" not in done.stdout
