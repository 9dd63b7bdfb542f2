"""Which program a response hands over: fenced or not, one file or several."""

import ast
import re
import warnings
from dataclasses import dataclass, field
from itertools import accumulate

from tracecraft import think

__all__ = ["Code", "defines", "extract", "parses"]

_FENCE = re.compile(
    r"^(?P<indent>[ \t]*(?:>[ \t]?)*)(?P<fence>`{3,}|~{3,})[ \t]*(?P<info>[^\n`]*)$", re.M
)

LANGUAGES: dict[str, tuple[str, ...]] = {
    "python": ("python", "py", "python3", "python2", "py3", "pypy", "pypy3", "ipython"),
    "cpp": ("cpp", "c++", "cc", "cxx", "c++17", "c++20", "c++14", "cpp17"),
    "c": ("c", "c11", "c99"),
    "rust": ("rust", "rs"),
}
"""The words people write after a fence."""
_KIN = {"c": "cpp", "cpp": "c"}
"""Languages that people take for each other."""
_TRIES = 6
"""Fences that are tried as the end of a block."""

_FILE = r"[\w./-]+\.(?:py|cpp|cc|h|hpp|c|rs|txt)"
_NAMED = re.compile(
    rf"(?:title|filename|file|name)\s*[=:]\s*[\"']?(?P<said>{_FILE})"
    rf"|^\S+?:(?P<after>{_FILE})|^(?P<bare>{_FILE})$"
)
_HEADING = re.compile(rf"(?:^|[\s*`#])(?P<name>{_FILE})[*`:]*\s*$")
_STARTS = re.compile(r"^(?:import |from \w|def |class |@|async def |#!|#include|if __name__)")


@dataclass(frozen=True, slots=True)
class Code:
    """A program found in a response."""

    text: str
    span: tuple[int, int]
    """Where it stands in what was searched, as offsets [start, end)."""
    how: str
    """`fenced`, `unclosed fence`, `unfenced`."""
    files: dict[str, str] = field(default_factory=dict)
    """Further files it comes with, by name."""


@dataclass(frozen=True, slots=True)
class _Block:
    text: str
    start: int
    end: int
    language: str | None
    """A key of `LANGUAGES`, `other`, or None where the fence does not say."""
    name: str | None
    closed: bool


def extract(response: str, language: str = "python", entry: str | None = None) -> Code | None:
    """The program that a response hands over, or None.

    What stands before the end of the reasoning is not searched. Of the fenced blocks in the
    language, or in none said, the last decides; where a function is asked for, the last that
    defines it. Without a fence the whole text, or its longest part that is a program, is taken.

    Args:
        response: what the teacher said, with or without its reasoning.
        language: a key of `LANGUAGES`.
        entry: the function or class that the tests call.
    """
    thought = think.split(response)
    if not thought.closed:
        return None
    text = thought.response
    offset = max(response.rfind(text), 0)
    blocks = list(_blocks(text))
    fitting: list[_Block] = []
    for said in (language, None, _KIN.get(language, language)):
        fitting = fitting or [b for b in blocks if b.language == said and b.text.strip()]
    if not fitting:
        if any(b.language == "other" for b in blocks) and language != "python":
            return None
        return _unfenced(text, language, offset)
    chosen = _choose(fitting, language, entry)
    others = [b for b in blocks if b is not chosen and b.language != "other"]
    files = {b.name: b.text for b in others if b.name}
    how = "fenced" if chosen.closed else "unclosed fence"
    return Code(chosen.text, (offset + chosen.start, offset + chosen.end), how, files)


def _blocks(text: str) -> list[_Block]:
    found: list[_Block] = []
    opening: re.Match[str] | None = None
    marks = list(_FENCE.finditer(text))
    end = 0
    for index, mark in enumerate(marks):
        if mark.start() < end:
            continue
        if opening is None:
            opening = mark
            continue
        if _closes(mark, opening):
            last = _end(text, opening, marks[index:])
            found.append(_block(text, opening, last.start(), closed=True))
            opening, end = None, last.end()
        elif (
            mark["fence"][0] == opening["fence"][0]
            and mark["info"].strip()
            and not text[opening.end() : mark.start()].strip()
        ):
            opening = mark  # a fence inside a fence, nothing between
    if opening is not None:
        found.append(_open_block(text, opening))
    return found


def _closes(mark: re.Match[str], opening: re.Match[str]) -> bool:
    same = mark["fence"][0] == opening["fence"][0]
    return same and len(mark["fence"]) >= len(opening["fence"]) and not mark["info"].strip()


