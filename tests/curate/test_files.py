import csv
import gzip
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.curate.files import Files, read_table
from tracecraft.curate.source import Source
from tracecraft.errors import DataError
from tracecraft.schema import DOMAIN, QUESTION

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALAR = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
JSON = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
)
ROWS = st.lists(
    st.fixed_dictionaries({"question": TEXT.filter(bool), "answer": SCALAR, "extra": JSON}),
    min_size=1,
    max_size=6,
)


def lines(rows) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def put(path: Path, body: bytes) -> Path:
    path.write_bytes(gzip.compress(body) if path.suffix == ".gz" else body)
    return path


def read(path, **options) -> pl.DataFrame:
    return pl.concat(list(Source.bind({"use": "files", "path": path, **options}).read()))


@settings(deadline=None, max_examples=60)
@given(ROWS, st.sampled_from([".jsonl", ".jsonl.gz", ".json", ".json.gz"]), st.booleans())
def test_json_of_any_kind_keeps_every_text_and_number(tmp_path_factory, rows, ending, bom):
    path = tmp_path_factory.mktemp("json") / f"a{ending}"
    body = lines(rows) if "l" in ending.removesuffix(".gz") else json.dumps(rows).encode()
    put(path, b"\xef\xbb\xbf" * bom + body)
    table = read(path)
    assert table["statement"].to_list() == [row["question"] for row in rows]
    for given_, found in zip(rows, table["answer"], strict=True):
        assert found == said(given_["answer"])


def said(value) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value) if isinstance(value, bool) else repr(value)


@settings(deadline=None, max_examples=40)
@given(st.lists(JSON, min_size=1, max_size=6))
def test_what_a_table_cannot_type_is_kept_as_json_text(tmp_path_factory, values):
    path = put(tmp_path_factory.mktemp("any") / "a.jsonl", lines({"x": v} for v in values))
    held = read_table(path).collect()["x"].to_list()
    for value, found in zip(values, held, strict=True):
        if isinstance(found, str) and not isinstance(value, str):
            found = json.loads(found)
        assert found == value


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.fixed_dictionaries({"question": TEXT, "level": st.none() | st.integers(-9, 9)}),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["parquet", "arrow", "stream.arrow", "datasets"]),
)
def test_typed_formats_keep_types_and_text(tmp_path_factory, rows, kind):
    folder = tmp_path_factory.mktemp("typed")
    schema = pa.schema([("question", pa.string()), ("level", pa.int64())])
    path = save(pa.Table.from_pylist(rows, schema), folder / f"a.{kind}", kind)
    assert read_table(path).collect().to_dicts() == rows
    assert read(path)["statement"].to_list() == [row["question"] for row in rows]


def save(table: pa.Table, path: Path, kind: str) -> Path:
    if kind == "parquet":
        pq.write_table(table, path)
    elif kind == "arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as out:
            out.write_table(table)
    elif kind == "stream.arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
            out.write_table(table)
    else:
        import datasets

        datasets.disable_progress_bars()
        datasets.Dataset(table).save_to_disk(path)
    return path


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(TEXT.filter(lambda t: "\0" not in t), st.integers()), min_size=1))
def test_csv_is_text_and_nothing_else(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)
        out.writerows([("question", "answer"), *rows])
    table = read(path)
    assert table["statement"].to_list() == [text or None for text, _ in rows]
    assert table["answer"].to_list() == [str(number) for _, number in rows]


def test_a_line_separator_inside_a_string_ends_no_row(tmp_path):
    rows = [{"problem": "a\u2028b\u2029c\x85d", "answer": "1"}, {"problem": "e", "answer": "2"}]
    assert read(put(tmp_path / "a.jsonl", lines(rows)))["statement"].to_list() == [
        "a\u2028b\u2029c\x85d",
        "e",
    ]


def test_windows_line_ends_blank_lines_and_a_missing_last_newline_are_fine(tmp_path):
    body = b'{"problem": "a"}\r\n\r\n{"problem": "b"}\n  \n{"problem": "c"}'
    assert read(put(tmp_path / "a.jsonl", body))["statement"].to_list() == ["a", "b", "c"]


def test_a_column_may_change_its_type_in_the_last_row(tmp_path):
    rows = [{"problem": str(i), "answer": i, "level": i} for i in range(9_999)]
    rows.append({"problem": "z", "answer": "x=1", "level": "hard"})
    table = read(put(tmp_path / "a.jsonl", lines(rows)))
    assert table["answer"][-2:].to_list() == ["9998", "x=1"]
    assert table["level"].to_list()[-2:] == ["9998", "hard"]


def test_whole_numbers_stay_whole_beside_fractions_lists_and_giants(tmp_path):
    answers = [42, 0.5, 27.0, 10**30, [1, "a"], True, None, {"x": 10**25}]
    rows = [{"problem": "p", "answer": one} for one in answers]
    assert read(put(tmp_path / "a.jsonl", lines(rows)))["answer"].to_list() == [
        "42",
        "0.5",
        "27.0",
        "1" + "0" * 30,
        '[1,"a"]',
        "true",
        None,
        '{"x":10000000000000000000000000}',
    ]


