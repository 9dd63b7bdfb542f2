"""Several right options at once: `(A), (B) and (D) are correct`, `all of them are`, one a line."""

import re
from collections.abc import Iterator

__all__ = ["extended", "selections", "verdicts"]

_ITEM = (
    r"(?:\b(?:options?|statements?|choices?)\s*)?(?:[(\[]\s*[A-J]\s*[)\]]|\b[A-J]\b(?![\w^_=+'’-]))"
)
_LIST = rf"{_ITEM}(?:\s*(?:,|;|&|\band\b|,\s*and\b)\s*{_ITEM})*"
_RIGHT = r"(?:correct|true|right|valid)\b(?!\s+only\b)"
_TRUE = re.compile(
    rf"(?P<list>{_LIST})\s*,?\s*(?:are|is)\s+(?:(?:all|also|both|the|indeed|thus|therefore|only)\s+)*{_RIGHT}",
    re.IGNORECASE,
)
_LISTED = re.compile(rf"(?P<list>{_ITEM}(?:\s*(?:,|;|&|\band\b|,\s*and\b)\s*{_ITEM})+)")
_ALL = re.compile(
    r"(?<!not )\ball\s+(?:of\s+)?(?:(?:the|these|four|given|above)\s+)*"
    rf"(?:options?|statements?|choices|answers?)?(?P<named>(?:\s*[(\[]?\b[A-J]\b[)\]]?,?(?:\s*and)?)*)"
    rf"\s*are\s+{_RIGHT}",
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
_BRACKETED = re.compile(r"[(\[]\s*[A-J]\s*[)\]].*[(\[]\s*[A-J]\s*[)\]]")
_CLOSES = re.compile(
    r"[)\]}*]*(?:\s*[.,;:!\n]|\s*$|\s+(?:are|is|all|each|only|both|respectively)\b)"
)
_THUS = re.compile(r"\s*(?:so|thus|therefore|hence|in conclusion|final answers?)\b", re.IGNORECASE)
_BOXED = re.compile(
    r"\\boxed\s*\{(?:\\text\w*\s*\{)?\s*[(\[]?([A-J])[)\]]?"
    r"(?:\s*True\s*\}|\}+\s*\$?\s*is\s+true\b)",
    re.IGNORECASE,
)
"""A verdict on one option in a box."""
_SEGMENT = re.compile(
    r"^[ \t*]*(?:option\s+|statement\s+)?[(\[]?([A-J])[)\].:]+(?=\s)", re.MULTILINE | re.IGNORECASE
)
_YES, _NO = r"correct|true|right", r"not\s+(?:correct|true|right)|incorrect|false|wrong|untrue"
_FIRST = re.compile(
    rf"[\s*:.-]*(?:(?:this|the)\s+(?:statement\s+|option\s+)?)?(?:is\s+)?[\s*]*"
    rf"(?:(?P<no>{_NO})|(?P<yes>{_YES}))\b",
    re.IGNORECASE,
)
_FINAL = re.compile(
    rf"(?:\b(?:is|be)\s+(?:(?:also|indeed|thus|therefore)\s+)?|[-–—:(→]\s*)[\s*]*"
    rf"(?:(?P<no>{_NO})|(?P<yes>{_YES}))\b[^.\n]{{0,3}}[.!)]*[\s*$]*$",
    re.IGNORECASE,
)
"""What follows a list that is an answer; `A and C have one length` is none."""
_DENIED = re.compile(r"\b(?:none|neither|no|if|whether|not)\b", re.IGNORECASE)
_LAST = 400
"""Characters of the end in which a mere list of options is the answer."""
_NEAR = 12


def selections(text: str, known: str, every: str) -> Iterator[tuple[str, int, int]]:
    """Sets that a response calls right: letters, start and end; the later holds."""
    for match in _ALL.finditer(text):
        yield _letters(match.group("named"), known) or every, match.start(), match.end()
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
    yield from verdicts(text, known)
    boxed = "".join(m.group(1) for m in _BOXED.finditer(text))
    if len(boxed) > 1:
        *_, last_box = _BOXED.finditer(text)
        yield "".join(sorted(set(boxed))), last_box.start(), last_box.end()
    block = _BLOCK.search(text)
    if block is not None and (
        re.search(r"\b(?:correct|true|are|answers?)\b", block.group("head"))
        or not text[: block.start()].strip()
    ):
        listed = "".join(
            sorted(set(re.findall(r"(?m)^\s*[(\[]([A-J])[)\]]", block.group("lines"))))
        )
        announced = re.search(r"\b(?:correct|true|answers?)\b[^?]*$", block.group("head"))
        enough = _ENOUGH.search(re.sub(r"\n\s*\n", "\n", block.group("lines")))
        if (set(listed) < set(known) or (announced and listed == known)) and not enough:
            yield listed, block.start("lines"), block.end("lines")
    lines = [_LINE.match(line) for line in text.split("\n") if line.strip()]
    if 1 < len(lines) < len(known) and all(lines) and not _ENOUGH.search(text.strip()):
        listed = "".join(m.group(1) for m in lines if m)
        if listed == "".join(sorted(set(listed))) and set(listed) <= set(known):
            yield listed, 0, len(text)
    end = max(len(text.rstrip()) - _LAST, 0)
    last = list(_LISTED.finditer(text, end))
    sentence = re.split(r"[.!?\n]", text[: last[-1].start()])[-1] if last else ""
    whole = text.strip()
    thus = last and _THUS.match(sentence) and _BRACKETED.search(last[-1].group("list"))
    only = last and "\n" not in whole and whole.startswith(last[-1].group("list"))
    if (
        last
        and (only or thus or _CLOSES.match(text, last[-1].end()))
        and not _DENIED.search(sentence)
        and not _ENOUGH.search(text, last[-1].start())
    ):
        letters = _letters(last[-1].group("list"), known)
        if len(letters) > 1:
            yield letters, last[-1].start(), last[-1].end()


def verdicts(text: str, known: str) -> Iterator[tuple[str, int, int]]:
    """The options called true, where each of them is called true or false, in their order."""
    begin = max(len(text.rstrip()) - _LAST, 0)
    found = list(_EACH.finditer(text, begin))
    letters = "".join(m.group("letter").upper() for m in found)
    at = letters.rfind(known[0])
    run = found[at:] if at >= 0 else []
    if len(run) > 1 and known.startswith(letters[at:]):
        chosen = "".join(m.group("letter").upper() for m in run if m.group("right"))
        if chosen:
            yield chosen, run[0].start("letter"), run[-1].end()
            return
    yield from _by_paragraph(text, known)


def _by_paragraph(text: str, known: str) -> Iterator[tuple[str, int, int]]:
    """The same, where each option has lines of its own that begin or end with their verdict."""
    heads = list(_SEGMENT.finditer(text))
    letters = "".join(m.group(1).upper() for m in heads)
    at = letters.rfind(known[0])
    if at < 0 or len(letters) - at < 3 or not known.startswith(letters[at:]):
        return
    heads, chosen = heads[at:], ""
    ends = [*(m.start() for m in heads[1:]), len(text)]
    end = 0
    for head, stop in zip(heads, ends, strict=True):
        first = _FIRST.match(text, head.end())
        found = first or _closing(text, head.end(), stop, last=head is heads[-1])
        if found is None:
            return
        chosen += head.group(1).upper() if found.group("yes") else ""
        end = found.end()
    if chosen:
        yield chosen, heads[0].start(1), end


def _closing(text: str, start: int, stop: int, *, last: bool) -> "re.Match[str] | None":
    """The verdict with which the paragraphs of an option end; of the last, the first that does."""
    body = text[:stop].rstrip()
    if not last:
        return _FINAL.search(body, start)
    for paragraph in re.finditer(r"[^\n]+", text[start:stop]):
        found = _FINAL.search(text[: start + paragraph.end()], start)
        if found is not None:
            return found
    return None


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
