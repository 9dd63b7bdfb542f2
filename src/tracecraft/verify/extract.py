r"""The final answer of a response: the last box, `####`, or what is announced as the answer.

Everything is looked for from the end, so that a long trace costs what its last lines cost.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from tracecraft.think import BEGUN, split

__all__ = ["Extract", "extracted", "reference_answer", "tagged"]


@dataclass(frozen=True, slots=True)
class Extract:
    """An answer in a response."""

    answer: str
    method: str
    """`box`, `hashes`, `tag`, `announced`, `whole`, `tail`."""
    start: int
    end: int


_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s*")
_BRACE = re.compile(r"(?<!\\)[{}]")
_DISPLAYED = re.compile(r"\\(?:quad|qquad|[,;: ()\[\]])|[$\\]|\\[\[\]]")
_NAMES = re.compile(r"[A-Za-z](?:_\w|_\{\w+\})?(?:\(\w\))?\s*=\s*$")
_BETWEEN = re.compile(r"|[,;&]|(?:[A-Za-z()]+ ){0,4}(?:and|or)|,? ?(?:and|or)|(?:[A-Za-z]+ ){0,2},")
_HASHES = re.compile(r"^[ \t>*]*####[ \t]*(?P<answer>[^\n]*?)[ \t*]*$", re.MULTILINE)
_TAG = re.compile(r"<answer>\s*(?P<answer>.*?)\s*</answer>", re.DOTALL | re.IGNORECASE)
_IS = r"(?:is|are|was|would be|will be|should be|must be|=|:)"
_CUE = re.compile(
    r"answers?(?: (?:to|choice|option|here|then|therefore)\b[^.\n:]{0,60}?)?\s*(?:\(s\))?"
    rf"[*\s]*{_IS}"
    r"(?:\s*(?:therefore|thus|then|simply|just|indeed|equal to|given by|:)(?=\W))*[\s*:]*"
    r"|correct (?:option|choice|letter)s? (?:is|are)\b[\s*:]*"
    r"|answer[\s*:]*\n\s*|A:\s*|答案(?:应该?)?(?:是|为)?[：:]?\s*|答：\s*"
    r"|(?:réponse(?: finale)?|antwort|respuesta(?: final)?|risposta|resposta|ответ)"
    r"(?: est| ist| es|)\s*:\s*",
    re.IGNORECASE,
)
_CUES = (
    "answer",
    "correct option",
    "correct choice",
    "correct letter",
    "\na:",
    "答",
    "réponse",
    "antwort",
    "respuesta",
    "risposta",
    "resposta",
    "ответ",
)
"""How an announcement begins, in lower case: what the text is searched for before `_CUE`."""
_THOUGHT = re.compile(r"<(?:/?think>|\|(?:begin|end)_of_)")
"""What a thought in a response begins or ends with."""
_MARK = re.compile(r"<(?:/?think>|\|)")
"""The same or a chat's marks: one look through a long text, which mostly has neither."""
_ASCII_CUES = tuple(cue for cue in _CUES if cue.isascii())
_CHAT = re.compile(r"<\|(?:im_start|im_end|endoftext|eot_id|end_of_text)\|>")
_WINDOW = 4_000
"""Characters from the end in which an announcement is looked for."""
_LONGEST = 400
_STOP = re.compile(r"\n|(?<=[^\s.])\.(?=\s+[A-Z\[<(])|\.\s*$|。|<\||I hope it is correct")
_DISPLAY = re.compile(
    r"\$\$(.+?)\$\$|\\\[(.+?)\\\]|\\\((.+?)\\\)|(?<![\\$])\$(?!\$)((?:[^$\\]|\\.)+?)\$(?!\$)",
    re.DOTALL,
)
_BECAUSE = re.compile(
    r"\s*(?:,?\s+(because|since|as(?!\s+\S+\s*(?:→|->|\\to|tends|approaches|goes))"
    r"|which|where|so that|when|for all)\b.*)$",
    re.DOTALL,
)
_SENTENCE = re.compile(r"(?<=[^\s.])[.!?](?=\s+[^\s])|\n+(?=\s*\S)")
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_VERDICT = re.compile(r"(?:yes|no|true|false)[,.][^\d\n]*", re.IGNORECASE)
_BROKEN = re.compile(r"(?:\b(?:is|are|was|be)|=|:)$")
_THEREFORE = re.compile(r"(?<=[\s$])(?:Therefore|Thus|Hence|So)\b,?")
_HOPE = re.compile(r"\s*I hope it is correct\.?$")
_HOPED = 30
_CONCLUDES = re.compile(r"(?:\b(?:is|are|equals|be|was|to)|=|:)\s*$")
_NUMBER = re.compile(
    r"(?<![\w.^])(?<![\w']\()[-+]?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)(?:\s*/\s*\d+)?%?(?![\w^_\\])"
)
_ENDS_IN = re.compile(
    r"(?:\b(?:is|are|equals|was)(?: at)?|=|≈)\s+"
    r"(?:(?:approximately|about|exactly|only|therefore|thus)\s+)?"
    r"(?P<number>[-+−]?\$?(?:\d[\d,]*(?:\.\d+)?|\.\d+)%?|\[[^\[\]\n]{1,80}\]"
    r"|\([^(),\n]{1,40},[^()\n]{1,40}\))(?![\w.,/^]*\d)(?!.*\bthan\b)[^\d\n$\\]{0,20}$"
)
"""A sentence that ends in its value, with a unit or none."""
_LISTED = re.compile(r"`*(\[[^\[\]\n]{1,80}\])`*\.?$")
_JUDGED = re.compile(
    r"\b(?:statement|argument|claim|assertion|proposition|conjecture)\b[^.\n]{0,80}?"
    r"\bis (?:therefore |thus |indeed |always )?(?P<word>true|false|correct|incorrect)"
    r"(?:\.?$|\s[-–—]\s)",
    re.IGNORECASE,
)
_PHRASE, _SENTENCES = 3, 60
"""Words of a clause, and characters behind an answer in words that show it to be none."""
_PROSE = re.compile(r"(?<![\\a-zA-Z{])[a-z]{3,}\s+[a-z]{2,}\s+[a-z]{2,}\b")
"""Words between two dollar signs: these are amounts, not the fences of a formula."""
_MATHS = re.compile(r"[\d\\=<>^_+*/|]|^[A-Za-z]$")


