"""Which texts may be near-duplicates: equal bands, found by sorting, for any number of texts.

Texts are numbered 0 … n-1, best first, so that all choices here are the same for any order of
rows. Only numpy: a sort per band of one machine word per text.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from tracecraft.curate.shingle import U64

Ints = NDArray[np.int64]

CROWD = 32
"""Texts in a bucket from which it is crowded: not every pair of it is compared."""
FOUND = 0.995
"""Least probability with which a pair just at the threshold shares a band. Candidates are
compared exactly afterwards, so a missed pair costs more than a false one."""


def bands_for(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows: the most selective ones that still find a pair at the threshold.

    With similarity s, r rows and b bands the probability is 1 - (1 - s^r)^b.
    """
    for rows in range(permutations, 0, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= FOUND:
            return bands, rows
    return permutations, 1


def datasketch_bands(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows as `datasketch.MinHashLSH(threshold, num_perm)` chooses them.

    They minimise the sum of both errors, each integrated over all similarities.
    """
    nodes, weights = np.polynomial.legendre.leggauss(64)

    def error(bands: int, rows: int) -> float:
        below, above = (nodes + 1) * threshold / 2, threshold + (nodes + 1) * (1 - threshold) / 2
        wrong = (1 - (1 - below**rows) ** bands) @ weights * threshold
        missed = ((1 - above**rows) ** bands) @ weights * (1 - threshold)
        return float(wrong + missed)

    tried = (
        (bands, rows)
        for bands in range(1, permutations + 1)
        for rows in range(1, permutations // bands + 1)
    )
    return min(tried, key=lambda pair: error(*pair))


def buckets(keys: U64) -> Iterator[tuple[Ints, Ints]]:
    """The buckets of each band (a row of `keys`) that hold several texts.

    Yields:
        Texts, bucket by bucket, ascending within; where each bucket begins, and the end.
    """
    n = keys.shape[1]
    bits = np.uint64(max(n - 1, 1).bit_length())
    below = (np.uint64(1) << bits) - np.uint64(1)
    number = np.arange(n, dtype=np.uint64)
    for band in keys:
        # The number in the low bits makes one plain sort stable; equal high bits of two keys by
        # chance cost one comparison more.
        packed = np.sort((band << bits) | number)
        inside = np.zeros(n + 1, np.bool_)
        inside[1:-1] = (packed[1:] >> bits) == (packed[:-1] >> bits)
        member = inside[1:] | inside[:-1]
        texts = (packed[member] & below).astype(np.int64)
        yield texts, np.append(np.flatnonzero(~inside[:-1][member]), len(texts))


def candidates(keys: U64) -> tuple[Ints, NDArray[np.bool_]]:
    """Pairs worth comparing, and which texts stood in a crowded bucket.

    A bucket below `CROWD` gives all its pairs. A crowded one gives only the pairs with its best
    text, which is enough where it is one large cluster; where it is a boilerplate, the caller
    looks at the crowd again without it.

    Returns:
        Sorted distinct pairs as `better * n + worse`, and a mask of n texts.
    """
    n = keys.shape[1]
    pairs: list[Ints] = []
    crowded = np.zeros(n, np.bool_)
    for texts, begins in buckets(keys):
        sizes = np.diff(begins)
        place = np.arange(len(texts)) - np.repeat(begins[:-1], sizes)
        size = np.repeat(sizes, sizes)
        crowd = size >= CROWD
        crowded[texts[crowd]] = True
        led = crowd & (place > 0)
        pairs.append(np.repeat(texts[begins[:-1]], sizes)[led] * n + texts[led])
        at = np.flatnonzero(~crowd)
        for step in range(1, CROWD):
            at = at[place[at] + step < size[at]]
            if not len(at):
                break
            pairs.append(texts[at] * n + texts[at + step])
    return distinct(pairs), crowded


def distinct(pairs: Iterable[Ints]) -> Ints:
    """All pairs once, sorted."""
    return np.unique(np.concatenate([np.empty(0, np.int64), *pairs]))


def components(n: int, left: Ints, right: Ints) -> Ints:
    """For each of n texts the least text it is connected with."""
    least = np.arange(n)
    while True:
        a, b = least[left], least[right]
        if (a == b).all():
            return least
        low = np.minimum(a, b)
        np.minimum.at(least, a, low)
        np.minimum.at(least, b, low)
        while (least[least] != least).any():
            least = least[least]
