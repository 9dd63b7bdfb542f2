"""What runs inside the walls, after they stand: a script, calls of a function, another program."""

import _thread
import atexit
import builtins
import contextlib
import gc
import linecache
import marshal
import os
import signal
import sys
import threading
import types
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast

from tracecraft.verify.codec import decode, encode

__all__ = [
    "CODE",
    "MODES",
    "RESULT",
    "RPC_IN",
    "RPC_OUT",
    "SPEC",
    "add_site_names",
    "load_program",
    "open_streams",
    "usual_names",
]

CODE, RESULT, SPEC, RPC_IN, RPC_OUT = 3, 4, 5, 6, 7
MADE = RESULT
"""Descriptors a program's process has beside the standard three, where its job needs them; a
process that reports no result may have the program as it was compiled by the one before it."""

_MAIN = "/w/main.py"


def read_all(descriptor: int) -> bytes:
    """Everything in the file, from its start; closes it."""
    size, data = os.lseek(descriptor, 0, os.SEEK_END), b""
    while len(data) < size and (block := os.pread(descriptor, size - len(data), len(data))):
        data += block
    os.close(descriptor)
    return data


def open_streams() -> None:
    """Standard streams on descriptors 0 to 2, whatever files these will be."""
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa
    sys.stdout = open(1, "w", encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa
    sys.stderr = open(  # noqa
        2, "w", encoding="utf-8", errors="backslashreplace", closefd=False, buffering=1
    )
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        stream.buffer.raw.name = f"<{name}>"
        setattr(sys, f"__{name}__", stream)


def add_site_names() -> None:
    """What a plain interpreter's start adds to the builtins: `exit`, `quit`, `help` and others."""
    import site

    site.setquit()
    site.setcopyright()
    site.sethelper()
    sys.orig_argv = [sys.executable, _MAIN]


_REHEARSED = b"""
import sys
def once(word, *, times=1):
    return [len(word) for _ in range(times)]
n = int(input())
print(sum(map(int, input().split())), once("a", times=2)[-1], f"{n:>3}")
sys.stdout.write("".join(sorted({"b": 1} | {"a": n})) + chr(10))
"""


def rehearse() -> None:
    """Run a program a few times over: what an interpreter learns from that, about its code and
    where things are found, is not to be learnt again by every process forked from it.
    """
    kept, path = dict(sys.modules), list(sys.path)
    standard = [os.dup(descriptor) for descriptor in range(3)]
    made = _file(b"")
    for _ in range(TIMES):
        for descriptor, text in enumerate((b"3\n1 2 3\n", b"", b"")):
            file = _file(text)
            os.dup2(file, descriptor)
            os.close(file)
        open_streams()
        load_program(read_all(_file(_REHEARSED)), made=os.dup(made))
        _flush()
    os.close(made)
    for descriptor, saved in enumerate(standard):
        os.dup2(saved, descriptor)
        os.close(saved)
    open_streams()
    for name in sys.modules.keys() - kept.keys():
        del sys.modules[name]
    sys.modules.update(kept)
    sys.path[:], sys.argv[:] = path, [""]
    linecache.clearcache()


def _file(text: bytes) -> int:
    file = os.memfd_create("tracecraft")
    os.pwrite(file, text, 0)
    return file


TIMES = 20
"""Python 3.11 rewrites a function's code after 8 calls; more than these bought nothing."""


def _compiled(source: bytes, made: int | None) -> types.CodeType:
    """The program's code; only the first of several processes compiles it.

    The file that it is kept in is written and closed before anything of the program runs.
    """
    if made is None:
        return _compile(source)
    try:
        if kept := os.pread(made, _MOST_MADE, 0):
            with contextlib.suppress(EOFError, ValueError, TypeError):
                return cast(types.CodeType, marshal.loads(kept))
        code = _compile(source)
        with contextlib.suppress(ValueError, MemoryError, OSError):
            if len(kept := marshal.dumps(code)) < _MOST_MADE:
                os.pwrite(made, kept, 0)
        return code
    finally:
        os.close(made)


_MOST_MADE = 1 << 20
"""Bytes."""


def _compile(source: bytes) -> types.CodeType:
    return compile(source, _MAIN, "exec", dont_inherit=True)


def load_program(
    source: bytes,
    name: str = "__main__",
    argv: list[str] | None = None,
    *,
    prelude: bool = False,
    more: Mapping[str, Any] | None = None,
    made: int | None = None,
) -> types.ModuleType:
    """A module in which the program has run.

    Args:
        source: the program.
        name: the module's name.
        argv: what follows the program's name on its command line.
        prelude: names that graders of function problems import for a program are there, unless
            the program gives them a meaning of its own.
        more: further names that are there.
        made: a file that its compiled form is in, or is to be in.
    """
    module = types.ModuleType(name)
    module.__file__ = _MAIN
    module.__dict__.update({"__builtins__": builtins, "__annotations__": {}, "__cached__": None})
    if prelude:
        module.__dict__["__builtins__"] = usual_names() | vars(builtins) | dict(more or {})
    sys.modules[name] = module
    sys.argv = [_MAIN, *(argv or [])]
    sys.path.insert(0, "/w")
    cache: dict[str, Any] = linecache.cache
    cache[_MAIN] = (lambda: source.decode(errors="replace"),)  # there is no such file
    exec(_compiled(source, made), module.__dict__)
    return module


_USUAL = """bisect collections copy datetime functools heapq itertools json math operator random
re statistics string sys typing"""


def usual_names() -> dict[str, Any]:
    """As LiveCodeBench, PRIME and the LeetCode sets import them; a builtin is never replaced."""
    import importlib

    names: dict[str, Any] = {}
    for word in _USUAL.split():
        module = importlib.import_module(word)
        public = getattr(module, "__all__", None) or [n for n in dir(module) if n[0] != "_"]
        names |= {name: getattr(module, name) for name in public}
        names[word] = module
    return names


def finish(code: int, *, ends: bool = False) -> NoReturn:
    """Leave as an interpreter would: threads joined, exit handlers run, streams flushed.

    Args:
        code: minus a signal's number where that signal ends the process.
        ends: what the main module holds ends too.
    """
    try:
        if _thread._count():
            threading._shutdown()  # type: ignore[attr-defined]
        if atexit._ncallbacks():
            atexit._run_exitfuncs()
        _flush()
        if ends:
            sys.modules.pop("__main__", None)
            gc.collect()
            _flush()
    except BaseException:  # the program's own handlers; what they raise is the program's failure
        code = code or 1
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _flush() -> None:
    try:
        sys.stdout.flush()
    finally:
        sys.stderr.flush()


def guarded(body: Callable[[], None], *, ends: bool = False) -> NoReturn:
    """Run `body`; the exit code is what the interpreter would give.

    Args:
        body: what runs the program.
        ends: the program may see its objects end with the interpreter.
    """
    code = 0
    try:
        body()
    except SystemExit as leaving:
        code = _exit_code(leaving.code)
    except BaseException as error:  # the boundary to the program
        import traceback

        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
        try:
            traceback.print_exc()
        except BaseException:  # out of memory while saying so
            os.write(2, b"MemoryError\n")
    finish(code, ends=ends)


def _exit_code(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def script(request: Mapping[str, Any]) -> NoReturn:
    """The program as `python main.py`."""
    source = read_all(CODE)

    def body() -> None:
        load_program(
            source,
            argv=request["argv"],
            prelude=request["prelude"],
            made=MADE if "made" in request["fds"] else None,
        )

    guarded(body, ends=b"__del__" in source or b"yield" in source)


def calls(request: Mapping[str, Any]) -> NoReturn:
    """The program's function on each of the inputs, one line of result for each."""
    source, spec = read_all(CODE), _loads(read_all(SPEC))

    def body() -> None:
        program = load_program(source, spec["module"], prelude=spec["prelude"])
        for request in spec["calls"]:
            _timer(spec["limit"])
            line = _dumps(_answer(program, spec["entry"], request))
            _timer(0)
            _write_all(RESULT, line)

    guarded(body)


def _loads(text: bytes) -> Any:
    import json

    return json.loads(text)


def _dumps(value: Any) -> bytes:
    import json

    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _timer(seconds: float) -> None:
    """CPU seconds until SIGPROF ends the process; a program that disarms it meets RLIMIT_CPU."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def _answer(program: types.ModuleType, entry: str, request: Any) -> dict[str, Any]:
    args, named = request
    try:
        target = find(program, entry)
        value = target(*map(decode, args), **{k: decode(v) for k, v in named.items()})
        return {"v": encode(value)}
    except BaseException as error:  # the boundary to the program
        return {"e": type(error).__name__, "m": str(error)[:200]}


def find(program: types.ModuleType, entry: str) -> Any:
    """The function of that name, or that method of a fresh `Solution`."""
    owner = getattr(program, "Solution", None)
    if not hasattr(program, entry) and isinstance(owner, type) and hasattr(owner, entry):
        return getattr(owner(), entry)
    return getattr(program, entry)


def binary(request: Mapping[str, Any]) -> NoReturn:
    """The compiled program in place of this process."""
    os.execve(CODE, ["main"], {"PATH": "/usr/bin:/bin", "HOME": "/w", "LANG": "C.UTF-8"})


def serve(request: Mapping[str, Any]) -> NoReturn:
    """The program, at the disposal of tests that run elsewhere."""
    _for_pair("served", "serve_program")


def tests(request: Mapping[str, Any]) -> NoReturn:
    """Tests of a program that runs elsewhere."""
    _for_pair("oracle", "run_tests")


def _for_pair(module: str, function: str) -> NoReturn:
    """Both import this file, so they are looked up; a zygote has loaded what its side needs."""
    source, spec = read_all(CODE), _loads(read_all(SPEC))
    body = getattr(sys.modules[f"tracecraft.verify.{module}"], function)
    guarded(lambda: body(source, spec))


MODES: dict[str, Callable[[Mapping[str, Any]], NoReturn]] = {
    "script": script,
    "calls": calls,
    "binary": binary,
    "serve": serve,
    "tests": tests,
}
