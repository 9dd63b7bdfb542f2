"""Order statistics of scores too many to sort: bracketed by a sample, counted, then selected."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

SIGMAS = 3.0
"""Half width of a bracket, in standard errors of a sampled quantile; a miss costs two passes."""
FEWEST = 256
"""Of fewer sampled scores no bracket is made."""


@dataclass(frozen=True, slots=True)
class Edges:
    """Half-open intervals [low, high) that should hold the wanted scores."""

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    share: float
    """Part of all scores that is expected inside."""


@dataclass(frozen=True, slots=True)
class Bracket:
    """What one block of scores has below and inside the intervals."""

    below: NDArray[np.int64]
    inside: NDArray[np.float32]
    missed: bool
    """There were more inside than room was made for."""


def bracket(sample: NDArray[np.float32], shares: list[float]) -> Edges | None:
    """Intervals for the quantiles at `shares`, from a sorted sample; None: too small a sample."""
    m = len(sample)
    if m < FEWEST:
        return None
    spreads = [SIGMAS * sqrt(m * p * (1 - p)) + 2 for p in shares]
    lows = [max(0, int(m * p - s)) for p, s in zip(shares, spreads, strict=True)]
    highs = [min(m - 1, int(m * p + s)) for p, s in zip(shares, spreads, strict=True)]
    beyond = np.nextafter(sample[highs], np.float32(np.inf))  # ties with the edge are inside
    return Edges(sample[lows], beyond, 2 * sum(spreads) / m)


def select(ranks: list[int], edges: Edges, blocks: list[Bracket]) -> list[float] | None:
    """The scores at `ranks` of all blocks together; None where an interval does not hold one."""
    if any(block.missed for block in blocks):
        return None
    below = np.sum([block.below for block in blocks], axis=0)
    values = np.concatenate([block.inside for block in blocks])
    found = []
    for rank, under, low, high in zip(ranks, below, edges.low, edges.high, strict=True):
        inside = values[(values >= low) & (values < high)]
        place = int(rank - under)
        if not 0 <= place < len(inside):
            return None
        found.append(float(np.partition(inside, place)[place]))
    return found


def radix(ranks: list[int], counts: Callable[[int], Counts]) -> list[float]:
    """The non-negative float32 values at `ranks`, for any data and in little memory.

    `counts(-1)` tells how many values have each high half of the bits, `counts(high)` how many
    under that half have each low one.
    """
    high = counts(-1).cumsum()
    lows: dict[int, Counts] = {}
    found = []
    for rank in ranks:
        top = int(np.searchsorted(high, rank, side="right"))
        before = int(high[top - 1]) if top else 0
        if top not in lows:
            lows[top] = counts(top).cumsum()
        low = int(np.searchsorted(lows[top], rank - before, side="right"))
        found.append(float(np.uint32(top << 16 | low).view(np.float32)))
    return found
