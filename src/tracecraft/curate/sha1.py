"""datasketch's default hash of shingles, sixteen at a time: compiled SHA-1 in vector lanes.

The first four bytes, little end first, of the SHA-1 of a shingle's words joined by one space.
FIPS 180-4 gives the function; its rounds are unrolled over vectors of sixteen 32-bit lanes.
"""
# mypy: disable-error-code="no-untyped-def"

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from tracecraft.curate.jit import UNROLLED, compiled, copy_block, load64, store64
from tracecraft.curate.sketch import (
    EDGES,
    MASKS,
    PAD,
    banded,
    content,
    fmix32,
    images,
    present,
    shingled,
    split,
)

u64 = np.uint64
LANES = 16
BLOCKS = 5
"""Shingles of up to this many blocks (55, 119, … bytes) wait for fifteen of their length."""
START = np.array([0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0], np.uint32)
_ROUNDS = (0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6)
_I32, _I64 = ir.IntType(32), ir.IntType(64)
_WORDS = ir.VectorType(_I32, LANES)


def _declared(builder: Any, name: str, kind: Any) -> Any:
    for function in builder.module.functions:
        if function.name == name:
            return function
    return ir.Function(builder.module, kind, name)


@intrinsic  # type: ignore[untyped-decorator]
def compress(typing: Any, block: Any, state: Any) -> Any:
    """One block of sixteen messages into their five words of state, word by word in lanes."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        turn = _declared(
            builder, "llvm.fshl.v16i32", ir.FunctionType(_WORDS, [_WORDS, _WORDS, _WORDS])
        )
        swap = _declared(builder, "llvm.bswap.v16i32", ir.FunctionType(_WORDS, [_WORDS]))

        def all_lanes(value: int) -> Any:
            return ir.Constant(_WORDS, [value] * LANES)

        def rotated(value: Any, bits: int) -> Any:
            return builder.call(turn, [value, value, all_lanes(bits)])

        def place(base: Any, k: int) -> Any:
            at = builder.add(base, ir.Constant(_I64, 4 * LANES * k))
            return builder.inttoptr(at, _WORDS.as_pointer())

        def read(base: Any, k: int) -> Any:
            value = builder.load(place(base, k))
            value.align = 4
            return value

        w = [builder.call(swap, [read(given[0], k)]) for k in range(16)]
        first = [read(given[1], k) for k in range(5)]
        a, b, c, d, e = first
        for t in range(80):
            if t >= 16:
                x = builder.xor(builder.xor(w[(t - 3) % 16], w[(t - 8) % 16]), w[(t - 14) % 16])
                w[t % 16] = rotated(builder.xor(x, w[t % 16]), 1)
            if t < 20:
                f = builder.xor(d, builder.and_(b, builder.xor(c, d)))
            elif 40 <= t < 60:
                f = builder.or_(builder.and_(b, c), builder.and_(d, builder.or_(b, c)))
            else:
                f = builder.xor(builder.xor(b, c), d)
            added = builder.add(builder.add(e, all_lanes(_ROUNDS[t // 20])), w[t % 16])
            total = builder.add(builder.add(rotated(a, 5), f), added)
            a, b, c, d, e = total, a, rotated(b, 30), c, d
        for k, value in enumerate((a, b, c, d, e)):
            builder.store(builder.add(first[k], value), place(given[1], k)).align = 4
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), code


@compiled
def _digest(base, starts, sizes, blocks, lanes, count, block, state, row, out):
    """SHA-1 of up to sixteen slices of as many blocks each."""
    row_at = u64(row.ctypes.data)
    words = row.view(np.uint32)
    for k in range(5):
        state[k] = START[k]
    for n in range(blocks):
        for lane in range(count):
            size = sizes[lanes[lane]]
            at = base + u64(starts[lanes[lane]] + 64 * n)
            left = size - 64 * n
            if left >= 64:
                copy_block(at, row_at)
            else:
                for q in range(0, 64, 8):
                    have = left - q
                    value = u64(0)
                    if have >= 8:
                        value = load64(at + u64(q))
                    elif have >= 0:
                        value = (load64(at + u64(q)) & MASKS[have]) | (u64(0x80) << u64(8 * have))
                    store64(row_at + u64(q), value)
            for t in range(16):
                block[t, lane] = words[t]
            if n == blocks - 1:
                bits = np.uint32(size * 8)
                block[15, lane] = (
                    (bits >> np.uint32(24))
                    | ((bits >> np.uint32(8)) & np.uint32(0xFF00))
                    | ((bits << np.uint32(8)) & np.uint32(0xFF0000))
                    | (bits << np.uint32(24))
                )
        compress(u64(block.ctypes.data), u64(state.ctypes.data))
    for lane in range(count):
        h = state[0, lane]
        out[lanes[lane]] = (
            (h >> np.uint32(24))
            | ((h >> np.uint32(8)) & np.uint32(0xFF00))
            | ((h << np.uint32(8)) & np.uint32(0xFF0000))
            | (h << np.uint32(24))
        )


@compiled
def _joined(base, edges, count, joined):
    """Write the words with one space between them; `edges` becomes their places there."""
    at = u64(joined.ctypes.data)
    end = 0
    for i in range(count):
        start, size = edges[2 * i], edges[2 * i + 1] - edges[2 * i]
        edges[2 * i] = end
        for q in range(0, size, 8):
            store64(at + u64(end + q), load64(base + u64(start + q)))
        end += size
        edges[2 * i + 1] = end
        joined[end] = 32
        end += 1


@compiled
def _hashes(edges, words, ngram, joined, starts, sizes, waiting, counts, block, state, row, out):
    """The hash of every run of `ngram` words."""
    base = u64(joined.ctypes.data)
    runs = words - ngram + 1
    counts[:] = 0
    for i in range(runs):
        starts[i] = edges[2 * i]
        sizes[i] = edges[2 * (i + ngram - 1) + 1] - edges[2 * i]
        blocks = (sizes[i] + 72) >> 6
        queue = blocks if blocks <= BLOCKS else 0
        waiting[queue, counts[queue]] = i
        counts[queue] += 1
        if queue == 0 or counts[queue] == LANES:
            _digest(
                base, starts, sizes, blocks, waiting[queue], counts[queue], block, state, row, out
            )
            counts[queue] = 0
    for queue in range(1, BLOCKS + 1):
        if counts[queue]:
            _digest(
                base, starts, sizes, queue, waiting[queue], counts[queue], block, state, row, out
            )


@compiled
def sketch(
    addresses, sizes, lower, ready, ngram, stop, a, b, rows, contents, counts, keys, signatures
):
    """As `sketch.sketch`, with signatures of datasketch's hash."""
    longest = sizes.max() if sizes.shape[0] else 0
    half = longest // 2 + 2
    scratch, joined = np.empty(longest + PAD, np.uint8), np.empty(longest + PAD, np.uint8)
    edges = np.empty(longest + EDGES, np.int32)
    hashes, found = np.empty(half, np.uint64), np.empty(half, np.uint64)
    mixed, signature = np.empty(half + UNROLLED, np.uint32), np.empty(a.shape[0], np.uint32)
    starts, spans = np.empty(half, np.int64), np.empty(half, np.int64)
    waiting, queued = np.empty((BLOCKS + 1, LANES), np.int64), np.empty(BLOCKS + 1, np.int64)
    block, state = np.zeros((16, LANES), np.uint32), np.zeros((5, LANES), np.uint32)
    row = np.zeros(64, np.uint8)
    base = u64(scratch.ctypes.data)
    width = signatures.shape[1]
    for d in range(sizes.shape[0]):
        n = shingled(addresses[d], sizes[d], lower, ready, ngram, scratch, edges, hashes, found)
        if n < 0:
            counts[d] = n
            continue
        contents[d] = content(found, n)
        if n:
            words = n + ngram - 1 if n > 1 else split(base, sizes[d], edges)
            _joined(base, edges, words, joined)
            run = words - n + 1
            _hashes(
                edges, words, run, joined, starts, spans, waiting, queued, block, state, row, mixed
            )
        kept = 0
        for i in range(n):
            if stop.shape[0] == 1 or not present(stop, found[i]):
                mixed[kept] = fmix32(mixed[i])
                kept += 1
        counts[d] = kept
        images(mixed, kept, a, b, signature)
        banded(signature, rows, keys, d)
        if d < signatures.shape[0]:
            signatures[d] = signature[:width]
