"""Reading tests: what is refused, what is packed, what is predicted, and whose reference fails."""

import base64
import json
import os
import pickle
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest

from places import shared_data
from tracecraft.verify.code import Code
from tracecraft.verify.code_references import check_references
from tracecraft.verify.code_tests import BadTests, Calls, Differential, Program, Stdio, read_tests
from tracecraft.verify.livecodebench import private_cases
from tracecraft.verify.prediction import judge_prediction
from tracecraft.verify.sandbox import describe, rung

needs_sandbox = pytest.mark.skipif(
    sys.platform != "linux" or rung() is None, reason=f"no sandbox here: {describe()}"
)


def pack(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


class Boom:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/tmp/tracecraft-boom",)


def test_packed_tests_are_read_for_every_pickle_protocol() -> None:
    cases = [{"input": "1", "output": "2"}, {"input": "ä" * 300, "output": ""}]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert private_cases(pack(pickle.dumps(json.dumps(cases), protocol))) == cases
    assert private_cases(json.dumps(cases)) == cases
    assert private_cases(None) == []


@pytest.mark.parametrize("value", [Boom(), ["[]"], {"a": "[]"}, ("[]", "[]"), b"[]", 3, "no json"])
def test_a_pickle_of_anything_but_one_text_is_refused_and_never_built(value: object) -> None:
    with pytest.raises(ValueError, match=r".+"):
        private_cases(pack(pickle.dumps(value)))
    assert not Path("/tmp/tracecraft-boom").exists()


@pytest.mark.parametrize(
    "tests",
    [None, "", "[]", "{}", '{"inputs": []}', '{"inputs": ["1"], "outputs": []}', '[{"input": "1"}]',
     '{"private_test_cases": "eJw="}', '[{"input": "1", "output": "2", "testtype": "functional"}]',
     '{"base_input": [[1]], "entry_point": "f"}', "[1, 2]", "7", "null"],
)  # fmt: skip
def test_what_holds_no_tests_is_named(tests: str | None) -> None:
    with pytest.raises(BadTests):
        read_tests({"tests": tests})


@pytest.mark.parametrize(
    ("tests", "kind"),
    [
        (["assert f(1) == 2"], Calls),
        (["assert 2 == f(1)", "assert f(x=1) is None"], Calls),
        (["assert f(1) == 2", "assert g(1) == 2"], Program),
        (["assert f(1) == g(1)"], Program),
        (["assert f(1)"], Program),
        (["assert f(1) == 2, f(2)"], Calls),
        ([["1", "2"], ["3", "4"]], Stdio),
        ({"input_output": json.dumps({"inputs": ["1"], "outputs": ["2"]})}, Stdio),
        ({"base_input": [[1]], "entry_point": "f", "canonical_solution": "def f(x): pass"},
         Differential),
    ],
)  # fmt: skip
def test_the_kind_of_tests_is_seen(tests: Any, kind: type) -> None:
    assert isinstance(read_tests({"tests": json.dumps(tests)}), kind)


PAIR = {"input": "1", "output": "2.5"}
RULES = [
    ([PAIR], {}, "lines"),
    ({"inputs": ["1"], "outputs": ["2.5"]}, {}, "lines"),
    ([{**PAIR, "testtype": "stdin"}], {}, "decimals"),
    ({"public_test_cases": json.dumps([{**PAIR, "testtype": "stdin"}])}, {}, "decimals"),
    ({"public_tests": {"input": ["1"], "output": ["2.5"]}}, {}, "tokens"),
    ([{**PAIR, "testtype": "stdin"}], {"comparison": "lines"}, "lines"),
    ([PAIR], {"comparison": "decimals"}, "decimals"),
]


@pytest.mark.parametrize(("tests", "beside", "rule"), RULES)
def test_each_format_is_compared_by_the_rule_of_its_own_graders(
    tests: Any, beside: dict[str, str], rule: str
) -> None:
    suite = read_tests({"tests": json.dumps(tests), **beside})
    assert isinstance(suite, Stdio)
    assert suite.rule == rule


def test_apps_wraps_what_a_function_returns() -> None:
    suite = read_tests({"tests": json.dumps({"fn_name": "f", "inputs": [[1]], "outputs": [[3]]})})
    assert isinstance(suite, Calls)
    assert suite.cases[0].expected == 3


def test_a_list_of_one_is_taken_for_a_wrapping_only_where_it_is_no_text() -> None:
    tests = {"fn_name": "f", "inputs": ["1", "2"], "outputs": ["[3]", "[4]"]}
    suite = read_tests({"tests": json.dumps(tests)})
    assert isinstance(suite, Calls)
    assert [case.expected for case in suite.cases] == [[3], [4]]


@needs_sandbox
@pytest.mark.parametrize("returned", ["3", "[3]"])
def test_what_stands_in_a_list_of_one_may_be_returned_either_way(returned: str) -> None:
    tests = {"fn_name": "f", "inputs": [[1]], "outputs": [[3]]}
    response = f"```python\ndef f(x): return {returned}\n```"
    assert Code().judge({"tests": json.dumps(tests)}, response).outcome == "correct"
    calls = [{"fn_name": "f", "input": [1], "output": [3], "type": "function_call"}]
    assert Code().judge({"tests": json.dumps(calls)}, response).outcome == "correct"
    wrong = response.replace("3", "4")
    assert Code().judge({"tests": json.dumps(tests)}, wrong).outcome == "incorrect"


@needs_sandbox
def test_the_fuller_tests_count_where_a_set_has_both() -> None:
    row = {"test_list": ["assert f(1) == 1"], "test": "for x, y in ((1, 1), (2, 3)):\n"
           "    assert f(x) == y\n", "test_imports": []}  # fmt: skip
    assert Code().judge(row, "```python\ndef f(x): return x\n```").outcome == "incorrect"
    assert Code().judge(row, "```python\ndef f(x): return 2 * x - 1\n```").outcome == "correct"


def test_tests_packed_as_names_with_texts_are_read() -> None:
    tests = {"input_output": json.dumps({"inputs": ["1\n"], "outputs": ["2\n"], "fn_name": None})}
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        suite = read_tests({"tests": pack(pickle.dumps(tests, protocol))})
        assert isinstance(suite, Stdio)
        assert suite.cases == (("1\n", "2\n"),)
    with pytest.raises(BadTests):
        read_tests({"tests": pack(pickle.dumps(Boom()))})


def test_the_function_is_named_by_what_stands_beside_a_test() -> None:
    test = {"input": "[5, 1]\n3", "output": "1", "testtype": "functional"}
    suite = read_tests({"tests": json.dumps([{**test, "metadata": {"func_name": "met"}}])})
    assert isinstance(suite, Calls)
    assert (suite.entry, suite.cases[0].args) == ("met", ([5, 1], 3))


PREDICTIONS = [
    ("[1, 2]", "[ANSWER]\n[1,2]\n[/ANSWER]", "correct"),
    ("'a'", '[ANSWER]"a"[/ANSWER]', "correct"),
    ("'a'", "[ANSWER]a[/ANSWER]", "incorrect"),
    ("{1: 'x'}", "So\n```python\nassert f(3) == {1: 'x'}\n```", "correct"),
    ("[0, 2, 2]", "`[0, 2, 2]`", "correct"),
    ("(1, 2)", "The function returns (1, 2)", "correct"),
    ("True", "The output is **True**", "correct"),
    ("3", "assert f(000) == 3", "correct"),
    ("3", "<think>3</think>\n\n```python\n4\n```", "incorrect"),
    ("3", "<think>so it is 3", "unverifiable"),
    ("3", "I do not know", "incorrect"),
    ("f(2)", "3", "unverifiable"),
    ("[1]", "[ANSWER]\n" + "[" * 5000 + "\n[/ANSWER]", "incorrect"),
    ("1", "[ANSWER]True[/ANSWER]", "correct"),
]


@pytest.mark.parametrize(("expected", "response", "outcome"), PREDICTIONS)
def test_predicted_outputs_are_values_not_texts(expected: str, response: str, outcome: str) -> None:
    assert judge_prediction(expected, response).outcome == outcome


def test_a_prediction_is_judged_without_running_anything() -> None:
    row = {"code": "def f(x):\n    return x", "input": "1", "output": "1", "tests": None}
    verdict = Code().judge(row, "[ANSWER]1[/ANSWER]")
    assert (verdict.outcome, verdict.extracted) == ("correct", "1")


@needs_sandbox
def test_references_that_fail_their_own_tests_are_named() -> None:
    tests = json.dumps([{"input": "2\n", "output": "4\n"}])
    problems = [
        {"problem_id": "good", "tests": tests, "solution": "print(2 * int(input()))"},
        {"problem_id": "bad", "tests": tests, "solution": "print(3 * int(input()))"},
        {"problem_id": "none", "tests": tests, "solution": None},
        {"problem_id": "empty", "tests": "[]", "solution": "print(1)"},
    ]
    found = list(check_references(problems))
    assert [(f.problem_id, f.outcome) for f in found] == [
        ("bad", "incorrect"),
        ("empty", "unverifiable"),
    ]


@needs_sandbox
def test_the_references_of_our_own_problems_pass() -> None:
    path = Path(__file__).parents[2] / "recipes/problems/code.jsonl"
    problems = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(problems) >= 20
    assert list(check_references(problems)) == []


# labels of the set that are wrong: the pipeline that made them could not read these answers
MISREAD = {"sample_22", "sample_385", "sample_497"}


def test_real_predictions_agree_with_their_labels_where_these_are_right() -> None:
    import gzip

    gold_path = shared_data("code_cruxeval/cruxeval.jsonl")
    traces = shared_data("traces_r1_qwq_code/cruxeval_qwq_output_level1.json.gz")
    gold = {row["id"]: row for row in map(json.loads, gold_path.read_text().splitlines())}
    with gzip.open(traces, "rt") as file:
        answers = json.load(file)
    differing = {
        key for key, row in answers.items()
        if (judge_prediction(gold[key]["output"], row["answer"]).outcome == "correct")
        != bool(row["score"])
    }  # fmt: skip
    assert differing == MISREAD
