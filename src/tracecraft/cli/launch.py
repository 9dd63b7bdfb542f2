"""The command `launch`: a script that starts many workers on one recipe and one store."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from tracecraft.cli.frame import RUNS, Sets, StoreFolder, app
from tracecraft.errors import UsageError

SCRIPT = """#!/bin/bash
# {workers} workers carry out {recipe}, each on a node of its own, batch by batch:
#   sbatch {place}
# They share the store, which must lie on a file system that all nodes see, and claim batches there
# by files; what a dead worker held is taken over by another, and no completion is asked for twice.
# Killed or out of time: submit it again. Afterwards `{after}` does
# what is left on one machine, and shows the whole.
#SBATCH --job-name={name}
#SBATCH --array=1-{workers}
#SBATCH --nodes=1
#SBATCH --ntasks=1
{gpus}#SBATCH --time={time}
#SBATCH --signal=TERM@60
#SBATCH --requeue
#SBATCH --output={name}-%a.log
set -euo pipefail
cd {folder}
exec {command}
"""


@app.command()
def launch(
    on: Annotated[Literal["slurm"], typer.Argument(help="slurm")],
    recipe: Annotated[Path, typer.Argument(help="A recipe, as in recipes/math.yaml.")],
    until: Annotated[str | None, typer.Option(help="Stop after this stage or section.")] = None,
    sets: Sets = None,
    workers: Annotated[int, typer.Option(min=1, help="How many.")] = 8,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of each; 0 asks for none.")] = 8,
    time: Annotated[
        str, typer.Option(help="How long each may run, as Slurm says it.")
    ] = "24:00:00",
    store: StoreFolder = RUNS,
    out: Annotated[
        Path | None, typer.Option(help="The script; by default RECIPE.slurm.sh.")
    ] = None,
) -> None:
    """Write a Slurm array of workers that share a store; submit it with sbatch."""
    from tracecraft.plan import plan
    from tracecraft.recipe import load_recipe
    from tracecraft.store import write_text

    planned = plan(load_recipe(recipe, sets or ()), store)
    planned = planned.until(until) if until else planned
    place = out or Path(f"{planned.recipe.name}.slurm.sh")
    if place.exists():
        raise UsageError(f"{place}: exists\n  next   remove it, or name another with --out")
    options = [f"--set={one}" for one in sets or ()] + [f"--store={store}"]
    run = ["tracecraft", "run", str(recipe), *options]
    command = run + ([f"--until={until}"] if until else [])
    text = SCRIPT.format(
        workers=workers,
        recipe=recipe,
        place=place,
        after=shlex.join(run),
        name=planned.recipe.name,
        gpus=f"#SBATCH --gpus-per-node={gpus}\n" if gpus else "",
        time=time,
        folder=shlex.quote(str(Path.cwd())),
        command=shlex.join(command),
    )
    write_text(place, text)
    place.chmod(0o755)
    typer.echo(str(place))
