"""How many solutions a core judges: this sandbox beside bubblewrap and a bare interpreter.

Each solution is run on fifteen short standard-input tests and its outputs are compared. What is
counted is CPU time, of this process and of all it started (`getrusage`, self and children), so a
busy machine does not change the ratios; start-up and end of the workers are in it. bubblewrap gets
the line a hardened harness would use, without a system call filter: what it lacks makes it faster.
`the program alone` is what it takes in an interpreter that runs already, compiled anew for each
test: no way of running it in a process of its own can be faster than that.

    python benchmarks/sandbox.py [SOLUTIONS]
"""

import io
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tracecraft.verify.code_compare import compare_text
from tracecraft.verify.sandbox import Job, Sandbox, describe, interpreter

TESTS = 15
MODULES = """string re datetime collections heapq bisect copy math random statistics itertools
functools operator io sys json builtins typing"""
PREAMBLE = "".join(f"from {name} import *\n" for name in MODULES.split())
SUM = "n = int(input())\nprint(sum(map(int, input().split())))\n"
TABLE = """n = int(input())
best = [0] * (n + 1)
for i in range(1, n + 1):
    best[i] = min(best[i - j] + j * j for j in range(1, min(i, 30) + 1))
print(best[n])
"""


def expected_of_table(n: int) -> str:
    best = [0] * (n + 1)
    for i in range(1, n + 1):
        best[i] = min(best[i - j] + j * j for j in range(1, min(i, 30) + 1))
    return f"{best[n]}\n"


SUMS = [(f"{n}\n{' '.join(map(str, range(n)))}\n", f"{n * (n - 1) // 2}\n") for n in range(5, 20)]
TABLES = [(f"{n}\n", expected_of_table(n)) for n in range(986, 1001)]
PROGRAMS = {
    "sum of integers": (SUM, SUMS),
    "table, n = 1000": (TABLE, TABLES),
    "sum, with the import preamble": (PREAMBLE + SUM, SUMS),
}


def spent() -> float:
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def judge(sandbox: Sandbox, program: str, cases: list[tuple[str, str]]) -> None:
    runs = sandbox.stream(Job("script", program.encode()), [c[0].encode() for c in cases])
    for ran, (_, wanted) in zip(runs, cases, strict=True):
        assert compare_text(ran.stdout.decode(), wanted).same, ran


def in_ours(program: str, cases: list[tuple[str, str]], solutions: int) -> None:
    with Sandbox(1) as sandbox:
        for _ in range(solutions):
            judge(sandbox, program, cases)


def alone(program: str, cases: list[tuple[str, str]], solutions: int) -> None:
    stdin, stdout = sys.stdin, sys.stdout
    try:
        for _ in range(solutions):
            for given, wanted in cases:
                sys.stdin, sys.stdout = io.StringIO(given), io.StringIO()
                exec(compile(program, "main.py", "exec"), {"__name__": "__main__"})
                assert compare_text(sys.stdout.getvalue(), wanted).same
    finally:
        sys.stdin, sys.stdout = stdin, stdout


def seconds_with(workers: int, solutions: int) -> float:
    """Wall time of a fleet, once all of it stands."""
    with Sandbox(workers) as sandbox, ThreadPoolExecutor(workers) as threads:
        for count in (workers, solutions):
            started = time.perf_counter()
            list(threads.map(lambda _: judge(sandbox, SUM, SUMS), range(count)))
        return time.perf_counter() - started


def in_processes(prefix: list[str]) -> Callable[[str, list[tuple[str, str]], int], None]:
    def run(program: str, cases: list[tuple[str, str]], solutions: int) -> None:
        for _ in range(solutions):
            for given, wanted in cases:
                ran = subprocess.run(
                    [*prefix, str(interpreter()), "-I", "-S", "-c", program],
                    input=given, capture_output=True, text=True, check=True, env={},
                )  # fmt: skip
                assert compare_text(ran.stdout, wanted).same, ran

    return run


def bubblewrap() -> list[str]:
    line = [
        "bwrap", "--unshare-user", "--disable-userns", "--unshare-all", "--as-pid-1",
        "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
        "--ro-bind", "/usr", "/usr", "--dev", "/dev", "--size", str(32 << 20), "--tmpfs", "/tmp",
    ]  # fmt: skip
    for name in ("lib", "lib64", "bin", "sbin"):
        path = Path("/", name)
        if path.is_symlink():
            line += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            line += ["--ro-bind", str(path), str(path)]
    if not sys.base_prefix.startswith("/usr"):
        line += ["--ro-bind", sys.base_prefix, sys.base_prefix]
    return [*line, "--", "prlimit", f"--as={1 << 30}", "--cpu=10", "--nproc=64", "--nofile=64"]


def main() -> None:
    solutions = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    print(describe(), f"\nload {os.getloadavg()[0]:.1f}, {len(os.sched_getaffinity(0))} cores\n")
    ways: dict[str, Callable[[str, list[tuple[str, str]], int], None]] = {"tracecraft": in_ours}
    if shutil.which("bwrap"):
        ways["bubblewrap"] = in_processes(bubblewrap())
    ways["bare python"] = in_processes([])
    ways["the program alone"] = alone
    print(f"{'program':32}{'way':18}{'CPU ms/test':>12}{'solutions/s':>13}{'times':>8}")
    for name, (program, cases) in PROGRAMS.items():
        seconds = {}
        for way, run in ways.items():
            count = solutions if way == "tracecraft" else max(2, solutions // 5)
            before = spent()
            run(program, cases, count)
            seconds[way] = (spent() - before) / count
        for way, each in seconds.items():
            times = each / seconds["tracecraft"]
            print(f"{name:32}{way:18}{each / TESTS * 1e3:12.2f}{1 / each:13.1f}{times:8.1f}")
    print(f"\n{'workers':32}{'wall s':>14}{'solutions/s':>12}")
    cores = len(os.sched_getaffinity(0))
    for workers in sorted({1, cores}):
        took = seconds_with(workers, solutions * workers)
        print(f"{workers:<32}{took:14.2f}{solutions * workers / took:12.1f}")


if __name__ == "__main__":
    main()
