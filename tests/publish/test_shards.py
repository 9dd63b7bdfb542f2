import gzip
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.errors import DataError
from tracecraft.publish import shards
from tracecraft.publish.shards import Write, write_table
from tracecraft.schema import DOMAIN, EXAMPLE
from tracecraft.stage import Desk, Job
from tracecraft.store import Manifest, write_shard


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch, tmp_path):
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def example(n: int, domain: str) -> dict:
    said = [
        {"role": "user", "content": f"How many? {n} é\u2028√"},
        {"role": "assistant", "content": f"<think>\nhm {n}\n</think>\n\n\\boxed{{{n}}}"},
    ]
    return {
        "example_id": f"e{n}",
        "problem_id": f"p{n}",
        "trace_id": f"t{n}",
        "domain": domain,
        "source": "file:x",
        "license": None if n % 2 else "MIT",
        "messages": said,
        "tokens": n,
    }


def home(folder: Path, rows: dict[str, list[int]], schema: pl.Schema = EXAMPLE, size=3) -> Path:
    """A finished step: a few shards a domain, and its manifest."""
    listed = {}
    for domain, numbers in rows.items():
        starts = range(0, len(numbers), size) or [0]
        for i, start in enumerate(starts):
            made = [example(n, domain) | more(schema) for n in numbers[start : start + size]]
            table = pl.DataFrame(made, schema=schema)
            shard = write_shard(table, folder / "shards" / domain / f"{i:05d}.arrow")
            listed[f"{domain}/{i:05d}.arrow"] = (shard.rows, shard.digest, shard.bytes)
    folder.mkdir(exist_ok=True, parents=True)
    total = sum(map(len, rows.values()))
    Manifest("x", {}, [], total, total, {}, listed).write(folder)
    return folder


def more(schema: pl.Schema) -> dict:
    return {"outcome": "correct", "flags": [True]} if "flags" in schema else {}


RICH = pl.Schema(
    {**EXAMPLE, "outcome": pl.Enum(["correct", "incorrect"]), "flags": pl.List(pl.Boolean)}
)


@pytest.fixture
def written(tmp_path) -> Path:
    rows = {"math": list(range(7)), "code": [100, 101]}
    examples = home(tmp_path / "examples", rows)
    raw = home(tmp_path / "raw", rows, RICH)
    into = tmp_path / "out"
    into.mkdir()
    Job.bind({"use": "write"})((examples, raw), into, Desk())
    return into


def test_datasets_opens_the_whole_a_domain_and_a_stream_without_conversion(written):
    import datasets

    whole = datasets.load_from_disk(str(written))
    assert {name: part.num_rows for name, part in whole.items()} == {"code": 2, "math": 7}
    math = datasets.load_from_disk(str(written / "math"))
    assert [row["example_id"] for row in math] == [f"e{n}" for n in range(7)]
    assert math[3]["messages"] == example(3, "math")["messages"]
    assert math.column_names == list(EXAMPLE)
    loaded = datasets.load_dataset(str(written), "math", split="train")
    assert loaded[:] == math[:]
    streamed = datasets.load_dataset(str(written), "code", streaming=True)["train"]
    assert [row["tokens"] for row in streamed] == [100, 101]
    assert loaded.features == math.features


def test_no_text_column_named_prompt_stands_beside_messages(written):
    import datasets

    assert "prompt" not in datasets.load_from_disk(str(written / "math")).column_names


def test_the_raw_part_holds_every_column_and_opens_as_well(written):
    import datasets

    raw = datasets.load_from_disk(str(written / "raw"))
    assert raw["math"].column_names == list(RICH)
    assert raw["code"][0]["outcome"] == "correct"
    assert raw["code"][0]["flags"] == [True]
    loaded = datasets.load_dataset(str(written), "raw_math", split="train")
    assert loaded.num_rows == 7


def test_polars_and_pyarrow_open_the_files(written):
    files = sorted((written / "math").glob("*.arrow"))
    assert pl.read_ipc_stream(files[0]).height == 7
    with pa.memory_map(str(files[0])) as file:
        assert pa.ipc.open_stream(file).read_all().num_rows == 7


