"""Math-Verify as a second reader, without its timeouts: run it only where it can be killed."""

import logging
from typing import Any

from tracecraft.verify.ruling import Ruling, no, unsure, yes

__all__ = ["prepare", "symbolic"]


def prepare() -> None:
    """Import Math-Verify and build its parser's tables."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    logging.getLogger("latex2sympy2_extended").setLevel(logging.ERROR)
    symbolic(r"\frac{1}{2}", "0.5")


def symbolic(reference: str, answer: str) -> Ruling:
    """Whether Math-Verify takes the two for equal, checked again by their values."""
    from math_verify.grader import verify

    gold = _parsed(reference)
    given = _parsed(answer) if gold else []
    if not given:
        return unsure("not understood")
    options: dict[str, Any] = {"timeout_seconds": None, "raise_on_error": False}
    if verify(gold, given, float_rounding=10, numeric_precision=30, strict=True, **options):
        return _checked(gold, given, "math-verify")
    if _set_and_relation(gold, given) and verify(
        gold,
        given,
        float_rounding=10,
        numeric_precision=30,
        allow_set_relation_comp=True,
        **options,
    ):
        return _checked(gold, given, "math-verify sets", "set")
    return no("math-verify")


def _parsed(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig
    from math_verify.parser import parse

    return list(
        parse(
            f"\\boxed{{{text}}}",
            extraction_config=(LatexExtractionConfig(boxed_match_priority=0),),
            parsing_timeout=None,
            fallback_mode="no_fallback",
            raise_on_error=False,
        )
    )


def _set_and_relation(gold: list[Any], given: list[Any]) -> bool:
    """Whether one pair is a set beside a relation: only there does allowing that tell anything."""
    from math_verify.grader import is_relation
    from sympy import Set

    return any(isinstance(a, Set) for a in gold) and any(is_relation(b) for b in given)


def _checked(gold: list[Any], given: list[Any], rule: str, *flags: str) -> Ruling:
    """A yes between two numbers must also hold to a relative 1e-6 at thirty digits."""
    a, b = gold[0], given[0]
    if getattr(a, "is_number", False) and getattr(b, "is_number", False):
        left, right = complex(a.evalf(30)), complex(b.evalf(30))
        if abs(left - right) > 1e-6 * max(abs(left), abs(right)):
            return no("another value")
    return yes(rule, *flags)
