"""The band keys of all texts: in memory while they are few, else in files, a bucket range each."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tracecraft.curate.lsh import Ints
from tracecraft.curate.shingle import MIX, U64

KEYS_BYTES = 1 << 28
"""Keys that may lie in memory: those of 1.6 million texts at 21 bands."""
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
        twist = np.arange(1, self.bands + 1, dtype=np.uint64)[:, None] * MIX
        start = self.texts - sum(keys.shape[1] for keys in self._held)
        for keys in self._held:
            flat = (keys ^ twist).ravel()
            texts = np.tile(np.arange(start, start + keys.shape[1], dtype=np.uint64), self.bands)
            start += keys.shape[1]
            part = (flat >> _SHIFT).astype(np.uint8)
            order = np.argsort(part, kind="stable")
            entries = np.stack([flat[order], texts[order]], axis=1)
            borders = np.searchsorted(part[order], np.arange(RANGES + 1))
            for number in np.unique(part).tolist():
                with (self._folder / f"{number}").open("ab") as file:
                    file.write(entries[borders[number] : borders[number + 1]].data)
        self._held.clear()
