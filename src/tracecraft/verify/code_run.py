"""Runs a program against its tests and says how it fared; what was expected stays out here."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from tracecraft.verify.code_compare import Match, compare_text, compare_value
from tracecraft.verify.code_tests import Calls, Differential, Stdio
from tracecraft.verify.codec import Undecodable, decode, encode
from tracecraft.verify.evalplus import Agreement
from tracecraft.verify.sandbox import Job, Limits, Ran, Sandbox

__all__ = ["Report", "Runnable", "how_it_ended", "run_calls", "run_differential", "run_stdio"]


@dataclass(frozen=True, slots=True)
class Report:
    """How a program fared."""

    status: str
    """`accepted`, `wrong_answer`, `runtime_error`, `time_limit`, `memory_limit`, `output_limit`,
    `compile_error`, `missing_package`, `bad_tests`, `weak` or `out_of_budget`."""
    passed: int
    total: int
    why: str
    """The rule that decided, or what went wrong at the first test that failed."""
    failed: tuple[int, ...] = ()
    """Indices of the tests that failed, of those that were run."""


@dataclass(frozen=True, slots=True)
class Runnable:
    """A program made ready: its text, or its machine code."""

    code: bytes
    mode: str = "script"
    """`script` or `binary`."""
    files: tuple[tuple[str, bytes], ...] = ()
    packages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a program may take, in all and for each test, and when to stop."""

    limits: Limits
    budget: float
    """CPU seconds for all tests of one program."""
    all_tests: bool


_CPU_SIGNALS = (-24, -27, -14)
"""SIGXCPU, SIGPROF, SIGALRM."""


def how_it_ended(ran: Ran, limits: Limits) -> tuple[str, str] | None:
    """Status and reason of a run that did not end well; None of one that did."""
    last = ran.stderr[-2000:].decode(errors="replace").strip().rpartition("\n")[2][:200]
    spent = ran.cpu >= limits.cpu
    if ran.late or ran.status in _CPU_SIGNALS or (ran.status == -9 and spent):
        waited = f"{ran.wall:.1f} s waited" if ran.late else f"{ran.cpu:.1f} s of CPU"
        return "time_limit", waited
    if ran.status == 0:
        return None
    if ran.status == -25 or len(ran.stdout) >= limits.output:
        return "output_limit", f"{len(ran.stdout)} bytes"
    if "MemoryError" in last or "bad_alloc" in last:
        return "memory_limit", f"{limits.memory >> 20} MiB"
    if last.startswith(("SyntaxError", "IndentationError", "TabError")):
        return "compile_error", last
    if last.startswith("ModuleNotFoundError"):
        return "missing_package", last
    how = f"signal {-ran.status}" if ran.status < 0 else f"exit code {ran.status}"
    return "runtime_error", last or how


def _job(program: Runnable, stdin: str, suite: Stdio, limits: Limits) -> Job:
    put = dict(program.files)
    if suite.input_file:
        put[suite.input_file] = stdin.encode(errors="surrogateescape")
    return Job(
        program.mode,
        program.code,
        stdin.encode(errors="surrogateescape"),
        limits=limits,
        put=put,
        collect=(suite.output_file,) if suite.output_file else (),
    )


def run_stdio(sandbox: Sandbox, suite: Stdio, program: Runnable, terms: Terms) -> Report:
    """A whole program, once for each test."""
    passed, spent, rules = 0, 0.0, set()
    first: tuple[str, str] | None = None
    failed: list[int] = []
    for index, (given, wanted) in enumerate(suite.cases):
        if spent > terms.budget:
            return Report("out_of_budget", passed, len(suite.cases),
                          f"{spent:.0f} s of CPU after {index} tests", tuple(failed))  # fmt: skip
        ran = sandbox.run(_job(program, given, suite, terms.limits), program.packages)
        spent += ran.cpu
        bad = how_it_ended(ran, terms.limits)
        if bad is None:
            match = _judged(sandbox, suite, given, wanted, _printed(ran, suite), terms)
            bad = None if match.same else ("wrong_answer", match.why)
            rules.add(match.why)
        if bad is None:
            passed += 1
            continue
        failed.append(index)
        first = first or (bad[0], f"test {index}: {bad[1]}")
        if not terms.all_tests:
            break
    if first is not None:
        return Report(first[0], passed, len(suite.cases), first[1], tuple(failed))
    return Report("accepted", passed, len(suite.cases), ", ".join(sorted(rules)))


def _printed(ran: Ran, suite: Stdio) -> str:
    data = ran.stdout
    if suite.output_file and not data.strip():
        data = ran.files.get(suite.output_file, b"")
    return data.decode(errors="surrogateescape")


def _judged(
    sandbox: Sandbox, suite: Stdio, given: str, wanted: str, got: str, terms: Terms
) -> Match:
    if suite.checker is None:
        return compare_text(got, wanted, suite.rule)
    job = Job(
        "script",
        suite.checker.encode(),
        limits=replace(terms.limits, cpu=max(terms.limits.cpu, 10), wall=30.0),
        argv=("input.txt", "answer.txt", "output.txt"),
        put={
            "input.txt": given.encode(errors="surrogateescape"),
            "answer.txt": wanted.encode(errors="surrogateescape"),
            "output.txt": got.encode(errors="surrogateescape"),
        },
    )
    ran = sandbox.run(job, trusted=True)
    said = ran.stdout.decode(errors="replace").split()
    try:
        accepted = ran.status == 0 and float(said[0]) > 0
    except (IndexError, ValueError):
        accepted = ran.status == 0 and not said
    return Match(accepted, "checker" if accepted else f"checker: {' '.join(said)[:80]}")


