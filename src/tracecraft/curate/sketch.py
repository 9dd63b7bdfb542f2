"""The compiled kernels of `dedupe`: bytes to words, shingles and signatures.

The numbers are those that `shingle.py` and `minhash.py` define; a test compares them.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from tracecraft.curate.jit import (
    UNROLLED,
    beyond_mask,
    compiled,
    copy_block,
    inlined,
    least_images,
    load8,
    load64,
    lower_block,
    mum,
    ones,
    space_mask,
    store64,
    trailing_zeros,
)
from tracecraft.curate.shingle import CAST, HIGH, LOW, MIX, ORDER, STEP

u64 = np.uint64
MASKS = np.array([(1 << (8 * i)) - 1 for i in range(9)], np.uint64)
LOWER = MASKS[np.minimum(np.arange(17), 8)]
UPPER = MASKS[np.maximum(np.arange(17) - 8, 0)]
"""What a word of up to 16 bytes fills of its two halves."""
PAD = 160
"""Bytes of scratch beyond a text: a block of spaces and the reach of a 16-byte load."""
EDGES = 32
"""Room beyond the edges of a text: a last one, and what `split` writes too much."""
BLANKS = u64(0x2020202020202020)

_images_128 = least_images(8)
_images_32 = least_images(2)


@compiled
def fetch(address, size, lower, base):
    """Copy a text to `base`, with blanks after it; `lower` makes ASCII capitals small.

    Whether the text goes beyond ASCII.
    """
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
    beyond = u64(0)
    for j in range(0, size, 64):
        beyond |= beyond_mask(base + u64(j))
        if lower:
            lower_block(base + u64(j))
    return beyond != 0


@compiled
def split(base, size, edges):
    """Find the words of a fetched text: how many; `edges` gets start, end, start, end, …

    Six edges are written at a time, whether they are there or not, and the count says how many
    stand: a loop that ends for every block of 64 bytes is foreseen, one for every edge is not.
    """
    count = 0
    carry = u64(1)
    for block in range(0, size + 1, 64):
        blank = space_mask(base + u64(block))
        turns = blank ^ ((blank << u64(1)) | carry)
        carry = blank >> u64(63)
        at = count
        count += int(ones(turns))
        for k in range(20):
            edges[u64(at + k)] = block + np.int64(trailing_zeros(turns))
            turns &= turns - u64(1)
        at += 20
        while turns != 0:
            for k in range(6):
                edges[u64(at + k)] = block + np.int64(trailing_zeros(turns))
                turns &= turns - u64(1)
            at += 6
    return count >> 1


@inlined
def word_hash(at, size):
    tag = HIGH ^ (u64(size) << u64(56))
    h = LOW
    left = size
    while left > 16:
        h = LOW ^ mum(load64(at) ^ h, load64(at + u64(8)) ^ tag)
        at += u64(16)
        left -= 16
    left = u64(left)
    return mum((load64(at) & LOWER[left]) ^ h, (load64(at + u64(8)) & UPPER[left]) ^ tag)


@inlined
def stirred(s):
    s ^= s >> u64(32)
    s *= MIX
    s ^= s >> u64(29)
    return max(s, u64(1))


@compiled
def shingled(address, size, lower, ready, ngram, scratch, edges, hashes, found):
    """The shingles of a text: how many; they are in `found`.

    -1 for a text beyond ASCII that is not `ready`: `shingle.prepare` has not seen it.
    """
    base = u64(scratch.ctypes.data)
    if fetch(address, size, lower, base) and not ready:
        return -1
    count = split(base, size, edges)
    for i in range(count):
        at = u64(2 * i)
        start = edges[at]
        hashes[u64(i)] = word_hash(base + u64(start), np.int64(edges[at + u64(1)] - start))
    if count == 0:
        return 0
    ngram = min(ngram, count)
    count -= ngram - 1
    if ngram == 5:
        for i in range(count):
            s = (hashes[i] * STEP + hashes[i + 1]) * STEP + hashes[i + 2]
            found[i] = stirred((s * STEP + hashes[i + 3]) * STEP + hashes[i + 4])
        return count
    found[:count] = hashes[:count]
    for j in range(1, ngram):
        for i in range(count):
            found[i] = found[i] * STEP + hashes[i + j]
    for i in range(count):
        found[i] = stirred(found[i])
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
    """The least image of the hashes under each permutation; widths are multiples of 32.

    There must be room for `UNROLLED` hashes more than `count`.
    """
    while count % UNROLLED:
        hashes[count] = hashes[count - 1]
        count += 1
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


@compiled
def legacy_images(hashes, count, wide, out):
    """`images` under datasketch's permutations before 2.0: (a·h + b) mod 2⁶¹ - 1, 32 bits of it.

    The product is cut to 64 bits first, as numpy cuts it.
    """
    prime = u64((1 << 61) - 1)
    for j in range(wide.shape[1]):
        a, b = wide[0, j], wide[1, j]
        least = np.uint32(0xFFFFFFFF)
        for i in range(count):
            x = u64(hashes[i]) * a + b
            x = (x & prime) + (x >> u64(61))
            x = min(x, x - prime)
            least = min(least, np.uint32(x & u64(0xFFFFFFFF)))
        out[j] = least


@compiled
def permuted(hashes, count, a, b, wide, out):
    """The signature of some hashes, which are overwritten: `wide` permutations where there are."""
    if wide.shape[1]:
        legacy_images(hashes, count, wide, out)
        return
    for i in range(count):
        hashes[i] = fmix32(hashes[i])
    images(hashes, count, a, b, out)


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
def sketch(
    addresses,
    sizes,
    lower,
    ready,
    ngram,
    stop,
    a,
    b,
    wide,
    rows,
    contents,
    counts,
    keys,
    signatures,
):
    """Content, number of shingles, band keys and (where there is room) signature of each text.

    A text that is not ready (see `shingled`) gets the number -1 and nothing else. Shingles in
    the table `stop` (one empty slot: none) count for content, not for signatures. `wide` holds
    the permutations of the legacy scheme, or none; then `a` and `b` count.
    """
    longest = sizes.max() if sizes.shape[0] else 0
    scratch = np.empty(longest + PAD, np.uint8)
    edges = np.empty(longest + EDGES, np.int32)
    hashes = np.empty(longest // 2 + 2, np.uint64)
    found = np.empty(longest // 2 + 2, np.uint64)
    mixed = np.empty(longest // 2 + 2 + UNROLLED, np.uint32)
    signature = np.empty(a.shape[0], np.uint32)
    width = signatures.shape[1]
    for d in range(sizes.shape[0]):
        n = shingled(addresses[d], sizes[d], lower, ready, ngram, scratch, edges, hashes, found)
        if n < 0:
            counts[d] = n
            continue
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
            mixed[i] = np.uint32((found[i] * CAST) >> u64(32))
        permuted(mixed, n, a, b, wide, signature)
        banded(signature, rows, keys, d)
        if d < signatures.shape[0]:
            signatures[d] = signature[:width]
