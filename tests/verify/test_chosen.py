"""Where the letters that we read and those that public sets read part, every row is explained.

In `chosen.tsv` each line is a set, a reason, and the rows that it explains, as `row:label>read`,
`-` for no letter, `!B` for any but B. Neither a new disagreement nor one that is gone goes
unnoticed.
"""

import csv
from pathlib import Path

import pytest
from chosen import CHOSEN

TABLE = Path(__file__).with_name("chosen.tsv")


def lines() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.slow
@pytest.mark.parametrize("name", CHOSEN)
def test_every_disagreement_with_a_letter_is_explained(name: str) -> None:
    found = {f"{c.row}:{c.label}>{c.read}" for c in CHOSEN[name]() if c.label != c.read}
    told = [row for line in lines() if line["set"] == name for row in line["rows"].split()]
    assert found == set(told)
    assert len(told) == len(set(told))


def test_every_reason_says_why() -> None:
    for line in lines():
        assert line["set"] in CHOSEN
        assert len(line["reason"]) > 30
