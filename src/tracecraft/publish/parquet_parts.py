"""The rows that lie in a folder: which configurations it makes, and their tables, file by file."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from tracecraft.errors import DataError
from tracecraft.publish.shards import RAW, plain_type
from tracecraft.schema import DOMAINS

SPLITS = ("train", "validation", "test")
DEFAULT = "default"
DATA_FOLDER = "data"
"""Where the files of the configuration `default` lie; no configuration may have this name."""
JUDGE = "judged_by"
"""The column that names the step of the lineage whose verdicts stand in a row."""
GROUP_BYTES = 100_000_000
"""Bytes of rows in memory of a row group, `MAX_ROW_GROUP_SIZE` of datasets 5.2: what the hub's
viewer and a streaming reader hold at once."""


@dataclass(frozen=True, slots=True)
class Part:
    """The files of one split of one configuration."""

    config: str
    files: tuple[Path, ...]
    split: str = SPLITS[0]
    columns: tuple[str, ...] | None = None
    """Which of the columns; None: all."""
    judges: Mapping[Path, str] = field(default_factory=dict)
    """Which step judged the rows of a file; where this is said it becomes the column `JUDGE`."""

    @property
    def folder(self) -> str:
        """Where it lies in the repository."""
        return DATA_FOLDER if self.config == DEFAULT else self.config


def parts_of(folder: Path) -> list[Part]:
    """The configurations that a dataset's folder makes.

    A finished dataset of ours gives one a domain and `raw`; a step's output one a domain; a saved
    `datasets` folder its splits; a folder of Parquet or Arrow files one a subfolder.

    Raises:
        DataError: it holds no such files.
    """
    if (folder / "dataset_dict.json").is_file():
        found = _dict(folder)
    elif (folder / "state.json").is_file():
        found = [Part(DEFAULT, _saved(folder))]
    elif (folder / "shards").is_dir():
        found = _folders(folder / "shards")
    else:
        found = _folders(folder)
    found = [part for part in found if part.files]
    if not found:
        raise DataError(
            f"{folder}: holds neither a dataset nor a model"
            "\n  next   name a folder of Parquet or Arrow files, a saved dataset, or a folder with"
            " config.json and safetensors"
        )
    return found


def _dict(folder: Path) -> list[Part]:
    splits = _json(folder / "dataset_dict.json")["splits"]
    if any(name in SPLITS for name in splits) and not (folder / RAW).is_dir():
        return [Part(DEFAULT, _saved(folder / name), name) for name in splits]
    found = [Part(name, _saved(folder / name)) for name in splits]
    if (folder / RAW / "dataset_dict.json").is_file():
        inner = _json(folder / RAW / "dataset_dict.json")["splits"]
        files = [path for name in inner for path in _saved(folder / RAW / name)]
        found.append(Part(RAW, tuple(files)))
    return found


def _saved(folder: Path) -> tuple[Path, ...]:
    listed = _json(folder / "state.json")["_data_files"]
    return tuple(folder / one["filename"] for one in listed)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _folders(folder: Path) -> list[Part]:
    grouped: dict[tuple[str, str], list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        inner = path.relative_to(folder).parts
        if path.suffix not in {".parquet", ".arrow"} or any(p.startswith(".") for p in inner):
            continue
        config = inner[0] if len(inner) > 1 and inner[0] != DATA_FOLDER else DEFAULT
        split = path.name.partition("-")[0].removesuffix(path.suffix)
        grouped.setdefault((config, split if split in SPLITS else SPLITS[0]), []).append(path)
    order = {name: i for i, name in enumerate(DOMAINS)}
    keys = sorted(grouped, key=lambda key: (key[0] == RAW, order.get(key[0], len(order)), key))
    return [Part(config, tuple(grouped[config, split]), split) for config, split in keys]


def joined(parts: list[Part]) -> list[Part]:
    """The parts of several folders, those of one configuration and split together."""
    found: dict[tuple[str, str], Part] = {}
    for part in parts:
        key = (part.config, part.split)
        if key in found:
            files, judges = found[key].files + part.files, {**found[key].judges, **part.judges}
            part = replace(part, files=files, judges=judges)
        found[key] = part
    return sorted(found.values(), key=lambda part: part.config == RAW)  # stable


def schema_of(part: Part) -> pa.Schema:
    """The columns that all its files have together, in types that every reader knows.

    Raises:
        DataError: a column has types that do not go together.
    """
    schemas = [pa.schema([(f.name, plain_type(f.type)) for f in _schema(p)]) for p in part.files]
    try:
        found = pa.unify_schemas(schemas, promote_options="permissive").remove_metadata()
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(f"{part.files[0].parent}: {error}") from None
    if part.judges:
        found = found.append(pa.field(JUDGE, pa.string()))
    return found if part.columns is None else pa.schema([found.field(c) for c in part.columns])


def _schema(path: Path) -> pa.Schema:
    try:
        if path.suffix == ".parquet":
            return pq.read_schema(path)
        with pa.memory_map(str(path)) as source:
            return (pa.ipc.open_file if _is_file(path) else pa.ipc.open_stream)(source).schema
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _is_file(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(6) == b"ARROW1"


def tables(part: Part, schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows under one schema in tables of about `GROUP_BYTES`; none where there are no rows."""
    held, size = list[pa.Table](), 0
    for path in part.files:
        for batch in _batches(path):
            if path in part.judges:
                names = pa.array([part.judges[path]] * batch.num_rows, pa.string())
                batch = batch.append_column(JUDGE, names)
            table = _fitted(batch, schema)
            rows = max(1, table.num_rows * GROUP_BYTES // max(1, table.nbytes))
            for start in range(0, table.num_rows, rows):
                piece = table.slice(start, rows)
                if held and size + piece.nbytes > GROUP_BYTES:
                    yield pa.concat_tables(held).combine_chunks()
                    held, size = [], 0
                held.append(piece)
                size += piece.nbytes
    if held:
        yield pa.concat_tables(held).combine_chunks()


def _batches(path: Path) -> Iterator[pa.Table]:
    if path.suffix == ".parquet":
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches():
                yield pa.Table.from_batches([batch])
    elif _is_file(path):  # polars writes views, which only polars turns into plain texts quickly
        frame = pl.scan_ipc(path, glob=False).collect()
        yield frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    else:
        with pa.memory_map(str(path)) as source, pa.ipc.open_stream(source) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])


def _fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[f.name].cast(f.type)
        if f.name in table.column_names
        else pa.nulls(table.num_rows, f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
