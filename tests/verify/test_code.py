"""Programs judged by tests in the formats of the public sets, and the outcome of each ending."""

import base64
import gzip
import json
import pickle
import shutil
import sys
import zlib
from collections.abc import Mapping
from typing import Any

import pytest

from places import shared_data
from tracecraft.schema import Verdict
from tracecraft.verify.code import Code
from tracecraft.verify.sandbox import describe, rung

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or rung() is None, reason=f"no sandbox here: {describe()}"
)

ADD = "def add(a, b):\n    return a + b\n"
SUM = "n = int(input())\nprint(sum(map(int, input().split())))\n"
SUMS = [{"input": "2\n3 4\n", "output": "7\n"}, {"input": "1\n-1\n", "output": "-1\n"}]


def judge(tests: Any, program: str, fence: str = "python", **beside: Any) -> Verdict:
    options = {k: beside.pop(k) for k in ("all_tests", "cpu") if k in beside}
    return Code(**options).judge(
        {"tests": tests if isinstance(tests, str) else json.dumps(tests), **beside},
        f"Here it is.\n\n```{fence}\n{program}\n```\n",
    )


def packed(cases: list[dict[str, str]]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(cases)))).decode()


CALLS = [{"input": "1\n2", "output": "3", "testtype": "functional"},
         {"input": "[1]\n[2]", "output": "[1, 2]", "testtype": "functional"}]  # fmt: skip
STDIN = [{**t, "testtype": "stdin"} for t in SUMS]
HUMANEVAL = """def check(candidate):
    assert candidate(1, 2) == 3
    assert candidate('a', 'b') == 'ab'
"""
METHOD = """class Solution:
    def add(self, a: int, b: int) -> Optional[int]:
        return a + b
"""
CHECKER = """import sys
a, b = (open(name).read().split()[0] for name in sys.argv[2:4])
print(int(a == b))
"""
REVERSED = """class Solution:
    def rev(self, h: Optional[ListNode]) -> Optional[ListNode]:
        p = None
        while h:
            h.next, p, h = p, h, h.next
        return p
"""
FILES = """**helper.py**
```python
def total(x):
    return sum(x)
```

**main.py**
```python
from helper import total
input()
print(total(map(int, input().split())))
```
"""
KODCODE = """from solution import add
import pytest

def test_small():
    assert add(1, 2) == 3

@pytest.mark.parametrize("a, b, c", [(0, 0, 0), (-1, 1, 0), ("x", "y", "xy")])
def test_more(a, b, c):
    assert add(a, b) == c

def test_types():
    with pytest.raises(TypeError):
        add(1, "x")

class TestFloats:
    def setup_method(self):
        self.half = 0.5

    def test_halves(self):
        assert add(self.half, self.half) == pytest.approx(1.0)
"""
UNITTEST = """import unittest
from candidate import add

class Cases(unittest.TestCase):
    def test_equal(self):
        self.assertEqual(add(1, 2), 3)
        with self.assertRaises(TypeError):
            add(1, None)
"""
EVALPLUS = {
    "task_id": "HumanEval/53", "entry_point": "add", "prompt": "def add(a, b):\n",
    "canonical_solution": "    return a + b\n", "base_input": [[1, 2], [2.5, 1]],
    "plus_input": [[-5, 5], [1e9, 1]], "atol": 0,
}  # fmt: skip

