"""Order statistics of scores too many to sort: bracketed by a sample, counted, then selected."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import frexp, sqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Scores = NDArray[np.float32]

SIGMAS = 3.0
"""Half width of a bracket, in standard errors of a sampled quantile; a miss costs two passes."""
FEWEST = 256
"""Of fewer sampled scores no bracket is made."""
SMALLEST, LARGEST = 1e-30, 2.0**14
"""Of bounds; between them scores times the unit are exact in float32."""
BUCKET = 13
"""Low bits that sampled scores are told apart without: a bracket grows by at most 2^-9 of it."""
WIDTH = 1.5
"""Interquartile ranges that the threshold lies above the median."""


def level(quartiles: Sequence[float]) -> float:
    """Median + 1.5 (q3 - q1)."""
    first, median, third = quartiles
    return median + WIDTH * (third - first)


@dataclass(frozen=True, slots=True)
class Net:
    """Half-open intervals [low, high) that should hold the three quartiles, and their level."""

    low: Scores
    """Of four intervals; that of a quartile which is zero is empty."""
    high: Scores
    unit: float
    """A power of two; the end of the last interval is 2^13 to 2^14 times its inverse."""
    share: float
    """Part of all scores that is expected in the fullest interval."""

    @classmethod
    def cast(cls, sample: Scores, ranks: Sequence[int], count: int) -> Self | None:
        """Around the quartiles at `ranks` among `count` scores; a negative rank is the score zero.

        `sample` is of those scores. None: it is too small, or they are too far from 1.
        """
        m = len(sample)
        if m < FEWEST:
            return None
        borders, share = [], 0.0
        for part in (rank / count for rank in ranks if rank >= 0):
            spread = SIGMAS * sqrt(m * part * (1 - part)) + 2
            borders += [max(0, int(m * part - spread)), min(m - 1, int(m * part + spread))]
            share = max(share, 2 * spread / m)
        found = _edges(sample, borders)
        bounds = [(0.0, 0.0)] * (len(ranks) - len(borders) // 2)
        bounds += found
        (q1_low, q1_high), (low, high), (q3_low, q3_high) = bounds
        least = _outward(level((q1_high, low, q3_low)), -np.inf)
        most = _outward(level((q1_low, high, q3_high)), np.inf)
        if not SMALLEST < min([least, *(b[0] for b in bounds if b[1])]) <= most < LARGEST:
            return None
        share = max(share, np.count_nonzero((sample >= least) & (sample < most)) / m)
        every = [b if b[1] else (least, least) for b in bounds] + [(least, most)]
        lows, highs = np.array(every, np.float32).T
        return cls(lows.copy(), highs.copy(), 2.0 ** (14 - frexp(most)[1]), share)


def _edges(sample: Scores, borders: Sequence[int]) -> list[tuple[float, float]]:
    """Of each pair of ranks a float32 not above the first's score and one above the second's."""
    from tracecraft.merge.kernels import spread

    counts, first = spread(sample, np.uint32(BUCKET))
    places = np.searchsorted(counts.cumsum(), borders, side="right") + int(first)
    places[1::2] += 1
    edges = (places.astype(np.uint32) << np.uint32(BUCKET)).view(np.float32).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _outward(bound: float, to: float) -> float:
    return float(np.nextafter(np.float32(bound), np.float32(to)))


@dataclass(frozen=True, slots=True)
class Catch:
    """What all scores have below and inside the intervals."""

    net: Net
    below: Counts
    inside: tuple[Scores, ...]
    """Of each interval; times `net.unit`."""
    missed: bool
    """There were more inside than room was made for."""

    def quartiles(self, ranks: Sequence[int], zeros: int) -> list[float] | None:
        """The scores at those ranks after the zeros; None where an interval does not hold one."""
        if self.missed:
            return None
        found = []
        for rank, below, inside in zip(ranks, self.below, self.inside, strict=False):
            place = int(rank + zeros - below)
            if rank >= 0 and not 0 <= place < len(inside):
                return None
            value = np.partition(inside, place)[place] / self.net.unit if rank >= 0 else 0.0
            found.append(float(value))
        return found


def radix(ranks: Sequence[int], counts: Callable[[int], Counts]) -> list[float]:
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
