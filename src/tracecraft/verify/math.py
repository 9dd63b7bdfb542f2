"""Mathematical answers: extracted, compared exactly where that is enough, else symbolically."""

from collections.abc import Mapping
from typing import Any, ClassVar

from tracecraft.schema import Verdict
from tracecraft.verify.decide import decided
from tracecraft.verify.extract import extracted, reference_answer
from tracecraft.verify.normalise import normalised
from tracecraft.verify.policy import Policy, guess, verdict
from tracecraft.verify.verifier import Doubt, Verifier

__all__ = ["Math"]


class Math(Verifier, use="math", version=1):
    """Compare the final answer of a response with the reference answer as mathematics.

    What exact and numerical comparison cannot tell is put to Math-Verify in a worker.
    """

    policy: Policy = "lenient"
    """`strict` grants no convention: an answer that is right only up to rounding, a dropped
    percent sign, the order of a point's coordinates and the like is unverifiable. For training
    data; `lenient` is for evaluation. Neither believes an answer that its response or its thought
    calls a guess, because the problem lacks something: it is unverifiable."""

    columns: ClassVar[tuple[str, ...] | None] = ("answer", "reasoning")
    seconds: ClassVar[float] = 3.0
    memory: ClassVar[int] = 1 << 30

    def glance(self, problem: Mapping[str, Any], response: str) -> Verdict | Doubt:
        """The verdict where it needs no computer algebra."""
        reference = reference_answer(str(problem["answer"]))
        found = extracted(response, loose=self.policy == "lenient")
        if found is None:
            return Verdict("unverifiable", detail="no answer found")
        answer, span = found.answer, (found.start, found.end)
        ruling = decided(reference, answer)
        if ruling.holds is not False:
            guessed = guess(found, answer, response, problem)
            if guessed is not None:
                return guessed
        if not ruling.final and found.method != "tail":
            return Doubt((reference, answer, found.method), answer, span)
        return verdict(ruling, answer, found.method, self.policy, span)

    def settle(self, *question: str) -> Verdict:
        """The verdict of Math-Verify on what `glance` left open."""
        from tracecraft.verify.symbolic import symbolic

        reference, answer, method = question
        ruling = symbolic(normalised(reference), normalised(answer))
        return verdict(ruling, answer, method, self.policy)

    def warm(self) -> None:
        from tracecraft.verify.symbolic import prepare

        prepare()
