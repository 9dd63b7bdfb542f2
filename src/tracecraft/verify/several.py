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
_JOINED = re.compile(r"\s*(?:,|;|&|\band\b|,\s*and\b)\s*[(\[]\s*[A-J]\s*[)\]]")
_EACH = re.compile(
    r"(?:^|[\n,;:.]|\band\b)[\s*]*(?:option\s+|statement\s+)?[(\[]?(?P<letter>[A-J])[)\].:]+[\s*]*(?:is\s+)?"
    r"(?P<right>true|correct|yes)?(?(right)|(?:false|incorrect|wrong|no))\b",
    re.IGNORECASE,
)
"""`A) True`, `(B) FALSE`: a verdict on each option."""
_BLOCK = re.compile(
    r"(?P<head>[^\n]*):[\s*]*\n(?P<lines>(?:\s*[(\[][A-J][)\]][^\n]*(?:\n|$)){2,})\s*$"
)
_CLOSES = re.compile(r"[)\]}*]*(?:\s*[.,;:!\n]|\s*$|\s+(?:are|is|only|both|respectively)\b)")
"""What follows a list that is an answer; `A and C have one length` is none."""
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
    yield from _each(text, known)
    block = _BLOCK.search(text)
    if block is not None and re.search(r"\b(?:correct|true|are|answers?)\b", block.group("head")):
        listed = "".join(
            sorted(set(re.findall(r"(?m)^\s*[(\[]([A-J])[)\]]", block.group("lines"))))
        )
        if set(listed) < set(known) and not _ENOUGH.search(block.group("lines")):
            yield listed, block.start("lines"), block.end("lines")
    lines = [_LINE.match(line) for line in text.split("\n") if line.strip()]
    if 1 < len(lines) < len(known) and all(lines) and not _ENOUGH.search(text):
        listed = "".join(m.group(1) for m in lines if m)
        if listed == "".join(sorted(set(listed))) and set(listed) <= set(known):
            yield listed, 0, len(text)
    end = max(len(text.rstrip()) - _LAST, 0)
    last = list(_LISTED.finditer(text, end))
    sentence = re.split(r"[.!?\n]", text[: last[-1].start()])[-1] if last else ""
    if (
        last
        and _CLOSES.match(text, last[-1].end())
        and not _DENIED.search(sentence)
        and not _ENOUGH.search(text, last[-1].start())
    ):
        letters = _letters(last[-1].group("list"), known)
        if len(letters) > 1:
            yield letters, last[-1].start(), last[-1].end()


def _each(text: str, known: str) -> Iterator[tuple[str, int, int]]:
    """The options called true, where the end calls each of them true or false."""
    begin = max(len(text.rstrip()) - _LAST, 0)
    found = list(_EACH.finditer(text, begin))
    letters = "".join(m.group("letter").upper() for m in found)
    if (
        len(found) < 2
        or not letters.endswith(known[: len(found)])
        or letters != known[: len(letters)]
    ):
        return
    chosen = "".join(m.group("letter").upper() for m in found if m.group("right"))
    if chosen:
        yield chosen, found[0].start("letter"), found[-1].end()


def extended(text: str, end: int, known: str) -> tuple[str, int]:
    """The bracketed letters that follow an announced one, each before its own text; their end."""
    stop = _ENOUGH.search(text, end)
    limit = min(stop.start() if stop else len(text), end + 1_500)
    found = [(m.group(1), m.end()) for m in _NEXT.finditer(text, end, limit)]
    found = [(letter, at) for letter, at in found if letter in known]
    if found and stop and stop.start() - found[-1][1] < _NEAR:  # `and (C) and (D) are false`
        begin = found.pop()[1]
        while found and _JOINED.fullmatch(text, found[-1][1], begin):
            begin = found.pop()[1]
    return "".join(letter for letter, _ in found), found[-1][1] if found else end


def _letters(text: str, known: str) -> str:
    found = re.findall(r"(?<![A-Za-z])[A-J](?![A-Za-z])", text)
    return "".join(sorted(set(found))) if set(found) <= set(known) else ""
