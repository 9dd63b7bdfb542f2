"""datasketch's default hash of shingles, sixteen at a time: compiled SHA-1 in vector lanes.

The first four bytes, little end first, of the SHA-1 of a shingle's words joined by one space.
FIPS 180-4 gives the function; its rounds are unrolled over vectors of sixteen 32-bit lanes.
"""
# mypy: disable-error-code="no-untyped-def"

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from tracecraft.curate.jit import UNROLLED, compiled, inlined, load8, load64, store64
from tracecraft.curate.sketch import (
    EDGES,
    PAD,
    banded,
    content,
    permuted,
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
_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_BYTES = ir.VectorType(_I8, 64)
_WORDS = ir.VectorType(_I32, LANES)


def _declared(builder: Any, name: str, kind: Any) -> Any:
    for function in builder.module.functions:
        if function.name == name:
            return function
    return ir.Function(builder.module, kind, name)


def _laid(builder: Any, address: Any, left: Any) -> Any:
    """64 bytes of a message, of which `left` are its own: then a 1 bit and zeros."""
    text = builder.load(builder.inttoptr(address, _BYTES.as_pointer()))
    text.align = 1
    none = ir.Constant(_BYTES, ir.Undefined)
    one = builder.insert_element(none, builder.trunc(left, _I8), ir.Constant(_I32, 0))
    size = builder.shuffle_vector(one, none, ir.Constant(ir.VectorType(_I32, 64), [0] * 64))
    place = ir.Constant(_BYTES, list(range(64)))
    end = builder.select(
        builder.icmp_signed("==", place, size),
        ir.Constant(_BYTES, [0x80] * 64),
        ir.Constant(_BYTES, [0] * 64),
    )
    return builder.select(builder.icmp_signed("<", place, size), text, end)


def _turned(builder: Any, rows: list[Any]) -> list[Any]:
    """Sixteen rows of sixteen words, transposed: four rounds of exchanging halves."""
    for step in (1, 2, 4, 8):
        low = [j if not j & step else LANES + j - step for j in range(LANES)]
        high = [j + step if not j & step else LANES + j for j in range(LANES)]
        for i in range(LANES):
            if not i & step:
                a, b = rows[i], rows[i + step]
                rows[i] = builder.shuffle_vector(a, b, ir.Constant(_WORDS, low))
                rows[i + step] = builder.shuffle_vector(a, b, ir.Constant(_WORDS, high))
    return rows


def _rounds(builder: Any, w: list[Any], first: list[Any], rotated: Callable[..., Any]) -> list[Any]:
    """The state after the eighty rounds; `w` holds the sixteen words of the block."""
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
        added = builder.add(
            builder.add(e, ir.Constant(_WORDS, [_ROUNDS[t // 20]] * LANES)), w[t % 16]
        )
        total = builder.add(rotated(a, 5), builder.add(f, added))
        a, b, c, d, e = total, a, rotated(b, 30), c, d
    return [a, b, c, d, e]


@intrinsic  # type: ignore[untyped-decorator]
def compress(typing: Any, places: Any, lefts: Any, bits: Any, state: Any) -> Any:
    """One block of sixteen messages into their five words of state.

    Args are addresses, each of sixteen: where the block begins (uint64), how many bytes the
    message has from there on (int64, -1 … 64), what the last word takes in (uint32), the state.
    """

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        turn = _declared(
            builder, "llvm.fshl.v16i32", ir.FunctionType(_WORDS, [_WORDS, _WORDS, _WORDS])
        )
        swap = _declared(builder, "llvm.bswap.v16i32", ir.FunctionType(_WORDS, [_WORDS]))

        def all_lanes(value: int) -> Any:
            return ir.Constant(_WORDS, [value] * LANES)

        def rotated(value: Any, bits: int) -> Any:
            return builder.call(turn, [value, value, all_lanes(bits)])

        def place(base: Any, k: int, kind: Any, size: int) -> Any:
            at = builder.add(base, ir.Constant(_I64, size * k))
            return builder.inttoptr(at, kind.as_pointer())

        def read(base: Any, k: int) -> Any:
            value = builder.load(place(base, k, _WORDS, 4 * LANES))
            value.align = 4
            return value

        rows = [
            _laid(
                builder,
                builder.load(place(given[0], lane, _I64, 8)),
                builder.load(place(given[1], lane, _I64, 8)),
            )
            for lane in range(LANES)
        ]
        rows = _turned(builder, [builder.bitcast(row, _WORDS) for row in rows])
        w = [builder.call(swap, [row]) for row in rows]
        w[15] = builder.or_(w[15], read(given[2], 0))
        first = [read(given[3], k) for k in range(5)]
        for k, value in enumerate(_rounds(builder, w, first, rotated)):
            at = place(given[3], k, _WORDS, 4 * LANES)
            builder.store(builder.add(first[k], value), at).align = 4
        return context.get_dummy_value()

    word = types.uint64
    return types.void(word, word, word, word), code


@inlined
def turned(h):
    """The four bytes the other way round."""
    return (
        (h >> np.uint32(24))
        | ((h >> np.uint32(8)) & np.uint32(0xFF00))
        | ((h << np.uint32(8)) & np.uint32(0xFF0000))
        | (h << np.uint32(24))
    )


@compiled
def _digest(places, sizes, numbers, count, blocks, lefts, bits, state, out):
    """SHA-1 of up to sixteen slices of as many blocks each; `places` move on."""
    for k in range(5):
        state[k] = START[k]
    for lane in range(count, LANES):
        places[u64(lane)], sizes[u64(lane)] = places[0], sizes[0]
    for n in range(blocks):
        last = n == blocks - 1
        for lane in range(LANES):
            lefts[lane] = max(-1, min(64, sizes[lane] - 64 * n))
            bits[lane] = np.uint32(sizes[lane] * 8) if last else np.uint32(0)
        compress(
            u64(places.ctypes.data),
            u64(lefts.ctypes.data),
            u64(bits.ctypes.data),
            u64(state.ctypes.data),
        )
        if not last:
            for lane in range(LANES):
                places[lane] += u64(64)
    for lane in range(count):
        out[u64(numbers[u64(lane)])] = turned(state[0, u64(lane)])


@compiled
def _joined(base, edges, count, joined):
    """The words with one space between them: the address of the first; `edges` become theirs.

    They stay where they are if they stand so already, as in most texts.
    """
    size, plain = edges[2 * count - 1] - edges[0], True
    total = count - 1
    for i in range(count):
        total += edges[2 * i + 1] - edges[2 * i]
    if total == size:
        for i in range(count - 1):
            plain &= load8(base + u64(edges[2 * i + 1])) == 32
        if plain:
            return base
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
    return at


@compiled
def _hashes(base, edges, words, ngram, places, sizes, numbers, counts, lefts, bits, state, out):
    """The hash of every run of `ngram` words."""
    counts[:] = 0
    reach = u64(2 * ngram - 1)
    for i in range(words - ngram + 1):
        start = edges[u64(2 * i)]
        size = np.int64(edges[u64(2 * i) + reach] - start)
        blocks = (size + 72) >> 6
        line = u64(blocks if blocks <= BLOCKS else 0)
        at = u64(counts[line])
        places[line, at] = base + u64(start)
        sizes[line, at] = size
        numbers[line, at] = i
        counts[line] = at + u64(1)
        if line == 0 or at == LANES - 1:
            _digest(
                places[line], sizes[line], numbers[line], np.int64(at + u64(1)), blocks,
                lefts, bits, state, out,
            )  # fmt: skip
            counts[line] = 0
    for queue in range(1, BLOCKS + 1):
        if counts[queue]:
            _digest(
                places[queue], sizes[queue], numbers[queue], counts[queue], queue,
                lefts, bits, state, out,
            )  # fmt: skip


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
    """As `sketch.sketch`, with signatures of datasketch's hash."""
    longest = sizes.max() if sizes.shape[0] else 0
    half = longest // 2 + 2
    scratch, joined = np.empty(longest + PAD, np.uint8), np.empty(longest + PAD, np.uint8)
    edges = np.empty(longest + EDGES, np.int32)
    hashes, found = np.empty(half, np.uint64), np.empty(half, np.uint64)
    mixed, signature = np.empty(half + UNROLLED, np.uint32), np.empty(a.shape[0], np.uint32)
    places, queued = np.zeros((BLOCKS + 1, LANES), np.uint64), np.zeros(BLOCKS + 1, np.int64)
    spans, numbers = (
        np.zeros((BLOCKS + 1, LANES), np.int64),
        np.zeros((BLOCKS + 1, LANES), np.int64),
    )
    lefts = np.zeros(LANES, np.int64)
    bits, state = np.zeros(LANES, np.uint32), np.zeros((5, LANES), np.uint32)
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
            at = _joined(base, edges, words, joined)
            _hashes(
                at, edges, words, words - n + 1, places, spans, numbers, queued,
                lefts, bits, state, mixed,
            )  # fmt: skip
        kept = 0
        for i in range(n):
            if stop.shape[0] == 1 or not present(stop, found[i]):
                mixed[kept] = mixed[i]
                kept += 1
        counts[d] = kept
        permuted(mixed, kept, a, b, wide, signature)
        banded(signature, rows, keys, d)
        if d < signatures.shape[0]:
            signatures[d] = signature[:width]
