"""One pair of tensors: the formula, its invariants, and the reference bit for bit."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from places import shared_data
from tracecraft.errors import DataError, UsageError
from tracecraft.merge import fuse

torch = pytest.importorskip("torch")


def by_definition(base: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, float]:
    """Mask and threshold in float64, from the centred form of the importance."""
    b, r = base.astype(np.float64), other.astype(np.float64)
    delta = r - b
    q = np.exp(b - b.max(-1, keepdims=True))
    q /= q.sum(-1, keepdims=True)
    d = delta - (q * delta).sum(-1, keepdims=True)
    series = d * d * (1 / 2 + d / 6 + d * d / 24 + d**3 / 120)
    g = (q * np.where(np.abs(d) < 1e-3, series, np.expm1(d) - d)).sum(-1, keepdims=True)
    k = (q * d * np.expm1(d)).sum(-1, keepdims=True) / (1 + g) - np.log1p(g)
    k = k if k.size > 1 else np.ones_like(k)  # it cancels, and would only round exact ties apart
    scores = np.abs(delta) * k
    ordered = np.sort(scores.ravel())
    if ordered[int(0.75 * (len(ordered) - 1))] == 0:
        ordered = ordered[ordered > 0]
    q1, median, q3 = (ordered[int(p * (len(ordered) - 1))] for p in (0.25, 0.5, 0.75))
    level = median + 1.5 * (q3 - q1)
    return scores >= level, level


def pair(shape, dtype, delta, seed=0):
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator) * 0.03
    other = base + torch.randn(shape, generator=generator) * delta
    return base.to(dtype), other.to(dtype)


def jaccard(one, two):
    return (one & two).sum() / max(1, (one | two).sum())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("delta", [1e-5, 1e-4, 1e-3, 1e-2])
@pytest.mark.parametrize("shape", [(3000,), (256, 384), (700, 901), (6, 40, 50)], ids=str)
def test_the_mask_is_that_of_float64(shape, delta, dtype):
    base, other = pair(shape, dtype, delta)
    fused = fuse(base, other)
    mask, level = by_definition(base.float().numpy(), other.float().numpy())
    assert jaccard(fused.mask.numpy(), mask) >= 0.999
    if base.ndim > 1:
        assert fused.threshold == pytest.approx(level, rel=1e-4)
    assert fused.share == pytest.approx(mask.mean(), abs=1e-3)
    assert fused.tensor.dtype == dtype
    assert torch.equal(fused.tensor, torch.where(fused.mask, other, base))


def test_a_shift_of_a_row_changes_no_importance():
    base, other = (t.double().numpy() for t in pair((64, 512), torch.float32, 1e-4))
    base, other = base.astype(np.float32), other.astype(np.float32)
    plain = fuse(base, other)
    shifted = fuse(base, (other + np.float32(0.25)).astype(np.float32))
    mask, level = by_definition(base, (other + np.float32(0.25)).astype(np.float32))
    assert shifted.kl == pytest.approx(plain.kl, rel=1e-2)
    assert shifted.threshold == pytest.approx(level, rel=1e-6)
    assert jaccard(shifted.mask, mask) >= 0.999


@pytest.mark.parametrize("delta", [0.5, 5.0, 500.0])
def test_models_far_apart_have_an_importance_too(delta):
    base, other = (t.numpy() for t in pair((32, 64), torch.float32, delta))
    fused = fuse(base, other)
    b, r = base.astype(np.float64), other.astype(np.float64)
    log_q = b - np.logaddexp.reduce(b, -1, keepdims=True)
    log_p = r - np.logaddexp.reduce(r, -1, keepdims=True)
    kl = (np.exp(log_p) * (log_p - log_q)).sum(-1)
    assert fused.kl == pytest.approx(kl.mean(), rel=1e-6)


def test_where_most_scores_are_zero_the_others_decide():
    base, other = pair((64, 128), torch.float32, 1e-2)
    changed = torch.rand(base.shape, generator=torch.Generator().manual_seed(3)) < 0.1
    other = torch.where(changed, other, base)
    fused = fuse(base, other)
    assert 0 < fused.share < 0.05
    assert not (fused.mask & ~changed).any()
    assert fuse(base, other, mode="reference").share == 1.0


def test_scores_too_small_for_float32_do_not_turn_into_a_copy_of_the_other():
    base = np.zeros((1000, 100), np.float32)
    other = base.copy()
    other[:, 1] = 1e-24
    other[0] = np.arange(100) / 100
    other[0, 99] = 3
    fused = fuse(base, other)
    assert 0 < fused.share < 0.01
    assert not fused.mask[1:].any()


@pytest.mark.parametrize("mode", ["exact", "reference"])
@pytest.mark.parametrize("shape", [(16, 16), (5,), (7, 1), (1,), (), (0, 4), (2, 3, 4)], ids=str)
def test_equal_operands_are_the_identity(shape, mode):
    base = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    fused = fuse(base, base.clone(), mode=mode)
    assert torch.equal(fused.tensor, base)


def test_columns_of_one_weight_have_no_importance_and_stay():
    base, other = pair((16, 1), torch.float32, 1e-2)
    fused = fuse(base, other)
    assert (fused.share, fused.threshold) == (0.0, float("inf"))
    assert torch.equal(fused.tensor, base)


FINITE = st.floats(-8, 8, width=32)
MATRICES = arrays.array_shapes(min_dims=1, max_dims=3, max_side=9).flatmap(
    lambda shape: st.tuples(*[arrays.arrays(np.float32, shape, elements=FINITE)] * 2)
)


@settings(max_examples=60, deadline=None)
@given(MATRICES)
def test_every_weight_is_one_of_the_two_and_the_mask_says_which(both):
    base, other = both
    fused = fuse(base, other)
    assert np.array_equal(fused.tensor, np.where(fused.mask, other, base))
    assert fused.share == pytest.approx(fused.mask.mean())
    assert fused.threshold > 0
    assert fused.kl >= 0


@settings(max_examples=40, deadline=None)
@given(MATRICES)
def test_no_row_is_preferred_for_its_place(both):
    base, other = (np.atleast_2d(one) for one in both)
    fused, turned = fuse(base, other), fuse(base[::-1].copy(), other[::-1].copy())
    assert np.array_equal(fused.tensor, turned.tensor[::-1])


@pytest.mark.parametrize("whose", ["base", "other"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_weight_that_is_not_finite_is_named(dtype, value, whose):
    base, other = pair((8, 12), dtype, 1e-3)
    (base if whose == "base" else other)[3, 5] = value
    with pytest.raises(DataError, match=rf"^deep: {whose} holds .*(nan|inf) at row 3, column 5"):
        fuse(base, other, name="deep")


def test_what_cannot_be_fused_is_refused_with_a_reason():
    one = np.zeros((2, 2), np.float32)
    with pytest.raises(DataError, match=r"base has the shape \(2, 2\), other \(2,\)"):
        fuse(one, one[0])
    with pytest.raises(UsageError, match="weights of type float64"):
        fuse(one.astype(np.float64), one.astype(np.float64))
    with pytest.raises(UsageError, match="did you mean 'exact'"):
        fuse(one, one, mode="exat")
    with pytest.raises(UsageError, match="no float type of weights 'int8'"):
        fuse(one, one, dtype="int8")
    with pytest.raises(UsageError, match="neither numpy array nor torch tensor"):
        fuse([1], one[0, :1].reshape(1))
    with pytest.raises(DataError, match="too large for float16"):
        fuse(np.full(3, 1e6, np.float32), np.full(3, 1e6, np.float32), dtype="float16")


def test_the_result_has_the_type_that_is_asked():
    base, other = pair((40, 50), torch.bfloat16, 1e-2)
    plain = fuse(base, other)
    for dtype in (torch.float32, torch.float16, torch.bfloat16, "float32"):
        fused = fuse(base, other, dtype=dtype)
        wanted = dtype if isinstance(dtype, torch.dtype) else torch.float32
        assert fused.tensor.dtype == wanted
        assert torch.equal(fused.tensor, plain.tensor.to(wanted))
    assert fuse(base, other, mode="reference").tensor.dtype == torch.float32


def test_operands_may_have_two_types():
    base, _ = pair((40, 50), torch.bfloat16, 1e-2)
    _, other = pair((40, 50), torch.float32, 1e-2)
    fused = fuse(base, other)
    alike = fuse(base.float(), other)
    assert torch.equal(fused.mask, alike.mask)
    assert torch.equal(fused.tensor, alike.tensor.to(torch.bfloat16))


SHAPES = ("dense_2d", "small_delta_2d", "sparse20pct_2d", "norm_1d", "bias_1d")
SHAPES += ("equal", "column", "conv_3d")
CASES = [f"{dtype}.{case}" for dtype in ("float32", "bfloat16", "float16") for case in SHAPES]
CASES += ["float32.nan_right", "float32.neginf_right"]


@pytest.mark.parametrize("case", CASES)
def test_the_reference_is_met_bit_for_bit(case):
    from safetensors import safe_open

    told = json.loads(shared_data("arcee_fusion_vectors/vectors.json").read_text())["cases"][case]
    with safe_open(shared_data("arcee_fusion_vectors/vectors.safetensors"), "pt") as file:
        base, right, mask, wanted = (
            file.get_tensor(f"{case}.{part}") for part in ("base", "right", "mask", "fused")
        )
    fused = fuse(base, right, mode="reference")
    assert fused.threshold == float.fromhex(told["threshold_hex"])
    assert torch.equal(fused.mask.float(), mask)
    same = fused.tensor.view(torch.int32) == wanted.view(torch.int32)
    assert (same | (fused.tensor.isnan() & wanted.isnan())).all()


def test_above_a_million_weights_the_reference_samples_from_the_seed():
    base, other = pair((1100, 1000), torch.float32, 1e-2)
    one, again = (fuse(base, other, mode="reference", seed=5) for _ in range(2))
    assert torch.equal(one.tensor, again.tensor)
    levels = [fuse(base, other, mode="reference", seed=seed).threshold for seed in range(4)]
    assert len(set(levels)) > 1
    whole = fuse(base, other).threshold
    assert levels == pytest.approx([whole] * 4, rel=0.01)
