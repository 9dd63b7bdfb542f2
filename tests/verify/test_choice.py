"""Multiple choice, held to a table: `reference`, `options` (parted by `|`), `outcome`, `extracted`,
`response`, with `\\n` for a line break. Phrases are those of recorded answers to MMLU-Pro, GPQA and
JEE, and the traps that graders are known for.
"""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.verify.choice import Choice
from tracecraft.verify.letters import chosen_letters

TABLE = Path(__file__).with_name("choice.tsv")
CASES = [line.split("\t") for line in TABLE.read_text("utf-8").splitlines()[1:]]
LETTERS = "ABCDEFGHIJ"


def _text(field: str) -> str:
    parts = field.split("\\\\")
    return "\\".join(part.replace("\\n", "\n").replace("\\t", "\t") for part in parts)


@pytest.mark.parametrize(("reference", "options", "outcome", "extracted", "response"), CASES)
def test_a_recorded_choice_gets_its_verdict(
    reference: str, options: str, outcome: str, extracted: str, response: str
) -> None:
    problem = {"answer": reference, "choices": options.split("|") if options else None}
    verdict = Choice().judge(problem, _text(response))
    assert (verdict.outcome, verdict.extracted or "") == (outcome, _text(extracted)), verdict


def test_the_span_is_where_the_letter_stands() -> None:
    response = "We weigh them. The answer is **(C)**, no doubt."
    verdict = Choice().judge({"answer": "C"}, response)
    assert verdict.span is not None
    assert response[slice(*verdict.span)].startswith("C")


def test_options_are_read_out_of_the_statement_where_there_is_no_column() -> None:
    statement = "What is conserved?\n(A) force\n(B) energy\n(C) power"
    assert (
        Choice().judge({"answer": "B", "statement": statement}, "\\boxed{energy}").outcome
        == "correct"
    )
    assert (
        Choice().judge({"answer": "B", "statement": statement}, "Answer: F").outcome
        == "unverifiable"
    )


def test_two_options_of_one_text_are_no_reference() -> None:
    problem = {"answer": "energy", "choices": ["Energy", "energy."]}
    assert Choice().judge(problem, "Answer: A").outcome == "unverifiable"


@settings(deadline=None)
@given(st.permutations(["force", "energy", "power", "work"]), st.integers(0, 3))
def test_letter_and_text_agree_under_every_order_of_the_options(
    order: list[str], right: int
) -> None:
    problem = {"answer": order[right], "choices": order}
    letter = "ABCD"[right]
    assert Choice().judge(problem, f"The answer is ({letter}).").outcome == "correct"
    assert Choice().judge(problem, f"The answer is {order[right]}.").outcome == "correct"


@settings(deadline=None)
@given(st.text(alphabet="abcdefghij .,;:()\n*", max_size=300))
def test_small_letters_in_prose_are_no_choice_without_an_announcement(text: str) -> None:
    read = chosen_letters("we see that " + text + " and nothing else follows here")
    assert read is None or "(" in text


@settings(deadline=None)
@given(st.text(max_size=400))
def test_no_response_makes_it_raise(text: str) -> None:
    assert Choice().judge({"answer": "B"}, text).outcome in {"correct", "incorrect", "unverifiable"}
