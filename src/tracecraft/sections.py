"""What a recipe may leave unsaid, and its sections that are one room's words: made into stages.

`branches`, `merge`, `evaluate` and `gates` say in a line what stages say in many.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracecraft.errors import RecipeError, did_you_mean

Entry = dict[str, Any]
"""A stage as `stages:` lists it: name, use, from, options."""
_MODELS = ("pico", "train", "merge")


def sources_of(entry: Mapping[str, Any]) -> list[Any]:
    """The steps that a stage's `from:` names: one, or a list."""
    sources = entry.get("from") or []
    return list(sources) if isinstance(sources, (list, tuple)) else [sources]


@dataclass(slots=True)
class Lowered:
    """What the sections stand for."""

    inputs: dict[str, Entry] = field(default_factory=dict)
    """Sources that no file of the recipe lists: those of benchmarks."""
    stages: dict[str, list[Entry]] = field(default_factory=dict)
    """By section, in the order in which they run."""


def lowered(raw: Mapping[str, Any], known: Collection[str], path: Path) -> Lowered:
    """The stages that each section stands for.

    Args:
        raw: The recipe as its file has it.
        known: Names of its inputs and stages.
        path: Its file, for messages.

    Raises:
        RecipeError: a section that is malformed, or names what is not there.
    """
    branches = _branches(raw.get("branches") or {}, known, path)
    made = Lowered(stages={"branches": branches, "merge": _merges(raw.get("merge") or [], path)})
    if raw.get("evaluate"):
        from tracecraft.evaluate.section import lowered as evaluated

        listed = [one for one in raw.get("stages") or [] if isinstance(one, Mapping)]
        students = [*listed, *branches, *made.stages["merge"]]
        data = _data(students)
        found = evaluated(
            raw["evaluate"],
            _backbones(students) | {name: name for name in data},
            path=path,
            trained_on={name: sources for name, sources in data.items() if sources},
            gates=raw.get("gates") or (),
        )
        made.inputs = found.inputs
        made.stages["evaluate"] = found.stages
    elif raw.get("gates"):
        raise RecipeError(f"{path}: gates: there is no `evaluate:` that they could be about")
    return made


def _backbones(stages: list[Any]) -> dict[str, Any]:
    """What the branches began as: a step, or an engine with its weights."""
    made = {str(one.get("name")) for one in stages if one.get("use") == "pico"}
    found: dict[str, Any] = {}
    for entry in stages:
        if entry.get("use") != "train":
            continue
        found |= {one: one for one in sources_of(entry) if one in made}
        if isinstance(backbone := entry.get("backbone"), str):
            model, _, revision = backbone.partition("@")
            pinned = {"revision": revision} if revision else {}
            found[Path(model).name] = {"use": "local", "model": model, **pinned}
    return found


def _data(stages: list[Any]) -> dict[str, list[str]]:
    """Which steps' rows each trained or merged model has seen."""
    made = {str(one.get("name")) for one in stages if one.get("use") in _MODELS}
    seen: dict[str, list[str]] = {}
    for entry in stages:
        sources, name = sources_of(entry), str(entry.get("name"))
        if entry.get("use") == "train":
            seen[name] = [one for one in sources if one not in made]
        elif entry.get("use") == "merge":
            seen[name] = list(dict.fromkeys(d for one in sources for d in seen.get(one, ())))
    return seen


def check_release(section: Any, known: Collection[str], path: Path) -> None:
    """What `publish:` says is read when it is carried out, by `tracecraft push`.

    Raises:
        RecipeError: it is malformed, or names what is not there.
    """
    from tracecraft.publish.release import Release

    release = Release.bind(section, f"{path}: publish")
    for name in (*release.data, *release.models):
        if name not in known:
            raise RecipeError(f"{path}: publish: no step {name!r}" + did_you_mean(name, known))


def with_judges(entries: list[Any], path: Path) -> list[Any]:
    """The stages, with who verifies as it goes where one samples adaptively and does not say so:
    the verifier of the `verify` stage that reads its traces.

    Raises:
        RecipeError: no such stage follows.
    """
    return [_with_judge(entry, entries, path) for entry in entries]


def _with_judge(entry: Any, entries: list[Any], path: Path) -> Any:
    samples = entry.get("samples") if isinstance(entry, Mapping) else None
    if not isinstance(samples, Mapping) or "judge" in samples:
        return entry
    name = entry.get("name")
    for other in entries:
        if not isinstance(other, Mapping) or other.get("use") != "verify":
            continue
        if sources_of(other)[:1] == [name] and "verifier" in other:
            judge = {"use": "verify", "verifier": other["verifier"]}
            return {**entry, "samples": {**samples, "judge": judge}}
    raise RecipeError(
        f"{path}: {name}.samples.judge: who verifies? no `verify` stage reads {name!r}"
        "\n  next   add one, or say judge: {use: verify, verifier: {use: math}}"
    )


def _branches(section: Any, known: Collection[str], path: Path) -> list[Entry]:
    """A `train` stage a branch; a backbone that a step makes is one more input."""
    if not isinstance(section, Mapping):
        raise RecipeError(f"{path}: branches: must be a mapping of a branch's name to its options")
    entries = []
    for name, told in section.items():
        where = f"{path}: branches.{name}"
        if not isinstance(told, Mapping):
            raise RecipeError(f"{where}: must be a mapping (key: value)")
        options = dict(told)
        examples = options.pop("examples", None)
        if not examples or not isinstance(examples, (str, list)):
            raise RecipeError(f"{where}: `examples` is missing: the step that made its examples")
        sources = [examples] if isinstance(examples, str) else list(examples)
        if options.get("backbone") in known:
            sources.append(options.pop("backbone"))
        if taken := {"name", "use", "from"} & options.keys():
            raise RecipeError(f"{where}.{min(taken)}: a branch has a name and examples instead")
        entries.append({"name": name, "use": "train", "from": sources, **options})
    return entries


def _merges(section: Any, path: Path) -> list[Entry]:
    """A `merge` stage a step of the plan."""
    if not section:
        return []
    from tracecraft.merge.fold import MergePlan

    plan = MergePlan.bind(section, f"{path}: merge")
    entries = []
    for step in plan.steps:
        said = step.model_dump(include={"dtype", "seed"} & step.model_fields_set)
        mode = {} if step.mode is None else {"mode": step.mode}
        method = {"use": step.method, **mode, **step.parameters}
        entry = {"name": step.name, "use": "merge", "from": list(step.models), "method": method}
        entries.append(entry | said)
    return entries
