"""Sends each row to the verifier that its columns and its reference call for."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import PrivateAttr

from tracecraft.schema import Verdict
from tracecraft.verify.amounts import amount
from tracecraft.verify.choice import Choice, answerable
from tracecraft.verify.code import Code
from tracecraft.verify.formula import chemical
from tracecraft.verify.math import Math
from tracecraft.verify.policy import Policy
from tracecraft.verify.quantity import Quantity
from tracecraft.verify.verifier import Verifier

__all__ = ["Auto"]


class Auto(Verifier, use="auto", version=1):
    """Choose by what the row has; the column `verifier` names who decided.

    Options that the reference fits: `choice`. `tests`: `code`. A unit, a formula of chemistry or
    the domain science: `quantity`. Else `math`.
    """

    requires: ClassVar[tuple[str, ...]] = ()

    policy: Policy = "lenient"
    """`strict` for training data; what it means, the verifiers say."""
    choice: Verifier = Choice()
    """For rows with options."""
    code: Verifier = Code()
    """For rows with tests."""
    quantity: Verifier | None = None
    """For quantities, formulas and the rest of science; null is `quantity` with the policy."""
    math: Verifier | None = None
    """For all others; null is `math` with the policy."""

    _measuring: Verifier = PrivateAttr()
    _counting: Verifier = PrivateAttr()

    def model_post_init(self, _context: Any, /) -> None:
        self._measuring = self.quantity or Quantity(policy=self.policy)
        self._counting = self.math or Math(policy=self.policy)

    def chosen(self, problem: Mapping[str, Any]) -> Verifier:
        """The verifier that decides this row."""
        answer = problem.get("answer")
        if answer is not None and answerable(problem):
            return self.choice.chosen(problem)
        if _given(problem.get("tests")):
            return self.code.chosen(problem)
        if answer is not None and _measured(str(answer), problem):
            return self._measuring.chosen(problem)
        return self._counting.chosen(problem)

    def judge(self, problem: Mapping[str, Any], response: str) -> Verdict:
        """The verdict of the verifier that is chosen."""
        return self.chosen(problem).judge(problem, response)


def _given(value: Any) -> bool:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return len(value) > 0
    return value is not None and str(value).strip() not in {"", "[]", "{}", "null"}


def _measured(answer: str, problem: Mapping[str, Any]) -> bool:
    if problem.get("domain") == "science" or _given(problem.get("unit")):
        return True
    if problem.get("domain") == "math":
        return False
    found = amount(answer)
    if found is not None:
        return found.unit is not None and not found.unit.unknown and not found.unit.percent
    return len(answer) < 200 and chemical(answer, answer) is not None
