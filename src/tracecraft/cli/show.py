"""How results look in a terminal: tables by rich, or JSON for machines."""

import json
import re
import sys
from typing import Any

import polars as pl
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from tracecraft.cli.figures import STYLES, bar
from tracecraft.cli.watch import duration
from tracecraft.schema import DROPPED
from tracecraft.summary import Rate, Summary

TEXT_WIDTH = 160
"""Characters of a cell that `show` prints."""
PLAIN_WIDTH = 160
"""Characters of a line that nobody's terminal cuts."""
READ = {"statement": 1200, "reasoning": TEXT_WIDTH, "response": 1600}
"""Columns that `show` prints as text, and how many characters of them."""
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


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
    table.add_column("left", style="cyan")
    table.add_column("time", justify="right")
    scale = 1
    for line in summary.funnel:
        drops = "\n".join(f"{n:,} {rule}" for rule, n in line.dropped.items())
        if line.rows_out > line.rows_in or (not line.dropped and line.rows_out != line.rows_in):
            scale = line.rows_out  # a source, or one row became several
        scale = max(scale, line.rows_in, line.rows_out)
        left = bar(line.rows_out / scale, 12)
        rows = ("", "") if line.job and not line.rows_in else (line.rows_in, line.rows_out)
        counts = [f"{one:,}" if isinstance(one, int) else one for one in rows]
        row = (line.name, counts[0], drops, counts[1], left)
        table.add_row(*map(Text, row), duration(line.seconds))
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
    """A few rows, one panel a row: what was asked and answered as text, reasoning folded."""
    if not table.height:
        console.print(f"{title}: no rows")
        return
    for i, row in enumerate(table.iter_rows(named=True)):
        told = {name: value for name, value in row.items() if value is not None}
        texts = [part for name in READ if name in told for part in _passage(name, told.pop(name))]
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim")
        grid.add_column(overflow="fold")
        for name, value in told.items():
            style = STYLES.get(str(value), "red" if name == DROPPED else "")
            grid.add_row(Text(name), Text(shortened(value), style=style))
        head = Text(f"{title} row {i}", style="bold")
        console.print(Panel(Group(*texts, grid), title=head, title_align="left"))


def _passage(name: str, value: object) -> list[RenderableType]:
    """A text under its name; of the reasoning, as much as fits in two lines."""
    told = str(value).strip()
    if not told:
        return []
    if name == "reasoning":
        head = f"{name}, {len(told):,} characters"
        return [Text(head, style="bold"), Text(shortened(told), style="dim"), Text()]
    most = READ[name]
    left = len(told) - most
    ending = f" … ({left:,} more characters)" if left > 0 else ""
    return [Text(name, style="bold"), Text(harmless(told[:most]) + ending), Text()]


def harmless(text: str) -> str:
    """A text of others without what a terminal would obey: escapes and other controls."""
    return CONTROLS.sub("\ufffd", text)


def shortened(value: object) -> str:
    """A cell on one line, at most `TEXT_WIDTH` characters."""
    text = harmless(str(value).replace("\n", "⏎ "))
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
        table.add_row(*(Text("" if v is None else harmless(str(v))) for v in row.values()))
    console.print(table)
