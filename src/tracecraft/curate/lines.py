"""JSON lines deduplicated where they lie: texts are read in the mapped file, survivors copied.

Only the wanted columns become cells, and those point into the file; a line that survives is
written as it stood, byte by byte. What this way does not serve says so, and `Files` reads it.
"""

import mmap
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from tracecraft.curate import shape
from tracecraft.curate.corpus import HELD_BYTES
from tracecraft.curate.dedupe import IDS, Dedupe
from tracecraft.curate.formats import RECODE, fault, parsed
from tracecraft.schema import DROPPED
from tracecraft.stage import Desk
from tracecraft.store import replacing

Ints = NDArray[np.int64]

LEAST_BYTES = 32_000_000
"""Of a file from which this way is worth the loading, and at first the making, of its kernels."""
PIECE_BYTES = 1 << 22
"""What one task reads; lines are not cut."""
BUFFER_BYTES = 1 << 30
"""Of the file, in one Arrow buffer: a cell points with 31 bits."""
PARTS = 512
"""Runs of lines that are written at a time: one call for each costs twice as much."""
PAD = 64
"""Bytes a kernel may read behind what it is given."""
LEAST_ROW = 8
"""Bytes: fewer are no row with a text."""
KNOWN = ("longest", "shortest", "first", "verified")
"""Words of `keep` that need no column but these: `outcome`, and what is compared."""
LINE = "line"
"""The row as it stands, for rows that are equal in all that is asked."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a file's rows."""

    rows: int
    dropped: int


@dataclass(frozen=True, slots=True)
class Piece:
    """Some lines: their bytes and their rows."""

    begin: int
    """In the file."""
    held: NDArray[np.uint8]
    begins: Ints
    """Of each row, from `begin` on."""
    spans: Ints
    states: NDArray[np.uint8]
    at: Ints
    """Columns of rows: where a value is, from `begin` on."""
    sizes: Ints
    kinds: NDArray[np.uint8]
    """See `jsonscan`; columns that a stage adds stand behind those it reads."""

    @property
    def marked(self) -> NDArray[np.bool_]:
        """Rows that need a full parser to be marked: odd, empty, or marked before."""
        added = self.kinds[:, -len(Dedupe.writes) :]
        marked: NDArray[np.bool_] = (added != 0).any(axis=1)
        marked |= (self.states != 0) | (self.spans < LEAST_ROW)
        return marked


def dedupe(
    source: Path, into: Path, dropped: Path, stage: Dedupe, desk: Desk | None = None
) -> Counts | None:
    """Write the rows that survive `into` a file, the others with their survivor to `dropped`.

    Returns:
        None, with nothing written, if the file or the stage needs another way: small or packed
        files, columns compared that are no text, survivors chosen by SQL.

    Raises:
        DataError: `file:line: what; what next`.
    """
    small = source.is_file() and source.stat().st_size < LEAST_BYTES
    if small or not set(stage.keep) <= set(KNOWN) or LINE in stage.column:
        return None
    lines = Lines.read(source, stage, (desk or Desk()).scratch)
    if lines is None:
        return None
    with stage.open(desk or Desk()):
        marks = stage.mark(lines.table.lazy())
    gone = marks[DROPPED].is_not_null().to_numpy()
    with ThreadPoolExecutor(2) as pool:
        tasks = (
            pool.submit(lines.write_kept, ~gone, into),
            pool.submit(lines.write_gone, gone, marks, dropped),
        )
    for task in tasks:
        task.result()
    return Counts(len(gone), int(gone.sum()))


