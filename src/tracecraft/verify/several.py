"""Several right options at once: `(A), (B) and (D) are correct`, `all of them are`, one a line."""

import re
from collections.abc import Iterator

__all__ = ["extended", "selections"]

_ITEM = (
    r"(?:\b(?:options?|statements?|choices?)\s*)?(?:[(\[]\s*[A-J]\s*[)\]]|\b[A-J]\b(?![\w^_=+'’-]))"
)
_LIST = rf"{_ITEM}(?:\s*(?:,|;|&|\band\b|,\s*and\b)\s*{_ITEM})*"
_RIGHT = r"(?:correct|true|right|valid)\b"
_TRUE = re.compile(
    rf"(?P<list>{_LIST})\s*,?\s*(?:are|is)\s+(?:(?:all|both|the|indeed|thus|therefore|only)\s+)*{_RIGHT}",
    re.IGNORECASE,
)
_LISTED = re.compile(rf"(?P<list>{_ITEM}(?:\s*(?:,|;|&|\band\b|,\s*and\b)\s*{_ITEM})+)")
_ALL = re.compile(
    r"(?<!not )\ball\s+(?:of\s+)?(?:(?:the|these|four|given|above)\s+)*"
    rf"(?:options?|statements?|choices|answers?)?(?:\s*[(\[]?[A-J][)\]]?,?(?:\s*and)?)*\s*are\s+{_RIGHT}",
    re.IGNORECASE,
)
_NEXT = re.compile(
    r"(?:^|\n|[,;]|\band\b|\$)[\s$\\{}]*(?:(?:boxed|textbf|text|mathbf)\{[\s$\\{]*)*[(\[]([A-J])[)\]]"
)
_LINE = re.compile(r"[\s*$]*[(\[]?([A-J])[)\].]\s*\S")
_ENOUGH = re.compile(
    r"\n\s*\n|\b(?:incorrect|false|wrong|not|while|but|whereas|however|except)\b", re.IGNORECASE
)
_DENIED = re.compile(r"\b(?:none|neither|no|if|whether|not)\b", re.IGNORECASE)
_LAST = 400
"""Characters of the end in which a mere list of options is the answer."""
_NEAR = 12


def selections(text: str, known: str) -> Iterator[tuple[str, int, int]]:
    """Sets that a response calls right: letters, start and end; the later holds."""
    for match in _ALL.finditer(text):
        yield known, match.start(), match.end()
    judged: list[str] = []
    for match in _TRUE.finditer(text):
        letters = _letters(match.group("list"), known)
        before = re.split(r"[.!?\n]", text[max(match.start() - 80, 0) : match.start()])[-1]
        if not letters or _DENIED.search(before):
            continue
        if len(letters) > 1:
            yield letters, match.start(), match.end()
        else:
            judged.append(letters)
            together = "".join(sorted(set(judged)))
            yield together, match.start(), match.end()
    lines = [_LINE.match(line) for line in text.split("\n") if line.strip()]
    if 1 < len(lines) < len(known) and all(lines) and not _ENOUGH.search(text):
        listed = "".join(m.group(1) for m in lines if m)
        if listed == "".join(sorted(set(listed))) and set(listed) <= set(known):
            yield listed, 0, len(text)
    end = max(len(text.rstrip()) - _LAST, 0)
    last = list(_LISTED.finditer(text, end))
    sentence = re.split(r"[.!?\n]", text[: last[-1].start()])[-1] if last else ""
    if last and not _DENIED.search(sentence) and not _ENOUGH.search(text, last[-1].start()):
        letters = _letters(last[-1].group("list"), known)
        if len(letters) > 1:
            yield letters, last[-1].start(), last[-1].end()


def extended(text: str, end: int, known: str) -> tuple[str, int]:
    """The bracketed letters that follow an announced one, each before its own text; their end."""
    stop = _ENOUGH.search(text, end)
    limit = min(stop.start() if stop else len(text), end + 1_500)
    found = [(m.group(1), m.end()) for m in _NEXT.finditer(text, end, limit)]
    found = [(letter, at) for letter, at in found if letter in known]
    if found and stop and stop.start() - found[-1][1] < _NEAR:  # `and (D) is false`
        found.pop()
    return "".join(letter for letter, _ in found), found[-1][1] if found else end


def _letters(text: str, known: str) -> str:
    found = re.findall(r"(?<![A-Za-z])[A-J](?![A-Za-z])", text)
    return "".join(sorted(set(found))) if set(found) <= set(known) else ""