FORMATS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "own": (SUMS, SUM, {}),
    "apps": ({"inputs": ["2\n3 4\n"], "outputs": ["7\n"]}, SUM, {}),
    "apps, lists of lines": ({"inputs": [["2", "3 4"]], "outputs": [["7"]]}, SUM, {}),
    "taco, a function": ({"fn_name": "add", "inputs": [[1, 2]], "outputs": [[3]]}, ADD, {}),
    "prime, a method": (
        {"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]},
        METHOD,
        {},
    ),
    "livecodebench, input": ({"public_test_cases": json.dumps(STDIN[:1]),
                              "private_test_cases": packed(STDIN)}, SUM, {}),
    "livecodebench, function": (
        {"public_test_cases": json.dumps(CALLS[:1]), "private_test_cases": packed(CALLS),
         "metadata": json.dumps({"func_name": "add"})}, ADD, {}),
    "livecodebench, starter": (CALLS, ADD, {
        "starter_code": "class Solution:\n    def add(self, a, b):\n"}),
    "codecontests": ({"public_tests": {"input": ["2\n3 4\n"], "output": ["7\n"]},
                      "private_tests": {"input": [], "output": []},
                      "generated_tests": {"input": ["1\n5"], "output": ["5"]},
                      "time_limit": {"seconds": 2, "nanos": 0}}, SUM, {}),
    "sandboxfusion": ([{"input": {"stdin": "2\n3 4"}, "output": {"stdout": "7"}}], SUM, {}),
    "mbpp": (["assert add(1, 2) == 3", "assert add('a', 'b') == 'ab'"], ADD, {}),
    "mbpp, setup": ({"test_list": ["assert add(ONE, 2) == 3"], "test_setup_code": "ONE = 1",
                     "test_imports": ["import math"], "challenge_test_list": []}, ADD, {}),
    "acecode": (["assert add(0.1, 0.2) == 0.30000000000000004", "assert not add(0, 0)"], ADD, {}),
    "humaneval": ({"test": HUMANEVAL, "entry_point": "add"}, ADD, {}),
    "humaneval, columns": (HUMANEVAL, ADD, {"entry_point": "add"}),
    "humaneval, the rest of the prompt": (
        HUMANEVAL, "    return a + b", {"entry_point": "add", "prompt": "def add(a, b):\n"}),
    "leetcode": ({"functional": HUMANEVAL + "\ncheck(Solution().add)\n"},
                 "class Solution:\n    def add(self, a, b):\n        return a + b", {}),
    "kodcode": (KODCODE, ADD, {}),
    "unittest": (UNITTEST, ADD, {}),
    "evalplus": (EVALPLUS, ADD, {}),
    "evalplus, columns": (None, ADD, EVALPLUS),
    "checker": (SUMS, "input()\nprint(sum(map(int, input().split())), 'roughly')",
                {"checker": CHECKER}),
}  # fmt: skip


def broken(program: str) -> str:
    return program.replace("a + b", "a * 2").replace("sum(", "max(9, ")


@pytest.mark.parametrize("name", FORMATS)
def test_a_right_program_is_correct_in_every_format(name: str) -> None:
    tests, program, beside = FORMATS[name]
    verdict = judge("" if tests is None else tests, program, **beside) if tests is not None else (
        Code().judge(beside, f"```python\n{program}```"))  # fmt: skip
    assert verdict.outcome == "correct", verdict.detail


@pytest.mark.parametrize("name", [n for n in FORMATS if "columns" not in n])
def test_a_wrong_program_is_incorrect_in_every_format(name: str) -> None:
    tests, program, beside = FORMATS[name]
    verdict = judge(tests, broken(program), **beside)
    assert verdict.outcome == "incorrect", verdict.detail
    assert "wrong_answer" in (verdict.detail or "") or "runtime_error" in (verdict.detail or "")


ENDINGS = [
    ("print(1 / 0)", "incorrect", "runtime_error: 0 of 2: test 0: ZeroDivisionError"),
    ("while True: pass", "incorrect", "time_limit"),
    ("x = bytearray(1 << 31)", "incorrect", "memory_limit"),
    ("while True: print('x' * 1000000)", "incorrect", "output_limit"),
    ("print(7)", "incorrect", "wrong_answer: 1 of 2: test 1"),
    ("def f(:", "incorrect", "compile_error"),
    ("import nowhere_to_be_found", "unverifiable", "missing_package"),
    ("import sys\nprint(7)\nsys.exit(1)", "incorrect", "runtime_error"),
    (SUM, "correct", "accepted: 2 of 2: exact by lines"),
]


@pytest.mark.parametrize(("program", "outcome", "detail"), ENDINGS)
def test_each_ending_has_its_status(program: str, outcome: str, detail: str) -> None:
    verdict = judge(SUMS, program, cpu=1)
    assert (verdict.outcome, (verdict.detail or "")[: len(detail)]) == (outcome, detail)


@pytest.mark.parametrize(
    ("problem", "response", "outcome", "detail"),
    [
        ({"tests": json.dumps(SUMS)}, "I cannot.", "incorrect", "no_code"),
        ({"tests": json.dumps(SUMS)}, "", "incorrect", "no_code"),
        ({"tests": json.dumps(SUMS)}, "<think>Let me see", "unverifiable", "truncated"),
        ({"tests": None}, "```python\nprint(1)\n```", "unverifiable", "bad_tests"),
        ({"tests": "[]"}, "```python\nprint(1)\n```", "unverifiable", "bad_tests"),
        ({"tests": '{"what": 1}'}, "```python\nprint(1)\n```", "unverifiable", "bad_tests"),
        ({"tests": json.dumps(SUMS), "language": "Java"}, "x", "unverifiable", "bad_tests"),
    ],
)
def test_what_cannot_be_told_is_not_called_wrong(
    problem: Mapping[str, Any], response: str, outcome: str, detail: str
) -> None:
    verdict = Code().judge(problem, response)
    assert (verdict.outcome, (verdict.detail or "")[: len(detail)]) == (outcome, detail)


