"""A pilot: some problems are answered for real, and what all of them would take is predicted.

Its completions are on file afterwards: the run itself will not ask for them again.
"""

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tracecraft.completions import Completions
from tracecraft.distill.budget import Price
from tracecraft.distill.generate import Generate
from tracecraft.errors import UsageError
from tracecraft.plan import Plan, Planned
from tracecraft.plugin import digest
from tracecraft.run import Watcher, run
from tracecraft.stage import Desk, Progress
from tracecraft.store import Dataset, write_json
from tracecraft.summary import Rate, rate
from tracecraft.verify.verifier import Verify

LEAST = 8
"""Problems of a domain that are asked at the least, where it has as many: fewer tell nothing."""
_Z = 1.96
"""Of a normal variable, this many standard deviations hold 95% of it."""


@dataclass(frozen=True, slots=True)
class Guess:
    """A predicted sum with its 95% interval."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Guess":
        """In another unit."""
        return Guess(self.value * factor, self.low * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What one domain of a `generate` stage, or all of it, will take."""

    stage: str
    domain: str
    """`all` where there are several."""
    problems: int
    asked: int
    """Of them in the pilot."""
    prompt_tokens: Guess
    output_tokens: Guess
    gpu_hours: Guess | None
    """None where no completion of the pilot was ever timed."""
    usd: Guess | None
    """None without a price."""
    truncated: Rate | None
    pass_rate: Rate | None
    """None where no `verify` stage reads the traces."""
    solved: float | None
    """Share of the pilot's problems with at least one correct trace."""


def pilot(plan: Plan, share: float, price: Price, watch: Watcher | None = None) -> list[Forecast]:
    """Answer a share (0, 1] of each domain's problems, and predict the rest.

    What comes before the teacher is carried out whole. Sums are the number of problems times the
    pilot's mean, with the error of a sample drawn without replacement, sd·√((1−n/N)/n) (Cochran,
    Sampling Techniques, 1977, eq. 2.20). GPU-hours go by the pilot's own speed, which a full run
    exceeds: a few requests keep no engine full.

    Raises:
        UsageError: the recipe asks no teacher.
    """
    stages = [step for step in plan.steps if isinstance(step.spec.part, Generate)]
    if not stages:
        raise UsageError(f"{plan.recipe.path}: asks no teacher: it has no `generate` stage")
    found: list[Forecast] = []
    with Completions(plan.store / "completions") as completions:
        for step in stages:
            found += _of_stage(step, plan, share, price, completions, watch)
    return found


def _of_stage(
    step: Planned,
    plan: Plan,
    share: float,
    price: Price,
    completions: Completions,
    watch: Watcher | None,
) -> list[Forecast]:
    generate = step.spec.part
    assert isinstance(generate, Generate)
    for name in step.spec.inputs:
        run(plan.until(name), watch=watch)
    for home in step.models:
        generate = generate.with_model(home)
    everything = Dataset.open(step.inputs[0])
    chosen = _chosen(everything.scan(), share)
    problems = everything.scan().filter(pl.col("problem_id").is_in(chosen["problem_id"].to_list()))
    clock = _Clock(plan.store / "pilots", generate.engine.teacher)

    def report(progress: Progress) -> None:
        clock.told(progress)
        if watch is not None:
            watch.advanced(step, progress)

    with generate.open(Desk(completions=completions, report=report)) as ask:
        traces = ask(problems).collect()
    speed = clock.speed()
    judged = _judged(step, plan, traces, problems, completions)
    sizes = dict(everything.scan().group_by("domain").len().collect().iter_rows())
    parts = [(str(name), judged.filter(pl.col("domain") == name), n) for name, n in sizes.items()]
    if len(parts) > 1:
        parts.append(("all", judged, everything.rows))
    costs = price if price != Price() or not generate.budget else generate.budget.price
    return [_forecast(step.spec.name, *part, speed, costs) for part in parts]


