"""Score tables: Table 1 of TinyR1 with one's own models beside the published rows."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tracecraft import yaml
from tracecraft.errors import RecipeError, UsageError

PUBLISHED = Path(__file__).with_name("published.yaml")
FORMATS = (".md", ".csv", ".json")
Cells = dict[str, Any]


def table_one(found: Sequence[Mapping[str, Any]]) -> list[Cells]:
    """Table 1: a row a model, published ones first; values are shares, not percent.

    Args:
        found: what `scores.json` of evaluations holds, the newest last: of one model on one
            benchmark the last score counts.
    """
    told = yaml.load(PUBLISHED, RecipeError)
    rows = [
        {
            "model": row["model"],
            "origin": "published",
            "source": told["source"],
            "scores": {
                name: {"value": round(value / 100, 6), "tokens": row.get("tokens", {}).get(name)}
                for name, value in row["scores"].items()
            },
        }
        for row in told["rows"]
    ]
    own: dict[str, Cells] = {}
    for one in found:
        for model, cells in _measured(one["scores"]).items():
            fresh = {"model": model, "origin": "measured", "source": "tracecraft", "scores": {}}
            own.setdefault(model, fresh)["scores"].update(cells)
    return [*rows, *own.values()]


def columns(rows: Sequence[Cells]) -> list[str]:
    """Benchmarks of the table: the paper's in its order, then others."""
    paper = yaml.load(PUBLISHED, RecipeError)["columns"]
    found = list(dict.fromkeys(name for row in rows for name in row["scores"]))
    return [name for name in paper if name in found] + [n for n in found if n not in paper]


def rendered(rows: Sequence[Cells], ending: str, titles: Mapping[str, str]) -> str:
    """The table as Markdown, CSV or JSON, by a file's ending.

    Raises:
        UsageError: another ending.
    """
    if ending == ".json":
        return json.dumps(list(rows), indent=2, ensure_ascii=False) + "\n"
    if ending == ".csv":
        return _csv(rows)
    if ending == ".md":
        return _markdown(rows, titles)
    raise UsageError(f"a table is written as {', '.join(FORMATS)}, not {ending or 'that'}")


def cell(one: Mapping[str, Any] | None) -> str:
    """A score as `72.6 ± 3.1 (9.6k)`: percent, its standard error over problems, mean tokens."""
    if one is None:
        return "–"
    error, tokens = one.get("stderr_problem"), one.get("tokens")
    spread = f" ± {100 * error:.1f}" if error is not None else ""
    short = f"{tokens:.0f}" if tokens and tokens < 1000 else f"{(tokens or 0) / 1000:.1f}k"
    length = f" ({short})" if tokens else ""
    return f"{100 * one['value']:.1f}{spread}{length}"


def _measured(scores: Sequence[Mapping[str, Any]]) -> dict[str, Cells]:
    """Each model's score on each benchmark, with its interval and mean tokens."""
    made: dict[str, Cells] = {}
    for row in scores:
        cells = made.setdefault(row["model"], {})
        name = row["metric"]
        if name.startswith("avg@") and name[4:].isdecimal():
            kept = ("value", "low", "high", "stderr", "stderr_problem", "problems", "samples")
            cells[row["benchmark"]] = {"tokens": None, **{key: row[key] for key in kept}}
        elif name == "tokens.mean":
            cells[row["benchmark"]]["tokens"] = round(row["value"])
    return made


def _markdown(rows: Sequence[Cells], titles: Mapping[str, str]) -> str:
    names = columns(rows)
    head = ["model", *(titles.get(name, name) for name in names)]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        mark = " †" if row["origin"] == "published" else ""
        cells = [cell(row["scores"].get(name)) for name in names]
        lines.append("| " + " | ".join([row["model"] + mark, *cells]) + " |")
    lines += ["", "avg@n (the paper's pass@1) in percent ± standard error over problems, and mean"]
    lines += ["output tokens."]
    source = next((row["source"] for row in rows if row["origin"] == "published"), None)
    lines += [f"† as published in {source}, not measured here."] if source else []
    lines.append("")
    return "\n".join(lines)


def _csv(rows: Sequence[Cells]) -> str:
    names = ("value", "low", "high", "stderr", "stderr_problem", "tokens", "problems", "samples")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["model", "origin", "source", "benchmark", *names])
    for row in rows:
        for benchmark, one in row["scores"].items():
            cells = [one.get(name) for name in names]
            writer.writerow([row["model"], row["origin"], row["source"], benchmark, *cells])
    return out.getvalue()
