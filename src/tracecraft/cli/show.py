"""How results look in a terminal: tables by rich, or JSON for machines."""

import json
import sys
from typing import Any

import polars as pl
from rich.console import Console
from rich.table import Table

from tracecraft.cli.watch import duration
from tracecraft.summary import Rate, Summary

TEXT_WIDTH = 160
"""Characters of a cell that `show` prints."""
PLAIN_WIDTH = 160
"""Characters of a line that nobody's terminal cuts."""


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def print_json_line(value: Any) -> None:
    """One JSON document on one line of stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def print_summary(summary: Summary, console: Console) -> None:
    """The funnel, and under it what the teacher did and where the results lie."""
    table = Table(title=f"run {summary.run}", title_justify="left", expand=False)
    table.add_column("stage")
    table.add_column("in", justify="right")
    table.add_column("dropped, by rule")
    table.add_column("out", justify="right")
    table.add_column("time", justify="right")
    for line in summary.funnel:
        drops = "\n".join(f"{n:,} {rule}" for rule, n in line.dropped.items())
        row = (line.name, f"{line.rows_in:,}", drops, f"{line.rows_out:,}", duration(line.seconds))
        table.add_row(*row)
    console.print(table)
    for label, told in _facts(summary):
        console.print(f"  {label:<10} {told}", highlight=False, soft_wrap=True)


def _facts(summary: Summary) -> list[tuple[str, str]]:
    facts = []
    if summary.output_tokens:
        told = f"{summary.prompt_tokens:,} prompt, {summary.output_tokens:,} output"
        facts.append(("tokens", told))
    if summary.truncated is not None:
        facts.append(("truncated", _rate(summary.truncated)))
    if summary.pass_rate is not None:
        facts.append(("verdicts", ", ".join(f"{n:,} {o}" for o, n in summary.outcomes.items())))
        problems = summary.pass_rate.problems
        told = f"{_rate(summary.pass_rate)}; {summary.solved:,} of {problems:,} problems solved"
        facts.append(("pass rate", told))
    if summary.domains:
        facts.append(("kept", ", ".join(f"{n:,} {d}" for d, n in summary.domains.items())))
    elif summary.funnel:
        facts.append(("kept", "nothing: see the column 'dropped' above for the rules that took it"))
    facts.append(("time", duration(summary.seconds)))
    last = summary.funnel[-1] if summary.funnel else None
    places = {name: str(path) for name, path in summary.outputs.items()}
    if not places and last is not None:
        places = {last.name: str(last.place / "shards")}
    facts += list(places.items())
    return facts


def _rate(rate: Rate) -> str:
    return (
        f"{rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}] of {rate.traces:,} traces "
        f"(95% over {rate.problems:,} problems)"
    )


def print_rows(table: pl.DataFrame, console: Console, title: str) -> None:
    """A few rows, one block a row, long texts shortened."""
    if not table.height:
        console.print(f"{title}: no rows")
        return
    for i, row in enumerate(table.iter_rows(named=True)):
        block = Table(title=f"{title} row {i}", title_justify="left", show_header=False)
        block.add_column(style="bold")
        block.add_column(overflow="fold")
        for name, value in row.items():
            if value is not None:
                block.add_row(name, shortened(value))
        console.print(block)


def shortened(value: object) -> str:
    """A cell on one line, at most `TEXT_WIDTH` characters."""
    text = str(value).replace("\n", "⏎ ")
    if len(text) <= TEXT_WIDTH:
        return text
    return f"{text[: TEXT_WIDTH - 30]} … {text[-20:]} ({len(text):,} characters)"


def print_table(rows: list[dict[str, Any]], console: Console, title: str = "") -> None:
    """Rows of equal keys as a table; `PLAIN_WIDTH` wide where there is no terminal."""
    console = console if console.is_terminal else Console(width=PLAIN_WIDTH)
    table = Table(title=title or None, title_justify="left")
    for name in rows[0] if rows else []:
        table.add_column(str(name), overflow="fold")
    for row in rows:
        table.add_row(*("" if v is None else str(v) for v in row.values()))
    console.print(table)
