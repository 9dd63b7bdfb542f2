"""The command `tracecraft`: what a recipe needs, and how errors become exit codes.

0 done · 1 a gate or check does not hold · 2 the request is wrong, nothing ran · 3 a stage stopped,
finished work is kept · 130 interrupted. Human text goes to stderr, data to stdout.
"""

import logging
import signal
import sys
import tempfile
import traceback
from dataclasses import asdict
from importlib import import_module
from typing import Annotated

import typer
from rich.console import Console

from tracecraft.cli.frame import (
    RUNS,
    AsJson,
    Limit,
    RecipeFile,
    Sets,
    StoreFolder,
    app,
    stderr,
    tell,
)
from tracecraft.errors import TracecraftError


@app.command()
def run(
    recipe: RecipeFile,
    sets: Sets = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage or section.")] = None,
    limit: Limit = None,
    store: StoreFolder = RUNS,
    on: Annotated[
        str | None, typer.Option(help="A cluster that shares the store: ray, ray://host:port.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Carry out a recipe; run it again to resume. A finished one is a no-op."""
    from tracecraft.cli.report import keep_report, report_failed
    from tracecraft.cli.scores import show_scores
    from tracecraft.cli.show import print_json_line, print_summary
    from tracecraft.cli.watch import Watch
    from tracecraft.plan import plan
    from tracecraft.recipe import load_recipe
    from tracecraft.run import run as carry_out
    from tracecraft.summary import summarize

    planned = plan(load_recipe(recipe, sets or (), limit), store)
    planned = planned.until(until) if until else planned
    with Watch(stderr, as_json=as_json) as watch, report_failed(planned):
        done = carry_out(planned, watch=watch, on=on)
    cached = watch.cached == len(planned.steps)
    if cached and not as_json:
        stderr.print("nothing to do: every stage is cached", highlight=False)
    summary = summarize(done)
    report = keep_report(done, again=not cached)
    if as_json:
        told = {"folder": str(done.folder), "report": str(report)}
        print_json_line({"event": "done", **told, **asdict(summary)})
        return
    print_summary(summary, stderr)
    for step in done.steps:
        if step.use == "score":
            show_scores(done.output(step.name), None, as_json=False)
    stderr.print(f"  report     {report}", highlight=False, soft_wrap=True)
    stderr.print(f"  run        {done.folder}", highlight=False, soft_wrap=True)


@app.command()
def plan(
    recipe: RecipeFile,
    sets: Sets = None,
    limit: Limit = None,
    pilot: Annotated[
        str | None, typer.Option(help="Answer this share of the problems (1%), predict the rest.")
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(help="In US$: gpu_hour=2.5, or prompt=0.5 output=2 a million tokens."),
    ] = None,
    store: StoreFolder = RUNS,
    as_json: AsJson = False,
) -> None:
    """Show what would run: stage, key, and whether it is cached, partial or to run."""
    from tracecraft.cli.show import print_json, print_table
    from tracecraft.plan import plan as lay_out
    from tracecraft.recipe import load_recipe
    from tracecraft.store import Manifest

    planned = lay_out(load_recipe(recipe, sets or (), limit), store)
    if pilot is not None:
        from tracecraft.cli.forecast import forecast

        forecast(planned, pilot, price or [], as_json=as_json)
        return
    rows = []
    for step in planned.steps:
        state = step.state
        done = Manifest.read(step.home).rows_out if state == "cached" else None
        told = {"stage": step.spec.name, "use": step.spec.part.use, "key": step.key}
        rows.append({**told, "state": state, "rows": done})
    if as_json:
        print_json({"recipe": planned.recipe.name, "key": planned.key, "steps": rows})
    else:
        print_table(rows, Console(), f"{planned.recipe.name} ({recipe})")


def add_commands() -> None:
    """Have every module of this room add its commands."""
    for module in ("evaluate", "files", "inspect", "keep", "launch", "models", "push", "report"):
        import_module(f"tracecraft.cli.{module}")


def main() -> None:
    """Run the command line; never a traceback for what the user can mend."""
    add_commands()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # claims are given back
    logger = logging.getLogger("tracecraft")
    logger.addHandler(Warn())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logging.getLogger().addHandler(logging.NullHandler())  # others' warnings are not for users
    try:
        code = app(spread(spread(sys.argv[1:], "--against"), "--price"), standalone_mode=False)
    except TracecraftError as error:
        tell(error)
        code = error.exit_code
    except KeyboardInterrupt:
        stderr.print("interrupted: finished work is kept, run again to resume", highlight=False)
        code = 130
    except BrokenPipeError:
        code = 0
    except typer.Exit as done:
        code = done.exit_code
    except Exception as error:
        code = _told(error)
    sys.exit(code if isinstance(code, int) else 0)


class Warn(logging.Handler):
    """Warnings reach the terminal; the rest is for the run's log alone."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        """Print it as human text."""
        stderr.print(f"note: {record.getMessage()}", highlight=False, markup=False, soft_wrap=True)


def spread(arguments: list[str], option: str) -> list[str]:
    """`--against a b` as the option twice: click gives an option a fixed number of values."""
    spreaded: list[str] = []
    inside = False
    for i, argument in enumerate(arguments):
        inside = (inside or arguments[i - 1 : i] == [option]) and not argument.startswith("-")
        again = inside and arguments[i - 1 : i] != [option]
        spreaded += [option, argument] if again else [argument]
    return spreaded


def _told(error: Exception) -> int:
    show = getattr(error, "show", None)
    if show is not None:  # click's own: a wrong flag or argument
        show()
        return int(getattr(error, "exit_code", 2))
    with tempfile.NamedTemporaryFile(
        "w", prefix="tracecraft-", suffix=".log", delete=False
    ) as file:
        traceback.print_exc(file=file)
    stderr.print(
        f"unexpected {type(error).__name__}: {error}"
        f"\n  this is a bug of ours; the details are in {file.name}"
        "\n  next   finished work is kept; report it with that file",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return TracecraftError.exit_code
