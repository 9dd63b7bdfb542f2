"""What stands around an answer without changing it, and what was broken on its way here."""

import re

from tracecraft.verify.phrases import phrased

__all__ = ["repaired", "without_remarks"]

_CONTROLS = [
    (re.compile(pattern), into)
    for pattern, into in (
        ("\x0c(?=[a-z])", r"\\f"),  # \frac, read as JSON
        ("\x08(?=[a-z])", r"\\b"),
        ("\x07(?=[a-z])", r"\\a"),
        ("\x0b(?=[a-z])", r"\\v"),
        (r"\t(?=(?:ext|heta|imes|an|au|frac|o)\b|ext\{)", r"\\t"),
        (r"\r(?=(?:ight|ho|angle|m)\b)", r"\\r"),
    )
]
_BARE_COMMAND = re.compile(r"(?<![\\a-zA-Z])(frac|sqrt|binom|text)(?=\{)")
_TIMES_TEN = re.compile(r"(?<=\d)\s*[xX]\s*(?=10\s*\^)")
_OUTWARD = re.compile(r"([\[\]])([^\[\]()]+?[,;][^\[\]()]+?)([\[\]])")
_ABOUT = re.compile(
    r"^(?:\\text\s*\{)?\s*(?:approximately|about|approx\.?|roughly|exactly|around|equal to"
    r"|equals)\s*\}?\s+(?=[-\d$\\.(])",
    re.IGNORECASE,
)
_RESPECTIVELY = re.compile(
    r",?\s*(?:\\text\s*\{\s*,?\s*respectively\s*\.?\s*\}|respectively)\s*\.?$"
)
_FOR_ALL = re.compile(
    r",?\s*(?:\\text\s*\{\s*,?\s*(?:for (?:all|any|every|each|some)|where|with)\b[^{}]*\}"
    r"|\\forall\b|\bfor (?:all|any|every|each)\b).*$"
)
_SENTENCE = re.compile(r"(?<![\\a-zA-Z{])[A-Za-z]{3,}\s+[a-z]{2,}\s+[a-z]{2,}\b")
_CASE = re.compile(r"\b(?:iff?|only)\b")
_REMARK = re.compile(
    r"(?<=[\d})\]a-z])\s*"
    r"(?:\\text\s*\{\s*\([^(){}]*[a-z]{3}[^(){}]*\)\s*\}|\s\([a-z][a-z ,.]{3,}\))$"
)
_OUT_OF = re.compile(r"^(\d+) (?:out of|in) (?:every )?(\d+)$")


def repaired(text: str) -> str:
    r"""Without the damage of careless encoding: control characters in `\frac`, open braces."""
    if any(c in text for c in "\x0c\x08\x07\x0b\t\r"):
        for pattern, into in _CONTROLS:
            text = pattern.sub(into, text)
    if text.endswith("\\}") and "\\{" not in text:
        text = text[:-2]  # the end of a box that was escaped once too often
    if "{" in text:
        text = _BARE_COMMAND.sub(r"\\\1", text)
        open_ = text.count("{") - text.count("}") - text.count(r"\{") + text.count(r"\}")
        if 0 < open_ < 4:
            text += "}" * open_
    return _TIMES_TEN.sub(r"\\times ", text)


def without_remarks(text: str) -> str:
    """An answer without `approximately`, `respectively`, `for all x`, or a bracketed note."""
    text = _ABOUT.sub("", text)
    if "respectively" in text:
        text = _RESPECTIVELY.sub("", text)
    if r"\mathbb{Z}" not in text and any(word in text for word in ("for", "where", "with")):
        text = _unconditional(text) or text
    if text.endswith((")", "}")):
        text = _REMARK.sub("", text)
    if "[" in text or "]" in text:
        text = _OUTWARD.sub(_inward, text)
    return phrased(_OUT_OF.sub(r"\\frac{\1}{\2}", text).strip())


def _unconditional(text: str) -> str:
    """A formula without `for all x`; of a sentence that is a part, and so is a case of several."""
    found = _FOR_ALL.search(text)
    if found is None or _SENTENCE.search(text[: found.start()]) or _CASE.search(found[0]):
        return text
    return text[: found.start()]


def _inward(match: re.Match[str]) -> str:
    """`]0, 1[`, as some countries write an open interval."""
    left, inside, right = match.groups()
    if left == "[" and right == "]":
        return match.group(0)
    return f"{'(' if left == ']' else '['}{inside}{')' if right == '[' else ']'}"
