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
_NOUNS = "problem question puzzle statement prompt text"
_SIGNS = [
    ("insufficient inadequate mismatched conflicting incomplete",
     rf"(?:insufficient|inadequate|mismatched|conflicting|incomplete)\s+(?:\w+\s+)?{_FACT}"),
    ("enough sufficient", rf"(?:{_NOT}\s+(?:\w+ly\s+)?(?:enough|sufficient))\s+{_FACT}"),
    (_NOUNS,
     rf"{_NOT}\s+(?:\w+ly\s+)?(?:provided|given|specified|mentioned|stated)"
     rf"\s+(?:in|by)\s+the\s+(?:\w+\s+)?{_PROBLEM}"),
    ("cannot can't not impossible unable",
     r"(?:can(?:not|'t|\s+not)|impossible\s+to|unable\s+to|not\s+possible\s+to)\s+(?:be\s+)?"
     r"(?:\w+ly\s+)?(?:determined?|answer(?:ed)?|calculated?|solved?)\b[^.\n]{0,40}"
     r"\b(?:without|from\s+the|with\s+the\s+(?:given|provided)|based\s+on\s+the"
     r"|as\s+(?:stated|given))"),
    (_NOUNS,
     rf"{_PROBLEM}\s+(?:\w+\s+){{0,2}}"
     r"(?:might|may|likely|probably|seems?\s+to|appears?\s+to)\s+"
     r"(?:\w+\s+)?(?:expects?|intends?|intended|contains?|assumes?|has|have|lacks?"
     r"|(?:be\s+|is\s+)(?:missing|incomplete))\b"),
    ("intended expected",
     r"(?:likely|probably)\s+(?:the\s+)?(?:intended|expected)\s+(?:answer|solution|problem)"),
    ("typo ill-posed incomplete flawed",
     r"(?:contains?|has|have|is|be)\s+(?:likely\s+)?(?:an?\s+)?"
     r"(?:typo|ill-posed|incomplete|flawed)\b"
     r"|\bassuming\s+(?:(?:that\s+)?there\s+(?:is|was)\s+)?a\s+typo"),
    (_NOUNS,
     rf"{_PROBLEM}\s+(?:\w+\s+)?contains?\s+(?:an?\s+)?(?:error|mistake)"),
    ("assumption assumptions similar structure structures",
     r"(?:common|standard|typical|usual)\s+"
     r"(?:assumption|value\s+in\s+similar|problem\s+structures?)"
     r"|\bunder\s+(?:the|this|that|an?)\s+(?:\w+\s+)?assumptions?\b"),
    ("additional more further missing extra specific",
     r"(?:without\s+(?:\w+\s+)?specific|(?:without|needs?|requires?|required)\s+(?:\w+\s+)?"
     r"(?:additional|more|further|missing|extra))\s+(?:\w+\s+)?"
     rf"(?:{_FACT}|constraints?|equations?)"),
    ("assume assuming",
     r"assum(?:e|ing)\s+(?:that\s+)?there\s+(?:are|is|were|was)\W+(?:a\s+total\s+of\s+)?\d"
     r"|\bassum(?:e|ing)\s+(?:that\s+)?(?:each|every|all|both)\b[^.\n]{0,30}?"
     r"\b(?:equal|equally|same)\b"),
    ("please you",
     r"(?:please\s+(?:provide|clarify|share)\s+(?!any\s+(?:feedback|questions?))|if\s+you\s+"
     rf"(?:have|can\s+provide)\s+(?:(?:any|the|more|additional|further|specific)\s+)+(?:{_FACT}))"),
]  # fmt: skip
_CAVEATS = [(frozenset(words.split()), re.compile(rf"\b{pattern}")) for words, pattern in _SIGNS]
"""Each with words without one of which it cannot match: a set of them is found far faster."""
_WORDS = frozenset().union(*(words for words, _ in _CAVEATS))
_PARTED = str.maketrans(dict.fromkeys('!"#$%&()*+,./:;<=>?@[]^_`{|}~', " "))
"""A backslash stays, so that `\\text` is no text."""
_CLOSING = 700
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
    present = _WORDS.intersection(closing.translate(_PARTED).split())
    for words, pattern in _CAVEATS if present else ():
        found = None if words.isdisjoint(present) else pattern.search(closing)
        if found is not None:
            return " ".join(found.group(0).split())
    return None
