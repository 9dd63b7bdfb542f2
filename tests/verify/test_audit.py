"""References that most samples contradict."""

import polars as pl

from tracecraft.verify.audit import SUSPECT, audit


def verdicts(*problems: tuple[str, str, list[tuple[str | None, str]]]) -> pl.LazyFrame:
    rows = [
        {"problem_id": name, "answer": answer, "statement": name, "extracted": e, "outcome": o}
        for name, answer, samples in problems
        for e, o in samples
    ]
    return pl.LazyFrame(rows)


def test_a_reference_that_most_samples_contradict_is_listed_with_its_evidence():
    wrong = [("1/2", "incorrect"), (r"\frac{1}{2}", "incorrect"), ("0.5", "incorrect")]
    table = audit(
        verdicts(
            ("good", "7", [("7", "correct")] * 3 + [("8", "incorrect")]),
            ("bad", "3", [*wrong, ("3", "correct")]),
        )
    )
    assert table.schema == SUSPECT
    (row,) = table.to_dicts()
    assert row["problem_id"] == "bad"
    assert (row["samples"], row["agreeing"]) == (4, 3)
    assert (row["agreed_share"], row["reference_share"]) == (0.75, 0.25)


def test_scattered_wrong_answers_and_missing_ones_are_no_agreement():
    scattered = [(str(n), "incorrect") for n in range(4)]
    silent: list[tuple[str | None, str]] = [(None, "unverifiable")] * 4
    few = [("9", "incorrect")] * 2
    assert audit(verdicts(("a", "50", scattered), ("b", "50", silent), ("c", "50", few))).is_empty()


def test_the_most_agreed_come_first():
    table = audit(
        verdicts(
            ("some", "1", [("2", "incorrect")] * 3 + [("1", "correct")]),
            ("all", "1", [("2", "incorrect")] * 4),
        )
    )
    assert table["problem_id"].to_list() == ["all", "some"]