def test_numbers_of_other_columns_stay_numbers(tmp_path):
    rows = [{"problem": "p", "n": 1, "x": 1, "big": 2**60}, {"problem": "q", "n": 2, "x": 0.5}]
    table = read(put(tmp_path / "a.jsonl", lines([*rows, {"problem": "r", "big": 0.5}])))
    assert table.schema["n"] == pl.Int64
    assert table.schema["x"] == pl.Float64
    assert table["big"].to_list() == [str(2**60), None, "0.5"]  # a double would change it


def test_python_writes_nan_and_it_is_read(tmp_path):
    body = b'{"problem": "p", "score": NaN}\n{"problem": "q", "score": 1.5}\n'
    assert read(put(tmp_path / "a.jsonl", body))["score"][1] == 1.5


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([{"question": "a", "gold": 1}], [("a", "1")]),
        ({"data": [{"question": "a", "gold": 1}], "version": 2}, [("a", "1")]),
        ({"question": ["a", "b"], "gold": [1, 2]}, [("a", "1"), ("b", "2")]),
        ({"id7": {"question": "a", "gold": 1}, "id8": {"question": "b", "gold": 2}},
         [("a", "1"), ("b", "2")]),
        ({"question": "a", "gold": 1}, [("a", "1")]),
    ],
)  # fmt: skip
def test_json_holds_its_rows_in_any_of_the_usual_ways(tmp_path, value, expected):
    table = read(put(tmp_path / "a.json", json.dumps(value, indent=1).encode()))
    assert list(zip(table["statement"], table["answer"], strict=True)) == expected


def test_objects_by_id_keep_their_id(tmp_path):
    path = put(tmp_path / "a.json", b'{"id7": {"question": "a"}, "id8": {"question": "b"}}')
    assert read(path)["key"].to_list() == ["id7", "id8"]


def test_json_lines_under_the_name_json_are_read_as_lines(tmp_path):
    path = put(tmp_path / "a.json", lines([{"question": "a"}, {"question": "b"}]))
    assert read(path).height == 2


def test_a_map_leads_into_objects_lists_chats_and_json_text(tmp_path):
    row = {
        "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}],
        "extra_info": json.dumps({"answer": {"value": [7, 8]}}),
        "info": {"0.6": {"kind": "easy"}},
    }
    mapping = {
        "statement": "prompt.user",
        "answer": "extra_info.answer.value.1",
        "solution": "info.0.6.kind",
    }
    table = read(put(tmp_path / "a.jsonl", lines([row, row])), map=mapping)
    assert table.row(0, named=True)["statement"] == "q"
    assert table.row(0, named=True)["answer"] == "8"
    assert table.row(1, named=True)["solution"] == "easy"


def test_only_the_columns_that_are_wanted_pass_through(tmp_path):
    row = {"question": "q", "extra": {"gold": "1"}, "level": 3, "source": "amc", "long": "x"}
    path = put(tmp_path / "a.jsonl", lines([row]))
    mapping = {"answer": "extra.gold"}
    assert read(path, map=mapping).columns == [*QUESTION, "extra", "level", "long"]
    assert read(path, map=mapping, keep=["level"]).columns == [*QUESTION, "level"]
    kept = read(path, map=mapping, keep=["source"], source="here")
    assert kept.columns == [*QUESTION, "theirs_source"]
    with pytest.raises(DataError, match="keep: no column 'levle'; did you mean 'level'"):
        read(path, keep=["levle"])


def test_what_follows_the_mark_is_the_answer_and_the_rest_the_solution(tmp_path):
    rows = [{"question": "q", "answer": "2+2=4\n#### 4"}, {"question": "r", "answer": "no mark"}]
    table = read(put(tmp_path / "a.jsonl", lines(rows)), answer_after="####")
    assert table["answer"].to_list() == ["4", None]
    assert table["solution"].to_list() == ["2+2=4", "no mark"]


def test_source_licence_and_domain_are_kept_per_row_or_declared(tmp_path):
    rows = [
        {"question": "q", "source": "amc", "license": "MIT", "domain": "biology"},
        {"question": "r", "source": None, "license": None, "domain": "chemistry"},
    ]
    path = put(tmp_path / "a.jsonl", lines(rows))
    own = read(path, license="CC0")
    assert own["source"].to_list() == ["amc", "file:a.jsonl"]
    assert own["license"].to_list() == ["MIT", "CC0"]
    assert own["domain"].to_list() == ["biology", "chemistry"]
    declared = read(path, source="hf:org/set@1", domain="science")
    assert declared["source"].to_list() == ["hf:org/set@1"] * 2
    assert declared["theirs_source"].to_list() == ["amc", None]
    assert declared.schema["domain"] == DOMAIN
    assert declared["theirs_domain"].to_list() == ["biology", "chemistry"]
    assert list(declared.schema)[: len(QUESTION)] == list(QUESTION)


