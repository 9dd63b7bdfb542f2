"""Problems whose reference answer most samples contradict: the reference may be wrong."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from tracecraft.verify.decide import decided
from tracecraft.verify.normalise import normalised

__all__ = ["SUSPECT", "audit"]

SUSPECT = pl.Schema(
    {
        "problem_id": pl.String,
        "answer": pl.String,
        "agreed": pl.String,
        "samples": pl.Int32,
        "agreeing": pl.Int32,
        "agreed_share": pl.Float64,
        "reference_share": pl.Float64,
        "statement": pl.String,
    }
)
"""One problem: its reference `answer`, the other answer on which `agreeing` of its `samples` agree,
and the shares of samples that gave either."""

Same = Callable[[str, str], bool]


def audit(
    verdicts: pl.LazyFrame,
    *,
    least_samples: int = 3,
    least_share: float = 0.5,
    same: Same | None = None,
) -> pl.DataFrame:
    """The problems on whose samples another answer than the reference has the majority.

    Samples that gave no answer count against agreement, so a problem that most leave open is not
    listed. The most agreed come first.

    Args:
        verdicts: a VERDICT table; `extracted` holds each sample's answer.
        least_samples: samples below which agreement says nothing.
        least_share: the share of a problem's samples that must agree, exclusive.
        same: whether two answers are one; by default as the math verifier compares, without its
            symbolic stage.
    """
    equal = _equal if same is None else same
    wanted = ("problem_id", "answer", "statement", "extracted", "outcome")
    there = set(verdicts.collect_schema().names())
    table = verdicts.select(c for c in wanted if c in there)
    otherwise = (pl.col("outcome") != "correct") & pl.col("extracted").is_not_null()
    doubted = (
        table.group_by("problem_id")
        .agg(samples=pl.len(), others=otherwise.sum())
        .filter(
            pl.col("samples") >= least_samples,
            pl.col("others") > pl.col("samples") * least_share,
        )
    )
    table = table.join(doubted, on="problem_id", how="semi", maintain_order="left")
    groups = table.collect().partition_by("problem_id", maintain_order=True)
    rows = [_suspect(group, least_share, equal) for group in groups]
    found = [row for row in rows if row is not None]
    frame = pl.DataFrame(found, schema=SUSPECT)
    return frame.sort("agreed_share", "samples", descending=True, maintain_order=True)


def _suspect(group: pl.DataFrame, least_share: float, same: Same) -> dict[str, Any] | None:
    rows = group.to_dicts()
    right = sum(row["outcome"] == "correct" for row in rows)
    others = [row["extracted"] for row in rows if row["outcome"] != "correct" and row["extracted"]]
    agreed, agreeing = _largest(others, same)
    if agreeing <= least_share * len(rows):
        return None
    first = rows[0]
    return {
        "problem_id": first["problem_id"],
        "answer": first.get("answer"),
        "agreed": agreed,
        "samples": len(rows),
        "agreeing": agreeing,
        "agreed_share": agreeing / len(rows),
        "reference_share": right / len(rows),
        "statement": first.get("statement"),
    }


def _largest(answers: Sequence[str], same: Same) -> tuple[str, int]:
    """The answer with the most equals, and how many there are."""
    groups: list[tuple[str, int]] = []
    for answer, count in Counter(answers).items():
        for place, (known, size) in enumerate(groups):
            if same(known, answer):
                groups[place] = (known, size + count)
                break
        else:
            groups.append((answer, count))
    return max(groups, key=lambda group: group[1])


def _equal(a: str, b: str) -> bool:
    return normalised(a) == normalised(b) or bool(decided(a, b).holds)
