"""Does what a program gave agree with what was expected, and by which rule; runs in the keeper."""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Any, Literal

from tracecraft.verify.codec import Opaque, Record

__all__ = ["Match", "Rule", "compare_text", "compare_value", "equal_values"]

Rule = Literal["lines", "decimals", "tokens", "unordered"]


@dataclass(frozen=True, slots=True)
class Match:
    """Whether two things agree, and the rule that said so or the first difference."""

    same: bool
    why: str


_EXCESS, _SMALL = 8, 1 << 16
"""An output this many times longer than the expected one, and not small, is not it."""


_NONE, _USUAL, _WIDER = Decimal(0), Decimal("1e-6"), Decimal("1e-5")
_TOLERANCES: Mapping[Rule, tuple[Decimal, Decimal]] = {
    "lines": (_USUAL, _USUAL),
    "decimals": (_NONE, _NONE),
    "tokens": (_USUAL, _WIDER),
    "unordered": (_USUAL, _USUAL),
}
"""How far off a number may be, relative to the expected one or absolute: what contests commonly
allow; none, as in LiveCodeBench's `testing_util.py`; absolute as CodeContests' own grader."""


def compare_text(got: str, expected: str, rule: Rule = "lines") -> Match:
    """Compare a program's output with the expected one.

    Line ends, trailing blanks and empty lines at either end never count. Numbers written
    differently are equal as decimals; a number may be off by a tolerance only where the expected
    text writes it with a point or an exponent.

    Args:
        got: what was printed.
        expected: what should have been.
        rule: `lines` wants the same tokens line by line; `decimals` wants numbers exactly equal
            too, as LiveCodeBench does; `tokens` wants them anywhere and in any letter case, as
            CodeContests does; `unordered` wants the same lines in any order.
    """
    if len(got) > _EXCESS * len(expected) + _SMALL:  # a flood is not worth taking apart
        return Match(same=False, why=f"{len(got)} characters instead of {len(expected)}")
    ours, theirs = _lines(got), _lines(expected)
    if ours == theirs:
        return Match(same=True, why="exact")
    if rule == "tokens":
        flat = [" ".join(lines).casefold().split() for lines in (ours, theirs)]
        return _tokens(flat[0], flat[1], rule, "")
    if rule == "unordered":
        ours, theirs = sorted(ours), sorted(theirs)
    if len(ours) != len(theirs):
        return Match(same=False, why=f"{len(ours)} lines instead of {len(theirs)}")
    used = "exact"
    for number, (mine, wanted) in enumerate(zip(ours, theirs, strict=True), 1):
        if mine != wanted:
            match = _tokens(mine.split(), wanted.split(), rule, f"line {number}: ")
            if not match.same:
                return match
            used = max(used, match.why, key=_LOOSENESS.index)
    return Match(same=True, why=used)


_LOOSENESS = ["exact", "spaces", "decimals", "tolerance"]


