"""Carry out one merge over checkpoint files: tensors in, merged tensors out, a few at a time.

Each output shard is laid out in full before the first tensor, so tensors are written where they
belong in any order, by any number of threads, and a killed merge goes on at the missing ones.
Files take their names when all is written, the index last.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracecraft.errors import DataError
from tracecraft.merge.delta import TensorDelta
from tracecraft.merge.fusion import flat
from tracecraft.merge.journal import PARTIAL, Journal
from tracecraft.merge.methods import ArceeFusion, Method, Work
from tracecraft.merge.operands import Operands, Settled
from tracecraft.merge.preflight import Seam, whole_bytes
from tracecraft.merge.weights import CODE_BYTES, Place, Weights, header_of
from tracecraft.store import refused


@dataclass(frozen=True, slots=True)
class Loom:
    """What all tensors of one merge share."""

    models: Sequence[Weights]
    method: Method
    seed: int
    shards: dict[str, "Shard"]
    """By file name of the output."""
    buffers: threading.local
    threads: int


@dataclass(frozen=True, slots=True)
class Shard:
    """An output file being filled."""

    path: Path
    handle: int
    offsets: dict[str, int]
    """Where each tensor starts."""

    def write(self, at: int, bits: NDArray[Any]) -> None:
        """Put bytes at a position.

        Raises:
            StoreError: the disk refuses.
        """
        view = memoryview(bits.reshape(-1).view(np.uint8).data)
        try:
            while len(view):
                put = os.pwrite(self.handle, view, at)
                view, at = view[put:], at + put
        except OSError as error:
            refused(self.path, error)


def weave(
    models: Sequence[Weights],
    seams: Sequence[Seam],
    method: Method,
    seed: int,
    journal: Journal,
    threads: int,
    report: Callable[[int], None],
) -> list[TensorDelta]:
    """Write all tensors that the journal lacks; `report` gets the bytes that are done.

    Raises:
        DataError: a weight that cannot be merged; it is named.
        StoreError: the disk refuses; what is written is kept.
    """
    done = sum(seam.bytes for seam in seams if seam.name in journal.done)
    missing = [seam for seam in seams if seam.name not in journal.done]
    turn = threading.Lock()
    if not missing:  # the files may have their names already
        return _rows(seams, journal)
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(model.opened())
        shards = stack.enter_context(_shards(seams, journal.root))
        if isinstance(method, ArceeFusion) and method.mode == "reference":
            from tracecraft.merge.reference import one_thread

            stack.enter_context(one_thread())
        loom = Loom(models, method, seed, shards, threading.local(), threads)

        def one(seam: Seam, team: ThreadPoolExecutor | None = None) -> None:
            nonlocal done
            told = _merged(seam, loom, team)
            with turn:
                journal.add(seam.name, told.row)
                done += seam.bytes
                report(done)

        limit = whole_bytes(threads)
        with ThreadPoolExecutor(threads) as team:
            try:
                for seam in missing:
                    if _largest(seam) > limit:
                        one(seam, team)
                list(team.map(one, [seam for seam in missing if _largest(seam) <= limit]))
            except BaseException:
                team.shutdown(cancel_futures=True)
                raise
    return _rows(seams, journal)


def _rows(seams: Sequence[Seam], journal: Journal) -> list[TensorDelta]:
    told = (journal.done[seam.name] for seam in seams)
    return [TensorDelta(**{**row, "shape": tuple(row["shape"])}) for row in told]


def _largest(seam: Seam) -> int:
    return max(place.bytes for place in seam.places)


def _merged(seam: Seam, loom: Loom, team: ThreadPoolExecutor | None) -> TensorDelta:
    shard = loom.shards[seam.file]
    start = shard.offsets[seam.name]
    if seam.out is None:
        settled = _copied(seam, loom, shard, start)
        return TensorDelta.of(seam.name, seam.shape, settled)
    rows, width = flat(seam.shape)
    operands = Operands(
        name=seam.name,
        rows=rows,
        width=width,
        kinds=tuple(place.kind for place in seam.places if place.kind),
        read=_reader(seam, loom, width),
        done=_releaser(seam, loom, width) if team else None,
        team=team,
        spare=None if team else _spare(seam, loom, rows, width),
    )
    line = width * seam.out.size

    def write(first: int, bits: NDArray[Any]) -> None:
        shard.write(start + first * line, bits)

    name = hashlib.blake2b(f"{loom.seed} {seam.name}".encode(), digest_size=8).digest()
    work = Work(operands, seam.out, int.from_bytes(name, "big"), write)
    settled = loom.method.merge(work)
    _releaser(seam, loom, width)(0, rows)
    return TensorDelta.of(seam.name, seam.shape, settled)


def _reader(seam: Seam, loom: Loom, width: int) -> Callable[[int, int], tuple[NDArray[Any], ...]]:
    def read(first: int, last: int) -> tuple[NDArray[Any], ...]:
        at, count = first * width, (last - first) * width
        both = zip(loom.models, seam.places, strict=True)
        return tuple(
            model.view(place, at, count, _raw(place)).reshape(last - first, width)
            for model, place in both
        )

    return read


def _releaser(seam: Seam, loom: Loom, width: int) -> Callable[[int, int], None]:
    def done(first: int, last: int) -> None:
        for model, place in zip(loom.models, seam.places, strict=True):
            model.release(place, first * width, (last - first) * width)

    return done


def _raw(place: Place) -> str:
    return place.kind.raw if place.kind else f"V{CODE_BYTES[place.code]}"


def _spare(seam: Seam, loom: Loom, rows: int, width: int) -> NDArray[Any] | None:
    """Room for a fused tensor that is written at once; the thread keeps it for its next one."""
    alike = all(place.kind == seam.out for place in seam.places)
    if not isinstance(loom.method, ArceeFusion) or seam.out is None or not alike:
        return None
    kept: NDArray[np.uint8] | None = getattr(loom.buffers, "spare", None)
    if kept is None:
        kept = loom.buffers.spare = np.empty(whole_bytes(loom.threads), np.uint8)
    return kept[: seam.bytes].view(seam.out.raw).reshape(rows, width)


def _copied(seam: Seam, loom: Loom, shard: Shard, start: int) -> Settled:
    """Integers and flags: copied, since there is nothing between two of them."""
    count = prod(seam.shape)
    both = zip(loom.models, seam.places, strict=True)
    found = [model.view(place, 0, count, _raw(place)) for model, place in both]
    if any(raw.tobytes() != found[0].tobytes() for raw in found[1:]):
        raise DataError(f"{seam.name}: {seam.code} values differ and cannot be merged")
    shard.write(start, found[0])
    return Settled(taken=0, delta=0.0, moved=0.0)


@contextmanager
def _shards(seams: Sequence[Seam], root: Path) -> Iterator[dict[str, Shard]]:
    """The output files, laid out and open."""
    shards: dict[str, Shard] = {}
    try:
        for file in dict.fromkeys(seam.file for seam in seams):
            own = {seam.name: (seam.code, seam.shape) for seam in seams if seam.file == file}
            head, offsets = header_of(own)
            path = root / f"{file}{PARTIAL}"
            try:
                shards[file] = Shard(path, os.open(path, os.O_RDWR | os.O_CREAT, 0o644), offsets)
                last = max(offsets[name] + _length(*own[name]) for name in own)
                os.ftruncate(shards[file].handle, last)
                shards[file].write(0, np.frombuffer(head, np.uint8))
            except OSError as error:
                refused(path, error)
        yield shards
    finally:
        for shard in shards.values():
            os.close(shard.handle)


def _length(code: str, shape: tuple[int, ...]) -> int:
    return prod(shape) * CODE_BYTES[code]
