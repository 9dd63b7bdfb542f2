"""What EvalPlus does beyond running and comparing: inputs JSON cannot write, and special oracles.

Facts of evalplus 0.3.1, `evalplus/data/mbpp.py` and `evalplus/eval`: task numbers and rules.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from tracecraft.verify.code_compare import Match, compare_value

__all__ = ["Agreement", "inputs_of"]

_Args = list[Any]


def _tuples(value: Any, depth: int) -> Any:
    """Lists `depth` levels down become tuples."""
    if depth == 0:
        return tuple(value) if isinstance(value, (list, str)) else value
    return [_tuples(v, depth - 1) for v in value]


def _all_tuples(value: Any) -> Any:
    return tuple(map(_all_tuples, value)) if isinstance(value, list) else value


def _first(args: _Args, change: Callable[[Any], Any]) -> _Args:
    return [change(args[0]), *args[1:]]


def _sets(values: list[Any]) -> list[Any]:
    return [set(v) if isinstance(v, list) and v else {} for v in values]


_MBPP: list[tuple[set[int], Callable[[_Args], _Args]]] = [
    ({2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726,
      740, 744, 809}, lambda a: [tuple(x) for x in a]),
    ({63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780},
     lambda a: [[tuple(y) for y in x] for x in a]),
    ({75, 413, 444, 753}, lambda a: _first(a[:2], lambda x: [tuple(y) for y in x])),
    ({106, 750}, lambda a: [a[0], tuple(a[1])]),
    ({115}, lambda a: [_sets(a[0])]),
    ({124}, lambda a: [float(a[0]), complex(a[1])]),
    ({250, 405, 446, 617, 720, 763, 808}, lambda a: _first(a[:2], tuple)),
    ({259, 401, 445}, lambda a: [tuple(tuple(y) for y in x) for x in a]),
    ({278}, lambda a: [tuple(tuple(y) if isinstance(y, list) else y for y in a[0])]),
    ({307}, lambda a: _first(a[:3], tuple)),
    ({722}, lambda a: _first(a, lambda x: {k: tuple(v) for k, v in x.items()})),
    ({252}, lambda a: [complex(a[0])]),
    ({580, 615, 791}, lambda a: [_all_tuples(x) for x in a]),
]  # fmt: skip


def inputs_of(problem: Mapping[str, Any]) -> tuple[tuple[Any, ...], ...]:
    """Base and plus inputs as the functions are called with them."""
    inputs = [*problem.get("base_input", ()), *(problem.get("plus_input") or ())]
    task = str(problem.get("task_id") or problem.get("problem_id") or "")
    digits = task.rpartition("/")[2]
    if "HumanEval" not in task and digits.isdigit():
        for tasks, change in _MBPP:
            if int(digits) in tasks:
                return tuple(tuple(change(list(args))) for args in inputs)
    return tuple(tuple(args) for args in inputs)


_AS_SETS = {"similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly",
            "larg_nnum", "intersection_array", "find_dissimilar", "Diff"}  # fmt: skip
_NOT_NONE = {"check_str", "text_match_three", "text_starta_endb"}


class Agreement:
    """EvalPlus's comparison of a task's results with the reference's, in order.

    The tolerance is a state: once an expected result was a float, it stays for those after it.
    """

    def __init__(self, entry: str, atol: float) -> None:
        self.entry, self.atol = entry, atol

    def of(self, args: tuple[Any, ...], got: Any, expected: Any) -> Match:
        """Whether one result agrees."""
        special = _SPECIAL.get(self.entry)
        if special is not None:
            try:
                verdict = special(args, got, expected, self.atol)
            except (TypeError, ValueError, ArithmeticError):
                verdict = False
            if verdict is not None:
                return Match(same=verdict, why=f"evalplus: {self.entry}")
        if self.atol == 0 and _floats(expected):
            self.atol = 1e-6
        return compare_value(got, expected, "evalplus", self.atol)


def _floats(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return bool(value) and all(isinstance(v, float) for v in value)
    return isinstance(value, float)


def _root(args: tuple[Any, ...], got: Any, _: Any, atol: float) -> bool:
    value = sum(c * math.pow(got, i) for i, c in enumerate(args[0]))
    return bool(abs(value) <= atol)


def _surface(args: tuple[Any, ...], got: Any, expected: Any, atol: float) -> bool:
    edge, height = args
    slant = math.sqrt((edge / 2) ** 2 + height**2)
    return bool(got == expected or abs(got - round(edge**2 + 2 * edge * slant)) <= atol)


def _digits(args: tuple[Any, ...], got: Any, expected: Any, _: float) -> bool:
    a, b = map(str, args)
    width = max(len(a), len(b))
    gap = sum(abs(int(x) - int(y)) for x, y in zip(a.zfill(width), b.zfill(width), strict=True))
    return bool(got in (expected, gap))


def _as_sets(_: Any, got: Any, expected: Any, __: float) -> bool:
    return set(got) == set(expected)


def _not_none(_: Any, got: Any, expected: Any, __: float) -> bool:
    wanted = expected is not None
    return got == wanted if isinstance(got, bool) else wanted == (got is not None)


_SPECIAL: dict[str, Callable[[tuple[Any, ...], Any, Any, float], bool | None]] = {
    "find_zero": _root,
    "are_equivalent": lambda *_: True,
    "sum_div": lambda a, got, expected, t: bool(got in (expected, 0)) or None,
    "surface_Area": _surface,
    "digit_distance_nums": _digits,
    **dict.fromkeys(_AS_SETS, _as_sets),
    **dict.fromkeys(_NOT_NONE, _not_none),
}
