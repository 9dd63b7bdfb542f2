"""Tokens that adaptive sampling saves against a fixed number of samples, at equal yield.

    python benchmarks/adaptive.py [--problems FILE] [--limit N] [--samples 8]

Method: recipes/local.yaml (the embedded teacher, through vLLM where it runs) with `samples: N`,
then the same with `samples: {target: 1, at_most: N}` on the same store. Sample i of a problem has
the same seed in both, so the second run asks for nothing new: it shows which of the first run's
completions would have been enough. That both solve the same problems is checked. Tokens are those
of prompts and answers; prompts of one problem share a prefix cache, so outputs count most.
FILE is JSON lines with `question` and `answer` as in GSM8K; by default the recipe's own problems.
"""

import argparse
import tempfile
from pathlib import Path

import polars as pl

import tracecraft as tc

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--problems", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--store", type=Path)
    told = parser.parse_args()
    store = told.store or Path(tempfile.mkdtemp())
    fixed = carried_out(told, store, f"stages.traces.samples={told.samples}")
    adaptive = carried_out(
        told, store, f"stages.traces.samples={{target: 1, at_most: {told.samples}}}"
    )
    if (asked := adaptive.manifest("traces").facts["answered"]) != 0:
        raise SystemExit(f"{asked} completions were asked for anew: the comparison is off")
    one, other = measured(fixed), measured(adaptive)
    if one["solved"] != other["solved"]:
        raise SystemExit(f"solved {one['solved']} and {other['solved']}: not the same problems")
    print(f"{'':24} {'fixed':>12} {'adaptive':>12} {'ratio':>7}")
    for name in one:
        ratio = other[name] / one[name] if one[name] else float("nan")
        print(f"{name:24} {one[name]:12,.0f} {other[name]:12,.0f} {ratio:7.3f}")


def carried_out(told: argparse.Namespace, store: Path, samples: str) -> tc.Run:
    sets = [samples]
    if told.problems:
        sets.append(
            f"inputs.problems={{use: files, path: {told.problems.resolve()}, answer_after: '####',"
            " license: MIT, domain: math}"
        )
    recipe = tc.load_recipe(ROOT / "recipes/local.yaml", sets, told.limit)
    return tc.run(tc.plan(recipe, store).until("judged"))


def measured(run: tc.Run) -> dict[str, float]:
    judged = run["judged"].scan().collect()
    right = judged.filter(pl.col("outcome") == "correct")
    output = float(judged["completion_tokens"].sum())
    return {
        "problems": judged["problem_id"].n_unique(),
        "solved": right["problem_id"].n_unique(),
        "samples": judged.height,
        "verified traces": right.height,
        "prompt tokens": float(judged["prompt_tokens"].sum()),
        "output tokens": output,
        "output tokens a solved": output / max(1, right["problem_id"].n_unique()),
    }


if __name__ == "__main__":
    main()
