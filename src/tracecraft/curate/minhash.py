"""Signatures that datasketch understands, from Arrow text and without a string per shingle.

The permutations are datasketch's `affine32` (its default since 2.0) or its `legacy` ones (the
only ones before: what an older index holds), with its seed. The hash of a shingle is either its
own default (`sha1`: identical to `MinHash(num_perm, seed)`) or ours (`words`: identical to
`MinHash(num_perm, seed, hashfunc=shingle_hash)`, and much faster).
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tracecraft.curate.shingle import (
    CAST,
    LOW,
    STEP,
    U32,
    U64,
    content,
    hashes32,
    mum,
    prepare,
    shingles,
    word_hashes,
)

Hash = Literal["words", "sha1"]
Permutations = Literal["affine32", "legacy"]
PRIME = np.uint64((1 << 61) - 1)
"""Of the legacy permutations."""

COMPILE_BYTES = 4_000_000
"""Text from which the compiled kernels are worth their loading."""
TASK_BYTES = 4_000_000
"""Text that one task of a thread takes: enough to hide the handing over, small in memory."""
NOTHING = np.zeros(1, np.uint64)
"""A table of no shingles."""


@dataclass(frozen=True)
class Scheme:
    """All that decides a signature."""

    permutations: int = 128
    seed: int = 1
    ngram: int = 5
    """Words in a shingle."""
    hash: Hash = "words"
    fold: bool = False
    """Compare in NFC, in lower case and without invisible characters."""
    scheme: Permutations = "affine32"

    @cached_property
    def factors(self) -> tuple[U32, U32]:
        """`a` and `b` of every permutation, as `datasketch.MinHash` draws them."""
        draw = np.random.RandomState(self.seed).randint
        a = draw(0, 1 << 31, self.permutations, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
        return a, draw(0, 1 << 32, self.permutations, dtype=np.uint32)

    @cached_property
    def padded(self) -> tuple[U32, U32]:
        """`factors`, filled up to a multiple of the 32 lanes that a kernel takes at once."""
        a, b = (np.pad(f, (0, -self.permutations % 32)) for f in self.factors)
        return a, b

    @cached_property
    def wide(self) -> U64:
        """`a` and `b` of the legacy permutations, as datasketch draws them; else no columns."""
        if self.scheme != "legacy":
            return np.empty((2, 0), np.uint64)
        draw = np.random.RandomState(self.seed).randint
        pairs = [
            (draw(1, PRIME, dtype=np.uint64), draw(0, PRIME, dtype=np.uint64))
            for _ in range(self.permutations)
        ]
        return np.ascontiguousarray(np.array(pairs, np.uint64).T)


@dataclass(frozen=True, slots=True)
class Sketches:
    """What is kept of each text."""

    contents: U64
    """One number for all its words in order; 0 for a text without words."""
    counts: NDArray[np.int32]
    """Shingles in the signature, repeats included."""
    keys: U64
    """One row a band, one column a text."""
    signatures: U32
    """One row a text; no row where they were not asked for."""

    @classmethod
    def room(cls, texts: int, bands: int, permutations: int) -> "Sketches":
        """Space to be filled; no permutations: without signatures."""
        return cls(
            np.empty(texts, np.uint64),
            np.empty(texts, np.int32),
            np.empty((bands, texts), np.uint64),
            np.empty((texts if permutations else 0, permutations), np.uint32),
        )

    def fill(self, texts: NDArray[np.int64], some: "Sketches") -> None:
        """Put in what is kept of some texts."""
        self.contents[texts], self.counts[texts] = some.contents, some.counts
        self.keys[:, texts] = some.keys
        if len(self.signatures):
            self.signatures[texts] = some.signatures


@dataclass(frozen=True, slots=True)
class Views:
    """Where the bytes of each text lie; `owner` keeps them there."""

    addresses: U64
    sizes: NDArray[np.int64]
    owner: Any

    @classmethod
    def of(cls, texts: pl.Series) -> "Views":
        """The texts of a series without nulls, not copied."""
        whole = texts.rechunk()
        array = whole.to_arrow(compat_level=pl.CompatLevel.newest())
        _, table, *heaps = array.buffers()
        rows = slice(array.offset, array.offset + len(array))
        if table is None or not len(array):
            return cls(np.empty(0, np.uint64), np.empty(0, np.int64), None)
        cells = np.frombuffer(table, np.uint32).reshape(-1, 4)[rows]
        sizes = cells[:, 0].astype(np.int64)
        inside = np.arange(rows.start, rows.stop, dtype=np.uint64) * np.uint64(16)
        addresses = np.uint64(table.address + 4) + inside  # up to 12 bytes lie in the view itself
        far = sizes > 12
        bases = np.array([heap.address for heap in heaps], np.uint64)
        addresses[far] = bases[cells[far, 2]] + cells[far, 3].astype(np.uint64)
        return cls(addresses, sizes, (whole, array))

    def part(self, rows: slice | NDArray[np.int64]) -> "Views":
        """Some of them."""
        return Views(self.addresses[rows], self.sizes[rows], self.owner)


def signatures(
    texts: pl.Series | Sequence[str],
    *,
    permutations: int = 128,
    seed: int = 1,
    ngram: int = 5,
    hash: Hash = "sha1",
    fold: bool = False,
    scheme: Permutations = "affine32",
    workers: int = 1,
) -> U32:
    """The MinHash signature of each text, one row a text: `hashvalues` of a datasketch MinHash.

    A shingle is `ngram` words of `str.split` joined by one space, in UTF-8; a text of fewer
    words has one shingle. A text without words has the signature of an empty set. `scheme` is
    datasketch's, by the same names.
    """
    asked = Scheme(permutations, seed, ngram, hash, fold, scheme)
    series = texts if isinstance(texts, pl.Series) else pl.Series(texts, dtype=pl.String)
    return sketch(series, asked, (0, 1), signed=True, workers=workers).signatures


def sketch(
    texts: pl.Series,
    scheme: Scheme,
    bands: tuple[int, int],
    *,
    stop: U64 = NOTHING,
    signed: bool = False,
    workers: int = 1,
    compiled: bool | None = None,
) -> Sketches:
    """Contents, band keys and, if `signed`, signatures of texts, in order.

    Args:
        texts: raw; null is a text without words.
        scheme: what decides the signature.
        bands: how many bands, of how many rows each.
        stop: a table of shingles that signatures leave out (see `stop_table`).
        signed: keep the signatures.
        workers: threads.
        compiled: by kernels or by numpy, with the same result; None: by the size of the texts.
    """
    room = Sketches.room(len(texts), bands[0], scheme.permutations if signed else 0)
    texts = texts.fill_null("") if texts.null_count() else texts
    if compiled is None:
        compiled = int(texts.str.len_bytes().sum() or 0) > COMPILE_BYTES
    if not compiled:
        _by_numpy(prepare(texts, fold=scheme.fold), scheme, bands[1], stop, room)
        return room
    _by_kernels(texts, scheme, bands[1], stop, room, workers, ready=False)
    beyond = np.flatnonzero(room.counts < 0)
    if len(beyond):
        some = Sketches.room(len(beyond), bands[0], scheme.permutations if signed else 0)
        plain = prepare(texts.gather(beyond), fold=scheme.fold)
        _by_kernels(plain, scheme, bands[1], stop, some, workers, ready=True)
        room.fill(beyond, some)
    return room


def _by_kernels(
    texts: pl.Series, scheme: Scheme, rows: int, stop: U64, room: Sketches, workers: int,
    *, ready: bool,
) -> None:  # fmt: skip
    from tracecraft.curate import sha1, sketch

    views = Views.of(texts)
    kernel = sha1.sketch if scheme.hash == "sha1" else sketch.sketch

    def one(part: slice) -> None:
        some = views.part(part)
        kernel(
            some.addresses, some.sizes, scheme.fold, ready, scheme.ngram, stop, *scheme.padded,
            scheme.wide, rows, room.contents[part], room.counts[part], room.keys[:, part],
            room.signatures[part],
        )  # fmt: skip

    spread(one, tasks(views.sizes), workers)


def tasks(sizes: NDArray[np.int64], most: int = TASK_BYTES) -> Iterator[slice]:
    """Rows in pieces of about `most` bytes."""
    pieces = np.cumsum(sizes) // most
    borders = [0, *(np.flatnonzero(np.diff(pieces)) + 1).tolist(), len(sizes)]
    return (slice(a, b) for a, b in itertools.pairwise(borders) if b > a)


def spread(one: Callable[[slice], None], pieces: Iterable[slice], workers: int) -> None:
    """Do all pieces, on threads where there are several of both."""
    todo = list(pieces)
    if workers < 2 or len(todo) < 2:
        for piece in todo:
            one(piece)
        return
    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(one, todo))


def _by_numpy(texts: pl.Series, scheme: Scheme, rows: int, stop: U64, room: Sketches) -> None:
    spelt = texts.to_list()
    hashes, begins = word_hashes(spelt, fold=scheme.fold)
    stopped = stop[stop != 0]
    for i, (start, end) in enumerate(itertools.pairwise(begins)):
        found = shingles(hashes[start:end], scheme.ngram)
        room.contents[i] = content(found)
        kept = ~np.isin(found, stopped)
        room.counts[i] = kept.sum()
        if scheme.hash == "sha1":
            short = sha1_hashes(spelt[i], scheme)[kept]
        else:
            short = hashes32(found)[kept]
        signature = least_images(short, scheme)
        room.keys[:, i] = band_keys(signature, room.keys.shape[0], rows)
        if len(room.signatures):
            room.signatures[i] = signature


def sha1_hashes(text: str, scheme: Scheme) -> U32:
    """The default hash, in datasketch, of every shingle of a prepared text."""
    data = text.encode()
    words = [word.encode() for word in (data.lower() if scheme.fold else data).decode().split()]
    size = min(scheme.ngram, len(words))
    runs = (b" ".join(words[i : i + size]) for i in range(len(words) - size + 1) if size)
    return np.array([int.from_bytes(hashlib.sha1(r).digest()[:4], "little") for r in runs], "<u4")


def least_images(hashes: U32, scheme: Scheme) -> U32:
    """The signature of a set of 32-bit hashes: MurmurHash3's finalizer, then a·h + b mod 2³²; in
    the legacy scheme a·h + b mod 2⁶¹ - 1, without its high bits.
    """
    if scheme.scheme == "legacy":
        a64, b64 = scheme.wide
        full = (hashes.astype(np.uint64)[:, None] * a64 + b64) % PRIME
        low: U32 = full.astype(np.uint32).min(axis=0, initial=np.uint32(0xFFFFFFFF))
        return low
    h = hashes ^ (hashes >> np.uint32(16))
    h *= np.uint32(0x85EBCA6B)
    h ^= h >> np.uint32(13)
    h *= np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    a, b = scheme.factors
    least: U32 = (h[:, None] * a + b).min(axis=0, initial=np.uint32(0xFFFFFFFF))
    return least


def band_keys(signature: U32, bands: int, rows: int) -> U64:
    """One number for each band of a signature."""
    cells = signature[: bands * rows].reshape(bands, rows).astype(np.uint64)
    keys = np.full(bands, LOW)
    for j in range(rows):
        keys = mum(keys ^ cells[:, j], STEP ^ keys)
    return keys


def stop_table(found: U64) -> U64:
    """Shingles as an open-addressing table at most half full, which kernels can look into."""
    table = np.zeros(1 << max(1, (2 * len(found)).bit_length()), np.uint64)
    mask = len(table) - 1
    for x in found.tolist():
        slot = (x * int(CAST)) & mask
        while table[slot]:
            slot = (slot + 1) & mask
        table[slot] = x
    return table
