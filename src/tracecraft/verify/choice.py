"""Multiple choice: the letter, the option's text or both, held against the right option."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar

from tracecraft.schema import Verdict
from tracecraft.verify.conclusions import called_wrong, enumerates
from tracecraft.verify.extract import extracted
from tracecraft.verify.letters import Letters, chosen_letters, folded
from tracecraft.verify.verifier import Verifier

__all__ = ["Choice", "answerable", "plain"]

_ALL = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LONGEST = 400
"""Characters of a response that is nothing but an option's text."""
_USUAL = 10
"""Options that there may be where nothing says how many; MMLU-Pro has that many."""
_FEWEST = 4
"""Options that `all of them` names at least, where nothing says how many there are."""
_LETTERS = re.compile(r"[\s(\[$\\{]*([A-Z](?:\s*[,;&]?\s*[A-Z])*)[\s)\]$}.]*")
_LETTERED = re.compile(r"[(\[]?([A-Z])[)\].:]\s+(.+)", re.DOTALL)
_LISTED = re.compile(r"^[ \t*]*[(\[]?([A-J])[)\].:][ \t*]+(\S.*?)[ \t*]*$", re.MULTILINE)
_INLINE = re.compile(r"(?:^|\s)\(([A-J])\)\s*(.+?)(?=\s*\([A-J]\)|\s*$)", re.DOTALL)


class Choice(Verifier, use="choice", version=1):
    """Compare the option that a response chooses with the right one.

    The reference is a letter or several (`ABD`), an index from 0, or the option's text; the
    options stand in `choices`, in the order in which the statement letters them, else they are
    read out of the statement. A response that names alternatives, or a letter beside the text of
    another option, has not chosen: unverifiable, as is one that names neither.
    """

    columns: ClassVar[tuple[str, ...] | None] = ("answer", "choices", "statement")

    def glance(self, problem: Mapping[str, Any], response: str) -> Verdict:
        """The verdict; no worker is ever asked."""
        options = _options(problem)
        right, why = _reference(str(problem["answer"]), options)
        if right is None:
            return Verdict("unverifiable", detail=why)
        known = _ALL[: len(options) or _USUAL]
        every = known if options else _ALL[: max(_FEWEST, _ALL.index(right[-1]) + 1)]
        read = chosen_letters(response, known, several=len(right) > 1, every=every)
        named = _by_text(response, options) if options and _text_first(read) else None
        if named is None and read is None:
            named = _closing_option(response, options)
        if named is not None:
            given, detail, extract, span = named
        elif read is not None:
            if read.hedged:
                return Verdict("unverifiable", read.letters, "several options named",
                               (read.start, read.end))  # fmt: skip
            given, detail, extract = read.letters, read.method, read.letters
            span = (read.start, read.end)
            other = _contradiction(read, options)
            if other:
                why = f"the letter {given} beside the text of {other}"
                return Verdict("unverifiable", extract, why, span)
        else:
            return Verdict("unverifiable", detail="no option named")
        outcome = "correct" if given == right else "incorrect"
        return Verdict(outcome, extract, f"{detail}: {given}", span)


def answerable(problem: Mapping[str, Any]) -> bool:
    """Whether a row has options, and a reference that names one of them."""
    options = _options(problem)
    return bool(options) and _reference(str(problem["answer"]), options)[0] is not None


def _options(problem: Mapping[str, Any]) -> tuple[str, ...]:
    choices = problem.get("choices")
    if isinstance(choices, Sequence) and not isinstance(choices, str) and len(choices) > 1:
        return tuple(str(c) for c in choices)
    return _listed(str(problem.get("statement") or ""))


@lru_cache(maxsize=1 << 10)
def _listed(statement: str) -> tuple[str, ...]:
    """The options that a statement letters from A on, each once."""
    for pattern in (_LISTED, _INLINE):
        found = pattern.findall(statement)
        letters = "".join(letter for letter, _ in found)
        at = letters.rfind("A")  # examples may come first
        if at >= 0 and len(letters[at:]) > 1 and _ALL.startswith(letters[at:]):
            return tuple(" ".join(text.split()) for _, text in found[at:])
    return ()


