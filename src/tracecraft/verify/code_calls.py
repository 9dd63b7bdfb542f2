"""Calls of a program's function, made where the program is; the results are compared here."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tracecraft.verify.code_compare import Match, compare_value
from tracecraft.verify.code_run import Report, Runnable, Terms, how_it_ended
from tracecraft.verify.code_tests import Calls, Differential
from tracecraft.verify.codec import Undecodable, decode, encode
from tracecraft.verify.evalplus import Agreement
from tracecraft.verify.sandbox import Job, Limits, Ran, Sandbox

__all__ = ["Expected", "expected_results", "run_calls", "run_differential"]

_FIRST = 8
"""Calls made before the others: most programs that fail do so here."""
_EVALPLUS_SECONDS = 4.0
"""CPU time for one call. evalplus 0.3.1 gives a second of waiting, or four times the reference's:
on a busy or slower machine that would fail what is right."""
_EVALPLUS_MEMORY = 4 << 30
"""Bytes: evalplus 0.3.1, `query_maximum_memory_bytes`."""
_EVALPLUS_OUTPUT = 64 << 20
"""Bytes of all results together."""
_REFERENCE_SECONDS = 15.0
_STATUSES = {"MemoryError": "memory_limit", "ModuleNotFoundError": "missing_package"}

_LARGE = 1 << 20
"""Bytes of a result's text from which it is worth asking how long the expected one's is."""


@dataclass(frozen=True, slots=True)
class Compare:
    """The expected results, and what compares one with what came."""

    to: Callable[[int, Any], Match]
    expected: Callable[[int], Any]

    def size(self, index: int) -> int:
        """Bytes of the expected result's text."""
        return len(json.dumps(encode(self.expected(index))))


@dataclass(frozen=True, slots=True)
class _Round:
    """Calls of one function, and what they may take."""

    sandbox: Sandbox
    program: Runnable
    entry: str
    calls: list[Any]
    limits: Limits
    each: float
    """CPU seconds for one call."""
    prelude: bool = False

    def make(self, start: int, end: int, *, trusted: bool = False) -> Ran:
        """One process makes these calls in turn; the inputs are all that it is told."""
        spec = {
            "entry": self.entry,
            "module": "solution",
            "calls": self.calls[start:end],
            "limit": self.each,
            "prelude": self.prelude,
        }
        job = Job(
            "calls",
            self.program.code,
            spec=json.dumps(spec).encode(),
            limits=self.limits,
            put=dict(self.program.files),
        )
        return self.sandbox.run(job, self.program.packages, trusted=trusted)


def _lines(ran: Ran) -> list[bytes]:
    """What a run of calls reported, a line each; the program may have written anything."""
    return [line for line in ran.result.split(b"\n") if line]


