"""A benchmark of six sums and models that answer it as told, on disk."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

PROBLEMS = [
    {"id": f"sum-{i}", "problem": f"What is {i} plus {i}?", "answer": str(2 * i)} for i in range(6)
]
Answer = Callable[[int, int], Any]
"""Item and sample to what is said: a text, or a mapping as `replay` reads it."""


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def write_benchmark(folder: Path, name: str = "sums", rows: Any = None, **more: Any) -> Path:
    write_lines(folder / f"{name}.jsonl", PROBLEMS if rows is None else rows)
    told = {
        "domain": "math",
        "samples": 4,
        "source": {"use": "files", "path": f"{name}.jsonl"},
        "verifier": {"use": "math"},
        **more,
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(told), "utf-8")  # JSON is YAML
    return path


def write_model(folder: Path, name: str, say: Answer, samples: int = 4) -> dict[str, Any]:
    """An engine that replays what `say` says."""
    rows = [
        {"statement": one["problem"], "answers": [say(i, s) for s in range(samples)]}
        for i, one in enumerate(PROBLEMS)
    ]
    return {"use": "replay", "path": str(write_lines(folder / f"{name}.jsonl", rows))}


def right(item: int, sample: int) -> str:
    return f"<think>\nTwice {item}.\n</think>\n\n\\boxed{{{2 * item}}}"


def wrong(item: int, sample: int) -> str:
    return f"<think>\nTwice {item}.\n</think>\n\n\\boxed{{{2 * item + 1}}}"


def half(item: int, sample: int) -> str:
    return (right if sample % 2 else wrong)(item, sample)
