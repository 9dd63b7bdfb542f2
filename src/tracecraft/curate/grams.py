"""The compiled kernels of `decontaminate`: bytes to tokens, and tokens to hits in an index.

The tokens are those that `tokens.py` defines; a test compares them.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from tracecraft.curate.jit import compiled, inlined, load8
from tracecraft.curate.shingle import CAST, MIX, STEP
from tracecraft.curate.tokens import ALONE, BREAK, COMMANDS, DIGIT, NUMBER, SILENT, TOP

u64 = np.uint64
ANY = u64(NUMBER)
GROWTH = 2
ROOM = 3
"""Tokens that a byte may give, at most: a square of katakana is three bytes and seven tokens."""


@inlined
def is_digit(byte):
    return byte >= 48 and byte <= 57


@inlined
def is_letter(byte):
    small = byte | u64(32)
    return small >= 97 and small <= 122


@compiled
def matches(address, at, size, word):
    """Whether the bytes at `at` are those of a word."""
    if at + word.shape[0] > size:
        return False
    same = 0
    for i in range(word.shape[0]):
        same += load8(address + u64(at + i)) == word[i]
    return same == word.shape[0]


@compiled
def separator(address, at, size):
    """How many bytes of thousands separator begin here, between a digit and three last ones."""
    if at == 0 or not is_digit(load8(address + u64(at - 1))):
        return 0
    first = load8(address + u64(at))
    behind = at + 1
    if first == 44:  # , or ,\!
        if (
            behind + 1 < size
            and load8(address + u64(behind)) == 92
            and load8(address + u64(behind + 1)) == 33
        ):
            behind += 2
    elif first == 123:  # {,}
        if not (
            behind + 1 < size
            and load8(address + u64(behind)) == 44
            and load8(address + u64(behind + 1)) == 125
        ):
            return 0
        behind += 2
    else:  # \,
        if not (behind < size and load8(address + u64(behind)) == 44):
            return 0
        behind += 1
    for i in range(behind, behind + 3):
        if i >= size or not is_digit(load8(address + u64(i))):
            return 0
    if behind + 3 < size and is_digit(load8(address + u64(behind + 3))):
        return 0
    return behind - at


@compiled
def command(address, at, behind, names, places):
    """Which characters a command leaves: first and last place; those of a break if unknown."""
    total, power = u64(0), u64(1)
    for i in range(at, behind):
        total += (load8(address + u64(i)) + u64(1)) * power
        power *= STEP
    slot = (total * CAST) >> u64(56)
    while names[slot] != 0 and names[slot] != total:
        slot = (slot + u64(1)) & u64(COMMANDS - 1)
    return places[slot]


@compiled
def decoded(address, at, first):
    """The code point of several bytes, and how many they are."""
    more = 1 if first < 0xE0 else 2 if first < 0xF0 else 3
    code = first & u64(0x3F >> more)
    for i in range(1, more + 1):
        code = (code << u64(6)) | (load8(address + u64(at + i)) & u64(0x3F))
    return np.int64(code), more + 1


@inlined
def settled(h):
    """A token's polynomial with its bits mixed."""
    h ^= h >> u64(32)
    h *= MIX
    return h ^ (h >> u64(29))


@compiled
def tokenise(address, size, alphabet, hashes, numbers, starts, ends):
    """The tokens of a text: how many."""
    begins, kinds, codes, names, places, opening, closing = alphabet
    count = 0
    kind, h, power = np.uint8(BREAK), u64(0), u64(1)
    start, end = 0, 0
    i = 0
    while i < size:
        byte = load8(address + u64(i))
        code = np.int64(byte)
        behind = i + 1
        if byte >= 128:
            code, width = decoded(address, i, byte)
            behind = i + width
        at = min(code, np.int64(TOP))
        first, last = begins[at], begins[at + 1]
        if byte == 44 or byte == 123 or byte == 92:
            gap = separator(address, i, size)
            if gap:
                i += gap
                continue
        if byte == 92:
            while behind < size and is_letter(load8(address + u64(behind))):
                behind += 1
            if behind > i + 1:
                first, last = command(address, i + 1, behind, names, places)
        elif byte == 91 and matches(address, i, size, opening):
            behind = i + opening.shape[0]
            while behind < size and not matches(address, behind, size, closing):
                behind += 1
            behind = min(behind + closing.shape[0], size)
        for q in range(first, last):
            one = kinds[q]
            if one == SILENT:
                continue
            if one != kind or one in (BREAK, ALONE):
                if kind != BREAK:
                    hashes[count] = settled(h)
                    numbers[count] = kind == DIGIT
                    starts[count] = start
                    ends[count] = end
                    count += 1
                kind, h, power, start = one, u64(0), u64(1), i
            if kind != BREAK:
                point = u64(code) if code >= TOP else u64(codes[q])
                h += (point + u64(1)) * power
                power *= STEP
                end = behind
        i = behind
    if kind != BREAK:
        hashes[count] = settled(h)
        numbers[count] = kind == DIGIT
        starts[count] = start
        ends[count] = end
        count += 1
    return count


