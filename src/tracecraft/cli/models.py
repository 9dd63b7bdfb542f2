"""Commands over models: train a branch; merge two checkpoints, or carry out a mergekit file."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.live import Live
from rich.text import Text

from tracecraft.cli.app import run
from tracecraft.cli.frame import RUNS, AsJson, Limit, RecipeFile, Sets, StoreFolder, app, stderr
from tracecraft.cli.show import print_json_line
from tracecraft.errors import UsageError, did_you_mean


@app.command()
def train(
    recipe: RecipeFile,
    branch: Annotated[str, typer.Option(help="Which branch of the recipe.")],
    export: Annotated[
        Literal["llamafactory", "axolotl"] | None,
        typer.Option(help="Write what that program trains from, and train nothing."),
    ] = None,
    sets: Sets = None,
    limit: Limit = None,
    store: StoreFolder = RUNS,
    as_json: AsJson = False,
) -> None:
    """Train one branch, with what it needs first; run it again to resume."""
    from tracecraft.recipe import load_recipe
    from tracecraft.train.branch import Train

    known = load_recipe(recipe, sets or (), limit)
    branches = [step.name for step in known.steps if isinstance(step.part, Train)]
    if branch not in branches:
        raise UsageError(f"{recipe}: no branch {branch!r}" + did_you_mean(branch, branches))
    section = "branches" if branch in known.sections.get("branches", ()) else "stages"
    chosen = [f"{section}.{branch}.trainer={{use: {export}}}"] if export else []
    run(recipe, [*(sets or ()), *chosen], branch, limit, store, None, as_json)


@app.command()
def merge(
    out: Annotated[Path, typer.Option(help="The merged model's folder.")],
    base: Annotated[
        Path | None, typer.Option(help="The checkpoint folder that is merged into.")
    ] = None,
    other: Annotated[Path | None, typer.Option(help="The one merged into it.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="A mergekit file, instead of --base and --other.")
    ] = None,
    method: Annotated[str, typer.Option(help="`tracecraft list methods` names them.")] = (
        "arcee_fusion"
    ),
    mode: Annotated[
        str | None, typer.Option(help="Of a fusion: exact, or reference, bit for bit.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16, bfloat16; else base's.")] = (
        None
    ),
    seed: Annotated[int, typer.Option(help="Of whatever is sampled.")] = 0,
    search: Annotated[
        Path | None,
        typer.Option(help="Try every order of the --models; this recipe's pass rate scores each."),
    ] = None,
    models: Annotated[
        list[str] | None, typer.Option("--model", help="Of a search: NAME=FOLDER (repeatable).")
    ] = None,
    grid: Annotated[
        list[str] | None, typer.Option(help="Of a search: t=0.3,0.5, an option (repeatable).")
    ] = None,
    store: StoreFolder = RUNS,
    as_json: AsJson = False,
) -> None:
    """Merge two checkpoints, tensor by tensor; run it again to resume.

    With --search RECIPE every order of the --models, and every value of a --grid, is merged below
    --out and scored: each stage of the recipe that has an engine asks the candidate, and the share
    of correct verdicts is the score. What is merged and scored is kept, the best comes first.
    """
    if search is not None:
        from tracecraft.cli.search import search_orders

        options = {"method": method, "mode": mode, "dtype": dtype, "seed": seed}
        search_orders(models or [], grid or [], options, search, out, store, as_json=as_json)
        return
    if models or grid:
        raise UsageError("merge: --model and --grid belong to --search RECIPE")
    job, folders = _asked(base, other, config, method, mode, dtype, seed)
    _carried_out(job, folders, out, as_json=as_json)


def _asked(
    base: Path | None,
    other: Path | None,
    config: Path | None,
    method: str,
    mode: str | None,
    dtype: str | None,
    seed: int,
) -> tuple[Any, list[Path]]:
    """One merge and its folders."""
    from tracecraft.merge import MergePlan, read_mergekit

    if config is not None:
        found = read_mergekit(config, mode=mode)
        return found.merge, list(found.models)
    if base is None or other is None:
        raise UsageError("merge: say --base and --other, or --config, or --search")
    step = {"name": "merge", "into": str(base), "other": str(other), "method": method}
    options = {"mode": mode, "dtype": dtype, "seed": seed}
    return MergePlan.bind([{**step, **options}]).steps[0].merge(), [base, other]


def _carried_out(job: Any, models: list[Path], out: Path, *, as_json: bool) -> None:
    from tracecraft.merge import preview, try_out

    flight = preview(models, out, job.method, dtype=job.dtype, threads=job.threads)
    flight.check()
    for note in flight.notes:
        stderr.print(f"note: {note}", highlight=False, soft_wrap=True)
    stderr.print(
        f"merge: {flight.bytes_out / 1e9:,.2f} GB to write, about {flight.peak / 1e6:,.0f} MB of "
        f"memory and {flight.seconds:,.0f} s",
        highlight=False,
    )
    report = _made(job, models, out, quiet=as_json)
    try_out(out).check(out)
    if as_json:
        print_json_line(report.to_json())
    else:
        stderr.print(report.table(), highlight=False, markup=False, soft_wrap=True)
        stderr.print(f"merged → {out}", highlight=False, soft_wrap=True)


def _made(job: Any, models: list[Path], out: Path, *, quiet: bool) -> Any:
    if quiet or not stderr.is_terminal:
        return job.make(models, out)
    with Live(console=stderr, transient=True, refresh_per_second=4) as live:

        def told(done: int, total: int) -> None:
            live.update(Text(f"merge  {done / 1e6:,.0f}/{total / 1e6:,.0f} MB"))

        return job.make(models, out, told)
