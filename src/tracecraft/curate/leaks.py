"""An index of benchmark items, and which of them a text repeats.

Runs of `ngram` tokens (anchors) only propose where to look. An anchor counts any number as any
other, unless it is mostly numbers, so that a problem with other numbers is seen too. What decides
is how much of an item stands in the text, in order, within one stretch about as long as the item,
in runs of at least `RUN` tokens; and whether the numbers are the same. See `Leak.verdict`.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tracecraft.curate.shingle import U64
from tracecraft.curate.tokens import Tokens, digits_of, runs, tokens

RUN = 3
"""Tokens in a row that two texts must share for any of them to count."""
HINT = 0.25
"""Share of an item's tokens that anchors must cover before it is looked at."""
LIKE = 0.55
"""Share of an item's tokens, in any order and with any numbers, from which it is compared."""
SLACK = 16
"""Tokens by which the stretch may be longer than half again the item."""
LIGHT, WHOLE = 12.0, 0.9
"""An item that weighs less says so little that only `WHOLE` of it, signs and all, is a leak. What
an item weighs: its different telling words and numbers of several digits, and `SYMBOL` for each
other token."""
SYMBOL = 0.25
ALIKE = 0.8
"""Share of an item's tokens from which a text with other numbers is a paraphrase of it."""
LOST_DIGITS = 0.05
"""Share of an item's digits that may be missing where the problem is the same."""
ROOM = 24
"""Tokens that a text may have beside an item of fewer tokens than an anchor."""
TINY = 4
"""Items of fewer tokens than this are found only as a whole text."""
_DRAWING = re.compile(r"(?s)\[asy\].*?(?:\[/asy\]|\Z)")
_SIGNS = re.compile(r"[+\-\u2212\u2013]|\\(?:times|div|cup|cap|pm|mp|neq?)(?![A-Za-z])")
_WORDS = """a an and any are as at be been by can do does equal exactly following for from given has
have how if in into is it its let may must no not of on one only or per same such than that
the their them then there these this those to two was we were what when where which while
who whose will with you your all also each least most suppose show
answer answers box boxed compute determine enter evaluate express final find form give
possible put simplify solve submit value values write aligned align begin end"""
COMMON = frozenset(_WORDS.split())
"""Words that change from one typesetting of a problem to another, and say nothing of it."""


Align = Callable[[U64, U64, int], int]
"""`aligned`, plain or compiled."""


@dataclass(frozen=True, slots=True)
class Item:
    """One problem of a benchmark."""

    benchmark: str
    id: str
    text: str


class Leak(NamedTuple):
    """What a text shares with an item."""

    item: int
    light: bool
    """Whether the item says so little that nearly all of it must be there."""
    coverage: float
    """Share of the item's tokens found in order, numbers included."""
    likeness: float
    """The same, were all numbers equal."""
    digits: float
    """Share of the item's digits found in order; 1 for an item without any."""
    missing: int
    """Telling words of the item that the stretch does not have."""
    signs: bool
    """Whether plus, minus and the like are the same."""
    start: int
    """Byte offset of the first shared token; `end` lies behind the last."""
    end: int

    def verdict(self, coverage: float) -> Literal["repeats", "paraphrases"] | None:
        """Whether the text holds the item's problem, or its wording with other numbers."""
        needed = max(coverage, WHOLE) if self.light else coverage
        same = self.digits >= 1 - (0 if self.light else LOST_DIGITS)
        other = self.light and (self.missing or not self.signs)
        if self.coverage >= needed and same and not other:
            return "repeats"
        if self.likeness >= max(needed, ALIKE) and self.digits < 1:
            return "paraphrases"
        return None


def anchors(found: Tokens, length: int) -> U64:
    """The hash of every run of tokens; numbers count as equal unless the run is mostly numbers."""
    real, masked = runs(found.hashes, length), runs(found.masked, length)
    before = np.concatenate([[0], np.cumsum(found.numbers)])
    many = before[length:] - before[: max(len(before) - length, 0)]
    return np.where(2 * many > length, real, masked)


