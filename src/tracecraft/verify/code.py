"""The verifier of programs: finds one in the response, runs it walled in, compares outside."""

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar

from pydantic import Field

from tracecraft.schema import Verdict
from tracecraft.stage import Desk
from tracecraft.verify.code_calls import Expected, expected_results, run_calls, run_differential
from tracecraft.verify.code_check import run_program_tests
from tracecraft.verify.code_extract import LANGUAGES, defines, extract, parses
from tracecraft.verify.code_extract import Code as Found
from tracecraft.verify.code_run import Report, Runnable, Terms, run_stdio
from tracecraft.verify.code_tests import (
    BESIDE,
    BadTests,
    Calls,
    Differential,
    Prediction,
    Program,
    Stdio,
    Suite,
    read_tests,
)
from tracecraft.verify.compiled import NAMES, NOT_RUN, compiled, run_joined
from tracecraft.verify.prediction import judge_prediction
from tracecraft.verify.sandbox import Limits, Sandbox, SandboxBroken, shared
from tracecraft.verify.verifier import Verifier

__all__ = ["Code"]

T = TypeVar("T")

_OUTCOMES = {
    "accepted": "correct",
    "bad_tests": "unverifiable",
    "missing_package": "unverifiable",
    "weak": "unverifiable",
    "out_of_budget": "unverifiable",
}
"""Every other status of a report is `incorrect`."""
_IMPORT_LINE = re.compile(r"import \w|from [\w.]+ import ")
_IMPORTS = re.compile(r"^[ \t]*(?:import|from)[ \t]+(\w+)", re.M)


