"""Which verifier decides a row."""

import polars as pl
import pytest

from tracecraft.verify.auto import Auto
from tracecraft.verify.verifier import Verify

OPTIONS = "Which is lightest?\n(A) iron\n(B) helium\n(C) lead"


@pytest.mark.parametrize(
    ("row", "use"),
    [
        ({"answer": "B", "choices": ["iron", "helium"]}, "choice"),
        ({"answer": "helium", "choices": ["iron", "helium"]}, "choice"),
        ({"answer": "42", "choices": ["iron", "helium"]}, "math"),
        ({"answer": "B", "statement": OPTIONS}, "choice"),
        ({"answer": "7", "statement": "How many?"}, "math"),
        ({"answer": None, "tests": '[{"input": "1", "output": "2"}]'}, "code"),
        ({"answer": "3", "tests": "[]"}, "math"),
        ({"answer": "3 m/s"}, "quantity"),
        ({"answer": "2H2 + O2 -> 2H2O"}, "quantity"),
        ({"answer": "3", "domain": "science"}, "quantity"),
        ({"answer": "3", "unit": "m"}, "quantity"),
        ({"answer": "3 m", "domain": "math"}, "math"),
        ({"answer": "50%"}, "math"),
        ({"answer": None}, "math"),
    ],
)
def test_the_row_chooses_its_verifier(row: dict[str, object], use: str) -> None:
    assert Auto().chosen(row).use == use


def test_the_column_says_who_decided() -> None:
    table = pl.DataFrame(
        {
            "answer": ["B", "3 km", "\\frac{1}{2}", None],
            "statement": [OPTIONS, "How far?", "How much?", "What?"],
            "response": ["The answer is (B).", "\\boxed{3000 m}", "\\boxed{0.5}", "\\boxed{1}"],
        }
    )
    judged = Verify(verifier=Auto(), workers=1)(table.lazy()).collect()
    assert judged["outcome"].to_list() == ["correct", "correct", "correct", "unverifiable"]
    assert judged["verifier"].to_list() == ["choice@1", "quantity@1", "math@1", "math@1"]
