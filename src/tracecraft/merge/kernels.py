"""The arithmetic of Arcee Fusion on rows of raw bits, compiled: importance, counts, choice.

A tensor is rows x width. Operands come as unsigned integers, the 16 bits of a bfloat16 or the 32
of a float32; shifted left by 16 or 0 they are the bits of a float32. No lock is held, and what a
row gives depends on that row alone, so that any split of the rows over threads gives the same.
"""

from typing import Any

import numpy as np
from numba import njit

from tracecraft.merge.lanes import as_bits, as_float, larger, plus_zero, unsigned, value

F32, U16, U32, U64, I32 = np.float32, np.uint16, np.uint32, np.uint64, np.int32

# exp(x) = 2^k exp(r), |r| <= ln(2)/2. The polynomial P(r) = (exp(r) - 1 - r) / r^2 and the halves
# of ln 2 are those of expf in the Cephes library (S. L. Moshier); relative error below 2e-7.
P0, P1, P2 = F32(1.9875691500e-4), F32(1.3981999507e-3), F32(8.3334519073e-3)
P3, P4, P5 = F32(4.1665795894e-2), F32(1.6666665459e-1), F32(5.0000001201e-1)
LOG2E, LN2_HIGH, LN2_LOW = F32(1.4426950408889634), F32(0.693359375), F32(-2.12194440e-4)
ZERO, ONE = F32(0.0), F32(1.0)
ROUND, BIAS, MANTISSA = F32(64.5), I32(64), U32(23)
# exp(x) for |x| <= 0.34: least relative error of degree 5, by iterated weighted least squares at
# Chebyshev nodes; evaluated in float32 it is below 2.3e-7.
Q0, Q1, Q2 = F32(1.0000001192092896), F32(0.9999997019767761), F32(0.49998974800109863)
Q3, Q4, Q5 = F32(0.16667509078979492), F32(0.04190623015165329), F32(0.008298972621560097)

MAGNITUDE = U32(0x7FFFFFFF)
INFINITE = U32(0x7F800000)
NEAR_WEIGHT = U32(np.float32(0.34).view(np.uint32))
NEAR_DELTA = U32(np.float32(0.03125).view(np.uint32))
"""Up to it four moments of delta give the importance to 2e-6: the next term is d^3 / 15."""
LARGE_DELTA = U32(np.float32(0.34).view(np.uint32))
"""P holds up to ln(2)/2 = 0.3466."""
SMALL_DELTA = U32(np.float32(1e-15).view(np.uint32))
"""The square of a smaller one nears the end of float32."""
LARGE_WEIGHT = U32(np.float32(40.0).view(np.uint32))
"""Truncating x log2(e) + 64.5 rounds down to x = -44; exp(40) of 10^9 weights fits float32."""
CHUNK = 4096
"""A float32 partial sum ends after so many and goes on in float64; they stay in a first cache."""
SHIFTED = 2.0
"""Where the squared mean delta exceeds so many K, its variance, the row is computed centred."""

SUMS = {"contract", "reassoc", "nsz", "arcp"}


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _largest(raw: Any, shift: Any) -> Any:
    """The bits of the largest magnitude."""
    big = raw[0] ^ raw[0]
    for i in range(raw.shape[0]):
        big = larger(unsigned(raw[i]), big)
    return U32(U32(big) << shift)


@njit(nogil=True, cache=True, fastmath=SUMS)  # type: ignore[untyped-decorator]
def _curve(r: Any) -> Any:
    """P(r)."""
    return ((((P0 * r + P1) * r + P2) * r + P3) * r + P4) * r + P5


@njit(nogil=True, cache=True, fastmath=SUMS)  # type: ignore[untyped-decorator]
def _exp(x: Any) -> Any:
    k = I32(x * LOG2E + ROUND) - BIAS
    kf = F32(k)
    r = x - kf * LN2_HIGH - kf * LN2_LOW
    e = _curve(r) * r * r + r + ONE
    return as_float(U32(as_bits(e) + U32(U32(k) << MANTISSA)))