def _outcomes(ran: Ran) -> Iterator[dict[str, Any]]:
    """What a run of calls reported, line by line; the program may have written anything."""
    for line in ran.result.split(b"\n"):
        if line:
            try:
                parsed = json.loads(line)
            except (ValueError, RecursionError):
                parsed = None
            yield parsed if isinstance(parsed, dict) else {"e": "Unreadable", "m": "no result"}


def call_job(
    program: Runnable, entry: str, calls: list[Any], limits: Limits, *, prelude: bool, each: float
) -> Job:
    """The run of all calls of one function; the inputs are all that is told."""
    spec = {"entry": entry, "module": "solution", "calls": calls, "limit": each, "prelude": prelude}
    return Job(
        "calls",
        program.code,
        spec=json.dumps(spec).encode(),
        limits=limits,
        put=dict(program.files),
    )


def _compare_calls(
    ran: Ran, total: int, limits: Limits, compare: Any, *, all_tests: bool
) -> Report:
    passed, failed = 0, list[int]()
    first: tuple[str, str] | None = None
    outcomes = list(_outcomes(ran))
    for index, outcome in enumerate(outcomes[:total]):
        bad = _call_failed(outcome, index, compare)
        if bad is None:
            passed += 1
            continue
        failed.append(index)
        first = first or (bad[0], f"test {index}: {bad[1]}")
        if not all_tests:
            break
    if first is None and len(outcomes) < total:
        status, why = how_it_ended(ran, limits) or ("runtime_error", "it left without returning")
        index = len(outcomes)
        # before the first result the program itself failed, not a test
        first = (status, why if index == 0 else f"test {index}: {why}")
        failed += range(index, total)
    if first is not None:
        return Report(first[0], passed, total, first[1], tuple(failed))
    return Report("accepted", passed, total, "calls")


_STATUSES = {"MemoryError": "memory_limit", "ModuleNotFoundError": "missing_package"}


def _call_failed(outcome: dict[str, Any], index: int, compare: Any) -> tuple[str, str] | None:
    if "v" not in outcome:
        kind = str(outcome.get("e"))[:80]
        status = _STATUSES.get(kind, "runtime_error")
        return status, f"{kind}: {str(outcome.get('m'))[:160]}"
    try:
        got = decode(outcome["v"])
    except Undecodable as error:
        return "runtime_error", str(error)[:160]
    match: Match = compare(index, got)
    return None if match.same else ("wrong_answer", match.why)


def _for_all(terms: Terms) -> Limits:
    """One process makes all calls: it may take the whole budget, each call its own share."""
    cpu = max(terms.limits.cpu, int(terms.budget))
    return replace(terms.limits, cpu=cpu, wall=cpu + terms.limits.wall)


def run_calls(sandbox: Sandbox, suite: Calls, program: Runnable, terms: Terms) -> Report:
    """One process, all calls; results come back as plain data and are compared here."""
    calls = [
        [[encode(a) for a in c.args], {k: encode(v) for k, v in c.named.items()}]
        for c in suite.cases
    ]
    limits = _for_all(terms)
    job = call_job(
        program, suite.entry, calls, limits, prelude=suite.prelude, each=float(terms.limits.cpu)
    )
    ran = sandbox.run(job, program.packages)

    def compare(index: int, got: Any) -> Match:
        return compare_value(got, suite.cases[index].expected, suite.how)

    return _compare_calls(ran, len(suite.cases), limits, compare, all_tests=terms.all_tests)


_EVALPLUS_SECONDS = 4.0
"""For one call: evalplus 0.3.1, `DEFAULT_MIN_TIME_LIMIT`."""


def expected_results(
    sandbox: Sandbox, suite: Differential, reference: Runnable, terms: Terms
) -> list[Any] | Report:
    """What the reference returns for each input, or why it cannot be told."""
    calls = [[[encode(a) for a in args], {}] for args in suite.inputs]
    limits = _for_all(terms)
    job = call_job(reference, suite.entry, calls, limits, prelude=False, each=30.0)
    ran = sandbox.run(job, reference.packages, trusted=True)
    outcomes = list(_outcomes(ran))
    wrong = next((o for o in outcomes if "v" not in o), None)
    if wrong is not None or len(outcomes) != len(suite.inputs):
        said = wrong or how_it_ended(ran, limits)
        return Report("bad_tests", 0, len(suite.inputs), f"the reference fails: {said}")
    return [decode(o["v"]) for o in outcomes]


def run_differential(
    sandbox: Sandbox, suite: Differential, expected: list[Any], program: Runnable, terms: Terms
) -> Report:
    """As EvalPlus: the same calls as the reference, results compared by its rules."""
    calls = [[[encode(a) for a in args], {}] for args in suite.inputs]
    limits = _for_all(terms)
    job = call_job(program, suite.entry, calls, limits, prelude=False, each=float(terms.limits.cpu))
    ran = sandbox.run(job, program.packages)
    agreement = Agreement(suite.entry, suite.atol)

    def compare(index: int, got: Any) -> Match:
        return agreement.of(suite.inputs[index], got, expected[index])

    return _compare_calls(ran, len(suite.inputs), limits, compare, all_tests=terms.all_tests)
