"""The completion ledger: every completion ever paid for, keyed by what asked for it.

One folder, shared by all runs and hosts of a store. Each process appends to a segment of its
own, so that two writers can never tear each other's records; readers see all segments.

    <start>-<host>-<pid>.jsonl   one completion a line: the record
    <start>-<host>-<pid>.idx     where the lines lie: a hint (see `segment.py`)

A line is written the moment its completion arrives, so SIGKILL loses what was in flight and
nothing else; it is synced to the disk at most once a second and at the end, so a power cut
loses little. A line that was cut short is owed again, never a crash.
"""

import logging
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from tracecraft.schema import Completion
from tracecraft.segment import Entries, Place, Segment, Writer, halves, read_line, refused

log = logging.getLogger(__name__)

_PLACE = np.dtype(
    [
        ("low", "<u8"),
        ("segment", "<u4"),
        ("offset", "<u8"),
        ("time", "<f8"),
        ("length", "<u4"),
        ("crc", "<u4"),
    ]
)
"""A served completion in memory, 36 bytes; the high half of its key is a column of its own."""
_OPEN_FILES = 64
_FEW = 1 << 16
_NOWHERE = Place(-1, 0, 0.0, 0, 0)


class Completions:
    """Look up and file completions; threads may share one, and a forked process gets its own.

    Of two completions with one key the older is served, whoever wrote it, so that what a
    finished stage was made from is what it will be made from again.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """Open the ledger in `folder`, which the first `put` makes; None keeps it in memory."""
        self.folder = folder
        self._segments: list[Segment] = []
        self._number: dict[str, int] = {}
        self._high: npt.NDArray[np.uint64] = np.empty(0, np.uint64)
        self._places: Entries = np.empty(0, _PLACE)
        self._recent: dict[str, Place] = {}
        self._memory: dict[str, Completion] = {}
        self._files: dict[int, int] = {}
        self._writer: Writer | None = None
        self._lock = threading.RLock()
        self.refresh()

    def __reduce__(self) -> tuple[type[Self], tuple[Path | None]]:
        return type(self), (self.folder,)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __len__(self) -> int:
        with self._lock:
            self._merge([])
            return len(self._places) + len(self._memory)

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._memory or self._find(key) is not None

    def get(self, key: str) -> Completion | None:
        """The completion filed under `key` (32 hex digits), or None: it is owed.

        Raises:
            StoreError: the segment that holds it can't be read.
        """
        with self._lock:
            place = self._find(key)
            if place is None:
                return self._memory.get(key)
            completion = self._read(key, place)
            if completion is None and self._segments[place.segment].hinted:
                self._rescan(place.segment)
                return self.get(key)
            return completion

    def get_many(self, keys: Iterable[str]) -> list[Completion | None]:
        """`get` for each key, in order; the files are read in theirs."""
        keys = list(keys)
        found: list[Completion | None] = [None] * len(keys)
        with self._lock:
            places = [self._find(key) for key in keys]
            for at in sorted(range(len(keys)), key=lambda at: places[at] or _NOWHERE):
                place = places[at]
                found[at] = self._read(keys[at], place) if place else None
                if found[at] is None:
                    found[at] = self.get(keys[at])
        return found

    def put(self, key: str, completion: Completion, teacher: str = "") -> None:
        """File a completion. A failed one is on record but never served: it stays owed.

        Raises:
            StoreError: the disk refused; what was filed before is safe.
        """
        with self._lock:
            if self.folder is None:
                if completion.finish != "failed":
                    self._memory.setdefault(key, completion)
                return
            if self._writer is None or self._writer.process != os.getpid():
                self._writer = Writer(self.folder)
                self._adopt(self._writer.path)
            own = self._segments[self._number[self._writer.path.name]]
            entry = self._writer.append(key, completion, teacher)
            own.covered, own.read = self._writer.end, self._writer.count
            if completion.finish != "failed":
                self._add(key, entry._replace(segment=self._number[own.path.name]))
                if len(self._recent) > _FEW:
                    self._merge([])

    def refresh(self) -> None:
        """See what other processes have filed since.

        Raises:
            StoreError: the folder or a segment can't be read.
        """
        if self.folder is None or not self.folder.exists():
            return
        with self._lock:
            try:
                for path in sorted(self.folder.glob("*.jsonl")):
                    if path.name not in self._number:
                        self._adopt(path)
                news = [(i, s.news()) for i, s in enumerate(self._segments)]
            except OSError as error:
                raise refused(self.folder, error) from error
            self._welcome([(i, lines) for i, lines in news if lines is not None and len(lines)])
            for i, lines in news:
                if lines is None:
                    self._rescan(i)

    def close(self) -> None:
        """Sync what was written and let go of all files; a later `put` starts a new segment."""
        with self._lock:
            for file in self._files.values():
                os.close(file)
            self._files.clear()
            if self._writer is not None and self._writer.process == os.getpid():
                self._writer.close()
            self._writer = None

    # ── the index: a sorted array, and a dict of what came since ──

    def _find(self, key: str) -> Place | None:
        recent = self._recent.get(key)
        if recent is not None or not len(self._high):
            return recent
        high, low = halves(key)
        at = int(self._high.searchsorted(np.uint64(high)))
        while at < len(self._high) and self._high[at] == high:
            place = self._places[at]
            if place["low"] == low:
                return Place(*place.item()[1:])
            at += 1
        return None

    def _adopt(self, path: Path) -> None:
        self._number[path.name] = len(self._segments)
        self._segments.append(Segment(path))

    def _add(self, key: str, place: Place) -> None:
        known = self._find(key)
        if known is None or (place.time, place.segment) < (known.time, known.segment):
            self._recent[key] = place

    def _welcome(self, news: list[tuple[int, Entries]]) -> None:
        if sum(len(entries) for _, entries in news) + len(self._recent) > _FEW:
            self._merge(news)
            return
        for segment, entries in news:
            for high, low, offset, when, length, crc, _ in entries.tolist():
                if high or low:
                    self._add(f"{high:016x}{low:016x}", Place(segment, offset, when, length, crc))

    def _merge(self, news: list[tuple[int, Entries]]) -> None:
        """All places in one sorted array; the oldest of each key stays."""
        recent = np.empty(len(self._recent), _PLACE)
        recent_high = np.empty(len(self._recent), np.uint64)
        for i, (key, place) in enumerate(self._recent.items()):
            recent_high[i], low = halves(key)
            recent[i] = (low, *place)
        highs, places = [self._high, recent_high], [self._places, recent]
        for segment, entries in news:
            table = np.empty(len(entries), _PLACE)
            for name in ("low", "offset", "time", "length", "crc"):
                table[name] = entries[name]
            table["segment"] = segment
            highs.append(np.ascontiguousarray(entries["high"]))
            places.append(table)
        high, table = np.concatenate(highs), np.concatenate(places)
        order = np.lexsort((table["offset"], table["segment"], table["time"], table["low"], high))
        high, table = high[order], table[order]
        keep = (high != 0) | (table["low"] != 0)
        keep[1:] &= (high[1:] != high[:-1]) | (table["low"][1:] != table["low"][:-1])
        self._high, self._places = high[keep], table[keep]
        self._recent.clear()

    # ── the texts ──

    def _read(self, key: str, place: Place) -> Completion | None:
        segment = self._segments[place.segment]
        try:
            if place.segment not in self._files:
                if len(self._files) >= _OPEN_FILES:
                    os.close(self._files.pop(next(iter(self._files))))
                self._files[place.segment] = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
            line = os.pread(self._files[place.segment], place.length, place.offset)
        except OSError as error:
            raise refused(segment.path, error) from error
        return read_line(line, key, place)

    def _rescan(self, number: int) -> None:
        """Forget what the index says of a segment, and read its lines."""
        segment = self._segments[number]
        log.warning("%s does not fit its data; reading the data", segment.hints.name)
        self._merge([])
        keep = self._places["segment"] != number
        self._high, self._places = self._high[keep], self._places[keep]
        self._welcome([(number, segment.reread())])