def _end(text: str, opening: re.Match[str], marks: list[re.Match[str]]) -> re.Match[str]:
    """The fence that ends a block: the first, unless it stands in a text of a Python program."""
    ends = [m for m in marks[: 2 * _TRIES] if _closes(m, opening)][:_TRIES]
    word = opening["info"].strip().casefold()
    if len(ends) > 1 and (not word or word in LANGUAGES["python"]):
        for mark in ends:
            if parses(_block(text, opening, mark.start(), closed=True).text):
                return mark
    return ends[0]


def _open_block(text: str, opening: re.Match[str]) -> _Block:
    """A block that no line of its own ends: up to the last fence in it that leaves a program."""
    whole = _block(text, opening, len(text), closed=False)
    if parses(whole.text):
        return whole
    ends = [m.start() for m in re.finditer(re.escape(opening["fence"]), text[whole.start :])]
    for end in ends[: -_TRIES - 1 : -1]:
        cut = _block(text, opening, whole.start + end, closed=False)
        if parses(cut.text) or (whole.language not in {None, "python"} and cut.text.strip()):
            return cut
    return whole


def _block(text: str, opening: re.Match[str], end: int, *, closed: bool) -> _Block:
    start = min(opening.end() + 1, end)
    body = text[start:end]
    indent = opening["indent"]
    if indent:
        body = "\n".join(line.removeprefix(indent) for line in body.split("\n"))
    info = opening["info"].strip()
    word = re.split(r"[\s{:,]", info.lstrip("{."), maxsplit=1)[0].casefold().rstrip("}")
    language = next((k for k, words in LANGUAGES.items() if word in words), None)
    if language is None and word and "." not in word:
        language = "other"
    named = _NAMED.search(info)
    name = next(filter(None, named.groups()), None) if named else None
    if name is None:
        above = text[: opening.start()].rstrip().rpartition("\n")[2]
        heading = _HEADING.search(above) if len(above) < 80 else None
        name = heading["name"] if heading else None
    return _Block(body, start, end, language, name, closed)


def _choose(blocks: list[_Block], language: str, entry: str | None) -> _Block:
    if len(blocks) == 1 or language != "python":
        mains = [b for b in blocks if re.search(r"\bmain\s*\(", b.text)]
        return (mains or blocks)[-1]
    if entry is not None:
        defining = [b for b in blocks if defines(b.text, entry)]
        whole = [b for b in defining if b.closed or parses(b.text)]
        if defining:
            return (whole or defining)[-1]
    named = [b for b in blocks if b.name in {"main.py", "solution.py"}]
    programs = [b for b in blocks if parses(b.text) and not _is_session(b.text)]
    return (named or programs or blocks)[-1]


def _is_session(text: str) -> bool:
    """A session of a shell, a sample of input or output, a list of assertions are no program."""
    first = text.lstrip().split("\n", 1)[0]
    if first.startswith((">>>", "$ ", "pip ", "python ")):
        return True
    try:
        tree = _parsed(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(
        isinstance(n, ast.Assert) or (isinstance(n, ast.Expr) and not isinstance(n.value, ast.Call))
        for n in tree.body
    )


def _parsed(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)


def parses(text: str) -> bool:
    """Is it Python at all."""
    try:
        return bool(_parsed(text).body)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False


def defines(text: str, name: str) -> bool:
    """Does the program define that function, method or class."""
    word = re.escape(name)
    statement = rf"^[ \t]*(?:async +)?(?:def|class)\s+{word}\b"
    return re.search(rf"{statement}|^{word}\s*(?::[^=\n]+)?=[^=]", text, re.M) is not None


def _unfenced(text: str, language: str, offset: int) -> Code | None:
    if language != "python":
        at = re.search(r"^\s*(?:#include|use |fn |int main)", text, re.M)
        if at is None:
            return None
        return Code(text[at.start() :], (offset + at.start(), offset + len(text)), "unfenced")
    if parses(text) and not _is_session(text):
        return Code(text, (offset, offset + len(text)), "unfenced")
    lines = text.splitlines(keepends=True)
    offsets = [0, *accumulate(map(len, lines))]
    starts = [i for i, line in enumerate(lines) if _STARTS.match(line)]
    for first in starts[:20]:
        for last in range(len(lines), max(first, len(lines) - 200), -1):
            start, end = offsets[first], offsets[last]
            ends_there = last == len(lines) or not lines[last].startswith((" ", "\t"))
            if ends_there and parses(text[start:end]):
                return Code(text[start:end], (offset + start, offset + end), "unfenced")
    return None
