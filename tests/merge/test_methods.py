"""The methods against their definitions written out in float64, one tensor at a time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.errors import DataError, RecipeError
from tracecraft.merge import Method
from tracecraft.merge.dtypes import FLOATS
from tracecraft.merge.methods import Work
from tracecraft.merge.operands import Operands, Settled

F32 = FLOATS["float32"]


def tensors(n: int, shape=(40, 50), seed=0, delta=0.01) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    base = rng.normal(size=shape) * 0.1
    more = [base + delta * rng.normal(size=shape) for _ in range(n - 1)]
    return [t.astype(np.float32) for t in (base, *more)]


def merged(method: dict, values: list[np.ndarray], seed=0, out=F32) -> np.ndarray:
    return merged_and_told(method, values, seed, out)[0]


def merged_and_told(method: dict, values, seed=0, out=F32) -> tuple[np.ndarray, Settled]:
    rows, width = values[0].shape
    raw = [value.view(np.uint32) for value in values]
    result = np.empty((rows, width), out.raw)

    def write(first, bits):
        result[first : first + len(bits)] = bits

    def read(i, j):
        return tuple(part[i:j] for part in raw)

    operands = Operands("tensor", rows, width, (F32,) * len(values), read)
    told = Method.bind(method).merge(Work(operands, out, seed, write))
    return out.widen(result).view(np.float32), told


def f64(values):
    return [value.astype(np.float64) for value in values]


def close(one, two):
    return np.testing.assert_allclose(one, two, rtol=2e-6, atol=1e-7)


def test_linear_is_the_weighted_mean():
    a, b, c = f64(values := tensors(3))
    close(merged({"use": "linear"}, values), (a + b + c) / 3)
    close(
        merged({"use": "linear", "weight": [1, 2, 5]}, values),
        (a + 2 * b + 5 * c) / 8,
    )
    close(
        merged({"use": "linear", "weight": [0.5, 2, -1], "normalize": False}, values),
        0.5 * a + 2 * b - c,
    )


@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 1.0])
@pytest.mark.parametrize("delta", [1e-4, 0.2])
def test_slerp_goes_along_the_great_circle_and_along_the_chord_where_it_is_short(t, delta):
    a, b = f64(values := tensors(2, delta=delta))
    cosine = (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
    angle = math.acos(cosine)
    wanted = (math.sin((1 - t) * angle) * a + math.sin(t * angle) * b) / math.sin(angle)
    if cosine > 0.9995:
        wanted = (1 - t) * a + t * b
    close(merged({"use": "slerp", "t": t}, values), wanted)


def test_task_arithmetic_adds_deltas():
    base, a, b = f64(values := tensors(3))
    method = {"use": "task_arithmetic", "weight": [0.5, 0.7], "lambda": 0.8}
    close(merged(method, values), base + 0.8 * (0.5 * (a - base) + 0.7 * (b - base)))
    close(
        merged(method | {"normalize": True}, values),
        base + 0.8 * (0.5 * (a - base) + 0.7 * (b - base)) / 1.2,
    )


def by_ties(values, weights, densities, scale=1.0, *, normalize=True):
    base, deltas = values[0], [value - values[0] for value in values[1:]]
    trimmed = []
    for delta, density in zip(deltas, densities, strict=True):
        keep = int(density * delta.size)
        least = np.sort(np.abs(delta).ravel())[-keep]
        trimmed.append(np.where(np.abs(delta) >= least, delta, 0))
    weighted = [w * d for w, d in zip(weights, trimmed, strict=True)]
    sign = np.where(sum(weighted) >= 0, 1, -1)
    agree = [np.sign(d) == sign for d in weighted]
    total = sum(d * same for d, same in zip(weighted, agree, strict=True))
    if normalize:
        count = sum(w * same for w, same in zip(weights, agree, strict=True))
        total = total / np.where(np.abs(count) < 1e-8, 1, count)
    return base + scale * total


def test_ties_trims_elects_and_averages():
    # halves and small integers: what is trimmed and who agrees then does not hang on rounding
    rng = np.random.default_rng(1)
    base = rng.integers(-64, 64, (64, 64)) / 64
    steps = [rng.permutation(np.arange(-2048, 2048) + 0.5).reshape(64, 64) for _ in range(3)]
    values = [base, *(base + step / 4096 for step in steps)]
    single = [value.astype(np.float32) for value in values]
    assert all((s == v).all() for s, v in zip(single, values, strict=True))
    method = {"use": "ties", "weight": [0.5, 0.75, 0.25], "density": [0.5, 0.25, 0.75]}
    weights, densities = method["weight"], method["density"]
    close(merged(method, single), by_ties(values, weights, densities))
    close(
        merged(method | {"normalize": False, "lambda": 0.5}, single),
        by_ties(values, weights, densities, 0.5, normalize=False),
    )


@pytest.mark.parametrize("use", ["dare_linear", "dare_ties"])
def test_dare_keeps_the_expectation_and_drops_the_rest(use):
    values = tensors(2, (500, 400))
    delta = values[1].astype(np.float64) - values[0]
    method = {"use": use, "density": 0.3}
    moved = merged(method, values).astype(np.float64) - values[0]
    kept = np.abs(moved) > 1e-7
    assert kept.mean() == pytest.approx(0.3, abs=0.005)
    np.testing.assert_allclose(moved[kept], (delta / 0.3)[kept], rtol=1e-3, atol=1e-7)
    unscaled = merged(method | {"rescale": False}, values).astype(np.float64) - values[0]
    np.testing.assert_allclose(unscaled[kept], delta[kept], rtol=1e-3, atol=1e-7)


def test_dare_is_drawn_from_the_seed_and_apart_for_each_model():
    values = [*tensors(2, (300, 300)), tensors(2, (300, 300))[1]]
    method = {"use": "dare_linear", "density": 0.5}
    assert np.array_equal(merged(method, values, 1), merged(method, values, 1))
    assert not np.array_equal(merged(method, values, 1), merged(method, values, 2))
    moved = np.abs(merged(method, values) - values[0])
    delta = 2 * np.abs(values[1] - values[0])
    drawn = [np.isclose(moved, k * delta, rtol=1e-2, atol=1e-6).mean() for k in (0, 1, 2)]
    assert drawn == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


@pytest.mark.parametrize("use", ["dare_linear", "dare_ties"])
def test_dare_of_everything_is_plain(use):
    values = tensors(3)
    plain = {"dare_linear": "task_arithmetic", "dare_ties": "ties"}[use]
    assert np.array_equal(
        merged({"use": use, "weight": [0.5, 0.7]}, values),
        merged({"use": plain, "weight": [0.5, 0.7], "normalize": False}, values),
    )


def test_model_stock_is_drawn_to_the_base_by_the_angle():
    base, a, b, c = f64(values := tensors(4, delta=0.05))
    deltas = [a - base, b - base, c - base]
    pairs = [(0, 1), (0, 2), (1, 2)]
    cosine = np.mean(
        [
            (deltas[i] * deltas[j]).sum() / np.linalg.norm(deltas[i]) / np.linalg.norm(deltas[j])
            for i, j in pairs
        ]
    )
    t = 3 * cosine / (1 + 2 * cosine)
    close(merged({"use": "model_stock"}, values), t * (a + b + c) / 3 + (1 - t) * base)
    assert np.array_equal(merged({"use": "model_stock"}, [values[0]] * 3), values[0])


def test_passthrough_passes_through():
    (one,) = tensors(1)
    assert np.array_equal(merged({"use": "passthrough"}, [one]), one)
    close(merged({"use": "passthrough", "scale": 0.5}, [one]), one / 2)


USES = ("linear", "slerp", "ties", "dare_linear", "dare_ties", "model_stock")


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(USES), st.integers(0, 9), st.sampled_from([0.25, 1.0]))
def test_equal_models_merge_to_themselves(use, seed, density):
    one = tensors(1, seed=seed)[0]
    method = {"use": use} | ({"density": density} if "ties" in use or "dare" in use else {})
    number = 2 if use == "slerp" else 3
    np.testing.assert_allclose(merged(method, [one] * number), one, rtol=2e-7)


def test_what_moved_is_told():
    values = tensors(2)
    result, told = merged_and_told({"use": "linear"}, values)
    moved = (result - values[0]).astype(np.float64)
    assert told.moved == pytest.approx(np.linalg.norm(moved))
    assert told.delta == pytest.approx(np.linalg.norm(values[1].astype(np.float64) - values[0]))
    assert told.taken == np.count_nonzero(moved)
    assert math.isnan(told.threshold)


def test_a_result_that_does_not_fit_is_refused():
    huge = [np.full((2, 2), 6e4, np.float32)] * 2
    with pytest.raises(DataError, match="not finite in float16"):
        merged({"use": "linear", "weight": 1.0, "normalize": False}, huge, out=FLOATS["float16"])


def test_options_that_do_not_fit_are_refused():
    with pytest.raises(RecipeError, match="2 values for 3 models"):
        merged({"use": "linear", "weight": [1, 2]}, tensors(3))
    with pytest.raises(RecipeError, match="Ties has no 'desnity'; did you mean 'density'"):
        Method.bind({"use": "ties", "desnity": 0.5})
    with pytest.raises(RecipeError, match="unknown merge method 'tise'; did you mean 'ties'"):
        Method.bind({"use": "tise"})


@pytest.mark.parametrize("name", ["bfloat16", "float16"])
def test_rounding_is_to_the_nearest_even(name):
    torch = pytest.importorskip("torch")
    from tracecraft.merge.reference import as_bits

    rng = np.random.default_rng(0)
    values = rng.integers(0, 1 << 32, 200_000, dtype=np.uint64).astype(np.uint32)
    values[:4] = np.array([0.0, -0.0, np.inf, -np.inf], np.float32).view(np.uint32)
    single = torch.from_numpy(values.view(np.float32))
    wanted = as_bits(single.to(getattr(torch, name)))
    kind = FLOATS[name]
    narrowed = kind.narrow(values)
    number = ~np.isnan(values.view(np.float32))
    assert np.array_equal(narrowed[number], wanted[number])
    assert np.isnan(kind.widen(narrowed).view(np.float32)[~number]).all()
