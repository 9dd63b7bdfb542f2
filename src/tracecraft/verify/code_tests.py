"""Tests of a code problem in the formats of the public sets, read into one of four kinds.

| format | `tests` holds |
|---|---|
| own, Codeforces sets | a list of `{input, output}`; texts are standard input and output |
| APPS, TACO, PRIME, DeepCoder | `{inputs, outputs, fn_name?}` |
| LiveCodeBench | `{public_test_cases, private_test_cases, metadata}`, or a list with `testtype` |
| CodeContests | `{public_tests, private_tests, generated_tests, time_limit, …}` |
| SandboxFusion | a list of `{input: {stdin}, output: {stdout}}`, or `{code, asset}` |
| MBPP, AceCode | a list of `assert` lines, or `{test_list, test_setup_code, test_imports}` |
| HumanEval, LeetCode sets | `{test, entry_point}`, `{functional}`, or a program with `check` |
| KodCode | a program of `test_…` functions that imports from `solution` |
| EvalPlus | `{entry_point, base_input, plus_input, canonical_solution, atol}` |
| CRUXEval | `{code, input, output}`: the response predicts the output |

Columns beside `tests` (`entry_point`, `fn_name`, `starter_code`, `checker`, …) are read too;
`comparison` names a rule for printed outputs in the place of the format's own.
"""

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from tracecraft.verify.code_asserts import Call, as_call
from tracecraft.verify.code_compare import Rule, Values
from tracecraft.verify.livecodebench import private_cases, unpacked

__all__ = ["BadTests", "Calls", "Prediction", "Program", "Stdio", "Suite", "read_tests"]


BESIDE = (
    "asset", "atol", "base_input", "canonical_solution", "challenge_test_list", "checker", "code",
    "comparison", "contract", "entry_point", "fn_name", "func_name", "function_name", "functional",
    "generated_checker", "generated_tests", "input", "input_file", "input_output", "inputs",
    "memory_limit", "memory_limit_bytes", "metadata", "official_tests", "output", "output_file",
    "outputs", "plus_input", "private_test_cases", "private_tests", "prompt", "public_test_cases",
    "public_tests", "reference", "solution", "starter_code", "task_id", "test", "test_cases",
    "test_code", "test_imports", "test_list", "test_setup_code", "time_limit",
)  # fmt: skip
"""Columns of a problem that are read beside `tests`, or in its place."""


class BadTests(ValueError):
    """The tests cannot be read, or there are none."""


@dataclass(frozen=True, slots=True)
class Stdio:
    """Runs of a whole program: what it reads, what it must print."""

    cases: tuple[tuple[str, str], ...]
    rule: Rule = "lines"
    checker: str | None = None
    """A program that judges an output; it gets the names of input, answer and output."""
    input_file: str | None = None
    output_file: str | None = None
    seconds: float | None = None
    memory: int | None = None
    prelude: bool = False
    """The graders of this set import the usual names for a response."""


@dataclass(frozen=True, slots=True)
class Calls:
    """Calls of one function or method."""

    entry: str
    cases: tuple[Call, ...]
    how: Values = "loose"
    prelude: bool = False
    """The graders of this set import the usual names for a response."""
    prompt: str | None = None
    """The beginning of the program, which a response may leave out."""
    wrapped: bool = False
    """Each result stood in a list of one: APPS wraps it so, and its grader takes either."""


@dataclass(frozen=True, slots=True)
class Differential:
    """Calls whose expected results are those of a reference program (EvalPlus)."""

    entry: str
    inputs: tuple[tuple[Any, ...], ...]
    reference: str
    atol: float = 0.0
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """Test code that calls the response's functions."""

    code: str
    entry: str | None = None
    assets: dict[str, str] = field(default_factory=dict)
    prompt: str | None = None
    prelude: bool = False


@dataclass(frozen=True, slots=True)
class Prediction:
    """The response says what a given program returns; nothing of it is run."""

    expected: str


Suite = Stdio | Calls | Differential | Program | Prediction


def read_tests(problem: Mapping[str, Any]) -> Suite:
    """The tests of a problem's row.

    Raises:
        BadTests: there are none, or in no format known here.
    """
    tests = problem.get("tests")
    if isinstance(tests, (bytes, str)):
        tests = _loaded(tests)
    beside = {k: problem[k] for k in BESIDE if problem.get(k) is not None}
    try:
        if isinstance(tests, Mapping):
            return _from_mapping({**beside, **{k: v for k, v in tests.items() if v is not None}})
        if isinstance(tests, list):
            return _from_list(tests, beside)
        if isinstance(tests, str) and tests.strip():
            return _from_program(tests, beside)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        if isinstance(error, BadTests):
            raise
        raise BadTests(f"tests cannot be read: {type(error).__name__}: {error}") from None
    if tests is None and (beside.keys() & _ENOUGH or {"code", "input", "output"} <= beside.keys()):
        return read_tests({**beside, "tests": beside})
    raise BadTests("the problem has no tests")


