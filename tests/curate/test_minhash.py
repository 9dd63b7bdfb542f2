"""Signatures are datasketch's, bit for bit, and the two ways to make them are one."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from datasketch import LeanMinHash, MinHash, MinHashLSH
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.curate.lsh import bands_for, components, datasketch_bands
from tracecraft.curate.minhash import Scheme, signatures, sketch
from tracecraft.curate.shingle import content, prepare, shingle_hash, shingles, word_hashes

TEXTS = [
    "",
    " \t\n",
    "a",
    "a b c d e",
    "one two three four five six seven eight nine ten",
    "A " * 7,
    "x" * 3000 + " y z q w " + "k" * 400,
    "exactly55bytes-" * 3 + "0123456789 and then a few more words follow here",
    "ab" * 60 + " c d e f g h",
    "Ünïcode\u00a0space\u2003here and   there\tnow \u3000 ideographic",
    "\x1c a \x1f b \x85 c",
    "é" * 70 + " tail of a text",
    " ".join(f"w{i}" for i in range(300)),
    "Ich heiße Straße \u200b unsichtbar",
]
"""Short and long words, every border of a 16-byte block, all kinds of white space."""


def grams(text: str, n: int = 5) -> list[bytes]:
    words = text.split()
    return [" ".join(words[i : i + n]).encode() for i in range(max(1, len(words) - n + 1)) if words]


@pytest.mark.parametrize("permutations", [128, 100, 32])
@pytest.mark.parametrize("seed", [1, 42])
def test_signatures_are_those_of_datasketch(permutations, seed):
    ours = signatures(TEXTS, permutations=permutations, seed=seed)
    for text, line in zip(TEXTS, ours, strict=True):
        theirs = MinHash(permutations, seed=seed)
        theirs.update_batch(grams(text))
        assert (theirs.hashvalues == line).all(), text


def test_our_own_hash_is_one_that_datasketch_can_use():
    ours = signatures(TEXTS, hash="words", ngram=3)
    for text, line in zip(TEXTS, ours, strict=True):
        theirs = MinHash(128, seed=1, hashfunc=shingle_hash)
        theirs.update_batch(grams(text, 3))
        assert (theirs.hashvalues == line).all(), text


def test_datasketch_searches_in_signatures_of_ours():
    texts = [f"{' '.join(f'w{i}' for i in range(40))} tail{k}" for k in range(3)] + ["other words"]
    index = MinHashLSH(threshold=0.8, num_perm=128)
    lines = [MinHash(hashvalues=line, scheme="affine32") for line in signatures(texts)]
    for name, line in enumerate(lines[1:], start=1):
        index.insert(name, line)
    assert set(index.query(lines[0])) == {1, 2}


@pytest.mark.parametrize("scheme", ["affine32", "legacy"])
@pytest.mark.parametrize("seed", [1, 42])
def test_an_index_built_by_either_serves_the_other_in_both_schemes(scheme, seed):
    texts = [f"{' '.join(f'w{i}' for i in range(40))} tail{k}" for k in range(3)] + ["other words"]
    theirs = []
    for text in texts:
        theirs.append(MinHash(128, seed=seed, scheme=scheme))
        theirs[-1].update_batch(grams(text))
    mine = signatures(texts, seed=seed, scheme=scheme)
    assert all((a.hashvalues == b).all() for a, b in zip(theirs, mine, strict=True))
    ours = [MinHash(seed=seed, hashvalues=line, scheme=scheme) for line in mine]
    for built, asked in ((theirs, ours), (ours, theirs)):
        index = MinHashLSH(threshold=0.8, num_perm=128)
        for name, one in enumerate(built[1:], start=1):
            index.insert(name, LeanMinHash(one))
        assert set(index.query(LeanMinHash(asked[0]))) == {1, 2}
        assert index.query(asked[3]) == [3]


def alike(texts, scheme, bands=(8, 4)):
    made = [
        sketch(pl.Series(texts, dtype=pl.String), scheme, bands, signed=True, compiled=compiled)
        for compiled in (False, True)
    ]
    for name in ("contents", "counts", "keys", "signatures"):
        plain, fast = (getattr(one, name) for one in made)
        assert (plain == fast).all(), (scheme, name)


@pytest.mark.parametrize("hash", ["words", "sha1"])
@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("ngram", [1, 5])
def test_kernels_and_numpy_make_the_same(hash, fold, ngram):
    alike(TEXTS, Scheme(100, 3, ngram, hash, fold))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(alphabet="ab \t\né²\u2003X" + "𝐀ß", max_size=90), max_size=6))
def test_kernels_and_numpy_make_the_same_of_any_text(texts):
    for hash in ("words", "sha1"):
        alike(texts, Scheme(32, 1, 2, hash, fold=True))
    alike(texts, Scheme(40, 7, 2, "sha1", scheme="legacy"))


@given(st.text(max_size=60))
def test_words_are_those_of_split(text):
    hashes, begins = word_hashes(prepare(pl.Series([text, text]), fold=False).to_list(), fold=False)
    assert begins.tolist() == [0, len(text.split()), 2 * len(text.split())]
    assert (hashes[: begins[1]] == hashes[begins[1] :]).all()


def test_a_slice_of_a_series_is_read_where_it_lies():
    long = pl.Series([f"text number {i} " * (1 + i % 5) for i in range(400)])
    whole = sketch(long, Scheme(), (21, 6), compiled=True)
    part = sketch(long[123:301], Scheme(), (21, 6), compiled=True)
    assert (whole.contents[123:301] == part.contents).all()


def test_content_tells_the_order_of_words():
    hashes, begins = word_hashes(["a b c d e f g", "b a c d e f g", "a b c d e f g"], fold=False)
    found = [content(shingles(hashes[a:b], 5)) for a, b in pairwise(begins)]
    assert found[0] == found[2] != found[1]


@pytest.mark.parametrize("threshold", [0.5, 0.7, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("permutations", [64, 128])
def test_bands_are_those_of_datasketch_where_its_mask_is_wanted(threshold, permutations):
    theirs = MinHashLSH(threshold=threshold, num_perm=permutations)
    assert datasketch_bands(threshold, permutations) == (theirs.b, theirs.r)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.95, 1.0])
def test_bands_find_a_pair_at_the_threshold(threshold):
    bands, rows = bands_for(threshold, 128)
    assert bands * rows <= 128
    assert 1 - (1 - threshold**rows) ** bands >= 0.995


def test_components_are_named_after_their_least_text():
    left, right = np.array([3, 1, 5]), np.array([4, 3, 6])
    assert components(8, left, right).tolist() == [0, 1, 2, 1, 1, 5, 5, 7]
