"""Compiled languages: the compiler in one sandbox, the program it made in another."""

import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

from tracecraft.verify.code_run import Report, Runnable, Terms
from tracecraft.verify.code_tests import BadTests, Program
from tracecraft.verify.sandbox import Job, Limits, Sandbox

__all__ = ["NAMES", "NOT_RUN", "compiled", "run_joined"]

NAMES = {"c++": "cpp", "cc": "cpp", "cpp17": "cpp", "rs": "rust", "py": "python",
         "python3": "python", "pypy3": "python"}  # fmt: skip
"""Other names of the languages."""
NOT_RUN = frozenset(
    {
        "bash", "c#", "clojure", "csharp", "d", "dart", "elixir", "f#", "fortran", "go",
        "golang", "haskell", "java", "javascript", "js", "julia", "kotlin", "lua", "matlab",
        "ocaml", "pascal", "perl", "php", "r", "racket", "ruby", "scala", "sh", "shell", "sql",
        "swift", "ts", "typescript", "vb",
    }
)  # fmt: skip
"""Languages that problems are written for and that nothing here runs."""

_LIMITS = Limits(
    cpu=30, wall=90.0, memory=2 << 30, output=64 << 20, disk=256 << 20, open_files=256, stack=0
)
"""Of a compiler. Only its own processes run, so what a hostile text can take is one process's."""
_RUST = "/site/rust"


@dataclass(frozen=True, slots=True)
class _Compiler:
    argv: tuple[str, ...]
    source: str
    probe: str
    """A program that must compile, or it is the compiler that does not work."""
    memory: int = _LIMITS.memory
    env: tuple[tuple[str, str], ...] = ()
    folders: tuple[tuple[str, str], ...] = ()
    """What it needs beside the system's folders: path inside, path outside."""


@cache
def _compiler(language: str) -> _Compiler:
    if language in ("cpp", "c"):
        name, standard = ("g++", "-std=c++17") if language == "cpp" else ("gcc", "-std=gnu11")
        found = shutil.which(name, path="/usr/bin:/bin")
        if found is None:
            raise BadTests(f"there is no {name} on this machine")
        source = f"main.{language}"
        argv = (found, "-O2", standard, "-w", "-o", "main", source, "-lm")
        return _Compiler(argv, source, "int main() { return 0; }")
    found = shutil.which("rustc")
    if found is None:
        raise BadTests("there is no rustc on this machine")
    sysroot = _told(found, "--print", "sysroot")
    options = ["-O", "--edition", "2021", "-A", "warnings", "-o", "main", "main.rs"]
    release = re.search(r"(\d+)\.(\d+)", _told(found, "--version"))
    if release and (int(release[1]), int(release[2])) >= (1, 90):
        options += ["-C", "linker-features=-lld"]  # its own linker finds itself through /proc
    return _Compiler(
        (f"{_RUST}/bin/rustc", *options), "main.rs", "fn main() {}",
        memory=4 << 30, env=(("LD_LIBRARY_PATH", f"{_RUST}/lib"),), folders=((_RUST, sysroot),),
    )  # fmt: skip


def _told(*command: str) -> str:
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:  # rustup's stand-in without a toolchain
        raise BadTests(f"{command[0]} does not run on this machine: {error}") from None
    return asked.stdout.strip()


_proven: set[str] = set()


def compiled(
    sandbox: Sandbox, text: str, language: str, files: Mapping[str, str]
) -> Runnable | Report:
    """The program made ready to run, or the report that it does not compile.

    Raises:
        BadTests: this machine has no compiler for the language that works in the sandbox.
    """
    compiler = _compiler(language)
    if language not in _proven:
        probed = _compile(sandbox, compiler, compiler.probe, {})
        if isinstance(probed, Report):
            raise BadTests(f"the {language} compiler does not work here: {probed.why}")
        _proven.add(language)
    return _compile(sandbox, compiler, text, files)


def _compile(
    sandbox: Sandbox, compiler: _Compiler, text: str, files: Mapping[str, str]
) -> Runnable | Report:
    job = Job(
        "command",
        argv=compiler.argv,
        env=dict(compiler.env),
        limits=replace(_LIMITS, memory=compiler.memory),
        put={
            **{name: body.encode() for name, body in files.items()},
            compiler.source: text.encode(errors="surrogateescape"),
        },
        collect=("main",),
    )
    ran = sandbox.run(job, folders=compiler.folders)
    binary = ran.files.get("main", b"")
    if ran.status == 0 and binary:
        return Runnable(binary, mode="binary")
    errors = [line for line in ran.stderr.decode(errors="replace").splitlines() if "error" in line]
    why = errors[0][:200] if errors else "the compiler took too long or too much"
    return Report("compile_error", 0, 0, why)


def run_joined(sandbox: Sandbox, suite: Program, text: str, language: str, terms: Terms) -> Report:
    """A program and its tests in one text, as MultiPL-E has them: a pass is worth little.

    The tests run beside what they test, so leaving early looks like passing.
    """
    done = secrets.token_hex(16)
    joined = _joined(_whole(text, suite.prompt), _telling(suite.code, language, done))
    program = compiled(sandbox, joined, language, {})
    if isinstance(program, Report):
        return program
    ran = sandbox.run(Job("binary", program.code, limits=terms.limits))
    if ran.status != 0 or ran.late:
        last = ran.stderr.decode(errors="replace").strip().rpartition("\n")[2][:200]
        return Report("wrong_answer", 0, 1, last or f"exit code {ran.status}", (0,))
    if done in joined and not ran.stdout.endswith(done.encode()):
        return Report("runtime_error", 0, 1, "it left before the tests were done", (0,))
    return Report("weak", 1, 1, "the tests ran in the program's own process")


def _whole(text: str, prompt: str | None) -> str:
    """A response may be the rest of a function that the prompt leaves open, or rely on what the
    prompt includes.
    """
    begun = re.findall(r"\b(\w+)\s*\([^{}]*\{\s*$", prompt or "")
    if not begun or re.search(rf"\b{begun[-1]}\s*\([^;{{}}]*\{{", text):
        above = re.findall(r"^(?:#include|using |use ).*$", prompt or "", re.M)
        return "\n".join([*(line for line in above if line not in text), text])
    return f"{prompt}{text}"


def _telling(tests: str, language: str, word: str) -> str:
    """Tests that print a word at the end of their last function, before it returns."""
    end = re.search(r"(?:return\b[^;{}]*;\s*)?\}\s*$", tests)
    if end is None or not re.search(r"\bmain\s*\(", tests):
        return tests
    rust = f'print!("{word}");'
    told = rust if language == "rust" else f'fputs("{word}", stdout);'
    include = "" if language == "rust" else "\n#include <stdio.h>\n"
    at = re.search(r"^[^\n]*\bmain\s*\(", tests, re.M)
    start = at.start() if at else 0
    return f"{tests[:start]}{include}{tests[start : end.start()]}{told}\n{tests[end.start() :]}"


def _joined(text: str, tests: str) -> str:
    """MultiPL-E's tests begin by closing the function that a completion leaves open."""
    tests = tests.lstrip()
    if tests.startswith("}") and text.count("{") <= text.count("}"):
        tests = tests[1:]
    return f"{text}\n{tests}"