class Index:
    """Benchmark items, ready to be found in texts."""

    def __init__(self, items: Sequence[Item], ngram: int) -> None:
        self.items, self.ngram = list(items), ngram
        self.tokens = [tokens(item.text) for item in self.items]
        self.sizes = np.array([len(t.hashes) for t in self.tokens], np.int64)
        self.digits = [digits_of(i.text, t) for i, t in zip(self.items, self.tokens, strict=True)]
        self.signs = [signs(item.text) for item in self.items]
        self.telling = [_telling(i.text, t) for i, t in zip(self.items, self.tokens, strict=True)]
        pairs = zip(self.tokens, self.telling, strict=True)
        self.light = np.array([_weight(t, told) < LIGHT for t, told in pairs], np.bool_)
        self.short = self._short()

    @cached_property
    def postings(self) -> tuple[U64, NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]:
        """Distinct anchors, ascending; where the postings of each begin (and the end); items and
        token positions, anchor by anchor.
        """
        found = [anchors(t, self.ngram) for t in self.tokens]
        flat = np.concatenate([np.empty(0, np.uint64), *found])
        items = np.repeat(np.arange(len(found), dtype=np.int32), [len(f) for f in found])
        places = np.concatenate([np.empty(0, np.int64), *(np.arange(len(f)) for f in found)])
        order = np.argsort(flat, kind="stable")
        keys, begins = np.unique(flat[order], return_index=True)
        return keys, np.append(begins, len(flat)), items[order], places[order].astype(np.int32)

    @cached_property
    def tables(self) -> tuple[Any, ...]:
        """The postings as kernels read them: see `grams.scan`."""
        found, begins, items, places = self.postings
        bits = max(16, (16 * len(found)).bit_length())
        sieve = np.zeros(1 << (bits - 3), np.uint8)
        low = found & np.uint64((1 << bits) - 1)
        np.bitwise_or.at(
            sieve, low >> np.uint64(3), np.uint8(1) << (low & np.uint64(7)).astype("u1")
        )
        keys = np.zeros(1 << max(4, (2 * len(found)).bit_length()), np.uint64)
        spans = np.zeros((len(keys), 2), np.int64)
        mask = len(keys) - 1
        for i, x in enumerate(found.tolist()):
            slot = (x >> 32) & mask
            while keys[slot]:
                slot = (slot + 1) & mask
            keys[slot], spans[slot] = x, (begins[i], begins[i + 1])
        return sieve, keys, spans, items, places

    def _short(self) -> dict[int, dict[int, list[int]]]:
        """Items of fewer tokens than an anchor: length → hash of the whole → items."""
        found: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, (item, size) in enumerate(zip(self.tokens, self.sizes.tolist(), strict=True)):
            if 0 < size < self.ngram:
                found[size][int(runs(item.hashes, size)[0])].append(number)
        return found

    def compare(
        self, text: str, mine: Tokens, item: int, at: NDArray[Any], places: NDArray[Any],
        align: Align,
    ) -> Leak | None:  # fmt: skip
        """What a text shares with an item, given where their anchors met; None if too little.

        Args:
            text: the text.
            mine: its tokens.
            item: which item.
            at: tokens of the text at which anchors begin, ascending.
            places: the item's tokens at which the same anchors begin.
            align: `aligned`, plain or compiled.
        """
        theirs, size = self.tokens[item], int(self.sizes[item])
        low, high = stretch(at, places, size)
        part = mine.part(slice(low, min(high, len(mine.hashes))))
        if held(theirs.masked, part.masked).mean() < LIKE:
            return None
        likeness = align(theirs.masked, part.masked, RUN) / size
        coverage = align(theirs.hashes, part.hashes, RUN) / size
        wanted, there = self.digits[item], digits_of(text, part)
        near = np.flatnonzero(held(part.hashes, theirs.hashes))
        first, last = (near[0], near[-1]) if len(near) else (0, len(part.hashes) - 1)
        start, end = int(part.starts[first]), int(part.ends[last])
        span = text.encode()[start:end].decode()
        return Leak(
            item, bool(self.light[item]), coverage, likeness,
            align(wanted, there, 1) / len(wanted) if len(wanted) else 1.0,
            int((~among(self.telling[item], part.hashes)).sum()),
            signs(span) == self.signs[item],
            start, end,
        )  # fmt: skip