def tagged(text: str, start: int = 0) -> bool:
    """Whether a thought stands in a text: in tags, from `start` on, or parted by lines."""
    return BEGUN.match(text) is not None or _THOUGHT.search(text, start) is not None


def extracted(text: str, *, loose: bool = True) -> Extract | None:
    """The final answer, and where it stands; None where none is given.

    Args:
        text: a response; what precedes its last `</think>` is left out.
        loose: also take the one formula of the last sentence, where nothing is announced.
    """
    body, offset = text, 0
    mark = _MARK.search(text)
    if tagged(text, mark.start() if mark else len(text)):
        thought = split(text)
        if not thought.closed:
            return None
        body = thought.response
        offset = text.rfind(body)
    if not body.strip():
        return None
    if mark is not None and "<|" in body:
        body = _CHAT.split(body, maxsplit=1)[0]
    found = _last_box(body)
    if found is not None and body.find("nswer", found.end) >= 0:
        later = _announced(body, found.end, final=True)
        if later is not None and re.search(r"[\d\\]", later.answer):
            found = later
    found = found or _hashes(body) or _tagged(body) or _announced(body) or _whole(body)
    if found is None and loose:
        found = _tail(body)
    if found is None:
        return None
    return Extract(found.answer, found.method, found.start + offset, found.end + offset)


_BOX_AND_JOINT = 5_200
"""Characters within which a box begins that belongs to the one after it."""


