"""The job that turns verdicts into scores: `scores.parquet`, `scores.json`, `items.parquet`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import polars as pl
from pydantic import BaseModel, ConfigDict, Field

from tracecraft.errors import DataError
from tracecraft.evaluate.items import ITEM
from tracecraft.evaluate.leaks import touched_items
from tracecraft.evaluate.metrics import Row, differences, metrics
from tracecraft.evaluate.tally import Facts, Tally, tally
from tracecraft.plugin import digest
from tracecraft.schema import SCORE
from tracecraft.stage import Desk, Job, Progress
from tracecraft.store import OUTPUT, Dataset, Manifest, replacing, write_json

DIFFERENCE = pl.Schema({**SCORE, "other": pl.String()})


class Answers(BaseModel):
    """Whose verdicts an input holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    benchmark: str
    """On which benchmark."""
    model: str
    """What scores call the model."""


class Scores(Job, use="score", version=1):
    """Scores of models on benchmarks, with intervals, and the paired differences of models.

    Its inputs are, in this order: verdicts (one for each of `answers`), the problems of each
    benchmark, and what `leaks` jobs found. An answer that was cut off, that names nothing to
    verify or whose verifier broke is not right; how many there were is a metric. An answer that
    the engine never gave is missing, and a problem with a missing answer is an error.
    """

    answers: tuple[Answers, ...] = Field(strict=False)
    """What the first inputs are."""
    benchmarks: tuple[Facts, ...] = Field(strict=False)
    """What the next inputs are the problems of."""
    leaks: tuple[Annotated[tuple[str, ...], Field(strict=False)], ...] = Field(
        default=(), strict=False
    )
    """Of each further input, the models whose training data it is about."""

    reads: ClassVar = ()

    def __call__(self, inputs: tuple[Path, ...], into: Path, desk: Desk) -> None:
        """Raises StageError where a problem has too few answers."""
        first, second = len(self.answers), len(self.answers) + len(self.benchmarks)
        if len(inputs) != second + len(self.leaks):
            raise DataError(f"score: {len(inputs)} inputs for {second + len(self.leaks)} names")
        problems = {f.name: home for f, home in zip(self.benchmarks, inputs[first:], strict=False)}
        leaks = {
            model: home
            for models, home in zip(self.leaks, inputs[second:], strict=True)
            for model in models
        }
        facts = {one.name: one for one in self.benchmarks}
        tallies: list[Tally] = []
        told: list[dict[str, Any]] = []
        for number, (one, home) in enumerate(zip(self.answers, inputs, strict=False), 1):
            asked = Dataset.open(problems[one.benchmark]).scan()
            judged = Dataset.open(home)
            tallies.append(tally(judged.scan(), asked, facts[one.benchmark], one.model))
            told.append(_protocol(one, home, judged))
            desk.report(Progress(number, first, "tables"))
        self._write(tallies, told, problems, leaks, into)

    def _write(
        self,
        tallies: list[Tally],
        told: list[dict[str, Any]],
        problems: dict[str, Path],
        leaks: dict[str, Path],
        into: Path,
    ) -> None:
        rows: list[Row] = []
        items: list[pl.DataFrame] = []
        for one in tallies:
            home = leaks.get(one.model)
            touched = touched_items(home / OUTPUT, one.facts.name) if home else None
            rows += metrics(one, touched)
            items.append(_by_item(one, touched))
        pairs = [
            row
            for name in problems
            for row in differences([one for one in tallies if one.facts.name == name])
        ]
        _parquet(pl.DataFrame(rows, SCORE), into / "scores.parquet")
        _parquet(pl.DataFrame(pairs, DIFFERENCE), into / "differences.parquet")
        _parquet(pl.concat(items), into / "items.parquet")
        facts = [
            {**one.model_dump(), "dataset": _dataset(one.name, problems[one.name])}
            for one in self.benchmarks
        ]
        whole = {"scores": rows, "differences": pairs, "benchmarks": facts, "answers": told}
        write_json(into / "scores.json", {**whole, "notes": _notes(tallies)})


def _by_item(one: Tally, touched: set[str] | None) -> pl.DataFrame:
    """How often each item was solved; ids alone, no text."""
    count = len(one.items)
    return pl.DataFrame(
        {
            "benchmark": [one.facts.name] * count,
            "model": [one.model] * count,
            ITEM: one.items,
            "right": one.right.sum(axis=1).astype(int),
            "samples": [one.right.shape[1]] * count,
            "truncated": _sums(one, pl.col("finish") == "length"),
            "tokens": _sums(one, pl.col("completion_tokens")),
            "contaminated": [None if touched is None else item in touched for item in one.items],
        },
        schema_overrides={"contaminated": pl.Boolean},
    )


def _sums(one: Tally, expr: pl.Expr) -> pl.Series:
    flat = one.rows.select(expr.cast(pl.Int64)).to_series().to_numpy()
    return pl.Series(flat.reshape(one.right.shape).sum(axis=1))


def _protocol(one: Answers, home: Path, judged: Dataset) -> dict[str, Any]:
    """Who answered, how it was asked and who judged, as the manifests say."""
    verified = Manifest.read(home)
    asked = Manifest.read(home.parent / verified.inputs[0])
    light = judged.scan().select("teacher", "verifier").unique().collect()
    recorded = asked.identity.get("engine", {}).get("use") == "replay"
    kept = ("engine",) if recorded else ("sampling", "opening", "engine")
    return {
        **one.model_dump(),
        "teacher": sorted(light["teacher"].drop_nulls().unique().to_list()),
        "verifier": sorted(light["verifier"].drop_nulls().unique().to_list()),
        "recorded": recorded,
        **{name: asked.identity[name] for name in kept if name in asked.identity},
        "verifier_options": verified.identity.get("verifier"),
    }


def _dataset(name: str, home: Path) -> dict[str, Any]:
    """What the problems are: their source, and the digest of what was asked and expected."""
    items = home.parent / Manifest.read(home).inputs[0]
    source = Manifest.read(items.parent / Manifest.read(items).inputs[0])
    asked = Dataset.open(home).scan().select("problem_id", ITEM, "answer").collect()
    known = ("use", "repo", "revision", "config", "split", "files", "path", "member")
    said = {key: source.identity[key] for key in known if source.identity.get(key) is not None}
    outside = source.rows_out - asked[ITEM].n_unique()
    return {
        **said,
        "items": asked[ITEM].n_unique(),
        "outside_window": outside,
        "digest": digest([list(row) for row in asked.iter_rows()], 16),
    }


def _notes(tallies: Sequence[Tally]) -> list[str]:
    """What a reader must know before comparing a number with another's."""
    notes = []
    for one in tallies:
        facts, count = one.facts, len(one.items)
        if facts.problems is not None and count != facts.problems:
            notes.append(f"{facts.name}: {count} of its {facts.problems} problems")
        if facts.samples < facts.protocol:
            told = f"{facts.samples} samples a problem, its protocol has {facts.protocol}"
            notes.append(f"{facts.name}: {told}")
        if not (one.rows["completion_tokens"] > 0).any():
            notes.append(f"{facts.name}, {one.model}: token counts are not recorded")
    return list(dict.fromkeys(notes))


def _parquet(table: pl.DataFrame, path: Path) -> None:
    with replacing(path) as half:
        table.write_parquet(half)
