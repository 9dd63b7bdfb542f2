"""Means, their two standard errors, and what the field computes from right and wrong answers.

`right` below is what one model did on one benchmark: items by samples, 1 where right.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rights = npt.NDArray[np.float64]
Z = 1.959963984540054
"""The 97.5% point of the normal distribution."""


@dataclass(frozen=True, slots=True)
class Score:
    """A metric with what is known of its error."""

    value: float
    low: float
    """Lower end of the 95% interval over problems."""
    high: float
    stderr: float | None
    """Noise of the samples on these very problems; None where it is not known."""
    stderr_problem: float | None
    """Noise of the choice of problems, that of the samples included; None for a single one."""


def average(right: Rights) -> Score:
    """avg@n: the mean over n samples and N problems, which papers call pass@1.

    Standard errors (E. Miller, arXiv 2411.00640): of sampling √(Σ sᵢ²/n)/N, with sᵢ² the sample
    variance of problem i; over problems sd(p̂ᵢ)/√N. √(p(1−p)/(N·n)) is neither: it takes the
    samples of one problem for independent draws of problems.
    """
    shares = right.mean(axis=1)
    n = right.shape[1]
    noise = right.var(axis=1, ddof=1) / n if n > 1 else None
    return scored(shares, noise)


def scored(shares: Rights, noise: Rights | None) -> Score:
    """The mean of problems' own shares; `noise` holds the sampling variance of each."""
    total = len(shares)
    value = float(shares.mean())
    own = None if noise is None else math.sqrt(float(noise.sum())) / total
    spread = float(shares.std(ddof=1)) / math.sqrt(total) if total > 1 else None
    low, high = wilson(value, total, spread)
    return Score(value, low, high, own, spread)


def wilson(value: float, problems: int, error: float | None) -> tuple[float, float]:
    """Wilson's 95% interval (J. Am. Stat. Assoc. 22, 1927) of a share.

    Taken at the number of independent draws that has this error, v(1−v)/error²; where all
    problems agree, at their number.
    """
    known = error is not None and error > 0 and 0 < value < 1
    draws = value * (1 - value) / error**2 if known and error else float(problems)
    middle = (value + Z * Z / (2 * draws)) / (1 + Z * Z / draws)
    spread = math.sqrt(max(0.0, value * (1 - value)) / draws + Z * Z / (4 * draws * draws))
    half = Z * spread / (1 + Z * Z / draws)
    low = 0.0 if value <= 0 else max(0.0, middle - half)  # exact, where rounding is not
    return low, 1.0 if value >= 1 else min(1.0, middle + half)


def pass_at(right: Rights, k: int) -> Score:
    """pass@k: the chance that one of k samples is right.

    Unbiased, 1 − C(n−c, k)/C(n, k) for c of n right (Chen et al., arXiv 2107.03374, eq. 1).
    The sampling error is that of the estimator when c is drawn again, binomially, at c/n.
    """
    n = right.shape[1]
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {n} samples")
    by_count = np.array([_pass(n, c, k) for c in range(n + 1)])
    counts = right.sum(axis=1).astype(int)
    noise = np.array([_redrawn(by_count, n, c) for c in range(n + 1)])[counts] if n > 1 else None
    return scored(by_count[counts], noise)


def _pass(n: int, c: int, k: int) -> float:
    return 1.0 if n - c < k else 1.0 - math.comb(n - c, k) / math.comb(n, k)


def _redrawn(by_count: Rights, n: int, c: int) -> float:
    """Variance of an estimate by count, the count drawn again."""
    p = c / n
    weights = np.array([math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(n + 1)])
    mean = float(weights @ by_count)
    return max(0.0, float(weights @ by_count**2) - mean * mean)


def majority_at(answers: Sequence[Sequence[str | None]], right: Rights) -> Score:
    """maj@n: whether the answer given most often is right (self-consistency, arXiv 2203.11171).

    Right answers are one answer, since each equals the reference. Where several answers are given
    equally often the share of right ones among them counts. An answer that could not be read
    votes for none; a problem without a vote is wrong.
    """
    shares = [_majority(given, marks > 0.5) for given, marks in zip(answers, right, strict=True)]
    return scored(np.array(shares), None)


def _majority(given: Sequence[str | None], right: npt.NDArray[np.bool_]) -> float:
    votes: Counter[str | None] = Counter()
    for answer, held in zip(given, right, strict=True):
        if held:
            votes[None] += 1
        elif answer:
            votes[answer] += 1
    if not votes:
        return 0.0
    most = max(votes.values())
    first = [answer for answer, n in votes.items() if n == most]
    return (None in first) / len(first)


def difference(one: Rights, other: Rights) -> Score:
    """How much better `one` is than `other` on the same problems, in their order.

    Paired: the error is that of the problems' own differences, sd(dᵢ)/√N (E. Miller,
    arXiv 2411.00640, §4), so what makes a problem hard for both cancels. The interval is
    Student's, at N−1 degrees of freedom; where no two problems differ in their gap, the largest
    share of problems that may have another one and all be missed by N draws with a chance of 5%,
    1 − 0.05^(1/N) (Clopper & Pearson, Biometrika 26, 1934).
    """
    gaps = one.mean(axis=1) - other.mean(axis=1)
    total = len(gaps)
    value = float(gaps.mean())
    noise = None
    if one.shape[1] > 1 and other.shape[1] > 1:
        each = one.var(axis=1, ddof=1) / one.shape[1] + other.var(axis=1, ddof=1) / other.shape[1]
        noise = math.sqrt(float(each.sum())) / total
    if total < 2:
        return Score(value, -1.0, 1.0, noise, None)
    spread = float(gaps.std(ddof=1)) / math.sqrt(total)
    half = student(total - 1) * spread if spread else 1 - 0.05 ** (1 / total)
    return Score(value, max(-1.0, value - half), min(1.0, value + half), noise, spread)


def student(freedom: int) -> float:
    """The 97.5% point of Student's t (Abramowitz & Stegun 26.7.5; to 0.01 from 3 degrees on)."""
    exact = {1: 12.706, 2: 4.303}  # where the expansion does not hold yet; any table has them
    if freedom in exact:
        return exact[freedom]
    z, v = Z, float(freedom)
    terms = (
        (z**3 + z) / (4 * v),
        (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2),
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3),
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / (92160 * v**4),
    )
    return z + sum(terms)
