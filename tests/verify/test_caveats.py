"""Responses that say of their problem that it cannot be answered as it stands."""

import pytest

from tracecraft.verify import judge_answer
from tracecraft.verify.caveats import caveat

ADMITTED = [
    "There is not enough information, so I take 3 days. \\boxed{6}",
    "The length of the road is not given in the problem. Say it is 2 km: \\boxed{6}",
    "The problem likely contains a typo; with 5 for 50 we get \\boxed{6}.",
    "It cannot be determined without the price. With one dollar each: \\boxed{6}",
    "Under the assumption that all pay alike, it is \\boxed{6}.",
    "\\boxed{6}\n\nIf you have additional information, tell me: the data is incomplete data.",
]
PLAIN = [
    "Assuming $n \\ge 2$, the sum telescopes, and $n=1$ is seen at once. \\boxed{6}",
    "The information given is sufficient. Each of 3 boys gets 2. \\boxed{6}",
    "We cannot determine the sign yet; squaring removes it. \\boxed{6}",
    "This is a common factor problem with 12 and 18, so \\boxed{6}",
]


@pytest.mark.parametrize("response", ADMITTED)
def test_a_right_guess_is_not_correct_for_training(response: str) -> None:
    for use in ("math", "quantity", "auto"):
        verdict = judge_answer("6", response, use, policy="strict")
        assert verdict.outcome == "unverifiable"
        assert verdict.detail is not None
        assert "the response doubts its problem" in verdict.detail
        assert judge_answer("6", response, use).outcome == "correct"
        assert judge_answer("7", response, use, policy="strict").outcome == "incorrect"


@pytest.mark.parametrize("response", PLAIN)
def test_an_ordinary_assumption_is_no_caveat(response: str) -> None:
    assert caveat(response) is None
    assert judge_answer("6", response, policy="strict").outcome == "correct"


def test_a_doubt_that_was_resolved_long_before_the_end_counts_for_nothing() -> None:
    response = "There seems not to be enough data. " + "But we do know the rate. " * 80
    assert judge_answer("6", response + "\\boxed{6}", policy="strict").outcome == "correct"
