"""Which items of benchmarks the data that a model was trained on holds."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import polars as pl
from pydantic import Field

from tracecraft.errors import DataError
from tracecraft.evaluate.items import ITEM
from tracecraft.plugin import path_digest
from tracecraft.stage import Desk, Job, Progress, Stage
from tracecraft.store import OUTPUT, Dataset, replacing

TEXTS = ("statement", "problem", "question", "prompt", "reasoning", "response", "text")
CHATS = ("messages", "conversations")
RAW = "raw"
"""The part of a written dataset that nobody trains on: what examples were chosen from."""
LEAK = pl.Schema({"benchmark": pl.String(), ITEM: pl.String(), "rows": pl.UInt32()})


class Leaks(Job, use="leaks", version=1):
    """Items of benchmarks in training data, found by `decontaminate`: `leaks.parquet`.

    Its inputs are the problems of each benchmark and then the steps whose rows were trained on.
    Every text of a row is searched: what was asked, what was thought, what was answered. A text
    that holds several items counts for the one it holds most completely.
    """

    benchmarks: tuple[str, ...] = Field(strict=False)
    """What the first inputs are the problems of."""
    path: tuple[Path, ...] = Field(default=(), strict=False)
    """Files or folders of training data, besides the inputs."""

    reads: ClassVar = ()

    def identity(self) -> dict[str, Any]:
        """Files count by their content."""
        told = self.model_copy(update={"path": ()})
        digests = [path_digest(one) for one in self.path]
        return {**super(Leaks, told).identity(), "path": digests}

    def __call__(self, inputs: tuple[Path, ...], into: Path, desk: Desk) -> None:
        """Raises DataError where no text is found in the training data."""
        count = len(self.benchmarks)
        places = [*inputs[count:], *self.path]
        searched = Stage.bind({"use": "decontaminate", "column": "text"})
        found: dict[tuple[str, str], int] = {}
        rows = 0
        for place in places:
            for table in _tables(place):
                texts = _texts(table, place)
                rows += table.height
                for name, home in zip(self.benchmarks, inputs, strict=False):
                    problems = _problems(home, name)
                    for item in _found(searched, texts, problems):
                        found[name, item] = found.get((name, item), 0) + 1
                desk.report(Progress(rows, rows, "rows"))
        lines = [(name, item, times) for (name, item), times in sorted(found.items())]
        with replacing(into / "leaks.parquet") as half:
            pl.DataFrame(lines, schema=LEAK, orient="row").write_parquet(half)
        desk.report(Progress(rows, rows, "rows", {"searched": rows, "items": len(found)}))


def touched_items(folder: Path, benchmark: str) -> set[str]:
    """The items of a benchmark that a `leaks` job found."""
    table = pl.read_parquet(folder / "leaks.parquet")
    return set(table.filter(pl.col("benchmark") == benchmark)[ITEM])


def _problems(home: Path, benchmark: str) -> pl.DataFrame:
    """One row an item: orders of its options are one question."""
    rows = Dataset.open(home).scan().select(ITEM, "statement").collect()
    first = rows.unique(ITEM, keep="first", maintain_order=True)
    return first.select(
        pl.col(ITEM).alias("problem_id"), "statement", pl.lit(benchmark).alias("benchmark")
    )


def _found(searched: Stage, texts: pl.DataFrame, problems: pl.DataFrame) -> Iterator[str]:
    marked = searched(texts.lazy(), problems.lazy()).select("contaminated_by", "dropped").collect()
    yield from marked.filter(pl.col("dropped").is_not_null())["contaminated_by"]


def _tables(place: Path) -> Iterator[pl.DataFrame]:
    """The rows of a step, of a dataset that a step wrote, or of files."""
    if (place / "manifest.json").exists() and not (place / OUTPUT).exists():
        for shard in Dataset.open(place).shards:
            yield shard.scan().collect()
        return
    made = place / OUTPUT
    yield from _files(made, RAW) if made.exists() else _files(place)


def _files(place: Path, apart: str = "") -> Iterator[pl.DataFrame]:
    readers: dict[str, Callable[[Path], pl.DataFrame]] = {
        ".jsonl": pl.read_ndjson,
        ".parquet": pl.read_parquet,
        ".json": pl.read_json,
        ".arrow": _arrow,
    }
    files = sorted(place.rglob("*")) if place.is_dir() else [place]
    known = [one for one in files if one.suffix in readers and one.is_file()]
    known = [one for one in known if one.suffix != ".json" or one == place]
    known = [one for one in known if apart not in one.relative_to(place).parts]
    if not known:
        raise DataError(f"{place}: holds no .jsonl, .json, .parquet or .arrow file")
    for one in known:
        try:
            yield readers[one.suffix](one)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError(f"{one}: cannot be read: {str(error).splitlines()[0]}") from error


def _arrow(path: Path) -> pl.DataFrame:
    """An IPC file, or a stream as `datasets` writes it."""
    with path.open("rb") as file:
        whole = file.read(6) == b"ARROW1"
    return pl.read_ipc(path) if whole else pl.read_ipc_stream(path)


def _texts(table: pl.DataFrame, place: Path) -> pl.DataFrame:
    """Every text of every row, one a row."""
    columns = [table[name] for name in TEXTS if name in table and table[name].dtype == pl.String]
    for name in CHATS:
        if name in table.columns and table[name].dtype.base_type() == pl.List:
            said = table[name].explode().drop_nulls()
            if isinstance(said.dtype, pl.Struct):
                fields = said.struct.unnest()
                columns += [fields[one] for one in ("content", "value") if one in fields.columns]
    if not columns:
        raise DataError(
            f"{place}: no column holds a text: it has {', '.join(table.columns)}"
            f"\n  known  {', '.join((*TEXTS, *CHATS))}"
        )
    texts = pl.concat([column.cast(pl.String).alias("text") for column in columns])
    return pl.DataFrame({"text": texts.drop_nulls().unique()})