@njit(nogil=True, cache=True, fastmath=SUMS)  # type: ignore[untyped-decorator]
def _moments_near(base: Any, other: Any, sb: Any, so: Any) -> Any:
    """As `_moments`, of weights up to 0.34."""
    top, same = U32(0), U32(0)
    s0, s1, s2, s3, s4, norm = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(base.shape[0]):
        x = value(base[i], sb)
        d = value(other[i], so) - x
        top = larger(unsigned(as_bits(d)), top)
        w = ((((Q5 * x + Q4) * x + Q3) * x + Q2) * x + Q1) * x + Q0
        wd, dd = w * d, d * d
        wdd = wd * d
        s0 += w
        s1 += wd
        s2 += wdd
        s3 += wdd * d
        s4 += wdd * dd
        norm += dd
        same = plus_zero(same, d)
    return s0, s1, s2, s3, s4, norm, same, top


@njit(nogil=True, cache=True, fastmath=SUMS)  # type: ignore[untyped-decorator]
def _moments(base: Any, other: Any, sb: Any, so: Any) -> Any:
    """Of a chunk, with weights w = exp(base): the sums of w, w d, w d^2, w d^3, w d^4.

    Then the sum of d^2, how many d are zero, and the largest bits of |d|.
    """
    top, same = U32(0), U32(0)
    s0, s1, s2, s3, s4, norm = ZERO, ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(base.shape[0]):
        x = value(base[i], sb)
        d = value(other[i], so) - x
        top = larger(unsigned(as_bits(d)), top)
        w = _exp(x)
        wd, dd = w * d, d * d
        wdd = wd * d
        s0 += w
        s1 += wd
        s2 += wdd
        s3 += wdd * d
        s4 += wdd * dd
        norm += dd
        same = plus_zero(same, d)
    return s0, s1, s2, s3, s4, norm, same, top


