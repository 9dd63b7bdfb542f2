"""Compiled: JSON lines read where they lie; rows and the wanted columns found, nothing copied.

A line is checked as RFC 8259 has it. What this reader leaves to another (keys with escapes,
surrogates, depths beyond 64) or finds wrong is only marked: `lines.py` asks a full parser.
"""
# mypy: disable-error-code="no-untyped-def"

import numpy as np

from tracecraft.curate.jit import (
    beyond_mask,
    byte_mask,
    compiled,
    halting_mask,
    inlined,
    load8,
    load64,
    store8,
    store64,
    trailing_zeros,
)

u64 = np.uint64
ABSENT, PLAIN, ESCAPED, OTHER, NULL = 0, 1, 2, 3, 4
"""Kinds of a value: none; text as it stands; text with escapes; a number, true, false, an
object or a list; null."""
ODD = 1
"""State of a row that a full parser must look at."""
DEEPEST = 64
QUOTE, BACKSLASH = u64(34), u64(92)
BACKSLASHES = u64(0x5C5C5C5C5C5C5C5C)
ONES, HIGHS = u64(0x0101010101010101), u64(0x8080808080808080)
VALUE, FIRST_VALUE, FIRST_KEY, KEY, AFTER = 0, 1, 2, 3, 4


@inlined
def blank(c):
    return c == 32 or c == 9 or c == 13


@inlined
def is_hex(c):
    return (48 <= c <= 57) or (65 <= (c & ~u64(32)) <= 70)


@compiled
def text_end(p, end):
    """Where the closing quote of a string is whose first byte is at `p`, and whether it holds
    escapes; 0 if this reader cannot tell.
    """
    escaped = False
    while p < end:
        halts = halting_mask(p)
        if halts == 0:
            p += u64(64)
            continue
        p += trailing_zeros(halts)
        if p >= end:
            break
        c = load8(p)
        if c == QUOTE:
            return p, escaped
        if c != BACKSLASH:
            break
        escaped = True
        c = load8(p + u64(1))
        p += u64(2)
        if c == 117:  # \u: four digits, no surrogate
            for k in range(4):
                if not is_hex(load8(p + u64(k))):
                    return u64(0), escaped
            if (load8(p) | u64(32)) == 100 and load8(p + u64(1)) >= 56:
                return u64(0), escaped
            p += u64(4)
        elif not (c == 34 or c == 92 or c == 47 or c == 98 or c == 102 or c == 110 or c == 114
                  or c == 116):  # fmt: skip
            break
    return u64(0), escaped


@compiled
def digits(p):
    while 48 <= load8(p) <= 57:
        p += u64(1)
    return p


@compiled
def scalar_end(p):
    """Behind a number, true, false or null; 0 if it is none."""
    word = load64(p)
    if (word & u64(0xFFFFFFFF)) in (u64(0x65757274), u64(0x6C6C756E)):
        return p + u64(4)
    if (word & u64(0xFFFFFFFFFF)) == u64(0x65736C6166):
        return p + u64(5)
    if load8(p) == 45:
        p += u64(1)
    first, start = load8(p), p
    p = digits(p)
    if p == start or (first == 48 and p > start + u64(1)):
        return u64(0)
    if load8(p) == 46:
        start = p + u64(1)
        p = digits(start)
        if p == start:
            return u64(0)
    if (load8(p) | u64(32)) == 101:
        p += u64(1)
        if load8(p) == 43 or load8(p) == 45:
            p += u64(1)
        start = p
        p = digits(start)
        if p == start:
            return u64(0)
    return p


@compiled
def key_number(p, q, names, borders):
    """Which of the names stands there; -1: none."""
    size = np.int64(q - p)
    for n in range(borders.shape[0] - 1):
        start = borders[n]
        if borders[n + 1] - start == size:
            same = True
            for k in range(size):
                same &= load8(p + u64(k)) == names[start + k]
            if same:
                return n
    return -1


@inlined
def blanks_end(p, end):
    while p < end and blank(load8(p)):
        p += u64(1)
    return p


@compiled
def key(p, end, names, borders):
    """Behind a key and its colon, and which of the names it is; 0 if this reader cannot tell."""
    q, escaped = text_end(p + u64(1), end)
    if q == 0 or escaped:
        return u64(0), -1
    colon = blanks_end(q + u64(1), end)
    if colon >= end or load8(colon) != 58:
        return u64(0), -1
    return colon + u64(1), key_number(p + u64(1), q, names, borders)


@compiled
def leaf(p, end):
    """Behind a value that holds no other, and its kind; 0 if it is none."""
    c = load8(p)
    if c == 34:
        q, escaped = text_end(p + u64(1), end)
        return q + u64(q != 0), ESCAPED if escaped else PLAIN
    q = scalar_end(p)
    return u64(0) if q > end else q, NULL if c == 110 else OTHER


@inlined
def closes(c, state, depth, objects):
    """Whether a byte ends the innermost object or list."""
    if state == AFTER:
        return depth > 0 and c == (125 if objects & u64(1) else 93)
    return (state == FIRST_KEY and c == 125) or (state == FIRST_VALUE and c == 93)


