"""The compiled kernels of `dedupe`: bytes to words, shingles and signatures; exact similarity.

The numbers are those that `shingle.py` and `minhash.py` define; a test compares them.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from tracecraft.curate.jit import (
    compiled,
    copy_block,
    inlined,
    least_images,
    load8,
    load64,
    lower_block,
    mum,
    space_mask,
    store64,
    trailing_zeros,
)
from tracecraft.curate.shingle import CAST, HIGH, LOW, MIX, ORDER, STEP

u64 = np.uint64
MASKS = np.array([(1 << (8 * i)) - 1 for i in range(9)], np.uint64)
PAD = 160
"""Bytes of scratch beyond a text: a block of spaces and the reach of a 16-byte load."""
BLANKS = u64(0x2020202020202020)

_images_128 = least_images(8)
_images_32 = least_images(2)


@compiled
def fetch(address, size, lower, base):
    """Copy a text to `base`, with blanks after it; `lower` makes ASCII capitals small."""
    i = 0
    while i + 64 <= size:
        copy_block(address + u64(i), base + u64(i))
        i += 64
    while i + 8 <= size:
        store64(base + u64(i), load64(address + u64(i)))
        i += 8
    last = BLANKS
    for j in range(size - 1, i - 1, -1):
        last = (last << u64(8)) | load8(address + u64(j))
    store64(base + u64(i), last)
    for j in range(i + 8, i + 88, 8):
        store64(base + u64(j), BLANKS)
    if lower:
        for j in range(0, size, 64):
            lower_block(base + u64(j))


@compiled
def split(base, size, edges):
    """Find the words of a fetched text: how many; `edges` gets start, end, start, end, …"""
    count = 0
    carry = u64(1)
    for block in range(0, size + 1, 64):
        blank = space_mask(base + u64(block))
        turns = blank ^ ((blank << u64(1)) | carry)
        carry = blank >> u64(63)
        while turns != 0:
            edges[count] = block + np.int64(trailing_zeros(turns))
            count += 1
            turns &= turns - u64(1)
    return count >> 1


@inlined
def word_hash(at, size):
    h = u64(0)
    tag = HIGH ^ (u64(size) << u64(56))
    left = size
    while left > 16:
        h = mum(load64(at) ^ LOW ^ h, load64(at + u64(8)) ^ tag)
        at += u64(16)
        left -= 16
    low = load64(at) & MASKS[min(left, 8)]
    high = load64(at + u64(8)) & MASKS[max(left - 8, 0)]
    return mum(low ^ LOW ^ h, high ^ tag)


@compiled
def shingled(address, size, lower, ngram, scratch, edges, hashes, found):
    """The shingles of a text: how many; they are in `found`."""
    base = u64(scratch.ctypes.data)
    fetch(address, size, lower, base)
    count = split(base, size, edges)
    for i in range(count):
        start = edges[2 * i]
        hashes[i] = word_hash(base + u64(start), np.int64(edges[2 * i + 1] - start))
    if count == 0:
        return 0
    ngram = min(ngram, count)
    count -= ngram - 1
    found[:count] = hashes[:count]
    for j in range(1, ngram):
        for i in range(count):
            found[i] = found[i] * STEP + hashes[i + j]
    for i in range(count):
        s = found[i]
        s ^= s >> u64(32)
        s *= MIX
        s ^= s >> u64(29)
        found[i] = max(s, u64(1))
    return count


@compiled
def content(found, count):
    total = u64(0)
    for i in range(count):
        total += found[i] * (ORDER * (u64(i) * u64(2) + u64(1)))
    return max(total ^ (total >> u64(32)), u64(1)) if count else u64(0)


@inlined
def fmix32(h):
    h ^= h >> np.uint32(16)
    h = np.uint32(h * np.uint32(0x85EBCA6B))
    h ^= h >> np.uint32(13)
    h = np.uint32(h * np.uint32(0xC2B2AE35))
    return h ^ (h >> np.uint32(16))


@compiled
def images(hashes, count, a, b, out):
    """The least image of the hashes under each permutation; widths are multiples of 32."""
    at, a_at, b_at = u64(hashes.ctypes.data), u64(a.ctypes.data), u64(b.ctypes.data)
    out_at, width = u64(out.ctypes.data), a.shape[0]
    for j in range(width):
        out[j] = np.uint32(0xFFFFFFFF)
    j = 0
    while j + 128 <= width:
        o = u64(4 * j)
        _images_128(at, count, a_at + o, b_at + o, out_at + o)
        j += 128
    while j < width:
        o = u64(4 * j)
        _images_32(at, count, a_at + o, b_at + o, out_at + o)
        j += 32


@inlined
def present(table, shingle):
    """Whether an open-addressing table of a power-of-two size holds the shingle."""
    mask = u64(table.shape[0] - 1)
    slot = (shingle * CAST) & mask
    while table[slot] != 0 and table[slot] != shingle:
        slot = (slot + u64(1)) & mask
    return table[slot] == shingle


@compiled
def banded(signature, rows, keys, d):
    """The band keys of a signature, into column `d`."""
    for band in range(keys.shape[0]):
        key = LOW
        for j in range(band * rows, band * rows + rows):
            key = mum(key ^ u64(signature[j]), STEP ^ key)
        keys[band, d] = key


@compiled
def sketch(addresses, sizes, lower, ngram, stop, a, b, rows, contents, counts, keys, signatures):
    """Content, number of shingles, band keys and (where there is room) signature of each text.

    Shingles in the table `stop` (one empty slot: none) count for content, not for signatures.
    """
    longest = sizes.max() if sizes.shape[0] else 0
    scratch = np.empty(longest + PAD, np.uint8)
    edges = np.empty(longest + 4, np.int32)
    hashes = np.empty(longest // 2 + 2, np.uint64)
    found = np.empty(longest // 2 + 2, np.uint64)
    mixed = np.empty(longest // 2 + 2, np.uint32)
    signature = np.empty(a.shape[0], np.uint32)
    width = signatures.shape[1]
    for d in range(sizes.shape[0]):
        n = shingled(addresses[d], sizes[d], lower, ngram, scratch, edges, hashes, found)
        contents[d] = content(found, n)
        if stop.shape[0] > 1:
            kept = 0
            for i in range(n):
                if not present(stop, found[i]):
                    found[kept] = found[i]
                    kept += 1
            n = kept
        counts[d] = n
        for i in range(n):
            mixed[i] = fmix32(np.uint32((found[i] * CAST) >> u64(32)))
        images(mixed, n, a, b, signature)
        banded(signature, rows, keys, d)
        if d < signatures.shape[0]:
            signatures[d] = signature[:width]


@inlined
def root(parents, x):
    while parents[x] != x:
        parents[x] = parents[parents[x]]
        x = parents[x]
    return x


@compiled
def distinct(found, count, table, bits):
    """Put shingles into an emptied table of 2**bits slots: how many differ; they lead `found`."""
    mask = u64((1 << bits) - 1)
    for i in range(1 << bits):
        table[i] = u64(0)
    kept = 0
    for i in range(count):
        x = found[i]
        slot = (x * CAST) & mask
        while table[slot] != 0 and table[slot] != x:
            slot = (slot + u64(1)) & mask
        if table[slot] == 0:
            table[slot] = x
            found[kept] = x
            kept += 1
    return kept


@compiled
def compare(addresses, sizes, lower, ngram, left, right, parents, threshold, out):
    """The exact similarity of each pair; -1 where the two were tied already by other pairs.

    Pairs come sorted by `left`, so that its table is built once. `parents` is a union-find
    forest over the texts: pairs that reach the threshold are joined. An empty one joins nothing.
    """
    longest = sizes.max() if sizes.shape[0] else 0
    scratch = np.empty(longest + PAD, np.uint8)
    edges = np.empty(longest + 4, np.int32)
    hashes = np.empty(longest // 2 + 2, np.uint64)
    found = np.empty(longest // 2 + 2, np.uint64)
    room = 4
    while (1 << room) < longest + 4:
        room += 1
    table, other = np.empty(1 << room, np.uint64), np.empty(1 << room, np.uint64)
    at = np.int64(-1)
    bits, alone = 4, 0
    for p in range(left.shape[0]):
        x, y = left[p], right[p]
        if parents.shape[0] and root(parents, x) == root(parents, y):
            out[p] = -1.0
            continue
        if x != at:
            n = shingled(addresses[x], sizes[x], lower, ngram, scratch, edges, hashes, found)
            bits = 4
            while (1 << bits) < 2 * n:
                bits += 1
            alone = distinct(found, n, table, bits)
            at = x
        n = shingled(addresses[y], sizes[y], lower, ngram, scratch, edges, hashes, found)
        room = 4
        while (1 << room) < 2 * n:
            room += 1
        n = distinct(found, n, other, room)
        mask, shared = u64((1 << bits) - 1), 0
        for i in range(n):
            slot = (found[i] * CAST) & mask
            while table[slot] != 0 and table[slot] != found[i]:
                slot = (slot + u64(1)) & mask
            shared += table[slot] == found[i]
        out[p] = shared / (alone + n - shared) if n + alone else 0.0
        if parents.shape[0] and out[p] >= threshold:
            a, b = root(parents, x), root(parents, y)
            parents[max(a, b)] = min(a, b)
