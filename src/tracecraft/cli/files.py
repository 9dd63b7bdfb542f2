"""Stages as commands over files: rows in, the same rows out with what the stage adds."""

import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.live import Live
from rich.text import Text

from tracecraft.cli import rows
from tracecraft.cli.frame import RUNS, AsJson, StoreFolder, app, override, stderr
from tracecraft.cli.show import print_json
from tracecraft.cli.watch import duration
from tracecraft.completions import Completions
from tracecraft.errors import UsageError
from tracecraft.schema import DROPPED, OPTIONAL, VERDICT
from tracecraft.stage import Desk, Progress, Stage

AGAINST = (
    "A benchmark's file, or a preset (repeatable): aime24, aime25, amc23, gpqa_diamond, humaneval, "
    "livecodebench, math500, mbpp."
)

Inputs = Annotated[
    list[Path],
    typer.Argument(metavar="FILE…", help="JSONL, JSON, CSV, Parquet, Arrow, also .gz; a folder."),
]
Judged = Annotated[
    list[Path],
    typer.Argument(metavar="FILE…", help="As for other commands, or hub:org/name[@revision]."),
]
Out = Annotated[
    Path,
    typer.Option(help="By its ending .parquet, .jsonl, .arrow one file, else a `datasets` folder."),
]
Dropped = Annotated[
    Path | None, typer.Option(help="Where dropped rows go; beside OUT if not said.")
]
Map = Annotated[
    list[str] | None, typer.Option("--map", help="ours=theirs: which column is which (repeatable).")
]
Options = Annotated[
    list[str] | None,
    typer.Option("--set", help="An option of the stage, as in a recipe: verifier.policy=lenient."),
]
Column = Annotated[str, typer.Option(help="The column that is read.")]


@app.command()
def verify(
    files: Judged,
    out: Annotated[
        Path | None, typer.Option(help="As for other commands; without, stored verdicts are tried.")
    ] = None,
    use: Annotated[
        str | None,
        typer.Option(help="math, code, choice, quantity, judge or auto; else as it was published."),
    ] = None,
    mapping: Map = None,
    options: Options = None,
    store: StoreFolder = RUNS,
    as_json: AsJson = False,
) -> None:
    """Judge every row's response by its reference answer; adds outcome, extracted, detail.

    Without --out, rows that hold verdicts are judged again: exit 1 where one differs. What a
    judge's model answers is kept in the store's completion ledger.
    """
    from tracecraft.cli import again
    from tracecraft.publish.hub_stored import Stored

    places = [Stored.at(path) for path in files]
    files = [file for place in places for file in place.files]
    known = {name: one for place in places for name, one in place.verifiers.items()}
    table = rows.read(files, mapping)
    if out is None and again.OUTCOME not in table.columns:
        raise UsageError("verify: --out is missing, and the rows hold no verdicts to try again")
    said = {"": {"use": use or "auto"}}
    asked = again.groups(said if use or not known else known, table)
    stages = [_stage({"use": "verify", "verifier": dict(one)}, options) for one, _ in asked]
    ours = rows.answered(stages, table, mapping, files)
    ours = again.with_problems(ours, [file for place in places for file in place.problems])
    with Completions(store / "completions") as completions:
        desk = Desk(completions=completions)
        if out is None:
            made = [
                _asked(stage, ours.filter(some), desk, quiet=as_json)
                for stage, (_, some) in zip(stages, asked, strict=True)
            ]
            again.check(table, [some for _, some in asked], made, as_json=as_json)
        elif len(stages) > 1:
            raise UsageError("verify: several verifiers judged these rows: choose one with --use")
        else:
            _carry_out(stages[0], table, ours, out, None, as_json=as_json, desk=desk)


@app.command()
def dedupe(
    files: Inputs,
    out: Out,
    column: Column = "statement",
    threshold: Annotated[float, typer.Option(help="Jaccard similarity of a duplicate.")] = 0.8,
    dropped: Dropped = None,
    index: Annotated[
        Path | None,
        typer.Option(help="Also write an index of what stays, for --set published=INDEX later."),
    ] = None,
    mapping: Map = None,
    options: Options = None,
    as_json: AsJson = False,
) -> None:
    """Keep one row of every cluster of near-duplicates.

    With --set published=INDEX also drop what an earlier run kept; a new --index then holds both.
    """
    from tracecraft.curate.dedupe import Dedupe

    stage = _stage({"use": "dedupe", "column": column, "threshold": threshold}, options)
    plain = (
        [one.suffix for one in (*files, out)] == [".jsonl"] * 2 and not mapping and index is None
    )
    if plain and _by_lines(stage, files[0], out, dropped, as_json=as_json):
        return
    table = rows.read(files, mapping)
    ours = rows.as_ours(table, mapping, (column,), files)
    stays = _carry_out(stage, table, ours, out, dropped, as_json=as_json)
    if index is not None:
        assert isinstance(stage, Dedupe)
        stage.index(ours.filter(stays).lazy(), index)


@app.command()
def decontaminate(
    files: Inputs,
    out: Out,
    against: Annotated[list[str], typer.Option(metavar="BENCH…", help=AGAINST)],
    column: Column = "statement",
    dropped: Dropped = None,
    mapping: Map = None,
    options: Options = None,
    as_json: AsJson = False,
) -> None:
    """Drop the rows that hold a benchmark's item, and say which item and where."""
    stage = _stage({"use": "decontaminate", "against": against, "column": column}, options)
    table = rows.read(files, mapping)
    ours = rows.as_ours(table, mapping, (column,), files)
    _carry_out(stage, table, ours, out, dropped, as_json=as_json)