@compiled
def row(p, end, names, borders, at, sizes, kinds):
    """One line of one object: whether it is plainly right. Its columns' places are filled in."""
    kinds[:] = ABSENT
    depth, objects, state, name = 0, u64(0), VALUE, -1
    start = p
    while True:
        p = blanks_end(p, end)
        if p >= end:
            return depth == 0 and state == AFTER
        c, kind = load8(p), OTHER
        if closes(c, state, depth, objects):
            p += u64(1)
            depth -= 1
            objects >>= u64(1)
            state = AFTER
        elif state in (FIRST_KEY, KEY):
            p, number = key(p, end, names, borders) if c == 34 else (u64(0), -1)
            if p == 0:
                return False
            name = number if depth == 1 else name
            state = VALUE
            continue
        elif state == AFTER:
            if c != 44 or depth == 0:
                return False
            p += u64(1)
            state = KEY if objects & u64(1) else VALUE
            continue
        else:  # a value begins
            if depth == 1:
                start = p
            if c == 123 or c == 91:
                if depth == DEEPEST or (depth == 0 and c == 91):
                    return False
                depth += 1
                objects = (objects << u64(1)) | u64(c == 123)
                state = FIRST_KEY if c == 123 else FIRST_VALUE
                p += u64(1)
                continue
            if depth == 0:
                return False
            p, kind = leaf(p, end)
            if p == 0:
                return False
            state = AFTER
        if depth == 1 and name >= 0:
            text = kind in (PLAIN, ESCAPED)
            at[name] = start + u64(text)
            sizes[name] = np.int64(p - start) - 2 * text
            kinds[name] = kind
            name = -1


@compiled
def scan(base, size, names, borders, begins, spans, states, at, sizes, kinds):
    """All lines of some bytes, the last one ended or not: how many rows there are.

    There must be 64 bytes to read behind them, and rows for all. Blank lines are none.
    """
    rows, p, stop = 0, base, base + u64(size)
    while p < stop:
        end = p
        while end < stop:
            breaks = byte_mask(end, u64(10))
            if breaks != 0:
                end += trailing_zeros(breaks)
                break
            end += u64(64)
        end = min(end, stop)
        q = blanks_end(p, end)
        if q < end:
            begins[rows], spans[rows] = p, np.int64(end - p)
            right = row(q, end, names, borders, at[rows], sizes[rows], kinds[rows])
            states[rows] = 0 if right else ODD
            rows += 1
        p = end + u64(1)
    return rows


@compiled
def is_utf8(base, size):
    """Whether some bytes are UTF-8. There must be 64 bytes to read behind them."""
    i = 0
    while i < size:
        beyond = beyond_mask(base + u64(i))
        if beyond == 0:
            i += 64
            continue
        i += int(trailing_zeros(beyond))
        if i >= size:
            break
        c = load8(base + u64(i))
        more = 1 if 0xC2 <= c <= 0xDF else 2 if 0xE0 <= c <= 0xEF else 3 if 0xF0 <= c <= 0xF4 else 0
        if more == 0 or i + more >= size:
            return False
        d = load8(base + u64(i + 1))
        low = 0xA0 if c == 0xE0 else 0x90 if c == 0xF0 else 0x80
        high = 0x9F if c == 0xED else 0x8F if c == 0xF4 else 0xBF
        if d < low or d > high:
            return False
        for k in range(2, more + 1):
            if load8(base + u64(i + k)) >> u64(6) != 2:
                return False
        i += more + 1
    return True


@inlined
def hex_value(c):
    return c - u64(48) if c <= 57 else (c | u64(32)) - u64(87)


@compiled
def unescape(p, size, target):
    """Write the text of a string without its escapes: how many bytes. At most `size` + 8."""
    end, out = p + u64(size), target
    while p < end:
        word = load64(p)
        store64(out, word)
        found = word ^ BACKSLASHES
        found = (found - ONES) & ~found & HIGHS
        if found == 0:
            step = min(u64(8), end - p)
            p += step
            out += step
            continue
        step = trailing_zeros(found) >> u64(3)
        p += step
        out += step
        if p >= end:
            out -= p - end
            break
        c = load8(p + u64(1))
        p += u64(2)
        if c != 117:
            if c == 98:
                c = u64(8)
            elif c == 102:
                c = u64(12)
            elif c == 110:
                c = u64(10)
            elif c == 114:
                c = u64(13)
            elif c == 116:
                c = u64(9)
            store8(out, c)
            out += u64(1)
            continue
        code = u64(0)
        for k in range(4):
            code = (code << u64(4)) | hex_value(load8(p + u64(k)))
        p += u64(4)
        if code < 0x80:
            store8(out, code)
            out += u64(1)
        elif code < 0x800:
            store8(out, u64(0xC0) | (code >> u64(6)))
            store8(out + u64(1), u64(0x80) | (code & u64(63)))
            out += u64(2)
        else:
            store8(out, u64(0xE0) | (code >> u64(12)))
            store8(out + u64(1), u64(0x80) | ((code >> u64(6)) & u64(63)))
            store8(out + u64(2), u64(0x80) | (code & u64(63)))
            out += u64(3)
    return np.int64(out - target)


@compiled
def column(at, sizes, kinds, base, number, side, side_number, views, valid):
    """The cells of an Arrow string view: texts where they lie, those with escapes in `side`.

    Args are by row; `base` is where buffer `number` begins. Returns the bytes used of `side`.
    """
    used = 0
    side_base = u64(side.ctypes.data)
    for i in range(at.shape[0]):
        views[i] = 0
        valid[i] = kinds[i] != ABSENT and kinds[i] != NULL
        if not valid[i]:
            continue
        place, size, where, offset = at[i], sizes[i], number, np.int64(at[i] - base)
        if kinds[i] == ESCAPED:
            offset, where = np.int64(used), side_number
            size = unescape(place, size, side_base + u64(used))
            place = side_base + u64(used)
            used += int(size)
        views[i, 0] = size
        if size <= 12:
            for k in range(size):
                cell = 1 + (k >> 2)
                views[i, cell] |= np.uint32(load8(place + u64(k)) << u64(8 * (k & 3)))
            continue
        for k in range(4):
            views[i, 1] |= np.uint32(load8(place + u64(k)) << u64(8 * k))
        views[i, 2], views[i, 3] = where, offset
    return used
