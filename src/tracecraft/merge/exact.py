"""Arcee Fusion computed exactly: importance, quantiles of the whole tensor, choice.

Three passes over blocks of rows, each read anew, so that a tensor of any size needs the memory of
a few blocks. Block borders depend on the shape alone: any number of threads gives the same bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import gcd, inf, sqrt
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracecraft.errors import DataError
from tracecraft.merge.dtypes import Float
from tracecraft.merge.operands import Operands, Settled
from tracecraft.merge.quantile import Bracket, Counts, bracket, radix, select

WHOLE = 1 << 16
"""Up to so many weights all scores are sorted."""
QUARTILES = (0.25, 0.5, 0.75)

Scores = NDArray[np.float32]


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
    zeros: int
    """Scores that are zero."""
    sample: Scores
    """Some of the others, sorted, times `scale`; all of a small tensor."""
    delta: float
    """Euclidean norm of other - base."""


def weigh(pair: Operands) -> Weighed:
    """The importance of each row, and a sample of the scores.

    Raises:
        DataError: a weight is not finite; the message names tensor, model and place.
    """
    from tracecraft.merge import kernels

    kl = np.zeros(pair.rows)
    # n scores cost the least to order when (4 n)^(2/3) are sampled: what lies between brackets
    # three standard errors wide is then as much as the sample. Any number gives the same result.
    step = 1 if pair.size <= WHOLE else int(pair.size / (4 * pair.size) ** (2 / 3))
    while gcd(step, pair.width) > 1:  # so that every column is met
        step += 1

    def work(first: int, last: int) -> tuple[float, int, Scores, NDArray[np.int64]]:
        block = pair.block(first, last)
        bad, norm, zeros = kernels.importance(*block, kl[first:last])
        if bad >= 0:
            raise DataError(_not_finite(pair, first + bad))
        places = np.arange(-(-first * pair.width // step) * step, last * pair.width, step)
        sample = np.empty(len(places), np.float32)
        if len(places):
            kernels.sample(*block, places[0] - first * pair.width, step, sample)
        return norm, zeros, sample, places // pair.width

    parts = pair.each(work) or [(0.0, 0, np.empty(0, np.float32), np.empty(0, np.int64))]
    top = float(kl.max(initial=0.0))
    scale = 2.0 ** -int(np.frexp(top)[1]) if top > 0 else 1.0
    ready = (kl * scale).astype(np.float32)
    if pair.rows == 1 and top > 0:
        ready[:], scale = 1.0, 1.0 / top
    sample = np.concatenate([part[2] for part in parts])
    sample *= ready[np.concatenate([part[3] for part in parts])]
    sample = np.sort(sample[sample > 0])
    zeros, delta = sum(part[1] for part in parts), sqrt(sum(part[0] for part in parts))
    return Weighed(kl, ready, scale, zeros, sample, delta)


def threshold(pair: Operands, weighed: Weighed) -> float:
    """Median + 1.5 (q3 - q1) of all scores, or of those not zero where it were zero else.

    Times `weighed.scale`; infinite where every score is zero.
    """
    level = _level(pair, weighed, weighed.zeros)
    if level == 0:  # scores that float32 cannot hold beside the largest are zero too
        level = _level(pair, weighed, _zeros(pair, weighed.ready))
    return level


def _level(pair: Operands, weighed: Weighed, zeros: int) -> float:
    rest = pair.size - zeros
    if rest == 0:
        return inf
    ranks = [int(q * (pair.size - 1)) for q in QUARTILES]
    if ranks[-1] < zeros:  # the median and both quartiles are zero
        ranks = [zeros + int(q * (rest - 1)) for q in QUARTILES]
    wanted = [rank for rank in ranks if rank >= zeros]
    if len(weighed.sample) == rest:
        found = [float(weighed.sample[rank - zeros]) for rank in wanted]
    else:
        shares = [(rank - zeros) / rest for rank in wanted]
        found = _bracketed(pair, weighed, wanted, shares) or _radix(pair, weighed.ready, wanted)
    first, median, third = [0.0] * (len(ranks) - len(wanted)) + found
    return median + 1.5 * (third - first)


def settle(
    pair: Operands,
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

    wide = out.shift is None or any(kind != out for kind in pair.kinds)
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


def _zeros(pair: Operands, ready: Scores) -> int:
    from tracecraft.merge import kernels

    least = np.full(len(QUARTILES), np.nextafter(np.float32(0), np.float32(1)), np.float32)

    def work(first: int, last: int) -> int:
        below, nothing = np.zeros(len(QUARTILES), np.int64), np.empty(0, np.float32)
        kernels.count(*pair.block(first, last), ready[first:last], least, least, below, nothing)
        return int(below[0])

    return sum(pair.each(work))


def _bracketed(
    pair: Operands, weighed: Weighed, ranks: list[int], shares: list[float]
) -> list[float] | None:
    """The scores of those ranks, in one pass; None where the sample misled."""
    from tracecraft.merge import kernels

    edges = bracket(weighed.sample, shares)
    if edges is None:
        return None
    low, high = np.full((2, len(QUARTILES)), np.inf, np.float32)
    low[: len(ranks)], high[: len(ranks)] = edges.low, edges.high

    def work(first: int, last: int) -> Bracket:
        block = pair.block(first, last)
        below = np.zeros(len(QUARTILES), np.int64)
        room = np.empty(int(2 * edges.share * block[0].size) + 4096, np.float32)
        found = kernels.count(*block, weighed.ready[first:last], low, high, below, room)
        return Bracket(below[: len(ranks)], room[:found].copy(), missed=found > len(room))

    return select(ranks, edges, pair.each(work))


def _radix(pair: Operands, ready: Scores, ranks: list[int]) -> list[float]:
    """The scores of those ranks, for any data."""
    from tracecraft.merge import kernels

    def counts(prefix: int) -> Counts:
        total, turn = np.zeros(1 << 16, np.int64), Lock()

        def work(first: int, last: int) -> None:
            part = np.zeros(1 << 16, np.int64)
            kernels.histogram(*pair.block(first, last), ready[first:last], prefix, part)
            with turn:
                np.add(total, part, out=total)

        pair.each(work)
        return total

    return radix(ranks, counts)


def _not_finite(pair: Operands, row: int) -> str:
    for whose, kind, bits in zip(
        ("base", "other"), pair.kinds, pair.read(row, row + 1), strict=True
    ):
        values = kind.widen(bits).view(np.float32)[0]
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            return (
                f"{pair.name}: {whose} holds {values[bad[0]]} at row {row}, column {bad[0]}"
                f"\n  next   repair or retrain that checkpoint; a fusion would spread it"
            )
    return f"{pair.name}: row {row} of base and other differ by more than float32 holds"