@app.command(name="filter")
def filter_rows(
    files: Inputs,
    rules: Annotated[Path, typer.Option(help="A filter file, as in filters/math.yaml.")],
    out: Annotated[Path | None, typer.Option(help="As for the other commands.")] = None,
    dropped: Dropped = None,
    what_if: Annotated[
        bool, typer.Option("--what-if", help="Only tell what each rule would drop.")
    ] = False,
    mapping: Map = None,
    as_json: AsJson = False,
) -> None:
    """Drop rows by declared rules, each drop with its rule."""
    table = rows.read(files, mapping)
    columns = list(dict.fromkeys([*VERDICT, *OPTIONAL, *table.columns]))
    stage = _stage({"use": "filter", "rules": rules, "columns": columns}, None)
    ours = rows.judgeable(stage, table, mapping, files, what_if=what_if)
    if what_if:
        _what_if(stage, ours, as_json=as_json)
    elif out is None:
        raise UsageError("filter: --out is missing (or --what-if, to look first)")
    else:
        _carry_out(stage, table, ours, out, dropped, as_json=as_json)


def _stage(options: dict[str, Any], sets: list[str] | None) -> Stage:
    override(options, sets)
    return Stage.bind(options, str(options["use"]))


def _carry_out(
    stage: Stage,
    table: pl.DataFrame,
    ours: pl.DataFrame,
    out: Path,
    dropped: Path | None,
    *,
    as_json: bool,
    desk: Desk | None = None,
) -> pl.Series:
    """Ask the stage about `ours`, and write `table` with what it adds: which rows stay."""
    from tracecraft.publish.shards import write_table

    begun = time.monotonic()
    made = _asked(stage, ours, desk or Desk(), quiet=as_json)
    added = [c for c in made.columns if c not in ours.columns or c in {*stage.gives(), DROPPED}]
    whole = table.drop(added, strict=False).hstack(made.select(added))
    told: dict[str, Any] = {"command": stage.use, "rows_in": table.height}
    if DROPPED in whole.columns:
        gone = whole.filter(pl.col(DROPPED).is_not_null())
        kept = whole.filter(pl.col(DROPPED).is_null()).drop(DROPPED)
        idle = [c for c in added if c != DROPPED and kept[c].null_count() == kept.height]
        dropped = dropped or out.with_name(f"{out.stem}.dropped{out.suffix or '.jsonl'}")
        write_table(gone, dropped)
        counts = Counter(gone[DROPPED].to_list()).most_common()
        told |= {"dropped": dict(counts), "ledger": str(dropped)}
    else:
        kept, idle = whole, []
        if "outcome" in added:
            told["outcomes"] = dict(Counter(kept["outcome"].to_list()).most_common())
    write_table(kept.drop(idle), out)
    told |= {"rows_out": kept.height, "out": str(out)}
    _tell(told, time.monotonic() - begun, as_json=as_json)
    dropped_by = whole[DROPPED] if DROPPED in whole.columns else pl.Series([None] * whole.height)
    return dropped_by.is_null()


def _by_lines(stage: Stage, file: Path, out: Path, dropped: Path | None, *, as_json: bool) -> bool:
    """Whether a large file of JSON lines could be deduplicated where it lies."""
    from tracecraft.curate import lines
    from tracecraft.curate.dedupe import DUPLICATE, Dedupe

    assert isinstance(stage, Dedupe)
    begun = time.monotonic()
    dropped = dropped or out.with_name(f"{out.stem}.dropped{out.suffix}")
    counts = lines.dedupe(file, out, dropped, stage)
    if counts is not None:
        told = {"command": stage.use, "rows_in": counts.rows, "ledger": str(dropped)}
        told |= {"dropped": {DUPLICATE: counts.dropped} if counts.dropped else {}}
        told |= {"rows_out": counts.rows - counts.dropped, "out": str(out)}
        _tell(told, time.monotonic() - begun, as_json=as_json)
    return counts is not None


def _asked(stage: Stage, table: pl.DataFrame, desk: Desk, *, quiet: bool) -> pl.DataFrame:
    if quiet or not stderr.is_terminal:
        with stage.open(desk) as ask:
            return ask(table.lazy()).collect()
    with Live(console=stderr, transient=True, refresh_per_second=4) as live:

        def report(progress: Progress) -> None:
            live.update(Text(f"{stage.use}  {progress.done:,}/{progress.total:,} {progress.unit}"))

        with stage.open(replace(desk, report=report)) as ask:
            return ask(table.lazy()).collect()


def _what_if(stage: Stage, ours: pl.DataFrame, *, as_json: bool) -> None:
    from tracecraft.select.rules import Filter

    assert isinstance(stage, Filter)
    report = stage.what_if(ours.lazy())
    if as_json:
        print_json(report.as_dict())
    else:
        stderr.print(str(report), highlight=False, markup=False, soft_wrap=True)


def _tell(told: Mapping[str, Any], seconds: float, *, as_json: bool) -> None:
    if as_json:
        print_json({**told, "seconds": round(seconds, 3)})
        return
    counts = told.get("dropped") or told.get("outcomes") or {}
    shares = ", ".join(f"{n:,} {name}" for name, n in counts.items())
    stderr.print(
        f"{told['command']}: {told['rows_in']:,} in, {told['rows_out']:,} out"
        + (f" ({shares})" if shares else "")
        + f" in {duration(seconds)} → {told['out']}"
        + (f"\n  dropped → {told['ledger']}" if told.get("dropped") else ""),
        highlight=False,
        soft_wrap=True,
    )