@compiled
def spell(address, size, alphabet):
    """The tokens of one text: hashes, which are numbers, starts and ends."""
    room = ROOM * size + 16
    hashes, numbers = np.empty(room, np.uint64), np.empty(room, np.bool_)
    starts, ends = np.empty(room, np.int32), np.empty(room, np.int32)
    n = tokenise(address, size, alphabet, hashes, numbers, starts, ends)
    return hashes[:n].copy(), numbers[:n].copy(), starts[:n].copy(), ends[:n].copy()


@compiled
def anchored(hashes, numbers, count, length, masked, real, found):
    """The anchor at each token: how many. See `leaks.anchors`."""
    for i in range(count):
        masked[i] = ANY if numbers[i] else hashes[i]
    runs = max(count - length + 1, 0)
    for i in range(runs):
        found[i] = masked[i]
        real[i] = hashes[i]
    for j in range(1, length):
        for i in range(runs):
            found[i] = found[i] * STEP + masked[i + j]
            real[i] = real[i] * STEP + hashes[i + j]
    many = 0
    for i in range(min(length - 1, count)):
        many += numbers[i]
    for i in range(runs):
        many += numbers[i + length - 1]
        s = real[i] if 2 * many > length else found[i]
        many -= numbers[i]
        s ^= s >> u64(32)
        s *= MIX
        found[i] = s ^ (s >> u64(29))
    return runs


@compiled
def scan(addresses, sizes, alphabet, length, sieve, keys, places, items, positions):
    """All hits of texts in an index: rows of (text, token, item, token of the item), and tokens
    of each text.

    `sieve` has a bit for every anchor; `keys` is an open-addressing table of anchors, `places`
    where each one's postings lie among `items` and `positions`.
    """
    longest = sizes.max() if sizes.shape[0] else 0
    room = ROOM * longest + 16
    hashes, numbers = np.empty(room, np.uint64), np.empty(room, np.bool_)
    starts, ends = np.empty(room, np.int32), np.empty(room, np.int32)
    masked, real, found = (
        np.empty(room, np.uint64),
        np.empty(room, np.uint64),
        np.empty(room, np.uint64),
    )
    counts = np.empty(sizes.shape[0], np.int32)
    hits = np.empty((1024, 4), np.int32)
    n = 0
    mask = u64(keys.shape[0] - 1)
    for d in range(sizes.shape[0]):
        count = tokenise(addresses[d], sizes[d], alphabet, hashes, numbers, starts, ends)
        counts[d] = count
        for i in range(anchored(hashes, numbers, count, length, masked, real, found)):
            x = found[i]
            bit = x & u64(8 * sieve.shape[0] - 1)
            if not (sieve[bit >> u64(3)] >> np.uint8(bit & u64(7))) & 1:
                continue
            slot = (x >> u64(32)) & mask
            while keys[slot] != 0 and keys[slot] != x:
                slot = (slot + u64(1)) & mask
            if keys[slot] == 0:
                continue
            for p in range(places[slot, 0], places[slot, 1]):
                if n == hits.shape[0]:
                    more = np.empty((GROWTH * n, 4), np.int32)
                    more[:n] = hits
                    hits = more
                hits[n, 0] = d
                hits[n, 1] = i
                hits[n, 2] = items[p]
                hits[n, 3] = positions[p]
                n += 1
    return hits[:n].copy(), counts


@compiled
def aligned(item, text, length):
    """As `leaks.aligned`."""
    m = text.shape[0]
    lines = np.zeros((length + 1, m + 1), np.int64)
    run, before = np.zeros(m + 1, np.int64), np.zeros(m + 1, np.int64)
    for i in range(item.shape[0]):
        line, above = lines[(i + 1) % (length + 1)], lines[i % (length + 1)]
        back = lines[(i + 1 - length) % (length + 1)]
        run, before = before, run
        for j in range(1, m + 1):
            best = max(above[j], line[j - 1])
            run[j] = before[j - 1] + 1 if item[i] == text[j - 1] else 0
            if run[j] >= length:
                best = max(best, back[j - length] + length)
            if run[j] > length:
                best = max(best, above[j - 1] + 1)
            line[j] = best
    return lines[item.shape[0] % (length + 1), m]
