"""An evaluation as logs of inspect, with every answer and its verdict."""

import importlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from tracecraft.errors import MissingExtra, UsageError
from tracecraft.evaluate.items import ITEM, ORDER
from tracecraft.store import Dataset, Manifest, replacing
from tracecraft.version import __version__

SCORER = "tracecraft"
FORMATS = {".json": "json", ".eval": "eval"}
_STOPS = {"stop": "stop", "length": "max_tokens"}


def write_logs(folder: Path, out: Path) -> list[Path]:
    """One log a model and benchmark; several are told apart by their names in the file's.

    An answer is right in the log exactly where it is here, so inspect's accuracy is avg@n and its
    stderr the error over problems. Of a private benchmark no question goes in.

    Args:
        folder: what a `score` job wrote, in its store.
        out: a file that ends in .json or .eval.

    Raises:
        MissingExtra: inspect is not installed.
        UsageError: another ending.
    """
    if out.suffix not in FORMATS:
        raise UsageError(f"{out}: an inspect log ends in .json or .eval")
    try:
        inspect = importlib.import_module("inspect_ai.log")
    except ModuleNotFoundError:
        raise MissingExtra("inspect-ai", "eval", "a log for inspect") from None
    told = json.loads((folder / "scores.json").read_bytes())
    facts = {one["name"]: one for one in told["benchmarks"]}
    store = folder.parent.parent
    homes = [store / name for name in Manifest.read(folder.parent).inputs]
    problems = dict(zip(facts, homes[len(told["answers"]) :], strict=False))
    written = []
    for one, home in zip(told["answers"], homes, strict=False):
        scores = [row for row in told["scores"] if _same(row, one)]
        log = _log(one, facts[one["benchmark"]], scores, home, problems[one["benchmark"]])
        several = len(told["answers"]) > 1
        name = f"{out.stem}-{one['benchmark']}-{one['model']}" if several else out.stem
        path = out.with_name(name + out.suffix)
        with replacing(path) as half:
            made = inspect.EvalLog.model_validate(log)
            inspect.write_eval_log(made, str(half), format=FORMATS[out.suffix])
        written.append(path)
    return written


def _same(row: Mapping[str, Any], one: Mapping[str, Any]) -> bool:
    return bool(row["benchmark"] == one["benchmark"] and row["model"] == one["model"])


def _log(
    one: Mapping[str, Any],
    facts: Mapping[str, Any],
    scores: list[Mapping[str, Any]],
    home: Path,
    asked: Path,
) -> dict[str, Any]:
    made = Manifest.read(home).made_by
    teacher = ", ".join(one["teacher"]) or one["model"]  # `none` is inspect's word for no server
    main = next(row for row in scores if row["metric"] == f"avg@{facts['samples']}")
    metrics = {"accuracy": main["value"], "stderr": main["stderr_problem"] or 0.0}
    samples = list(_samples(home, asked, one, private=facts["private"]))
    items = list(dict.fromkeys(sample["id"] for sample in samples))
    score = {
        "name": SCORER,
        "scorer": SCORER,
        "reducer": "mean",
        "metrics": {name: {"name": name, "value": value} for name, value in metrics.items()},
    }
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "created": made.get("at") or made.get("time") or "1970-01-01T00:00:00+00:00",
            "task": facts["name"],
            "task_display_name": facts["title"],
            "dataset": {
                "name": facts["name"],
                "location": facts["dataset"].get("repo"),
                "samples": len(items),
                "sample_ids": items,
            },
            "model": f"none/{teacher}",
            "model_generate_config": _config(one.get("sampling", {})),
            "config": {"epochs": facts["samples"], "epochs_reducer": ["mean"]},
            "packages": {"tracecraft": __version__},
            "metadata": {"preset": facts["preset"], "dataset": facts["dataset"], "scores": scores},
        },
        "results": {
            "total_samples": len(samples),
            "completed_samples": len(samples),
            "scores": [score],
        },
        "samples": samples,
    }


def _config(sampling: Mapping[str, Any]) -> dict[str, Any]:
    known = ("temperature", "top_p", "max_tokens", "seed")
    return {name: sampling[name] for name in known if name in sampling}


def _samples(
    home: Path, asked: Path, one: Mapping[str, Any], *, private: bool
) -> Iterator[dict[str, Any]]:
    """The answers in the order of items and samples."""
    known = Dataset.open(asked).scan().collect_schema().names()
    extra = ["choices"] if "choices" in known else []
    problems = Dataset.open(asked).scan().select("problem_id", ITEM, ORDER, *extra).collect()
    rows = (
        Dataset.open(home)
        .scan()
        .collect()
        .join(problems.with_row_index("place"), on="problem_id", maintain_order="left")
        .sort(pl.col("place").min().over(ITEM), ORDER, "sample_index")
        .with_columns(pl.int_range(pl.len()).over(ITEM).alias("epoch"))
    )
    for row in rows.iter_rows(named=True):
        yield _sample(row, ", ".join(one["teacher"]), private=private)


def _sample(row: Mapping[str, Any], teacher: str, *, private: bool) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "text", "text": row["response"] or ""}]
    if row["reasoning"]:
        content.insert(0, {"type": "reasoning", "reasoning": row["reasoning"]})
    asked = f"{row[ITEM]} (a private question)" if private else row["statement"] or ""
    answer = {"role": "assistant", "content": [] if private else content}
    right = row["outcome"] == "correct" and row["finish"] == "stop"
    score = {
        "value": "C" if right else "I",
        "answer": row["extracted"],
        "explanation": None if private else row["detail"],
        "metadata": {"outcome": row["outcome"], "finish": row["finish"]},
    }
    made = {
        "id": row[ITEM],
        "epoch": row["epoch"] + 1,
        "input": asked,
        "target": row["answer"] or "",
        "messages": [{"role": "user", "content": asked}, answer],
        "output": {
            "model": teacher,
            "choices": [{"message": answer, "stop_reason": _STOPS.get(row["finish"], "unknown")}],
            "usage": {
                "input_tokens": row["prompt_tokens"] or 0,
                "output_tokens": row["completion_tokens"] or 0,
                "total_tokens": (row["prompt_tokens"] or 0) + (row["completion_tokens"] or 0),
            },
        },
        "scores": {SCORER: score},
    }
    return made | ({"choices": row["choices"]} if row.get("choices") and not private else {})
