"""What two texts are compared by: words, and the hashes of every run of n words.

This file defines the numbers, in numpy, and serves small inputs; `sketch.py` computes the same
ones compiled. A word is what `str.split` gives. Its hash takes 16 bytes at a time through a
128-bit product; a shingle is a polynomial of word hashes, so no joined string is ever built.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]

# Odd 64-bit words without structure: fractional parts of the golden ratio and of the square
# roots of 2, 3, 5, 7 and 11.
LOW = np.uint64(0x9E3779B97F4A7C15)
HIGH = np.uint64(0x6A09E667F3BCC909)
STEP = np.uint64(0xBB67AE8584CAA73B)
MIX = np.uint64(0x3C6EF372FE94F82B)
CAST = np.uint64(0xA54FF53A5F1D36F1)
ORDER = np.uint64(0x510E527FADE682D1)

_HALF = np.uint64(0xFFFFFFFF)
_32, _29, _56 = np.uint64(32), np.uint64(29), np.uint64(56)

_SPACES = r"[\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}]"
"""White space of `str.split` beyond ASCII."""
_INVISIBLE = r"[\x{ad}\x{200b}-\x{200d}\x{2060}\x{feff}]"
"""Soft hyphen, zero-width characters, byte order mark: seen by nobody, so compared by nobody."""
_BLANK = np.zeros(256, np.bool_)
_BLANK[[*range(9, 14), *range(28, 33)]] = True


def prepare(texts: pl.Series, *, fold: bool) -> pl.Series:
    """Texts whose words can be found by ASCII white space; null becomes empty.

    With `fold`, a text beyond ASCII also comes back in NFC, in lower case and without
    invisible characters. ASCII capitals are left to whoever reads the words.
    """
    texts = texts.fill_null("") if texts.null_count() else texts
    beyond = texts.str.len_bytes() != texts.str.len_chars()
    if not beyond.any():
        return texts
    plain = texts.filter(beyond)
    if fold:
        plain = plain.str.normalize("NFC").str.replace_all(_INVISIBLE, "").str.to_lowercase()
    plain = plain.str.replace_all(_SPACES, " ")
    return texts.scatter(beyond.arg_true(), plain) if len(plain) < len(texts) else plain


def word_hashes(texts: Sequence[str], *, fold: bool) -> tuple[U64, NDArray[np.int64]]:
    """The hashes of all words of `prepare`d texts, and where each text's words begin (n + 1)."""
    data = [text.encode() for text in texts]
    if fold:
        data = [text.lower() for text in data]
    joined = np.frombuffer(b" ".join([*data, b" " * 16]), np.uint8)
    blank = _BLANK[joined]
    edges = np.flatnonzero(np.diff(blank, prepend=True))
    starts, ends = edges[::2], edges[1::2]
    sizes = ends - starts
    hashes = np.zeros(len(starts), np.uint64)
    at = np.arange(len(starts))
    for block in range(0, int(sizes.max(initial=0)), 16):
        at = at[sizes[at] > block]
        cells = starts[at, None] + np.arange(block, block + 16)
        kept = cells < ends[at, None]
        raw = np.where(kept, joined[np.minimum(cells, len(joined) - 1)], 0).astype(np.uint8)
        low, high = raw.view("<u8").T
        tag = sizes[at].astype(np.uint64) << _56
        hashes[at] = mum(low ^ LOW ^ hashes[at], high ^ HIGH ^ tag)
    borders = np.cumsum([0, *(len(text) + 1 for text in data)])
    return hashes, np.searchsorted(starts, borders)


def mum(left: U64, right: U64) -> U64:
    """The two halves of the 128-bit products, xored."""
    left_low, left_high = left & _HALF, left >> _32
    right_low, right_high = right & _HALF, right >> _32
    one, two = left_low * right_high, left_high * right_low
    middle = ((left_low * right_low) >> _32) + (one & _HALF) + (two & _HALF)
    high = left_high * right_high + (one >> _32) + (two >> _32) + (middle >> _32)
    product: U64 = (left * right) ^ high
    return product


def shingles(words: U64, ngram: int) -> U64:
    """The hashes of every run of `ngram` words, in order, never 0; of all words where fewer."""
    if not len(words):
        return words
    ngram = min(ngram, len(words))
    count = len(words) - ngram + 1
    found = np.zeros(count, np.uint64)
    for j in range(ngram):
        found = found * STEP + words[j : j + count]
    found ^= found >> _32
    found *= MIX
    found ^= found >> _29
    return np.maximum(found, np.uint64(1))


def content(found: U64) -> int:
    """One number for a whole text, from its shingles in order; 0 only for a text without words."""
    if not len(found):
        return 0
    order = ORDER * (np.arange(len(found), dtype=np.uint64) * np.uint64(2) + np.uint64(1))
    total = int((found * order).sum(dtype=np.uint64))
    return max(total ^ (total >> 32), 1)


def hashes32(found: U64) -> U32:
    """The 32-bit hashes that signatures are made of."""
    return ((found * CAST) >> _32).astype(np.uint32)


def shingle_hash(data: bytes) -> int:
    """The 32-bit hash of one shingle, words joined by one space: a `hashfunc` for datasketch.

    `MinHash(hashfunc=shingle_hash)` makes the signatures that `minhash.signatures` makes.
    """
    words, _ = word_hashes([data.decode()], fold=False)
    return int(hashes32(shingles(words, max(len(words), 1)))[0]) if len(words) else 0


def similarity(left: U64, right: U64) -> float:
    """The Jaccard similarity of two texts' shingles, exact."""
    left, right = np.unique(left), np.unique(right)
    shared = len(np.intersect1d(left, right, assume_unique=True))
    union = len(left) + len(right) - shared
    return shared / union if union else 0.0
