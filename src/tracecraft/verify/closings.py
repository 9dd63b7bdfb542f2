r"""The amount that a response ends in, where none is announced: `so it is 0.29 $\mathrm{W}$.`"""

import re

from tracecraft.verify.amounts import amount
from tracecraft.verify.extract import Extract, tagged

__all__ = ["closing_amount", "said_amount"]

_WINDOW = 1_500
"""Characters from the end in which a last formula begins."""
_FORMULA = re.compile(
    r"(?:\$\$|\\\[|\\begin\{(?:aligned|align\*?|equation\*?|gathered|split)\})(?P<inside>(?:(?!\$\$).)+?)"
    r"(?:\\end\{(?:aligned|align\*?|equation\*?|gathered|split)\}\s*)*(?:\$\$|\\\])?[\s.,;]*$",
    re.DOTALL,
)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]+\*?\}(?:\{[lcr|]+\})?")
_STOP = re.compile(r"\\text\s*\{[\s.,;]*\}\s*$")
_EXPRESSION = re.compile(
    r"(?:[\d\s.+*/^(){}!-]|\\(?:[dt]?frac|sqrt|pi|ln|log|exp|left|right|cdot|times))*\d"
    r"(?:[\d\s.+*/^(){}!-]|\\(?:[dt]?frac|sqrt|pi|ln|log|exp|left|right|cdot|times))*"
)
"""Numbers and functions of numbers."""
_EQUALS = re.compile(r"=|≈|\\approx|\\cong|\\simeq|\\doteq")
_SENTENCE = re.compile(r"[.!?]\s+(?=[A-Z(])")
_SAYS = re.compile(
    r"(?:\b(?:is|are|was|be|equals|of|by|about|approximately|roughly|nearly|to)\b|=|≈|\\approx"
    r"|\\cong|\\simeq)[\s:*]*(?=[-+−$\\(\d.])"
)


_NO_VALUE = re.compile(
    r"\b(?:since|because|if|when|where|greater|less|least|most|between|not|or)\b|n't\b|[<>≤≥]"
    r"|\\[lg]eq?\b",
    re.IGNORECASE,
)
"""What makes of a sentence a reason, a condition or a bound."""


def closing_amount(response: str) -> Extract | None:
    """The value of the last formula or sentence, its unit included; None where it has none."""
    if tagged(response):
        return None
    body = response.rstrip()
    return _last_formula(body) or _last_sentence(body)


def said_amount(found: Extract) -> Extract:
    """An announced answer that is a sentence as the amount that it ends in; else as it is."""
    if found.method != "announced" or amount(found.answer) is not None:
        return found
    if _NO_VALUE.search(found.answer) is not None:
        return found
    for said in reversed(list(_SAYS.finditer(found.answer))):
        value = found.answer[said.end() :].rstrip(" .*")
        words = re.findall(r"(?<!\\)\b[A-Za-z]{3,}", found.answer[: said.start()])
        measure = amount(value)
        if len(words) > 2 and measure is not None and not (measure.unit and measure.unit.unknown):
            start = found.start + said.end()
            return Extract(value, found.method, start, start + len(value))
    return found


def _last_formula(body: str) -> Extract | None:
    formula = _FORMULA.search(body, max(len(body) - _WINDOW, 0))
    if formula is None:
        return None
    rows = re.split(
        r"\\\\", _STOP.sub("", _ENVIRONMENT.sub("", formula.group("inside")).replace("&", " "))
    )
    rows = [row for row in rows if row.strip()]
    value = _EQUALS.split(rows[-1])[-1].strip(" \n\r.,;") if rows else ""
    start = body.find(value, formula.start()) if value else -1
    if start < 0 or (amount(value) is None and not _EXPRESSION.fullmatch(value)):
        return None
    return Extract(value, "tail", start, start + len(value))


def _last_sentence(body: str) -> Extract | None:
    begin = body.rfind("\n") + 1
    ends = [m.end() for m in _SENTENCE.finditer(body, begin, len(body) - 1)]
    begin = ends[-1] if ends else begin
    for said in reversed(list(_SAYS.finditer(body, begin))):
        value = body[said.end() :].rstrip(" .*")
        found = amount(value)
        if found is not None and (found.unit is None or not found.unit.unknown):
            return Extract(value, "tail", said.end(), said.end() + len(value))
    return None
