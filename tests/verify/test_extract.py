"""Where the final answer of a response stands."""

import time

import pytest

from tracecraft.verify.extract import extracted

CASES = [
    (r"So $x=\boxed{42}$.", "42", "box"),
    (r"First \boxed{1}. Wait, that is wrong. It is \boxed{2}.", "2", "box"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}", "box"),
    (r"\boxed{\left\{1, 2\right\}}", r"\left\{1, 2\right\}", "box"),
    (r"\boxed{\frac{1}{2}", r"\frac{1}{2}", "box"),
    (r"\boxed 5 is it", "5", "box"),
    (r"\fbox{3}", "3", "box"),
    (r"$\boxed{1}$ and $\boxed{2}$", "1, 2", "boxes"),
    (r"\boxed{1}, \boxed{2}, or \boxed{3}", "1, 2, 3", "boxes"),
    (r"\boxed{7} or, said otherwise, \boxed{7}.", "7", "box"),
    (r"$x = \boxed{1}$ and $y = \boxed{2}$", "1, 2", "boxes"),
    (r"It is \boxed{5}. Note that 6 is wrong.", "5", "box"),
    (r"It is \boxed{}. So \boxed{5}.", "5", "box"),
    ("We get 9*60=540.\n#### 540", "540", "hashes"),
    ("#### 1,234 dollars", "1,234 dollars", "hashes"),
    ("#### Step 1\nWe add.\n#### 7", "7", "hashes"),
    ("<answer>12</answer>", "12", "tag"),
    ("The answer is 42.", "42", "announced"),
    ("The final answer is: $\\frac{1}{2}$. I hope it is correct.", "$\\frac{1}{2}$", "announced"),
    ("**Final Answer**\n$$w = 6 - 5i$$", "$$w = 6 - 5i$$", "announced"),
    ("Therefore the answer is 28%.", "28%", "announced"),
    ("So the answer is $28$ percent.", "$28$ percent", "announced"),
    ("Answer: 5 apples", "5 apples", "announced"),
    ("She sells 9.\nA: 18", "18", "announced"),
    ("答案是：5。", "5", "announced"),
    ("Die Antwort ist: 5", "5", "announced"),
    ("La réponse finale est : 7", "7", "announced"),
    ("The answer is $x = 12$, since $12^2 = 144$.", "$x = 12$", "announced"),
    ("The answer is 3.5 because half of 7 is that", "3.5", "announced"),
    ("42", "42", "whole"),
    (r"$x^2 + 1$", r"$x^2 + 1$", "whole"),
    ("We find that, after all of this work, $x \\lt 3$.", "x \\lt 3", "tail"),
    ("Add them up.\nHence 60% of the students enrolled in dance.", "60%", "tail"),
    ("<think>\\boxed{7}</think>It is \\boxed{5}.", "5", "box"),
    ("7 or so\n</think>\n\nThe answer is \\boxed{5}.", "5", "box"),
    (
        "<|begin_of_thought|>\\boxed{1}<|end_of_thought|>\n<|begin_of_solution|>\\boxed{2}",
        "2",
        "box",
    ),
]


@pytest.mark.parametrize(("response", "answer", "method"), CASES)
def test_the_answer_is_found_and_how(response: str, answer: str, method: str):
    found = extracted(response)
    assert found is not None
    assert (found.answer, found.method) == (answer, method)
    if method != "boxes":
        assert found.answer in response[found.start : found.end]


@pytest.mark.parametrize(
    "response",
    [
        "",
        "<think>it is \\boxed{5}",
        "<think>it is \\boxed{5}</think>",
        "I am not sure that anything can be said about this problem.",
        "The answer is",
    ],
)
def test_no_answer_is_found_where_none_is_given(response: str):
    assert extracted(response) is None


def test_without_looseness_the_last_formula_is_no_answer():
    assert extracted("We find, after all of that, $x < 3$.", loose=False) is None


def test_a_long_trace_costs_what_a_short_answer_costs():
    short = "So the answer is $\\boxed{\\frac{3}{4}}$."
    long = "<think>" + "Let me check that 2+3=5 once more. " * 700 + "</think>\n\n" + short
    bare = "We note that 2+3=5 and that $x = y$ holds. " * 600 + short
    costs = []
    for text in (short, long, bare):
        extracted(text)
        start = time.process_time()
        for _ in range(300):
            extracted(text)
        costs.append(time.process_time() - start)
    assert len(long) > 24_000
    assert max(costs) < 8 * costs[0] + 0.05


@pytest.mark.parametrize(
    "piece", ["\\boxed", "\\boxed{", "answer is ", "####", "$", "<think>", "{"]
)
def test_no_pile_of_marks_is_slow(piece: str):
    start = time.process_time()
    extracted(piece * 20_000)
    extracted("x " + piece * 20_000 + " y")
    assert time.process_time() - start < 2
