"""A recipe: a name, inputs, and an ordered list of stages. Nothing here runs anything."""

import hashlib
import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracecraft import yaml
from tracecraft.curate.source import Source
from tracecraft.errors import RecipeError, UnknownPlugin, UsageError, did_you_mean
from tracecraft.options import found, ready
from tracecraft.sections import check_release, lowered, sources_of, with_judges
from tracecraft.stage import Job, Stage

WORDS = ("branches", "merge", "evaluate", "gates")
"""Sections that stand for stages: the words of one room."""
SECTIONS = ("name", "seed", "limit", "plugins", "include", "inputs", "stages", *WORDS, "publish")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class StageSpec:
    """A source, stage or job placed in a recipe: what to run on what. Pure data."""

    name: str
    part: Source | Stage | Job
    inputs: tuple[str, ...] = ()
    limit: int | None = None
    """Of a source: at most this many rows."""

    def identity(self) -> dict[str, Any]:
        """All that decides the result, but for its inputs."""
        identity = self.part.identity()
        return identity if self.limit is None else {**identity, "limit": self.limit}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What to do, checked: every name known, every option typed, every file there."""

    name: str
    path: Path
    steps: tuple[StageSpec, ...]
    """Sources first, then stages and jobs in the order of the file."""
    resolved: dict[str, Any]
    """The recipe as one mapping, with absolute paths: what `recipe.yaml` of a run holds."""
    sections: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Which steps the sections `branches`, `merge`, `evaluate` stand for."""


def load_recipe(path: str | Path, sets: Sequence[str] = (), limit: int | None = None) -> Recipe:
    """Read and check a recipe; `sets` are `dotted.path=value` overrides, values in YAML.

    Raises:
        RecipeError: `file: path.to.field: what is wrong`, and what is known instead.
        UnknownPlugin: a `use:` that no plugin answers to.
    """
    path = Path(path)
    raw = _read(path, ())
    for override in sets:
        _override(raw, override)
    if limit is not None:
        raw["limit"] = limit
    return build(raw, path)


def build(mapping: Mapping[str, Any], path: Path) -> Recipe:
    """The recipe that a mapping describes; relative paths are looked for from `path`."""
    raw = deepcopy(dict(mapping))
    _known_sections(raw, path)
    seed, limit = raw.setdefault("seed", 0), raw.get("limit")
    if not isinstance(seed, int):
        raise RecipeError(f"{path}: seed: must be a whole number, not {seed!r}")
    if limit is not None and not (isinstance(limit, int) and limit > 0):
        raise RecipeError(f"{path}: limit: must be a whole number above 0, not {limit!r}")
    raw["plugins"] = [str(_import(found(p, path, "plugins"))) for p in raw.get("plugins") or []]
    inputs = _mapping(raw.get("inputs") or {}, f"{path}: inputs")
    entries = raw.get("stages") or []
    if not isinstance(entries, list):
        raise RecipeError(f"{path}: stages: must be a list of stages")
    above = {*inputs, *(str(one.get("name")) for one in entries if isinstance(one, Mapping))}
    words = lowered(raw, above, path)
    entries = with_judges(entries, path)
    entries += [entry for section in words.stages.values() for entry in section]
    inputs |= words.inputs
    driven = {first for one in entries if isinstance(one, Mapping) for first in sources_of(one)[:1]}
    steps = []
    for name, options in inputs.items():
        where = f"{path}: inputs.{_named(name, path)}"
        options = ready(Source, _mapping(options, where), path, where, seed)
        capped = limit if name in driven else None
        steps.append(StageSpec(name, Source.bind(options, where), limit=capped))
        inputs[name] = options
    known = {spec.name: spec for spec in steps}
    for i, entry in enumerate(entries):
        spec, entries[i] = _stage(entry, known, path, f"{path}: stages[{i}]", seed)
        known[spec.name] = spec
        steps.append(spec)
    if raw.get("publish") is not None:
        check_release(raw["publish"], known, path)
    raw |= {"inputs": inputs, "stages": entries} | dict.fromkeys(WORDS)
    raw["name"] = _named(raw.get("name") or path.stem, path)
    resolved = {key: _plain(raw[key]) for key in SECTIONS if raw.get(key) not in (None, [], {})}
    sections = {
        word: tuple(entry["name"] for entry in stages) for word, stages in words.stages.items()
    }
    return Recipe(raw["name"], path, tuple(steps), resolved, sections)


def _stage(
    entry: Any, known: Mapping[str, StageSpec], path: Path, where: str, seed: int
) -> tuple[StageSpec, dict[str, Any]]:
    entry = dict(_mapping(entry, where))
    for key in ("name", "use", "from"):
        if key not in entry:
            raise RecipeError(f"{where}: {key!r} is missing (name, use and from are required)")
    name, sources = _named(entry.pop("name"), path), entry.pop("from")
    inputs = (sources,) if isinstance(sources, str) else tuple(sources or ())
    for one in inputs:
        if one not in known:
            raise RecipeError(
                f"{where}.from: nothing above is named {one!r}" + did_you_mean(str(one), known)
            )
    if not inputs:
        raise RecipeError(f"{where}.from: names no input")
    if name in known:
        raise RecipeError(f"{where}.name: {name!r} is taken by something above")
    point = plug_point(entry["use"], where)
    options = ready(point, entry, path, where, seed)
    part = point.bind(options, where)
    models = [one for one in inputs if isinstance(known[one].part, Job)]
    if isinstance(part, Stage) and len(models) != part.takes_model:
        wanted = "one step that makes a model" if part.takes_model else "tables alone"
        told = ", ".join(models) or "none"
        raise RecipeError(f"{where}.from: {name!r} takes {wanted}; of jobs it names: {told}")
    return StageSpec(name, part, inputs), {"name": name, "from": list(inputs), **options}


