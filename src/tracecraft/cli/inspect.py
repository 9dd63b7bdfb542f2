"""Commands that look and change nothing: check, show, why, diff, list, doctor."""

from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer
from rich.console import Console

from tracecraft.cli.frame import RUNS, AsJson, StoreFolder, app, stderr, tell
from tracecraft.cli.show import print_json, print_rows, print_summary, print_table, shortened
from tracecraft.errors import RuleError, TracecraftError, UsageError
from tracecraft.history import Run, Step
from tracecraft.schema import DROPPED
from tracecraft.store import Dataset, Manifest
from tracecraft.summary import summarize

RunName = Annotated[
    str, typer.Argument(metavar="RUN[/STAGE]", help="A run's folder or name, and a stage of it.")
]
TELLING = (
    "source",
    "answer",
    "finish",
    "completion_tokens",
    "outcome",
    "extracted",
    "detail",
    "duplicate_of",
    "similarity",
    "contaminated_by",
    "coverage",
)
"""Columns that `why` shows of a row."""
RowCount = Annotated[int, typer.Option("--rows", min=1, help="How many rows.")]


@app.command()
def check(
    paths: Annotated[list[Path], typer.Argument(help="Recipes and filter files.")],
) -> None:
    """Load recipes and filter files and try the cases of the latter; run nothing."""
    from tracecraft import yaml
    from tracecraft.recipe import load_recipe

    wrong = 0
    for path in paths:
        try:
            raw = yaml.load(path, UsageError)
            if isinstance(raw, dict) and "rules" in raw:
                _check_filter(path)
            else:
                load_recipe(path)
        except TracecraftError as error:
            tell(error)
            wrong += 1
        else:
            stderr.print(f"{path}: holds", highlight=False)
    if wrong:
        raise typer.Exit(2)


def _check_filter(path: Path) -> None:
    from tracecraft.select.rules import RuleFile

    broken = RuleFile.load(path).broken_cases(str(path))
    if broken:
        raise RuleError("\n".join(broken))


@app.command()
def show(
    name: RunName,
    rows: RowCount = 3,
    dropped: Annotated[
        bool, typer.Option("--dropped", help="The rows that the stage dropped.")
    ] = False,
    rule: Annotated[str | None, typer.Option(help="Of the dropped, those of this rule.")] = None,
    where: Annotated[str | None, typer.Option(help="An SQL condition over the columns.")] = None,
    store: StoreFolder = RUNS,
    as_json: AsJson = False,
) -> None:
    """Show a run's funnel, or some rows of one of its stages."""
    from tracecraft.cli.figures import print_figures
    from tracecraft.publish.page_facts import gather
    from tracecraft.summary import rate

    found, stage = find_run(name, store)
    if stage is None:
        summary = summarize(found)
        if as_json:
            print_json(_plain(summary))
        else:
            print_summary(summary, Console())
            print_figures(gather(found.steps, rate), Console())
        return
    table = found.dropped(stage) if dropped or rule else found[stage].scan()
    if rule:
        table = table.filter(pl.col(DROPPED) == rule)
    if where:
        try:
            table = table.filter(pl.sql_expr(where))
            table.collect_schema()
        except pl.exceptions.PolarsError as error:
            raise UsageError(f"--where {where}: {error}") from None
    head = table.head(rows).collect()
    if as_json:
        print_json(head.to_dicts())
    else:
        print_rows(head, Console(), stage)


@app.command()
def why(
    identifier: Annotated[str, typer.Argument(metavar="ID", help="A problem's or trace's id.")],
    name: Annotated[
        str | None, typer.Option("--run", help="Which run; the latest if none.")
    ] = None,
    store: StoreFolder = RUNS,
    as_json: AsJson = False,
) -> None:
    """Tell one problem's or trace's whole life: each stage, kept or dropped, by which rule."""
    found, _ = find_run(name or "latest", store)
    life = [
        event for step in found.steps if step.kind != "job" for event in _life(step, identifier)
    ]
    if not life:
        raise UsageError(
            f"{identifier}: no stage of {found.folder.name} has seen this id"
            "\n  next   give a problem_id or trace_id as `tracecraft show RUN/STAGE` prints it"
        )
    if as_json:
        print_json(life)
    else:
        print_table(life, Console(), f"{identifier} in {found.folder.name}")


