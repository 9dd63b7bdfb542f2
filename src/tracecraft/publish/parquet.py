"""A dataset as the hub shows and streams it: Parquet files, a folder a configuration."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tracecraft.publish.parquet_parts import Part, schema_of, tables
from tracecraft.publish.shards import write_part

FILE_BYTES = 500_000_000
"""Bytes of rows in memory from which the next file begins; what `datasets` takes for a shard."""
WRITING: dict[str, Any] = {
    "compression": "zstd",
    "use_content_defined_chunking": True,
    "write_page_index": True,
}
"""Chunks cut where the content says: an edited row moves few of the bytes that the hub keeps. The
page index lets the viewer read a page instead of a row group."""


@dataclass(slots=True)
class Tally:
    """What a configuration holds, counted while its rows pass."""

    rows: int = 0
    bytes: int = 0
    """Of the rows in memory."""
    counts: dict[str, Counter[Any]] = field(default_factory=dict)
    """Column to value to rows; of `COUNTED` those that are there."""
    origins: Counter[tuple[str | None, str | None]] = field(default_factory=Counter)
    """(source, licence) to rows."""
    tokens: list[int] = field(default_factory=list)
    """Of each row that says it."""

    def take(self, table: pa.Table) -> None:
        """Count these rows too."""
        self.rows += table.num_rows
        self.bytes += table.nbytes
        light = table.select([c for c in (*COUNTED, *ORIGIN, TOKENS) if c in table.column_names])
        frame = pl.DataFrame(light)
        for name in COUNTED:
            if name in frame.columns:
                self.counts.setdefault(name, Counter()).update(frame[name].to_list())
        if ORIGIN[0] in frame.columns:
            licences = frame[ORIGIN[1]].to_list() if ORIGIN[1] in frame.columns else []
            pairs = zip(frame[ORIGIN[0]].to_list(), licences or [None] * frame.height, strict=True)
            self.origins.update(pairs)
        if TOKENS in frame.columns:
            self.tokens += frame[TOKENS].drop_nulls().to_list()


COUNTED = ("domain", "teacher", "finish", "outcome", "verifier")
ORIGIN = ("source", "license")
TOKENS = "tokens"


@dataclass(frozen=True, slots=True)
class Written:
    """A configuration's part on disk."""

    config: str
    split: str
    schema: pa.Schema
    files: tuple[Path, ...]
    tally: Tally

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(path.stat().st_size for path in self.files)


def write_parquet(part: Part, folder: Path, told: Callable[[int], None]) -> Written:
    """A part as `folder/CONFIG/SPLIT-00000-of-00001.parquet`; the same rows give the same bytes.

    `told` is called with every number of rows that went out.
    """
    schema, tally, files = schema_of(part), Tally(), list[Path]()
    pending = tables(part, schema)
    table = next(pending, None)
    home = folder / part.folder
    home.mkdir(parents=True, exist_ok=True)
    while table is not None or not files:
        files.append(home / f"{part.split}-{len(files):05d}.parquet")
        with pq.ParquetWriter(files[-1], schema, **WRITING) as writer:
            size = 0
            while table is not None and size < FILE_BYTES:
                size += table.nbytes
                writer.write_table(table, row_group_size=table.num_rows)
                tally.take(table)
                told(table.num_rows)
                table = None  # let it go before the next is read
                table = next(pending, None)
    named = tuple(
        path.rename(path.with_name(f"{path.stem}-of-{len(files):05d}.parquet")) for path in files
    )
    return Written(part.config, part.split, schema, named, tally)


def write_arrow(part: Part, folder: Path, told: Callable[[int], None]) -> Written:
    """A part as a folder of Arrow streams that `datasets` maps into memory; no viewer shows it."""
    schema, tally = schema_of(part), Tally()

    def passing() -> Iterator[pl.DataFrame]:
        for table in tables(part, schema):
            tally.take(table)
            told(table.num_rows)
            yield pl.DataFrame(table)

    home = folder / part.folder
    write_part(passing(), pl.DataFrame(schema.empty_table()).schema, home)
    return Written(part.config, part.split, schema, tuple(sorted(home.iterdir())), tally)


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """The columns as `dataset_info` in a card's header lists them."""
    return [{"name": field.name, **_feature(field.type)} for field in schema]


def _feature(dtype: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(dtype):
        return {"struct": features(pa.schema([dtype.field(i) for i in range(dtype.num_fields)]))}
    if pa.types.is_list(dtype):
        inner = _feature(dtype.value_type)
        return {"list": inner["dtype"] if set(inner) == {"dtype"} else inner.get("struct", inner)}
    known = {"double": "float64", "float": "float32", "halffloat": "float16"}
    return {"dtype": known.get(str(dtype), str(dtype))}
