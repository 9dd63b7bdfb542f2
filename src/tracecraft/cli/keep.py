"""Commands that keep house: pin revisions, start a plugin or a filter file, sweep the store."""

import shutil
import time
from pathlib import Path
from typing import Annotated, Literal

import typer

from tracecraft import yaml
from tracecraft.cli.frame import RUNS, RecipeFile, StoreFolder, app, stderr
from tracecraft.cli.scaffold import SCAFFOLDS, scaffold
from tracecraft.errors import RecipeError, UsageError, did_you_mean
from tracecraft.history import Run
from tracecraft.store import write_text

Kind = Literal["dataset", "model"]


@app.command()
def new(
    kind: Annotated[str, typer.Argument(help="verifier, measure, engine, source, stage, filter.")],
    name: Annotated[str, typer.Argument(help="What a recipe will call it.")],
) -> None:
    """Write a plugin or a filter file to start from, with a table of cases to fill."""
    if kind not in SCAFFOLDS:
        raise UsageError(f"new: no kind {kind!r}" + did_you_mean(kind, SCAFFOLDS))
    if not name.replace("_", "").isalnum() or name[0].isdigit():
        raise UsageError(f"new: {name!r} must be a name of letters, digits and '_'")
    for path, text in scaffold(kind, name).items():
        if path.exists():
            raise UsageError(f"{path}: is already there\n  next   choose another name")
        write_text(path, text)
        stderr.print(f"wrote {path}", highlight=False)


@app.command()
def sweep(
    keep_days: Annotated[
        float, typer.Option(help="Remove only what is older than this.", min=0)
    ] = 7.0,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    store: StoreFolder = RUNS,
) -> None:
    """Remove outputs that no run names any more; completions are never removed."""
    named = {step.home.name for run in Run.all(store) for step in run.steps}
    old = time.time() - keep_days * 86_400
    homes = sorted(h for h in (store / "store").glob("*") if h.is_dir())
    useless = [h for h in homes if h.name not in named and h.stat().st_mtime <= old]
    size = sum(f.stat().st_size for home in useless for f in home.rglob("*") if f.is_file())
    if not useless:
        stderr.print(f"nothing to sweep under {store}", highlight=False)
        return
    for home in useless:
        stderr.print(f"  {home}", highlight=False, soft_wrap=True)
    told = f"{len(useless)} outputs, {size / 1e6:,.1f} MB"
    if not yes and not typer.confirm(f"remove {told}?", err=True):
        raise typer.Exit(1)
    for home in useless:
        shutil.rmtree(home)
    stderr.print(f"removed {told}", highlight=False)


@app.command()
def pin(recipe: RecipeFile) -> None:
    """Write the current revision of every hub source and model into a recipe."""
    from tracecraft.curate.hub import current_revision

    raw = yaml.load(recipe, RecipeError)
    text = recipe.read_text(encoding="utf-8")
    owed = list(_unpinned(raw))
    if not owed:
        stderr.print(f"{recipe}: every source is pinned", highlight=False)
        return
    for repo, kind in owed:
        revision = current_revision(repo, kind)
        line = next((n for n in text.splitlines() if repo in n), None)
        if line is None:
            raise RecipeError(f"{recipe}: {repo}: cannot find its line to write the revision into")
        text = text.replace(line, _with_revision(line, repo, revision), 1)
        stderr.print(f"{repo} → {revision}", highlight=False)
    write_text(recipe, text)


def _with_revision(line: str, repo: str, revision: str) -> str:
    """The line of YAML with the revision beside its repo, in flow or block style."""
    for quoted in (f'"{repo}"', f"'{repo}'", repo):
        if quoted in line:
            if "{" in line:
                return line.replace(quoted, f"{quoted}, revision: {revision}", 1)
            indent = line[: len(line) - len(line.lstrip(" -"))].replace("-", " ")
            return f"{line}\n{indent}revision: {revision}"
    return line


def _unpinned(value: object) -> list[tuple[str, Kind]]:
    """`(repo, dataset | model)` of every mapping that names one without a revision."""
    found: list[tuple[str, Kind]] = []
    if isinstance(value, dict):
        if value.get("revision") is None:
            if value.get("use") == "hub" and isinstance(value.get("repo"), str):
                found.append((value["repo"], "dataset"))
            model = str(value.get("model", ""))
            teacher = value.get("use") in {"vllm", "transformers"}
            if teacher and model.count("/") == 1 and not Path(model).exists():
                found.append((model, "model"))
        for inner in value.values():
            found += _unpinned(inner)
    elif isinstance(value, list):
        for inner in value:
            found += _unpinned(inner)
    return found