def test_files_are_split_by_rows_and_batches_by_a_thousand(tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(shards, "FILE_ROWS", 4)
    monkeypatch.setattr(shards, "BATCH_ROWS", 2)
    examples = home(tmp_path / "examples", {"math": list(range(8))})
    Write()((examples,), tmp_path / "out", Desk())
    names = sorted(path.name for path in (tmp_path / "out/math").glob("*.arrow"))
    assert names == ["data-00000-of-00002.arrow", "data-00001-of-00002.arrow"]
    assert datasets.load_from_disk(str(tmp_path / "out/math"))["tokens"][:] == list(range(8))
    with pa.OSFile(str(tmp_path / "out/math" / names[0])) as file:
        assert [batch.num_rows for batch in pa.ipc.open_stream(file)] == [2, 1, 2, 1]


def test_the_same_rows_give_the_same_bytes(tmp_path):
    examples = home(tmp_path / "examples", {"math": list(range(1000, 3005))}, size=900)
    for out in ("one", "two"):
        Write()((examples, examples), tmp_path / out, Desk())
    one = {p.relative_to(tmp_path / "one"): p.read_bytes() for p in (tmp_path / "one").rglob("*.*")}
    two = {p.relative_to(tmp_path / "two"): p.read_bytes() for p in (tmp_path / "two").rglob("*.*")}
    assert one == two


@pytest.mark.parametrize("rows", [{}, {"math": []}, {"math": [], "code": [1]}])
def test_a_yield_of_nothing_is_an_openable_empty_dataset(tmp_path, rows):
    import datasets

    Write()((home(tmp_path / "examples", rows),), tmp_path / "out", Desk())
    whole = datasets.load_from_disk(str(tmp_path / "out"))
    assert all(part.column_names == list(EXAMPLE) for part in whole.values())
    assert {name: part.num_rows for name, part in whole.items()} == (
        {name: len(numbers) for name, numbers in rows.items() if numbers} or {"train": 0}
    )
    if "code" in rows:
        assert datasets.load_dataset(str(tmp_path / "out"), "code", split="train").num_rows == 1


def test_progress_counts_every_row_of_both_inputs(tmp_path):
    seen = []
    examples = home(tmp_path / "examples", {"math": list(range(7))})
    Write()((examples, examples), tmp_path / "out", Desk(report=seen.append))
    assert [(p.done, p.total) for p in seen][-1] == (14, 14)


TABLE = pl.DataFrame(
    {
        "text": ["a\u2028b\n", None, "é√\x85"],
        "number": [1, None, -(2**63)],
        "real": [0.5, None, 1e300],
        "nested": [[{"a": "x", "b": [1]}], None, []],
        "domain": pl.Series(["math", None, "code"], dtype=DOMAIN),
    }
)


@pytest.mark.parametrize("name", ["out.parquet", "out.arrow", "out.jsonl", "out.jsonl.gz", "out"])
def test_a_table_is_written_by_the_ending_and_reads_back_the_same(tmp_path, name):
    out = tmp_path / name
    for _ in range(2):  # a second time replaces the first
        write_table(TABLE.lazy(), out)
    text = TABLE.with_columns(pl.col("domain").cast(pl.String))
    assert back(out).to_dicts() == text.to_dicts()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def back(out: Path) -> pl.DataFrame:
    if out.suffix == ".parquet":
        return pl.read_parquet(out).cast({pl.Enum: pl.String})
    if out.suffix == ".arrow":
        return pl.read_ipc(out).cast({pl.Enum: pl.String})
    if out.is_dir():
        import datasets

        return pl.DataFrame(datasets.load_from_disk(str(out)).to_list(), schema_overrides={})
    body = gzip.decompress(out.read_bytes()) if out.suffix == ".gz" else out.read_bytes()
    return pl.DataFrame([json.loads(line) for line in body.removesuffix(b"\n").split(b"\n")])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.fixed_dictionaries({"t": st.text() | st.none(), "n": st.integers(-9, 9)})))
def test_json_lines_hold_any_text_one_row_a_line(tmp_path_factory, rows):
    out = tmp_path_factory.mktemp("lines") / "out.jsonl"
    table = pl.DataFrame(rows, schema={"t": pl.String, "n": pl.Int64})
    write_table(table, out)
    lines = out.read_bytes().split(b"\n")
    assert lines.pop() == b""
    assert [json.loads(line) for line in lines] == rows


@pytest.mark.parametrize("name", ["out.csv", "out.json", "out.csv.gz"])
def test_an_ending_that_is_not_written_is_an_error_not_a_folder(tmp_path, name):
    with pytest.raises(DataError, match=r"use \.parquet"):
        write_table(TABLE, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").touch()
    with pytest.raises(DataError, match="holds something else"):
        write_table(TABLE, tmp_path / "mine")
    assert (tmp_path / "mine/thesis.tex").exists()


def test_an_empty_table_is_written_in_every_format(tmp_path):
    for name in ("out.parquet", "out.arrow", "out.jsonl", "out"):
        write_table(TABLE.clear(), tmp_path / name)
    assert pl.read_parquet(tmp_path / "out.parquet").height == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_features_are_what_datasets_itself_makes_of_the_same_types():
    import datasets

    inner = pl.Struct({"a": pl.List(pl.List(pl.Float32)), "b": pl.Boolean, "c": pl.Binary})
    schema = pl.Schema(
        {
            "ints": pl.List(pl.Int16),
            "wide": pl.UInt64,
            "real": pl.Float64,
            "date": pl.Date,
            "time": pl.Time,
            "when": pl.Datetime("us"),
            "zone": pl.Datetime("ms", "UTC"),
            "span": pl.Duration("us"),
            "price": pl.Decimal(12, 2),
            "nested": inner,
            "list": pl.List(inner),
            "domain": DOMAIN,
            "nothing": pl.Null,
        }
    )
    plain = shards.plain_schema(schema)
    made = {field.name: shards.feature(field.type) for field in plain}
    assert made == datasets.Features.from_arrow_schema(plain).to_dict()
