"""The report of a run: one HTML file to read, to keep and to share."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from tracecraft import yaml
from tracecraft.cli.frame import RUNS, StoreFolder, app, stderr
from tracecraft.cli.inspect import find_run
from tracecraft.errors import GateFailed, RuleError, UsageError
from tracecraft.history import Run
from tracecraft.plan import Plan
from tracecraft.store import write_text

REPORT = "report.html"
TRACES = 300
"""Rows in the report's browser: what a page of a few megabytes holds."""


@app.command()
def report(
    name: Annotated[str, typer.Argument(metavar="RUN", help="A run's folder or name.")],
    out: Annotated[Path | None, typer.Option(help="The file; by default in the run.")] = None,
    traces: Annotated[int, typer.Option(min=0, help="About how many traces to show.")] = TRACES,
    store: StoreFolder = RUNS,
) -> None:
    """Write a run's report: one HTML file that needs no network."""
    found, _ = find_run(name, store)
    written = write_report(found, out, traces)
    size = written.stat().st_size / 1e6
    stderr.print(f"report {written} ({size:,.1f} MB)", highlight=False, soft_wrap=True)


def keep_report(run: Run, *, again: bool) -> Path:
    """The report in a run's folder: written where there is none, or `again` says so.

    Raises:
        StoreError: an output is damaged, or the disk refuses.
    """
    place = run.folder / REPORT
    return write_report(run) if again or not place.exists() else place


@contextmanager
def report_failed(plan: Plan) -> Iterator[None]:
    """Leaves a report behind where a gate does not hold: its scores are what one wants to see."""
    try:
        yield
    except GateFailed as error:
        found = Run.find(plan)
        if found is None:
            raise
        raise GateFailed(f"{error}\n  report {write_report(found)}") from error


def write_report(run: Run, out: Path | None = None, traces: int = TRACES) -> Path:
    """Write the report of a run, finished or not, and say where.

    Raises:
        StoreError: an output is damaged, or the disk refuses.
    """
    from tracecraft.publish.page import About, page
    from tracecraft.publish.page_facts import gather
    from tracecraft.summary import rate

    place = out or run.folder / REPORT
    about = About(run.folder.name, _recipe(run), _made(run), _reasons(run))
    write_text(place, page(gather(run.steps, rate), about, traces))
    return place


def _recipe(run: Run) -> str:
    """The resolved recipe without where this user keeps things: a report is read by others."""
    text = (run.folder / "recipe.yaml").read_text(encoding="utf-8")
    for folder, short in ((Path.cwd(), ""), (Path.home(), "~/")):
        if len(folder.parts) > 1:
            text = text.replace(f"{folder}/", short)
    return text


def _made(run: Run) -> dict[str, str]:
    """When the run ended, and by which versions; not on which host."""
    try:
        told = json.loads((run.folder / "run.json").read_text())
    except (OSError, ValueError):
        return {}
    made = told.get("made_by", {})
    found = {"ended": told.get("ended"), "status": told.get("status")}
    found |= {"tracecraft": made.get("tracecraft"), "revision": made.get("git")}
    return {k: str(v) for k, v in (found | told.get("versions", {})).items() if v}


def _reasons(run: Run) -> dict[str, str]:
    """`step:rule` to the reason in its filter file, as far as that still lies where it did."""
    from tracecraft.select.rules import RuleFile

    found: dict[str, str] = {}
    try:
        stages = yaml.load(run.folder / "recipe.yaml", UsageError).get("stages", [])
    except UsageError:
        return found
    for stage in stages:
        if stage.get("use") == "filter":
            try:
                rules = RuleFile.load(Path(stage["rules"])).rules
            except (RuleError, KeyError):
                continue
            found |= {f"{stage['name']}:{rule.drop}": rule.why for rule in rules}
    return found
