"""What one model did on one benchmark: its verdicts as a table of items by samples."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from tracecraft.errors import DataError, StageError
from tracecraft.evaluate.items import ITEM, LETTERS, ORDER
from tracecraft.evaluate.statistics import Rights

_LIGHT = ("problem_id", "sample_index", "outcome", "finish", "completion_tokens", "extracted")


class Facts(BaseModel):
    """What is fixed about a benchmark's scores."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """As gates call it."""
    title: str
    """As tables call it."""
    domain: str
    """Of its problems."""
    samples: int = Field(ge=1)
    """Answers every problem must have."""
    protocol: int
    """Answers that the benchmark's own protocol asks for."""
    problems: int | None = None
    """How many problems it has when it is whole."""
    preset: str = ""
    """How the models were asked."""
    prompt: str | None = None
    """The user's turn, with `{statement}`; None is R1's for mathematics."""
    majority: bool = True
    """Whether answers vote."""
    private: bool = False
    """Whether its questions may not be shown."""


@dataclass(frozen=True, slots=True)
class Tally:
    """One model on one benchmark."""

    facts: Facts
    model: str
    items: list[str]
    """In the benchmark's order."""
    right: Rights
    """Items by samples: 1 where right. An answer that was cut off is wrong."""
    rows: pl.DataFrame
    """One row a sample, in the order of `right`: item, finish, outcome, tokens, lengths."""

    @property
    def answers(self) -> list[list[str | None]]:
        """What was read out of each sample, in one form; None where it was cut off."""
        texts = self.rows.select(
            pl.when(pl.col("finish") == "stop").then(
                pl.col("extracted").str.replace_all(r"\s|\$", "").str.to_lowercase()
            )
        ).to_series()
        n = self.right.shape[1]
        flat = texts.to_list()
        return [flat[start : start + n] for start in range(0, len(flat), n)]

    def without(self, touched: set[str]) -> Rights:
        """`right` without the items named."""
        keep = [place for place, item in enumerate(self.items) if item not in touched]
        return self.right[keep]


def tally(judged: pl.LazyFrame, problems: pl.LazyFrame, facts: Facts, model: str) -> Tally:
    """The verdicts of a model by item and sample.

    Raises:
        StageError: an item has fewer answers than `facts.samples`: there is no score then.
        DataError: two items have one statement, or an item has more answers.
    """
    options = ["choices"] if "choices" in problems.collect_schema().names() else []
    asked = problems.select("problem_id", ITEM, ORDER, *options).collect()
    if asked["problem_id"].n_unique() < asked.height:
        raise DataError(
            f"{facts.name}: two of its items have the same statement"
            "\n  next   take one of them out of the benchmark's source"
        )
    lengths = [
        pl.col(name).str.len_chars().fill_null(0).alias(f"{name}_chars")
        for name in ("reasoning", "response")
    ]
    light = judged.select(*_LIGHT, *lengths, _reason(judged)).collect()
    place = asked.with_row_index("place")
    rows = light.join(place, on="problem_id", how="inner", maintain_order="left")
    answered = rows.filter(pl.col("finish") != "failed")
    order = list(dict.fromkeys(asked[ITEM]))
    _enough(answered, rows, order, facts, model)
    first = pl.col("place").min().over(ITEM)
    answered = _chosen(answered.sort(first, ORDER, "sample_index"))
    good = (pl.col("outcome") == "correct") & (pl.col("finish") == "stop")
    flat = answered.select(good.cast(pl.Float64)).to_series().to_numpy()
    right = np.ascontiguousarray(flat.reshape(len(order), facts.samples))
    return Tally(facts, model, order, right, answered.drop("place", "problem_id", "reason"))


def _chosen(rows: pl.DataFrame) -> pl.DataFrame:
    """Where options stand in several orders, a letter is told apart by the option's text."""
    if "choices" not in rows.columns:
        return rows
    pairs = zip(rows["extracted"], rows["choices"].to_list(), strict=True)
    texts = [
        texts[LETTERS.index(said)]
        if said and texts and said in LETTERS[: len(texts)] and len(said) == 1
        else said
        for said, texts in pairs
    ]
    return rows.drop("choices").with_columns(pl.Series("extracted", texts, dtype=pl.String))


def _reason(judged: pl.LazyFrame) -> pl.Expr:
    told = pl.col("error") if "error" in judged.collect_schema().names() else pl.lit(None)
    return told.cast(pl.String).alias("reason")


def _enough(
    answered: pl.DataFrame, rows: pl.DataFrame, items: list[str], facts: Facts, model: str
) -> None:
    """Every item has exactly the answers it must have."""
    found = dict(answered.group_by(ITEM).len().iter_rows())
    short = [item for item in items if found.get(item, 0) < facts.samples]
    if short:
        owed = sum(facts.samples - found.get(item, 0) for item in short)
        total = facts.samples * len(items)
        failed = rows.filter(pl.col("finish") == "failed")["reason"].drop_nulls()
        why = "" if facts.private or failed.is_empty() else f": {failed.mode().sort()[0]}"
        raise StageError(
            f"{facts.name}, {model}: {owed:,} of {total:,} answers are missing{why}"
            f"\n         {len(short):,} of {len(items):,} problems have fewer than "
            f"{facts.samples} answers, so there is no avg@{facts.samples}"
            "\n  next   ask again for what failed: raise `attempt` by one (tracecraft eval "
            "--attempt 2),\n         or say a number of samples that every problem has"
        )
    over = [item for item in items if found[item] > facts.samples]
    if over:
        raise DataError(
            f"{facts.name}, {model}: {len(over)} problems have more than {facts.samples} answers"
        )
