"""Token rows for a trainer: whole examples side by side in rows of the context's length."""

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracecraft.store import replacing
from tracecraft.train.chat import Said

Packing = Literal["none", "plain", "block"]
Ints = npt.NDArray[np.int32]
IGNORED = -100
"""The label that transformers leaves out of the loss."""
ROWS = pa.schema(
    [
        ("input_ids", pa.list_(pa.int32())),
        ("labels", pa.list_(pa.int32())),
        ("seq_lengths", pa.list_(pa.int32())),
    ]
)
TOKENS = pa.schema([("ids", pa.list_(pa.int32())), ("prompt", pa.int32())])
FLUSH_ROWS = 64


def pack(lengths: Sequence[int], context: int) -> list[list[int]]:
    """Which examples share a row: each, longest first, goes where the least room is left over.

    Best-fit decreasing needs at most 11/9 of the fewest rows possible, and 4 (Johnson et al., SIAM
    J. Comput. 3, 1974). No example is cut; the same lengths give the same rows.
    """
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    for one in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        place = bisect.bisect_left(rooms, (lengths[one], -1))
        if place == len(rooms):
            rows.append([])
            room, row = context, len(rows) - 1
        else:
            room, row = rooms.pop(place)
        rows[row].append(one)
        if room > lengths[one]:
            bisect.insort(rooms, (room - lengths[one], row))
    return rows


def write_tokens(said: Iterable[list[Said]], path: Path) -> None:
    """Token ids of every example and how many of them are the prompt's, as an Arrow stream."""
    with replacing(path) as half, pa.ipc.new_stream(str(half), TOKENS) as stream:
        for batch in said:
            ids = pa.array([one.prompt_ids + one.answer_ids for one in batch], TOKENS[0].type)
            prompts = pa.array([len(one.prompt_ids) for one in batch], pa.int32())
            stream.write_batch(pa.record_batch([ids, prompts], schema=TOKENS))


@dataclass(frozen=True, slots=True)
class Packed:
    """How full the rows are."""

    rows: int
    tokens: int
    longest: int


def write_rows(tokens: Path, into: Path, context: int, packing: Packing) -> Packed:
    """Rows as the trainer memory-maps them, from what `write_tokens` wrote.

    With `block` packing a row says where its examples begin (`seq_lengths`), so that none attends
    to another; with `plain` it does not, so that they do.
    """
    with pa.memory_map(str(tokens)) as source:
        table = pa.ipc.open_stream(source).read_all()
        ids, prompts = table["ids"], table["prompt"].to_numpy()
        lengths = [int(n) for n in pc.list_value_length(ids).to_numpy()]
        rows = [[i] for i in range(len(lengths))] if packing == "none" else pack(lengths, context)
        names = ROWS.names if packing == "block" else ROWS.names[:2]
        schema = pa.schema([ROWS.field(name) for name in names])
        with replacing(into) as half, pa.ipc.new_stream(str(half), schema) as stream:
            for start in range(0, len(rows), FLUSH_ROWS):
                some = rows[start : start + FLUSH_ROWS]
                made = [_row(row, ids, prompts) for row in some]
                columns = [
                    pa.array([one[name] for one in made], ROWS.field(name).type) for name in names
                ]
                stream.write_batch(pa.record_batch(columns, schema=schema))
    longest = max((sum(lengths[i] for i in row) for row in rows), default=0)
    return Packed(len(rows), sum(lengths), longest)


def _row(row: list[int], ids: pa.ChunkedArray, prompts: Ints) -> dict[str, Ints]:
    parts = [np.asarray(ids[i].values.to_numpy()) for i in row]
    labels = [part.copy() for part in parts]
    for label, i in zip(labels, row, strict=True):
        label[: prompts[i]] = IGNORED
    return {
        "input_ids": np.concatenate(parts),
        "labels": np.concatenate(labels),
        "seq_lengths": np.array([len(part) for part in parts], np.int32),
    }


def read_rows(path: Path) -> Iterator[dict[str, list[int]]]:
    """The rows that `write_rows` wrote."""
    with pa.memory_map(str(path)) as source:
        for batch in pa.ipc.open_stream(source):
            yield from batch.to_pylist()