def plug_point(use: Any, where: str) -> type[Stage] | type[Job]:
    """Whether a `use:` names a stage or a job.

    Raises:
        RecipeError: neither.
    """
    for point in (Stage, Job):
        try:
            point.named(use)
        except UnknownPlugin:
            continue
        return point
    known = [*Stage.known, *Job.known]
    raise RecipeError(f"{where}.use: unknown stage {use!r}" + did_you_mean(str(use), known))


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The raw recipe with its includes unfolded, their names prefixed by the file's stem."""
    if path.resolve() in seen:
        raise RecipeError(f"{path}: include: includes itself")
    raw = _mapping(yaml.load(path, RecipeError), str(path))
    _known_sections(raw, path)
    inputs: dict[str, Any] = {}
    stages: list[Any] = []
    plugins: list[Any] = []
    for other in raw.pop("include", None) or []:
        file = found(other, path, "include")
        part = _read(file, (*seen, path.resolve()))
        built = build(part, file).resolved
        inputs |= {f"{file.stem}.{k}": v for k, v in built.get("inputs", {}).items()}
        stages += [_prefixed(entry, file.stem) for entry in built.get("stages", [])]
        plugins += built.get("plugins", [])
    if inputs or stages:
        raw["inputs"] = inputs | (raw.get("inputs") or {})
        raw["stages"] = stages + (raw.get("stages") or [])
        raw["plugins"] = plugins + (raw.get("plugins") or [])
    return raw


def _prefixed(entry: Mapping[str, Any], stem: str) -> dict[str, Any]:
    sources = [f"{stem}.{one}" for one in entry["from"]]
    return {**entry, "name": f"{stem}.{entry['name']}", "from": sources}


def _override(raw: dict[str, Any], text: str) -> None:
    """Apply one `--set`; steps are found by their name, options need not stand in the file."""
    dotted, equals, value = text.partition("=")
    if not equals:
        raise RecipeError(f"--set {text}: must be path=value, as in stages.traces.samples=8")
    section, *path = dotted.split(".")
    if section not in SECTIONS:
        raise RecipeError(f"--set {text}: no section {section!r}" + did_you_mean(section, SECTIONS))
    new = yaml.parse(value, f"--set {dotted}", RecipeError)
    if not path:
        raw[section] = new
        return
    holder: Any = raw.setdefault(section, {})
    if isinstance(holder, list):
        named = "benchmark" if section == "evaluate" else "name"
        holder = {entry.get(named): entry for entry in holder if isinstance(entry, Mapping)}
    matches = [".".join(path[:n]) for n in range(len(path), 0, -1)]
    name = next((m for m in matches if m in holder), None)  # included names hold dots themselves
    if name is None and not (section == "inputs" and len(path) == 1):
        raise RecipeError(
            f"--set {text}: no {section} named {path[0]!r}" + did_you_mean(path[0], holder)
        )
    keys = path[len(name.split(".")) :] if name else []
    if not keys:
        if section != "inputs":
            raise RecipeError(f"--set {text}: say which option of {name!r}")
        holder[name or path[0]] = new
        return
    target = holder[name]
    for key in keys[:-1]:
        target = target.setdefault(key, {})
        if not isinstance(target, dict):
            raise RecipeError(f"--set {text}: {key!r} holds a value, not options")
    target[keys[-1]] = new


def _import(file: Path) -> Path:
    """Run a recipe's own plugin file; its digest becomes part of its plugins' identity."""
    digest = hashlib.blake2b(file.read_bytes(), digest_size=8).hexdigest()
    name = f"tracecraft_plugin_{file.stem}_{digest}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None:
            raise RecipeError(f"{file}: is not a Python file")
        module = importlib.util.module_from_spec(spec)
        module.__dict__["__plugin_digest__"] = digest
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except UsageError:
            del sys.modules[name]
            raise
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise RecipeError(
                f"{file}: cannot be imported: {type(error).__name__}: {error}"
            ) from error
    return file


def _plain(value: Any) -> Any:
    """The value with its paths as text, as YAML holds it."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return str(value) if isinstance(value, Path) else value


def _known_sections(raw: Mapping[str, Any], path: Path) -> None:
    for key in raw:
        if key not in SECTIONS:
            raise RecipeError(f"{path}: {key}: no such section" + did_you_mean(str(key), SECTIONS))


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        shown = "nothing" if value is None else f"{type(value).__name__}"
        raise RecipeError(f"{where}: must be a mapping (key: value), found {shown}")
    return dict(value)


def _named(name: Any, path: Path) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise RecipeError(
            f"{path}: name {name!r}: use letters, digits, '_', '-' and '.' (it names a folder)"
        )
    return name
