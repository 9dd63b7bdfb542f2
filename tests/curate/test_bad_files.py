import gzip
import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from tracecraft.curate.source import Source
from tracecraft.errors import DataError


def lines(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def put(path: Path, body: bytes) -> Path:
    path.write_bytes(body)
    return path


def read(path, **options) -> pl.DataFrame:
    return pl.concat(list(Source.bind({"use": "files", "path": path, **options}).read()))


BAD = {
    "not json": ("a.jsonl", b'{"question": "a"}\n{question}\n', r"a\.jsonl:2: not JSON"),
    "torn line": ("a.jsonl", b'{"question": "a"}\n{"question": "b', r"a\.jsonl:2: .*\n.*torn"),
    "no object": ("a.jsonl", b'{"question": "a"}\n[1]\n', r"a\.jsonl:2: .*found list"),
    "empty": ("a.jsonl", b"", "holds no rows"),
    "blank": ("a.jsonl", b"\n\n", "holds no rows"),
    "latin-1": ("a.jsonl", '{"question": "é"}'.encode("latin-1"), r"a\.jsonl:1: is not UTF-8"),
    "utf-16": ("a.jsonl", '{"question": "é"}'.encode("utf-16"), r"a\.jsonl:1: is not UTF-8"),
    "surrogate": ("a.jsonl", rb'{"question": "\ud800"}', r"a\.jsonl:1: .*surrogate"),
    "no column": ("a.jsonl", b'{"q": "a", "z": 1}\n', r"no column for 'statement': it has q, z"),
    "nested": ("a.jsonl", b'{"prompt": [{"role": "user"}]}', r"not text\n.*prompt\.user"),
    "bad json": ("a.json", b'[{"question": "a"},\n {"question" "b"}]', r"a\.json:2: not JSON"),
    "json text": ("a.json", b'"hello"', "must hold rows"),
    "json row": ("a.json", b'[{"question": "a"}, 3]', "row 2 must be an object"),
    "json columns": ("a.json", b'{"question": ["a"], "b": []}', "differ in length"),
    "deep": ("a.jsonl", b'{"question": "a", "x": ' + b"[" * 900 + b"]" * 900 + b"}", "too deeply"),
    "empty json": ("a.json", b" ", "is empty"),
    "csv fields": ("a.csv", b"question,b\n1,2\n1\n", r"a\.csv:3: has 1 fields"),
    "csv quote": ("a.csv", b'question,b\n1,"2\n', r"a\.csv:\d: unexpected end"),
    "csv twice": ("a.csv", b"question,question\n1,2\n", r"a\.csv:1: names the column"),
    "csv latin-1": ("a.csv", "question\né\n".encode("latin-1"), r"a\.csv:\d: is not UTF-8"),
    "csv empty": ("a.csv", b"question,b\n", "holds no rows"),
    "parquet": ("a.parquet", b"PAR1xxxxPAR1", r"a\.parquet: cannot be read: .*\n.*torn"),
    "parquet empty": ("a.parquet", b"", "is empty"),
    "arrow": ("a.arrow", b"ARROW1\0\0xxxx", r"a\.arrow: cannot be read: .*\n.*torn"),
    "arrow text": ("a.arrow", b"hello world, no arrow here", r"a\.arrow: "),
    "ending": ("a.xlsx", b"x", r"unknown ending\n.*\.jsonl"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_error_that_says_where_what_and_what_next(tmp_path, name):
    file, body, message = BAD[name]
    with pytest.raises(DataError, match=message) as caught:
        read(put(tmp_path / file, body))
    assert "\n  next   " in str(caught.value) or "\n  known: " in str(caught.value)


def test_a_cut_gzip_is_torn(tmp_path):
    body = gzip.compress(lines({"question": str(i)} for i in range(999)))
    (tmp_path / "a.jsonl.gz").write_bytes(body[: len(body) // 2])
    with pytest.raises(DataError, match="is torn"):
        read(tmp_path / "a.jsonl.gz")


def test_a_stream_cut_at_a_batch_border_is_torn_not_short(tmp_path):
    table = pa.table({"question": ["a", "b"]})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table)
    whole = sink.getvalue().to_pybytes()
    (tmp_path / "cut.arrow").write_bytes(whole[:-8])
    with pytest.raises(DataError, match="end mark is missing"):
        read(tmp_path / "cut.arrow")


def test_a_wrong_map_suggests_the_nearest_name(tmp_path):
    path = put(tmp_path / "a.jsonl", lines([{"question": "a", "answer": {"value": None}}]))
    with pytest.raises(DataError, match=r"map.statement: no column 'qestion'; did you mean 'ques"):
        read(path, map={"statement": "qestion"})
    with pytest.raises(DataError, match="no column of ours is 'statment'; did you mean 'statem"):
        read(path, map={"statment": "question"})
    with pytest.raises(DataError, match=r"map.answer: 'answer.value' has no value in any of 1 row"):
        read(path, map={"answer": "answer.value"})


def test_absent_files_and_patterns_are_errors(tmp_path):
    for path, message in [("no.jsonl", "is not there"), ("*.jsonl", "matches no file")]:
        with pytest.raises(DataError, match=message):
            read(tmp_path / path)
    with pytest.raises(DataError, match="holds no data file"):
        read(tmp_path)