class Lines:
    """A file of JSON lines as a table whose cells point into it."""

    def __init__(self, path: Path, pieces: Sequence[Piece], table: pl.DataFrame, data: Any) -> None:
        self.path, self.table, self.data = path, table, data
        self.begins = np.concatenate([piece.begin + piece.begins for piece in pieces])
        self.ends = self.begins + np.concatenate([piece.spans for piece in pieces])
        self.marked: NDArray[np.bool_] = np.concatenate([piece.marked for piece in pieces])

    @classmethod
    def read(cls, path: Path, stage: Dedupe, scratch: Path | None) -> "Lines | None":
        """The rows, with the columns a stage asks for; None: not to be read in this way."""
        asked = [*stage.column, "outcome", *IDS]
        asked += [name for name in (stage.within, stage.id) if name is not None]
        names = [name for name in dict.fromkeys(asked) if name not in stage.writes]
        if len(names) < len(set(asked)):
            return None
        try:
            with path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            return None
        if data[:1] not in (b"{", b" ", b"\t", b"\n", b"\r"):
            return None
        pieces = list(_pieces(path, data, [*names, *stage.writes], stage.workers))
        if not sum(len(piece.begins) for piece in pieces):
            return None
        kinds = np.concatenate([piece.kinds for piece in pieces])
        there = (kinds[:, : len(names)] % 4 != 0).any(axis=0)
        compared = [names.index(name) for name in stage.column]
        if not there[compared].all() or (kinds[:, compared] == 3).any():
            return None
        table = _table(pieces, names, there, data, scratch, stage.workers)
        return None if table is None else cls(path, pieces, table, data)

    def write_kept(self, keep: NDArray[np.bool_], into: Path) -> None:
        """The rows that are kept, as they stand."""
        edges = np.flatnonzero(np.diff(keep, prepend=False, append=False)).reshape(-1, 2)
        view = memoryview(self.data)

        def parts() -> Iterator[memoryview | bytes]:
            begins, ends = self.begins[edges[:, 0]], self.ends[edges[:, 1] - 1]
            for begin, end in zip(begins.tolist(), ends.tolist(), strict=True):
                yield view[begin : end + 1]
                if end == len(view):
                    yield b"\n"

        with replacing(into) as half, half.open("wb", buffering=0) as file:
            _write(file.fileno(), parts())

    def write_gone(self, gone: NDArray[np.bool_], marks: pl.DataFrame, into: Path) -> None:
        """The rows that go, each with its marks behind its own columns."""
        view = memoryview(self.data)
        told = marks.filter(pl.Series(gone)).iter_rows(named=True)
        rows = zip(
            self.begins[gone].tolist(), self.ends[gone].tolist(), self.marked[gone].tolist(),
            strict=True,
        )  # fmt: skip

        def parts() -> Iterator[memoryview | bytes]:
            for (begin, end, marked), mark in zip(rows, told, strict=True):
                if marked:
                    row = parsed(self.data[begin:end], self.path, None)
                    yield orjson.dumps({**row, **mark}, option=orjson.OPT_APPEND_NEWLINE)
                else:
                    yield view[begin : self.data.rfind(b"}", begin, end)]
                    yield b"," + orjson.dumps(mark)[1:] + b"\n"

        with replacing(into) as half, half.open("wb", buffering=0) as file:
            _write(file.fileno(), parts())


def _write(file: int, parts: Iterator[memoryview | bytes]) -> None:
    """Write many parts, some at a time."""
    while held := list(islice(parts, PARTS)):
        left = sum(map(len, held)) - os.writev(file, held)
        while left:  # the system took less than all
            done = b"".join(held)[-left:]
            held = [done]
            left = len(done) - os.writev(file, held)


def _pieces(path: Path, data: mmap.mmap, names: list[str], workers: int) -> Iterator[Piece]:
    """The file's lines, found."""
    size = len(data)
    step = max(PIECE_BYTES, size >> 12)
    cuts = [0]
    while cuts[-1] < size:
        found = data.find(b"\n", min(cuts[-1] + step, size) - 1)
        cuts.append(size if found < 0 else found + 1)
    whole = np.frombuffer(data, np.uint8)

    def one(cut: tuple[int, int]) -> Piece:
        begin, end = cut
        held = whole[begin:end]
        if end + PAD > size:
            held = np.append(held, np.zeros(PAD, np.uint8))
        return _scanned(path, data, begin, held, end - begin, names)

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(one, pairwise(cuts))


def _scanned(
    path: Path, data: mmap.mmap, begin: int, held: NDArray[np.uint8], size: int, names: list[str]
) -> Piece:
    from tracecraft.curate import jsonscan

    base = np.uint64(held.ctypes.data)
    if not jsonscan.is_utf8(base, size):
        _blame(path, data, begin, held[:size])
    spelt = [name.encode() for name in names]
    letters = np.frombuffer(b"".join(spelt), np.uint8)
    borders = np.cumsum([0, *map(len, spelt)])
    most, columns = size // LEAST_ROW + 2, len(names)
    begins, spans = np.empty(most, np.uint64), np.empty(most, np.int64)
    at, sizes = np.empty((most, columns), np.uint64), np.empty((most, columns), np.int64)
    states, kinds = np.empty(most, np.uint8), np.empty((most, columns), np.uint8)
    rows = jsonscan.scan(base, size, letters, borders, begins, spans, states, at, sizes, kinds)
    piece = Piece(
        begin, held, (begins[:rows] - base).astype(np.int64), spans[:rows].copy(),
        states[:rows].copy(), (at[:rows] - base).astype(np.int64), sizes[:rows].copy(),
        kinds[:rows].copy(),
    )  # fmt: skip
    return _mended(path, data, piece, names) if piece.states.any() else piece


