"""A benchmark whose questions are not to be published, in a locked archive."""

import csv
import io
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest
from lockedzip import write_locked_zip

import tracecraft as tc
from tracecraft.engine import Completion, Sampling
from tracecraft.errors import DataError
from tracecraft.evaluate.section import lowered
from tracecraft.recipe import build

COUNT = 12
SECRET = "zyzzyva"
"""Stands in every question and every option."""


class FirstOption(tc.Engine, use="first_option"):
    """Always says A."""

    @property
    def teacher(self) -> str:
        return "first_option"

    @contextmanager
    def open(self):
        yield self

    def complete(self, prompts: Sequence[str], sampling: Sampling) -> list[Completion]:
        return [Completion("hm\n</think>\n\n\\boxed{A}", "stop", 9, 9) for _ in prompts]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    names = ["Record ID", "Question", "Correct Answer"]
    names += [f"Incorrect Answer {i}" for i in (1, 2, 3)]
    text = io.StringIO()
    writer = csv.DictWriter(text, [*names, "Writer's e-mail"])
    writer.writeheader()
    for i in range(COUNT):
        row = {name: f"{SECRET} {name} {i}" for name in names}
        writer.writerow(row | {"Record ID": f"rec{i}", "Writer's e-mail": "a@b.c"})
    path = tmp_path / "dataset.zip"
    write_locked_zip(path, "dataset/gpqa_diamond.csv", text.getvalue().encode(), "open sesame")
    return path


def evaluated(folder: Path, archive: Path) -> tc.Run:
    made = lowered([{"benchmark": f"gpqa_diamond={archive}"}], {"m": {"use": "first_option"}})
    mapping = {"name": "exam", "inputs": made.inputs, "stages": made.stages}
    return tc.run(tc.plan(build(mapping, folder / "recipe.yaml"), folder / "runs"))


def test_it_opens_with_the_password_in_the_environment_and_nothing_shows_a_question(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPQA_PASSWORD", "open sesame")
    run = evaluated(tmp_path, archive)
    problems = run["eval.gpqa_diamond.problems"].scan().collect()
    assert problems.height == 4 * COUNT
    assert "Writer's e-mail" not in problems.columns
    scores = (run.output("scores") / "scores.json").read_text()
    assert '"outside_window": 0' in scores
    assert "12 of its 198 problems" in scores
    shown = [*run.folder.rglob("*"), *run.output("scores").rglob("*")]
    for path in shown:
        if path.is_file() and "stages" not in path.parts:
            assert SECRET.encode() not in path.read_bytes(), path
    # a model that always says A is right where A is: about a quarter
    (value,) = {row["value"] for row in json.loads(scores)["scores"] if row["metric"] == "avg@4"}
    assert value == pytest.approx((problems["answer"] == "A").mean())
    assert 0.1 < value < 0.4


def test_a_letter_votes_for_the_option_it_stands_for(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPQA_PASSWORD", "open sesame")
    run = evaluated(tmp_path, archive)
    problems = run["eval.gpqa_diamond.problems"].scan().collect()
    said = problems.with_columns(pl.col("choices").list.first().alias("first"))
    shares = []
    for _, own in said.group_by("item"):
        votes = Counter(own["first"])
        most = [text for text, n in votes.items() if n == max(votes.values())]
        shares.append(sum("Correct" in text and "Inc" not in text for text in most) / len(most))
    scores = json.loads((run.output("scores") / "scores.json").read_text())["scores"]
    (value,) = [row["value"] for row in scores if row["metric"] == "maj@4"]
    assert value == pytest.approx(sum(shares) / COUNT)


@pytest.mark.parametrize(
    ("password", "said"),
    [(None, "put its password into the environment as GPQA_PASSWORD"), ("no", "does not open it")],
)
def test_without_its_password_it_stays_locked(
    tmp_path: Path,
    archive: Path,
    monkeypatch: pytest.MonkeyPatch,
    password: str | None,
    said: str,
) -> None:
    monkeypatch.delenv("GPQA_PASSWORD", raising=False)
    if password:
        monkeypatch.setenv("GPQA_PASSWORD", password)
    with pytest.raises(DataError, match=said) as error:
        evaluated(tmp_path, archive)
    assert SECRET not in str(error.value)


def test_what_is_no_archive_or_not_in_it_says_so(
    tmp_path: Path, archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GPQA_PASSWORD", "open sesame")
    broken = tmp_path / "broken.zip"
    broken.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(DataError, match="is no whole zip archive"):
        evaluated(tmp_path, broken)
    other = tmp_path / "other.zip"
    write_locked_zip(other, "gpqa_main.csv", b"a,b\n1,2\n", "open sesame")
    with pytest.raises(DataError, match=r"no one file 'gpqa_diamond.csv'(?s:.)*gpqa_main.csv"):
        evaluated(tmp_path, other)
