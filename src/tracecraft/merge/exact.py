"""Arcee Fusion computed exactly: importance, quantiles of the whole tensor, choice.

Two passes over a tensor that is held, three over blocks of rows that are read anew each time, so
that a tensor of any size needs the memory of a few blocks. Block borders depend on the shape
alone: any number of threads gives the same bytes.
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
from tracecraft.merge.quantile import Catch, Counts, Net, level, radix

WHOLE = 1 << 16
"""Up to so many weights all scores are sorted."""
QUARTILES = (0.25, 0.5, 0.75)

Scores = NDArray[np.float32]
Write = Callable[[int, NDArray[Any]], None]
"""Takes the first row of a block and its bits."""


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
    """Some of the others, times `scale`; of a small tensor all, sorted."""
    delta: float
    """Euclidean norm of other - base."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What a fusion chose by."""

    settled: Settled
    ready: Scores
    """The importance as the kernels multiply it."""
    threshold: float
    """Of scores with that importance."""


def fuse_exact(pair: Operands, out: Float, write: Write) -> Choice:
    """Gives the fused tensor to `write`, block by block, as bits of `out`.

    Raises:
        DataError: a weight that is not finite, or that `out` cannot hold; the tensor is named.
    """
    weighed = weigh(pair)
    wide = out.shift is None or any(kind != out for kind in pair.kinds)
    threshold, settled = _threshold(pair, weighed, None if wide else pair.spare)
    if settled is None:
        settled = _settle(pair, weighed, threshold, out, write, wide=wide)
    elif pair.spare is not None:
        write(0, pair.spare)
    return Choice(settled, weighed.ready, threshold)


