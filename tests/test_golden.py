"""What each stage makes of the same twenty rows, by version: who changes it must raise its version.

After a change on purpose, raise the stage's `version` and write what it makes now:
    TRACECRAFT_UPDATE_GOLDEN=1 pytest tests/test_golden.py
"""

import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from places import ROOT
from tracecraft.schema import PROBLEM, QUESTION
from tracecraft.stage import Stage

GOLDEN = ROOT / "tests/golden"
RULES = """
name: golden
measures: [hesitation, boxed_count, loop]
rules:
  - {drop: wrong, when: outcome = 'incorrect', why: a wrong answer teaches wrong}
  - {drop: long, when: completion_tokens > 20, why: one rule reads a number}
"""
STAGES: dict[str, dict[str, Any]] = {
    "normalize": {"domain": "math"},
    "dedupe": {"threshold": 0.7},
    "decontaminate": {"against": ["BENCHMARK"]},
    "generate": {"engine": {"use": "replay", "path": "SAID", "model": "a@1"}, "samples": 2},
    "verify": {"verifier": {"use": "math"}, "workers": 1},
    "filter": {"rules": "RULES"},
    "pick": {"per_problem": 1},
}


def statements() -> list[str]:
    asked = [f"Ada has {n} pears and eats {n // 2}. How many pears are left?" for n in range(2, 14)]
    asked += [f"What is ${n}^2 - {n}$?" for n in range(2, 8)]
    return [*asked, "ada has 12 pears and eats 6. How many pears are left", "What is 3^2 - 3?"]


def answers() -> list[str]:
    left = [str(n - n // 2) for n in range(2, 14)]
    return [*left, *(str(n * n - n) for n in range(2, 8)), "6", "6"]


def said(k: int, answer: str) -> list[str]:
    thought = "<think>\nWait. " + "So it is, I think. " * (k % 5) + "\n</think>\n\n"
    return [f"{thought}It is \\boxed{{{answer}}}.", f"{thought}It is \\boxed{{{k}}}."]


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pl.DataFrame]:
    """What every stage makes, each of what the one before made."""
    folder = tmp_path_factory.mktemp("golden")
    (folder / "rules.yaml").write_text(RULES)
    (folder / "benchmark.jsonl").write_text(json.dumps({"statement": statements()[9]}) + "\n")
    with (folder / "said.jsonl").open("w") as file:
        for k, (statement, answer) in enumerate(zip(statements(), answers(), strict=True)):
            file.write(json.dumps({"statement": statement, "answers": said(k, answer)}) + "\n")
    table = pl.DataFrame(
        {
            "source": ["golden"] * 20,
            "license": ["MIT"] * 20,
            "statement": statements(),
            "answer": answers(),
        },
        schema=QUESTION,
    )
    made = {}
    for use, options in STAGES.items():
        table = Stage.bind({"use": use, **placed(options, folder)})(table.lazy()).collect()
        made[use] = table
        if "dropped" in table.columns:
            table = table.filter(pl.col("dropped").is_null()).drop("dropped")
    return made


def placed(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    text = json.dumps(options)
    files = {"BENCHMARK": "benchmark.jsonl", "SAID": "said.jsonl", "RULES": "rules.yaml"}
    for word, name in files.items():
        text = text.replace(word, str(folder / name))
    told: dict[str, Any] = json.loads(text)
    return told


@pytest.mark.parametrize("use", STAGES)
def test_a_stage_makes_what_its_version_always_made(tables, use):
    version = Stage.named(use).version
    place = GOLDEN / f"{use}@{version}.json"
    own = [c for c in tables[use].columns if c not in (*PROBLEM, "seconds")]
    made = tables[use].select(own).write_json()
    rows = "[\n" + ",\n".join(json.dumps(row) for row in json.loads(made)) + "\n]\n"
    if os.environ.get("TRACECRAFT_UPDATE_GOLDEN"):
        place.write_text(rows)
    assert place.exists(), f"no golden rows of {use}@{version}: see the top of this file"
    assert rows == place.read_text(), f"{use} makes other rows than its version {version} did"
