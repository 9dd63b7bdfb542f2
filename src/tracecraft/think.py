"""Where a teacher's thought ends and its response begins; the one place that knows the tags."""

import re
from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"
_PAIRS = ((OPEN, CLOSE), ("<|begin_of_thought|>", "<|end_of_thought|>"))
_ROLE = r"(?:<\|im_start\|>)?"
BEGUN = re.compile(rf"\s*{_ROLE}think[ \t]*\n")
"""How a thought begins that is parted by lines, with or without a chat's marks, as s1's are."""
_ANSWER = re.compile(r"^answer[ \t]*$|<\|im_start\|>answer[ \t]*$", re.MULTILINE)
_SOLUTION, _SOLVED = "<|begin_of_solution|>", "<|end_of_solution|>"


class Thought(NamedTuple):
    """A completion in its two parts, both without tags and outer whitespace."""

    reasoning: str
    response: str
    closed: bool
    """False where the text ends inside its thought; without any thought, True."""


def split(text: str, *, opened: bool = False) -> Thought:
    r"""The reasoning and the response of a raw completion.

    Reads `<think>…</think>…`, the same without its opening tag,
    `<|begin_of_thought|>…<|end_of_thought|><|begin_of_solution|>…<|end_of_solution|>`, and a first
    line `think` with a line `answer` behind the thought. The last closing tag decides, since only
    what follows it is an answer. A tag opens a thought at the start of the text alone: later it
    is a word like any other.

    Args:
        text: what the engine returned.
        opened: the prompt already ended with the opening tag, so a text that never closes is
            all reasoning.
    """
    body = text.strip()
    lined = BEGUN.match(body + "\n")
    if lined is not None and not any(closing in body for _, closing in _PAIRS):
        return _lined(body[lined.end() :])
    for opening, closing in _PAIRS:
        begun = body.startswith(opening)
        while body.startswith(opening):
            body = body.removeprefix(opening).lstrip()
        reasoning, closed, response = body.rpartition(closing)
        if closed:
            return Thought(reasoning.rstrip(), _solution(response), closed=True)
        if begun and opening != OPEN and _SOLUTION in body:
            reasoning, _, response = body.partition(_SOLUTION)
            return Thought(reasoning.rstrip(), _solution(response), closed=True)
        opened = opened or begun
    return Thought(body, "", closed=False) if opened else Thought("", _solution(body), closed=True)


def _lined(body: str) -> Thought:
    """What follows a first line `think`."""
    marks = list(_ANSWER.finditer(body))
    if not marks:
        return Thought(body.strip(), "", closed=False)
    reasoning, response = body[: marks[-1].start()], body[marks[-1].end() :]
    return Thought(reasoning.strip(), _solution(response.removesuffix("<|im_end|>")), closed=True)


def join(reasoning: str, response: str) -> str:
    """One text as R1 writes it; what arrives in two columns becomes one with it."""
    return f"{OPEN}\n{reasoning.strip()}\n{CLOSE}\n\n{response.strip()}"


def _solution(text: str) -> str:
    return text.strip().removeprefix(_SOLUTION).removesuffix(_SOLVED).strip()
