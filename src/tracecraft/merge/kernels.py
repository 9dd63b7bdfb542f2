"""The arithmetic of Arcee Fusion on rows of raw bits, compiled: importance, counts, choice.

A tensor is rows x width. Operands come as unsigned integers, the 16 bits of a bfloat16 or the 32
of a float32; shifted left by 16 or 0 they are the bits of a float32. No lock is held, and what a
row gives depends on that row alone, so that any split of the rows over threads gives the same.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

F32, U32, I32 = np.float32, np.uint32, np.int32

# exp(x) = 2^k exp(r), |r| <= ln(2)/2. The polynomial P(r) = (exp(r) - 1 - r) / r^2 and the halves
# of ln 2 are those of expf in the Cephes library (S. L. Moshier); relative error below 2e-7.
P0, P1, P2 = F32(1.9875691500e-4), F32(1.3981999507e-3), F32(8.3334519073e-3)
P3, P4, P5 = F32(4.1665795894e-2), F32(1.6666665459e-1), F32(5.0000001201e-1)
LOG2E, LN2_HIGH, LN2_LOW = F32(1.4426950408889634), F32(0.693359375), F32(-2.12194440e-4)
ZERO, ONE = F32(0.0), F32(1.0)
ROUND, BIAS, MANTISSA = F32(64.5), I32(64), U32(23)

MAGNITUDE = U32(0x7FFFFFFF)
INFINITE = U32(0x7F800000)
LARGE_DELTA = U32(np.float32(0.34).view(np.uint32))
"""P holds up to ln(2)/2 = 0.3466."""
SMALL_DELTA = U32(np.float32(1e-15).view(np.uint32))
"""The square of a smaller one nears the end of float32."""
LARGE_WEIGHT = U32(np.float32(40.0).view(np.uint32))
"""Truncating x log2(e) + 64.5 rounds down to x = -44; exp(40) of 10^9 weights fits float32."""
CHUNK = 4096
"""A float32 partial sum ends after so many and goes on in float64."""
SHIFTED = 2.0
"""Where the squared mean delta exceeds so many K, its variance, the row is computed centred."""

SUMS = {"contract", "reassoc", "nsz", "arcp"}


@intrinsic  # type: ignore[untyped-decorator]
def _float(_: Any, bits: Any) -> Any:
    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.float32))

    return types.float32(types.uint32), build


@intrinsic  # type: ignore[untyped-decorator]
def _bits(_: Any, value: Any) -> Any:
    def build(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(types.uint32))

    return types.uint32(types.float32), build


@njit(nogil=True, cache=True, fastmath=SUMS)  # type: ignore[untyped-decorator]
def _sums(base: Any, other: Any, sb: Any, so: Any) -> Any:
    """Of a chunk, with weights w = exp(base): sums of w, w d, w (e^d-1-d), w (d e^d - e^d + 1).

    Then the sum of d^2, how many d are zero, and the largest bits of |d| and of |base|, from
    which the caller tells whether the float32 sums hold.
    """
    top, big, same = U32(0), U32(0), I32(0)
    s0, s1, s2, s3, s4 = ZERO, ZERO, ZERO, ZERO, ZERO
    for i in range(base.shape[0]):
        x = _float(U32(base[i]) << sb)
        d = _float(U32(other[i]) << so) - x
        top = max(top, _bits(d) & MAGNITUDE)
        big = max(big, _bits(x) & MAGNITUDE)
        k = I32(x * LOG2E + ROUND) - BIAS
        kf = F32(k)
        r = x - kf * LN2_HIGH - kf * LN2_LOW
        p = ((((P0 * r + P1) * r + P2) * r + P3) * r + P4) * r + P5
        e = p * r * r + r + ONE
        w = _float(U32(_bits(e) + U32(U32(k) << MANTISSA)))
        q = ((((P0 * d + P1) * d + P2) * d + P3) * d + P4) * d + P5
        wd = w * d
        wdd = wd * d
        s0 += w
        s1 += wd
        s2 += wdd * q
        s3 += wdd * (d * q + ONE - q)
        s4 += d * d
        same += I32(d == ZERO)
    return s0, s1, s2, s3, s4, same, top, big


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _centred(base: Any, other: Any, sb: Any, so: Any) -> Any:
    """The stable importance of one row in float64 throughout, for any size of delta."""
    n = base.shape[0]
    high = -np.inf
    for i in range(n):
        high = max(high, np.float64(_float(U32(base[i]) << sb)))
    total, mean = 0.0, 0.0
    for i in range(n):
        x = np.float64(_float(U32(base[i]) << sb))
        w = np.exp(x - high)
        total += w
        mean += w * (np.float64(_float(U32(other[i]) << so)) - x)
    mean /= total
    far, g, t = 0.0, 0.0, 0.0
    for i in range(n):
        x = np.float64(_float(U32(base[i]) << sb))
        d = np.float64(_float(U32(other[i]) << so)) - x - mean
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
        top = max(top, np.float64(_float(U32(other[i]) << so)))
    sum_base, sum_other, cross = 0.0, 0.0, 0.0
    for i in range(n):
        x = np.float64(_float(U32(base[i]) << sb)) - high
        y = np.float64(_float(U32(other[i]) << so)) - top
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
def importance(base: Any, other: Any, sb: Any, so: Any, kl: Any) -> Any:
    """Fills `kl` with the KL of each row.

    Gives the first row that is not finite or -1, the sum of d^2, and how many scores are zero.
    """
    n = base.shape[1]
    norm, zeros = 0.0, np.int64(0)
    for r in range(base.shape[0]):
        t0, t1, t2, t3, t4 = 0.0, 0.0, 0.0, 0.0, 0.0
        top, big, same = U32(0), U32(0), np.int64(0)
        for s in range(0, n, CHUNK):
            e = min(n, s + CHUNK)
            s0, s1, s2, s3, s4, c, u, v = _sums(base[r, s:e], other[r, s:e], sb, so)
            t0 += s0
            t1 += s1
            t2 += s2
            t3 += s3
            t4 += s4
            same += c
            top = max(top, u)
            big = max(big, v)
        if top >= INFINITE or big >= INFINITE:
            return r, norm, zeros
        norm += t4
        k = _importance(top, big, t0, t1, t2, t3)
        if k < 0.0:
            k = _centred(base[r], other[r], sb, so)
        kl[r] = k
        zeros += same if k > 0.0 else n
    return -1, norm, zeros


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def scores(base: Any, other: Any, sb: Any, so: Any, kl: Any, out: Any) -> None:
    """Fills `out` with |other - base| times the row's importance."""
    for r in range(base.shape[0]):
        k = kl[r]
        for i in range(base.shape[1]):
            out[r, i] = abs(_float(U32(other[r, i]) << so) - _float(U32(base[r, i]) << sb)) * k


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def sample(base: Any, other: Any, sb: Any, so: Any, first: Any, step: Any, out: Any) -> None:
    """Every `step`-th |delta| of the flattened rows, from position `first`."""
    n = base.shape[1]
    at = first
    for j in range(out.shape[0]):
        r, i = at // n, at % n
        out[j] = abs(_float(U32(other[r, i]) << so) - _float(U32(base[r, i]) << sb))
        at += step


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def count(
    base: Any, other: Any, sb: Any, so: Any, kl: Any, low: Any, high: Any, below: Any, out: Any
) -> Any:
    """Adds to `below` how many scores lie under each `low`; gathers those in [low, high).

    Gives how many there are to gather; past the end of `out` they are counted alone.
    """
    n = base.shape[1]
    value = np.empty(n, np.float32)
    hit = np.zeros((n + 7) & ~7, np.uint8)
    hits = hit.view(np.uint64)
    l0, l1, l2, h0, h1, h2 = low[0], low[1], low[2], high[0], high[1], high[2]
    found = 0
    for r in range(base.shape[0]):
        k, a, b = kl[r], base[r], other[r]
        c0, c1, c2 = I32(0), I32(0), I32(0)
        for i in range(n):
            s = abs(_float(U32(b[i]) << so) - _float(U32(a[i]) << sb)) * k
            value[i] = s
            c0 += I32(s < l0)
            c1 += I32(s < l1)
            c2 += I32(s < l2)
        for i in range(n):
            s = value[i]
            hit[i] = ((s >= l0) & (s < h0)) | ((s >= l1) & (s < h1)) | ((s >= l2) & (s < h2))
        below[0] += c0
        below[1] += c1
        below[2] += c2
        for g in range(hits.shape[0]):
            if hits[g] != 0:
                for i in range(8 * g, min(n, 8 * g + 8)):
                    if hit[i]:
                        if found < out.shape[0]:
                            out[found] = value[i]
                        found += 1
    return found


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def histogram(base: Any, other: Any, sb: Any, so: Any, kl: Any, prefix: Any, out: Any) -> None:
    """Counts of the scores' high 16 bits, or with a prefix >= 0 of the low 16 of those under it."""
    low = U32(0xFFFF)
    for r in range(base.shape[0]):
        k = kl[r]
        for i in range(base.shape[1]):
            s = abs(_float(U32(other[r, i]) << so) - _float(U32(base[r, i]) << sb)) * k
            bits = _bits(s)
            high = bits >> U32(16)
            if prefix < 0:
                out[high] += 1
            elif high == U32(prefix):
                out[bits & low] += 1


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
            d = _float(U32(b[i]) << so) - _float(U32(a[i]) << sb)
            take = abs(d) * k >= threshold
            o[i] = b[i] if take else a[i]
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