def aligned(item: U64, text: U64, length: int) -> int:
    """Tokens of the longest common subsequence made of runs of at least `length` tokens.

    Dynamic programme of LCSk++ (Pavetić, Žužić, Šikić 2014), one line of the table at a time.
    """
    width = len(text) + 1
    lines = [np.zeros(width, np.int64) for _ in range(length + 1)]
    run = np.zeros(width, np.int64)
    for i, one in enumerate(item):
        above, back = lines[i % (length + 1)], lines[(i + 1 - length) % (length + 1)]
        run[1:] = np.where(text == one, run[:-1] + 1, 0)
        line = above.copy()
        begun, longer = np.flatnonzero(run >= length), np.flatnonzero(run > length)
        line[begun] = np.maximum(line[begun], back[begun - length] + length)
        line[longer] = np.maximum(line[longer], above[longer - 1] + 1)
        lines[(i + 1) % (length + 1)] = np.maximum.accumulate(line)
    return int(lines[len(item) % (length + 1)][-1])


def stretch(at: NDArray[Any], places: NDArray[Any], size: int) -> tuple[int, int]:
    """The tokens of a text in which most anchors of one item lie, with room for all of it.

    Args:
        at: tokens of the text at which anchors begin, ascending.
        places: the item's tokens at which the same anchors begin.
        size: tokens of the item.
    """
    reach = size + size // 2 + SLACK
    behind = np.searchsorted(at, at + reach, side="right")
    first = int(np.argmax(behind - np.arange(len(at))))
    some = slice(first, int(behind[first]))
    shift = at[some] - places[some]
    low = max(int(shift.min()) - RUN, int(at[first]) - size - SLACK, 0)
    return low, min(int(shift.max()) + size + RUN, int(at[some][-1]) + size + SLACK)


def held(these: U64, others: U64) -> NDArray[np.bool_]:
    """Which of these tokens lie in runs of `RUN` tokens that the others have too."""
    length = min(RUN, len(these))
    found = among(runs(these, length), runs(others, length))
    covered = np.zeros(len(these), np.bool_)
    for j in range(length):
        covered[j : j + len(found)] |= found
    return covered


def among(these: U64, others: U64) -> NDArray[np.bool_]:
    """Which of these are among the others: `numpy.isin`, without its overhead for few."""
    if not len(others):
        return np.zeros(len(these), np.bool_)
    ordered = np.sort(others)
    place = np.searchsorted(ordered, these)
    place[place == len(ordered)] = 0
    found: NDArray[np.bool_] = ordered[place] == these
    return found


def signs(text: str) -> list[str]:
    """The plus, minus and like signs of a text, drawings left out."""
    return _SIGNS.findall(_DRAWING.sub("", text))


def _weight(found: Tokens, telling: U64) -> float:
    large = found.numbers & (found.ends - found.starts > 1)
    numbers = np.unique(found.hashes[large])
    other = len(found.hashes) - int((np.isin(found.hashes, telling) | large).sum())
    return len(telling) + len(numbers) + SYMBOL * other


def _telling(text: str, found: Tokens) -> U64:
    """The hashes of a text's words that say what it is about."""
    data = text.encode()
    spans = zip(found.starts.tolist(), found.ends.tolist(), strict=True)
    words = [data[start:end].decode().lower().lstrip("\\") for start, end in spans]
    told = [len(word) > 2 and word not in COMMON for word in words]
    return np.unique(found.hashes[np.array(told, np.bool_) & ~found.numbers])
