"""The benchmarks that `decontaminate` knows by name, and any other from a file."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl

from tracecraft.curate import columns
from tracecraft.curate.files import digest_of, expand, read_table
from tracecraft.curate.leaks import Item
from tracecraft.errors import DataError, did_you_mean
from tracecraft.plugin import digest

STATEMENTS = ("statement", "problem", "question", "prompt", "question_content", "text", "query")
"""Columns that hold a problem, the likeliest first. Letter case does not count."""
IDS = ("problem_id", "id", "task_id", "unique_id", "question_id", "record id", "idx", "global_id")
"""Columns that name one."""
BENCHMARK = "benchmark"
"""A column that names the benchmark of each row: in a file that `freeze` wrote."""


@dataclass(frozen=True, slots=True)
class Preset:
    """Where a benchmark lies on the hub, at the commit that others pin too."""

    repo: str
    revision: str
    split: str = "test"
    config: str | None = None
    statement: str = "problem"
    id: str | None = None
    """None: the number of the row."""
    files: tuple[str, ...] = ()
    """Files of a repository that can be loaded only by a script of its own, which we don't run."""


PRESETS = {
    "aime24": Preset(
        "HuggingFaceH4/aime_2024", "2fe88a2f1091d5048c0f36abc874fb997b3dd99a", "train", id="id"
    ),
    "aime25": Preset("math-ai/aime25", "563bb8404243c5f09de6ec262f2db674fe5bce9b", id="id"),
    "math500": Preset(
        "HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", id="unique_id"
    ),
    "amc23": Preset(
        "math-ai/amc23", "80815d37005feb82cd7f8fbc6901d5d3eff43057", statement="question", id="id"
    ),
    "gpqa_diamond": Preset(
        "Idavidrein/gpqa", "633f5ee89ab8ad4522a9f850766b73f62147ffdd", "train", "gpqa_diamond",
        "Question", "Record ID",
    ),
    "livecodebench": Preset(
        "livecodebench/code_generation_lite", "0fe84c3912ea0c4d4a78037083943e8f0c4dd505",
        statement="question_content", id="question_id",
        files=("test.jsonl", *(f"test{n}.jsonl" for n in range(2, 7))),
    ),
    "humaneval": Preset(
        "openai/openai_humaneval", "7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
        statement="prompt", id="task_id",
    ),
    "mbpp": Preset(
        "google-research-datasets/mbpp", "4bb6404fdc6cacfda99d4ac4205087b89d32030c",
        config="full", statement="text", id="task_id",
    ),
}  # fmt: skip
"""GPQA is gated: the hub wants `HF_TOKEN` and consent. LiveCodeBench's files carry all tests."""


def read(against: str) -> list[Item]:
    """The problems of a named benchmark, or those of a file, folder or pattern.

    Raises:
        DataError: no such name or file, no way to the hub, or no column that holds a problem.
    """
    if against in PRESETS:
        return _from_hub(against, PRESETS[against])
    return _from_files(_path(against))


def identity(against: str) -> str:
    """What decides the problems of a benchmark: its commit, or the digest of its files."""
    if against in PRESETS:
        return digest(asdict(PRESETS[against]), size=16)
    return digest([digest_of(file) for file in expand((_path(against),), "all")], size=16)


def items_of(table: pl.DataFrame, name: str, where: str) -> list[Item]:
    """The problems of a table, under the usual names of columns.

    A column `source` or `benchmark` names each row's benchmark; else all are `name`'s.
    """
    lower = {column.lower(): column for column in reversed(table.columns)}
    statement = next((lower[one] for one in STATEMENTS if one in lower), None)
    if statement is None:
        raise DataError(
            f"{where}: no column holds the problem: it has {', '.join(table.columns)}"
            f"\n  known  {', '.join(STATEMENTS)}"
        )
    named = next((lower[one] for one in IDS if one in lower and lower[one] != statement), None)
    return _items(table, statement, named, name, where)


def _items(
    table: pl.DataFrame, statement: str, named: str | None, name: str, where: str
) -> list[Item]:
    texts = columns.prose(table, statement, where).to_list()
    ids = columns.text(table, named).to_list() if named else [None] * len(texts)
    who = table[BENCHMARK].to_list() if BENCHMARK in table.columns else [name] * len(texts)
    rows = enumerate(zip(who, ids, texts, strict=True), start=1)
    return [Item(str(b), str(i or f"row {n}"), text) for n, (b, i, text) in rows if text]


def _path(against: str) -> Path:
    path = Path(against).expanduser()
    if not path.exists() and "/" not in against and "." not in against and "*" not in against:
        raise DataError(
            f"no benchmark and no file is called {against!r}{did_you_mean(against, PRESETS)}"
        )
    return path


def _from_files(path: Path) -> list[Item]:
    found: list[Item] = []
    for file in expand((path,), "all"):
        name = file.name.split(".")[0]
        found += items_of(read_table(file).collect(), name, str(file))
    return found


def _from_hub(name: str, preset: Preset) -> list[Item]:
    from tracecraft.curate.hub import open_hub

    try:
        if preset.files:
            return list(_downloaded(name, preset))
        place = open_hub(preset.repo, preset.revision, preset.config, preset.split)
    except DataError as error:
        raise DataError(
            f"benchmark {name}: {error}"
            f"\n         or give its problems as a file: against: PATH/{name}.jsonl"
        ) from error
    schema = place.as_text({"id": preset.id} if preset.id else {})
    wanted = [column for column in (preset.statement, preset.id) if column is not None]
    pieces = [piece.select(wanted) for _, piece in place.pieces(schema)]
    return _items(pl.concat(pieces), preset.statement, preset.id, name, place.where)


def _downloaded(name: str, preset: Preset) -> Iterator[Item]:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    for file in preset.files:
        try:
            path = hf_hub_download(preset.repo, file, repo_type="dataset", revision=preset.revision)
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
            raise DataError(
                f"hf:{preset.repo}@{preset.revision}: {file}: {str(error).splitlines()[0]}"
                "\n  next   check the network, or set HF_HUB_OFFLINE=1 where the cache has it;"
            ) from error
        table = pl.scan_ndjson(path).select(preset.statement, preset.id or preset.statement)
        yield from _items(table.collect(), preset.statement, preset.id, name, file)


def freeze(against: Sequence[str], into: Path) -> pl.DataFrame:
    """Write the problems of several benchmarks into one Parquet file, to be read without the hub.

    `against: [into]` then names every benchmark as before. The file's metadata say when it was
    made, from which commits or files, and the digest of what was read. Returns its rows.
    """
    sources = {}
    found: list[Item] = []
    for name in against:
        items = read(name)
        spelt = json.dumps([asdict(item) for item in items], ensure_ascii=False).encode()
        preset = PRESETS.get(name)
        sources[name] = {
            "from": f"hf:{preset.repo}@{preset.revision}" if preset else name,
            "items": len(items),
            "digest": hashlib.blake2b(spelt, digest_size=16).hexdigest(),
        }
        found += items
    table = pl.DataFrame(
        {
            BENCHMARK: [item.benchmark for item in found],
            "id": [item.id for item in found],
            "statement": [item.text for item in found],
        },
        schema={BENCHMARK: pl.String, "id": pl.String, "statement": pl.String},
    )
    made = {"date": datetime.now(UTC).date().isoformat(), "benchmarks": sources}
    table.write_parquet(into, metadata={"tracecraft": json.dumps(made)})
    return table
