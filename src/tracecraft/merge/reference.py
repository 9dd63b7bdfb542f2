"""Arcee Fusion as its reference implementation rounds it, bit for bit where that samples nothing.

Every elementary operation rounds to the operands' float type, as torch does on tensors of that
type. Above a million weights the reference takes two random samples without a seed; ours are
drawn from one, block by block, so that they do not depend on the number of threads.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracecraft.merge.dtypes import Float
from tracecraft.merge.exact import QUARTILES
from tracecraft.merge.operands import Operands, Settled

WHOLE = 1_000_000
"""The most weights whose scores the reference sorts whole; also the size of its samples."""


Score = Callable[..., Any]
"""First and last row, and places among their weights; gives the scores there."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch works on one thread: the sum of one long row is rounded in the order of the threads."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fuse_reference(
    pair: Operands,
    compute: Float | None,
    out: Float,
    seed: int,
    write: Callable[[int, NDArray[Any], NDArray[Any]], None],
) -> Settled:
    """Gives the fused tensor to `write(first row, bits of out, mask)`, block by block.

    `compute` is the float type of the arithmetic; None: that of the operands. NaN and infinities
    pass through as they do in the reference.
    """
    import torch

    def operands(first: int, last: int) -> tuple[Any, Any]:
        return _operands(pair, compute, first, last)

    def importance(first: int, last: int) -> Any:
        base, other = operands(first, last)
        p = torch.softmax(other, dim=-1) + 1e-8
        q = torch.softmax(base, dim=-1) + 1e-8
        return torch.sum(p * torch.log(p / q), dim=-1, keepdim=True)

    kl = torch.cat(pair.each(importance)) if pair.size else torch.empty(0, 1)

    def score(first: int, last: int, places: Any = None) -> Any:
        """Scores of a block, or of those places of it."""
        base, other = operands(first, last)
        if places is None:
            return ((other - base).abs() * kl[first:last]).reshape(-1)
        base, other = (part.reshape(-1)[places] for part in (base, other))
        return (other - base).abs() * kl[first + places // pair.width, 0]

    tau = _threshold(pair, score, seed)

    def work(first: int, last: int) -> tuple[int, float, float, int]:
        base, other = operands(first, last)
        delta = other - base
        mask = (delta.abs() * kl[first:last] >= tau).to(torch.float32)
        fused = (base + delta * mask).to(getattr(torch, out.name))
        write(first, as_bits(fused), mask.numpy())
        square = delta.to(torch.float32).square()
        moved, lost = (square * mask).sum(), fused.numel() - torch.isfinite(fused).sum()
        return int(mask.sum()), float(square.sum()), float(moved), int(lost)

    parts = pair.each(work)
    return Settled(
        threshold=float(tau),
        taken=sum(part[0] for part in parts),
        kl=float(kl.to(torch.float64).mean()) if pair.size else 0.0,
        delta=sqrt(sum(part[1] for part in parts)),
        moved=sqrt(sum(part[2] for part in parts)),
        not_finite=sum(part[3] for part in parts),
    )


def _operands(pair: Operands, compute: Float | None, first: int, last: int) -> tuple[Any, Any]:
    import torch

    both = zip(pair.read(first, last), pair.kinds, strict=True)
    base, other = (as_torch(bits.copy(), kind) for bits, kind in both)  # torch may write there
    common = torch.promote_types(base.dtype, other.dtype)
    wanted = getattr(torch, compute.name) if compute else common
    return base.to(wanted), other.to(wanted)


def _threshold(pair: Operands, score: Score, seed: int) -> Any:
    import torch

    if pair.size == 0:
        return torch.tensor(torch.inf)
    if pair.size <= WHOLE:
        samples = [torch.cat(pair.each(score))] * 2
    else:
        samples = [_sample(pair, score, np.random.SeedSequence((seed, draw))) for draw in (0, 1)]
    for_median, for_quartiles = samples
    (median,) = _ordered(for_median, QUARTILES[1:2])
    first, third = _ordered(for_quartiles, QUARTILES[::2])
    return median + 1.5 * (third - first)


def _ordered(scores: Any, shares: tuple[float, ...]) -> list[Any]:
    """The scores at those shares of their order, NaN last; zero-dimensional tensors."""
    import torch

    ranks = [int(share * (len(scores) - 1)) for share in shares]
    found = np.partition(scores.to(torch.float32).numpy(), ranks)[ranks]
    return [torch.tensor(value).to(scores.dtype) for value in found]


def _sample(pair: Operands, score: Score, seed: np.random.SeedSequence) -> Any:
    """A million scores without repeats: each set of so many is as likely as another."""
    import torch

    borders = pair.each(lambda first, last: (first, last))
    sizes = [(last - first) * pair.width for first, last in borders]
    draws = np.random.default_rng(seed).multivariate_hypergeometric(
        sizes, WHOLE, method="marginals"
    )
    seeds = dict(zip((first for first, _ in borders), seed.spawn(len(borders)), strict=True))
    wanted = dict(zip((first for first, _ in borders), draws.tolist(), strict=True))

    def work(first: int, last: int) -> Any:
        size = (last - first) * pair.width
        places = np.random.default_rng(seeds[first]).choice(
            size, wanted[first], replace=False, shuffle=False
        )
        return score(first, last, torch.from_numpy(places))

    return torch.cat(pair.each(work))


def as_torch(bits: NDArray[Any], kind: Float) -> Any:
    """The tensor of that float type with those bits; it shares their memory."""
    import torch

    signed = np.int16 if kind.size == 2 else np.int32
    return torch.from_numpy(bits.view(signed)).view(getattr(torch, kind.name))


def as_bits(tensor: Any) -> NDArray[Any]:
    """The bits of a contiguous torch tensor on the CPU; they share its memory."""
    import torch

    if tensor.element_size() == 2:
        return tensor.view(torch.int16).numpy().view(np.uint16)  # type: ignore[no-any-return]
    return tensor.view(torch.int32).numpy().view(np.uint32)  # type: ignore[no-any-return]
