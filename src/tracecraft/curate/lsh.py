"""Which texts may be near-duplicates: equal bands, found by sorting, for any number of texts.

Texts are numbered 0 … n-1, best first, so that all choices here are the same for any order of
rows. Only numpy: a sort per band of one machine word for each text that may share a bucket.
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
FRESH = 1 << 23
"""Pairs of several bands that lie unsorted, with their repeats, before they are made distinct."""


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


def first_seen(keys: U64) -> NDArray[np.bool_]:
    """What the loop of datasketch's users drops: each text that shares a band with one kept
    before it. No similarity is looked at.

    Args:
        keys: bands × texts, in order.
    """
    shared = np.zeros(keys.shape[1], np.bool_)
    for band in keys:
        shared[_repeated(band)] = True
    texts = np.flatnonzero(shared)
    dropped = np.zeros(keys.shape[1], np.bool_)
    kept: list[set[int]] = [set() for _ in keys]
    for text, line in zip(texts.tolist(), keys[:, texts].T.tolist(), strict=True):
        if any(key in seen for key, seen in zip(line, kept, strict=True)):
            dropped[text] = True
        else:
            for key, seen in zip(line, kept, strict=True):
                seen.add(key)
    return dropped


def _repeated(keys: U64) -> Ints:
    """Where keys stand that may stand elsewhere too: all that do, and a few that do not."""
    shift = np.uint64(64 - max(2, (4 * len(keys)).bit_length()))
    cells = (keys >> shift).astype(np.int64)
    return np.flatnonzero(np.bincount(cells)[cells] > 1) if len(keys) else cells


def buckets(keys: U64, numbers: Ints, n: int) -> tuple[Ints, Ints]:
    """The buckets that hold several of `n` texts.

    Args:
        keys: equal ones are one bucket.
        numbers: the text of each key.
        n: more than any number.

    Returns:
        Texts, bucket by bucket, ascending within; where each bucket begins, and the end.
    """
    bits = np.uint64(max(n - 1, 1).bit_length())
    below = (np.uint64(1) << bits) - np.uint64(1)
    some = _repeated(keys)
    # The number in the low bits makes one plain sort stable; equal low bits of two keys by
    # chance cost one comparison more.
    packed = np.sort((keys[some] << bits) | numbers[some].astype(np.uint64))
    inside = np.zeros(len(packed) + 1, np.bool_)
    inside[1:-1] = (packed[1:] >> bits) == (packed[:-1] >> bits)
    member = inside[1:] | inside[:-1]
    texts = (packed[member] & below).astype(np.int64)
    return texts, np.append(np.flatnonzero(~inside[:-1][member]), len(texts))


def candidates(
    parts: Iterable[tuple[U64, Ints]], numbers: Ints, n: int
) -> tuple[Ints, NDArray[np.bool_]]:
    """Pairs worth comparing, and which texts stood in a crowded bucket.

    A bucket below `CROWD` gives all its pairs. A crowded one gives only the pairs with its best
    text, which is enough where it is one large cluster; where it is a boilerplate, the caller
    looks at the crowd again without it.

    Args:
        parts: keys and the rows they are of, as `Bands.parts` gives them.
        numbers: the number of each row among the texts; -1: not one of them.
        n: how many texts there are.

    Returns:
        Sorted distinct pairs as `better * n + worse`, and a mask of n texts.
    """
    pairs = [np.empty(0, np.int64)]
    crowded = np.zeros(n, np.bool_)
    fresh = 0
    for keys, rows in parts:
        number = numbers[rows]
        known = number >= 0
        if not known.all():
            keys, number = keys[known], number[known]
        for some in _pairs(*buckets(keys, number, n), n, crowded):
            pairs.append(some)
            fresh += len(some)
        if fresh > FRESH:
            pairs, fresh = [distinct(pairs)], 0
    return distinct(pairs), crowded


def _pairs(texts: Ints, begins: Ints, n: int, crowded: NDArray[np.bool_]) -> Iterator[Ints]:
    """The pairs of some buckets; who stands in a crowded one is marked."""
    sizes = np.diff(begins)
    place = np.arange(len(texts)) - np.repeat(begins[:-1], sizes)
    size = np.repeat(sizes, sizes)
    crowd = size >= CROWD
    crowded[texts[crowd]] = True
    led = crowd & (place > 0)
    yield np.repeat(texts[begins[:-1]], sizes)[led] * n + texts[led]
    at = np.flatnonzero(~crowd)
    for step in range(1, CROWD):
        at = at[place[at] + step < size[at]]
        if not len(at):
            break
        yield texts[at] * n + texts[at + step]


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
