"""How scores look: in a terminal, as files, and as Table 1."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from tracecraft.cli.frame import stderr
from tracecraft.cli.show import PLAIN_WIDTH, print_json_line
from tracecraft.errors import UsageError
from tracecraft.store import replacing, write_json, write_text


def read_scores(folder: Path) -> dict[str, Any]:
    """What a `score` job wrote."""
    told: dict[str, Any] = json.loads((folder / "scores.json").read_bytes())
    return told


def show_scores(folder: Path, out: Path | None, *, as_json: bool) -> None:
    """Print the scores of an evaluation, or write them to a file."""
    told = read_scores(folder)
    if as_json:  # the last line, after the run's events
        print_json_line({"event": "done", "folder": str(folder), **told})
    else:
        console = Console()
        console = console if console.is_terminal else Console(width=PLAIN_WIDTH)
        for facts in told["benchmarks"]:
            console.print(_main(facts, told))
            lines = (*_differences(facts, told), *_lengths(facts, told), *_protocol(facts, told))
            for line in lines:
                console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
        for note in told["notes"]:
            console.print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
        stderr.print(f"  scores     {folder}", highlight=False, soft_wrap=True)
    if out is not None:
        _write(folder, told, out)


def show_table(store: Path, out: Path | None, *, as_json: bool) -> None:
    """Table 1: the published models, and every model that the store has scores of."""
    from tracecraft.evaluate.table import cell, columns, rendered, table_one
    from tracecraft.history import Run

    found = [
        read_scores(run.output(step.name))
        for run in Run.all(store)
        for step in run.steps
        if step.use == "score" and (step.home / "manifest.json").exists()
    ]
    rows = table_one(found)
    titles = _titles(found)
    if out is not None:
        write_text(out, rendered(rows, out.suffix, titles))
    if as_json:
        print_json_line({"event": "table", "rows": rows})
        return
    names = columns(rows)
    table = Table(title="avg@n (the paper's pass@1) in %, ± standard error, mean tokens")
    for name in ("model", *(titles.get(name, name) for name in names)):
        table.add_column(name, overflow="fold")
    for row in rows:
        mark = " †" if row["origin"] == "published" else ""
        table.add_row(row["model"] + mark, *(cell(row["scores"].get(name)) for name in names))
    console = Console()
    console = console if console.is_terminal else Console(width=PLAIN_WIDTH)
    console.print(table)
    console.print(f"† published: {rows[0]['source']}", highlight=False)


def export(folder: Path, out: Path) -> None:
    """Write the evaluation as logs of inspect: one file a model and benchmark."""
    from tracecraft.evaluate.inspect_log import write_logs

    for path in write_logs(folder, out):
        stderr.print(f"  inspect    {path}", highlight=False, soft_wrap=True)


def _titles(found: list[dict[str, Any]]) -> dict[str, str]:
    from tracecraft.evaluate.benchmark import load, shipped

    titles = {name: load(name).title for name in shipped()}
    for one in found:
        titles |= {facts["name"]: facts["title"] for facts in one["benchmarks"]}
    return titles


def _main(facts: Mapping[str, Any], told: Mapping[str, Any]) -> Table:
    """One line a model: the score with both errors, and what stands beside it."""
    n, name = facts["samples"], facts["name"]
    data = facts["dataset"]
    table = Table(title=f"{facts['title']}: {data['items']} problems, {n} answers each")
    heads = ["model", f"avg@{n} (pass@1)", "95%", "± samples", "± problems"]
    best = f"pass@{n}" if n > 1 else ""
    other = [best, f"maj@{n}", "truncated", "unverifiable", "failed", "tokens.mean"]
    other += ["contamination", f"avg@{n}.clean"]
    by_model: dict[str, dict[str, Any]] = {}
    for row in told["scores"]:
        if row["benchmark"] == name:
            by_model.setdefault(row["model"], {})[row["metric"]] = row
    other = [one for one in other if any(one in rows for rows in by_model.values())]
    for head in (*heads, *other):
        table.add_column(head, justify="left" if head == "model" else "right")
    for model, rows in by_model.items():
        main = rows[f"avg@{n}"]
        interval = f"{_percent(main['low'])}–{_percent(main['high'])}"
        errors = [_percent(main["stderr"]), _percent(main["stderr_problem"])]
        beside = [
            f"{rows[one]['value']:,.0f}"
            if one.startswith("tokens") and one in rows
            else _percent(rows[one]["value"] if one in rows else None)
            for one in other
        ]
        table.add_row(model, _percent(main["value"]), interval, *errors, *beside)
    return table


def _differences(facts: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    """Every model beside the first one and the last one; all pairs are in the files."""
    own = [row for row in told["differences"] if row["benchmark"] == facts["name"]]
    models = list(dict.fromkeys(name for row in own for name in (row["other"], row["model"])))
    ends = {*models[:1], *models[-1:]}
    return [
        f"{row['model']} − {row['other']}: {100 * row['value']:+.1f} points, 95% "
        f"{100 * row['low']:+.1f} to {100 * row['high']:+.1f} (paired, {row['problems']} problems)"
        for row in own
        if {row["model"], row["other"]} & ends
    ]


def _lengths(facts: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    """Tokens of right and wrong answers, of thoughts and what follows them."""
    lines = []
    for one in told["answers"]:
        own = {
            row["metric"]: row["value"]
            for row in told["scores"]
            if row["benchmark"] == facts["name"] == one["benchmark"]
            and row["model"] == one["model"]
        }
        parts = [
            f"{part} {own[f'tokens.{part}.mean']:,.0f} (median {own[f'tokens.{part}.median']:,.0f}"
            f", p90 {own[f'tokens.{part}.p90']:,.0f})"
            for part in ("right", "wrong", "reasoning", "answer")
            if f"tokens.{part}.mean" in own
        ]
        if parts:
            lines.append(f"tokens     {one['model']}: {', '.join(parts)}")
    return lines


def _protocol(facts: Mapping[str, Any], told: Mapping[str, Any]) -> list[str]:
    """What was asked how, of whom, and who judged: enough to do it again."""
    data = facts["dataset"]
    place = data.get("repo") or ", ".join(str(one[0]) for one in data.get("path", []))
    revision = f"@{data['revision']}" if "revision" in data else ""
    lines = [f"data       {place}{revision}, digest {data['digest']}"]
    seen: list[str] = []
    for one in told["answers"]:
        if one["benchmark"] != facts["name"]:
            continue
        drawn = one.get("sampling")
        seen.append(f"{one['model']:<10} {', '.join(one['teacher'])}")
        if drawn is None:
            seen.append("asked      by something else: its answers are on file")
        else:
            shown = ", ".join(f"{k} {drawn[k]}" for k in ("temperature", "top_p", "max_tokens"))
            opened = f"opening {one['opening']!r}"
            seen.append(f"asked      preset {facts['preset']}: {shown}, {opened}")
        seen.append(f"judged     {', '.join(one['verifier'])}")
    return [*lines, *dict.fromkeys(seen)]


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _write(folder: Path, told: dict[str, Any], out: Path) -> None:
    from tracecraft.evaluate.table import rendered, table_one

    if out.suffix == ".json":
        write_json(out, told)
    elif out.suffix == ".parquet":
        with replacing(out) as half:
            half.write_bytes((folder / "scores.parquet").read_bytes())
    elif out.suffix == ".csv":
        write_text(out, pl.read_parquet(folder / "scores.parquet").write_csv())
    elif out.suffix == ".md":
        ours = [row for row in table_one([told]) if row["origin"] == "measured"]
        write_text(out, rendered(ours, ".md", _titles([told])))
    else:
        raise UsageError(f"--out {out}: scores are written as .json, .csv, .md or .parquet")