_ENOUGH = {"base_input", "generated_tests", "input_output", "inputs", "official_tests",
           "private_test_cases", "public_test_cases", "public_tests", "test", "test_cases",
           "test_list"}  # fmt: skip
"""Any of these columns holds tests by itself."""


def _loaded(text: bytes | str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        plain = text.decode() if isinstance(text, bytes) else text
        try:
            found = unpacked(plain) if _PACKED.match(plain) else None
        except ValueError as error:
            raise BadTests(f"tests cannot be read: {error}") from None
        return plain if found is None else found


_PACKED = re.compile(r"\s*eJ[\w+/]{14}")
"""How base64 of what zlib packed begins."""


def _from_mapping(m: Mapping[str, Any]) -> Suite:
    if "private_test_cases" in m or "public_test_cases" in m:
        cases = [*_cases(m.get("public_test_cases")), *private_cases(m.get("private_test_cases"))]
        return _from_list(cases, m)
    if "public_tests" in m or "generated_tests" in m or "private_tests" in m:
        return _code_contests(m)
    if "base_input" in m or "plus_input" in m:
        return _evalplus(m)
    if "test_list" in m and not isinstance(m.get("test"), str):
        lines = [*m["test_list"], *(m.get("challenge_test_list") or ())]
        setup = [*(m.get("test_imports") or ()), m.get("test_setup_code") or ""]
        return _asserts(lines, "\n".join(filter(None, setup)), m)
    if "inputs" in m and "outputs" in m:
        return _from_columns(m)
    for key in ("functional", "test", "test_code", "code"):
        if isinstance(m.get(key), str) and key != "code":
            return _from_program(m[key], m)
    if {"code", "output"} <= m.keys():
        return Prediction(str(m["output"]))
    if isinstance(m.get("code"), str):
        return _from_program(m["code"], m)
    for key in ("tests", "test_cases", "input_output", "official_tests"):
        if key in m:
            inner = _loaded(m[key]) if isinstance(m[key], str) else m[key]
            rest = {k: v for k, v in m.items() if k != key}
            return _from_list(inner, rest) if isinstance(inner, list) else _from_mapping(
                {**rest, **inner})  # fmt: skip
    raise BadTests(f"tests in no known format: they have {', '.join(sorted(m)[:12])}")


def _cases(value: Any) -> list[Any]:
    if isinstance(value, str):
        value = json.loads(value)
    return list(value or ())


def _from_list(tests: list[Any], m: Mapping[str, Any]) -> Suite:
    if not tests:
        raise BadTests("the problem has no tests")
    if all(isinstance(t, str) for t in tests):
        return _asserts(tests, m.get("test_setup_code") or "", m)
    pairs = [_pair(t) for t in tests]
    named_tests = [t for t in tests if isinstance(t, Mapping)]
    kinds = {str(t.get("testtype") or t.get("type") or "") for t in named_tests}
    given = ({k: t.get(k) for k in ("fn_name", "metadata")} for t in named_tests)
    named = next(filter(None, map(_entry, given)), None)
    entry = named or _entry(m)
    if kinds & {"functional", "function_call"} or (named and kinds == {""}):
        if entry is None:
            raise BadTests("calls of a function that no field names")
        return _calls(entry, pairs, m)
    if any(not isinstance(x, str) for pair in pairs for x in pair):
        if entry is not None:
            return _calls(entry, pairs, m)
        pairs = [(_text(a), _text(b)) for a, b in pairs]
    return _stdio(pairs, m, "decimals" if kinds == {"stdin"} else "lines")


def _pair(test: Any) -> tuple[Any, Any]:
    if not isinstance(test, Mapping):
        given, wanted = test
        return given, wanted
    given = test["input"] if "input" in test else test["stdin"]
    wanted = test["output"] if "output" in test else test.get("expected_output", test.get("stdout"))
    if isinstance(given, Mapping) and isinstance(wanted, Mapping):
        return given.get("stdin", ""), wanted.get("stdout", "")
    if wanted is None:
        raise BadTests("a test without an output")
    return given, wanted


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n".join(map(_text, value))
    return json.dumps(value)


def _stdio(pairs: Iterable[tuple[Any, Any]], m: Mapping[str, Any], rule: Rule = "lines") -> Stdio:
    cases = tuple((_text(a), _text(b)) for a, b in pairs)
    if not cases:
        raise BadTests("the problem has no tests")
    if m.get("comparison") in get_args(Rule):
        rule = m["comparison"]
    return Stdio(
        cases,
        rule,
        checker=m.get("checker") or m.get("generated_checker") or None,
        input_file=_file(m.get("input_file")),
        output_file=_file(m.get("output_file")),
        seconds=_seconds(m.get("time_limit")),
        memory=_memory(m),
        prelude="public_test_cases" in m or "private_test_cases" in m,
    )


def _file(name: Any) -> str | None:
    return name if isinstance(name, str) and re.fullmatch(r"[\w.-]+", name) else None


def _seconds(value: Any) -> float | None:
    if isinstance(value, Mapping):  # CodeContests: a protobuf duration
        return float(value.get("seconds", 0)) + float(value.get("nanos", 0)) / 1e9 or None
    if isinstance(value, str):
        found = re.match(r"[\d.]+", value)
        value = float(found[0]) if found else None
    if not value:
        return None
    return float(value) / 1000 if float(value) > 100 else float(value)  # some sets say milliseconds


def _memory(m: Mapping[str, Any]) -> int | None:
    if m.get("memory_limit_bytes"):
        return int(m["memory_limit_bytes"])
    value = m.get("memory_limit")
    return int(float(value)) << 20 if isinstance(value, (int, float)) and value > 0 else None


def _from_columns(m: Mapping[str, Any]) -> Suite:
    inputs, outputs = m["inputs"], m["outputs"]
    if len(inputs) != len(outputs):
        raise BadTests(f"{len(inputs)} inputs and {len(outputs)} outputs")
    pairs = list(zip(inputs, outputs, strict=True))
    if not pairs:
        raise BadTests("the problem has no tests")
    if m.get("fn_name"):
        return _calls(m["fn_name"], pairs, m)
    return _stdio(pairs, m)


def _code_contests(m: Mapping[str, Any]) -> Stdio:
    pairs = []
    for key in ("public_tests", "private_tests", "generated_tests"):
        part = m.get(key) or {}
        if isinstance(part, str):
            part = json.loads(part)
        if isinstance(part, list):
            pairs += [_pair(t) for t in part]
        else:
            pairs += list(zip(part.get("input", ()), part.get("output", ()), strict=True))
    return _stdio(pairs, m, rule="tokens")


def _calls(entry: str, pairs: list[tuple[Any, Any]], m: Mapping[str, Any]) -> Calls:
    cases = [(_arguments(given), _value(wanted)) for given, wanted in pairs]
    wrapped = all(isinstance(wanted, list) and len(wanted) == 1 for _, wanted in pairs)
    if wrapped:
        cases = [(given, wanted[0]) for given, wanted in cases]
    calls = tuple(Call(tuple(given), wanted) for given, wanted in cases)
    return Calls(entry, calls, prelude=True, prompt=m.get("starter_code"), wrapped=wrapped)


def _arguments(given: Any) -> list[Any]:
    if isinstance(given, str):  # LiveCodeBench: a JSON value on each line
        return [json.loads(line) for line in given.split("\n") if line.strip()]
    return list(given) if isinstance(given, list) else [given]


def _value(wanted: Any) -> Any:
    if not isinstance(wanted, str):
        return wanted
    try:
        return json.loads(wanted)
    except ValueError:
        return wanted


def _entry(m: Mapping[str, Any]) -> str | None:
    for key in ("entry_point", "fn_name", "func_name", "function_name"):
        if m.get(key):
            return str(m[key])
    meta = m.get("metadata")
    meta = _loaded(meta) if isinstance(meta, str) else meta
    if isinstance(meta, Mapping) and (meta.get("func_name") or meta.get("fn_name")):
        return str(meta.get("func_name") or meta.get("fn_name"))
    methods = re.findall(r"^[ \t]*def (\w+)\(", m.get("starter_code") or "", re.M)
    public = [name for name in methods if not name.startswith("_")]
    return public[-1] if public else None


def _evalplus(m: Mapping[str, Any]) -> Differential:
    from tracecraft.verify.evalplus import inputs_of

    body = m.get("canonical_solution") or m.get("reference") or m.get("solution")
    if not body:
        raise BadTests("inputs without outputs and without a reference solution")
    prompt = str(m.get("prompt") or "")
    whole = re.search(rf"^def {re.escape(m['entry_point'])}\b", body, re.M)
    reference = body if whole else prompt + str(m.get("contract") or "") + body
    return Differential(
        m["entry_point"], inputs_of(m), reference, float(m.get("atol") or 0), prompt
    )


def _asserts(lines: list[str], setup: str, m: Mapping[str, Any]) -> Suite:
    """Plain `assert f(…) == …` lines become calls; any other line keeps them a program."""
    entry = m.get("entry_point")
    calls: list[Call] = []
    names = set()
    for line in lines:
        call = None if setup.strip() else as_call(line)
        if call is None:
            return _from_program("\n".join([setup, *lines]).strip() + "\n", m)
        names.add(call[0])
        calls.append(call[1])
    if len(names) != 1 or (entry and names != {entry}):
        return _from_program("\n".join(lines) + "\n", m)
    return Calls(names.pop(), tuple(calls), how="python", prompt=m.get("prompt"))


def _from_program(code: str, m: Mapping[str, Any]) -> Suite:
    assets = {name: _asset(content) for name, content in (m.get("asset") or {}).items()}
    tests = [name for name in assets if re.fullmatch(r"(?:test_\w+|\w+_test)\.py", name)]
    if "#<INSERT>" in code and tests:
        code = assets.pop(tests[0])
    return Program(
        code.replace("#<INSERT>", ""), _entry(m), assets, m.get("prompt"), "functional" in m
    )


def _asset(content: str) -> str:
    try:
        return base64.b64decode(content, validate=True).decode()
    except ValueError:
        return content
