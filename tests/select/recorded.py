"""Recorded traces of the shared data as judged tables, for calibration."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from rows import verdicts

from tracecraft.think import split

BOX = re.compile(r"\\boxed\{(?:\\text\{)?\s*\\?\$?\s*(-?[\d,.]+)")


def read(path: Path) -> Any:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        text = file.read()
    if ".jsonl" in path.name:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    return json.loads(text)


def skythought(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.gz")):
        told = read(path)
        if isinstance(told, dict):
            for statement, row in told.items():
                for answers in row["responses"].values():
                    for one in answers if isinstance(answers, list) else [answers]:
                        yield trace(statement, one["content"], right=one["correctness"])
        else:
            for row in told:
                for text, score in zip(row["code"], row["score"], strict=True):
                    yield trace(row["question"], text, right=score)


def overthinking(folder: Path) -> Iterator[dict[str, Any]]:
    """GSM8K and missing-premise traces; right where the last box holds GSM8K's number."""
    for path in sorted(folder.glob("*__*__*.gz")):
        well_posed = path.name.startswith("gsm8k__normal")
        if not well_posed and "__MiP__" not in path.name:
            continue
        for row in read(path):
            text = next(v for k, v in row.items() if "reasoner" in k or k == "model_answer")
            opened = "s1.1" not in path.name
            if not opened:  # s1.1 spells its tags as the lines think and answer
                text = re.sub(r"\n?answer\n", "\n</think>\n", text.removeprefix("think\n"), count=1)
            boxed = BOX.findall(text)
            gold = str(row.get("answer")).rpartition("####")[2].strip().replace(",", "")
            value = boxed[-1].replace(",", "").rstrip(".") if boxed else ""
            right = well_posed and value not in {"", "-"} and float(value) == float(gold)
            yield trace(row.get("question", ""), text, right=right, opened=opened)


def programs(folder: Path) -> Iterator[dict[str, Any]]:
    for name in ("cruxeval_qwq_output_level1.json.gz", "safim_r1_api_level1.json.gz"):
        for row in read(folder / name).values():
            cells = {"reasoning": row["reasoning"], "response": str(row["answer"])}
            yield {"closed": True, "right": bool(row["score"]), "statement": "", **cells}


def choices(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.gz")):
        for row in read(path):
            yield trace(row["question"], row["model_outputs"], right=row["pred"] == row["answer"])


def letters(folder: Path) -> Iterator[dict[str, Any]]:
    """MMLU-Pro traces whose response is often a letter alone."""
    for path in sorted(folder.glob("*.gz")):
        for row in read(path):
            yield trace(row["prompt"], row["response"], right=row["correct"])


def trace(statement: str, text: str, *, right: bool, opened: bool = False) -> dict[str, Any]:
    parts = split(text, opened=opened)
    return {
        "statement": statement,
        "reasoning": parts.reasoning,
        "response": parts.response,
        "closed": parts.closed,
        "right": bool(right),
    }


def judged(rows: Iterator[dict[str, Any]]) -> pl.DataFrame:
    told = list(rows)
    cells = [{k: r[k] for k in ("statement", "reasoning", "response")} for r in told]
    outcomes = ["correct" if r["right"] else "incorrect" for r in told]
    table = verdicts(*cells).with_columns(
        pl.Series("outcome", outcomes), pl.Series("closed", [r["closed"] for r in told])
    )
    return table.with_columns(pl.lit(None).cast(pl.Int32).alias("completion_tokens"))
