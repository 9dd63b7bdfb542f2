"""The command `push`: a dataset or a model to the hub, and nothing else that uploads."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from tracecraft import yaml
from tracecraft.cli.frame import RUNS, AsJson, StoreFolder, app, stderr
from tracecraft.cli.inspect import find_run
from tracecraft.cli.show import print_json
from tracecraft.errors import UsageError
from tracecraft.history import Run
from tracecraft.publish.card_facts import lineage
from tracecraft.publish.hub import Bundle, Pushed, ready
from tracecraft.publish.hub import push as upload
from tracecraft.publish.hub_bundle import Format, Origin, dataset_bundle, is_model, model_bundle
from tracecraft.publish.hub_client import Kind
from tracecraft.publish.parquet_parts import parts_of
from tracecraft.publish.release import Release, check_repo
from tracecraft.store import Claims


@app.command()
def push(
    what: Annotated[
        str,
        typer.Argument(metavar="RUN[/STAGE]", help="A run, a stage of it, or any folder."),
    ],
    repo: Annotated[str | None, typer.Option(help="org/name; else what the recipe says.")] = None,
    private: Annotated[
        bool, typer.Option("--private", help="A repository that is made is private.")
    ] = False,
    layout: Annotated[
        Format, typer.Option("--format", help="Of a dataset; the viewer shows Parquet alone.")
    ] = "parquet",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Make everything, upload nothing, show the card.")
    ] = False,
    store: StoreFolder = RUNS,
    as_json: AsJson = False,
) -> None:
    """Upload a dataset or a model to the hub, with a card; only what changed.

    `push RUN` uploads what the recipe's section `publish` names. Run it again to resume.
    """
    orders = _orders(what, repo, store, private=private)
    done = []
    for order in orders:
        with _workshop(store, order) as workshop, _progress(order, quiet=as_json) as told:
            created = not dry_run and ready(order.repo, order.kind, private=order.private)
            bundle = order.make(workshop, layout)
            pushed = upload(bundle, created=created, dry_run=dry_run, told=told)
        done.append(pushed)
        if not as_json:
            _tell(pushed, dry_run=dry_run)
    if as_json:
        print_json([asdict(one) for one in done])


@dataclass(frozen=True, slots=True)
class Order:
    """One repository to fill."""

    repo: str
    kind: Kind
    private: bool
    make: Callable[[Path, Format], Bundle]


def _orders(what: str, repo: str | None, store: Path, *, private: bool) -> list[Order]:
    """What the arguments ask for, checked as far as it goes without the hub."""
    place = Path(what)
    in_run = (place / "plan.json").exists() or (place.parent / "plan.json").exists()
    if place.is_dir() and not in_run:
        return [_of_folder(place, _checked(repo), private=private)]
    run, stage = find_run(what, store)
    recipe = yaml.load(run.folder / "recipe.yaml", UsageError)
    if stage is not None:
        return [_of_step(run, (stage,), _checked(repo), recipe, private=private)]
    if "publish" not in recipe:
        raise UsageError(
            f"{run.folder.name}: its recipe has no section `publish`"
            f"\n  next   name what to push: {run.folder.name}/STAGE --repo org/name"
        )
    release = Release.bind(recipe["publish"], f"{run.folder / 'recipe.yaml'}: publish")
    return _of_release(run, release, repo or release.repo, recipe, private=private)


def _of_release(
    run: Run, release: Release, repo: str, recipe: dict[str, Any], *, private: bool
) -> list[Order]:
    repo, private = _checked(repo), private or release.private
    orders = []
    if release.data:
        orders.append(_of_step(run, release.data, repo, recipe, private=private))
    for step in release.models:
        name = repo if len(release.models) == 1 else f"{repo}-{step}"
        data = repo if release.data else None
        orders.append(_of_step(run, (step,), name, recipe, private=private, dataset=data))
    return orders


def _of_folder(folder: Path, repo: str, *, private: bool) -> Order:
    def make(into: Path, layout: Format) -> Bundle:
        if is_model(folder):
            return model_bundle(repo, folder, into)
        return dataset_bundle(repo, [folder], into, layout=layout)

    if not is_model(folder):
        parts_of(folder)
    return Order(repo, "model" if is_model(folder) else "dataset", private, make)


def _of_step(
    run: Run,
    names: tuple[str, ...],
    repo: str,
    recipe: dict[str, Any],
    *,
    private: bool,
    dataset: str | None = None,
) -> Order:
    origin = Origin(tuple(lineage(run.steps, names)), recipe, names)
    steps = [run.step(name) for name in names]
    folders = [step.home / "output" if step.kind == "job" else step.home for step in steps]
    if len(folders) == 1 and is_model(folders[0]):
        scores = [s.home / "output" / "scores.parquet" for s in run.steps if s.use == "score"]

        def model(into: Path, layout: Format) -> Bundle:
            return model_bundle(
                repo,
                folders[0],
                into,
                step=names[0],
                origin=origin,
                scores=[path for path in scores if path.exists()],
                dataset=dataset,
            )

        return Order(repo, "model", private, model)
    for folder in folders:
        parts_of(folder)

    def data(into: Path, layout: Format) -> Bundle:
        return dataset_bundle(repo, folders, into, origin=origin, layout=layout)

    return Order(repo, "dataset", private, data)


def _checked(repo: str | None) -> str:
    if repo is None:
        raise UsageError("push: --repo is missing\n  next   say where to: --repo org/name")
    try:
        return check_repo(repo)
    except ValueError as error:
        raise UsageError(f"--repo: {error}") from None


@contextmanager
def _workshop(store: Path, order: Order) -> Iterator[Path]:
    """An empty folder for what is made on the way; only one push of a repository at a time."""
    name = f"{order.kind}--{order.repo.replace('/', '--')}"
    claims = Claims(store / "claims" / f"publish-{name}")
    place = store / "publish" / name
    try:
        with claims.hold("push") as ours:
            if not ours:
                raise UsageError(
                    f"{order.kind} {order.repo}: another process is pushing to it"
                    "\n  next   wait for it, then push again"
                )
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir(parents=True)
            yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        claims.close()
        for folder in (place.parent, store / "claims"):
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _progress(order: Order, *, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    if quiet or not stderr.is_terminal:
        yield lambda done, total: None
        return
    with Live(console=stderr, transient=True, refresh_per_second=4) as live:
        live.update(Text(f"push  {order.repo}  making its files"))

        def told(done: int, total: int) -> None:
            live.update(Text(f"push  {order.repo}  {done / 1e6:,.1f}/{total / 1e6:,.1f} MB"))

        yield told


def _tell(pushed: Pushed, *, dry_run: bool) -> None:
    size = sum(pushed.sent.values()) / 1e6
    did = "would send" if dry_run else "sent"
    lines = [f"push: {did} {len(pushed.sent):,} files, {size:,.2f} MB, to {pushed.url}"]
    if not pushed.sent and not pushed.removed:
        lines = [f"push: nothing to do, {pushed.url} holds it all"]
    if pushed.removed:
        gone = "would remove" if dry_run else "removed"
        lines.append(f"  {gone} {', '.join(pushed.removed)}")
    if pushed.unchanged and pushed.sent:
        lines.append(f"  unchanged {pushed.unchanged:,} files")
    if dry_run:
        lines += [f"  {path}  {size:,} bytes" for path, size in pushed.sent.items()]
    stderr.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
    if dry_run:
        sys.stdout.write(pushed.card)