def _life(step: Step, identifier: str) -> list[dict[str, Any]]:
    """What a step did with the rows of an id; a prefix of eight characters is enough."""
    life = []
    ledger = sorted((step.home / "dropped").glob("*.arrow"))
    tables = {"kept": Dataset.open(step.home).scan()}
    if ledger:
        tables["dropped"] = pl.scan_ipc(ledger, glob=False)
    for fate, table in tables.items():
        columns = table.collect_schema().names()
        ids = [c for c in ("problem_id", "trace_id") if c in columns]
        if not ids:
            continue
        hit = pl.any_horizontal([pl.col(c).str.starts_with(identifier) for c in ids])
        for row in table.filter(hit).collect().iter_rows(named=True):
            known = [c for c in TELLING if row.get(c) is not None]
            told = [f"{c}: {shortened(row[c])}" for c in known]
            event = {"stage": step.name, "fate": row.get(DROPPED) or fate}
            life.append(
                {**event, "row": row.get("trace_id") or row["problem_id"], "what": "\n".join(told)}
            )
    return life


@app.command()
def audit(
    name: RunName,
    store: StoreFolder = RUNS,
    as_json: AsJson = False,
) -> None:
    """List the problems whose samples agree on another answer than the reference, as evidence."""
    from tracecraft.verify.audit import audit as suspects

    found, stage = find_run(name, store)
    verified = [step.name for step in found.steps if step.use == "verify"]
    if stage is None and not verified:
        raise UsageError(f"{found.folder.name}: has no verify stage\n  next   name RUN/STAGE")
    rows = suspects(found[stage or verified[-1]].scan()).to_dicts()
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows, Console(), f"references that samples contradict in {found.folder.name}")
    else:
        stderr.print("no reference is contradicted by most samples", highlight=False)


@app.command()
def diff(
    left: Annotated[str, typer.Argument(metavar="RUN")],
    right: Annotated[str, typer.Argument(metavar="RUN")],
    store: StoreFolder = RUNS,
    as_json: AsJson = False,
) -> None:
    """Set two runs side by side: rows, drops, and whether their bytes are the same."""
    one, _ = find_run(left, store)
    two, _ = find_run(right, store)
    names = list(dict.fromkeys(s.name for r in (one, two) for s in r.steps))
    rows = [_pair(name, one, two) for name in names]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, Console(), f"{one.folder.name} | {two.folder.name}")


def _pair(name: str, one: Run, two: Run) -> dict[str, Any]:
    told: dict[str, Any] = {"stage": name}
    digests = []
    for run, side in ((one, "left"), (two, "right")):
        step = next((s for s in run.steps if s.name == name), None)
        manifest = Manifest.read(step.home) if step is not None else None
        told[f"{side} out"] = None if manifest is None else manifest.rows_out
        told[f"{side} dropped"] = None if manifest is None else manifest.dropped
        digests.append(None if manifest is None else [s[1] for s in manifest.shards.values()])
    told["same bytes"] = digests[0] is not None and digests[0] == digests[1]
    return told


@app.command(name="list")
def list_plugins(
    kind: Annotated[str | None, typer.Argument(help="stages, engines, verifiers, …")] = None,
    name: Annotated[str | None, typer.Argument(help="One plugin: its options.")] = None,
    as_json: AsJson = False,
) -> None:
    """List what can be plugged in, or the options of one plugin."""
    from tracecraft.cli.catalog import describe, listing

    rows = listing(kind) if kind is None or name is None else describe(kind, name)
    if as_json:
        print_json(rows)
    else:
        print_table(rows, Console())


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Tell what this machine can run, and what is missing for the rest."""
    from tracecraft.cli.doctor import examine

    rows = examine()
    if as_json:
        print_json(rows)
    else:
        print_table(rows, Console())


def find_run(name: str, store: Path) -> tuple[Run, str | None]:
    """A run by folder, by name under the store, or by the start of its name; and a stage.

    Raises:
        UsageError: no such run; the message lists those there are.
    """
    for candidate, stage in ((name, None), tuple(name.rpartition("/")[::2])):
        for folder in (Path(candidate), store / candidate):
            if candidate and (folder / "plan.json").exists():
                found = Run.open(folder.resolve())
                if stage is not None:
                    found.step(stage)
                return found, stage
    runs = Run.all(store) if store.exists() else []
    head, _, stage = name.partition("/")
    for found in reversed(runs):
        if found.name == head or found.folder.name.startswith(head):
            return found, stage or None
    known = "\n  ".join(run.folder.name for run in runs) or "none yet"
    raise UsageError(f"{name}: no such run under {store}\n  known: {known}")


def _plain(summary: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return {**asdict(summary), "seconds": summary.seconds}
