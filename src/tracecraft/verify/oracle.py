"""Runs a problem's test code in a sandbox of its own, where the response's program is not."""

import ast
import builtins
import inspect
import json
import linecache
import os
import symtable
import sys
import traceback
import types
import unittest
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from tracecraft.verify import driver, pytest_shim
from tracecraft.verify.peer import Gone, Peer, Unsupported
from tracecraft.verify.served import SHARED, structures

__all__ = ["run_tests"]

_TESTS = "tests.py"
_GIVEN = {"pytest": pytest_shim, "unittest": unittest}
"""What tests may use without an import: sets join them to programs that import it."""


class _Program(types.ModuleType):
    """Stands where tests import the program; each name is fetched when it is asked for."""

    def __init__(self, name: str, peer: Peer) -> None:
        super().__init__(name)
        self._peer = peer
        self.__path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not self._peer.ask("has", name):
            raise AttributeError(name)
        value = self._peer.ask("name", name)
        setattr(self, name, value)
        return value


class _Finder:
    """Any module that is not there is the program."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """A place to load it from."""
        if name.partition(".")[0] in sys.stdlib_module_names:
            return None
        return ModuleSpec(name, self)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> types.ModuleType:
        """The stand-in."""
        return _Program(spec.name, self.peer)

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing runs on import."""


def _free_names(source: str) -> set[str]:
    """Names the test code uses and nowhere binds; a builtin is never the program's."""
    top = symtable.symtable(source, _TESTS, "exec")
    used: set[str] = set()
    waiting = [top]
    while waiting:
        scope = waiting.pop()
        used |= {s.get_name() for s in scope.get_symbols() if s.is_referenced() and s.is_global()}
        waiting += scope.get_children()
    bound = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported()}
    return used - bound - set(dir(builtins))


class _Report:
    """What is told to the keeper, a line at a time."""

    def __init__(self) -> None:
        self.count = 0

    def line(self, **facts: Any) -> None:
        data = json.dumps(facts, separators=(",", ":")).encode() + b"\n"
        while data:
            data = data[os.write(driver.RESULT, data) :]

    def run(self, name: str, body: Callable[[], Any]) -> None:
        """One test."""
        try:
            body()
        except pytest_shim.Skipped:
            return
        except Exception as error:  # the boundary to the tests
            self.line(test=name, ok=False, why=_why(error))
        else:
            self.line(test=name, ok=True)
        self.count += 1


def run_tests(source: bytes, spec: Mapping[str, Any]) -> None:
    """The tests' side: run them all, report each."""
    sys.modules["pytest"] = pytest_shim
    report = _Report()
    peer = Peer(driver.RPC_IN, driver.RPC_OUT, trusting=False)
    sys.path.insert(0, "/w")
    sys.meta_path.append(_Finder(peer))
    tests = types.ModuleType("tests")
    sys.modules["tests"] = tests
    names = vars(tests)
    if spec["prelude"]:
        shared = structures()
        peer.records = {n: shared[n] for n in SHARED}
        names.update(driver.usual_names() | shared)
    text = source.decode(errors="replace")
    linecache.cache[_TESTS] = (len(text), None, text.splitlines(keepends=True), _TESTS)
    try:
        tree = ast.parse(source)
        for name in sorted(_free_names(text) - names.keys()):
            if name in _GIVEN:
                names[name] = _GIVEN[name]
            elif peer.ask("has", name):
                names[name] = peer.ask("name", name)
        _run_all(tree, names, spec["entry"], report)
    except Gone as gone:
        report.line(gone=str(gone))
    except Unsupported as error:
        report.line(unsupported=str(error))
    report.line(done=report.count, operators=sorted(peer.operators))


def _why(error: Exception) -> str:
    """The error, and the line of the tests it came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == _TESTS]
    line = f" (line {frames[-1].lineno}: {frames[-1].line})" if frames else ""
    return f"{type(error).__name__}: {error}"[:300] + line[:200]


def _run_all(tree: ast.Module, names: dict[str, Any], entry: str | None, report: _Report) -> None:
    calls_check = any(
        isinstance(n, ast.Expr) and isinstance(n.value, ast.Call)
        and isinstance(n.value.func, ast.Name) and n.value.func.id == "check"
        for n in tree.body
    )  # fmt: skip
    failures = report.count

    def whole() -> None:
        exec(compile(tree, _TESTS, "exec"), names)
        check = names.get("check")
        if callable(check) and not calls_check and entry is not None:
            program = sys.meta_path[-1].peer  # type: ignore[attr-defined]
            check(program.ask("name", entry))

    found = []
    report.run("tests", whole)
    if report.count > failures:
        found = list(_tests(names))
    for name, body in found:
        report.run(name, body)


def _tests(names: dict[str, Any]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Test functions, test classes and `unittest` cases, in the order they are defined."""
    for name, value in list(names.items()):
        if isinstance(value, type) and issubclass(value, unittest.TestCase):
            yield from _unittest(value)
        elif isinstance(value, type) and name.startswith("Test"):
            for method in [m for m in vars(value) if m.startswith("test")]:
                yield from _function(f"{name}.{method}", _fresh(value, method), names)
        elif isinstance(value, types.FunctionType) and name.startswith("test"):
            yield from _function(name, value, names)


def _fresh(owner: type, method: str) -> Callable[..., Any]:
    function = getattr(owner, method)

    def run(**given: Any) -> Any:
        instance = owner()
        if (hook := getattr(instance, "setup_method", None)) is not None:
            hook(*[function] * len(inspect.signature(hook).parameters))
        return getattr(instance, method)(**given)

    run.cases_given = getattr(function, "cases_given", [])  # type: ignore[attr-defined]
    run.wanted = list(inspect.signature(function).parameters)[1:]  # type: ignore[attr-defined]
    return run


def _unittest(case: type[unittest.TestCase]) -> Iterator[tuple[str, Callable[[], Any]]]:
    for method in unittest.TestLoader().getTestCaseNames(case):

        def run(method: str = method) -> None:
            result = unittest.TestResult()
            case(method).run(result)
            for _, trace in [*result.errors, *result.failures]:
                raise AssertionError(trace.strip().rpartition("\n")[2])

        yield f"{case.__name__}.{method}", run


def _function(
    name: str, test: Callable[..., Any], names: dict[str, Any]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    wanted = test.wanted if hasattr(test, "wanted") else list(inspect.signature(test).parameters)
    for number, case in enumerate(pytest_shim.cases_of(test)):

        def run(case: dict[str, Any] = case) -> Any:
            given = {w: case[w] if w in case else _fixture(w, names) for w in wanted}
            return test(**given)

        yield f"{name}[{number}]" if number else name, run


def _fixture(name: str, names: dict[str, Any]) -> Any:
    if name == "tmp_path":
        return Path("/w")
    made = next((v for v in names.values() if getattr(v, "is_fixture", False) is True
                 and v.__name__ == name), None)  # fmt: skip
    if made is None:
        raise Unsupported(f"they ask for {name!r}, which only pytest has")
    value = made(**{p: _fixture(p, names) for p in inspect.signature(made).parameters})
    return next(value) if inspect.isgenerator(value) else value