def _last_box(text: str) -> Extract | None:
    """The last box; together with those before it that only `,`, `and` or `or` part from it."""
    boxes: list[tuple[int, int, str]] = []
    end = len(text)
    while True:
        begin = max(boxes[-1][0] - _BOX_AND_JOINT, 0) if boxes else 0
        if boxes and text.find("box", begin, end) < 0:
            break
        at = text.rfind("\\boxed", begin, end)
        at = max(at, text.rfind("\\fbox", max(at, begin), end))
        if at < 0:
            break
        match = _BOX.match(text, at)
        box = _box(text, at, match.end() if match else at + 6)
        if boxes and not _joined(text[box[1] : boxes[-1][0]]):
            break
        if box[2].strip():
            boxes.append(box)
        end = at
        if len(boxes) > 30:
            break
    if not boxes:
        return None
    boxes.reverse()
    if len(boxes) > 1 and len({b[2].strip() for b in boxes}) > 1:
        answer = ", ".join(b[2].strip() for b in boxes)
        return Extract(answer, "boxes", boxes[0][0], boxes[-1][1])
    start, end, answer = boxes[-1]
    return Extract(answer.strip(), "box", start, end)


def _box(text: str, at: int, inside: int) -> tuple[int, int, str]:
    """A box from its backslash: where it stands, and what is in it; closed or not."""
    if inside < len(text) and text[inside] == "{":
        depth = 0
        for brace in _BRACE.finditer(text, inside, min(len(text), inside + 5_000)):
            depth += 1 if brace.group() == "{" else -1
            if not depth:
                here = brace.start()
                return at, here + 1, text[inside + 1 : here]
        rest = re.split(r"\n|\$|\\\]|\\\)", text[inside + 1 :], maxsplit=1)[0]
        return at, inside + 1 + len(rest), rest
    rest_match = re.compile(r"[^\s$]+").match(text, inside)
    if rest_match is None:
        return at, inside, ""
    return at, rest_match.end(), rest_match.group(0)


def _joined(between: str) -> bool:
    """Whether two boxes are parts of one answer by what stands between them.

    Only a comma, `and` or `or` does; a few words of what is counted may come before it, and the
    name of the next value after it.
    """
    if len(between) > 60 or "\n\n" in between.strip():
        return False
    words = _DISPLAYED.sub(" ", re.sub(r"\\text\s*\{([^{}]*)\}", r"\1", between))
    words = " ".join(_NAMES.sub("", " ".join(words.split())).split())
    return _BETWEEN.fullmatch(words) is not None


def _hashes(text: str) -> Extract | None:
    at = text.rfind("####")
    if at < 0:
        return None
    match = _HASHES.search(text, text.rfind("\n", 0, at) + 1)
    if match is None or not match.group("answer").strip():
        return None
    return Extract(match.group("answer").strip(), "hashes", *match.span("answer"))


def _tagged(text: str) -> Extract | None:
    at = text.rfind("<answer>")
    if at < 0:
        return None
    match = _TAG.match(text, at)
    if match is None or not match.group("answer"):
        return None
    return Extract(match.group("answer"), "tag", *match.span("answer"))


def _announced(text: str, begin: int = 0, *, final: bool = False) -> Extract | None:
    """What follows the last `the answer is`, to the end of its sentence."""
    begin = max(len(text) - _WINDOW, begin)
    tail = text[begin:].lower()
    if len(tail) != len(text) - begin:  # a letter whose lower case is two
        tail = text[begin:]
    last = None
    for at in sorted(_places(tail), reverse=True):
        match = _CUE.match(text, begin + at + (tail[at] == "\n"))
        if match is None or not text[match.end() :].strip(" \n*$"):
            continue
        if final and "final" not in tail[max(at - 8, 0) : at]:
            continue
        last = match
        break
    if last is None:
        return None
    start = last.end()
    while start < len(text) and text[start] in " \n\t*:\"'":
        start += 1
    display = _DISPLAY.match(text, start)
    if display is not None:
        after = text[display.end() : display.end() + 40].split("\n")[0]
        if re.match(r"\s*(?:[.,;*\"]|$|%|percent|pct|[a-z]+\.?\s*$|\\%|°)", after) and not re.match(
            r"\s*(?:,|and|or)\s*\$", after
        ):
            percent = re.match(r"\s*(?:%|\\%|percent|pct)", after)
            end = display.end() + (percent.end() if percent else 0)
            return Extract(text[start:end].strip(), "announced", start, end)
    stop = _STOP.search(text, start)
    end = stop.start() if stop is not None else len(text)
    answer = text[start : min(end, start + _LONGEST)]
    bold = _BOLD.findall(answer)
    if len(bold) == 1 and not answer.startswith("**"):
        start = text.index(bold[0], start)
        return Extract(bold[0], "announced", start, start + len(bold[0]))
    answer = _without_reason(answer).rstrip().rstrip(".*\"'")
    answer = answer.removesuffix("**").strip()
    heading = text[: last.start()].rstrip(" *#_")[-1:] in {"", "\n"}
    if not answer or (heading and _PROSE.search(answer) and len(text) - end > _SENTENCES):
        return None  # `Answer:`, and then a whole solution
    return Extract(answer, "announced", start, start + len(answer))


