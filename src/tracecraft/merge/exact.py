"""Arcee Fusion computed exactly: importance, quantiles of the whole tensor, choice.

Three passes over blocks of rows, each read anew, so that a tensor of any size needs the memory of
a few blocks. Block borders depend on the shape alone: any number of threads gives the same bytes.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from math import gcd, inf, sqrt
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracecraft.errors import DataError
from tracecraft.merge.dtypes import Float
from tracecraft.merge.quantile import Bracket, bracket, select

BLOCK = 1 << 18
"""Weights in a block: two operands of it and their scratch stay in a core's second cache."""
SAMPLE = 1 << 16
"""Scores from which the quantiles are bracketed; their number changes speed, never results."""
QUARTILES = (0.25, 0.5, 0.75)

Result = TypeVar("Result")
Scores = NDArray[np.float32]
Block = tuple[NDArray[Any], NDArray[Any], np.uint32, np.uint32]
"""The bits of base and other, and the shifts that make them float32 bits."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two tensors of one shape, as rows."""

    name: str
    rows: int
    width: int
    base: Float
    other: Float
    read: Callable[[int, int], tuple[NDArray[Any], NDArray[Any]]]
    """Rows [first, last) of both, as their types' bits, two-dimensional."""
    team: Executor | None = None
    """Who shares the blocks; None: the caller alone."""

    @property
    def size(self) -> int:
        """Weights a tensor."""
        return self.rows * self.width

    def block(self, first: int, last: int, *, wide: bool = False) -> Block:
        """Rows [first, last) for the kernels; `wide` makes float32 bits of both."""
        base, other = self.read(first, last)
        if wide or self.base != self.other or self.base.shift is None:
            return self.base.widen(base), self.other.widen(other), np.uint32(0), np.uint32(0)
        shift = np.uint32(self.base.shift)
        return base, other, shift, shift

    def each(self, work: Callable[[int, int], Result]) -> list[Result]:
        """What `work` gives for the borders of every block of rows, in order."""
        step = max(1, BLOCK // max(1, self.width))
        firsts = range(0, self.rows, step)
        lasts = [min(self.rows, first + step) for first in firsts]
        return list((self.team.map if self.team else map)(work, firsts, lasts))


@dataclass(frozen=True, slots=True)
class Weighed:
    """A pair whose importance is known."""

    kl: NDArray[np.float64]
    """KL(softmax(other) || softmax(base)) of each row, in nats."""
    ready: Scores
    """The importance as the kernels multiply it: times `scale`."""
    scale: float
    """A power of two that keeps the smallest scores in float32; for one row the inverse of its
    importance, which cancels and would only round."""
    sample: Scores
    """Some of the scores, sorted, times `scale`."""
    delta: float
    """Euclidean norm of other - base."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What a fusion did to one tensor."""

    threshold: float
    """The least score that takes the other's weight; infinite where nothing has importance."""
    taken: int
    """Weights taken from the other."""
    kl: float
    """Mean importance of the rows, in nats."""
    delta: float
    """Euclidean norm of other - base."""
    moved: float
    """Euclidean norm of fused - base."""


def weigh(pair: Pair) -> Weighed:
    """The importance of each row, and a sample of the scores.

    Raises:
        DataError: a weight is not finite; the message names tensor, model and place.
    """
    from tracecraft.merge import kernels

    kl = np.zeros(pair.rows)
    step = max(1, pair.size // SAMPLE)
    while gcd(step, pair.width) > 1:  # so that every column is met
        step += 1

    def work(first: int, last: int) -> tuple[float, Scores, NDArray[np.int64]]:
        block = pair.block(first, last)
        bad, norm = kernels.importance(*block, kl[first:last])
        if bad >= 0:
            raise DataError(_not_finite(pair, first + bad))
        places = np.arange(-(-first * pair.width // step) * step, last * pair.width, step)
        sample = np.empty(len(places), np.float32)
        if len(places):
            kernels.sample(*block, places[0] - first * pair.width, step, sample)
        return norm, sample, places // pair.width

    parts = pair.each(work)
    top = float(kl.max(initial=0.0))
    scale = 2.0 ** -int(np.frexp(top)[1]) if top > 0 else 1.0
    ready = (kl * scale).astype(np.float32)
    if pair.rows == 1 and top > 0:
        ready[:], scale = 1.0, 1.0 / top
    sample = np.concatenate([part[1] for part in parts])
    sample *= ready[np.concatenate([part[2] for part in parts])]
    sample.sort()
    return Weighed(kl, ready, scale, sample, sqrt(sum(part[0] for part in parts)))


def threshold(pair: Pair, weighed: Weighed) -> float:
    """Median + 1.5 (q3 - q1) of all scores, or of those not zero where it were zero else.

    Times `weighed.scale`; infinite where every score is zero.
    """
    if pair.size == 0:
        return inf
    sample, zeros = weighed.sample, 0
    if sample[int(0.7 * (len(sample) - 1))] == 0:
        zeros = _zeros(pair, weighed.ready)
        if zeros == pair.size:
            return inf
        if zeros > int(QUARTILES[-1] * (pair.size - 1)):  # the median and both quartiles are zero
            sample = sample[sample > 0]
        else:
            zeros = 0
    ranks = [zeros + int(q * (pair.size - zeros - 1)) for q in QUARTILES]
    if len(weighed.sample) == pair.size:
        found = [float(weighed.sample[rank]) for rank in ranks]
    else:
        found = _bracketed(pair, weighed.ready, sample, ranks, zeros) or _radix(
            pair, weighed.ready, ranks
        )
    first, median, third = found
    return median + 1.5 * (third - first)


def settle(
    pair: Pair,
    weighed: Weighed,
    level: float,
    out: Float,
    write: Callable[[int, NDArray[Any]], None],
) -> Settled:
    """Gives the fused tensor to `write(first row, bits)`, block by block, as bits of `out`.

    Raises:
        DataError: a weight that `out` cannot hold.
    """
    from tracecraft.merge import kernels

    wide = out.shift is None or not pair.base == pair.other == out
    least = reached(level)

    def work(first: int, last: int) -> tuple[int, float]:
        block = pair.block(first, last, wide=wide)
        fused = np.empty(block[0].shape, block[0].dtype)
        taken, moved = kernels.choose(*block, weighed.ready[first:last], least, fused)
        if wide:
            fused = out.narrow(fused)
            if not np.isfinite(out.widen(fused).view(np.float32)).all():
                raise DataError(f"{pair.name}: a weight is too large for {out.name}")
        write(first, fused)
        return taken, moved

    parts = pair.each(work)
    return Settled(
        threshold=level / weighed.scale,
        taken=sum(part[0] for part in parts),
        kl=float(weighed.kl.mean()) if pair.rows else 0.0,
        delta=weighed.delta,
        moved=sqrt(sum(part[1] for part in parts)),
    )


def reached(level: float) -> np.float32:
    """The smallest float32 that is not below `level`: to compare with it is to compare exactly."""
    near = np.float32(level)
    return near if float(near) >= level else np.nextafter(near, np.float32(inf))


def _zeros(pair: Pair, ready: Scores) -> int:
    from tracecraft.merge import kernels

    least = np.full(3, np.nextafter(np.float32(0), np.float32(1)), np.float32)

    def work(first: int, last: int) -> int:
        below = np.zeros(3, np.int64)
        nothing = np.empty(0, np.float32)
        kernels.count(*pair.block(first, last), ready[first:last], least, least, below, nothing)
        return int(below[0])

    return sum(pair.each(work))


def _bracketed(
    pair: Pair, ready: Scores, sample: Scores, ranks: list[int], zeros: int
) -> list[float] | None:
    """The scores of those ranks, in one pass; None where the sample misled."""
    from tracecraft.merge import kernels

    edges = bracket(sample, [(rank - zeros) / (pair.size - zeros) for rank in ranks])
    if edges is None:
        return None

    def work(first: int, last: int) -> Bracket:
        block = pair.block(first, last)
        below = np.zeros(3, np.int64)
        room = np.empty(int(2 * edges.share * block[0].size) + 4096, np.float32)
        found = kernels.count(*block, ready[first:last], edges.low, edges.high, below, room)
        return Bracket(below, room[:found].copy(), missed=found > len(room))

    return select(ranks, edges, pair.each(work))


def _radix(pair: Pair, ready: Scores, ranks: list[int]) -> list[float]:
    """The scores of those ranks for any data: by the high half of their bits, then the low."""
    from tracecraft.merge import kernels

    def counts(prefix: int) -> NDArray[np.int64]:
        total, turn = np.zeros(1 << 16, np.int64), Lock()

        def work(first: int, last: int) -> None:
            part = np.zeros(1 << 16, np.int64)
            kernels.histogram(*pair.block(first, last), ready[first:last], prefix, part)
            with turn:
                np.add(total, part, out=total)

        pair.each(work)
        return total

    high = counts(-1).cumsum()
    found = []
    for rank in ranks:
        top = int(np.searchsorted(high, rank, side="right"))
        before = int(high[top - 1]) if top else 0
        low = int(np.searchsorted(counts(top).cumsum(), rank - before, side="right"))
        found.append(float(np.uint32(top << 16 | low).view(np.float32)))
    return found


def _not_finite(pair: Pair, row: int) -> str:
    for whose, kind, bits in zip(
        ("base", "other"), (pair.base, pair.other), pair.read(row, row + 1), strict=True
    ):
        values = kind.widen(bits).view(np.float32)[0]
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            return (
                f"{pair.name}: {whose} holds {values[bad[0]]} at row {row}, column {bad[0]}"
                f"\n  next   repair or retrain that checkpoint; a fusion would spread it"
            )
    return f"{pair.name}: row {row} of base and other differ by more than float32 holds"
