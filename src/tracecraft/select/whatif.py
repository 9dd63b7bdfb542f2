"""What a filter would drop, before anything is dropped: counts and examples, rule by rule."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tracecraft.select.predicate import columns

_LONGEST = 100
"""Characters of a text that an example shows."""


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
    right: float | None
    """Share of correct rows among those matched that are judged correct or incorrect; None where
    none is judged."""
    reads: tuple[str, ...]
    """The columns and measures it looks at."""
    examples: pl.DataFrame
    """The first rows that it drops, whole."""

    def shown(self) -> list[dict[str, Any]]:
        """The examples in short: who, what the rule looked at, and how the text ends."""
        texts = [c for c in ("response", "reasoning", "statement") if c in self.examples.columns]
        told = []
        for row in self.examples.iter_rows(named=True):
            names = [c for c in ("trace_id", "problem_id", "id") if row.get(c)][:1]
            names += [c for c in self.reads if c in row]
            end = next((c for c in texts if row[c] and row[c].strip() and c not in names), None)
            names += [end] if end else []
            told.append({name: _short(row[name]) for name in names})
        return told


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The report over all rules; as text, a table with examples."""

    rows: int
    kept: int
    right: float | None
    """Share of correct rows among all that are judged correct or incorrect."""
    rules: tuple[RuleCount, ...]

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON."""
        told = [
            {
                "drop": rule.drop,
                "when": rule.when,
                "why": rule.why,
                "dropped": rule.dropped,
                "matched": rule.matched,
                "alone": rule.alone,
                "unknown": rule.unknown,
                "right": rule.right,
                "examples": rule.shown(),
            }
            for rule in self.rules
        ]
        return {"rows": self.rows, "kept": self.kept, "right": self.right, "rules": told}

    def __str__(self) -> str:
        gone = self.rows - self.kept
        judged = "" if self.right is None else f"; {_share(self.right)} of those judged are right"
        lines = [
            f"{self.rows:,} rows: {self.kept:,} would stay, {gone:,} would go{judged}",
            "  drops: gone by this rule, the first that matches; matches: gone by it or another; "
            "alone: only it matches;",
            "  right: share of right ones among its matches; null: it can't be told",
            f"  {'rule':<16}{'drops':>9}{'matches':>9}{'alone':>9}{'right':>8}{'null':>9}  when",
        ]
        for rule in self.rules:
            lines.append(
                f"  {rule.drop:<16}{rule.dropped:>9,}{rule.matched:>9,}{rule.alone:>9,}"
                f"{_share(rule.right):>8}{rule.unknown:>9,}  {rule.when}"
            )
            for example in rule.shown():
                lines.append("      " + "  ".join(f"{k}={v!r}" for k, v in example.items()))
        return "\n".join(lines)


def _share(right: float | None) -> str:
    return "-" if right is None else f"{right:.1%}"


def _short(value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= _LONGEST:
        return value
    return f"{value[: _LONGEST // 3]} … {value[-(_LONGEST * 2 // 3) :]}"


def what_if(
    rows: pl.LazyFrame, rules: Sequence[tuple[str, str, str, pl.Expr]], examples: int
) -> WhatIf:
    """Count what each `(drop, when, why, test)` would do to `rows`, first match first.

    Texts are read twice, by streaming, and never held but for the examples.
    """
    names = [f"rule_{i}" for i in range(len(rules))]
    tests = [test.alias(name) for name, (*_, test) in zip(names, rules, strict=True)]
    outcome = pl.lit(None, pl.String)
    if "outcome" in rows.collect_schema():
        outcome = pl.col("outcome").cast(pl.String)
    judged = pl.when(outcome.is_in(["correct", "incorrect"])).then(outcome == "correct")
    looked = rows.select(*tests, judged.alias("right")).collect(engine="streaming")
    flags, right = looked.select(names), looked["right"]
    hits = flags.with_columns(pl.all().fill_null(value=False))
    total = hits.sum_horizontal() if names else pl.Series([], dtype=pl.UInt32)
    taken = pl.repeat(value=False, n=hits.height, eager=True)
    counts, firsts = [], []
    for name in names:
        first = hits[name] & ~taken
        taken = taken | hits[name]
        alone = int((hits[name] & (total == 1)).sum())
        unknown, rate = flags[name].null_count(), _rate(right.filter(hits[name]))
        counts.append((int(hits[name].sum()), int(first.sum()), alone, unknown, rate))
        firsts.append(first.arg_true().head(examples))
    shown = _rows_at(rows, firsts)
    told = tuple(
        RuleCount(drop, when, why, *count, tuple(columns(test)), rows_shown)
        for (drop, when, why, test), count, rows_shown in zip(rules, counts, shown, strict=True)
    )
    return WhatIf(hits.height, hits.height - int(taken.sum()), _rate(right), told)


def _rate(right: pl.Series) -> float | None:
    """Share of true ones among those that are not null; None without any."""
    known = right.drop_nulls()
    return int(known.sum()) / len(known) if len(known) else None


def _rows_at(rows: pl.LazyFrame, positions: Sequence[pl.Series]) -> list[pl.DataFrame]:
    wanted = pl.concat([p.cast(pl.UInt32) for p in positions]).unique()
    place = "row_of_the_example"
    found = (
        rows.with_row_index(place)
        .filter(pl.col(place).is_in(wanted.implode()))
        .collect(engine="streaming")
    )
    return [found.filter(pl.col(place).is_in(p.implode())).drop(place) for p in positions]
