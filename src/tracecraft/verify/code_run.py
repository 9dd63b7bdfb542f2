"""Runs whole programs on what they read, and says how they fared; what was expected stays here."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace

from tracecraft.verify.code_compare import Match, compare_text
from tracecraft.verify.code_tests import Stdio
from tracecraft.verify.sandbox import Job, Limits, Ran, Sandbox

__all__ = ["Report", "Runnable", "Terms", "how_it_ended", "run_stdio"]


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


def _runs(
    sandbox: Sandbox, suite: Stdio, program: Runnable, terms: Terms
) -> Generator[Ran, None, None]:
    """The program on each test's input, in turn."""
    inputs = [given.encode(errors="surrogateescape") for given, _ in suite.cases]
    job = Job(program.mode, program.code, limits=terms.limits, prelude=suite.prelude)
    # a checker runs between two tests, and needs a place of its own to run in
    apart = suite.checker or suite.input_file or suite.output_file or program.files
    if not apart and b"/dev/stdin" not in program.code:
        yield from sandbox.stream(job, inputs, program.packages, go_on=terms.all_tests)
        return
    for given in inputs:
        put = dict(program.files)
        if suite.input_file:
            put[suite.input_file] = given
        collect = (suite.output_file,) if suite.output_file else ()
        yield sandbox.run(replace(job, stdin=given, put=put, collect=collect), program.packages)


def run_stdio(sandbox: Sandbox, suite: Stdio, program: Runnable, terms: Terms) -> Report:
    """A whole program, once for each test."""
    passed, spent, rules = 0, 0.0, set()
    first: tuple[str, str] | None = None
    failed: list[int] = []
    total = len(suite.cases)
    runs = _runs(sandbox, suite, program, terms)
    with closing(runs):
        for index, ran in enumerate(runs):
            spent += ran.cpu
            bad = how_it_ended(ran, terms.limits)
            if bad is None:
                given, wanted = suite.cases[index]
                match = _judged(sandbox, suite, given, wanted, _printed(ran, suite), terms)
                bad = None if match.same else ("wrong_answer", match.why)
                rules.add(match.why)
            if bad is None:
                passed += 1
            else:
                failed.append(index)
                first = first or (bad[0], f"test {index}: {bad[1]}")
                if not terms.all_tests:
                    break
            if spent > terms.budget and index + 1 < total:
                why = f"{spent:.0f} s of CPU after {index + 1} tests"
                return Report("out_of_budget", passed, total, why, tuple(failed))
    if first is not None:
        return Report(first[0], passed, total, first[1], tuple(failed))
    by = "" if suite.checker else f" by {suite.rule}"
    return Report("accepted", passed, total, ", ".join(sorted(rules)) + by)


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
