"""Which order of merges scores best: each plan is carried out and scored once, and kept."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tracecraft.errors import DataError
from tracecraft.merge.fold import MergePlan, carry_out
from tracecraft.plugin import digest
from tracecraft.store import write_json

SCORE = "score.json"


@dataclass(frozen=True, slots=True)
class Scored:
    """A plan that was carried out, and what its last model scored."""

    plan: MergePlan
    student: Path
    score: float


def search(
    plans: Iterable[MergePlan],
    sources: Mapping[str, Path],
    out: Path,
    score: Callable[[Path], float],
    *,
    by: str = "",
) -> list[Scored]:
    """Carry out every plan below `out` and score its student; the best comes first.

    A merge that several plans begin with is made once. What is finished is kept: run it again
    with more plans, or after a kill, and only the missing ones are made and scored. `by` names
    what scores: a score by something else does not count.

    Raises:
        DataError: a score that is not finite, or a merge that fails as `carry_out` does.
    """
    found = []
    for plan in plans:
        student = _student(plan, sources, out)
        place = student / SCORE
        known = orjson.loads(place.read_bytes()) if place.exists() else {}
        if known.get("by") != by:
            value = float(score(student))
            if value != value:
                raise DataError(f"{student}: its score is not a number")
            known = {"score": value, "by": by, "plan": plan.model_dump(mode="json")}
            write_json(place, known)
        found.append(Scored(plan, student, known["score"]))
    return sorted(found, key=lambda one: -one.score)


def _student(plan: MergePlan, sources: Mapping[str, Path], out: Path) -> Path:
    """The folder of the plan's last model; each step lies at the hash of what made it."""
    where = {name: Path(root) for name, root in sources.items()}
    keys = {name: str(Path(root).resolve()) for name, root in sources.items()}
    for step in plan.steps:
        made = step.merge().identity()
        keys[step.name] = digest([made, [keys.get(name, name) for name in step.models]])
        one = MergePlan(steps=(step.model_copy(update={"name": keys[step.name]}),))
        carry_out(one, where, out)
        where[step.name] = out / keys[step.name]
    return where[plan.steps[-1].name]


def orders(models: Sequence[str], **options: Any) -> Iterator[MergePlan]:
    """Every plan that makes one of all models by merges of two, each model used once."""
    for tree in _trees(tuple(models)):
        steps: list[dict[str, Any]] = []
        _lower(tree, steps, options)
        yield MergePlan.bind(steps)


Tree = str | tuple[Any, Any]


def _trees(models: tuple[str, ...]) -> Iterator[Tree]:
    if len(models) == 1:
        yield models[0]
        return
    for chosen in range(1, 2 ** len(models) - 1):
        left = tuple(m for i, m in enumerate(models) if chosen >> i & 1)
        right = tuple(m for i, m in enumerate(models) if not chosen >> i & 1)
        for one in _trees(left):
            for two in _trees(right):
                yield one, two


def _lower(tree: Tree, steps: list[dict[str, Any]], options: dict[str, Any]) -> str:
    if isinstance(tree, str):
        return tree
    into, other = (_lower(part, steps, options) for part in tree)
    name = f"merge{len(steps) + 1}"
    steps.append({"name": name, "into": into, "other": other, **options})
    return name