def _chosen(problems: pl.LazyFrame, share: float) -> pl.DataFrame:
    """The problems of least hash, a share of each domain: a larger pilot holds the smaller."""
    light = problems.select("problem_id", "domain").unique("problem_id").collect()
    lots = [hashlib.blake2b(i.encode(), digest_size=8).hexdigest() for i in light["problem_id"]]
    drawn = light.with_columns(lot=pl.Series(lots, dtype=pl.String)).sort("lot")
    wanted = (pl.len() * share).ceil().clip(lower_bound=LEAST)
    return drawn.filter(pl.int_range(pl.len()).over("domain") < wanted.over("domain"))


def _judged(
    step: Planned,
    plan: Plan,
    traces: pl.DataFrame,
    problems: pl.LazyFrame,
    completions: Completions,
) -> pl.DataFrame:
    """With verdicts, where a `verify` stage reads the traces."""
    for other in plan.steps:
        part = other.spec.part
        if isinstance(part, Verify) and other.inputs[0] == step.home:
            beside = [problems] if len(other.inputs) > 1 else []
            with part.open(Desk(completions=completions)) as ask:
                return ask(traces.lazy(), *beside).collect()
    return traces


def _forecast(
    stage: str, domain: str, judged: pl.DataFrame, problems: int, speed: float | None, price: Price
) -> Forecast:
    sums = judged.group_by("problem_id").agg(pl.col("prompt_tokens", "completion_tokens").sum())
    prompt = _total(sums["prompt_tokens"], problems)
    output = _total(sums["completion_tokens"], problems)
    hours = output.times(1 / speed / 3600) if speed else None
    right = pl.col("outcome") == "correct"
    verified = "outcome" in judged.columns
    return Forecast(
        stage=stage,
        domain=domain,
        problems=problems,
        asked=sums.height,
        prompt_tokens=prompt,
        output_tokens=output,
        gpu_hours=hours,
        usd=_cost(price, hours, prompt, output),
        truncated=rate(judged, pl.col("finish") == "length"),
        pass_rate=rate(judged, right) if verified else None,
        solved=_solved(judged, right) if verified else None,
    )


def _cost(price: Price, hours: Guess | None, prompt: Guess, output: Guess) -> Guess | None:
    if price == Price() or (price.gpu_hour and hours is None):
        return None
    hours = hours or Guess(0, 0, 0)
    return Guess(
        price.usd(hours.value, prompt.value, output.value),
        price.usd(hours.low, prompt.low, output.low),
        price.usd(hours.high, prompt.high, output.high),
    )


def _solved(judged: pl.DataFrame, right: pl.Expr) -> float:
    by_problem = judged.group_by("problem_id").agg(right.any().alias("solved"))
    return float(by_problem["solved"].mean() or 0.0)  # type: ignore[arg-type]


def _total(per_problem: pl.Series, problems: int) -> Guess:
    asked = per_problem.len()
    mean = float(per_problem.mean() or 0.0)  # type: ignore[arg-type]
    spread = per_problem.std()
    left = max(0.0, 1 - asked / problems) if problems else 0.0
    error = float(spread) * math.sqrt(left / asked) if isinstance(spread, float) else 0.0
    return Guess(
        problems * mean,
        problems * max(0.0, mean - _Z * error),
        problems * (mean + _Z * error),
    )


class _Clock:
    """Tokens answered and GPU-seconds taken, over all pilots of a teacher on this store."""

    def __init__(self, folder: Path, teacher: str) -> None:
        self.place = folder / f"{digest(teacher)}.json"
        self.before = {"output_tokens": 0.0, "gpu_seconds": 0.0}
        if self.place.exists():
            self.before = json.loads(self.place.read_text())
        self.first: float | None = None
        self.now = dict(self.before)

    def told(self, progress: Progress) -> None:
        """Only tokens that came while the engine was open count."""
        tokens = float(progress.facts.get("output_tokens", 0))
        seconds = float(progress.facts.get("gpu_seconds", 0))
        if not seconds or self.first is None:
            self.first = tokens
        self.now = {
            "output_tokens": self.before["output_tokens"] + tokens - self.first,
            "gpu_seconds": self.before["gpu_seconds"] + seconds,
        }

    def speed(self) -> float | None:
        """Output tokens a GPU-second; None where nothing was timed."""
        if self.now != self.before:
            write_json(self.place, self.now)
        tokens, seconds = self.now["output_tokens"], self.now["gpu_seconds"]
        return tokens / seconds if tokens and seconds else None
