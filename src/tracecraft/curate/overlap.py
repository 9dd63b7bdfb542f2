"""The compiled kernel that compares texts: the exact Jaccard similarity of candidate pairs."""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from tracecraft.curate.jit import compiled, inlined
from tracecraft.curate.shingle import CAST
from tracecraft.curate.sketch import EDGES, PAD, shingled

u64 = np.uint64
READY = True
SHELF = 256
"""Texts whose shingles are at hand, so that a small cluster is parsed once."""
SHELF_ROOM = 1 << 22
"""Shingles that the shelf has room for, at most."""


@inlined
def root(parents, x):
    while parents[x] != x:
        parents[x] = parents[parents[x]]
        x = parents[x]
    return x


@inlined
def slot_of(table, values, shingle):
    """Where a shingle's number is in a table of a power-of-two size, or where it belongs."""
    mask = u64(table.shape[0] - 1)
    slot = (shingle * CAST) & mask
    while table[slot] >= 0 and values[u64(table[slot])] != shingle:
        slot = (slot + u64(1)) & mask
    return slot


@compiled
def entered(found, count, table, values, marks):
    """Number shingles in the order of their first standing: how many differ.

    `values` gets each, `marks` a 0 for each, and the emptied `table` their numbers.
    """
    table[:] = -1
    different = 0
    for i in range(count):
        x = found[u64(i)]
        slot = slot_of(table, values, x)
        if table[slot] < 0:
            table[slot] = different
            values[u64(different)] = x
            marks[u64(different)] = 0
            different += 1
    return different


@compiled
def shared(found, count, table, values, marks, used, alone, turn, most):
    """What a text shares with the one whose `alone` shingles were `entered`, in turn `turn`.

    Two alike texts run in step, so a shingle is looked for behind the last one first, and in the
    table only where it is not there; new ones are added behind the `used`. Returns how many
    different ones there are, how many of them are shared, and how many are used now. Gives up,
    with -1 shared, as soon as more than `most` are not.
    """
    different, common, next_one = 0, 0, 0
    for i in range(count):
        x = found[u64(i)]
        if next_one < alone and values[u64(next_one)] == x:
            number = next_one
        else:
            slot = slot_of(table, values, x)
            number = int(table[slot])
            if number < 0:
                number = used
                table[slot] = number
                values[u64(number)] = x
                marks[u64(number)] = 0
                used += 1
        next_one = number + 1 if number < alone else next_one + 1
        if marks[u64(number)] != turn:
            marks[u64(number)] = turn
            different += 1
            common += number < alone
            if different - common > most:
                return different, -1, used
    return different, common, used


@compiled
def compare(addresses, sizes, lower, ngram, left, right, parents, threshold, out):
    """The exact similarity of each pair; 0 as soon as it is sure that it is below the threshold,
    -1 where the two were tied already by other pairs.

    Pairs come sorted by `left`, so that its table is built once. `parents` is a union-find
    forest over the texts: pairs that reach the threshold are joined. An empty one joins nothing.
    """
    longest = sizes.max() if sizes.shape[0] else 0
    most = longest // 2 + 2
    scratch = np.empty(longest + PAD, np.uint8)
    edges = np.empty(longest + EDGES, np.int32)
    hashes = np.empty(most, np.uint64)
    places = max(2, min(SHELF, SHELF_ROOM // most))
    shelf = np.empty((places, most), np.uint64)
    kept = np.full(places, -1, np.int64)
    counts = np.zeros(places, np.int64)
    room = 16
    while room < 2 * longest + 16:
        room *= 2
    table, marks = np.empty(room, np.int32), np.empty(room, np.int32)
    values = np.empty(room, np.uint64)
    size, used, turn, at, alone = 16, 0, 0, np.int64(-1), 0
    for p in range(left.shape[0]):
        x, y = left[p], right[p]
        if parents.shape[0] and root(parents, x) == root(parents, y):
            out[p] = -1.0
            continue
        i, j = x % places, y % places
        if i == j:  # both would lie in one place
            j = (j + 1) % places
        for place, text in ((i, x), (j, y)):
            if kept[place] != text:
                kept[place] = text
                counts[place] = shingled(
                    addresses[text], sizes[text], lower, READY, ngram,
                    scratch, edges, hashes, shelf[place],
                )  # fmt: skip
        if x != at or used + counts[j] > size // 2:  # full of those it met, or of another's
            size = 16
            while size < 2 * (counts[i] + counts[j]):
                size *= 2
            alone = entered(shelf[i], counts[i], table[:size], values, marks)
            at, used, turn = x, alone, 0
        turn += 1
        limit = np.int64(alone / threshold) - alone + 1 if threshold > 0 else longest
        different, common, used = shared(
            shelf[j], counts[j], table[:size], values, marks, used, alone, turn, limit
        )
        if common < 0:
            out[p] = 0.0
            continue
        out[p] = common / (alone + different - common) if alone + different else 0.0
        if parents.shape[0] and out[p] >= threshold:
            a, b = root(parents, x), root(parents, y)
            parents[max(a, b)] = min(a, b)
