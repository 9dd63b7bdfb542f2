"""One file of the completion ledger: written by one process, read by all.

A line is one completion in JSON. The index beside it says where the lines lie, so that a ledger
of a million completions opens without its texts being read. It is a hint: each record carries a
check of itself and of its line, and bytes that no good record names are read from the data.
"""

import logging
import os
import platform
import re
import time
import zlib
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import orjson

from tracecraft.errors import StoreError
from tracecraft.schema import Completion

log = logging.getLogger(__name__)

ENTRY = np.dtype(
    [
        ("high", "<u8"),
        ("low", "<u8"),
        ("offset", "<u8"),
        ("time", "<f8"),
        ("length", "<u4"),
        ("crc", "<u4"),
        ("check", "<u4"),
    ]
)
"""One line of a segment, 44 bytes: its key in two halves, its place, when it was written, its
CRC-32, and a check of all that. A key of zeros is a line that is never served: a failure."""

Entries = npt.NDArray[np.void]

_MIX = np.array(
    [
        0x9E3779B97F4A7C15,
        0xBF58476D1CE4E5B9,
        0x94D049BB133111EB,
        0xD6E8FEB86659FD93,
        0xA0761D6478BD642F,
    ],
    np.uint64,
)
"""The odd multipliers of splitmix64, xxmx and wyhash."""
_NOBODY = "0" * 32
_SYNC_SECONDS = 1.0
_BLOCK = 1 << 22
_WORTH_AN_INDEX = 10_000


class Place(NamedTuple):
    """Where a line lies, and in which segment of its reader."""

    segment: int
    offset: int
    time: float
    length: int
    crc: int


class Segment:
    """One process's file, as its readers see it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hints = path.with_suffix(".idx")
        self.hinted = True
        self.covered = 0
        """Bytes of data whose lines are known."""
        self.read = 0
        """Records of the index that were read."""

    def news(self) -> Entries | None:
        """The lines that came since the last call; None where the index is of other data."""
        # The index first: it is written after the data, so that all it names is there.
        hints = self._hints() if self.hinted else np.empty(0, ENTRY)
        size, fresh = self.path.stat().st_size, self.hinted and not self.covered
        if size <= self.covered:
            return np.empty(0, ENTRY)
        start = hints["offset"].astype(np.int64)
        end = start + hints["length"]
        good = (hints["check"] == _check(hints)) & (start >= self.covered) & (end <= size)
        hints, start, end = hints[good], start[good], end[good]
        before = np.concatenate([[self.covered], end])
        holes = [(int(before[i]), int(start[i])) for i in np.flatnonzero(start > before[:-1])]
        found = [hints]
        fits = bool((start >= before[:-1]).all())
        for first, last in holes:
            lines, reached = self._scan(first, last)
            fits = fits and reached == last  # each record's line follows another's line feed
            found.append(lines)
        if not fits:
            return None
        lines, self.covered = self._scan(int(before[-1]), size)
        found.append(lines)
        scanned = sum(map(len, found[1:]))
        entries: Entries = np.concatenate(found)
        if fresh and scanned > _WORTH_AN_INDEX:
            self._hint(entries[np.argsort(entries["offset"], kind="stable")])
        return entries

    def reread(self) -> Entries:
        """All lines, from the data; the index is not asked again."""
        self.hinted = False
        entries, self.covered = self._scan(0, self.path.stat().st_size)
        return entries

    def _hints(self) -> Entries:
        with suppress(FileNotFoundError), self.hints.open("rb") as file:
            file.seek(self.read * ENTRY.itemsize)
            data = file.read()
            count = len(data) // ENTRY.itemsize
            self.read += count
            return np.frombuffer(data, ENTRY, count)
        return np.empty(0, ENTRY)

    def _scan(self, first: int, last: int) -> tuple[Entries, int]:
        """The whole lines between two offsets, and where the last of them ends."""
        rows = []
        with self.path.open("rb") as file:
            file.seek(first)
            for line in _lines(file, last - first):
                with suppress(KeyError, TypeError, ValueError):
                    row = orjson.loads(line)
                    key = row["key"] if _completion(row).finish != "failed" else _NOBODY
                    when = float(row["time"])
                    rows.append((*halves(key), first, when, len(line), zlib.crc32(line), 0))
                first += len(line)
        entries = np.array(rows, ENTRY)
        entries["check"] = _check(entries)
        return entries, first

    def _hint(self, entries: Entries) -> None:
        """Leave a whole index for the next reader, where the folder lets us."""
        draft = self.hints.with_suffix(f".{os.getpid()}.tmp")
        with suppress(OSError):
            draft.write_bytes(entries.tobytes())
            draft.replace(self.hints)
            self.read = len(entries)


class Writer:
    """The one process that appends to a segment."""

    def __init__(self, folder: Path) -> None:
        self.process = os.getpid()
        self.end = self.count = 0
        self.torn = False
        start = f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}"
        host = re.sub(r"[^A-Za-z0-9]+", "_", platform.node()) or "host"
        self.path = folder / f"{start}-{host}-{self.process}.jsonl"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.data = os.open(self.path, flags, 0o644)
            self.hints: int | None = os.open(self.path.with_suffix(".idx"), flags, 0o644)
            _sync_folder(folder)
        except OSError as error:
            raise refused(folder, error) from error
        self.synced = time.monotonic()

    def append(self, key: str, completion: Completion, teacher: str) -> Place:
        """Write one line; where it lies (in segment 0: the caller knows which it is)."""
        now = time.time()
        row: dict[str, Any] = {
            "key": key,
            "text": completion.text,
            "finish": completion.finish,
            "prompt_tokens": completion.prompt_tokens,
            "completion_tokens": completion.completion_tokens,
            "teacher": teacher,
            "time": now,
        }
        if completion.error is not None:
            row["error"] = completion.error
        line = orjson.dumps(row) + b"\n"
        self._write(line)
        crc = zlib.crc32(line)
        owner = halves(key if completion.finish != "failed" else _NOBODY)
        place = Place(0, self.end, now, len(line), crc)
        self.end += len(line)
        self._note((*owner, *place[1:], 0))
        if time.monotonic() - self.synced >= _SYNC_SECONDS:
            self._sync()
        return place

    def _write(self, line: bytes) -> None:
        try:
            if self.torn:
                os.write(self.data, b"\n")
                self.end, self.torn = self.end + 1, False
            rest = line
            while rest:
                rest = rest[os.write(self.data, rest) :]
        except OSError as error:
            self._undo()
            raise refused(self.path, error) from error

    def _undo(self) -> None:
        """Take back half a line; where even that is refused, the next one starts afresh."""
        try:
            os.ftruncate(self.data, self.end)
        except OSError:
            size = os.fstat(self.data).st_size
            self.torn, self.end = size > self.end, size

    def _note(self, row: tuple[float, ...]) -> None:
        """Write the line's index record; a disk that refuses it ends the index, not the work."""
        if self.hints is None:
            return
        entry = np.array([row], ENTRY)
        entry["check"] = _check(entry)
        try:
            whole = os.write(self.hints, entry.tobytes()) == ENTRY.itemsize
        except OSError:
            whole = False
        if whole:
            self.count += 1
        else:
            os.close(self.hints)
            self.hints = None

    def _sync(self) -> None:
        try:
            os.fsync(self.data)
        except OSError as error:
            raise refused(self.path, error) from error
        self.synced = time.monotonic()

    def close(self) -> None:
        self._sync()
        os.close(self.data)
        if self.hints is not None:
            os.close(self.hints)


