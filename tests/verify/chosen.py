"""Recorded responses to questions with options, each with the letters that its set read in it."""

import csv
import gzip
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from labelled import rows

from places import shared_data
from tracecraft.think import split
from tracecraft.verify.choice import Choice

NONE = "-"
_FOUR = ["first", "second", "third", "fourth"]


@dataclass(frozen=True)
class Chosen:
    row: str
    """Counted from 0, within its file."""
    label: str
    """Letters in their order; `-` where the set read none."""
    read: str
    """What we read; `-` where nothing is chosen: none or several named, or against its own text."""


def _read(problem: dict[str, Any], response: str) -> str:
    thought = split(response)
    if not thought.closed:
        return NONE
    verdict = Choice().judge(problem, thought.response)
    if verdict.outcome == "unverifiable" or verdict.detail is None:
        return NONE
    return verdict.detail.rpartition(": ")[2]


def jee() -> Iterator[Chosen]:
    """JEEBench's answers: an option, several, a number, or none; only the options are labels here.

    The questions are not in this set: what they have in common, four options, stands for theirs.
    """
    path = shared_data("sci_jeebench/extractor_dataset_train.csv.gz")
    csv.field_size_limit(1 << 24)
    text = gzip.decompress(path.read_bytes()).decode()
    for i, row in enumerate(csv.DictReader(io.StringIO(text))):
        label = row["extract"]
        letters = "".join(sorted(set(label))) if re.fullmatch(r"[A-D]+", label) else NONE
        problem = {"answer": letters if letters != NONE else "ABCD", "choices": _FOUR}
        yield Chosen(str(i), letters, _read(problem, row["response"]))


def mmlu_pro(file: str) -> Iterator[Chosen]:
    """MMLU-Pro's answers with the letter that its own two patterns found in the whole text."""
    for i, row in enumerate(rows(shared_data(file))):
        problem = {"answer": row["answer"], "choices": row["options"]}
        response = row.get("response") or row.get("model_outputs") or ""
        yield Chosen(str(i), row["pred"] or NONE, _read(problem, response))


def groq() -> Iterator[Chosen]:
    """Answers that the set calls right or wrong: the label is the right letter, or `!` and it."""
    for i, row in enumerate(rows(shared_data(_GROQ))):
        right = row["actual_answer"]
        read = _read({"answer": right, "statement": row["prompt"]}, row["response"])
        told = right if row["correct"] else f"!{right}"
        agrees = row["correct"] == (read == right)
        yield Chosen(str(i), read if agrees else told, read)


_GROQ = "traces_qwen3_gemma_mmlupro_math/baseline_CoTs_f5489d.jsonl.gz"
_FILES = {
    "deepseek biology": "sci_mmlu_pro/deepseek__biology_result.json.gz",
    "deepseek chemistry": "sci_mmlu_pro/deepseek__chemistry_result.json.gz",
    "deepseek physics": "sci_mmlu_pro/deepseek__physics_result.json.gz",
    "gpt-4o biology": "sci_mmlu_pro/gpt4o__biology_result.json.gz",
    "qwen3 computing": "traces_qwen3_mmlupro/cs_think_bias_19.json.gz",
    "qwen3 computing, no thought": "traces_qwen3_mmlupro/cs_nothink.json.gz",
    "qwen3 mathematics": "traces_qwen3_mmlupro/math_result_a417fe.json.gz",
    "qwen3 psychology": "traces_qwen3_mmlupro/psychology_result_14fd64.json.gz",
}
CHOSEN: dict[str, Callable[[], Iterator[Chosen]]] = {
    "jee": jee,
    **{name: partial(mmlu_pro, file) for name, file in _FILES.items()},
    "groq": groq,
}
