"""`tracecraft merge --search`: every order and every value of a grid, scored by a recipe."""

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rich.console import Console

from tracecraft import yaml
from tracecraft.cli.frame import stderr
from tracecraft.cli.show import print_json_line, print_table
from tracecraft.errors import DataError, UsageError
from tracecraft.merge import MergePlan, Scored, orders, search
from tracecraft.merge.fold import MergeStep
from tracecraft.plan import plan
from tracecraft.plugin import digest
from tracecraft.recipe import load_recipe
from tracecraft.run import run as carry_out
from tracecraft.summary import summarize


def search_orders(
    models: Sequence[str],
    grid: Sequence[str],
    options: dict[str, Any],
    recipe: Path,
    out: Path,
    store: Path,
    *,
    as_json: bool,
) -> None:
    """Merge the models in every order, below `out`; the table of their scores, the best first.

    Raises:
        UsageError: fewer than two models, a model or grid that cannot be read, or a recipe that
            asks no model.
    """
    sources = dict(_named(text) for text in models)
    if len(sources) != len(models):
        raise UsageError("--model: two models have one name")
    if len(sources) < 2:
        raise UsageError("merge --search: say --model NAME=FOLDER at least twice")
    missing = [root for root in sources.values() if not root.is_dir()]
    if missing:
        raise UsageError(f"--model: {missing[0]}: no such folder")
    plans = [
        one
        for chosen in _points(grid)
        for one in orders(list(sources), **_options({**options, **chosen}))
    ]
    score, by = _judge(recipe, store)
    stderr.print(f"merge: {len(plans)} candidates, scored by {recipe}", highlight=False)

    def told(student: Path) -> float:
        value = score(student)
        stderr.print(f"  {value:.4f}  {student}", highlight=False, soft_wrap=True)
        return value

    _tell(search(plans, sources, out, told, by=by), as_json=as_json)


def _named(text: str) -> tuple[str, Path]:
    name, equals, root = text.partition("=")
    if not equals:
        return Path(text).name, Path(text)
    return name, Path(root)


def _points(grid: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Every combination of the values that the grids list."""
    axes = []
    for text in grid:
        name, equals, values = text.partition("=")
        listed = yaml.parse(f"[{values}]", f"--grid {name}", UsageError)
        if not (equals and listed):
            raise UsageError(f"--grid {text}: must be option=value,value, as in t=0.3,0.5")
        axes.append([(name, value) for value in listed])
    return (dict(point) for point in product(*axes))


def _options(options: dict[str, Any]) -> dict[str, Any]:
    """Options of a step as they stand; all others are the method's."""
    own = set(MergeStep.model_fields) - {"name", "into", "other", "parameters"}
    step = {name: value for name, value in options.items() if name in own}
    return {**step, "parameters": {k: v for k, v in options.items() if k not in own}}


def _judge(recipe: Path, store: Path) -> tuple[Callable[[Path], float], str]:
    """The pass rate of a recipe whose stages ask a candidate, and what tells that recipe apart."""
    asks = load_recipe(recipe)
    stages = [
        spec.name
        for spec in asks.steps
        if "model" in getattr(type(getattr(spec.part, "engine", None)), "model_fields", {})
    ]
    if not stages:
        raise UsageError(
            f"{recipe}: no stage has an engine with a `model`, so it cannot score one"
            "\n  next   name a recipe with a `generate` stage and a `verify` stage"
        )

    def score(student: Path) -> float:
        sets = [f"stages.{name}.engine.model={student.resolve()}" for name in stages]
        rate = summarize(carry_out(plan(load_recipe(recipe, sets), store))).pass_rate
        if rate is None:
            raise DataError(f"{recipe}: verified nothing, so {student} has no score")
        return rate.value

    return score, digest([spec.identity() for spec in asks.steps], 16)


def _tell(found: Sequence[Scored], *, as_json: bool) -> None:
    rows = [
        {
            "score": round(one.score, 4),
            "order": one.plan.formula,
            **_differing(one.plan, [other.plan for other in found]),
            "folder": str(one.student),
        }
        for one in found
    ]
    if as_json:
        for row in rows:
            print_json_line(row)
    else:
        print_table(rows, Console(), "merges by score")


def _differing(one: MergePlan, plans: Sequence[MergePlan]) -> dict[str, Any]:
    """The options that are not the same in all plans."""
    told = [plan.steps[-1].model_dump(exclude={"name", "into", "other"}) for plan in plans]
    flat = [{**{k: v for k, v in t.items() if k != "parameters"}, **t["parameters"]} for t in told]
    mine = flat[list(plans).index(one)]
    return {k: v for k, v in mine.items() if any(other.get(k) != v for other in flat)}
