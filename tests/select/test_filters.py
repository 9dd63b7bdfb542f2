"""The shipped filters: their cases, and what they do to recorded traces."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import recorded

from places import ROOT, shared_data
from tracecraft.select.rules import KEEP, Filter, RuleFile

FILES = sorted((ROOT / "filters").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_filter_keeps_its_cases_and_has_two_for_every_drop(path: Path) -> None:
    file = RuleFile.load(path)
    assert file.broken_cases(path.name) == []
    cases = Counter(case.expect for case in file.cases)
    assert all(cases[rule.drop] >= 2 for rule in file.rules)
    assert cases[KEEP] >= 3
    assert file.name == path.stem


def told(name: str, table: pl.DataFrame) -> pl.DataFrame:
    """Which rule takes each trace, and which would if all were right."""
    stage = Filter(rules=ROOT / f"filters/{name}.yaml")
    right = table.with_columns(pl.lit("correct").cast(table.schema["outcome"]).alias("outcome"))
    form = stage(right.lazy()).collect()["dropped"].alias("form")
    return stage(table.lazy()).collect().with_columns(form)


@pytest.mark.parametrize(
    ("name", "folder", "read", "fewest"),
    [
        ("math", "traces_skythought_math", recorded.skythought, 800),
        ("math", "traces_mip_overthinking", recorded.overthinking, 1500),
        ("math", "traces_qwen3_gemma_mmlupro_math", recorded.letters, 250),
        ("science", "traces_qwen3_gemma_mmlupro_math", recorded.letters, 250),
        ("code", "traces_r1_qwq_code", recorded.programs, 800),
        ("science", "traces_qwen3_mmlupro", recorded.choices, 1300),
    ],
)
def test_recorded_traces_that_are_whole_and_right_stay_and_open_ones_go(
    name: str, folder: str, read: Callable[[Path], Iterator[dict[str, Any]]], fewest: int
) -> None:
    rows = told(name, recorded.judged(read(shared_data(folder))))
    good = rows.filter(pl.col("closed") & (pl.col("outcome") == "correct"))
    assert good.height >= fewest
    assert good["dropped"].is_not_null().mean() <= 0.02
    broken = rows.filter(~pl.col("closed") | pl.col("loop").is_not_null())
    if broken.height:
        assert broken["form"].is_not_null().mean() >= 0.95