def test_the_imports_of_a_prompt_are_there_and_its_sentences_are_not() -> None:
    prompt = 'from typing import List\n\ndef add(a: List, b):\n    """\n    from a to b\n    """\n'
    program = "def add(a: List, b):\n    return a + b"
    assert judge(HUMANEVAL, program, entry_point="add", prompt=prompt).outcome == "correct"


def test_a_human_language_is_not_the_programs() -> None:
    assert judge(SUMS, SUM, language="en").outcome == "correct"


def test_all_tests_are_counted_when_asked_for() -> None:
    tests = [f"assert add({n}, 1) == {n + 1}" for n in range(10)]
    program = "def add(a, b):\n    if a == 3: raise ValueError\n    return a + b if a % 2 else 0\n"
    assert (judge(tests, program, all_tests=True).detail or "").split(": ")[1] == "4 of 10"


def test_a_call_that_hangs_is_named_and_those_before_it_count() -> None:
    tests = [f"assert add({n}, 1) == {n + 1}" for n in range(5)]
    program = "def add(a, b):\n    while a == 3: pass\n    return a + b\n"
    verdict = judge(tests, program, cpu=1)
    assert (verdict.detail or "").startswith("time_limit: 3 of 5: test 3"), verdict.detail


def test_an_argument_changed_in_place_is_seen_by_the_tests() -> None:
    tests = "def check(f):\n    x = [3, 1]\n    f(x)\n    assert x == [1, 3]\n"
    assert judge(tests, "def f(x): x.sort()", entry_point="f").outcome == "correct"
    assert judge(tests, "def f(x): x = sorted(x)", entry_point="f").outcome == "incorrect"


def test_linked_lists_and_trees_cross() -> None:
    tests = {"functional": "def check(c):\n    assert is_same_list(c(list_node([1, 2])), "
                           "list_node([2, 1]))\ncheck(Solution().rev)"}  # fmt: skip
    program = REVERSED
    assert judge(tests, program).outcome == "correct"


def test_functions_can_be_handed_to_the_program_but_not_looked_into() -> None:
    tests = ["assert twice(lambda x: x + 1, 3) == 5"]
    assert judge(tests, "def twice(f, x): return f(f(x))").outcome == "correct"
    peeking = "def twice(f, x): return f.__globals__ and 5"
    assert judge(tests, peeking).outcome == "incorrect"


def test_numpy_may_be_imported_where_it_is_installed() -> None:
    pytest.importorskip("numpy")
    verdict = judge(
        SUMS, "import numpy as np\ninput()\nprint(np.sum(np.array(input().split(), int)))"
    )
    assert verdict.outcome == "correct", verdict.detail


def test_a_response_of_several_files_is_one_program() -> None:
    if rung() == "landlock":
        pytest.skip("this rung gives programs no folder")
    assert Code().judge({"tests": json.dumps(SUMS)}, FILES).outcome == "correct"


def test_programs_read_and_write_the_files_a_problem_names() -> None:
    program = (
        "n = open('in.txt').read().split()[1:]\nopen('out.txt', 'w').write(str(sum(map(int, n))))"
    )
    if rung() == "landlock":
        pytest.skip("this rung gives programs no folder")
    named = {"input_file": "in.txt", "output_file": "out.txt"}
    assert judge({"inputs": ["2\n3 4"], "outputs": ["7"], **named}, program).outcome == "correct"


COMPILED = {
    "cpp": "#include <iostream>\nint main() { long n, s = 0, x; std::cin >> n; while (n--) "
           "{ std::cin >> x; s += x; } std::cout << s << '\\n'; }",
    "c": '#include <stdio.h>\nint main(void) { int n, s = 0, x; scanf("%d", &n); while (n--) '
         '{ scanf("%d", &x); s += x; } printf("%d\\n", s); return 0; }',
    "rust": "use std::io::*;\nfn main() { let mut s = String::new(); "
            "stdin().read_to_string(&mut s).unwrap(); let t: i64 = s.split_whitespace().skip(1)"
            '.map(|x| x.parse::<i64>().unwrap()).sum(); println!("{}", t); }',
}  # fmt: skip
COMPILERS = {"cpp": "g++", "c": "gcc", "rust": "rustc"}


