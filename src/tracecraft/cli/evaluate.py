"""The command `eval`: models, or answers on file, on benchmarks; and Table 1."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer

from tracecraft import yaml
from tracecraft.cli.frame import RUNS, AsJson, Limit, StoreFolder, app, override, stderr
from tracecraft.cli.scores import export, show_scores, show_table
from tracecraft.errors import DataError, GateFailed, StageError, UsageError

if TYPE_CHECKING:
    from tracecraft.evaluate.section import Lowered

PLACE = Path("eval")
"""The recipe that a command line stands for; it lies nowhere."""
GATE = re.compile(r"\s*([^<>=\s]+)\s*(>=|<=)\s*([-\d.eE]+)\s*")

Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="MODEL…",
        help="A folder, org/name@commit, `embedded`, an engine {use: …}; NAME=MODEL names it.",
    ),
]
On = Annotated[
    list[str] | None,
    typer.Option("--on", help="Benchmarks: a name, a YAML file, NAME=FILE; also a,b (repeatable)."),
]
Recorded = Annotated[
    list[str] | None,
    typer.Option("--completions", help="Score answers on file, NAME=FILE or FILE (repeatable)."),
]
Trained = Annotated[
    list[str] | None,
    typer.Option("--trained-on", help="[MODEL=]FILE, folder or RUN/STAGE: look for leaks in it."),
]
Gates = Annotated[
    list[str] | None, typer.Option("--gate", help="aime24.avg@16>=0.7; unmet: exit 1 (repeatable).")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="sampling.max_tokens=4096, engine.max_model_len=8192, …"),
]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line asks for, checked."""

    entries: list[dict[str, Any]]
    models: dict[str, Any]
    trained_on: dict[str, list[str | Path]]
    gates: list[dict[str, Any]]


@app.command(name="eval")
def evaluate(
    models: Models = None,
    on: On = None,
    preset: Annotated[str | None, typer.Option(help="How to ask: r1, or chat.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Answers a problem.")] = None,
    completions: Recorded = None,
    trained_on: Trained = None,
    gates: Gates = None,
    sets: Sets = None,
    attempt: Annotated[int, typer.Option(min=1, help="Raise it to ask again what failed.")] = 1,
    limit: Limit = None,
    table: Annotated[
        bool, typer.Option("--table", help="Table 1: ours beside the published models.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Scores, or the table, as .json .csv .md .parquet.")
    ] = None,
    exported: Annotated[
        tuple[str, Path] | None, typer.Option("--export", help="`inspect FILE`, .json or .eval.")
    ] = None,
    store: StoreFolder = RUNS,
    as_json: AsJson = False,
) -> None:
    """Score models, or recorded answers, on benchmarks: intervals, paired differences, lengths.

    Run it again to resume: every answer is kept in the store.
    """
    if table and not (models or completions):
        show_table(store, out, as_json=as_json)
        return
    if exported is not None and exported[0] != "inspect":
        raise UsageError(f"--export {exported[0]}: only `inspect` is known")
    wanted = [name for text in on or [] for name in text.split(",") if name]
    if not wanted:
        raise UsageError("eval: on what?\n  next   say --on aime24, or --on my-benchmark.yaml")
    if not (models or completions):
        raise UsageError("eval: which model?\n  next   name one, or answers: --completions FILE")
    entry = _entry(preset, samples, attempt, sets)
    entries = [{"benchmark": name, **entry} for name in wanted]
    named = _models(models or [], entry.get("engine", {}))
    told = {**named, **_on_file(completions or [], entries, store, limit)}
    asked = Asked(entries, told, _trained(trained_on or [], told, store), _gates(gates or []))
    scores, unmet = _carry_out(asked, store, limit, as_json=as_json)
    if exported is not None:
        export(scores, exported[1])
    if table:
        show_table(store, out, as_json=as_json)
    else:
        show_scores(scores, out, as_json=as_json)
    if unmet is not None:
        raise unmet


def _entry(
    preset: str | None, samples: int | None, attempt: int, sets: list[str] | None
) -> dict[str, Any]:
    """What all benchmarks of a command line share."""
    entry: dict[str, Any] = {"preset": preset, "samples": samples, "attempt": attempt}
    override(entry, sets)
    return {key: value for key, value in entry.items() if value is not None}


def _models(texts: list[str], engine: Mapping[str, Any]) -> dict[str, Any]:
    """Engines by the name that scores give them."""
    found: dict[str, Any] = {}
    for text in texts:
        name, spec = _engine(text)
        if name in found:
            raise UsageError(f"two models are called {name!r}\n  next   name one: NAME={text}")
        found[name] = {**spec, **engine}
    return found


def _engine(text: str) -> tuple[str, dict[str, Any]]:
    name, equals, said = text.partition("=")
    if not equals or not re.fullmatch(r"[\w.-]+", name) or Path(text).exists():
        name, said = "", text
    if said.lstrip().startswith("{"):
        spec = yaml.parse(said, text, UsageError)
        return name or _called(str(spec.get("model") or spec.get("use") or "model")), spec
    folder = Path(said).expanduser()
    if (folder / "output/config.json").is_file():  # the home of a step that made a model
        spec = {"use": "local", "model": str(folder.resolve() / "output")}
        return name or folder.resolve().name.rpartition("-")[0], spec
    if folder.is_dir():
        return name or _called(folder.resolve().name), {"use": "local", "model": str(folder)}
    model, _, revision = said.partition("@")
    spec = {"use": "local", "model": model}
    return name or _called(model), spec | ({"revision": revision} if revision else {})


