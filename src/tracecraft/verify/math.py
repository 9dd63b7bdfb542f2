"""Mathematical answers: extracted, compared exactly where that is enough, else symbolically."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Literal

from tracecraft.schema import Verdict
from tracecraft.verify.decide import decided
from tracecraft.verify.extract import extracted
from tracecraft.verify.normalise import normalised
from tracecraft.verify.ruling import Ruling
from tracecraft.verify.verifier import Doubt, Verifier

__all__ = ["Math"]

_LONG_REFERENCE = 300
"""Characters from which a reference answer is a worked solution that holds its answer."""


class Math(Verifier, use="math", version=1):
    """Compare the final answer of a response with the reference answer as mathematics.

    What exact and numerical comparison cannot tell is put to Math-Verify in a worker.
    """

    policy: Literal["strict", "lenient"] = "lenient"
    """`strict` grants no convention: an answer that is right only up to rounding, a dropped
    percent sign, the order of a point's coordinates and the like is unverifiable. For training
    data; `lenient` is for evaluation."""

    columns: ClassVar[tuple[str, ...] | None] = ("answer",)
    seconds: ClassVar[float] = 3.0
    memory: ClassVar[int] = 1 << 30

    def glance(self, problem: Mapping[str, Any], response: str) -> Verdict | Doubt:
        """The verdict where it needs no computer algebra."""
        reference = _reference(str(problem["answer"]))
        found = extracted(response, loose=self.policy == "lenient")
        if found is None:
            return Verdict("unverifiable", detail="no answer found")
        answer, span = found.answer, (found.start, found.end)
        ruling = decided(reference, answer)
        if not ruling.final and found.method != "tail":
            return Doubt((reference, answer, found.method), answer, span)
        return self._verdict(ruling, answer, found.method, span)

    def settle(self, *question: str) -> Verdict:
        """The verdict of Math-Verify on what `glance` left open."""
        from tracecraft.verify.symbolic import symbolic

        reference, answer, method = question
        return self._verdict(symbolic(normalised(reference), normalised(answer)), answer, method)

    def judge(self, problem: Mapping[str, Any], response: str) -> Verdict:
        """Both in one go; may take long, so call it where it can be killed."""
        seen = self.glance(problem, response)
        if isinstance(seen, Verdict):
            return seen
        verdict = self.settle(*seen.question)
        return Verdict(verdict.outcome, seen.extracted, verdict.detail, seen.span)

    def warm(self) -> None:
        from tracecraft.verify.symbolic import prepare

        prepare()

    def _verdict(
        self, ruling: Ruling, answer: str, method: str, span: tuple[int, int] | None = None
    ) -> Verdict:
        flags = (*ruling.flags, *(("tail",) if method == "tail" else ()))
        detail = f"{method}: {ruling.rule}" + (f" ({', '.join(flags)})" if flags else "")
        if ruling.holds is None or (ruling.holds is False and method == "tail"):
            outcome = "unverifiable"
        elif ruling.holds and flags and self.policy == "strict":
            outcome, detail = "unverifiable", f"{method}: only by convention: {', '.join(flags)}"
        else:
            outcome = "correct" if ruling.holds else "incorrect"
        return Verdict(outcome, answer, detail, span)


@lru_cache(maxsize=1 << 12)
def _reference(answer: str) -> str:
    """The reference itself, or the answer within a worked solution."""
    solution = len(answer) > _LONG_REFERENCE or ("\n" in answer and "\\begin" not in answer)
    if solution or any(mark in answer for mark in ("\\boxed", "\\fbox", "####")):
        found = extracted(answer, loose=False)
        return answer if found is None else found.answer
    return answer
