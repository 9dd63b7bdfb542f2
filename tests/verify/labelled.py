"""The labelled sets among the real data, as rows of a reference answer, a response and a label."""

import gzip
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from places import shared_data


@dataclass(frozen=True)
class Labelled:
    id: str
    """File, row and sample, each counted from 0."""
    reference: str
    response: str
    right: bool


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


SETS: dict[str, Callable[[], Iterator[Labelled]]] = {
    "prime": lambda: graded("eq_prime_outputs"),
    "qwen": lambda: graded("eq_qwen_rm_maj_math_cot"),
    "skythought": lambda: graded("traces_skythought_math"),
    "mathverify": lambda: pairs_of("eq_mathverify_tests"),
    "nemo": equal_or_not,
    "tricky": tricky,
}
