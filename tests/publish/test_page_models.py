"""What the page draws of scores, gates and merges, from the files that their jobs write."""

import json
from dataclasses import dataclass
from pathlib import Path

import orjson
import polars as pl
import pytest

from tracecraft.errors import StoreError
from tracecraft.evaluate.score import DIFFERENCE
from tracecraft.merge.delta import REPORT, Report, TensorDelta
from tracecraft.publish import page_maps as maps
from tracecraft.publish.page import About, page
from tracecraft.publish.page_facts import Facts, gather
from tracecraft.publish.page_models import gates, merges, scores
from tracecraft.schema import SCORE
from tracecraft.store import Manifest
from tracecraft.summary import rate


@dataclass(frozen=True)
class Done:
    """A finished job."""

    name: str
    use: str
    home: Path
    inputs: tuple[str, ...] = ()
    kind: str = "job"


@pytest.fixture
def jobs(tmp_path: Path) -> list[Done]:
    found = []
    for name, use, inputs in (
        ("scores", "score", ()),
        ("gates", "gate", ("scores",)),
        ("student", "merge", ("code", "math")),
    ):
        home = tmp_path / name
        (home / "output").mkdir(parents=True)
        Manifest(name, {"use": use}, [], 0, 0, {}, {}).write(home)
        found.append(Done(name, use, home, inputs))
    rows = [
        ("aime24", model, metric, value, value - 0.1, value + 0.1, None, None, 30, 16)
        for model, shift in (("ours", 0.0), ("<b>theirs</b>", 0.1))
        for metric, value in (("avg@16", 0.4), ("pass@2", 0.5), ("pass@16", 0.7), ("failed", 0.0))
        for value in (round(value + shift, 3),)
    ]
    rows.append(("aime24", "ours", "tokens.mean", 9_000.0, None, None, None, None, 30, 16))
    output = tmp_path / "scores/output"
    pl.DataFrame(rows, SCORE, orient="row").write_parquet(output / "scores.parquet")
    pair = dict.fromkeys(DIFFERENCE) | {"benchmark": "aime24", "metric": "avg@16", "model": "ours"}
    pair |= {"other": "theirs", "value": -0.1, "low": -0.15, "high": -0.05}
    pl.DataFrame([pair], DIFFERENCE).write_parquet(output / "differences.parquet")
    told = [{"gate": "aime24.avg@16 at least 0.5", "model": "ours", "value": 0.4, "holds": False}]
    (tmp_path / "gates/output/gates.json").write_text(json.dumps(told))
    tensors = [
        TensorDelta(f"model.layers.{n}.{part}.weight", (4, 4), (n + 1) / 10, 0.01, 0.2, 2.0, n, 0)
        for n in range(3)
        for part in ("mlp.up_proj", "self_attn.q_proj")
    ]
    tensors.append(TensorDelta("lm_head.weight", (8, 4), 0.5, None, None, 1.0, 0.5, 0))
    method = {"use": "arcee_fusion", "version": 1, "mode": "exact"}
    report = Report("k", method, ("/a/code", "/b/math"), "float32", ("a note",), tuple(tensors))
    (tmp_path / "student/output" / REPORT).write_bytes(orjson.dumps(report.to_json()))
    return found


@pytest.fixture
def facts(jobs: list[Done]) -> Facts:
    return gather(jobs, rate)


def test_scores_are_drawn_with_their_intervals(facts):
    found = scores(facts)[0]
    assert len(found.rows) == 9
    drawn = maps.scores(found.rows)
    assert drawn.count('class="dot"') == 4, "of pass@k the largest k, of tokens and failures none"
    assert "50.0% [40.0%, 60.0%]" in drawn
    assert "<b>theirs" not in drawn


def test_a_paired_difference_lies_left_of_the_middle_where_a_model_is_worse(facts):
    drawn = maps.differences(scores(facts)[0].differences)
    assert "-10.0 points [-15.0, -5.0]" in drawn
    assert 'd="M166.67 10h0.01"' in drawn


def test_a_gate_says_whether_it_holds_also_where_its_job_was_stopped_by_it(facts, jobs):
    assert [gate.holds for gate in gates(facts)] == [False]
    folder = jobs[1].home
    (folder / "output").rename(folder / "output.half")
    (folder / "manifest.json").unlink()
    assert [gate.holds for gate in gates(gather(jobs, rate))] == [False]


def test_a_merge_is_a_map_of_modules_and_layers(facts):
    found = merges(facts)[0]
    assert found.models == ("code", "math")
    drawn = maps.merged(found)
    assert "arcee_fusion, mode exact: math into code" in drawn
    assert drawn.count("<rect") == 7
    assert 'class="q0"' in drawn
    assert 'class="q9"' in drawn
    assert "model.layers.2.mlp.up_proj.weight: 30.0% taken, threshold 0.01" in drawn


def test_the_page_has_all_of_it_without_any_table(facts):
    told = page(facts, About("x"))
    for part in ('id="scores"', 'id="merge"', "does not hold", "a note", "3 of 3 steps done"):
        assert part in told


def test_a_damaged_file_is_an_error_that_names_it(jobs):
    path = jobs[2].home / "output" / REPORT
    path.write_bytes(b'{"method": 1}')
    with pytest.raises(StoreError, match=REPORT):
        merges(gather(jobs, rate))
    (jobs[0].home / "output/scores.parquet").unlink()
    pl.DataFrame({"model": ["a"]}).write_parquet(jobs[0].home / "output/scores.parquet")
    with pytest.raises(StoreError, match="no column benchmark, metric, value"):
        scores(gather(jobs, rate))