@njit(nogil=True, cache=True, fastmath=SUMS)  # type: ignore[untyped-decorator]
def _sums(base: Any, other: Any, sb: Any, so: Any) -> Any:
    """Of a chunk, with weights w = exp(base): sums of w, w d, w (e^d-1-d), w (d e^d - e^d + 1)."""
    s0, s1, s2, s3 = ZERO, ZERO, ZERO, ZERO
    for i in range(base.shape[0]):
        x = value(base[i], sb)
        d = value(other[i], so) - x
        w = _exp(x)
        q = _curve(d)
        wd = w * d
        wdd = wd * d
        s0 += w
        s1 += wd
        s2 += wdd * q
        s3 += wdd * (d * q + ONE - q)
    return s0, s1, s2, s3


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _chunk(base: Any, other: Any, sb: Any, so: Any) -> Any:
    """The four sums of `_sums`, by the shortest way that holds; then norm, zeros, top, big."""
    big = _largest(base, sb)
    if big <= NEAR_WEIGHT:
        s0, s1, m2, m3, m4, norm, same, top = _moments_near(base, other, sb, so)
    else:
        s0, s1, m2, m3, m4, norm, same, top = _moments(base, other, sb, so)
    second, third, fourth = np.float64(m2), np.float64(m3), np.float64(m4)
    s2 = second / 2.0 + third / 6.0 + fourth / 24.0
    s3 = second / 2.0 + third / 3.0 + fourth / 8.0
    if NEAR_DELTA < top <= LARGE_DELTA:
        s0, s1, f2, f3 = _sums(base, other, sb, so)
        s2, s3 = np.float64(f2), np.float64(f3)
    return s0, s1, s2, s3, norm, same, top, big


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _centred(base: Any, other: Any, sb: Any, so: Any) -> Any:
    """The stable importance of one row in float64 throughout, for any size of delta."""
    n = base.shape[0]
    high = -np.inf
    for i in range(n):
        high = max(high, np.float64(value(base[i], sb)))
    total, mean = 0.0, 0.0
    for i in range(n):
        x = np.float64(value(base[i], sb))
        w = np.exp(x - high)
        total += w
        mean += w * (np.float64(value(other[i], so)) - x)
    mean /= total
    far, g, t = 0.0, 0.0, 0.0
    for i in range(n):
        x = np.float64(value(base[i], sb))
        d = np.float64(value(other[i], so)) - x - mean
        far = max(far, d)
        e = np.expm1(d)
        w = np.exp(x - high)
        t += w * d * e
        # the series of e^d - 1 - d, where subtraction would lose its digits
        g += w * (d * d * (0.5 + d / 6.0 + d * d / 24.0) if abs(d) < 1e-4 else e - d)
    if far < 300.0:
        g /= total
        return max(t / total / (1.0 + g) - np.log1p(g), 0.0)
    return max(_distant(base, other, sb, so, high), 0.0)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _distant(base: Any, other: Any, sb: Any, so: Any, high: Any) -> Any:
    """KL(softmax(other) || softmax(base)) by its definition: for deltas that exp cannot hold."""
    n = base.shape[0]
    top = -np.inf
    for i in range(n):
        top = max(top, np.float64(value(other[i], so)))
    sum_base, sum_other, cross = 0.0, 0.0, 0.0
    for i in range(n):
        x = np.float64(value(base[i], sb)) - high
        y = np.float64(value(other[i], so)) - top
        sum_base += np.exp(x)
        sum_other += np.exp(y)
        cross += np.exp(y) * (y - x)
    return cross / sum_other - np.log(sum_other) + np.log(sum_base)


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _importance(top: Any, big: Any, t0: Any, t1: Any, t2: Any, t3: Any) -> Any:
    """KL of a row from its sums; -1 where float32 or the shift of the row spoils them."""
    if top == 0:
        return 0.0
    if top > LARGE_DELTA or top < SMALL_DELTA or big > LARGE_WEIGHT:
        return -1.0
    # with u = E[e^d - 1] and v = E[d e^d - e^d + 1]: K = v / (1 + u) + u / (1 + u) - log1p(u)
    mean, u, v = t1 / t0, (t1 + t2) / t0, t3 / t0
    k = v / (1.0 + u) + (u / (1.0 + u) - np.log1p(u))
    return k if mean * mean <= SHIFTED * k else -1.0


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def importance(
    base: Any, other: Any, sb: Any, so: Any, kl: Any, first: Any, step: Any, delta: Any
) -> Any:
    """Fills `kl` with the KL of each row.

    Every `step`-th |delta| of the flattened rows, from position `first`, goes into `delta`. Gives
    the first row that is not finite or -1, the sum of d^2, and how many scores are zero.
    """
    n = base.shape[1]
    norm, zeros, at, found = 0.0, np.int64(0), np.int64(first), 0
    for r in range(base.shape[0]):
        t0, t1, t2, t3 = 0.0, 0.0, 0.0, 0.0
        top, big, same = U32(0), U32(0), np.int64(0)
        for s in range(0, n, CHUNK):
            e = min(n, s + CHUNK)
            s0, s1, s2, s3, square, c, u, v = _chunk(base[r, s:e], other[r, s:e], sb, so)
            t0 += s0
            t1 += s1
            t2 += s2
            t3 += s3
            norm += square
            same += np.int64(c)
            top = max(top, u)
            big = max(big, v)
            while at < e:
                delta[found] = abs(value(other[r, at], so) - value(base[r, at], sb))
                found += 1
                at += step
        at -= n
        if top >= INFINITE or big >= INFINITE:
            return r, norm, zeros
        k = _importance(top, big, t0, t1, t2, t3)
        if k < 0.0:
            k = _centred(base[r], other[r], sb, so)
        kl[r] = k
        zeros += same if k > 0.0 else n
    return -1, norm, zeros


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def weight(delta: Any, step: Any, width: Any, kl: Any) -> Any:
    """Makes scores of the |delta| of every `step`-th weight, in place; how many are not zero.

    They come first, in the same order.
    """
    kept, row, end = 0, 0, np.int64(width)
    for j in range(delta.shape[0]):
        while j * step >= end:
            row += 1
            end += width
        score = F32(delta[j] * kl[row])
        delta[kept] = score  # always written, kept by the count: no branch that data decides
        kept += 1 if score > ZERO else 0
    return kept


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def spread(scores: Any, shift: Any) -> Any:
    """How many positive scores have each high part of the bits, and the first part counted."""
    least, most = INFINITE, U32(0)
    for i in range(scores.shape[0]):
        bits = as_bits(scores[i])
        least, most = min(least, bits), max(most, bits)
    first = least >> shift
    counts = np.zeros(np.int64(most >> shift) - np.int64(first) + 1, np.int64)
    for i in range(scores.shape[0]):
        counts[np.int64(as_bits(scores[i]) >> shift) - np.int64(first)] += 1
    return counts, first


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def scores(base: Any, other: Any, sb: Any, so: Any, kl: Any, out: Any) -> None:
    """Fills `out` with |other - base| times the row's importance."""
    for r in range(base.shape[0]):
        k = kl[r]
        for i in range(base.shape[1]):
            out[r, i] = abs(value(other[r, i], so) - value(base[r, i], sb)) * k


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def histogram(base: Any, other: Any, sb: Any, so: Any, kl: Any, prefix: Any, out: Any) -> None:
    """Counts of the scores' high 16 bits, or with a prefix >= 0 of the low 16 of those under it."""
    low = U32(0xFFFF)
    for r in range(base.shape[0]):
        k = kl[r]
        for i in range(base.shape[1]):
            bits = as_bits(F32(abs(value(other[r, i], so) - value(base[r, i], sb)) * k))
            high = bits >> U32(16)
            if prefix < 0:
                out[high] += 1
            elif high == U32(prefix):
                out[bits & low] += 1


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def zero(base: Any, other: Any, sb: Any, so: Any, kl: Any) -> Any:
    """How many scores are zero in float32."""
    found = np.int64(0)
    for r in range(base.shape[0]):
        k, count = kl[r], U32(0)
        for i in range(base.shape[1]):
            count = plus_zero(count, abs(value(other[r, i], so) - value(base[r, i], sb)) * k)
        found += np.int64(count)
    return found


