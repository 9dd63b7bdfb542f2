"""JSON lines deduplicated in place: the same survivors, and every byte of them."""

import json
import random
from pathlib import Path

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.curate import lines
from tracecraft.curate.dedupe import Dedupe
from tracecraft.curate.formats import parsed
from tracecraft.errors import DataError

WORDS = [f"word{i}" for i in range(300)]


@pytest.fixture(autouse=True)
def any_size(monkeypatch):
    monkeypatch.setattr(lines, "LEAST_BYTES", 0)


def write(path: Path, rows: list) -> Path:
    path.write_bytes(
        b"\n".join(row if isinstance(row, bytes) else orjson.dumps(row) for row in rows)
    )
    return path


def texts(count: int, seed: int = 1) -> list[str]:
    g = random.Random(seed)
    made = []
    for _ in range(count):
        base = g.choices(WORDS, k=g.randrange(6, 60))
        made.append(" ".join(base))
        if g.random() < 0.4:
            base[-1] = f"other{g.random()}"
            made.append(" ".join(base))
    g.shuffle(made)
    return made


def read(path: Path, **options) -> pl.DataFrame:
    found = lines.Lines.read(path, Dedupe(**options), None)
    assert found is not None
    return found.table


@pytest.mark.parametrize("piece", [1, 1000, 1 << 22])
@pytest.mark.parametrize("workers", [1, 3])
def test_survivors_are_those_of_the_stage_and_stand_as_they_stood(
    tmp_path, monkeypatch, piece, workers
):
    monkeypatch.setattr(lines, "PIECE_BYTES", piece)
    rows = [{"id": f"i{i}", "statement": text, "n": i} for i, text in enumerate(texts(200))]
    source = write(tmp_path / "a.jsonl", rows)
    stage = Dedupe(workers=workers, ngram=3)
    counts = lines.dedupe(source, tmp_path / "o.jsonl", tmp_path / "d.jsonl", stage)
    marks = stage.mark(pl.DataFrame(rows).lazy())
    kept = marks["dropped"].is_null().to_list()
    raw = source.read_bytes().split(b"\n")
    assert counts == lines.Counts(len(rows), kept.count(False))
    assert 20 < kept.count(False) < 150
    want = [line + b"\n" for line, stays in zip(raw, kept, strict=True) if stays]
    assert (tmp_path / "o.jsonl").read_bytes() == b"".join(want)
    ledger = [json.loads(line) for line in (tmp_path / "d.jsonl").read_text().splitlines()]
    gone = [
        {**row, **mark}
        for row, mark, stays in zip(rows, marks.to_dicts(), kept, strict=True)
        if not stays
    ]
    assert ledger == gone


def test_the_order_of_lines_makes_no_difference(tmp_path):
    rows = [{"statement": text, "n": i % 3} for i, text in enumerate(texts(150) * 2)]
    kept = []
    for seed in range(3):
        random.Random(seed).shuffle(rows)
        lines.dedupe(write(tmp_path / "a.jsonl", rows), tmp_path / "o", tmp_path / "d", Dedupe())
        kept.append(sorted((tmp_path / "o").read_text().splitlines()))
    assert kept[0] == kept[1] == kept[2]


def test_rows_marked_before_are_marked_anew(tmp_path):
    rows = [{"statement": "a b c", "dropped": None, "similarity": 3}] * 2
    lines.dedupe(write(tmp_path / "a.jsonl", rows), tmp_path / "o", tmp_path / "d", Dedupe())
    assert json.loads((tmp_path / "d").read_text()) == {
        "statement": "a b c", "dropped": "duplicate", "duplicate_of": "row 1",
        "similarity": 1.0, "duplicate_via": None,
    }  # fmt: skip


LINES = [
    b'{"statement": "plain"}',
    b' \t{ "statement" : "spaced" , "n" : -1.5e+3 } \r',
    b'{"n": [1, {"statement": "inner"}, "]"], "statement": "outer"}',
    b'{"statement": "first", "statement": "last"}',
    b'{"statement": "\\u00e9\\u20ac \\n\\t\\"\\\\\\/ \\b\\f\\r"}',
    b'{"statement": "\\ud83d\\ude00 pair"}',
    '{"statement": "Größe 𝐀 \u2003"}'.encode(),
    b'{"st\\u0061tement": "escaped name"}',
    b'{"statement": "long ' + b"x" * 200 + b'", "a": {}, "b": [], "c": true, "d": null}',
    b'{"statement": "", "statements": "no"}',
    b'{"statement": null}',
    b'{"other": "no statement"}',
    b'{"statement": "exactly12by"}',
    b'{"statement": "exactly12byt"}',
    b'{"statement": "exactly12byte"}',
    b'{"statement": "deep", "n": ' + b"[" * 70 + b"]" * 70 + b"}",
]


