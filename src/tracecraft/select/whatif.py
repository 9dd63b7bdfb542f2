"""What a filter would drop, before anything is dropped: counts and examples, rule by rule."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What one rule does to the rows looked at."""

    drop: str
    when: str
    why: str
    matched: int
    """Rows the rule holds for, whether or not an earlier one took them."""
    dropped: int
    """Rows it is the first to hold for: what the ledger will show under its name."""
    alone: int
    """Rows that no other rule holds for: what would come back without it."""
    unknown: int
    """Rows for which it is null, so that it did not decide."""
    examples: pl.DataFrame
    """The first rows that it drops, whole."""


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The report over all rules."""

    rows: int
    kept: int
    rules: tuple[RuleCount, ...]


def what_if(
    rows: pl.LazyFrame, rules: Sequence[tuple[str, str, str, pl.Expr]], examples: int
) -> WhatIf:
    """Count what each `(drop, when, why, test)` would do to `rows`, first match first.

    Texts are read twice, by streaming, and never held but for the examples.
    """
    names = [f"rule_{i}" for i in range(len(rules))]
    tests = [test.alias(name) for name, (*_, test) in zip(names, rules, strict=True)]
    flags = rows.select(tests).collect(engine="streaming")
    hits = flags.with_columns(pl.all().fill_null(value=False))
    total = hits.sum_horizontal() if names else pl.Series([], dtype=pl.UInt32)
    taken = pl.repeat(value=False, n=hits.height, eager=True)
    counts, firsts = [], []
    for name in names:
        first = hits[name] & ~taken
        taken = taken | hits[name]
        alone = int((hits[name] & (total == 1)).sum())
        counts.append((int(hits[name].sum()), int(first.sum()), alone, flags[name].null_count()))
        firsts.append(first.arg_true().head(examples))
    shown = _rows_at(rows, firsts)
    told = tuple(
        RuleCount(drop, when, why, *count, rows_shown)
        for (drop, when, why, _), count, rows_shown in zip(rules, counts, shown, strict=True)
    )
    return WhatIf(hits.height, hits.height - int(taken.sum()), told)


def _rows_at(rows: pl.LazyFrame, positions: Sequence[pl.Series]) -> list[pl.DataFrame]:
    wanted = pl.concat([p.cast(pl.UInt32) for p in positions]).unique()
    place = "row_of_the_example"
    found = (
        rows.with_row_index(place)
        .filter(pl.col(place).is_in(wanted.implode()))
        .collect(engine="streaming")
    )
    return [found.filter(pl.col(place).is_in(p.implode())).drop(place) for p in positions]