def _reference(answer: str, options: tuple[str, ...]) -> tuple[str | None, str]:
    """The letters of the right options; None and the reason where the reference names none."""
    text = folded(answer).strip()
    letters = _ALL[: len(options) or _USUAL]
    match = _LETTERS.fullmatch(text)
    if match is not None:
        marks = re.sub(r"[^A-Z]", "", match.group(1))
        if set(marks) <= set(letters) and len(set(marks)) == len(marks):
            return "".join(sorted(marks)), ""
    if options:
        same = [letters[i] for i, option in enumerate(options) if plain(option) == plain(text)]
        if len(same) == 1:
            return same[0], ""
        if same:
            return None, "the reference is the text of several options"
        if text.isdecimal() and int(text) < len(options):
            return letters[int(text)], ""
    lead = _LETTERED.fullmatch(text)
    if lead is not None and lead.group(1) in letters:
        own = options[letters.index(lead.group(1))] if options else None
        if own is None or plain(own) == plain(lead.group(2)):
            return lead.group(1), ""
    what = "none of the options" if options else "no letter, and there are no options"
    return None, f"the reference is {what}"


@lru_cache(maxsize=1 << 14)
def plain(text: str) -> str:
    """An option's text in one form: no markup, no case, no outer punctuation, one space."""
    text = folded(text)
    text = re.sub(
        r"\\(?:text|mathrm|textbf|mathbf|rm|boxed|textit)\s*(?=\{)|\\[()\[\],;!]|[$*`]", "", text
    )
    text = re.sub(r"[{}\"'“”‘’]", "", text.replace("−", "-").replace("–", "-").replace("×", "x"))
    text = re.sub(r"\\(?:times|cdot)", "x", text).casefold()
    return " ".join(text.split()).strip(" .,;:")


def _text_first(read: Letters | None) -> bool:
    """A whole option beats a letter that merely begins it (`E. coli`), and stands in for none."""
    return read is None or (
        not read.hedged and read.rest.startswith((".", "-")) and bool(read.rest[1:].strip())
    )


def _by_text(
    response: str, options: tuple[str, ...]
) -> tuple[str, str, str, tuple[int, int]] | None:
    """The one option whose text is the response's final answer."""
    found = extracted(response, loose=False)
    one = None if found is None else _same(found.answer, options)
    if found is not None and one is not None:
        return _ALL[one], "text", found.answer, (found.start, found.end)
    whole = response.strip()
    one = _same(whole, options) if len(whole) < _LONGEST else None
    if one is None:
        return None
    start = response.index(whole)
    return _ALL[one], "text", whole, (start, start + len(whole))


_CLOSING = 400
"""Characters of the end in which an option that is quoted whole is the answer."""


def _closing_option(
    response: str, options: tuple[str, ...]
) -> tuple[str, str, str, tuple[int, int]] | None:
    """The one option that the last paragraph quotes with its letter: `close to B. Kant's view`."""
    body = folded(response.rstrip())
    begin = max(body.rfind("\n") + 1, len(body) - _CLOSING)
    found = []
    for mark, option in zip(_ALL, options, strict=False):
        words = r"\s+".join(re.escape(word) for word in option.strip().rstrip(".").split())
        quoted = rf"(?<![\w.])[(\[]?{mark}[)\]]?[.:]?\s*(?i:{words})(?!\w)"
        match = re.compile(quoted).search(body, begin) if len(option) > 2 else None
        if match is None or called_wrong(body, *match.span()):
            continue
        if body[begin : match.start()].strip(" *") or not enumerates(body[:begin], mark):
            found.append((mark, "text", match.group(0), match.span()))
    return found[0] if len(found) == 1 else None


def _same(text: str, options: tuple[str, ...]) -> int | None:
    """The place of the one option that a text is, spaces aside."""
    wanted = _compact(text)
    same = [i for i, option in enumerate(options) if _compact(option) == wanted]
    return same[0] if len(same) == 1 and wanted else None


def _contradiction(read: Letters, options: tuple[str, ...]) -> str | None:
    """The letter of another option whose whole text follows the letter that was read."""
    if not options or len(read.letters) != 1:
        return None
    behind = read.rest.lstrip(" .):,*")
    told = {_compact(behind), _compact(behind.lstrip("-–— "))} - {""}
    if not told or _compact(options[_ALL.index(read.letters)]) in told:
        return None
    same = [_ALL[i] for i, option in enumerate(options) if _compact(option) in told]
    return same[0] if len(same) == 1 else None


def _compact(text: str) -> str:
    return plain(text).replace(" ", "")
