"""All scores of a tensor but a few put in their place by 16-bit codes, compiled.

The code of a score is its whole part in units of a power of two: it never falls as the score
rises, so a code beyond that of a bound settles on which side the score lies, and 32 fit into a
vector. Only what shares the codes of a bound is looked at one by one.
"""

from typing import Any

import numpy as np
from numba import njit

from tracecraft.merge.kernels import CHUNK, F32, SUMS, U16, U64, ZERO
from tracecraft.merge.lanes import (
    beyond,
    code,
    first_bit,
    is_zero,
    less,
    plus_sign,
    smaller,
    value,
)

CODES = F32(32767.0)
"""The last code, of all scores from there on."""
GATHER, TOP = U64(0x0102040810204080), U64(56)
"""Times this, eight bytes of 0 or 1 are eight bits of the product's top byte, in their order."""


@njit(nogil=True, cache=True, fastmath=SUMS)  # type: ignore[untyped-decorator]
def _codes(base: Any, other: Any, sb: Any, so: Any, k: Any, taken: Any, out: Any) -> Any:
    """Fills `out`; gives the sum of d^2 of the scores not below `taken`."""
    moved = ZERO
    for i in range(base.shape[0]):
        d = value(other[i], so) - value(base[i], sb)
        score = abs(d) * k
        out[i] = code(score if score < CODES else CODES)
        dd = d * d
        moved += dd if score >= taken else ZERO
    return moved


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _mark(
    codes: Any, l0: Any, l1: Any, l2: Any, l3: Any, h0: Any, h1: Any, h2: Any, h3: Any, hit: Any
) -> Any:
    """Fills `hit` with 1 from a lower code to its higher; how many lie below the first three."""
    p0, p1, p2, p3 = less(h0, l0), less(h1, l1), less(h2, l2), less(h3, l3)
    c0, c1, c2 = U16(0), U16(0), U16(0)
    for i in range(codes.shape[0]):
        c = codes[i]
        d0, d1, d2, d3 = less(c, l0), less(c, l1), less(c, l2), less(c, l3)
        c0, c1, c2 = plus_sign(c0, d0), plus_sign(c1, d1), plus_sign(c2, d2)
        near = smaller(beyond(d0, p0), beyond(d1, p1))
        hit[i] = is_zero(smaller(near, smaller(beyond(d2, p2), beyond(d3, p3))))
    return c0, c1, c2


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _blend(codes: Any, base: Any, other: Any, last: Any, out: Any) -> Any:
    """Fills `out` with `other` where the code is beyond `last`, else `base`; how many it took."""
    taken = U16(0)
    for i in range(codes.shape[0]):
        c, x, y = codes[i], base[i], other[i]
        out[i] = y if c > last else x
        taken = plus_sign(taken, less(last, c))
    return taken


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _look(
    base: Any,
    other: Any,
    codes: Any,
    sb: Any,
    so: Any,
    k: Any,
    words: Any,
    low: Any,
    high: Any,
    out: Any,
    below: Any,
    first: Any,
    found: Any,
    score: Any,
    place: Any,
) -> Any:
    """What `sift` does with the scores of one chunk whose bytes in `words` are marked."""
    l0, l1, l2, last = code(low[0]), code(low[1]), code(low[2]), code(high[3])
    b0, b1, b2, b3 = low[0], low[1], low[2], low[3]
    e0, e1, e2, e3 = high[0], high[1], high[2], high[3]
    s0, s1, s2, s3 = score[0], score[1], score[2], score[3]
    f0, f1, f2, f3 = U64(found[0]), U64(found[1]), U64(found[2]), U64(found[3])
    n0, n1, n2, taken, moved = U64(0), U64(0), U64(0), U64(0), 0.0
    end = U64(score.shape[1] - 1)
    choosing = out.shape[0] > 0
    for g in range((codes.shape[0] + 63) >> 6):
        marks = U64(0)
        for j in range(8):
            marks |= ((words[8 * g + j] * GATHER) >> TOP) << U64(8 * j)
        while marks != 0:
            i = U64(64 * g) + first_bit(marks)
            marks &= marks - U64(1)
            c, d = codes[i], value(other[i], so) - value(base[i], sb)
            v = F32(abs(d) * k)
            n0 += U64((c >= l0) & (v < b0))
            n1 += U64((c >= l1) & (v < b1))
            n2 += U64((c >= l2) & (v < b2))
            if choosing:
                more = (v >= e3) & (c <= last)
                out[i] = other[i] if more else out[i]
                taken += U64(more)
                moved += np.float64(d) * np.float64(d) if more else 0.0
            # always written and kept by the count: no branch that data decides
            s0[min(f0, end)] = v
            s1[min(f1, end)] = v
            s2[min(f2, end)] = v
            s3[min(f3, end)] = v
            place[min(f3, end)] = first + np.int64(i)
            f0 += U64((b0 <= v) & (v < e0))
            f1 += U64((b1 <= v) & (v < e1))
            f2 += U64((b2 <= v) & (v < e2))
            f3 += U64((b3 <= v) & (v < e3))
    found[0], found[1], found[2], found[3] = f0, f1, f2, f3
    below[0] += np.int64(n0)
    below[1] += np.int64(n1)
    below[2] += np.int64(n2)
    return np.int64(taken), moved


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def sift(
    base: Any,
    other: Any,
    sb: Any,
    so: Any,
    kl: Any,
    unit: Any,
    low: Any,
    high: Any,
    out: Any,
    below: Any,
    found: Any,
    score: Any,
    place: Any,
) -> Any:
    """Counts, gathers and chooses by four intervals [low, high) of scores times `unit`.

    `below` grows by how many scores lie under each of the first three `low`. The scores inside an
    interval go to its row of `score`, the flat positions of those in the fourth to `place`. `out`,
    where it has rows, gets `other` for scores from the fourth `high` on, else `base`. `found` tells
    how many were inside each; the last place of a row of `score` is scratch, and what would go
    there or beyond is counted alone. Gives how many were taken, and their sum of d^2.
    """
    n = base.shape[1]
    codes = np.empty(min(n, CHUNK), np.uint16)
    hit = np.zeros((len(codes) + 63) & ~63, np.uint8)
    words = hit.view(np.uint64)
    l0, l1, l2, l3 = code(low[0]), code(low[1]), code(low[2]), code(low[3])
    h0, h1, h2, last = code(high[0]), code(high[1]), code(high[2]), code(high[3])
    choosing, sure = out.shape[0] > 0, F32(F32(last) + F32(1.0))
    none = np.empty((1, 1), out.dtype)
    taken, moved = np.int64(0), 0.0
    for r in range(base.shape[0]):
        k = F32(kl[r] * unit)
        for s in range(0, n, CHUNK):
            e = min(n, s + CHUNK)
            a, b, c = base[r, s:e], other[r, s:e], codes[: e - s]
            moved += np.float64(_codes(a, b, sb, so, k, sure, c))
            hit[e - s : (e - s + 63) & ~63] = 0
            c0, c1, c2 = _mark(c, l0, l1, l2, l3, h0, h1, h2, last, hit)
            below[0] += np.int64(c0)
            below[1] += np.int64(c1)
            below[2] += np.int64(c2)
            o = out[r, s:e] if choosing else none[0, :0]
            if choosing:
                taken += np.int64(_blend(c, a, b, last, o))
            more, far = _look(
                a, b, c, sb, so, k, words, low, high, o, below, r * n + s, found, score, place
            )
            taken += more
            moved += far
    return taken, moved
