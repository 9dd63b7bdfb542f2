"""Rows of whole examples: nothing is cut, nothing lost, and the loss is on answers alone."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracecraft.train.chat import Said
from tracecraft.train.packing import pack, read_rows, write_rows, write_tokens

SAID = [
    Said("", "", [10 * i + j for j in range(i + 1)], [10 * i + 5 + j for j in range(2 * i + 1)])
    for i in range(9)
]


@given(st.lists(st.integers(1, 50), max_size=200), st.integers(50, 120))
def test_every_example_is_in_one_row_and_no_row_is_too_long(lengths, context):
    rows = pack(lengths, context)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[i] for i in row) <= context for row in rows)
    assert rows == pack(lengths, context)
    full = sorted(sum(lengths[i] for i in row) for row in rows)
    assert sum(full[:2]) > context or len(full) < 2, "two rows would have fitted into one"


@pytest.mark.parametrize("packing", ["none", "plain", "block"])
def test_a_row_holds_its_examples_whole_with_labels_on_answers_alone(tmp_path: Path, packing):
    write_tokens([SAID[:4], [], SAID[4:]], tmp_path / "tokens")
    packed = write_rows(tmp_path / "tokens", tmp_path / "rows", 40, packing)
    rows = list(read_rows(tmp_path / "rows"))
    assert packed.rows == len(rows)
    assert packed.tokens == sum(one.tokens for one in SAID)
    if packing == "none":
        assert [row["input_ids"] for row in rows] == [
            one.prompt_ids + one.answer_ids for one in SAID
        ]
    learnt = [label for row in rows for label in row["labels"] if label != -100]
    assert sorted(learnt) == sorted(t for one in SAID for t in one.answer_ids)
    assert all(len(row["input_ids"]) == len(row["labels"]) <= 40 for row in rows)
    assert all(("seq_lengths" in row) == (packing == "block") for row in rows)
    if packing == "block":
        assert [sum(row["seq_lengths"]) for row in rows] == [len(r["labels"]) for r in rows]
        lengths = sorted(n for row in rows for n in row["seq_lengths"])
        assert lengths == sorted(one.tokens for one in SAID)


def test_no_example_makes_no_row(tmp_path: Path):
    write_tokens([[]], tmp_path / "tokens")
    assert write_rows(tmp_path / "tokens", tmp_path / "rows", 40, "block").rows == 0
    assert list(read_rows(tmp_path / "rows")) == []
