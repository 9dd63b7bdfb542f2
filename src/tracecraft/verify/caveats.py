"""Whether a response itself says that its problem lacks something, so that its answer is a guess.

Of 1,923 right answers to whole problems (GSM8K and MATH, by R1-Distill, QwQ, s1.1, LIMO and
DeepSeek-R1) one says so; of 25 that meet the original answer of a problem whose premise was taken
away (arXiv 2504.06514), 12 do.
"""

import re

__all__ = ["caveat"]

_FACT = (
    r"(?:information|data|details?|premises?|conditions?|numbers?|values?|rates?|wages?|distances?"
    r"|contexts?)"
)
_PROBLEM = r"(?:problem|question|puzzle|statement|prompt|text)"
_NOT = r"(?:(?:is|are|was|were)(?:n't|\s+not)|not)"
_CAVEAT = re.compile(
    rf"\b(?:insufficient|inadequate|mismatched|conflicting|incomplete)\s+(?:\w+\s+)?{_FACT}"
    rf"|\b(?:{_NOT}\s+(?:\w+ly\s+)?(?:enough|sufficient))\s+{_FACT}"
    rf"|\b{_NOT}\s+(?:\w+ly\s+)?(?:provided|given|specified|mentioned|stated)"
    rf"\s+(?:in|by)\s+the\s+(?:\w+\s+)?{_PROBLEM}"
    r"|\b(?:can(?:not|'t|\s+not)|impossible\s+to|unable\s+to|not\s+possible\s+to)\s+(?:be\s+)?"
    r"(?:\w+ly\s+)?(?:determined?|answer(?:ed)?|calculated?|solved?)\b[^.\n]{0,40}"
    r"\b(?:without|from\s+the|with\s+the\s+(?:given|provided)|based\s+on\s+the|as\s+(?:stated|given))"
    rf"|\b{_PROBLEM}\s+(?:\w+\s+){{0,2}}(?:might|may|likely|probably|seems?\s+to|appears?\s+to)\s+"
    r"(?:\w+\s+)?(?:expects?|intends?|intended|contains?|assumes?|has|have|lacks?"
    r"|(?:be\s+|is\s+)(?:missing|incomplete))\b"
    r"|\b(?:contains?|has|have|is|be)\s+(?:likely\s+)?(?:an?\s+)?(?:typo|ill-posed|incomplete|flawed)\b"
    rf"|\b{_PROBLEM}\s+(?:\w+\s+)?contains?\s+(?:an?\s+)?(?:error|mistake)"
    r"|\b(?:common|standard|typical|usual)\s+"
    r"(?:assumption|value\s+in\s+similar|problem\s+structures?)"
    r"|\b(?:without|needs?|requires?|required)\s+(?:\w+\s+)?"
    rf"(?:additional|more|further|missing|extra)\s+(?:\w+\s+)?{_FACT}"
    r"|\bassuming\s+(?:(?:that\s+)?there\s+(?:is|was)\s+)?a\s+typo"
    r"|\b(?:likely|probably)\s+(?:the\s+)?(?:intended|expected)\s+(?:answer|solution|problem)"
    r"|\bunder\s+(?:the|this|that|an?)\s+(?:\w+\s+)?assumptions?\b",
    re.IGNORECASE,
)
_CLOSING = 1_500
"""Characters from the end in which a response closes; before, doubts may have been resolved."""


def caveat(response: str) -> str | None:
    """The words with which a response says that its problem cannot be answered as it stands."""
    found = _CAVEAT.search(response, max(len(response) - _CLOSING, 0))
    return None if found is None else " ".join(found.group(0).split())
