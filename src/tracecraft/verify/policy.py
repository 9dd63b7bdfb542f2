"""What a policy makes of a ruling: the strict one grants no convention and believes no guess."""

from typing import Literal

from tracecraft.schema import Verdict
from tracecraft.verify.caveats import caveat
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


def guess(found: Extract, answer: str, response: str) -> Verdict | None:
    """The verdict on an answer that its own response calls a guess; None where it does not."""
    said = caveat(response)
    if said is None:
        return None
    detail = f"{found.method}: the response doubts its problem: {said}"
    return Verdict("unverifiable", answer, detail, (found.start, found.end))