def _without_reason(answer: str) -> str:
    """The answer without `because …`; without `when …` only if a value stands before it."""
    reason = _BECAUSE.search(answer)
    if reason is None:
        return answer
    short = answer[: reason.start()]
    if reason[1] in {"because", "since", "so that", "which"} or len(short.split()) < _PHRASE:
        return short
    return short if _MATHS.search(short) else answer


def _places(tail: str) -> list[int]:
    places = [0] if tail.startswith("a:") else []
    for cue in _ASCII_CUES if tail.isascii() else _CUES:
        at = tail.rfind(cue)
        while at >= 0:
            places.append(at)
            at = tail.rfind(cue, 0, at)
    return places


def _whole(text: str) -> Extract | None:
    """A response that is nothing but an answer: one short line."""
    line = text.strip()
    if not line or len(line) > _LONGEST or "\n\n" in line or _BROKEN.search(line):
        return None
    words = re.findall(r"[A-Za-z]{2,}", re.sub(r"\\[a-zA-Z]+", " ", line))
    display = _DISPLAY.fullmatch(line.rstrip("."))
    long = len(words) > 4 or (len(words) > 1 and line.endswith((".", "?")))
    if display is None and long and not _VERDICT.fullmatch(line):
        return None
    start = text.index(line)
    return Extract(line, "whole", start, start + len(line))


def _tail(text: str) -> Extract | None:
    """The one formula, or the one number, of the last sentence."""
    text = text.rstrip()
    if "I hope" in text[-_HOPED:]:
        text = _HOPE.sub("", text).rstrip()
    window = max(len(text) - 600, 0)
    ends = [m.end() for m in _SENTENCE.finditer(text, window, len(text))]
    ends += [m.start() for m in _THEREFORE.finditer(text, ends[-1] if ends else window)]
    start = ends[-1] if ends else window
    formulas = [
        m for m in _DISPLAY.finditer(text, start) if any(m.groups()) and not _PROSE.search(m[0])
    ]
    ends_in = _ENDS_IN.search(text, max(start, formulas[-1].end() if formulas else 0))
    if ends_in is not None:
        return Extract(ends_in.group("number"), "tail", *ends_in.span("number"))
    judged = _JUDGED.search(text, start) or _LISTED.match(text, start)
    if judged is not None and not re.search(r"\b(?:if|whether|not)\b", text[start:]):
        return Extract(judged[1], "tail", *judged.span(1))
    if formulas:
        last = formulas[-1]
        answer = next(g for g in last.groups() if g is not None)
        if not _MATHS.search(answer) or (
            len(formulas) > 1 and not _CONCLUDES.search(text[start : last.start()])
        ):
            return None
        return Extract(answer.strip(), "tail", last.start(), last.end())
    bold = [m for m in _BOLD.finditer(text, start) if _NUMBER.fullmatch(m.group(1))]
    if len(bold) == 1:
        return Extract(bold[0].group(1), "tail", *bold[0].span(1))
    numbers = list(_NUMBER.finditer(text, start))
    if len(numbers) != 1:
        return None
    return Extract(numbers[0].group(0), "tail", *numbers[0].span())


_LONG_REFERENCE = 300
"""Characters from which a reference answer is a worked solution that holds its answer."""


@lru_cache(maxsize=1 << 12)
def reference_answer(answer: str) -> str:
    """The reference itself, or the answer within a worked solution."""
    solution = len(answer) > _LONG_REFERENCE or ("\n" in answer and "\\begin" not in answer)
    if solution or any(mark in answer for mark in ("\\boxed", "\\fbox", "####")):
        found = extracted(answer, loose=False)
        return answer if found is None else found.answer
    return answer
