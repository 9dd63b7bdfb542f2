"""What no computer algebra may be shown: answers that are too long, too deep or too large."""

import re

__all__ = ["refused"]

_DEEPEST = 15
_EXPONENT = re.compile(r"\d\s*[eE]\s*[-+]?\d{4,}")
_TOWER = re.compile(
    r"\^\s*\{?[^{}^]{0,20}\^\s*\{?[^{}^]{0,20}\^|\^\s*\{?\s*[-+]?\s*\d{5,}|\d{4,}\s*\^\s*\{?\s*\d{4,}"
)
_POWER_OF_POWER = re.compile(r"\d\s*\^\s*\{?\s*\d+\s*\^|\d\s*\^\s*\{[^{}]*\d\s*\^\s*\{?\s*\d")
_FACTORIAL = re.compile(r"\d{4,}\s*\}?\)?\s*!|!\s*\)?\s*!|!\s*\}?\s*!")
_BINOMIAL = re.compile(r"\\binom\s*\{?[^{}]*(?:\d{5,}|\^)")
_SUM = re.compile(r"\\(?:sum|prod|int)[^=]*=?[^^]*\^\s*\{?\s*(?:\d{5,}|\d+\s*\^)")


def refused(text: str) -> str | None:
    """Why an answer must not be computed with; None where it may."""
    depth = most = 0
    for char in text:
        if char in "({[":
            depth += 1
            most = max(most, depth)
        elif char in ")}]":
            depth -= 1
    if most > _DEEPEST:
        return f"{most} nested brackets"
    for pattern, what in (
        (_POWER_OF_POWER, "a tower of powers"),
        (_TOWER, "a huge power"),
        (_EXPONENT, "a huge power"),
        (_FACTORIAL, "a huge factorial"),
        (_BINOMIAL, "a huge binomial"),
        (_SUM, "a huge sum"),
    ):
        if pattern.search(text):
            return what
    return None
