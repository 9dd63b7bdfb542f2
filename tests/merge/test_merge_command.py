"""`tracecraft merge` over two checkpoints, as a process of its own."""

import json

import pytest
from pico import maker, weights_of


@pytest.fixture
def make(tmp_path):
    return maker(tmp_path)


def test_two_checkpoints_become_one(make, tracecraft, tmp_path):
    base, other = make("base", seed=1), make("other", seed=2)
    out = tmp_path / "merged"
    told = json.loads(
        tracecraft("merge", "--base", base, "--other", other, "--out", out, "--json").stdout
    )
    assert 0 < told["share"] < 1
    assert weights_of(out).keys() == weights_of(base).keys()
    again = tracecraft("merge", "--base", base, "--other", other, "--out", out)
    assert "total" in again.stderr


def test_what_cannot_be_merged_is_told_before_a_byte_is_written(make, tracecraft, tmp_path):
    base, out = make("base", seed=1), tmp_path / "merged"
    missing = tracecraft("merge", "--base", base, "--other", "nowhere", "--out", out, code=2)
    assert "nowhere" in missing.stderr
    alone = tracecraft("merge", "--base", base, "--out", out, code=2)
    assert "--other" in alone.stderr
    wrong = tracecraft(
        "merge", "--base", base, "--other", base, "--out", out, "--method", "arcee_fuson", code=2
    )
    assert "did you mean 'arcee_fusion'" in wrong.stderr
    assert not out.exists()
