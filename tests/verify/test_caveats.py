"""Responses that say of their problem that it cannot be answered as it stands."""

from collections.abc import Iterator
from typing import Any

import pytest
from labelled import rows

from places import shared_data
from tracecraft.verify import judge_answer
from tracecraft.verify.bench import Bench
from tracecraft.verify.caveats import caveat, despair
from tracecraft.verify.math import Math

ADMITTED = [
    "There is not enough information, so I take 3 days. \\boxed{6}",
    "The length of the road is not given in the problem. Say it is 2 km: \\boxed{6}",
    "The problem likely contains a typo; with 5 for 50 we get \\boxed{6}.",
    "It cannot be determined without the price. With one dollar each: \\boxed{6}",
    "Under the assumption that all pay alike, it is \\boxed{6}.",
    "Assuming there are 3 teams in all, each gets 2, so 6. \\boxed{6}",
    "We assume that each player is equally likely to win. \\boxed{6}",
    "Without specific values for the sides we cannot say; for squares it is \\boxed{6}",
    "\\boxed{6}\n\nIf you have additional information, tell me: the data is incomplete data.",
]
PLAIN = [
    "Assuming $n \\ge 2$, the sum telescopes, and $n=1$ is seen at once. \\boxed{6}",
    "The information given is sufficient. Each of 3 boys gets 2. \\boxed{6}",
    "We cannot determine the sign yet; squaring removes it. \\boxed{6}",
    "Assume for contradiction that there is a largest prime. \\boxed{6}",
    "The pump requires specific conditions, which hold here. \\boxed{6}",
    "This is a common factor problem with 12 and 18, so \\boxed{6}",
    "So it is \\boxed{6}. If you have any questions, please ask!",
    "We need more than 5 tiles, and \\text{without further} cuts it is \\boxed{6}.",
]


@pytest.mark.parametrize("response", ADMITTED)
@pytest.mark.parametrize("policy", ["strict", "lenient"])
def test_a_right_guess_is_not_correct(response: str, policy: str) -> None:
    for use in ("math", "quantity", "auto"):
        verdict = judge_answer("6", response, use, policy=policy)
        assert verdict.outcome == "unverifiable"
        assert verdict.detail is not None
        assert "the response doubts its problem" in verdict.detail
        assert judge_answer("7", response, use, policy=policy).outcome == "incorrect"


@pytest.mark.parametrize("response", PLAIN)
def test_an_ordinary_assumption_is_no_caveat(response: str) -> None:
    assert caveat(response) is None
    assert judge_answer("6", response, policy="strict").outcome == "correct"


def test_a_doubt_that_was_resolved_long_before_the_end_counts_for_nothing() -> None:
    response = "There seems not to be enough data. " + "But we do know the rate. " * 80
    assert judge_answer("6", response + "\\boxed{6}", policy="strict").outcome == "correct"


LOST = (
    "The problem doesn't specify the price. Maybe the problem meant two dollars? Something is "
    "missing. Maybe the question is missing a line, but with two dollars each it is 6."
)
FOUND = (
    "The problem doesn't mention tax, so there is none. Am I missing something? No: 6. "
    "Maybe the problem is that simple."
)


def test_a_thought_that_despairs_of_its_problem_makes_a_guess_of_its_answer() -> None:
    assert despair(LOST) == "problem doesn't specify"
    verdict = judge_answer("6", f"<think>\n{LOST}\n</think>\n\n\\boxed{{6}}")
    assert verdict.outcome == "unverifiable"
    assert verdict.detail == "box: the thought doubts its problem: problem doesn't specify"
    row = {"answer": "6", "reasoning": LOST}
    assert Math().judge(row, "\\boxed{6}").outcome == "unverifiable"
    assert Math().judge({**row, "answer": "7"}, "\\boxed{6}").outcome == "incorrect"


def test_a_thought_that_resolves_its_doubts_costs_no_right_answer() -> None:
    assert despair(FOUND) is None
    assert judge_answer("6", f"<think>\n{FOUND}\n</think>\n\n\\boxed{{6}}").outcome == "correct"


def test_the_thought_of_s1_is_no_closing() -> None:
    response = "think\nIs there not enough data? Yes, there is.\nanswer\nAnswer: \\boxed{6}"
    assert judge_answer("6", response).outcome == "correct"


def recorded(kind: str) -> Iterator[dict[str, Any]]:
    """Traces on problems as they are (`normal`) or without a premise (`MiP`), arXiv 2504.06514."""
    folder = shared_data("traces_mip_overthinking")
    for path in sorted(folder.glob(f"*__{kind}__*.json.gz")):
        name = path.name.split("__")[0]
        originals = rows(next(folder.glob(f"data__{name}.json*")))
        for i, row in enumerate(rows(path)):
            told = [v for k, v in row.items() if k == "model_answer" or k.startswith("deepseek")]
            answer = row.get("answer", originals[i].get("answer"))
            yield {
                "id": f"{path.name.removesuffix('.json.gz')}.{i}",
                "answer": None if answer is None else str(answer),
                "response": told[0],
            }


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["strict", "lenient"])
def test_no_answer_to_a_problem_without_its_premise_is_correct(policy: Any) -> None:
    problems = list(recorded("MiP"))
    assert len(problems) == 906
    with Bench(workers=2) as bench:
        verdicts = bench.verdicts([Math(policy=policy)] * len(problems), problems)
    assert not [p["id"] for p, v in zip(problems, verdicts, strict=True) if v.outcome == "correct"]


DOUBTED = {
    "gsm8k__normal__QwQ.132": "what students pay is not given, and what is asked is guessed",
    "gsm8k__normal__QwQ.180": "that the coats dry one after the other is called an assumption",
    "gsm8k__normal__QwQ.390": "breaks and meals are looked for that the problem leaves out",
    "math__normal__QwQ.40": "the distance asked for is called missing, the drawing's size guessed",
}
"""Right answers to whole problems that their response or thought doubts, and why."""


@pytest.mark.slow
def test_what_right_answers_cost_is_known() -> None:
    problems = list(recorded("normal"))
    with Bench(workers=2) as bench:
        verdicts = bench.verdicts([Math()] * len(problems), problems)
    doubted = {
        p["id"]
        for p, v in zip(problems, verdicts, strict=True)
        if v.outcome == "unverifiable" and "doubts its problem" in (v.detail or "")
    }
    assert doubted == set(DOUBTED)
