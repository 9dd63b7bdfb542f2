"""Pick: of each problem's traces the best few, within a band of difficulty, capped and mixed."""

import hashlib
from collections.abc import Collection
from typing import ClassVar, Literal, Self

import polars as pl
from pydantic import Field, model_validator

from tracecraft.errors import DataError, did_you_mean
from tracecraft.schema import DOMAINS, DROPPED, EXAMPLE, OUTCOME, TRACE, VERDICT
from tracecraft.select.example import dressed
from tracecraft.stage import Marker

Prefer = Literal["shortest", "longest", "median", "most_agreed", "first"]
_NEEDED = pl.Schema({name: VERDICT[name] for name in ("problem_id", "outcome")})


class Pick(Marker, use="pick", version=1):
    """Keep of each problem the traces that a student should learn from, as SFT examples.

    Decides on a few light columns, so memory does not grow with the texts, and gives the same
    rows whatever their order. A second table, the judged traces before any filter, tells how
    often each problem was solved: `from: [kept, judged]`.
    """

    per_problem: int = Field(default=1, ge=1)
    """Traces to keep of a problem."""
    prefer: Prefer = "shortest"
    """Which of them. `most_agreed`: those whose answer most others share, then the shortest;
    `median`: nearest to the median length; `first`: lowest sample index. Lengths are
    `completion_tokens`, or characters for a problem where some are unknown; `trace_id` breaks
    ties."""
    pass_rate: tuple[float, float] = Field(default=(0.0, 1.0), strict=False)
    """Lowest and highest share of correct traces (among correct and incorrect) of a problem."""
    majority: float | None = Field(default=None, gt=0, le=1)
    """Where a problem has no reference answer: keep the traces whose extracted answer at least this
    share of its traces gives. None asks for no majority."""
    per_source: int | dict[str, int] | None = None
    """At most this many examples of every source, or of those named."""
    per_domain: int | dict[str, int] | None = None
    """At most this many examples of every domain, or of those named."""
    balance: Literal["domain", "source"] | None = None
    """Keep the groups in the proportions of `shares` by cutting the ones that are too large."""
    shares: dict[str, float] = Field(default_factory=dict)
    """Weights of the groups that `balance` names; equal without. A group not named goes."""
    most: int | None = Field(default=None, ge=1)
    """At most this many examples in all."""
    seed: int = 0
    """Decides who stays under a cap."""

    reads: ClassVar[tuple[pl.Schema, ...]] = (TRACE, _NEEDED)
    writes: ClassVar[pl.Schema] = EXAMPLE

    @model_validator(mode="after")
    def _sound(self) -> Self:
        low, high = self.pass_rate
        if not 0 <= low <= high <= 1:
            raise ValueError(f"pass_rate: must be two shares in order, not {list(self.pass_rate)}")
        if self.shares and self.balance is None:
            raise ValueError("shares: says in which proportions, `balance:` must say of what")
        for name, groups in self._domains().items():
            for group in groups:
                if group not in DOMAINS:
                    raise ValueError(f"{name}: no domain {group!r}" + did_you_mean(group, DOMAINS))
        if any(weight <= 0 for weight in self.shares.values()):
            raise ValueError("shares: must be above 0; leave a group out to drop it")
        return self

    def _domains(self) -> dict[str, Collection[str]]:
        """The domains that options name, by option."""
        named: dict[str, Collection[str]] = {}
        if isinstance(self.per_domain, dict):
            named["per_domain"] = self.per_domain
        if self.balance == "domain":
            named["shares"] = self.shares
        return named

    def mark(self, traces: pl.LazyFrame, judged: pl.LazyFrame | None = None, /) -> pl.DataFrame:
        rows = _light(traces, answers=self.prefer == "most_agreed" or self.majority is not None)
        rates = self._rates(rows, judged)
        rows = rows.join(rates, on="problem_id", how="left", maintain_order="left")
        rows = self._judge(rows)
        rows = self._prefer(rows)
        for column, caps in (("source", self.per_source), ("domain", self.per_domain)):
            if caps is not None:
                rows = self._cap(rows, column, caps)
        if self.balance is not None:
            rows = self._mix(rows, self.balance)
        if self.most is not None:
            rows = self._drop_beyond(rows, pl.lit(self.most), [], "total_cap")
        return rows.select("pass_rate", DROPPED)

    def dress(self, table: pl.LazyFrame) -> pl.LazyFrame:
        return dressed(table)

    def _rates(self, rows: pl.DataFrame, judged: pl.LazyFrame | None) -> pl.DataFrame:
        """Each problem's share of correct traces, null where none was correct or incorrect."""
        told = rows.select("problem_id", "outcome")
        if judged is not None:
            told = judged.select("problem_id", "outcome").collect(engine="streaming")
        elif self.pass_rate != (0.0, 1.0) and not (told["outcome"] == "incorrect").any():
            raise DataError(
                "pick: pass_rate: every trace here is correct, so every rate would be 1"
                "\n  next   name the judged traces second, as in: from: [kept, judged]"
            )
        outcome = pl.col("outcome")
        decided = told.filter(outcome.is_in(["correct", "incorrect"]))
        return decided.group_by("problem_id").agg(
            (outcome == "correct").mean().cast(pl.Float32).alias("pass_rate")
        )

    def _judge(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Name what no preference can save: wrong, too easy, too hard, against the majority."""
        low, high = self.pass_rate
        rate = pl.col("pass_rate").cast(pl.Float64)
        reason = (
            pl.when(pl.col("outcome") == "incorrect")
            .then(pl.lit("wrong"))
            .when(rate < low - 1e-6)
            .then(pl.lit("too_hard"))
            .when(rate > high + 1e-6)
            .then(pl.lit("too_easy"))
        )
        rows = rows.with_columns(reason.alias(DROPPED))
        agreed = pl.col("extracted").is_not_null() & pl.col(DROPPED).is_null()
        votes = agreed.sum().over("problem_id", "extracted")
        rows = rows.with_columns(
            pl.when(agreed).then(votes).otherwise(0).cast(pl.Int32).alias("votes")
        )
        if self.majority is None:
            return rows
        votes, best = pl.col("votes"), pl.col("votes").max().over("problem_id")
        leaders = (votes == best).sum().over("problem_id")  # more than `best` where two answers tie
        enough = best >= self.majority * pl.len().over("problem_id") - 1e-9
        split = (
            pl.when(~enough | (leaders > best))
            .then(pl.lit("no_majority"))
            .when(votes < best)
            .then(pl.lit("minority"))
        )
        open_rows = pl.col(DROPPED).is_null() & ~pl.col("has_answer")
        return rows.with_columns(
            pl.when(open_rows).then(split).otherwise(pl.col(DROPPED)).alias(DROPPED)
        )

    def _prefer(self, rows: pl.DataFrame) -> pl.DataFrame:
        orders: dict[Prefer, list[str | pl.Expr]] = {
            "shortest": ["size"],
            "longest": [-pl.col("size")],
            "median": [(pl.col("size") - pl.col("size").median().over("problem_id")).abs(), "size"],
            "most_agreed": [-pl.col("votes"), "size"],
            "first": ["sample_index"],
        }
        candidates = rows.filter(pl.col(DROPPED).is_null()).with_columns(_size())
        order = candidates.sort([*orders[self.prefer], "trace_id", "place"], nulls_last=True)
        return _say(rows, order, pl.lit(self.per_problem), ["problem_id"], "not_picked")

    def _cap(self, rows: pl.DataFrame, column: str, caps: int | dict[str, int]) -> pl.DataFrame:
        group = pl.col(column).cast(pl.String)
        most = pl.lit(caps) if isinstance(caps, int) else group.replace_strict(caps, default=None)
        return self._drop_beyond(rows, most, [column], f"{column}_cap")

    def _mix(self, rows: pl.DataFrame, column: str) -> pl.DataFrame:
        left = rows.filter(pl.col(DROPPED).is_null()).group_by(column).len()
        sizes = {name: n for name, n in left.iter_rows() if name is not None}
        weights = self.shares or dict.fromkeys(sizes, 1.0)
        if missing := sorted(set(weights) - set(sizes)):
            raise DataError(
                f"pick: shares: no example of {column} {missing[0]!r} is left to mix in"
                f"\n  left: {', '.join(f'{k} {n:,}' for k, n in sorted(sizes.items())) or 'none'}"
            )
        unit = min((sizes[name] / weight for name, weight in weights.items()), default=0.0)
        caps = {name: int(unit * weight + 1e-9) for name, weight in weights.items()}
        most = pl.col(column).cast(pl.String).replace_strict(caps, default=0)
        return self._drop_beyond(rows, most, [column], "mixture")

    def _drop_beyond(
        self, rows: pl.DataFrame, most: pl.Expr, group: list[str], name: str
    ) -> pl.DataFrame:
        """Drop what is beyond `most` of a group, in an order that the seed decides."""
        left = rows.filter(pl.col(DROPPED).is_null())
        lots = [_lot(self.seed, trace) for trace in left["trace_id"]]
        order = left.with_columns(pl.Series("lot", lots, pl.UInt64)).sort("lot", "place")
        return _say(rows, order, most, group, name)


def _light(traces: pl.LazyFrame, *, answers: bool) -> pl.DataFrame:
    """One light row a trace, in order: who it is, how it was judged, how long it is.

    Texts are not read but where lengths in tokens are unknown.
    """
    have = traces.collect_schema().names()

    def maybe(name: str, *, wanted: bool = True) -> pl.Expr:
        found = pl.col(name) if name in have and wanted else pl.lit(None)
        return found.cast(pl.String).alias(name)

    rows = traces.select(
        "problem_id",
        "trace_id",
        pl.col("source").cast(pl.Categorical),
        "domain",
        "sample_index",
        pl.col("answer").fill_null("").str.contains(r"\S").alias("has_answer"),
        pl.col("completion_tokens").cast(pl.Int64).replace(0, None).alias("known_tokens"),
        maybe("outcome").cast(OUTCOME),
        maybe("extracted", wanted=answers),
    ).collect(engine="streaming")
    rows = rows.with_row_index("place")
    if not rows["known_tokens"].null_count():
        return rows.with_columns(pl.lit(0, pl.Int64).alias("chars"))
    chars = pl.sum_horizontal(pl.col("reasoning", "response").str.len_chars()).cast(pl.Int64)
    return rows.hstack(traces.select(chars.alias("chars")).collect(engine="streaming"))


def _size() -> pl.Expr:
    known = pl.col("known_tokens").is_not_null().all().over("problem_id")
    return pl.when(known).then(pl.col("known_tokens")).otherwise(pl.col("chars")).alias("size")


def _say(
    rows: pl.DataFrame, order: pl.DataFrame, most: pl.Expr, group: list[str], name: str
) -> pl.DataFrame:
    """Mark with `name` those of the ordered rows that come after the first `most` of a group."""
    rank = pl.int_range(pl.len())
    if group:
        rank = rank.over(group)
    beyond = order.filter((rank >= most).fill_null(value=False))["place"]
    late = pl.col("place").is_in(beyond.implode())
    return rows.with_columns(
        pl.when(late).then(pl.lit(name)).otherwise(pl.col(DROPPED)).alias(DROPPED)
    )


def _lot(seed: int, trace: str) -> int:
    raw = hashlib.blake2b(f"{seed}:{trace}".encode(), digest_size=8).digest()
    return int.from_bytes(raw, "little")