@pytest.mark.parametrize("language", COMPILED)
def test_compiled_programs_are_judged(language: str) -> None:
    if shutil.which(COMPILERS[language]) is None or rung() == "landlock":
        pytest.skip(f"no {COMPILERS[language]}, or a rung without a folder")
    right = judge(SUMS, COMPILED[language], language, language=language)
    if "does not run on this machine" in (right.detail or ""):
        pytest.skip(f"{COMPILERS[language]} is here without its toolchain")
    assert right.outcome == "correct", right.detail
    broken = judge(SUMS, COMPILED[language].replace("main", "mian"), language, language=language)
    assert (broken.outcome, (broken.detail or "")[:13]) == ("incorrect", "compile_error")


@pytest.mark.parametrize(
    "source",
    [
        '#include "/etc/passwd"\nint main() {}',
        '#include "/dev/zero"\nint main() {}',
        'asm(".incbin \\"/etc/shadow\\""); int main() {}',
        "char big[1L << 33] = {1}; int main() {}",
        '#include <unistd.h>\n#include <cstdio>\nint main() { if (fork() >= 0) puts("7"); }',
        '#include <cstdlib>\nint main() { system("echo 7"); }',
        "#include <sys/socket.h>\n#include <cstdio>\n"
        'int main() { if (socket(2, 1, 0) >= 0) puts("7"); }',
    ],
)
def test_hostile_sources_and_binaries_get_nothing(source: str) -> None:
    if shutil.which("g++") is None or rung() == "landlock":
        pytest.skip("no g++, or a rung without a folder")
    verdict = judge([{"input": "", "output": "7"}], source, "cpp", language="cpp")
    assert verdict.outcome == "incorrect", verdict.detail


def test_real_references_pass_their_own_tests() -> None:
    path = shared_data("code_mbpp_evalchemy/eval__chat_benchmarks__MBPP__data__mbpp.jsonl.gz")
    with gzip.open(path, "rt") as file:
        rows = [json.loads(line) for line in file][:60]
    failed = [r["task_id"] for r in rows
              if judge({k: r[k] for k in ("test_list", "test_setup_code")}, r["code"]).outcome
              != "correct"]  # fmt: skip
    assert failed == []


JOINED = {
    "cpp": ("#include <cstdlib>\nint f(int x) { BODY; }",
            "int main() {\n    if (f(2) != 4) abort();\n}\n", "return x * 2", "exit(0)"),
    "c": ("#include <stdlib.h>\nint f(int x) { BODY; }",
          "#include <assert.h>\nint main(void) {\n    assert(f(2) == 4);\n    return 0;\n}",
          "return x * 2", "exit(0)"),
    "rust": ("fn f(x: i64) -> i64 { BODY }",
             "fn main() {\n    assert_eq!(f(2), 4);\n}\n", "x * 2", "std::process::exit(0)"),
}  # fmt: skip


@pytest.mark.parametrize("language", JOINED)
def test_compiled_tests_that_are_left_early_are_not_passed(language: str) -> None:
    if shutil.which(COMPILERS[language]) is None or rung() == "landlock":
        pytest.skip(f"no {COMPILERS[language]}, or a rung without a folder")
    program, tests, right, leaving = JOINED[language]
    prompt = program.partition("BODY")[0]
    beside = {"language": language, "test": tests, "entry_point": "f", "prompt": prompt}

    def outcome(body: str, begin: str = prompt) -> str:
        response = f"```{language}\n{begin}{program.replace('BODY', body)[len(prompt) :]}\n```"
        return Code(weak="accept").judge(beside, response).outcome

    if outcome(right) == "unverifiable":
        pytest.skip(f"{COMPILERS[language]} is here without its toolchain")
    assert outcome(right, "") == "correct"
    assert [outcome(b) for b in (right, leaving, right.replace("2", "3"))] == [
        "correct", "incorrect", "incorrect",
    ]  # fmt: skip


def test_files_that_only_the_tests_see_decide_nothing() -> None:
    tests = (
        "from solution import size\n\ndef test_size(tmp_path):\n"
        "    (tmp_path / 'a').write_text('abc')\n    assert size(str(tmp_path / 'a')) == 3\n"
    )
    verdict = judge(tests, "def size(name):\n    return len(open(name).read())")
    assert verdict.outcome == "unverifiable", verdict.detail


def test_a_program_or_its_tests_may_use_pytest_without_bringing_it() -> None:
    tests = (
        "@pytest.mark.parametrize('a', [1, 2])\ndef test_add(a):\n    assert add(a, 1) == a + 1\n"
    )
    assert judge(tests, f"import pytest\n{ADD}").outcome == "correct"
    assert judge(["assert add(1, 2) == 3"], f"import pytest\n{ADD}").outcome == "correct"