def _lines(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
    while lines and not lines[-1]:
        lines.pop()
    first = next((i for i, line in enumerate(lines) if line), 0)
    return lines[first:]


def _tokens(ours: list[str], theirs: list[str], rule: Rule, where: str) -> Match:
    if len(ours) != len(theirs):
        return Match(same=False, why=f"{where}{len(ours)} words instead of {len(theirs)}")
    used = "spaces"
    for mine, wanted in zip(ours, theirs, strict=True):
        if mine == wanted:
            continue
        how = _numbers(mine, wanted, *_TOLERANCES[rule])
        if how is None:
            why = f"{where}{_brief(mine)} instead of {_brief(wanted)}"
            if rule == "decimals" and _numbers(mine, wanted, *_TOLERANCES["lines"]):
                why += ", close but not equal as a decimal"
            return Match(same=False, why=why)
        used = max(used, how, key=_LOOSENESS.index)
    return Match(same=True, why=used)


def _numbers(mine: str, wanted: str, relative: Decimal, absolute: Decimal) -> str | None:
    if max(len(mine), len(wanted)) > 5000:
        return None
    try:
        a, b = Decimal(mine), Decimal(wanted)
    except InvalidOperation:
        return None
    if not (a.is_finite() and b.is_finite()):
        return "decimals" if str(a) == str(b) else None
    if max(abs(a.adjusted()), abs(b.adjusted())) > 400:
        return "decimals" if a == b else None
    if a == b:
        return "decimals"
    if not set(".eE") & set(wanted):
        return None
    close = abs(a - b) <= max(absolute, relative * abs(b))
    return "tolerance" if close and relative else None


def _brief(value: object, limit: int = 40) -> str:
    try:
        text = value if isinstance(value, str) else repr(value)
    except (ValueError, RecursionError):  # thousands of digits, or of brackets
        text = f"a {type(value).__name__} too large to show"
    return repr(text if len(text) <= limit else text[: limit - 1] + "…")


Values = Literal["loose", "python", "evalplus"]


def compare_value(got: Any, expected: Any, how: Values = "loose", atol: float = 0.0) -> Match:
    """Compare a function's result, reduced to plain data, with the expected one.

    Args:
        got: the result.
        expected: what it should be.
        how: `loose` reads a tuple as a list, as JSON has to, allows floats 1e-9 relative, and
            keeps booleans, numbers and texts apart; `python` is `==`; `evalplus` is `==`, then
            `numpy.allclose` with rtol 1e-7 where `atol` is set.
        atol: for `evalplus`.
    """
    rule: Callable[[Any, Any], bool] = {
        "loose": _loose,
        "python": equal_values,
        "evalplus": lambda a, b: equal_values(a, b) or (atol > 0 and _all_close(a, b, atol)),
    }[how]
    try:
        same = rule(got, expected)
    except (RecursionError, OverflowError) as error:
        return Match(same=False, why=f"cannot be compared: {type(error).__name__}")
    if same:
        return Match(same=True, why=how)
    return Match(same=False, why=f"{_brief(got)} instead of {_brief(expected)}")


def equal_values(a: Any, b: Any) -> bool:
    """Python's own `==`. Both are plain data here, so nobody's method decides."""
    return bool(a == b)


def _loose(a: Any, b: Any) -> bool:
    if isinstance(a, bool) or isinstance(b, bool):
        return isinstance(a, bool) and isinstance(b, bool) and a == b
    if isinstance(a, (int, float, Fraction, Decimal)) and isinstance(b, (int, float)):
        if isinstance(a, float) or isinstance(b, float):
            both_nan = a != a and b != b
            return both_nan or a == b or math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
        return a == b
    if isinstance(a, (list, tuple, deque)) and isinstance(b, (list, tuple, deque)):
        return len(a) == len(b) and all(map(_loose, a, b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return _loose_mapping(a, b)
    if isinstance(a, (set, frozenset)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_has(a, x) for x in b)
    if isinstance(a, (Opaque, Record)):
        return False
    return type(a) is type(b) and bool(a == b)


def _loose_mapping(a: Mapping[Any, Any], b: Mapping[Any, Any]) -> bool:
    """JSON knows only texts as keys."""
    if len(a) != len(b):
        return False
    mine = a if any(k in a for k in b) else {_json_key(k): v for k, v in a.items()}
    return all(k in mine and _loose(mine[k], v) for k, v in b.items())


def _json_key(key: Any) -> Any:
    if isinstance(key, bool):
        return "true" if key else "false"
    if key is None:
        return "null"
    return repr(key) if isinstance(key, (int, float)) else key


def _has(values: Any, wanted: Any) -> bool:
    try:
        return wanted in values
    except TypeError:
        return False


def _all_close(a: Any, b: Any, atol: float) -> bool:
    """`numpy.allclose(a, b, rtol=1e-7, atol=atol)` on nested sequences of numbers."""
    if type(a) is not type(b):
        return False
    return _close(a, b, atol)


def _close(a: Any, b: Any, atol: float) -> bool:
    if isinstance(b, (list, tuple)):
        return isinstance(a, (list, tuple)) and len(a) == len(b) and all(
            _close(x, y, atol) for x, y in zip(a, b, strict=True)
        )  # fmt: skip
    if not all(isinstance(x, (int, float, complex)) for x in (a, b)):
        return False
    if a == b:
        return True
    gap, size = abs(a - b), abs(b)
    return math.isfinite(size) and gap <= atol + 1e-7 * size
