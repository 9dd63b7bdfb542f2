"""Words that say the same, and the form in which they are compared."""

import pytest

from tracecraft.verify import words
from tracecraft.verify.words import said


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("There are no solutions.", "none"),
        ("There is no solution", "\\text{no solutions}"),
        ("an infinite number", "infinitely many"),
        ("an infinite number of solutions", "infinitely many solutions"),
        ("It cannot be determined.", "not enough information"),
        ("It can not be determined", "insufficient information"),
        ("the set of all real numbers", "\\mathbb{R}"),
    ],
)
def test_two_phrases_say_the_same(one: str, other: str) -> None:
    assert said(one) == said(other)


@pytest.mark.parametrize("phrase", words._SAME)
def test_each_phrase_is_kept_in_the_form_that_is_compared(phrase: str) -> None:
    assert said(phrase) == words._SAME[phrase]
    assert phrase != words._SAME[phrase]