def _called(model: str) -> str:
    last = model.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", last).strip("-.") or "model"


def _on_file(
    texts: list[str], entries: list[dict[str, Any]], store: Path, limit: int | None
) -> dict[str, Any]:
    """Recorded answers as engines that replay them."""
    from tracecraft.evaluate.recorded import matched, read
    from tracecraft.plugin import digest
    from tracecraft.store import write_text

    if not texts:
        return {}
    if len(entries) != 1:
        raise UsageError("--completions: say one benchmark, the one that the answers are for")
    problems = _problems(entries[0], store, limit)
    engines: dict[str, Any] = {}
    counts: set[int] = set()
    for text in texts:
        name, equals, where = text.partition("=")
        path = Path(where if equals else text)
        name = name if equals else _called(path.name.split(".")[0])
        said = read(path)
        found = matched(said, problems)
        if not found:
            raise DataError(f"{path}: none of its rows is a problem of {entries[0]['benchmark']}")
        if lacking := problems.height - len(found):
            raise DataError(
                f"{path}: holds no answer to {lacking} of {problems.height} problems"
                "\n  next   --limit N scores the first N problems alone"
            )
        if over := len(said) - len({id(one) for one in found.values()}):
            stderr.print(f"note: {path}: {over} of its problems are none of the benchmark's")
        counts.add(min(len(one.answers) for one in found.values()))
        lines = [json.dumps({"statement": s, "answers": one.answers}) for s, one in found.items()]
        body = "\n".join(lines) + "\n"
        kept = store / "recorded" / f"{name}-{digest([body])}.jsonl"
        write_text(kept, body)
        engines[name] = {"use": "replay", "path": str(kept.absolute())}
    entries[0].setdefault("samples", min(counts))
    return engines


def _problems(entry: dict[str, Any], store: Path, limit: int | None) -> pl.DataFrame:
    from tracecraft.evaluate.section import prepared
    from tracecraft.plan import plan
    from tracecraft.recipe import build
    from tracecraft.run import run

    name, made = prepared(entry, PLACE)
    recipe = build(_mapping(made, limit), PLACE)
    return run(plan(recipe, store))[f"eval.{name}.problems"].scan().collect()


def _mapping(made: "Lowered", limit: int | None) -> dict[str, Any]:
    """The recipe that lowered sections make."""
    mapping = {"name": PLACE.name, "inputs": made.inputs, "stages": made.stages}
    return mapping if limit is None else {**mapping, "limit": limit}


def _trained(texts: list[str], models: Mapping[str, Any], store: Path) -> dict[str, Any]:
    """A model to the files or step homes that hold what it was trained on."""
    found: dict[str, list[str | Path]] = {}
    for text in texts:
        name, equals, where = text.partition("=")
        if not equals:
            name, where = "", text
        if name and name not in models:
            raise UsageError(f"--trained-on {text}: no model is called {name!r}")
        for model in [name] if name else models:
            found.setdefault(model, []).append(_place(where, store))
    return found


def _place(where: str, store: Path) -> Path:
    from tracecraft.history import Run

    path = Path(where).expanduser()
    if path.exists():
        return path.absolute()
    run, _, step = where.partition("/")
    if not (store / run).exists():
        raise UsageError(f"--trained-on {where}: no such file, and no run {run!r} in {store}")
    return Run.open((store / run).resolve()).step(step).home.absolute()


def _gates(texts: list[str]) -> list[dict[str, Any]]:
    found = []
    for text in texts:
        match = GATE.fullmatch(text)
        if match is None:
            raise UsageError(f"--gate {text}: write it as aime24.avg@16>=0.7")
        metric, sign, bound = match.groups()
        found.append({"metric": metric, {">=": "at_least", "<=": "at_most"}[sign]: float(bound)})
    return found


def _carry_out(
    asked: Asked, store: Path, limit: int | None, *, as_json: bool
) -> tuple[Path, GateFailed | None]:
    """Run the recipe that the command stands for; the folder with its scores, and what failed."""
    from tracecraft.cli.watch import Watch
    from tracecraft.evaluate.section import SCORES, lowered
    from tracecraft.plan import plan
    from tracecraft.recipe import build
    from tracecraft.run import run

    made = lowered(
        asked.entries, asked.models, path=PLACE, trained_on=asked.trained_on, gates=asked.gates
    )
    planned = plan(build(_mapping(made, limit), PLACE), store)
    scores = planned[SCORES].home / "output"
    with Watch(stderr, as_json=as_json) as watch:
        try:
            run(planned, watch=watch)
        except GateFailed as unmet:
            return scores, unmet
        except StageError as error:
            told = str(error).replace(f"tracecraft run {PLACE}", "the same command again")
            raise type(error)(told) from error
    return scores, None