class _Kept(Generic[T]):
    """The last few values made, by what they were made of: many samples have one problem."""

    def __init__(self, most: int) -> None:
        self._lock, self._most = Lock(), most
        self._values: OrderedDict[bytes, T] = OrderedDict()

    def of(self, key: bytes, make: Callable[[], T]) -> T:
        """The value for `key`, made now if it is not there."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._most:
                self._values.popitem(last=False)
        return value


_suites: _Kept[Suite] = _Kept(64)
_references: _Kept[Expected | Report] = _Kept(256)


def _key(*parts: object) -> bytes:
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        hasher.update(part.encode() if isinstance(part, str) else repr(part).encode())
        hasher.update(b"\0")
    return hasher.digest()


def _suite(problem: Mapping[str, Any]) -> Suite:
    beside = sorted((k, v) for k, v in problem.items() if k in BESIDE)
    return _suites.of(_key(problem.get("tests"), beside), lambda: read_tests(problem))


class Code(Verifier, use="code", version=1):
    """The program in the response passes the problem's tests, or says what they say it returns.

    Printed lines are compared word by word; numbers that the expected text writes with a point or
    an exponent may be off by 1e-6, none in LiveCodeBench's tests, where they are decimals; in
    CodeContests' tests lines and letter case do not count. Results of calls are compared as plain
    data, floats to 1e-9; EvalPlus's by its own rules. A problem's `comparison` or `checker` goes
    before. `incorrect` covers a response that has ended without any program; one cut off inside its
    reasoning is `unverifiable`, as is a problem whose tests cannot be read or were not all run.
    """

    where: ClassVar[Literal["process", "thread"]] = "thread"
    requires: ClassVar[tuple[str, ...]] = ()

    language: Literal["python", "cpp", "c", "rust"] = "python"
    """Of the programs; a column `language` of the problem says otherwise."""
    cpu: int = Field(default=10, ge=1)
    """CPU seconds for one test, where the problem sets no limit of its own."""
    slack: float = Field(default=3.0, ge=1)
    """How many times a problem's own limit a Python program may take."""
    memory_limit: int = Field(default=1024, ge=64)
    """MiB of address space; twice as much where numpy is imported."""
    budget: float = Field(default=60.0, gt=0)
    """CPU seconds for all tests of one response."""
    all_tests: bool = False
    """Go on after the first test that fails, and count."""
    weak: Literal["refuse", "accept"] = "refuse"
    """What a pass is worth that the program itself had a hand in deciding: nothing, or all."""
    packages: tuple[str, ...] = Field(default=("numpy",), strict=False)
    """Installed packages that programs may import."""

    def judge(self, problem: Mapping[str, Any], response: str) -> Verdict:
        """The verdict on one response."""
        started = time.perf_counter()
        found: Found | None = None
        try:
            suite = _suite(problem)
            if isinstance(suite, Prediction):
                return judge_prediction(suite.expected, response)
            entry = getattr(suite, "entry", None)
            language = self._language(problem)
            found = extract(response, language, entry)
            if found is None:
                return self._no_program(response, started)
            run = self._run if language == "python" else partial(self._run_compiled, language)
            report = run(shared(), suite, found)
        except BadTests as error:
            report = Report("bad_tests", 0, 0, str(error))
        except SandboxBroken as error:
            return _verdict("failed", f"sandbox_error: {error}", found, started)
        outcome = _OUTCOMES.get(report.status, "incorrect")
        if report.status == "weak" and self.weak == "accept":
            outcome = "correct"
        counted = f"{report.passed} of {report.total}"
        return _verdict(outcome, f"{report.status}: {counted}: {report.why}", found, started)

    def _language(self, problem: Mapping[str, Any]) -> str:
        """Of the program: the problem's, where its column names one and not a human language."""
        said = str(problem.get("language") or "").casefold()
        said = NAMES.get(said, said)
        if said in NOT_RUN:
            raise BadTests(f"programs in {said} cannot be run")
        return said if said in LANGUAGES else self.language

    def _no_program(self, response: str, started: float) -> Verdict:
        from tracecraft.think import split

        if not split(response).closed:
            return _verdict("unverifiable", "truncated: the reasoning never ends", None, started)
        return _verdict("incorrect", "no_code: the response hands over no program", None, started)

    def _terms(self, suite: Suite, *, numpy: bool) -> Terms:
        seconds = getattr(suite, "seconds", None)
        cpu = max(2, round(seconds * self.slack + 0.5)) if seconds else self.cpu
        memory = max(self.memory_limit << 20, getattr(suite, "memory", None) or 0)
        limits = Limits(cpu=cpu, wall=2.0 * cpu + 5.0, memory=memory * (2 if numpy else 1))
        return Terms(limits, max(self.budget, cpu), self.all_tests)

    def _ready(self, text: str, files: Mapping[str, str] | None = None) -> Runnable:
        imported = set(_IMPORTS.findall(text))
        packages = tuple(p for p in self.packages if p in imported)
        beside = tuple((name, body.encode()) for name, body in (files or {}).items())
        return Runnable(text.encode(errors="surrogateescape"), files=beside, packages=packages)

    @contextmanager
    def open(self, desk: Desk) -> Iterator[Self]:
        """Finds a rung that holds, before the first row.

        Raises:
            SandboxUnavailable: none does.
        """
        shared()
        yield self

    def _run_compiled(self, language: str, sandbox: Sandbox, suite: Suite, found: Found) -> Report:
        terms = self._terms(suite, numpy=False)
        terms = replace(terms, limits=replace(terms.limits, stack=terms.limits.memory // 2))
        if isinstance(suite, Program):
            return run_joined(sandbox, suite, found.text, language, terms)
        if not isinstance(suite, Stdio):
            raise BadTests("calls of a function are made in Python only")
        program = compiled(sandbox, found.text, language, found.files)
        if isinstance(program, Report):
            return replace(program, total=len(suite.cases))
        return run_stdio(sandbox, suite, program, terms)

    def _run(self, sandbox: Sandbox, suite: Suite, found: Found) -> Report:
        text = _completed(found.text, suite)
        program = self._ready(text, found.files)
        terms = self._terms(suite, numpy=bool(program.packages))
        match suite:
            case Stdio():
                return run_stdio(sandbox, suite, program, terms)
            case Calls():
                return run_calls(sandbox, suite, program, terms)
            case Differential():
                expected = _references.of(
                    _key(suite.reference, suite.inputs),
                    lambda: expected_results(sandbox, suite, self._ready(suite.reference), terms),
                )
                if isinstance(expected, Report):
                    return expected
                return run_differential(sandbox, suite, expected, program, terms)
            case Program():
                return run_program_tests(sandbox, suite, program, terms)
            case Prediction():
                raise BadTests("nothing to run")


def _verdict(outcome: str, detail: str, found: Found | None, started: float) -> Verdict:
    return Verdict(
        outcome,
        extracted=found.text if found else None,
        detail=detail,
        span=found.span if found else None,
        seconds=time.perf_counter() - started,
    )


def _completed(text: str, suite: Suite) -> str:
    """A response may be the rest of a program that the prompt begins, or rely on its imports."""
    entry: str | None = getattr(suite, "entry", None)
    prompt: str | None = getattr(suite, "prompt", None)
    if not entry or not prompt:
        return text
    if not defines(text, entry):
        for joined in (prompt + text, prompt + "\n" + text):
            if defines(joined, entry) and parses(joined):
                return joined
    if isinstance(suite, Program) and "import" in prompt and "from __future__" not in text:
        imports = [line for line in prompt.split("\n") if _IMPORT_LINE.match(line)]
        return "\n".join([*imports, text])
    return text