def test_every_way_to_write_a_line_is_read(tmp_path):
    table = read(write(tmp_path / "a.jsonl", [b"", *LINES, b"  ", b""]))
    assert table["statement"].to_list() == [json.loads(line).get("statement") for line in LINES]
    assert [line.strip() for line in table["line"]] == [line.decode().strip() for line in LINES]


BAD = [
    b'{"statement": "a"',
    b'{"statement": "a}',
    b'{"statement": "a",}',
    b'{"statement": "a"} x',
    b'{"statement": "a\tb"}',
    b'{"statement": "a\\x"}',
    b'{"statement": "\\ud800"}',
    b'{"statement": "a", "n": 01}',
    b'{"statement": "a", "n": 1.}',
    b'{"statement": "a", "n": -}',
    b'{"statement": "a", "n": nul}',
    b'{"statement": "a", "n": [1 2]}',
    b'{"statement": "a", "n": [1, }]}',
    b'{"statement": "a", "n": {"b" 1}}',
    b"{'statement': 'a'}",
    b'{"statement" "a"}',
    b'["a"]',
    b'"a"',
    b"7",
    b'{"statement": "\xff"}',
    b'{"statement": "\xc3"}',
    b'{"statement": "\xed\xa0\x80"}',
]


@pytest.mark.parametrize("line", BAD)
def test_a_line_that_is_no_object_is_named(tmp_path, line):
    path = write(tmp_path / "a.jsonl", [{"statement": "b"}, b"", line, {"statement": "c"}])
    with pytest.raises(DataError, match=r"a\.jsonl:3: "):
        read(path)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from(["statement", "id", "a", "é"]) | st.text(), VALUES, max_size=5),
    min_size=1,
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(ROWS, st.booleans(), st.sampled_from([None, 1]))
def test_any_rows_are_read_as_a_parser_reads_them(tmp_path_factory, rows, ascii, indent):
    rows = [{**row, "statement": str(i)} for i, row in enumerate(rows)]
    spelt = [
        json.dumps(row, ensure_ascii=ascii, indent=indent).replace("\n", " ").encode()
        for row in rows
    ]
    path = write(tmp_path_factory.mktemp("rows") / "a.jsonl", spelt)
    table = read(path)
    assert table["statement"].to_list() == [row["statement"] for row in rows]
    for i, row in enumerate(rows):
        if isinstance(row.get("id"), str):
            assert table["id"][i] == row["id"]


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_spoilt_line_is_refused_where_a_parser_refuses_it(tmp_path_factory, data):
    line = bytearray(data.draw(st.sampled_from(LINES)))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(line) - 1))
        line[place : place + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from(
                [b"", b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"1", b"e", b"\x80"]
            )
        )
    path = write(tmp_path_factory.mktemp("spoilt") / "a.jsonl", [{"statement": "x"}, bytes(line)])
    try:
        want = parsed(bytes(line), path, 2) if line.strip() else {}
    except DataError:
        want = None
    if want is None or not isinstance(want, dict):
        with pytest.raises(DataError):
            read(path)
    elif not isinstance(want.get("statement", ""), str) and want["statement"] is not None:
        assert lines.Lines.read(path, Dedupe(), None) is None
    elif line.strip():
        assert read(path)["statement"].to_list() == ["x", want.get("statement")]


@pytest.mark.parametrize("spoil", [{"keep": "-n"}, {"column": "number"}, {"column": "absent"}])
def test_what_needs_another_way_says_so(tmp_path, spoil):
    path = write(tmp_path / "a.jsonl", [{"statement": "a", "number": 1, "n": 2}])
    assert lines.dedupe(path, tmp_path / "o", tmp_path / "d", Dedupe(**spoil)) is None
    assert not (tmp_path / "o").exists()


def test_an_empty_a_packed_and_an_array_file_need_another_way(tmp_path):
    for name, body in (("e", b""), ("z", b"\x1f\x8b\x08"), ("j", b'[{"statement": "a"}]')):
        (tmp_path / name).write_bytes(body)
        assert lines.Lines.read(tmp_path / name, Dedupe(), None) is None


def test_texts_with_escapes_lie_on_disk_where_a_file_is_large(tmp_path, monkeypatch):
    rows = [{"statement": text.replace(" ", "\n")} for text in texts(50)]
    path = write(tmp_path / "a.jsonl", rows)
    plain = read(path)
    monkeypatch.setattr(lines, "HELD_BYTES", 0)
    monkeypatch.setattr(lines, "BUFFER_BYTES", 2_000)
    monkeypatch.setattr(lines, "PIECE_BYTES", 500)
    assert read(path).equals(plain)
    assert plain["statement"].to_list() == [row["statement"] for row in rows]


def test_a_small_file_waits_for_no_kernel(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "LEAST_BYTES", 1_000)
    path = write(tmp_path / "a.jsonl", [{"statement": "a"}])
    assert lines.dedupe(path, tmp_path / "o", tmp_path / "d", Dedupe()) is None
