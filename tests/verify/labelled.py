"""The labelled sets among the real data, as rows of a reference answer, a response and a label."""

import ast
import gzip
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from places import shared_data
from tracecraft.verify.math import Math
from tracecraft.verify.quantity import Quantity
from tracecraft.verify.verifier import Verifier

_MATH = Math()
_WITHIN = 0.04
"""Relative tolerance of TheoremQA's own grader."""


@dataclass(frozen=True)
class Labelled:
    id: str
    """File, row and sample, each counted from 0."""
    reference: str
    response: str
    right: bool
    judge: Verifier = _MATH


def rows(path: Path) -> list[dict[str, Any]]:
    data = path.read_bytes()
    text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode()
    if text.lstrip().startswith("["):
        found: list[dict[str, Any]] = json.loads(text)
        return found
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def graded(folder: str) -> Iterator[Labelled]:
    for n, path in enumerate(sorted(shared_data(folder).glob("*.jsonl.gz"))):
        for i, row in enumerate(rows(path)):
            pairs = zip(row["code"], row.get("score") or [], strict=False)
            for k, (response, score) in enumerate(pairs):
                reference = str(row.get("answer") or row["gt"])
                yield Labelled(f"{n}.{i}.{k}", reference, response, bool(score))


def pairs_of(folder: str) -> Iterator[Labelled]:
    for n, path in enumerate(sorted(shared_data(folder).glob("*.jsonl"))):
        for i, row in enumerate(rows(path)):
            gold, given = row.get("gold"), row.get("pred")
            if isinstance(gold, str) and isinstance(given, str):
                right = bool(row.get("expected", row.get("result")))
                yield Labelled(f"{n}.{i}.0", gold, given, right)


def equal_or_not() -> Iterator[Labelled]:
    path = next(shared_data("eq_nemo_skills_tests").glob("*.jsonl"))
    for i, row in enumerate(rows(path)):
        if len(row["output_pair"]) == 2:
            for k in range(2):
                gold, given = (str(x) for x in row["output_pair"][:: 1 - 2 * k])
                yield Labelled(
                    f"0.{i}.{k}", gold, f"\\boxed{{{given}}}", "incorrect" not in row["test"]
                )


def tricky() -> Iterator[Labelled]:
    for i, row in enumerate(rows(shared_data("answer_cases/cases.jsonl"))):
        if row["domain"] in {"math", "math_response"}:
            boxed = f"\\boxed{{{row['answer']}}}" if row["domain"] == "math" else row["answer"]
            yield Labelled(f"0.{i}.0", row["gold"], boxed, row["correct"])


def programs() -> Iterator[Labelled]:
    """ToRA's programs with what they print; right where its own reading is the number asked for."""
    for n, path in enumerate(sorted(shared_data("eq_tora_outputs").glob("*.jsonl.gz"))):
        for i, row in enumerate(rows(path)):
            for k, (response, read) in enumerate(zip(row["code"], row["pred"], strict=True)):
                yield Labelled(f"{n}.{i}.{k}", row["gt"], response, _near(read, row["gt"], 0))


def annotated() -> Iterator[Labelled]:
    """MARIO's annotated answers of MATH, each accepted one, beside MATH's own solutions."""
    solved = {
        r["problem"]: r["solution"] for r in rows(shared_data("math_MATH/MATH_test5000.jsonl.gz"))
    }
    for i, row in enumerate(rows(shared_data("eq_mario_eval/math_testset_annotation.json.gz"))):
        for k, answer in enumerate(_accepted(row["answer"])):
            reference = solved[row["question"]]
            yield Labelled(f"0.{i}.{k}", reference, f"\\boxed{{{answer}}}", right=True)


def apart() -> Iterator[Labelled]:
    """Each annotated answer of MATH beside the next of its type; right where both are one text."""
    last: dict[str, str] = {}
    for i, row in enumerate(rows(shared_data("eq_mario_eval/math_testset_annotation.json.gz"))):
        text, kind = _accepted(row["answer"])[0], row["human_type"]
        if kind in last:
            alike = text.replace(" ", "") == last[kind].replace(" ", "")
            yield Labelled(f"0.{i}.0", last[kind], f"\\boxed{{{text}}}", alike)
        last[kind] = text


def _accepted(answer: str | list[str]) -> list[str]:
    return [answer] if isinstance(answer, str) else answer


def theorems() -> Iterator[Labelled]:
    """TheoremQA's rationales; right where its own rule accepts what its own reader extracted."""
    measured = Quantity(tolerance=_WITHIN)
    for n, path in enumerate(sorted(shared_data("eq_theoremqa_outputs").glob("*.jsonl.gz"))):
        for i, row in enumerate(rows(path)):
            kind, answer = row["answer_type"], str(row["answer"])
            read = str(row["prediction"] or "")
            if kind == "option":
                right = answer in read.lower()
            elif kind == "bool":
                right = read.lower() == answer.lower()
            elif kind.startswith("list"):
                right = _listed(read, ast.literal_eval(answer))
            else:
                right = _near(read, answer, _WITHIN if kind == "float" else 0)
            judge = measured if kind == "float" else Math()
            yield Labelled(f"{n}.{i}.0", answer, row["rationale"], right, judge)


def _near(read: str, answer: str, within: float) -> bool:
    """Whether the one number that was read is the one asked for."""
    values = re.split(r"=|≈|\\approx", read.replace(",", ""))
    numbers = re.findall(r"(-?\d+(?:\.\d+)?(?:[eE]-?\d+)?)(?:/(\d+))?(%?)", values[-1])
    if len(numbers) != 1 or re.search(r"[\\^π√]", values[-1]):
        return False
    top, bottom, percent = numbers[0]
    value, want = float(top) / float(bottom or 1), float(answer.replace(",", ""))
    return abs((value / 100 if percent else value) - want) <= within * abs(want)


def _listed(read: str, answer: list[float]) -> bool:
    try:
        found = sorted(float(x) for x in ast.literal_eval(read))
    except (ValueError, SyntaxError, TypeError):
        return False
    pairs = zip_longest(found, sorted(answer), fillvalue=float("nan"))
    return all(abs(x - y) <= _WITHIN * abs(y) for x, y in pairs)


SETS: dict[str, Callable[[], Iterator[Labelled]]] = {
    "prime": lambda: graded("eq_prime_outputs"),
    "qwen": lambda: graded("eq_qwen_rm_maj_math_cot"),
    "skythought": lambda: graded("traces_skythought_math"),
    "mathverify": lambda: pairs_of("eq_mathverify_tests"),
    "nemo": equal_or_not,
    "tricky": tricky,
    "tora": programs,
    "mario": annotated,
    "mario apart": apart,
    "theoremqa": theorems,
}
