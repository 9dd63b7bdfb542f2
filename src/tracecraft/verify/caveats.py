"""Whether a response itself says that its problem lacks something, so that its answer is a guess.

Of 1,923 right answers to whole problems (GSM8K and MATH, by R1-Distill, QwQ, s1.1, LIMO and
DeepSeek-R1) 4 or their thoughts say so; of 25 that meet the original answer of a problem whose
premise was taken away (arXiv 2504.06514), all do.
"""

import re

__all__ = ["caveat", "despair"]

_FACT = (
    r"(?:information|data|details?|premises?|conditions?|numbers?|values?|rates?|wages?|distances?"
    r"|contexts?)"
)
_PROBLEM = r"(?:problem|question|puzzle|statement|prompt|text)"
_NOT = r"(?:(?:is|are|was|were)(?:n't|\s+not)|not)"
_SIGNS = [
    (("insufficient", "inadequate", "mismatched", "conflicting", "incomplete"),
     rf"(?:insufficient|inadequate|mismatched|conflicting|incomplete)\s+(?:\w+\s+)?{_FACT}"),
    (("enough", "sufficient"), rf"(?:{_NOT}\s+(?:\w+ly\s+)?(?:enough|sufficient))\s+{_FACT}"),
    (("not ", "n't"),
     rf"{_NOT}\s+(?:\w+ly\s+)?(?:provided|given|specified|mentioned|stated)"
     rf"\s+(?:in|by)\s+the\s+(?:\w+\s+)?{_PROBLEM}"),
    (("not", "can't", "impossible", "unable"),
     r"(?:can(?:not|'t|\s+not)|impossible\s+to|unable\s+to|not\s+possible\s+to)\s+(?:be\s+)?"
     r"(?:\w+ly\s+)?(?:determined?|answer(?:ed)?|calculated?|solved?)\b[^.\n]{0,40}"
     r"\b(?:without|from\s+the|with\s+the\s+(?:given|provided)|based\s+on\s+the"
     r"|as\s+(?:stated|given))"),
    (("might", "may", "likely", "probably", "seem", "appear"),
     rf"{_PROBLEM}\s+(?:\w+\s+){{0,2}}"
     r"(?:might|may|likely|probably|seems?\s+to|appears?\s+to)\s+"
     r"(?:\w+\s+)?(?:expects?|intends?|intended|contains?|assumes?|has|have|lacks?"
     r"|(?:be\s+|is\s+)(?:missing|incomplete))\b"),
    (("likely", "probably"),
     r"(?:likely|probably)\s+(?:the\s+)?(?:intended|expected)\s+(?:answer|solution|problem)"),
    (("typo", "ill-posed", "incomplete", "flawed"),
     r"(?:contains?|has|have|is|be)\s+(?:likely\s+)?(?:an?\s+)?"
     r"(?:typo|ill-posed|incomplete|flawed)\b"
     r"|\bassuming\s+(?:(?:that\s+)?there\s+(?:is|was)\s+)?a\s+typo"),
    (("error", "mistake"),
     rf"{_PROBLEM}\s+(?:\w+\s+)?contains?\s+(?:an?\s+)?(?:error|mistake)"),
    (("assumption", "similar", "structure"),
     r"(?:common|standard|typical|usual)\s+"
     r"(?:assumption|value\s+in\s+similar|problem\s+structures?)"
     r"|\bunder\s+(?:the|this|that|an?)\s+(?:\w+\s+)?assumptions?\b"),
    (("additional", "more", "further", "missing", "extra", "specific"),
     r"(?:without\s+(?:\w+\s+)?specific|(?:without|needs?|requires?|required)\s+(?:\w+\s+)?"
     r"(?:additional|more|further|missing|extra))\s+(?:\w+\s+)?"
     rf"(?:{_FACT}|constraints?|equations?)"),
    (("assum",),
     r"assum(?:e|ing)\s+(?:that\s+)?there\s+(?:are|is|were|was)\W+(?:a\s+total\s+of\s+)?\d"
     r"|\bassum(?:e|ing)\s+(?:that\s+)?(?:each|every|all|both)\b[^.\n]{0,30}?"
     r"\b(?:equal|equally|same)\b"),
    (("please", "if you have", "if you can"),
     r"(?:please\s+(?:provide|clarify|share)|if\s+you\s+(?:have|can\s+provide)\s+"
     r"(?:any\s+|the\s+|more\s+|additional\s+|further\s+|specific\s+))"),
]  # fmt: skip
_CAVEATS = [(words, re.compile(rf"\b{pattern}")) for words, pattern in _SIGNS]
"""Each with words without one of which it cannot match: these are found far faster."""
_WORDS = sorted({word for words, _ in _SIGNS for word in words})
_BEFORE, _BEHIND = 90, 160
"""Characters before and behind such a word in which its pattern is looked for."""
_CLOSING = 1_500
"""Characters from the end in which a response closes; before, doubts may have been resolved."""


_GAP = re.compile(
    rf"{_PROBLEM}\s+(?:(?:itself|here|statement)\s+)?(?:doesn't|does\s+not|didn't|did\s+not|never)\s+"
    r"(?:\w+ly\s+)?(?:specif\w+|mention|give|state|say|provide|tell|include)",
    re.IGNORECASE,
)
_GUESSES = re.compile(r"\bmaybe\s+the\s+(?:problem|question|original)\b", re.IGNORECASE)


def despair(thought: str) -> str | None:
    """The words with which a thought says, again and again, that its problem lacks something.

    Thoughts doubt much that they then resolve, so that all signs must meet: something is called
    missing, the problem is said not to give it, and what was meant is guessed, more than once. Of
    1,923 right answers to whole problems 3 have such a thought, and of the 25 above 20.
    """
    if thought.count("missing") < 2:
        return None
    gap = _GAP.search(thought)
    if gap is None or len(_GUESSES.findall(thought)) < 2:
        return None
    return " ".join(gap.group(0).lower().split())


def caveat(response: str) -> str | None:
    """The words with which a response says that its problem cannot be answered as it stands."""
    closing = response[-_CLOSING:].lower()
    present = {word for word in _WORDS if word in closing}
    for words, pattern in _CAVEATS:
        for word in present.intersection(words) if present else ():
            at = closing.find(word)
            while at >= 0:
                found = pattern.search(closing, max(at - _BEFORE, 0), at + _BEHIND)
                if found is not None:
                    return " ".join(found.group(0).split())
                at = closing.find(word, at + _BEHIND // 2)
    return None
