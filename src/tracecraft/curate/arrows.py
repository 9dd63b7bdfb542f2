"""Parquet, Arrow files and streams, and saved `datasets` folders, read in pieces."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tracecraft.curate import shape
from tracecraft.curate.formats import PACKED, PIECE_ROWS, Input, fault, unpacked
from tracecraft.errors import did_you_mean

ENDED = b"\xff\xff\xff\xff\x00\x00\x00\x00"
"""The last eight bytes of a whole Arrow stream. A cut at a batch border leaves a stream that
every reader takes for a shorter one: only this mark tells."""


class Arrow(Input):
    """A file whose columns have types of their own; batches come as they are stored."""

    @cached_property
    def columns(self) -> pl.Schema:
        with self._batches() as (schema, _):
            twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
            if twice:
                fault(self.path, f"has two columns named {twice[0]!r}", "rename one of them")
            return plain(schema.empty_table()).schema

    def pieces(self, columns: pl.Schema) -> Iterator[pl.DataFrame]:
        with self._batches() as (_, batches):
            for batch in batches:
                for start in range(0, batch.num_rows, PIECE_ROWS):
                    piece = pa.Table.from_batches([batch.slice(start, PIECE_ROWS)])
                    yield shape.cast(plain(piece), columns)

    @contextmanager
    def _batches(self) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        try:
            yield from self._opened()
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError) as error:
            first = str(error).splitlines()[0]
            fault(self.path, f"cannot be read: {first}", "it may be torn: copy it anew")
        except OSError as error:
            first = str(error).splitlines()[0]
            fault(self.path, f"is torn: {first}", "copy it anew")

    def _opened(self) -> Iterator[tuple[pa.Schema, Iterator[pa.RecordBatch]]]:
        with self._source() as source:
            magic = source.read(8)
            source.seek(0)
            if magic.startswith(b"PAR1"):
                file = pq.ParquetFile(source)
                yield file.schema_arrow, file.iter_batches(PIECE_ROWS)
            elif magic.startswith(b"ARROW1"):
                reader = pa.ipc.open_file(source)
                numbers = range(reader.num_record_batches)
                yield reader.schema, (reader.get_batch(i) for i in numbers)
            else:
                self._check_end(source, magic)
                stream = pa.ipc.open_stream(source)
                yield stream.schema, iter(stream)

    @contextmanager
    def _source(self) -> Iterator[pa.NativeFile]:
        with unpacked(self.path) as file:
            if any(_begins(self.path, magic) for magic in PACKED):
                yield pa.BufferReader(file.read())
            elif self.path.stat().st_size == 0:
                fault(self.path, "is empty", "check that it was written to its end")
            else:
                yield pa.memory_map(str(self.path))

    def _check_end(self, source: pa.NativeFile, magic: bytes) -> None:
        if not magic.startswith(ENDED[:4]):  # written before Arrow 0.15, which had other marks
            return
        source.seek(max(0, source.size() - len(ENDED)))
        if source.read() != ENDED:
            fault(self.path, "is torn: the stream's end mark is missing", "copy it anew")
        source.seek(0)


def _begins(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic


def saved(folder: Path, split: str | None) -> list[Path] | None:
    """The Arrow files of a folder that `datasets` saved, in row order; None: it is none.

    Args:
        folder: of a Dataset or of a DatasetDict.
        split: which part of a DatasetDict; `all` takes every one, in its order.
    """
    if (folder / "state.json").exists():
        state = _read_json(folder / "state.json")
        return [folder / one["filename"] for one in state["_data_files"]]
    if not (folder / "dataset_dict.json").exists():
        return None
    parts = list(_read_json(folder / "dataset_dict.json")["splits"])
    if split is None and len(parts) > 1:
        fault(folder, f"holds {', '.join(parts)}", "say split: NAME, or split: all")
    if split not in (None, "all", *parts):
        fault(folder, f"has no split {split!r}{did_you_mean(str(split), parts)}", "choose one")
    chosen = [part for part in parts if split in (None, "all", part)]
    return [file for part in chosen for file in saved(folder / part, None) or []]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        fault(path, f"not JSON: {error}", "save the dataset anew")
    if not isinstance(found, dict) or not found.keys() & {"_data_files", "splits"}:
        fault(path, "is not what `datasets` writes", "save the dataset anew")
    return found


def plain(data: pa.Table) -> pl.DataFrame:
    """An Arrow table in types that polars and `datasets` both know."""
    made = [_column(name, data.column(i)) for i, name in enumerate(data.column_names)]
    return pl.DataFrame(made)


def _column(name: str, column: pa.ChunkedArray) -> pl.Series:
    if isinstance(column.type, pa.BaseExtensionType):
        storage = [chunk.storage for chunk in column.chunks]
        return _column(name, pa.chunked_array(storage, column.type.storage_type))
    if pa.types.is_null(column.type):
        return pl.Series(name, [None] * len(column), dtype=pl.String)
    if pa.types.is_dictionary(column.type):
        return _column(name, column.cast(column.type.value_type))
    if _awkward(column.type):
        values = [shape.as_text(one) for one in column.to_pylist()]
        return pl.Series(name, values, dtype=pl.String)
    made = pl.Series(name, pl.from_arrow(column))
    return made.cast(pl.String) if made.dtype in (pl.Categorical, pl.Enum) else made


def _awkward(dtype: pa.DataType) -> bool:
    """Types that polars cannot hold or `datasets` cannot read back; they become JSON text."""
    kinds = pa.types
    if (
        kinds.is_map(dtype)
        or kinds.is_list_view(dtype)
        or kinds.is_large_list_view(dtype)
        or kinds.is_run_end_encoded(dtype)
        or kinds.is_union(dtype)
        or (kinds.is_struct(dtype) and dtype.num_fields == 0)
    ):
        return True
    inner = [dtype.field(i).type for i in range(dtype.num_fields)]
    return any(_awkward(one) or kinds.is_dictionary(one) or kinds.is_null(one) for one in inner)
