"""The band keys of all texts: in memory while they are few, else in files, a bucket range each."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tracecraft.curate.lsh import Ints
from tracecraft.curate.shingle import MIX, U64

KEYS_BYTES = 1 << 27
"""Keys that may lie in memory: those of 800,000 texts at 21 bands."""
AT_ONCE = 4
"""Bands that are sorted into files together."""
RANGES = 256
"""Files that keys beyond it are spread over, by their first eight bits."""
_SHIFT = np.uint64(56)


class Bands:
    """Keys of texts 0, 1, 2, … as they come, given back so that equal ones are together.

    Texts share a bucket if their keys of one band are equal. In memory a part is a band; on
    disk it is a range of keys of all bands, told apart by a twist of each band's own, so that
    only one part of `RANGES` is ever read at a time. Buckets, and with them all results, are
    the same.
    """

    def __init__(self, bands: int, scratch: Path | None, *, spilt: bool = False) -> None:
        self.bands, self.scratch = bands, scratch
        self.texts = 0
        self._held: list[U64] = []
        self._opened = contextlib.ExitStack()
        self._folder: Path | None = None
        if spilt:
            self._spill()

    def __enter__(self) -> "Bands":
        return self

    def __exit__(self, *error: object) -> None:
        self._held.clear()
        self._opened.close()

    @property
    def spilt(self) -> bool:
        """Whether they lie on disk."""
        return self._folder is not None

    def add(self, keys: U64) -> None:
        """The keys of the next texts: bands × texts."""
        self._held.append(keys)
        self.texts += keys.shape[1]
        if self.spilt or self.texts * self.bands * 8 > KEYS_BYTES:
            self._spill()

    def parts(self) -> Iterator[tuple[U64, Ints]]:
        """Keys and the texts they are of; equal keys of one band are in one part."""
        if self._folder is None:
            number = np.arange(self.texts)
            for band in range(self.bands):
                none = np.empty(0, np.uint64)
                yield np.concatenate([none, *(keys[band] for keys in self._held)]), number
            return
        for part in range(RANGES):
            path = self._folder / f"{part}"
            entries = np.fromfile(path, np.uint64) if path.exists() else np.empty(0, np.uint64)
            half = entries.reshape(-1, 2)
            yield half[:, 0], half[:, 1].astype(np.int64)

    def _spill(self) -> None:
        if self._folder is None:
            if self.scratch is not None:
                self.scratch.mkdir(parents=True, exist_ok=True)
            made = tempfile.TemporaryDirectory(prefix="bands-", dir=self.scratch)
            self._folder = Path(self._opened.enter_context(made))
        start = self.texts - sum(keys.shape[1] for keys in self._held)
        for keys in self._held:
            for first in range(0, self.bands, AT_ONCE):
                self._file(keys[first : first + AT_ONCE], first, start)
            start += keys.shape[1]
        self._held.clear()

    def _file(self, keys: U64, band: int, start: int) -> None:
        """Put the keys of some bands, from `band` on, of texts from `start` on into their files."""
        assert self._folder is not None
        count, texts = keys.shape
        twist = np.arange(band + 1, band + count + 1, dtype=np.uint64)[:, None] * MIX
        flat = (keys ^ twist).ravel()
        part = (flat >> _SHIFT).astype(np.uint8)
        order = np.argsort(part, kind="stable")
        borders = np.searchsorted(part[order], np.arange(RANGES + 1))
        entries = np.empty((len(flat), 2), np.uint64)
        entries[:, 0] = flat[order]
        entries[:, 1] = start + order % max(texts, 1)
        for number in np.flatnonzero(np.diff(borders)).tolist():
            with (self._folder / f"{number}").open("ab") as file:
                file.write(entries[borders[number] : borders[number + 1]].data)
