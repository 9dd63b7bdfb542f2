"""Problems from files: JSON lines, JSON, CSV, Parquet, Arrow, saved `datasets`, also packed."""

import glob
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import Field, field_validator

from tracecraft.curate import columns, shape
from tracecraft.curate.formats import Csv, Input, Json, JsonLines, fault
from tracecraft.curate.source import Source
from tracecraft.errors import DataError
from tracecraft.plugin import file_digest
from tracecraft.schema import DOMAIN, OPTIONAL, QUESTION

Domain = Literal["math", "code", "science", "logic", "chat"]
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


class Files(Source, use="files", version=1):
    """Problems from local files, in the order of the files and of their rows."""

    path: tuple[Path, ...] = Field(strict=False)
    """A file, a folder, a pattern, or a list of them; relative to the recipe."""
    map: dict[str, str] = Field(default_factory=dict)
    """Ours: theirs. Theirs may lead into objects and lists: `extra_info.answer`, `prompt.user`."""
    license: str | None = None
    """The licence of rows that name none."""
    source: str | None = None
    """Where the rows are from; without it a row's own `source`, or `file:NAME`."""
    domain: Domain | None = None
    """The domain of all rows; without it a row's own `domain`."""
    split: str | None = None
    """Which part of a saved DatasetDict; `all` takes every one."""
    answer_after: str | None = None
    """The reference answer is what follows the last such mark (GSM8K: `####`); what stands
    before it becomes the solution. An answer without the mark is null."""

    @field_validator("path", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (str, Path)) else value

    def identity(self) -> dict[str, Any]:
        """The files count by name and content, wherever they lie."""
        files = [[path.name, digest_of(path)] for path in expand(self.path, self.split)]
        return {**super().identity(), "path": files}

    def read(self) -> Iterator[pl.DataFrame]:
        where = ", ".join(map(str, self.path))
        opened = inputs(self.path, self.split)
        schema = joined(opened)
        known = self._found(list(schema), where)
        filled: set[str] = set()
        rows = 0
        for path, piece in tables(opened, as_text(schema, known.values())):
            made = self._questions(piece, known, path)
            filled |= {n for n in self.map if made[n].null_count() < made.height}
            rows += piece.height
            yield made
        check_filled(where, rows, self.map, filled)

    def _found(self, theirs: list[str], where: str) -> dict[str, str]:
        ours = [*QUESTION, *OPTIONAL, "domain"]
        known = columns.find(ours, theirs, self.map, where, required=("statement",))
        for name in ("source", "domain"):
            if getattr(self, name) is not None and name not in self.map:
                known.pop(name, None)
        return known

    def _questions(self, piece: pl.DataFrame, known: Mapping[str, str], path: Path) -> pl.DataFrame:
        made = questions(piece, known, str(path))
        return dress(
            made,
            source=self.source or f"file:{path.name}",
            license=self.license,
            domain=self.domain,
            answer_after=self.answer_after,
        )


def questions(piece: pl.DataFrame, known: Mapping[str, str], where: str) -> pl.DataFrame:
    """A table of theirs with our columns in front and what became none of ours behind."""
    made: dict[str, pl.Series] = {}
    for name in (*QUESTION, "domain", *OPTIONAL):
        if name in known:
            made[name] = _column(piece, name, known[name], where)
        elif name in QUESTION:
            made[name] = pl.Series(name, [None] * piece.height, dtype=pl.String)
    others = columns.aside(piece, known.values(), made)
    return pl.DataFrame([*(column.alias(name) for name, column in made.items()), *others])


def _column(piece: pl.DataFrame, name: str, path: str, where: str) -> pl.Series:
    if name == "statement":
        return columns.prose(piece, path, where)
    if name == "choices":
        lists = [
            columns.decoded(v) if isinstance(v, str) else v for v in columns.values(piece, path)
        ]
        texts = [[shape.as_text(o) for o in v] if isinstance(v, list) else None for v in lists]
        return pl.Series(name, texts, dtype=OPTIONAL["choices"])
    column = columns.text(piece, path)
    if name != "difficulty":
        return column
    try:
        return column.cast(pl.Float32)
    except pl.exceptions.InvalidOperationError:
        raise DataError(
            f"{where}: column {path!r} is no number, as a difficulty must be"
            "\n  next   map another column to difficulty, or rename this one"
        ) from None


def dress(
    made: pl.DataFrame,
    *,
    source: str,
    license: str | None,
    domain: str | None,
    answer_after: str | None = None,
) -> pl.DataFrame:
    """The same questions with what holds for all of them filled in."""
    made = made.with_columns(
        pl.col("source").fill_null(source), pl.col("license").fill_null(pl.lit(license, pl.String))
    )
    if domain is not None:
        if "domain" in made.columns:
            made = made.rename({"domain": "theirs_domain"})
        made = made.insert_column(len(QUESTION), pl.lit(domain, DOMAIN).alias("domain"))
    if answer_after is None:
        return made
    parts = pl.col("answer").str.split(answer_after)
    marked = pl.col("answer").str.contains(answer_after, literal=True)
    whole = parts.list.slice(0, parts.list.len() - 1).list.join(answer_after)
    before = pl.when(marked).then(whole).otherwise("answer").str.strip_chars()
    kept = pl.coalesce("solution", before) if "solution" in made.columns else before
    return made.with_columns(
        pl.when(marked).then(parts.list.last().str.strip_chars()).alias("answer"),
        kept.alias("solution"),
    )


def check_filled(where: str, rows: int, mapping: Mapping[str, str], filled: set[str]) -> None:
    """Raise where nothing came, or a mapped column had no value at all."""
    if rows == 0:
        raise DataError(f"{where}: holds no rows\n  next   check that it was written to its end")
    for name, path in mapping.items():
        if name not in filled:
            raise DataError(
                f"{where}: map.{name}: {path!r} has no value in any of {rows} rows"
                "\n  next   look at one row: the path may lead past what it means"
            )


def read_table(path: Path, text: Collection[str] = (), split: str | None = "all") -> pl.LazyFrame:
    """A file of others as it is: every column, every row, in order.

    Args:
        path: a file, a folder or a pattern.
        text: columns to keep as text, so that an answer 42 beside 0.5 does not turn into 42.0.
        split: which part of a saved DatasetDict.

    Raises:
        DataError: `file:line: what; what next`.
    """
    opened = inputs((path,), split)
    schema = as_text(joined(opened), text)
    only = opened[0].path
    if len(opened) == 1 and only.suffix == ".parquet":
        lazy = pl.scan_parquet(only, glob=False)
        if lazy.collect_schema() == schema:
            return lazy
    pieces = [piece for _, piece in tables(opened, schema)]
    return (pl.concat(pieces) if pieces else pl.DataFrame(schema=schema)).lazy()


def tables(opened: Sequence[Input], schema: pl.Schema) -> Iterator[tuple[Path, pl.DataFrame]]:
    """The rows of several files in pieces of these columns, with the file of each."""
    for one in opened:
        for piece in one.pieces(schema):
            yield one.path, piece


def joined(opened: Sequence[Input]) -> pl.Schema:
    """The columns that all rows of some files have together."""
    schema: dict[str, pl.DataType] = {}
    for one in opened:
        schema |= {n: shape.common(schema.get(n, t), t) for n, t in one.columns.items()}
    return pl.Schema(schema)


def as_text(schema: pl.Schema, names: Collection[str]) -> pl.Schema:
    """The schema with those columns as text, where they are not nested."""
    return pl.Schema(
        {n: pl.String() if n in names and not t.is_nested() else t for n, t in schema.items()}
    )


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
