"""Test code and the program it tests, each in a sandbox of its own, and what came of it."""

import json
import re
from dataclasses import replace
from typing import Any

from tracecraft.verify.code_run import Report, Runnable, Terms, how_it_ended
from tracecraft.verify.code_tests import Program
from tracecraft.verify.sandbox import Job, Ran, Sandbox

__all__ = ["run_program_tests"]

_NO_FILE = ("FileNotFoundError", "NotADirectoryError", "AssertionError: FileNotFoundError")
_MAKES_FILES = re.compile(r"\bopen\(|\btempfile\b|\btmp_path\b|\bmkdir\b|\bmakedirs\b|\bwrite_")
"""Tests that put files where only they see them: the program runs elsewhere."""
_PATIENCE = 10.0
"""Seconds the tests may outwait the program, so that a slow program is what ends first."""


def run_program_tests(sandbox: Sandbox, suite: Program, program: Runnable, terms: Terms) -> Report:
    """Run test code against a program.

    The tests, with all they expect, run where the program is not: they call it across a pipe and
    get plain data back. Where they need more than that (they replace what the program sees, or
    derive from its classes) nothing is decided.
    """
    cpu = max(terms.limits.cpu, int(terms.budget))
    limits = replace(terms.limits, cpu=cpu, wall=cpu + terms.limits.wall)
    spec = json.dumps({"prelude": suite.prelude, "entry": suite.entry}).encode()
    mine = Job("serve", program.code, spec=spec, limits=limits, put=dict(program.files))
    theirs = Job(
        "tests",
        suite.code.encode(errors="surrogateescape"),
        spec=spec,
        limits=replace(limits, wall=limits.wall + _PATIENCE),
        put={name: content.encode() for name, content in suite.assets.items()},
    )
    packages = program.packages or _packages(suite.code)
    served, tested = sandbox.run_pair(mine, theirs, packages)
    return _report(served, tested, limits, suite)


def _packages(code: str) -> tuple[str, ...]:
    return ("numpy",) if re.search(r"^\s*(?:import|from)\s+numpy\b", code, re.M) else ()


def _report(served: Ran, tested: Ran, limits: Any, suite: Program) -> Report:
    lines = [json.loads(line) for line in tested.result.split(b"\n") if line]
    results = [line for line in lines if "ok" in line]
    passed = sum(line["ok"] for line in results)
    total, failed = len(results), tuple(i for i, line in enumerate(results) if not line["ok"])
    unsupported = next((line["unsupported"] for line in lines if "unsupported" in line), None)
    last = next((line for line in lines if "done" in line), None)
    if last is None or any("gone" in line for line in lines):
        ended = how_it_ended(served, limits)
        if ended is not None:
            return Report(ended[0], passed, total + 1, ended[1], (*failed, total))
        tests_ended = how_it_ended(tested, limits)
        why = tests_ended[1] if tests_ended else "the program left before the tests were done"
        status = "bad_tests" if tests_ended and last is None else "runtime_error"
        return Report(status, passed, total + 1, why, (*failed, total))
    if failed:
        first = results[failed[0]]
        if first["why"].startswith(_NO_FILE) and _MAKES_FILES.search(suite.code):
            return Report(
                "weak", passed, total, f"files of the tests are not there: {first['why']}"
            )
        status = "wrong_answer" if first["why"].startswith("AssertionError") else "runtime_error"
        return Report(status, passed, total, f"{first['test']}: {first['why']}", failed)
    if unsupported:
        return Report("weak", passed, total + 1, f"the tests cannot be kept apart: {unsupported}")
    if not results:
        return Report("bad_tests", 0, 0, "no test ran")
    if last["operators"]:
        said = ", ".join(last["operators"])
        why = f"decided by the program's own operators ({said})"
        return Report("weak", passed, total, why)
    return Report("accepted", passed, total, "tests")
