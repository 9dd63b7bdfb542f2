"""Problems from files: JSON lines, JSON, CSV, Parquet, Arrow, saved `datasets`, also packed."""

import glob
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field, field_validator

from tracecraft.curate import shape
from tracecraft.curate.formats import Csv, Input, Json, JsonLines, fault
from tracecraft.curate.questions import Opened, Questions
from tracecraft.plugin import file_digest

ENDINGS = {
    ".jsonl": JsonLines,
    ".ndjson": JsonLines,
    ".json": Json,
    ".csv": Csv,
    ".tsv": Csv,
    ".parquet": None,
    ".arrow": None,
    ".ipc": None,
    ".feather": None,
}
"""File name endings that are read; None: columns with types, told apart by their first bytes."""
PACKINGS = (".gz", ".zst")


def many(value: Any) -> Any:
    """One path or several, as text or not, as a tuple of paths."""
    values = value if isinstance(value, (list, tuple)) else (value,)
    return tuple(Path(one) if isinstance(one, str) else one for one in values)


class Files(Questions, use="files", version=1):
    """Problems from local files, in the order of the files and of their rows."""

    path: tuple[Path, ...] = Field(strict=False)
    """A file, a folder, a pattern, or a list of them; relative to the recipe."""
    source: str | None = None
    """Where the rows are from; without it a row's own `source`, or `file:NAME`."""
    split: str | None = None
    """Which part of a saved DatasetDict; `all` takes every one."""

    _one_or_many = field_validator("path", mode="before")(many)

    def identity(self) -> dict[str, Any]:
        """The files count by name and content, wherever they lie."""
        bare = self.model_copy(update={"path": ()})
        return {**Questions.identity(bare), "path": contents(self.path, self.split)}

    def opened(self) -> Opened:
        return open_files(self.path, self.split)


def contents(paths: Sequence[Path], split: str | None) -> list[list[str]]:
    """Name and digest of every file that is read."""
    return [[path.name, digest_of(path)] for path in expand(paths, split)]


def open_files(paths: Sequence[Path], split: str | None) -> Opened:
    """The rows of all these files as one table.

    Raises:
        DataError: nothing is there, or a file's format is not known by its name.
    """
    opened = inputs(paths, split)

    def pieces(schema: pl.Schema) -> Iterator[tuple[str, pl.DataFrame]]:
        for one in opened:
            for piece in one.pieces(schema):
                yield f"file:{one.path.name}", piece

    return Opened(", ".join(map(str, paths)), joined(opened), pieces)


def read_table(path: Path, text: Collection[str] = (), split: str | None = "all") -> pl.LazyFrame:
    """A file of others as it is: every column, every row, in order.

    Args:
        path: a file, a folder or a pattern.
        text: columns to keep as text, so that an answer 42 beside 0.5 does not turn into 42.0.
        split: which part of a saved DatasetDict.

    Raises:
        DataError: `file:line: what; what next`.
    """
    place = open_files((path,), split)
    schema = place.as_text({name: name for name in text})
    pieces = [piece for _, piece in place.pieces(schema)]
    return (pl.concat(pieces) if pieces else pl.DataFrame(schema=schema)).lazy()


def joined(opened: Sequence[Input]) -> pl.Schema:
    """The columns that all rows of some files have together."""
    schema: dict[str, pl.DataType] = {}
    for one in opened:
        schema |= {n: shape.common(schema.get(n, t), t) for n, t in one.columns.items()}
    return pl.Schema(schema)


def inputs(paths: Sequence[Path], split: str | None) -> list[Input]:
    """A reader a file, by its ending.

    Raises:
        DataError: nothing is there, or a file's format is not known by its name.
    """
    from tracecraft.curate.arrows import Arrow

    return [(ENDINGS.get(_ending(file)) or Arrow)(file) for file in expand(paths, split)]


def expand(paths: Sequence[Path], split: str | None) -> list[Path]:
    """The files that paths, folders and patterns mean; a pattern's and a folder's are sorted.

    Raises:
        DataError: nothing is there, or a file's format is not known by its name.
    """
    return [file for path in paths for one in _matches(path) for file in _files(one, split)]


def _matches(path: Path) -> list[Path]:
    if path.exists() or not glob.has_magic(str(path)):
        return [path]
    found = sorted(Path(one) for one in glob.glob(str(path), recursive=True))  # noqa: PTH207
    if not found:
        fault(path, "matches no file", "check the pattern")
    return found


def _files(path: Path, split: str | None) -> list[Path]:
    if not path.exists():
        fault(path, "is not there", "check the path; relative ones are looked for from the recipe")
    if path.is_file():
        if _ending(path) not in ENDINGS:
            fault(path, "has an unknown ending", f"known: {', '.join(ENDINGS)}, each also .gz")
        return [path]
    from tracecraft.curate.arrows import saved

    files = saved(path, split)
    if files is not None:
        return files
    inner = path / "shards" if (path / "shards").is_dir() else path
    found = sorted(one for one in inner.rglob("*") if _ending(one) in ENDINGS and one.is_file())
    data = [one for one in found if not one.name.startswith(".") and one.name != "manifest.json"]
    if not data:
        fault(path, "holds no data file", f"known: {', '.join(ENDINGS)}, or a saved dataset")
    return data


def _ending(path: Path) -> str:
    suffixes = [one.lower() for one in path.suffixes]
    if suffixes and suffixes[-1] in PACKINGS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def digest_of(path: Path) -> str:
    """The file's digest; one that did not change is not read again."""
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, modified: int) -> str:
    return file_digest(path)
