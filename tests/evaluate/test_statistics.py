"""Every formula against simulation, or against counting by hand."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.evaluate.statistics import average, difference, majority_at, pass_at, student

RNG = np.random.default_rng(7)


def drawn(shares: np.ndarray, n: int, times: int) -> np.ndarray:
    """Answers of `times` evaluations: times × problems × samples."""
    return (RNG.random((times, len(shares), n)) < shares[None, :, None]).astype(float)


def test_the_sampling_error_is_the_spread_of_evaluations_of_the_same_problems():
    shares = RNG.beta(0.6, 0.4, 30)
    runs = drawn(shares, 16, 2_000)
    means = runs.mean(axis=(1, 2))
    told = np.array([average(run).stderr for run in runs])
    assert math.sqrt(np.mean(told**2)) == pytest.approx(means.std(), rel=0.05)


def test_the_error_over_problems_is_the_spread_of_evaluations_of_other_problems():
    runs = [drawn(RNG.beta(0.6, 0.4, 30), 4, 1)[0] for _ in range(2_000)]
    means = np.array([run.mean() for run in runs])
    told = np.array([average(run).stderr_problem for run in runs])
    assert math.sqrt(np.mean(told**2)) == pytest.approx(means.std(), rel=0.05)


def test_the_naive_error_is_neither():
    right = drawn(np.repeat([0.0, 1.0], 15), 16, 1)[0]
    made, naive = average(right), math.sqrt(0.25 / right.size)
    assert made.stderr == 0.0
    assert made.stderr_problem > 4 * naive


def test_the_interval_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for _ in range(1_000):
        right = drawn(RNG.beta(2, 1, 30), 4, 1)[0]
        made = average(right)
        held += made.low <= 2 / 3 <= made.high
    assert 0.92 <= held / 1_000 <= 0.98


def test_pass_at_k_is_the_mean_over_all_choices_of_k_samples():
    right = drawn(RNG.random(12), 6, 1)[0]
    for k in range(1, 7):
        by_hand = [
            np.mean([row[list(chosen)].any() for chosen in combinations(range(6), k)])
            for row in right
        ]
        assert pass_at(right, k).value == pytest.approx(np.mean(by_hand))


def test_pass_at_k_is_unbiased_where_the_plain_estimate_is_not():
    shares = np.full(40, 0.2)
    runs = drawn(shares, 8, 600)
    truth = 1 - 0.8**4
    told = np.mean([pass_at(run, 4).value for run in runs])
    plain = np.mean([1 - (1 - run.mean(axis=1)) ** 4 for run in runs])
    assert told == pytest.approx(truth, abs=0.007)
    assert abs(plain - truth) > 0.015


def test_the_sampling_error_of_pass_at_k_is_that_of_repeated_evaluations():
    runs = drawn(RNG.uniform(0.1, 0.6, 40), 8, 500)
    made = [pass_at(run, 4) for run in runs]
    spread = np.std([one.value for one in made])
    assert np.mean([one.stderr for one in made]) == pytest.approx(spread, rel=0.12)


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=2, max_size=9))
def test_pass_at_k_grows_with_k_and_begins_at_the_average(rows: list[list[bool]]) -> None:
    right = np.array(rows, dtype=float)
    values = [pass_at(right, k).value for k in range(1, 6)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(average(right).value)
    assert values[-1] == pytest.approx(right.any(axis=1).mean())


def test_pairing_takes_out_what_is_hard_for_both():
    hard = RNG.beta(0.5, 0.5, 200)
    one, other = drawn(hard, 64, 1)[0], drawn(np.clip(hard + 0.02, 0, 1), 64, 1)[0]
    apart = math.hypot(average(one).stderr_problem or 0, average(other).stderr_problem or 0)
    assert (difference(other, one).stderr_problem or 1) < apart / 4


def test_the_interval_of_a_difference_holds_the_truth_about_as_often_as_it_says():
    held = 0
    for _ in range(1_000):
        shares = RNG.beta(1, 1, 30) * 0.9
        made = difference(drawn(shares + 0.1, 8, 1)[0], drawn(shares, 8, 1)[0])
        held += made.low <= 0.1 <= made.high
    assert 0.93 <= held / 1_000 <= 0.97


@settings(max_examples=30)
@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 10**6))
def test_a_difference_changes_sign_with_its_order(problems: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = (rng.integers(0, 2, (problems, n)).astype(float) for _ in range(2))
    there, back = difference(one, other), difference(other, one)
    assert there.value == -back.value
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert difference(one, one).value == 0
    assert difference(one, one).high == pytest.approx(1 - 0.05 ** (1 / len(one)))


def test_a_majority_is_of_answers_and_a_tie_is_shared():
    right = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 1], [0, 0, 0, 0]], dtype=float)
    said = [
        ["5", "05", "4", "3"],  # both right ones are one answer
        ["5", "5", "4", "4"],  # a tie of a right and a wrong one
        ["4", None, "4", "5"],
        [None, None, None, None],
    ]
    shares = [majority_at([told], right[i : i + 1]).value for i, told in enumerate(said)]
    assert shares == [1.0, 0.5, 0.0, 0.0]


@pytest.mark.parametrize(
    ("freedom", "point"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (29, 2.045), (197, 1.972), (10**6, 1.960)],
)
def test_students_points_are_those_of_the_tables(freedom: int, point: float) -> None:
    assert student(freedom) == pytest.approx(point, abs=0.01)


def test_one_sample_or_one_problem_leaves_an_error_unknown():
    assert average(np.array([[1.0], [0.0]])).stderr is None
    alone = average(np.array([[1.0, 0.0]]))
    assert alone.stderr_problem is None
    assert alone.low < 0.5 < alone.high
    assert difference(np.array([[1.0]]), np.array([[0.0]])).stderr_problem is None