def halves(key: str) -> tuple[int, int]:
    """A key of 32 hex digits as two numbers of 64 bits."""
    if len(key) != 32:
        raise ValueError(f"a completion's key is 32 hex digits, not {key!r}")
    return int(key[:16], 16), int(key[16:], 16)


def read_line(line: bytes, key: str, place: Place) -> Completion | None:
    """The completion in a line, or None where it is not the line that the index names."""
    if len(line) != place.length or zlib.crc32(line) != place.crc:
        return None
    row = orjson.loads(line)
    return _completion(row) if row["key"] == key else None


def _completion(row: Any) -> Completion:
    return Completion(row["text"], row["finish"], row["prompt_tokens"], row["completion_tokens"])


def _check(entries: Entries) -> npt.NDArray[np.uint32]:
    """32 bits over all other fields of each record, never zero for a record of zeros."""
    size = entries["length"].astype(np.uint64) << np.uint64(32) | entries["crc"]
    words = (entries["high"], entries["low"], entries["offset"], entries["time"].view("<u8"), size)
    mixed = np.full(len(entries), _MIX[0], np.uint64)
    for word, factor in zip(words, _MIX, strict=True):
        mixed = (mixed ^ word) * factor
        mixed ^= mixed >> np.uint64(29)
    check: npt.NDArray[np.uint32] = (mixed >> np.uint64(32)).astype(np.uint32)
    return check


def _lines(file: Any, size: int) -> Iterator[bytes]:
    """The lines of the next `size` bytes that end in a line feed, with it."""
    rest = b""
    while size > 0 and (block := file.read(min(_BLOCK, size))):
        size -= len(block)
        *whole, rest = (rest + block).split(b"\n")
        yield from (line + b"\n" for line in whole)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def refused(path: Path, error: OSError) -> StoreError:
    """What to raise where the disk says no."""
    return StoreError(
        f"{path}: {(error.strerror or str(error)).lower()}"
        "\n  next   make room, or make the folder writable, and run again:"
        " what was answered is kept and not asked again"
    )
