"""Problems whose own reference solution does not pass their tests: not to be trusted to judge."""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tracecraft.verify.bench import cores
from tracecraft.verify.code import Code

__all__ = ["BadReference", "check_references", "fenced"]


@dataclass(frozen=True, slots=True)
class BadReference:
    """A problem to set aside, and what its reference did."""

    problem_id: str | None
    index: int
    """Where it stood."""
    outcome: str
    detail: str


def check_references(
    problems: Iterable[Mapping[str, Any]], verifier: Code | None = None
) -> Iterator[BadReference]:
    """Each problem whose `solution` is not correct by its own tests; those without one pass.

    Args:
        problems: rows with `tests`, `solution` and, where they have one, `problem_id`.
        verifier: how to judge; as it comes unless told.
    """
    judge = (verifier or Code()).judge

    def one(numbered: tuple[int, Mapping[str, Any]]) -> BadReference | None:
        index, problem = numbered
        solution = problem.get("solution")
        if not solution:
            return None
        verdict = judge(problem, fenced(solution, problem.get("language") or ""))
        if verdict.outcome == "correct":
            return None
        number = problem.get("problem_id")
        return BadReference(number, index, verdict.outcome, verdict.detail or "")

    with ThreadPoolExecutor(cores()) as threads:
        for found in threads.map(one, enumerate(problems)):
            if found is not None:
                yield found


def fenced(solution: str, language: str = "") -> str:
    """The solution as a response would hand it over."""
    if "```" in solution:
        return solution
    return f"```{language}\n{solution.rstrip()}\n```"
