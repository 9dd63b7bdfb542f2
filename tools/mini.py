"""The method in miniature over several seeds: `recipes/mini.yaml` run, scored, laid side by side.

What is finished is kept, so that one more seed costs one seed. The protocol: docs/miniature.md.
"""

import argparse
import json
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: a pico model is slower on more

import polars as pl

import tracecraft as tc
from tracecraft.engine import Sampling
from tracecraft.plan import Plan
from tracecraft.stage import Job
from tracecraft.store import Manifest, write_json

ROOT = Path(__file__).parents[1]
DOMAINS = ("math", "code", "science")
SEEDS = (6, 7, 8, 9, 10)
ASKED = Sampling(temperature=0.0, top_p=1.0, max_tokens=96)
AT_ONCE = 300
T975 = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""Student's t, two-sided 95%, by degrees of freedom (any table)."""
Rights = dict[str, dict[str, list[int]]]
"""Model, domain, and 1 for each problem that it solved, in the order of the problems."""


def main() -> int:
    said = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    said.add_argument("--recipe", type=Path, default=ROOT / "recipes/mini.yaml")
    said.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    said.add_argument("--store", type=Path, default=ROOT / "runs/mini")
    said.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    told = said.parse_args()
    found = []
    for seed in told.seeds:
        sets = [f"seed={seed}", *told.set]
        plan = tc.plan(tc.load_recipe(told.recipe, sets), store=told.store)
        run = tc.run(plan)
        rights = scored(plan, run["tests"].scan())
        found.append({"seed": seed, "rights": rights, "costs": costs(plan)})
        print(f"seed {seed}: " + "  ".join(f"{m} {_all(r):.1%}" for m, r in rights.items()))
    write_json(told.store / "mini.json", found)
    print(report(found))
    return 0


def models(plan: Plan) -> list[str]:
    """The backbone, and what was trained or merged from it, in the order of the recipe."""
    jobs = [one for one in plan.steps if isinstance(one.spec.part, Job)]
    made = [one.spec.name for one in jobs if one.spec.part.use in ("train", "merge")]
    return made[made.index("backbone") :]


def scored(plan: Plan, problems: pl.LazyFrame) -> Rights:
    """Every model's greedy answer to every problem, verified; kept beside the model."""
    verify = tc.Verify.bind({"verifier": {"use": "auto"}, "workers": 1})
    asked = plan["tests"].home.name
    rights: Rights = {}
    for name in models(plan):
        home = plan[name].home
        kept = home.with_name(f"{home.name}.{asked}.json")
        if not kept.exists():
            options = {"use": "transformers", "model": str(home / "output"), "batch": AT_ONCE}
            stage = tc.Generate.bind(
                {"engine": options, "prompt": str(ROOT / "recipes/mini/prompt.txt")}
            )
            judged = verify(stage.model_copy(update={"sampling": ASKED})(problems)).collect()
            solved = pl.col("outcome") == "correct"
            marks = judged.select("domain", solved.cast(pl.Int8).alias("right"))
            write_json(
                kept,
                {d: marks.filter(pl.col("domain") == d)["right"].to_list() for d in DOMAINS},
            )
        rights[name] = json.loads(kept.read_bytes())
    return rights


def costs(plan: Plan) -> dict[str, dict[str, float]]:
    """Steps and CPU seconds of each training; seconds of each merge with those that it needs."""
    told: dict[str, dict[str, float]] = {}
    for name in models(plan):
        manifest = Manifest.read(plan[name].home)
        if "cpu seconds" in manifest.facts:
            history = json.loads((plan[name].home / "output/branch.json").read_bytes())["history"]
            told[name] = {"steps": len(history), "cpu": float(manifest.facts["cpu seconds"])}
        else:
            needed = (one for one in plan.until(name).steps if one.spec.part.use == "merge")
            told[name] = {"merge": sum(Manifest.read(one.home).seconds for one in needed)}
    return told


def report(found: Sequence[dict[str, Any]]) -> str:
    """Markdown: scores with intervals over seeds, paired differences, costs."""
    names = list(found[0]["rights"])
    share = {
        name: {domain: [_mean(one["rights"][name][domain]) for one in found] for domain in DOMAINS}
        for name in names
    }
    for name in names:
        share[name]["all"] = [
            _mean(each) for each in zip(*(share[name][d] for d in DOMAINS), strict=True)
        ]
    columns = (*DOMAINS, "all")
    lines = ["| model | math | code | science | all | steps | CPU s |", "|---|" + "---|" * 6]
    for name in names:
        cells = [_interval(share[name][column], 100) for column in columns]
        cost = [one["costs"][name] for one in found]
        steps = f"{_mean(c['steps'] for c in cost):.0f}" if "steps" in cost[0] else "–"
        spent = _mean(c.get("cpu", c.get("merge", 0.0)) for c in cost)
        lines.append(f"| {name} | {' | '.join(cells)} | {steps} | {spent:.1f} |")
    lines += ["", "| paired over seeds | math | code | science | all |", "|---|" + "---|" * 4]
    for one, other in _pairs(names):
        gaps = [
            _interval([a - b for a, b in zip(share[one][c], share[other][c], strict=True)], 100)
            for c in columns
        ]
        lines.append(f"| {one} − {other} | {' | '.join(gaps)} |")
    return "\n".join(lines)


def _pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """Merges with the mixture, all with the backbone, `reversed` with a branch and the mean."""
    rest = [n for n in names if n not in ("backbone", "mixture", *DOMAINS)]
    mixed = [(n, "mixture") for n in ("backbone", *rest)]
    chosen = [("reversed", other) for other in ("code", "linear")]
    seen = [pair for pair in chosen if set(pair) <= set(names)]
    return [*mixed, *((n, "backbone") for n in (*DOMAINS, "mixture", *rest)), *seen]


def _interval(values: Sequence[float], times: float) -> str:
    """Mean and Student's 95% interval over the seeds."""
    count = len(values)
    mean = _mean(values)
    if count < 2:
        return f"{times * mean:.1f}"
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1))
    return f"{times * mean:.1f} ± {times * T975[count - 1] * spread / math.sqrt(count):.1f}"


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)


def _all(rights: dict[str, list[int]]) -> float:
    return _mean(_mean(rights[domain]) for domain in DOMAINS)


if __name__ == "__main__":
    raise SystemExit(main())
