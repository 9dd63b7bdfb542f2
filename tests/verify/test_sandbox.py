"""What a run may take, where it may be called from, and what is left when all is over."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tracecraft.verify.sandbox import Job, Limits, Sandbox, SandboxUnavailable, describe, rung
from tracecraft.verify.syscalls import AUDIT_ARCH, CHECKED, COMPUTE, PATHS

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or rung() is None, reason=f"no sandbox here: {describe()}"
)
SRC = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")
def box() -> Iterator[Sandbox]:
    with Sandbox(2) as made:
        yield made


def script(text: str, stdin: str = "", **limits: int) -> Job:
    return Job("script", text.encode(), stdin.encode(), limits=replace(Limits(), **limits))


def test_a_program_reads_and_prints(box: Sandbox) -> None:
    ran = box.run(script("print(input()[::-1])", "später\n"))
    assert (ran.status, ran.stdout.decode()) == (0, "retäps\n")


@pytest.mark.parametrize(
    "program",
    [
        "import sys\nprint(sys.stdin.buffer.readline().decode(), sys.stdin.buffer.readline())",
        "import os\nprint(os.read(0, 100))",
        "print(open(0).read())",
        "print(open('/dev/stdin').read())",
        "global x\nx = 1\ndef f():\n    global x\n    x += 1\nf()\nprint(x)",
        "import threading\nthreading.Thread(target=lambda: print('late')).start()",
        "import atexit\natexit.register(print, 'last')",
        "import asyncio\nasync def f(): print('then')\nasyncio.run(f())",
        "import sys, threading\nsys.setrecursionlimit(1 << 20)\nthreading.stack_size(1 << 26)\n"
        "def f(n): return n and f(n - 1)\n"
        "t = threading.Thread(target=lambda: print(f(50000)))\nt.start()\nt.join()",
        "import hashlib, secrets, tempfile, subprocess, zoneinfo, sqlite3\nprint('imported')",
        "if __name__ == '__main__':\n    import pickle\n    class A: pass\n"
        "    print(type(pickle.loads(pickle.dumps(A()))) is A)",
        "open('out.txt', 'w').write('kept')\nprint(open('/tmp/out.txt').read())",
    ],
)
def test_honest_programs_that_graders_inside_one_process_reject_run(
    box: Sandbox, program: str
) -> None:
    if ("/tmp/" in program or "/dev/" in program) and box.rung != "namespaces":
        pytest.skip("this rung lets programs write no files")
    ran = box.run(script(program, "one\ntwo\n"))
    assert ran.status == 0, ran.stderr.decode()
    assert ran.stdout


PLAIN = dict(
    part.split("\n", 1)
    for part in (Path(__file__).with_name("plain_programs.txt")).read_text().split("\n=== ")[1:]
)


@pytest.mark.parametrize("name", PLAIN)
def test_a_program_fares_as_under_a_plain_interpreter(
    box: Sandbox, tmp_path: Path, name: str
) -> None:
    given = "one\ntwo\n"
    (tmp_path / "main.py").write_text(PLAIN[name])
    (tmp_path / "input").write_text(given)
    with (tmp_path / "input").open() as stdin:
        plain = subprocess.run(
            [str(box.python), "main.py"], stdin=stdin, capture_output=True, text=True,
            cwd=tmp_path, timeout=60, check=False, env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        )  # fmt: skip
    ran = box.run(script(PLAIN[name], given))
    assert (ran.status, ran.stdout.decode()) == (plain.returncode, plain.stdout), ran.stderr
    last = [text.strip().rpartition("\n")[2] for text in (ran.stderr.decode(), plain.stderr)]
    assert last[0] == last[1]
    assert bool(plain.stdout or plain.stderr or plain.returncode)


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("raise SystemExit", 0),
        ("raise SystemExit(3)", 3),
        ("import sys\nsys.exit('no')", 1),
        ("import os\nos._exit(5)", 5),
        ("import os\nos._exit(70)", 70),
        ("import os\nos._exit(71)", 71),
        ("1 / 0", 1),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", -11),
        ("import os\nos.abort()", -6),
        ("def (", 1),
    ],
)
def test_the_end_of_a_program_is_seen_as_a_shell_would(
    box: Sandbox, program: str, status: int
) -> None:
    assert box.run(script(program)).status == status


def test_nothing_of_a_run_is_there_in_the_next(box: Sandbox) -> None:
    with Sandbox(1, rung=box.rung) as one:
        if one.rung != "namespaces":
            pytest.skip("this rung lets programs write no files")
        one.run(script("import os\nopen('a', 'w').write('x')\nos.mkdir('b')\nos.chmod('.', 0o777)"))
        assert one.run(script("import os\nprint(os.listdir('.'))")).stdout == b"[]\n"


def test_files_are_brought_and_fetched(box: Sandbox) -> None:
    if box.rung == "landlock":
        pytest.skip("this rung gives programs no folder")
    job = Job("script", b"open('b.txt', 'w').write(open('a.txt').read() * 2)",
              put={"a.txt": b"ab"}, collect=("b.txt", "never.txt"))  # fmt: skip
    files = box.run(job).files
    assert files["b.txt"] == b"abab"
    assert not files["never.txt"]


@pytest.mark.parametrize("target", ["/etc/hostname", "/dev/zero", "/w/made"])
def test_a_link_in_the_place_of_a_result_is_not_followed(box: Sandbox, target: str) -> None:
    if box.rung != "namespaces":
        pytest.skip("this rung lets programs make no links")
    program = f"import os\nopen('made', 'w').write('secret')\nos.symlink({target!r}, 'b.txt')"
    job = Job("script", program.encode(), collect=("b.txt",))
    assert box.run(job).files["b.txt"] == b""


def test_verdicts_can_be_had_again(box: Sandbox) -> None:
    program = "import random\nprint(random.random(), hash('x'), {*'abcdef'})"
    assert box.run(script(program)).stdout == box.run(script(program)).stdout


def test_many_threads_share_the_workers(box: Sandbox) -> None:
    def one(n: int) -> bytes:
        return box.run(script(f"print({n})")).stdout

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(one, range(40))) == [f"{n}\n".encode() for n in range(40)]


def test_a_worker_that_dies_is_replaced(box: Sandbox) -> None:
    with Sandbox(1, rung=box.rung) as one:
        one.run(script("print(1)"))
        for worker in one._all[0].workers.values():
            os.kill(worker._process.pid, signal.SIGKILL)
        assert one.run(script("print(2)")).stdout == b"2\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_it_works_in_a_forked_and_in_a_spawned_process(method: str, tmp_path: Path) -> None:
    program = (
        "import multiprocessing as m\n"
        "from tracecraft.verify.sandbox import shared, Job\n"
        "def one(q): q.put(shared().run(Job('script', b'print(7)')).stdout)\n"
        "if __name__ == '__main__':\n"
        "    assert shared().run(Job('script', b'print(6)')).stdout == b'6\\n'\n"
        f"    c = m.get_context({method!r}); q = c.Queue()\n"
        "    p = c.Process(target=one, args=(q,)); p.start()\n"
        "    assert q.get(timeout=60) == b'7\\n'; p.join()\n"
        "    assert shared().run(Job('script', b'print(8)')).stdout == b'8\\n'\n"
        "    print('done')\n"
    )
    path = tmp_path / "keeper.py"
    path.write_text(program)
    ran = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, timeout=120,
                         check=False, env={**os.environ, "PYTHONPATH": str(SRC)})  # fmt: skip
    assert ran.stdout == "done\n", ran.stderr


def _descendants(pid: int) -> set[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            parents[int(entry.name)] = int(stat.rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def test_later_runs_of_a_program_take_its_compiled_form_and_fare_alike(box: Sandbox) -> None:
    program = (
        "# coding: latin-1\nimport sys\n"
        "def f(n):\n    'words'\n    return 'x' * 5000, n, 10 ** 30, (1, 2.5, None)\n"
        "print(f(input()), f.__doc__, sys._getframe().f_code.co_filename, f.__code__.co_consts)\n"
        "print(open(__file__).read().count('def'))\n" + "y = [0]\n" * 3000
    )
    if box.rung != "namespaces":
        program = program.replace("open(__file__).read()", "'def'")
    runs = list(box.stream(Job("script", program.encode()), [b"a"] * 3))
    assert {(ran.status, ran.stdout) for ran in runs} == {(0, runs[0].stdout)}
    assert runs[0].stdout.count(b"\n") == 2
    broken = box.stream(Job("script", b"def ("), [b"", b""], go_on=True)
    assert [b"SyntaxError" in ran.stderr for ran in broken] == [True, True]


def test_descriptors_do_not_pile_up(box: Sandbox) -> None:
    def held() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    job = Job("script", b"print(input())")
    box.run(replace(job, stdin=b"x"))
    before = held()
    for _ in range(20):
        box.run(replace(job, stdin=b"x"))
        list(box.stream(job, [b"a", b"b" * 100_000, b"c"]))
        next(box.stream(job, [b"a", b"b", b"c"]))
    assert held() <= before + 8


def test_a_stream_ends_where_it_is_left_or_where_a_run_ends_badly(box: Sandbox) -> None:
    job = Job("script", b"x = int(input())\nprint(1 // x)")
    inputs = [b"1", b"0", b"2"]
    assert [ran.status for ran in box.stream(job, inputs)] == [0, 1]
    assert [ran.status for ran in box.stream(job, inputs, go_on=True)] == [0, 1, 0]
    left = box.stream(job, inputs)
    assert next(left).stdout == b"1\n"
    left.close()
    assert box.run(script("print(3)")).stdout == b"3\n"


def test_a_killed_keeper_leaves_nothing_behind() -> None:
    program = (
        "import threading, time\nfrom tracecraft.verify.sandbox import Sandbox, Job, Limits\n"
        "box = Sandbox(2)\nlong = Limits(cpu=60, wall=100.0)\n"
        "def one(): box.run(Job('script', b'import time; time.sleep(90)', limits=long))\n"
        "for _ in range(2): threading.Thread(target=one, daemon=True).start()\n"
        "time.sleep(1.5)\nprint('running', flush=True)\ntime.sleep(90)\n"
    )
    keeper = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True,
                              env={**os.environ, "PYTHONPATH": str(SRC)})  # fmt: skip
    assert keeper.stdout is not None
    assert keeper.stdout.readline() == "running\n"
    family = _descendants(keeper.pid)
    assert len(family) >= 4
    keeper.kill()
    keeper.wait()
    keeper.stdout.close()
    until = time.monotonic() + 20
    while not all(map(_gone, family)) and time.monotonic() < until:
        time.sleep(0.05)
    assert [pid for pid in family if not _gone(pid)] == []


def test_without_a_rung_nothing_is_run(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match=r"(?s)namespaces: no.*landlock: no.*next"):
        Sandbox(1, python=tmp_path / "no-interpreter")


def test_the_rung_is_named_with_what_it_lacks() -> None:
    assert f"{rung()}: holds" in describe()


def test_system_call_numbers_are_those_of_the_kernel_headers() -> None:
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if AUDIT_ARCH != 0xC000003E or not header.exists():
        pytest.skip("the headers of this machine are not here")
    words = [line.split() for line in header.read_text().splitlines()]
    real = {w[1].removeprefix("__NR_"): int(w[2]) for w in words if len(w) == 3 and w[2].isdigit()}
    ours = {**COMPUTE, **PATHS, **CHECKED}
    assert {k: v for k, v in ours.items() if real.get(k, v) != v} == {}


def test_aarch64_numbers_are_those_of_the_generic_header() -> None:
    header = Path("/usr/include/asm-generic/unistd.h")
    if not header.exists():
        pytest.skip("the headers of this machine are not here")
    import re

    from tracecraft.verify import syscalls

    text = header.read_text()
    real = {m[1]: int(m[2]) for m in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", text)}
    real["newfstatat"] = real["fstatat"]
    ours = {}
    for table in ("_COMPUTE", "_PATHS", "_CHECKED", "_LAUNCH", "_SPAWN", "_SETUP"):
        for entry in getattr(syscalls, table).split():
            name, _, sides = entry.partition("=")
            ours[name] = sides.partition("/")[2]
    assert {k: v for k, v in ours.items() if v and real.get(k, int(v)) != int(v)} == {}
