"""Texts searched for benchmark items: by numpy where they are few, by kernels where many."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tracecraft.curate.leaks import HINT, ROOM, TINY, Index, Leak, aligned, anchors, signs
from tracecraft.curate.minhash import COMPILE_BYTES, Views, spread, tasks
from tracecraft.curate.shingle import U64
from tracecraft.curate.tokens import Tokens, runs, tables, tokens

Found = list[list[Leak]]
Hits = NDArray[np.int32]
"""Rows of (text, token, item, token of the item)."""


def find(
    index: Index, texts: pl.Series, *, workers: int = 1, compiled: bool | None = None
) -> Found:
    """For each text what it shares with the items that it shares enough with to be looked at.

    Args:
        index: the items.
        texts: null is a text without tokens.
        workers: threads.
        compiled: by kernels or not, with the same result; None: by the size of the texts.
    """
    texts = texts.fill_null("")
    if compiled is None:
        compiled = int(texts.str.len_bytes().sum() or 0) > COMPILE_BYTES
    return (_Compiled if compiled else _Plain)(index, texts, workers).find()


class _Search:
    """One search: hits, then comparison. How tokens are found is the subclass's."""

    def __init__(self, index: Index, texts: pl.Series, workers: int) -> None:
        self.index, self.texts, self.workers = index, texts, workers

    def hits(self) -> tuple[Hits, NDArray[np.int32]]:
        """All hits; tokens of each text."""
        raise NotImplementedError

    def spell(self, text: int) -> Tokens:
        """The tokens of one text."""
        raise NotImplementedError

    def align(self, item: U64, text: U64, length: int) -> int:
        """`aligned`."""
        return aligned(item, text, length)

    def find(self) -> Found:
        found: Found = [[] for _ in range(len(self.texts))]
        hits, counts = self.hits()
        before, text, mine = -1, "", tokens("")
        for number, item, at, places in _met(hits, self.index):
            if number != before:
                before, text, mine = number, self.texts[number], self.spell(number)
            leak = self.index.compare(text, mine, item, at, places, self.align)
            if leak is not None:
                found[number].append(leak)
        most = max(self.index.short, default=0)
        for number in np.flatnonzero((counts > 0) & (counts <= most + ROOM)).tolist():
            found[number].extend(self._short(number))
        return found

    def _short(self, number: int) -> Iterator[Leak]:
        mine, light = self.spell(number), True
        for size, items in self.index.short.items():
            if len(mine.hashes) > (size if size < TINY else size + ROOM):
                continue
            for i, key in enumerate(runs(mine.hashes, size).tolist()):
                start, end = int(mine.starts[i]), int(mine.ends[i + size - 1])
                mine_signs = signs(self.texts[number].encode()[start:end].decode())
                for item in items.get(key, ()):
                    same = mine_signs == self.index.signs[item]
                    yield Leak(item, light, 1.0, 1.0, 1.0, 0, same, start, end)


class _Plain(_Search):
    def hits(self) -> tuple[Hits, NDArray[np.int32]]:
        keys, begins, items, places = self.index.postings
        rows: list[tuple[int, int, int, int]] = []
        counts = np.empty(len(self.texts), np.int32)
        for text in range(len(self.texts)):
            mine = self.spell(text)
            counts[text] = len(mine.hashes)
            found = anchors(mine, self.index.ngram)
            slot = np.searchsorted(keys, found)
            hit = np.flatnonzero(slot < len(keys))
            hit = hit[keys[slot[hit]] == found[hit]]
            for at in hit.tolist():
                span = slice(begins[slot[at]], begins[slot[at] + 1])
                rows.extend(
                    (text, at, i, p)
                    for i, p in zip(items[span].tolist(), places[span].tolist(), strict=True)
                )
        return np.array(rows, np.int32).reshape(-1, 4), counts

    def spell(self, text: int) -> Tokens:
        return tokens(self.texts[text])


class _Compiled(_Search):
    def __init__(self, index: Index, texts: pl.Series, workers: int) -> None:
        super().__init__(index, texts, workers)
        self.views = Views.of(texts)

    def hits(self) -> tuple[Hits, NDArray[np.int32]]:
        from tracecraft.curate import grams

        counts = np.empty(len(self.texts), np.int32)
        parts: dict[int, NDArray[np.int32]] = {}
        alphabet, index = tables(), self.index.tables

        def one(part: slice) -> None:
            some = self.views.part(part)
            found, counts[part] = grams.scan(
                some.addresses, some.sizes, alphabet, self.index.ngram, *index
            )
            found[:, 0] += part.start
            parts[part.start] = found

        spread(one, tasks(self.views.sizes), self.workers)
        empty = np.empty((0, 4), np.int32)
        return np.concatenate([empty, *(parts[start] for start in sorted(parts))]), counts

    def align(self, item: U64, text: U64, length: int) -> int:
        from tracecraft.curate import grams

        return int(grams.aligned(item, text, length))

    def spell(self, text: int) -> Tokens:
        from tracecraft.curate import grams

        address, size = self.views.addresses[text], self.views.sizes[text]
        return Tokens(*grams.spell(address, size, tables()))


def _met(
    hits: NDArray[np.int32], index: Index
) -> Iterator[tuple[int, int, NDArray[Any], NDArray[Any]]]:
    """Text, item and where their anchors meet, for all that meet in enough places."""
    hits = hits[np.lexsort((hits[:, 3], hits[:, 1], hits[:, 2], hits[:, 0]))]
    new = np.any(hits[1:, [0, 2]] != hits[:-1, [0, 2]], axis=1)
    borders = np.concatenate([[0], np.flatnonzero(new) + 1, [len(hits)]]) if len(hits) else [0]
    for a, b in pairwise(borders):
        text, item = int(hits[a, 0]), int(hits[a, 2])
        places = hits[a:b, 3]
        size = int(index.sizes[item])
        covered = np.zeros(size + index.ngram, np.bool_)
        for j in range(index.ngram):
            covered[places + j] = True
        if covered.sum() >= HINT * size:
            yield text, item, hits[a:b, 1], places
