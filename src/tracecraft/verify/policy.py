"""What a policy makes of a ruling: the strict one grants no convention, and none grants a guess."""

from collections.abc import Mapping
from typing import Any, Literal

from tracecraft.schema import Verdict
from tracecraft.verify.caveats import caveat, despair
from tracecraft.verify.extract import Extract
from tracecraft.verify.ruling import Ruling

__all__ = ["Policy", "guess", "verdict"]

Policy = Literal["strict", "lenient"]


def verdict(
    ruling: Ruling, answer: str, method: str, policy: Policy, span: tuple[int, int] | None = None
) -> Verdict:
    """The verdict on an answer that was found by `method`.

    One that nobody announced (`tail`) may be no answer: right it is so by convention, and wrong
    it proves nothing.
    """
    flags = (*ruling.flags, *(("tail",) if method == "tail" else ()))
    detail = f"{method}: {ruling.rule}" + (f" ({', '.join(flags)})" if flags else "")
    if ruling.holds is None or (ruling.holds is False and method == "tail"):
        outcome = "unverifiable"
    elif ruling.holds and flags and policy == "strict":
        outcome, detail = "unverifiable", f"{method}: only by convention: {', '.join(flags)}"
    else:
        outcome = "correct" if ruling.holds else "incorrect"
    return Verdict(outcome, answer, detail, span)


def guess(found: Extract, answer: str, response: str, problem: Mapping[str, Any]) -> Verdict | None:
    """The verdict on an answer that its own response or thought calls a guess; None where neither.

    Right it would be so by luck under any policy, since the problem, as its reader found it, has
    no answer. The thought is the row's column `reasoning`, or what stands before the response.
    """
    who, said = "response", caveat(response)
    if said is None:
        whole = problem.get("response")
        thoughts = (problem.get("reasoning"), None if whole is response else whole, response)
        said = next((d for t in thoughts if isinstance(t, str) and (d := despair(t))), None)
        who = "thought"
    if said is None:
        return None
    detail = f"{found.method}: the {who} doubts its problem: {said}"
    return Verdict("unverifiable", answer, detail, (found.start, found.end))
