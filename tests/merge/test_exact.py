"""The threshold is that of all scores sorted, however they are distributed and wherever kept."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.merge import kernels
from tracecraft.merge.dtypes import FLOATS, Float
from tracecraft.merge.exact import Choice, fuse_exact, reached
from tracecraft.merge.operands import Operands

BF16, F32 = FLOATS["bfloat16"], FLOATS["float32"]


def by_sorting(scores: np.ndarray) -> float:
    ordered = np.sort(scores.reshape(-1)).astype(np.float64)
    if ordered[int(0.75 * (len(ordered) - 1))] == 0:
        ordered = ordered[ordered > 0]
    if len(ordered) == 0:
        return np.inf
    first, median, third = (ordered[int(q * (len(ordered) - 1))] for q in (0.25, 0.5, 0.75))
    return float(median + 1.5 * (third - first))


def fused(base: np.ndarray, other: np.ndarray, kind: Float, **how) -> tuple[np.ndarray, Choice]:
    out = np.empty_like(base)

    def write(first: int, bits: np.ndarray) -> None:
        out[first : first + len(bits)] = bits

    pair = Operands(
        "tensor",
        *base.shape,
        (kind, kind),
        lambda i, j: (base[i:j].copy(), other[i:j].copy()),
        **how,
    )
    return out, fuse_exact(pair, kind, write)


def values(kind: Float, shape: tuple[int, int], spread: str, seed: int):
    rng = np.random.default_rng(seed)
    base = rng.normal(size=shape) * (3.0 if spread == "large weights" else 0.03)
    delta = rng.normal(size=shape) * 1e-3
    if spread == "rows unlike":
        delta *= np.exp(4 * rng.normal(size=(shape[0], 1)))
    if spread == "sparse":
        delta *= rng.random(shape) < 0.2
    if spread == "quarter":
        delta *= rng.random(shape) < 0.75
    if spread == "one size":
        delta = np.full(shape, 2.0**-10)
        base = np.zeros(shape)
    if spread == "heavy tail":
        delta *= 1 / np.maximum(rng.random(shape), 1e-6)
        delta = np.clip(delta, -30, 30)
    base = base.astype(np.float32)
    other = (base + delta).astype(np.float32)
    return (kind.narrow(v.view(np.uint32)) for v in (base, other))


SPREADS = ["even", "rows unlike", "sparse", "quarter", "one size", "heavy tail", "large weights"]
SHAPES = [(300, 700), (1, 200_001), (70_001, 3), (20, 9001)]


@pytest.mark.parametrize("kind", [BF16, F32], ids=lambda kind: kind.name)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spread", SPREADS)
def test_held_or_by_block_the_threshold_is_that_of_all_scores_sorted(spread, shape, kind):
    base, other = values(kind, shape, spread, seed=shape[0])
    out, choice = fused(base, other, kind)
    scores = np.empty(shape, np.float32)
    shift = np.uint32(kind.shift)
    kernels.scores(base, other, shift, shift, choice.ready, scores)
    assert choice.threshold == by_sorting(scores)
    mask = scores >= reached(choice.threshold)
    assert np.array_equal(out, np.where(mask, other, base))
    assert choice.settled.taken == mask.sum()
    moved = (kind.widen(out).view(np.float32) - kind.widen(base).view(np.float32)).astype(float)
    assert choice.settled.moved == pytest.approx(np.sqrt((moved**2).sum()), rel=1e-5)
    spare = np.empty_like(base)
    with ThreadPoolExecutor(2) as team:
        again = [fused(base, other, kind, **how) for how in ({"team": team}, {"spare": spare})]
    for out_again, choice_again in again:
        assert np.array_equal(out_again, out)
        assert choice_again.threshold == choice.threshold
        assert choice_again.settled.taken == choice.settled.taken
        assert choice_again.settled.moved == pytest.approx(choice.settled.moved, rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([BF16, F32]),
    st.floats(-6, 0.5),
    st.floats(-9, 2),
    st.integers(1, 5000),
    st.integers(0, 99),
)
def test_importance_is_that_of_float64_at_any_scale(kind, weight, delta, width, seed):
    rng = np.random.default_rng(seed)
    base = (rng.normal(size=(3, width)) * 10**weight).astype(np.float32)
    other = (base + rng.normal(size=(3, width)) * 10**delta).astype(np.float32)
    raw = [kind.narrow(v.view(np.uint32)) for v in (base, other)]
    _, choice = fused(*raw, kind)
    b, r = (kind.widen(v).view(np.float32).astype(np.longdouble) for v in raw)
    d = r - b
    q = np.exp(b - b.max(-1, keepdims=True))
    q /= q.sum(-1, keepdims=True)
    d = d - (q * d).sum(-1, keepdims=True)
    near = np.abs(d) < 1e-3
    series = d * d * (1 / np.longdouble(2) + d / 6 + d * d / 24 + d**3 / 120)
    g = (q * np.where(near, series, np.expm1(np.where(near, 0, d)) - d)).sum(-1)
    kl = (q * d * np.expm1(d)).sum(-1) / (1 + g) - np.log1p(g)
    assert choice.settled.kl == pytest.approx(float(kl.mean()), rel=2e-5, abs=1e-25)
