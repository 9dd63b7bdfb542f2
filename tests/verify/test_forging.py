"""Programs that try to be called correct without being so, by any way but the right answer."""

import json
import sys
from pathlib import Path

import pytest

from tracecraft.verify.code import Code
from tracecraft.verify.sandbox import describe, rung

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or rung() is None, reason=f"no sandbox here: {describe()}"
)

SECRET = "expected-73519"
STDIO = [{"input": "go\n", "output": SECRET}]
CALL = {"fn_name": "f", "inputs": [[1]], "outputs": [SECRET]}
ASSERTS = [f"assert f(1) == {SECRET!r}", f"assert f(1) == {SECRET!r} or f(2) is None"]
CHECK = {
    "test": f"def check(candidate):\n    assert candidate(1) == {SECRET!r}\n",
    "entry_point": "f",
}
NEAR = {"test": "def check(candidate):\n    assert abs(candidate(1) - 3.51973) < 1e-6\n",
        "entry_point": "f"}  # fmt: skip
TRUE = {
    "test": "def check(candidate):\n    x = candidate(1)\n    assert x\n"
    "    assert x > 3 and x < 4\n    assert 5 in x or x != 5\n",
    "entry_point": "f",
}
PYTEST = f"from solution import f\n\ndef test_f():\n    assert f(1) == {SECRET!r}\n"
CASES = ("import unittest\nfrom solution import f\nclass T(unittest.TestCase):\n"
         f"    def test_f(self): self.assertEqual(f(1), {SECRET!r})\n")  # fmt: skip
EVALPLUS = {"task_id": "HumanEval/1", "entry_point": "f", "prompt": "", "atol": 0, "plus_input": [],
            "canonical_solution": f"def f(x): return {SECRET!r}", "base_input": [[1]]}  # fmt: skip
SUITES = {"stdio": STDIO, "call": CALL, "asserts": ASSERTS, "check": CHECK, "near": NEAR,
          "true": TRUE, "pytest": PYTEST, "unittest": CASES, "evalplus": EVALPLUS}  # fmt: skip

VALUE = """class V:
    def __init__(self, x): self.x = x
    def __add__(self, o): return V(self.x + o.x)
    def __eq__(self, o): return self.x == o.x
"""
PROGRAMS = dict(
    part.split("\n", 1)
    for part in Path(__file__).with_name("forgeries.txt").read_text().split("\n=== ")[1:]
)


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("program", PROGRAMS)
def test_no_forger_is_called_correct(program: str, suite: str) -> None:
    tests = SUITES[suite]
    problem = {"tests": tests if isinstance(tests, str) else json.dumps(tests)}
    response = f"```python\n{PROGRAMS[program]}\n```"
    verdict = Code(cpu=1, budget=3.0).judge(problem, response)
    assert verdict.outcome in {"incorrect", "unverifiable"}, verdict.detail
    if verdict.outcome == "unverifiable":
        assert "weak" in (verdict.detail or ""), verdict.detail


def test_the_forgers_would_be_called_correct_if_they_knew_the_answer() -> None:
    knowing = f"def f(*a): return {SECRET!r}\nprint({SECRET!r})"
    for name in ("stdio", "call", "asserts", "check", "pytest", "unittest", "evalplus"):
        tests = SUITES[name]
        problem = {"tests": tests if isinstance(tests, str) else json.dumps(tests)}
        assert Code().judge(problem, f"```python\n{knowing}\n```").outcome == "correct", name


def test_an_object_that_decides_for_itself_is_weak_evidence() -> None:
    tests = "from solution import V\n\ndef test_sum():\n    assert V(1) + V(2) == V(3)\n"
    program = VALUE
    problem, response = {"tests": tests}, f"```python\n{program}\n```"
    assert Code().judge(problem, response).outcome == "unverifiable"
    assert Code(weak="accept").judge(problem, response).outcome == "correct"