@njit(nogil=True, cache=True, fastmath=SUMS)  # type: ignore[untyped-decorator]
def choose(base: Any, other: Any, sb: Any, so: Any, kl: Any, threshold: Any, out: Any) -> Any:
    """Fills `out` with `other` where the score reaches the threshold, else `base`, bit for bit.

    Gives how many were taken and the sum of their squared deltas.
    """
    taken, moved = np.int64(0), np.float64(0.0)
    for r in range(base.shape[0]):
        k, a, b, o = kl[r], base[r], other[r], out[r]
        c, m = I32(0), ZERO
        for i in range(base.shape[1]):
            x, y = a[i], b[i]
            d = value(y, so) - value(x, sb)
            take = abs(d) * k >= threshold
            o[i] = y if take else x
            c += I32(take)
            m += d * d if take else ZERO
        taken += np.int64(c)
        moved += np.float64(m)
    return taken, moved


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def to_bfloat16(bits: Any, out: Any) -> None:
    """Float32 bits to bfloat16 bits, to the nearest, ties to even; NaN stays NaN."""
    for i in range(bits.shape[0]):
        x = bits[i]
        nan = (x & MAGNITUDE) > INFINITE
        rounded = (x + U32(0x7FFF) + ((x >> U32(16)) & U32(1))) >> U32(16)
        out[i] = np.uint16((x >> U32(16)) | U32(0x40)) if nan else np.uint16(rounded)