def test_a_ledger_read_as_input_drops_nothing(tmp_path):
    path = put(tmp_path / "a.jsonl", lines([{"question": "q", "dropped": "wrong"}]))
    assert read(path)["theirs_dropped"].to_list() == ["wrong"]


def test_several_files_patterns_and_folders_are_one_table(tmp_path):
    put(tmp_path / "b.jsonl", lines([{"question": "b", "level": "hard"}]))
    put(tmp_path / "a.jsonl.gz", lines([{"question": "a", "level": 1, "more": 2}]))
    pq.write_table(pa.table({"question": ["c"], "level": [0.5]}), tmp_path / "c.parquet")
    for path in (tmp_path, tmp_path / "*", [tmp_path / "a*", tmp_path / "b*", tmp_path / "c*"]):
        table = read(path)
        assert table["statement"].to_list() == ["a", "b", "c"]
        assert table["level"].to_list() == ["1", "hard", "0.5"]
        assert table["source"].to_list() == ["file:a.jsonl.gz", "file:b.jsonl", "file:c.parquet"]


def test_a_saved_dataset_dict_wants_its_split_named(tmp_path):
    import datasets

    datasets.disable_progress_bars()
    parts = {n: datasets.Dataset.from_dict({"question": [n]}) for n in ("train", "test")}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match="holds train, test"):
        read(tmp_path / "d")
    with pytest.raises(DataError, match="no split 'tset'; did you mean 'test'"):
        read(tmp_path / "d", split="tset")
    assert read(tmp_path / "d", split="test")["statement"].to_list() == ["test"]
    assert read(tmp_path / "d", split="all")["statement"].to_list() == ["train", "test"]


def test_awkward_arrow_types_become_types_that_everybody_reads(tmp_path):
    table = pa.table(
        {
            "question": pa.array(["a", "b", "a"]).dictionary_encode(),
            "map": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
            "nothing": pa.nulls(3),
            "view": pa.array([[1], [2], None], pa.list_view(pa.int64())),
        }
    )
    found = read_table(save(table, tmp_path / "a.arrow", "arrow")).collect()
    assert found["question"].to_list() == ["a", "b", "a"]
    assert found["map"].to_list() == ['[["k",1]]', None, "[]"]
    assert found["nothing"].to_list() == [None] * 3
    assert found["view"].to_list() == ["[1]", "[2]", None]


def test_zstd_is_unpacked_whatever_the_name_says(tmp_path):
    body = lines([{"question": "a"}])
    for name in ("a.jsonl", "a.jsonl.zst"):
        with pa.CompressedOutputStream(str(tmp_path / name), "zstd") as out:
            out.write(body)
        assert read(tmp_path / name)["statement"].to_list() == ["a"]


def test_the_key_follows_the_content_not_the_place(tmp_path):
    one = put(tmp_path / "a.jsonl", lines([{"question": "a"}]))
    (tmp_path / "b").mkdir()
    two = put(tmp_path / "b/a.jsonl", lines([{"question": "a"}]))
    assert Files(path=(one,)).identity() == Files(path=(two,)).identity()
    put(two, lines([{"question": "b"}]))
    assert Files(path=(one,)).identity() != Files(path=(two,)).identity()
    pattern = Files(path=(tmp_path / "**" / "*.jsonl",)).identity()
    assert [name for name, _ in pattern["path"]] == ["a.jsonl", "a.jsonl"]


def test_a_table_for_the_commands_keeps_columns_rows_and_asked_text(tmp_path):
    rows = [{"z": "b", "gold": 42, "a": 1}, {"z": "a", "gold": 0.5, "a": None}]
    table = read_table(put(tmp_path / "a.jsonl", lines(rows)), text=["gold"]).collect()
    assert table.columns == ["z", "gold", "a"]
    assert table["gold"].to_list() == ["42", "0.5"]
    assert table["z"].to_list() == ["b", "a"]


def test_answers_of_any_type_become_the_text_that_says_the_same(tmp_path):
    columns = {
        "decimal": (pa.array([Decimal("1.20")]), "1.20"),
        "single": (pa.array([1.1], pa.float32()), "1.1"),
        "double": (pa.array([27.0]), "27.0"),
        "small": (pa.array([7], pa.uint8()), "7"),
        "date": (pa.array([date(2024, 2, 1)]), "2024-02-01"),
        "list": (pa.array([["2", "3"]]), '["2","3"]'),
    }
    for name, (values, text) in columns.items():
        pq.write_table(pa.table({"question": ["q"], "gold": values}), tmp_path / f"{name}.parquet")
        assert read(tmp_path / f"{name}.parquet")["answer"].to_list() == [text]


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        for i in range(5_000):
            file.write(lines([{"question": f"{i}", "answer": i}]))
    heights = [piece.height for piece in Files(path=(path,)).read()]
    assert sum(heights) == 5_000
    assert max(heights) <= 2_000