def weigh(pair: Operands) -> Weighed:
    """The importance of each row, and a sample of the scores."""
    from tracecraft.merge import kernels

    kl = np.zeros(pair.rows)
    # n scores cost the least to order when about (12 n)^(2/3) are sampled, as measured: brackets
    # narrow with the root of the sample alone. Any number gives the same result.
    step = 1 if pair.size <= WHOLE else int(pair.size / (12 * pair.size) ** (2 / 3))
    while gcd(step, pair.width) > 1:  # so that every column is met
        step += 1

    sample = np.empty(-(-pair.size // step), np.float32)

    def work(first: int, last: int) -> tuple[float, int]:
        begin, end = (-(-row * pair.width // step) for row in (first, last))
        at = begin * step - first * pair.width
        bad, norm, zeros = kernels.importance(
            *pair.block(first, last), kl[first:last], at, step, sample[begin:end]
        )
        if bad >= 0:
            raise DataError(_not_finite(pair, first + bad))
        return norm, zeros

    parts = pair.each(work)
    top = float(kl.max(initial=0.0))
    scale = 2.0 ** -int(np.frexp(top)[1]) if top > 0 else 1.0
    ready = (kl * scale).astype(np.float32)
    if pair.rows == 1 and top > 0:
        ready[:], scale = 1.0, 1.0 / top
    sample = sample[: kernels.weight(sample, step, pair.width, ready)]
    if step == 1:
        sample.sort()
    zeros, delta = sum(part[1] for part in parts), sqrt(sum(part[0] for part in parts))
    return Weighed(kl, ready, scale, zeros, sample, delta)


def _threshold(
    pair: Operands, weighed: Weighed, spare: NDArray[Any] | None
) -> tuple[float, Settled | None]:
    """Median + 1.5 (q3 - q1) of all scores, or of those not zero where it were zero else.

    Times `weighed.scale`; infinite where every score is zero. Where `spare` could be filled with
    the fused tensor on the way, what was taken comes along.
    """
    ranks, least = _ranks(pair.size, weighed.zeros), 0.0
    if ranks and len(weighed.sample) == pair.size - weighed.zeros:
        least = level([float(weighed.sample[rank]) if rank >= 0 else 0.0 for rank in ranks])
    elif ranks:
        net = Net.cast(weighed.sample, ranks, pair.size - weighed.zeros)
        haul = _haul(pair, weighed, net, spare) if net else None
        found = haul.catch.quartiles(ranks, weighed.zeros) if haul else None
        if haul and found:
            least = level(found)
            return least, haul.settled(pair, weighed, least, spare)
        least = level(_radix(pair, weighed.ready, weighed.zeros, ranks))
    if least == 0:  # scores that float32 cannot hold beside the largest are zero too
        zeros = _zeros(pair, weighed.ready)
        ranks = _ranks(pair.size, zeros)
        least = level(_radix(pair, weighed.ready, zeros, ranks)) if ranks else inf
    return least, None


def _ranks(size: int, zeros: int) -> list[int]:
    """Of the quartiles among the scores that are not zero; negative: the quartile is zero.

    Where all three were, those of the scores that are not zero; none where there are none.
    """
    rest = size - zeros
    ranks = [int(q * (size - 1)) - zeros for q in QUARTILES]
    if rest and ranks[-1] < 0:
        return [int(q * (rest - 1)) for q in QUARTILES]
    return ranks if rest else []


@dataclass(frozen=True, slots=True)
class Haul:
    """What one pass over the scores gathered."""

    catch: Catch
    places: NDArray[np.int64]
    """Of the scores inside the last interval, in the flattened tensor."""
    taken: int
    """Weights that are above every interval."""
    moved: float
    """Their sum of d^2."""

    def settled(
        self, pair: Operands, weighed: Weighed, least: float, spare: NDArray[Any] | None
    ) -> Settled | None:
        """Decides what the pass left open, once the threshold is known."""
        if spare is None:
            return None
        net = self.catch.net
        open_ = self.places[self.catch.inside[-1] >= reached(least) * np.float32(net.unit)]
        bits = [part.reshape(-1)[open_] for part in pair.read(0, pair.rows)]
        spare.reshape(-1)[open_] = bits[1]
        base, other = (
            kind.widen(part).view(np.float32) for kind, part in zip(pair.kinds, bits, strict=True)
        )
        more = float(np.square(other - base, dtype=np.float64).sum())
        return _settled(weighed, least, self.taken + len(open_), self.moved + more)


def _haul(pair: Operands, weighed: Weighed, net: Net, spare: NDArray[Any] | None) -> Haul:
    from tracecraft.merge.sieve import sift

    unit = np.float32(net.unit)
    low, high = net.low * unit, net.high * unit

    def work(first: int, last: int) -> tuple[Any, ...]:
        block = pair.block(first, last)
        room = min(block[0].size, int(2 * net.share * block[0].size) + 1024)
        below, found = np.zeros(len(QUARTILES), np.int64), np.zeros(len(low), np.int64)
        score, place = np.empty((len(low), room), np.float32), np.empty(room, np.int64)
        out = np.empty((0, pair.width), block[0].dtype) if spare is None else spare[first:last]
        taken, moved = sift(
            *block, weighed.ready[first:last], unit, low, high, out, below, found, score, place
        )
        inside = [row[:kept].copy() for row, kept in zip(score, found, strict=True)]
        places = place[: found[-1]] + first * pair.width
        return below, inside, places, bool((found >= room).any()), taken, moved

    below, inside, places, missed, taken, moved = zip(*pair.each(work), strict=True)
    gathered = tuple(np.concatenate(rows) for rows in zip(*inside, strict=True))
    catch = Catch(net, np.sum(below, axis=0), gathered, any(missed))
    return Haul(catch, np.concatenate(places), sum(taken), sum(moved))


def _settle(
    pair: Operands, weighed: Weighed, least: float, out: Float, write: Write, *, wide: bool
) -> Settled:
    """A pass of its own for the choice; it can change the float type too."""
    from tracecraft.merge import kernels

    bound = reached(least)

    def work(first: int, last: int) -> tuple[int, float]:
        block = pair.block(first, last, wide=wide)
        fused = np.empty(block[0].shape, block[0].dtype)
        taken, moved = kernels.choose(*block, weighed.ready[first:last], bound, fused)
        if wide:
            fused = out.narrow(fused)
            if not np.isfinite(out.widen(fused).view(np.float32)).all():
                raise DataError(f"{pair.name}: a weight is too large for {out.name}")
        write(first, fused)
        return taken, moved

    parts = pair.each(work)
    taken, moved = sum(part[0] for part in parts), sum(part[1] for part in parts)
    return _settled(weighed, least, taken, moved)


def _settled(weighed: Weighed, least: float, taken: int, moved: float) -> Settled:
    return Settled(
        threshold=least / weighed.scale,
        taken=taken,
        kl=float(weighed.kl.mean()) if len(weighed.kl) else 0.0,
        delta=weighed.delta,
        moved=sqrt(moved),
    )


def reached(threshold: float) -> np.float32:
    """The smallest float32 not below `threshold`: to compare with it is to compare exactly."""
    near = np.float32(threshold)
    return near if float(near) >= threshold else np.nextafter(near, np.float32(inf))


def _zeros(pair: Operands, ready: Scores) -> int:
    from tracecraft.merge import kernels

    def work(first: int, last: int) -> int:
        return int(kernels.zero(*pair.block(first, last), ready[first:last]))

    return sum(pair.each(work))


def _radix(pair: Operands, ready: Scores, zeros: int, ranks: list[int]) -> list[float]:
    """The scores of those ranks after the zeros, for any data; of a negative rank zero."""
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

    found = radix([rank + zeros for rank in ranks if rank >= 0], counts)
    return [0.0] * (len(ranks) - len(found)) + found


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
