"""Batches: what a run does, claims and resumes as one. A batch's record is written last."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from tracecraft.errors import BrokenContract
from tracecraft.schema import DROPPED
from tracecraft.store import Dataset, Shard, size_of, write_json, write_shard

EVERYTHING = "all"
"""The folder of rows that have no domain yet."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A slice of one shard of a step's first input, with borders that never move."""

    index: int
    shard: Shard
    offset: int
    """First row within the shard."""
    rows: int
    start: int
    """First row within the whole input."""

    @property
    def name(self) -> str:
        """What its files are called."""
        return f"{self.index:05d}"

    def scan(self) -> pl.LazyFrame:
        """Its rows, not yet read."""
        return self.shard.scan().slice(self.offset, self.rows)


@dataclass(frozen=True, slots=True)
class Record:
    """What became of one batch: its existence, with all files it names, means done."""

    index: int
    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    files: dict[str, tuple[int, str, int]]
    """Path below the step's home to rows, digest, bytes; shards and ledger."""
    seconds: float

    @classmethod
    def read(cls, home: Path, name: str) -> "Record | None":
        """The record of a finished batch; None where it is owed."""
        try:
            found = json.loads(_place(home, name).read_text())
            files = {k: (int(v[0]), str(v[1]), int(v[2])) for k, v in found.pop("files").items()}
            record = cls(files=files, **found)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None
        return record if all(size_of(home / f) == v[2] for f, v in files.items()) else None

    def write(self, home: Path, name: str) -> None:
        """Written last: see the class."""
        write_json(_place(home, name), asdict(self))


def cut(dataset: Dataset, rows: int) -> Iterator[Batch]:
    """The batches of a dataset: its shards, sliced to at most `rows` rows."""
    index = start = 0
    for shard in dataset.shards:
        for offset in range(0, max(shard.rows, 1), rows):
            height = min(rows, shard.rows - offset)
            yield Batch(index, shard, offset, height, start)
            index, start = index + 1, start + height


def settle(
    home: Path, name: str, table: pl.DataFrame, rows_in: int, rows: int, *, fans_out: bool
) -> Record:
    """Part the kept rows from the dropped, write both, and check that none went missing.

    Kept rows go to `shards/<domain>/<name>.arrow` (several where they exceed `rows`), dropped
    ones to `dropped/<name>.arrow`. A batch that keeps nothing leaves one shard without rows.

    Raises:
        BrokenContract: rows vanished or appeared.
    """
    kept, gone = split(table)
    drops = Counter(gone[DROPPED].to_list())
    if not fans_out and kept.height + gone.height != rows_in:
        raise BrokenContract(
            f"{home.name}: {rows_in} rows in, but {kept.height} out and {gone.height} dropped"
        )
    if fans_out and kept.height + gone.height < rows_in:
        raise BrokenContract(
            f"{home.name}: {rows_in} rows in, but only {kept.height + gone.height} accounted for"
        )
    files = {}
    for place, part in _parts(kept, name, rows):
        files[place] = _written(part, home / place)
    if gone.height:
        files[f"dropped/{name}.arrow"] = _written(gone, home / f"dropped/{name}.arrow")
    return Record(int(name), rows_in, kept.height, dict(drops.most_common()), files, 0.0)


def split(table: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows that stay (without the `dropped` column) and rows that go (with it)."""
    if DROPPED not in table.columns:
        return table, table.clear().with_columns(pl.lit(None, pl.String).alias(DROPPED))
    gone = pl.col(DROPPED).is_not_null()
    return table.filter(~gone).drop(DROPPED), table.filter(gone)


def _parts(kept: pl.DataFrame, name: str, rows: int) -> Iterator[tuple[str, pl.DataFrame]]:
    if "domain" not in kept.columns or not kept.height:
        yield f"shards/{EVERYTHING}/{name}.arrow", kept
        return
    for (domain,), part in kept.partition_by("domain", as_dict=True, maintain_order=True).items():
        for i, start in enumerate(range(0, part.height, rows)):
            piece = name if part.height <= rows else f"{name}-{i:05d}"
            yield f"shards/{domain or EVERYTHING}/{piece}.arrow", part.slice(start, rows)


def _written(table: pl.DataFrame, path: Path) -> tuple[int, str, int]:
    shard = write_shard(table, path)
    return shard.rows, shard.digest, shard.bytes


def _place(home: Path, name: str) -> Path:
    return home / "batches" / f"{name}.json"