def _mended(path: Path, data: mmap.mmap, piece: Piece, names: list[str]) -> Piece:
    """The rows that the kernel left open, by a full parser; their texts lie behind the others.

    Raises:
        DataError: a line that is no JSON object.
    """
    more: list[bytes] = []
    end = len(piece.held)
    for i in np.flatnonzero(piece.states).tolist():
        place = piece.begin + int(piece.begins[i])
        line = data[place : place + int(piece.spans[i])]
        number = data[:place].count(b"\n") + 1
        row = parsed(line, path, number)
        if not isinstance(row, dict):
            what = f"a row must be a JSON object, found {type(row).__name__}"
            fault(path, what, "write one object a line", number)
        for n, name in enumerate(names):
            value = row.get(name)
            text = shape.as_text(value)
            piece.kinds[i, n] = (
                4 * (name in row) if text is None else 1 if isinstance(value, str) else 3
            )
            if text is not None:
                more.append(text.encode())
                piece.at[i, n], piece.sizes[i, n] = end, len(more[-1])
                end += len(more[-1])
    held = np.concatenate([piece.held, np.frombuffer(b"".join(more) + bytes(PAD), np.uint8)])
    return Piece(
        piece.begin, held, piece.begins, piece.spans, piece.states, piece.at, piece.sizes,
        piece.kinds,
    )  # fmt: skip


def _blame(path: Path, data: mmap.mmap, begin: int, held: NDArray[np.uint8]) -> None:
    """Raise the DataError of the first line that is not UTF-8."""
    number = data[:begin].count(b"\n") + 1
    for line in held.tobytes().split(b"\n"):
        try:
            line.decode()
        except UnicodeDecodeError as error:
            fault(path, f"is not UTF-8: {error.reason}", RECODE, number)
        number += 1


def _table(
    pieces: Sequence[Piece], names: list[str], there: NDArray[np.bool_], data: mmap.mmap,
    scratch: Path | None, workers: int,
) -> pl.DataFrame:  # fmt: skip
    """The columns that are there, and the whole lines."""
    from tracecraft.curate import jsonscan

    whole = np.frombuffer(data, np.uint8)
    base = whole.ctypes.data
    buffers: list[NDArray[np.uint8]] = []
    homes: list[tuple[int, int]] = []
    start = -BUFFER_BYTES
    for piece in pieces:  # where in which buffer a piece begins
        inside = base <= piece.held.ctypes.data < base + len(whole)
        if inside and piece.begin + len(piece.held) - start > BUFFER_BYTES:
            start = piece.begin
            buffers.append(whole[start : start + BUFFER_BYTES + len(piece.held)])
        if not inside:
            buffers.append(piece.held)
        homes.append((len(buffers) - 1, int(piece.held.ctypes.data)))
    homes = [(k, int(buffers[k].ctypes.data)) for k, _ in homes]

    def made(n: int) -> pl.Series:
        cells: list[NDArray[np.uint32]] = []
        valid: list[NDArray[np.bool_]] = []
        sides: list[NDArray[np.uint8]] = []
        for piece, (number, home) in zip(pieces, homes, strict=True):
            here = np.uint64(piece.held.ctypes.data)
            if n < 0:
                at, sizes = piece.begins, piece.spans
                kinds = np.ones(len(at), np.uint8)
            else:
                at, sizes, kinds = piece.at[:, n], piece.sizes[:, n], piece.kinds[:, n]
            side = _room(int(sizes[kinds == 2].sum()) + 16, len(data), scratch)
            views, known = np.empty((len(at), 4), np.uint32), np.empty(len(at), np.bool_)
            used = jsonscan.column(
                at.astype(np.uint64) + here, np.ascontiguousarray(sizes),
                np.ascontiguousarray(kinds), np.uint64(home), number, side,
                len(buffers) + len(sides), views, known,
            )  # fmt: skip
            if used:
                sides.append(side)
            cells.append(views)
            valid.append(known)
        known = np.concatenate(valid)
        bits = None if known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
        table = pa.py_buffer(np.concatenate(cells))
        heaps = [pa.py_buffer(one) for one in (*buffers, *sides)]
        array = pa.Array.from_buffers(pa.string_view(), len(known), [bits, table, *heaps])
        return pl.Series(LINE if n < 0 else names[n], array)

    wanted = [-1, *np.flatnonzero(there).tolist()]
    with ThreadPoolExecutor(workers) as pool:
        return pl.DataFrame(list(pool.map(made, wanted)))


def _room(size: int, file: int, scratch: Path | None) -> NDArray[np.uint8]:
    """Bytes in memory, or, where a file is large, on disk."""
    if file <= HELD_BYTES:
        return np.empty(size, np.uint8)
    if scratch is not None:
        scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=scratch) as held:
        return np.memmap(held, np.uint8, "w+", shape=size)
