"""The metrics of a tally: rows of the table of scores."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from tracecraft.evaluate.gate import CONTAMINATION
from tracecraft.evaluate.statistics import (
    Rights,
    Score,
    average,
    difference,
    majority_at,
    pass_at,
    scored,
    student,
)
from tracecraft.evaluate.tally import Tally
from tracecraft.schema import SCORE

Row = dict[str, str | float | int | None]


def metrics(one: Tally, touched: set[str] | None) -> Iterator[Row]:
    """All metrics of a model on a benchmark, the score itself first.

    Args:
        one: its answers.
        touched: items that its training data holds; None where that was not looked at.
    """
    n = one.right.shape[1]
    yield _row(one, f"avg@{n}", average(one.right))
    for k in _steps(n):
        yield _row(one, f"pass@{k}", pass_at(one.right, k))
    if one.facts.majority and n > 2:
        yield _row(one, f"maj@{n}", majority_at(one.answers, one.right))
    yield _row(one, "truncated", _share(one, pl.col("finish") == "length"))
    for outcome in ("unverifiable", "failed"):
        yield _row(one, outcome, _share(one, pl.col("outcome") == outcome))
    yield from _lengths(one)
    if touched is None:
        return
    hit = np.array([item in touched for item in one.items], dtype=np.float64)
    yield _row(one, CONTAMINATION, scored(hit, None))
    clean = one.without(touched)
    if len(clean):
        yield _row(one, f"avg@{n}.clean", average(clean), len(clean))


def differences(tallies: list[Tally]) -> Iterator[Row]:
    """Each pair of models on one benchmark: the later one less the earlier one."""
    for place, one in enumerate(tallies):
        for other in tallies[place + 1 :]:
            row = _row(other, f"avg@{other.right.shape[1]}", difference(other.right, one.right))
            yield {**row, "other": one.model}


def _steps(n: int) -> list[int]:
    """Powers of two up to n, and n."""
    powers = [2**i for i in range(1, n.bit_length()) if 2**i <= n]
    return sorted({*powers, n} - {1})


def _share(one: Tally, true: pl.Expr) -> Score:
    """A share of the samples, by problem."""
    flags = one.rows.select(true.cast(pl.Float64)).to_series().to_numpy()
    by_item: Rights = flags.reshape(one.right.shape)
    return average(by_item)


def _lengths(one: Tally) -> Iterator[Row]:
    """Tokens of all answers, of right and wrong ones, of their thoughts and what follows them."""
    rows = one.rows.with_columns(pl.Series("right", one.right.ravel() > 0.5))
    tokens = pl.col("completion_tokens").cast(pl.Float64)
    thought, said = pl.col("reasoning_chars"), pl.col("response_chars")
    share = pl.when(thought + said > 0).then(thought / (thought + said)).otherwise(0.0)
    if not rows.select((tokens > 0).any()).item():
        return
    parts = {
        "tokens": rows.select(tokens),
        "tokens.right": rows.filter("right").select(tokens),
        "tokens.wrong": rows.filter(~pl.col("right")).select(tokens),
        "tokens.reasoning": rows.select(tokens * share),
        "tokens.answer": rows.select(tokens * (1 - share)),
    }
    yield _row(one, "tokens.mean", _mean_tokens(one))
    for name, part in parts.items():
        values = part.to_series()
        if values.is_empty():
            continue
        if name != "tokens":
            yield _row(one, f"{name}.mean", _plain(values.mean()))
        yield _row(one, f"{name}.median", _plain(values.median()))
        yield _row(one, f"{name}.p90", _plain(values.quantile(0.9, "linear")))


def _mean_tokens(one: Tally) -> Score:
    tokens = one.rows["completion_tokens"].cast(pl.Float64).to_numpy().reshape(one.right.shape)
    made = average(tokens)
    half = student(len(tokens) - 1) * (made.stderr_problem or 0.0) if len(tokens) > 1 else 0.0
    return Score(made.value, made.value - half, made.value + half, made.stderr, made.stderr_problem)


def _plain(value: object) -> Score | float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _row(one: Tally, metric: str, score: Score | float, problems: int | None = None) -> Row:
    made: Row = dict.fromkeys(SCORE)
    made |= {"benchmark": one.facts.name, "model": one.model, "metric": metric}
    made |= {"problems": problems or len(one.items), "samples": one.right.shape[1]}
    if isinstance(score, float):
        return made | {"value": score}
    told = {"value": score.value, "low": score.low, "high": score.high}
    return made | told | {"stderr": score.stderr, "stderr_problem": score.stderr_problem}
