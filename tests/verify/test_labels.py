"""Where our verdicts and the labels of public sets part, every row is explained in `labels.tsv`.

The sets' own graders err: they lose answers while extracting them, read no e-notation, call equal
what is merely near. A row is `set`, `id` (file, row and sample, counted from 0), `label`, our
`outcome` and `reason`. Neither a new disagreement nor one that is gone goes unnoticed.
"""

import csv
from pathlib import Path

import pytest
from labelled import SETS

from tracecraft.verify.bench import Bench

TABLE = Path(__file__).with_name("labels.tsv")


def explained(name: str) -> dict[str, tuple[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return {r["id"]: (r["label"], r["outcome"]) for r in table if r["set"] == name}


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_every_disagreement_with_a_label_is_explained(name: str) -> None:
    rows = list(SETS[name]())
    with Bench(workers=2) as bench:
        verdicts = bench.verdicts(
            [r.judge for r in rows],
            [{"answer": r.reference, "response": r.response} for r in rows],
        )
    found = {
        row.id: ("right" if row.right else "wrong", verdict.outcome)
        for row, verdict in zip(rows, verdicts, strict=True)
        if (verdict.outcome == "correct") != row.right
    }
    told = {k: v for k, v in found.items() if v != ("wrong", "unverifiable")}
    assert told == explained(name)


def test_every_explanation_says_why() -> None:
    with TABLE.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            assert row["set"] in SETS
            assert len(row["reason"]) > 15
