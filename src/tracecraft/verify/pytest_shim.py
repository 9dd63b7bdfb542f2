"""As much of pytest as the tests of public problem sets use; stands in for it in the sandbox."""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace, TracebackType
from typing import Any

from tracecraft.verify.peer import Unsupported

__all__ = ["approx", "cases_of", "fail", "fixture", "mark", "param", "raises", "skip"]


class Skipped(Exception):
    """The test does not want to be run."""


def skip(reason: str = "", **_: Any) -> None:
    """Leave the test."""
    raise Skipped(reason)


def fail(reason: str = "", **_: Any) -> None:
    """End the test as failed."""
    raise AssertionError(reason)


class _Raises:
    def __init__(self, expected: Any, match: str | None) -> None:
        self.expected, self.match = expected, match
        self.value: BaseException | None = None
        self.type: type[BaseException] | None = None

    def __enter__(self) -> "_Raises":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, _: TracebackType | None
    ) -> bool:
        if kind is None:
            raise AssertionError(f"did not raise {self.expected}")
        if not issubclass(kind, self.expected):
            return False
        if self.match is not None and not re.search(self.match, str(value)):
            raise AssertionError(f"{str(value)!r} does not match {self.match!r}")
        self.value, self.type = value, kind
        return True


def raises(expected: Any, *args: Any, match: str | None = None, **named: Any) -> Any:
    """A context in which that exception must be raised, or the call of a function that must."""
    context = _Raises(expected, match)
    if not args:
        return context
    with context:
        args[0](*args[1:], **named)
    return context


class approx:
    """Equal to a number, or to numbers in a sequence or mapping, within a tolerance."""

    def __init__(self, expected: Any, rel: float | None = None, abs: float | None = None) -> None:
        self.expected = expected
        self.absolute = 1e-12 if abs is None else abs
        self.relative = (0.0 if abs is not None else 1e-6) if rel is None else rel

    def __eq__(self, other: object) -> bool:
        return self._same(other, self.expected)

    def __hash__(self) -> int:
        return id(self)

    def _same(self, a: Any, b: Any) -> bool:
        if isinstance(b, Mapping):
            return isinstance(a, Mapping) and a.keys() == b.keys() and all(
                self._same(a[k], b[k]) for k in b)  # fmt: skip
        if isinstance(b, Sequence) and not isinstance(b, str):
            return len(a) == len(b) and all(map(self._same, a, b))
        if isinstance(b, (int, float)) and isinstance(a, (int, float)):
            return math.isclose(a, b, rel_tol=self.relative, abs_tol=self.absolute)
        return bool(a == b)


class _Mark:
    """`mark.parametrize` sets cases; every other mark is taken off."""

    def parametrize(self, names: Any, values: Any, **_: Any) -> Callable[[Any], Any]:
        """Run the test once for each of the values."""
        words = [n.strip() for n in names.split(",")] if isinstance(names, str) else list(names)
        cases = []
        for value in values:
            inner = value.values if isinstance(value, SimpleNamespace) else value
            one = len(words) == 1 and not isinstance(value, SimpleNamespace)
            cases.append(dict(zip(words, (inner,) if one else inner, strict=True)))

        def mark_cases(test: Any) -> Any:
            test.cases_given = [*getattr(test, "cases_given", []), cases]
            return test

        return mark_cases

    def skip(self, *_: Any, **__: Any) -> Callable[[Any], Any]:
        """Never run the test."""

        def mark_skipped(test: Any) -> Any:
            test.cases_given = [[]]
            return test

        return mark_skipped

    def __getattr__(self, name: str) -> Any:
        def passing(*args: Any, **_: Any) -> Any:
            return args[0] if len(args) == 1 and callable(args[0]) else lambda test: test

        return passing


mark = _Mark()


def param(*values: Any, **_: Any) -> SimpleNamespace:
    """One case of `parametrize`."""
    return SimpleNamespace(values=values)


def fixture(function: Any = None, **named: Any) -> Any:
    """A function whose result tests ask for by its name."""
    if function is None:
        return lambda f: fixture(f, **named)
    if named.get("autouse"):
        raise Unsupported("they have a fixture that no test asks for")
    function.is_fixture = True
    if named.get("name"):
        function.__name__ = named["name"]
    return function


def cases_of(test: Any) -> Iterator[dict[str, Any]]:
    """The arguments of each run of a test."""
    for chosen in itertools.product(*getattr(test, "cases_given", [])):
        yield {k: v for part in chosen for k, v in part.items()}