def _outcome(line: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(line)
    except (ValueError, RecursionError):
        parsed = None
    return parsed if isinstance(parsed, dict) else {"e": "Unreadable", "m": "no result"}


class _Tally:
    """What is known so far of the tests."""

    def __init__(self, total: int) -> None:
        self.total, self.passed = total, 0
        self.failed: list[int] = []
        self.first: tuple[str, str] | None = None

    def fail(self, index: int, status: str, why: str) -> None:
        """One test failed; the first that does names the status."""
        self.failed.append(index)
        self.first = self.first or (status, why)

    def report(self) -> Report:
        """All of it."""
        if self.first is None:
            return Report("accepted", self.passed, self.total, "calls")
        status, why = self.first
        return Report(status, self.passed, self.total, why, tuple(self.failed))


def _run(rounds: _Round, compare: Compare, terms: Terms) -> Report:
    """All calls, or up to the first that fails."""
    tally, start, total = _Tally(len(rounds.calls)), 0, len(rounds.calls)
    while start < total:
        end = total if start or terms.all_tests else min(_FIRST, total)
        ran = rounds.make(start, end)
        lines = _lines(ran)[: end - start]
        for index, line in enumerate(lines, start):
            bad = _failed(line, index, compare)
            if bad is None:
                tally.passed += 1
                continue
            tally.fail(index, bad[0], f"test {index}: {bad[1]}")
            if not terms.all_tests:
                return tally.report()
        start += len(lines)
        if start < end:
            bad = how_it_ended(ran, rounds.limits) or ("runtime_error", "it left without returning")
            # before the first result it is the program that failed, not a test
            tally.fail(start, bad[0], f"test {start}: {bad[1]}" if lines or start else bad[1])
            if not lines or not terms.all_tests:
                break
            start += 1
    return tally.report()


def _failed(line: bytes, index: int, compare: Compare) -> tuple[str, str] | None:
    if len(line) > _LARGE and len(line) > 4 * compare.size(index):
        return "wrong_answer", f"a result of {len(line)} bytes"  # not worth building
    outcome = _outcome(line)
    if "v" not in outcome:
        kind = str(outcome.get("e"))[:80]
        status = _STATUSES.get(kind, "runtime_error")
        return status, f"{kind}: {str(outcome.get('m'))[:160]}"
    try:
        got = decode(outcome["v"])
    except Undecodable as error:
        return "runtime_error", str(error)[:160]
    match = compare.to(index, got)
    return None if match.same else ("wrong_answer", match.why)


def _for_all(terms: Terms) -> Limits:
    """One process makes all calls: it may take the whole budget, each call its own share."""
    cpu = max(terms.limits.cpu, int(terms.budget))
    return replace(terms.limits, cpu=cpu, wall=cpu + terms.limits.wall)


def run_calls(sandbox: Sandbox, suite: Calls, program: Runnable, terms: Terms) -> Report:
    """Calls with the results they should have; results come back as plain data."""
    calls = [
        [[encode(a) for a in c.args], {k: encode(v) for k, v in c.named.items()}]
        for c in suite.cases
    ]
    each = float(terms.limits.cpu)
    rounds = _Round(sandbox, program, suite.entry, calls, _for_all(terms), each, suite.prelude)

    def compare(index: int, got: Any) -> Match:
        expected = suite.cases[index].expected
        match = compare_value(got, expected, suite.how)
        either = suite.wrapped and not match.same
        return compare_value(got, [expected], suite.how) if either else match

    return _run(rounds, Compare(compare, lambda i: suite.cases[i].expected), terms)


def _of_inputs(
    sandbox: Sandbox, suite: Differential, program: Runnable, terms: Terms, each: float
) -> _Round:
    calls = [[[encode(a) for a in args], {}] for args in suite.inputs]
    limits = replace(_for_all(terms), memory=_EVALPLUS_MEMORY, output=_EVALPLUS_OUTPUT)
    return _Round(sandbox, program, suite.entry, calls, limits, each)


@dataclass(frozen=True, slots=True)
class Expected:
    """What the reference returned, for the inputs that it takes."""

    inputs: tuple[tuple[Any, ...], ...]
    results: list[Any]


def expected_results(
    sandbox: Sandbox, suite: Differential, reference: Runnable, terms: Terms
) -> Expected | Report:
    """What the reference returns for each input, or why it cannot be told.

    An input at which the reference raises is none that the problem allows: it is left out, as
    EvalPlus leaves out those that break a task's contract.
    """
    rounds = _of_inputs(sandbox, suite, reference, terms, each=_REFERENCE_SECONDS)
    outcomes: list[dict[str, Any] | None] = []
    while len(outcomes) < len(suite.inputs):
        ran = rounds.make(len(outcomes), len(suite.inputs), trusted=True)
        made = [_outcome(line) for line in _lines(ran)]
        if not made and outcomes and outcomes[-1] is None:
            break  # twice in a row it did not survive an input
        outcomes += made
        if len(outcomes) < len(suite.inputs):
            outcomes.append(None)
    good = [(i, o["v"]) for i, o in enumerate(outcomes) if o is not None and "v" in o]
    if not good:
        wrong = next((o for o in outcomes if o is None or "v" not in o), None)
        why = f"the reference fails: {wrong or 'it does not survive'}"
        return Report("bad_tests", len(good), len(suite.inputs), why)
    return Expected(tuple(suite.inputs[i] for i, _ in good), [decode(v) for _, v in good])


def run_differential(
    sandbox: Sandbox, suite: Differential, expected: Expected, program: Runnable, terms: Terms
) -> Report:
    """As EvalPlus: the same calls as the reference, results compared by its rules."""
    suite = replace(suite, inputs=expected.inputs)
    rounds = _of_inputs(sandbox, suite, program, terms, _EVALPLUS_SECONDS)
    agreement = Agreement(suite.entry, suite.atol)

    def compare(index: int, got: Any) -> Match:
        return agreement.of(suite.inputs[index], got, expected.results[index])

    return _run(rounds, Compare(compare, lambda i: expected.results[i]), terms)
