"""Mathematical answers, judged by a table of cases; each was seen, or is a neighbour of one."""

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.verify import judge_answer
from tracecraft.verify.bench import Bench
from tracecraft.verify.decide import decided
from tracecraft.verify.math import Math

TABLE = Path(__file__).with_name("math.tsv")


def cases() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_every_case_of_the_table_is_judged_as_it_says():
    rows = cases()
    assert len(rows) > 300
    with Bench(workers=1) as bench:
        judges = [Math(policy=row["policy"]) for row in rows]
        pairs = [
            {"answer": row["reference"], "response": row["response"].replace("␤", "\n")}
            for row in rows
        ]
        verdicts = bench.verdicts(judges, pairs)
    wrong = [
        f"{row['reference']} | {row['response']} | {row['policy']}: {verdict.outcome} "
        f"({verdict.detail}), not {row['outcome']}: {row['why']}"
        for row, verdict in zip(rows, verdicts, strict=True)
        if verdict.outcome != row["outcome"]
    ]
    assert not wrong, "\n".join(wrong)


def test_a_strict_policy_grants_no_convention_but_the_same_values():
    by_convention = ("50", r"\boxed{50\%}"), (r"\pi", r"\boxed{3.14159}"), ("1:2", r"\boxed{1/2}")
    for reference, response in by_convention:
        assert judge_answer(reference, response).outcome == "correct"
        verdict = judge_answer(reference, response, policy="strict")
        assert verdict.outcome == "unverifiable"
        assert verdict.detail is not None
        assert "only by convention" in verdict.detail
    assert judge_answer("0.5", r"\boxed{50\%}", policy="strict").outcome == "correct"


@settings(deadline=None)
@given(st.integers(), st.integers(min_value=1, max_value=9_999))
def test_a_number_equals_itself_in_every_dress_and_no_other(number: int, step: int):
    dresses = (f"{number:,}", f"{number}.0", f"${number}$", rf"\text{{{number}}}", f"+{number}")
    for dress in dresses[: 4 if number < 0 else 5]:
        assert decided(str(number), dress).holds, dress
        assert decided(str(number + step), dress).holds is False, dress


@settings(deadline=None)
@given(st.integers(-99, 99), st.integers(1, 99), st.integers(-99, 99), st.integers(1, 99))
def test_two_fractions_are_equal_exactly_if_they_are(a: int, b: int, c: int, d: int):
    ruling = decided(rf"\frac{{{a}}}{{{b}}}", f"{c}/{d}")
    assert ruling.holds is (a * d == b * c) or (not ruling.holds and a * d != b * c)


@settings(deadline=None)
@given(st.text(max_size=60), st.text(max_size=60))
def test_no_text_whatever_raises_in_the_quick_readings(reference: str, answer: str):
    decided(reference, answer)


PIECES = (
    r"1 2 x y + - * / ^ _ ( ) [ ] { } \{ \} , ; = < > | ! % \frac \sqrt \pm \cup \in \text{and} "
    r"\infty \pi \sin \le \begin{pmatrix} \end{pmatrix} \\ & : . ' \degree"
)


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES.split()), max_size=14))
def test_no_heap_of_tokens_raises_in_the_quick_readings(heap: list[str]):
    text = " ".join(heap)
    decided(text, text + " ")
    decided("1", text)


@pytest.mark.parametrize(
    "answer",
    [
        "9^{9^{9^{9}}}", "99999999^{99999999}", "1000000000!", "2^{2^{40}}", "((3!)!)!",
        r"\binom{1000000000}{500000000}", r"\sum_{k=1}^{10^{12}} k^k", "x>2^{2^{64}}",
        r"\gcd(7^{999999999},5)", "(x+1)^{100000}", "(" * 40 + "1" + ")" * 40, "1 " * 50_000,
        "{" * 3_000, "1" * 100_000, r"\sqrt{" * 200 + "2" + "}" * 200, "1e999999999",
        r"\frac{" * 300, "10^{-999999999}", r"\int_0^1 e^{\sin(x^{x^{x}})}\,dx", "0^{0}", "1/0",
        r"\log_1 5", r"\sqrt[0]{5}", r"\tan 90^\circ", "e^{e^{e^{e^{e}}}}", "(-1)^{10^{10}}",
    ],
)  # fmt: skip
def test_a_hostile_answer_costs_little_and_is_never_correct(answer: str):
    verdict = judge_answer("5", f"\\boxed{{{answer}}}")
    assert verdict.outcome != "correct"
    assert verdict.seconds is not None
    assert verdict.seconds < 15


@pytest.mark.parametrize(
    ("reference", "response", "detail"),
    [
        (None, "5", "no reference answer"),
        ("5", None, "no response"),
        ("5", "   ", "no response"),
        ("5", "<think>maybe \\boxed{5}", "truncated: the thought never ends"),
        ("5", "<think>maybe \\boxed{5}</think>", "truncated: nothing after the thought"),
        ("5", "I cannot say.", "no answer found"),
    ],
)
def test_where_nothing_can_be_told_the_verdict_says_why(reference, response, detail):
    verdict = judge_answer(reference, response)
    assert (verdict.outcome, verdict.detail) == ("unverifiable", detail)


def test_a_worked_solution_as_reference_gives_its_own_answer():
    solution = "He runs 3*3=<<3*3=9>>9 times\nSo 9*60=<<9*60=540>>540 meters\n#### 540"
    assert judge_answer(solution, "\\boxed{540}").outcome == "correct"
    assert judge_answer("We see that $x=\\boxed{\\frac12}$.", "0.5").outcome == "correct"
    assert judge_answer("So he makes 9 * 2 = $18.\nA: 18", "#### 18").outcome == "correct"


def test_the_extracted_answer_stands_where_its_span_says():
    response = "<think>\\boxed{1}</think>\n\nHence $x$ is \\boxed{\\frac{1}{2}}."
    verdict = judge_answer("0.5", response)
    assert verdict.extracted == "\\frac{1}{2}"
    assert verdict.span is not None
    assert response[slice(*verdict.span)] == "\\boxed{\\frac{1}{2}}"


def test_a_question_that_needs_algebra_is_settled_by_math_verify():
    verdict = judge_answer(r"\frac{1}{3}", r"\boxed{\int_0^1 x^2\,dx}")
    assert verdict.outcome == "correct"
    assert verdict.detail == "box: math-verify"


@pytest.mark.parametrize(
    ("reference", "answer", "holds"),
    [
        ("X_d = 125 - 1.25P", "P = 25 - 0.05X_d", False),
        ("f(n) = 2n + 1007", "f(n) = 2n - 1007", False),
        ("x^2 + y^2 = 400", "x^2 + y^2 = 900", False),
        ("y = \\frac{x}{2} + 150", "2y = x + 300", True),
        ("y = 2x/(x^4+1)", "y(x^4+1) = 2x", None),
        ("y = x", "(y-x)(x^4+3) = 0", None),
    ],
)
def test_equations_far_out_differ_only_where_one_of_them_vanishes(reference, answer, holds):
    assert decided(reference, answer).holds is holds


@pytest.mark.parametrize("filler", ["x < 3 ", "We answer it soon. ", " \n", "{}"])
def test_an_answer_is_found_alike_behind_a_short_and_a_long_trace(filler: str):
    for ending in (
        "So $x$ is\n\\boxed{7}.",
        "\nThe answer is 7.",
        "\n\n#### 7",
        "\n\nHence it is 7.",
    ):
        found = [judge_answer("7", filler * n + ending) for n in (1, 4_000)]
        assert [v.outcome for v in found] == ["correct", "correct"]
        assert found[0].extracted == found[1].extracted
