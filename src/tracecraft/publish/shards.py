"""A finished dataset in the layout that `datasets` opens; one table as a file of any format."""

import gzip
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, ClassVar

import orjson
import polars as pl
import pyarrow as pa

from tracecraft.errors import DataError
from tracecraft.plugin import digest, file_digest
from tracecraft.schema import EXAMPLE
from tracecraft.stage import Desk, Job, Progress
from tracecraft.store import Dataset, Shard, replacing, write_json

BATCH_ROWS = 1_000
"""Rows of a record batch, as `datasets` writes them: what one look at a row has to read."""
FILE_ROWS = 50_000
FILE_BYTES = 500_000_000
"""Rows or bytes from which the next file of a part begins; 500 MB is what `datasets` writes."""
RAW = "raw"
NOT_WRITTEN = (".csv", ".tsv", ".json", ".txt", ".gz", ".zst", ".feather", ".ipc")


class Write(Job, use="write", version=1):
    """A dataset of one part a domain, for trainers, and beside it `raw` with all that is known.

    The first input holds the examples, a second one the rows they were made from. What `datasets`,
    polars and pyarrow open without conversion: uncompressed Arrow streams, state.json and
    dataset_info.json a part, dataset_dict.json and a README with one config a part at the root.
    """

    reads: ClassVar[tuple[pl.Schema, ...]] = (EXAMPLE,)

    def __call__(self, inputs: tuple[Path, ...], into: Path, desk: Desk) -> None:
        examples = Dataset.open(inputs[0])
        raw = Dataset.open(inputs[1]) if len(inputs) > 1 else None
        total = examples.rows + (raw.rows if raw else 0)
        done = 0

        def advance(rows: int) -> None:
            nonlocal done
            done += rows
            desk.report(Progress(done, total))

        rows = _write_parts(examples, into, list(EXAMPLE), advance)
        configs = {domain: (domain, n) for domain, n in rows.items()}
        if raw is not None:
            kept = _write_parts(raw, into / RAW, None, advance)
            configs |= {f"{RAW}_{domain}": (f"{RAW}/{domain}", n) for domain, n in kept.items()}
        with replacing(into / "README.md") as half:
            half.write_text(_readme(configs))


def _write_parts(
    dataset: Dataset, into: Path, columns: list[str] | None, advance: Callable[[int], None]
) -> dict[str, int]:
    """One part a domain, and how many rows each has."""
    parts: dict[str, list[Shard]] = {}
    for shard in dataset.shards:
        if shard.rows:
            parts.setdefault(shard.path.parent.name, []).append(shard)
    rows: dict[str, int] = {}
    for domain, shards in sorted(parts.items()):
        tables = _tables(shards, columns, advance)
        rows[domain] = write_part(tables, _schema(shards, columns), into / domain)
    if not rows:  # a yield of nothing is still a dataset that opens
        schema = _schema(list(dataset.shards), columns) if dataset.shards else EXAMPLE
        rows["train"] = write_part(iter(()), schema, into / "train")
    write_json(into / "dataset_dict.json", {"splits": list(rows)})
    return rows


def _schema(shards: list[Shard], columns: list[str] | None) -> pl.Schema:
    found = shards[0].scan().collect_schema()
    return pl.Schema({name: found[name] for name in columns or found})


def _tables(
    shards: list[Shard], columns: list[str] | None, advance: Callable[[int], None]
) -> Iterator[pl.DataFrame]:
    for shard in shards:
        yield shard.scan().select(columns or pl.all()).collect()
        advance(shard.rows)


def write_part(tables: Iterator[pl.DataFrame], schema: pl.Schema, folder: Path) -> int:
    """Tables of one schema as a folder that `datasets.load_from_disk` opens; the rows written."""
    wanted = plain_schema(schema)
    files: list[Path] = []
    total, pending = 0, next(tables, None)
    while pending is not None or not files:
        files.append(folder / f"data-{len(files):05d}.arrow")
        with replacing(files[-1]) as half, half.open("wb") as file:
            with pa.ipc.new_stream(file, wanted) as stream:
                written, size = 0, 0
                while pending is not None and written < FILE_ROWS and size < FILE_BYTES:
                    size += int(pending.estimated_size())
                    written += _stream(pending, wanted, stream)
                    pending = None  # a shard may be large: let it go before the next is read
                    pending = next(tables, None)
            total += written
    named = _numbered(files)
    state: dict[str, Any] = {
        "_data_files": [{"filename": path.name} for path in named],
        "_fingerprint": digest([file_digest(path) for path in named], size=8),
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": None,
    }
    features = {field.name: feature(field.type) for field in wanted}
    info = {"citation": "", "description": "", "features": features, "homepage": "", "license": ""}
    write_json(folder / "dataset_info.json", info)
    write_json(folder / "state.json", state)
    return total


def _stream(table: pl.DataFrame, wanted: pa.Schema, stream: pa.RecordBatchStreamWriter) -> int:
    for start in range(0, table.height, BATCH_ROWS):
        stream.write_table(to_plain(table.slice(start, BATCH_ROWS), wanted))
    return table.height


def _numbered(files: list[Path]) -> list[Path]:
    """The files under names that tell how many there are, as `datasets` names them."""
    named = []
    for number, path in enumerate(files):
        name = f"data-{number:05d}-of-{len(files):05d}.arrow"
        named.append(path.rename(path.with_name(name)))
    return named


def plain_schema(schema: pl.Schema) -> pa.Schema:
    """A table's Arrow types as every reader of the field knows them: no views, no dictionaries."""
    table = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest())
    return pa.schema([(field.name, plain_type(field.type)) for field in table.schema])


def plain_type(dtype: pa.DataType) -> pa.DataType:
    """An Arrow type as every reader of the field knows it."""
    kinds = pa.types
    if kinds.is_dictionary(dtype):
        return plain_type(dtype.value_type)
    if kinds.is_large_string(dtype) or kinds.is_string_view(dtype) or kinds.is_null(dtype):
        return pa.string()
    if kinds.is_large_binary(dtype) or kinds.is_binary_view(dtype):
        return pa.binary()
    if kinds.is_large_list(dtype) or kinds.is_list(dtype):
        return pa.list_(plain_type(dtype.value_type))
    if kinds.is_struct(dtype):
        inner = [dtype.field(i) for i in range(dtype.num_fields)]
        return pa.struct([(field.name, plain_type(field.type)) for field in inner])
    return dtype


def feature(dtype: pa.DataType) -> Any:
    """What `datasets` calls an Arrow type in its dataset_info.json (importing it takes 2 s)."""
    if pa.types.is_struct(dtype):
        return {field.name: feature(field.type) for field in dtype}
    if pa.types.is_list(dtype):
        return {"feature": feature(dtype.value_type), "_type": "List"}
    name = {"double": "float64", "float": "float32", "halffloat": "float16"}.get(str(dtype))
    return {"dtype": name or str(dtype).replace("[day]", ""), "_type": "Value"}


def to_plain(table: pl.DataFrame, wanted: pa.Schema) -> pa.Table:
    """A table in those Arrow types, in one batch."""
    columns = table.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    return columns.select(wanted.names).cast(wanted).combine_chunks()


def _readme(configs: dict[str, tuple[str, int]]) -> str:
    filled = {name: where for name, (where, rows) in configs.items() if rows}
    lines = ["---"]
    if filled:
        lines.append("configs:")
    for number, (name, where) in enumerate(filled.items()):
        lines += [f"- config_name: {name}", "  data_files:", "  - split: train"]
        lines += [f"    path: {where}/*.arrow", *(["  default: true"] if number == 0 else [])]
    lines += ["---", "", "| config | rows |", "|---|---|"]
    lines += [f"| {name} | {rows} |" for name, (_, rows) in configs.items()]
    return "\n".join(lines) + "\n"


def write_table(frame: pl.LazyFrame | pl.DataFrame, out: Path) -> None:
    """Write a table by the ending of `out`: .parquet, .jsonl, .jsonl.gz, .arrow, or a folder.

    The file is whole or absent. A folder is one that `datasets.load_from_disk` opens.

    Raises:
        DataError: an ending that is not written, or a folder that holds something else.
        StoreError: the disk is full or cannot be written.
    """
    lazy, endings = frame.lazy(), tuple(suffix.lower() for suffix in out.suffixes[-2:])
    if endings[-1:] == (".parquet",):
        with replacing(out) as half:
            lazy.sink_parquet(half, compression="zstd")
    elif endings[-1:] == (".arrow",):
        with replacing(out) as half:
            lazy.sink_ipc(half, compression="uncompressed")
    elif endings[-1:] == (".jsonl",):
        with replacing(out) as half, half.open("wb") as file:
            _write_lines(lazy, file)
    elif endings == (".jsonl", ".gz"):
        with (
            replacing(out) as half,
            half.open("wb") as raw,
            gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as file,
        ):
            _write_lines(lazy, file)
    elif endings[-1:] and endings[-1] in NOT_WRITTEN:
        raise DataError(
            f"{out}: tables are not written as {endings[-1]}"
            "\n  next   use .parquet, .jsonl, .jsonl.gz, .arrow, or a folder's name"
        )
    else:
        _write_folder(lazy, out)


def _write_lines(lazy: pl.LazyFrame, file: IO[bytes] | gzip.GzipFile) -> None:
    for batch in lazy.collect_batches(maintain_order=True):
        for row in batch.iter_rows(named=True):
            file.write(orjson.dumps(row, default=_json, option=orjson.OPT_APPEND_NEWLINE))


def _json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _write_folder(lazy: pl.LazyFrame, out: Path) -> None:
    ours = (out / "state.json").exists() or (out.is_dir() and not any(out.iterdir()))
    if out.exists() and not ours:
        raise DataError(f"{out}: holds something else\n  next   name another folder, or remove it")
    half = out.with_name(f".{out.name}.half")
    shutil.rmtree(half, ignore_errors=True)
    try:
        write_part(lazy.collect_batches(maintain_order=True), lazy.collect_schema(), half)
        with suppress(FileNotFoundError):
            shutil.rmtree(out)
        half.replace(out)
    finally:
        shutil.rmtree(half, ignore_errors=True)
