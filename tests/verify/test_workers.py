"""A verdict may hang, die or grow; the others still come."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from tracecraft.errors import StageError
from tracecraft.schema import Verdict
from tracecraft.verify import Verifier, Verify
from tracecraft.verify.workers import Pool


class Rowdy(Verifier, use="rowdy_for_tests"):
    """Does what the response says."""

    seconds = 1.5
    memory = 256 << 20

    def judge(self, problem, response):
        match response:
            case "spin":
                while True:
                    pass
            case "sleep":
                time.sleep(600)
            case "grow":
                hoard = []
                while True:
                    hoard.append(bytearray(1 << 24))
            case "raise":
                raise ValueError("no such luck")
            case "exit":
                sys.exit(3)
            case "die":
                os._exit(0)
            case "segfault":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "print":
                os.write(1, b"noise on standard output\n")
                print("more")
            case "nonsense":
                return "correct"
            case "pid":
                return Verdict("correct", detail=str(os.getpid()))
        return Verdict("correct" if response == problem["answer"] else "incorrect")


def judged(responses: list[str], **options) -> pl.DataFrame:
    table = pl.LazyFrame({"answer": ["fine"] * len(responses), "response": responses})
    return Verify(verifier=Rowdy(), **options)(table).collect()


def test_every_kind_of_break_costs_one_row_its_verdict():
    responses = ["fine", "spin", "fine", "grow", "raise", "exit", "die", "segfault", "print"]
    responses += ["nonsense", "wrong", "sleep", "fine"]
    table = judged(responses, workers=2)
    assert table["response"].to_list() == responses
    outcome = dict(zip(responses, table["outcome"], strict=True))
    detail = dict(zip(responses, table["detail"], strict=True))
    assert outcome.pop("fine") == "correct"
    assert outcome.pop("wrong") == outcome.pop("print") == "incorrect"
    assert set(outcome.values()) == {"failed"}
    assert "CPU time" in detail["spin"]
    assert "within 6 s" in detail["sleep"]
    assert detail["grow"] == "out of memory"
    assert detail["raise"] == "ValueError: no such luck"
    assert "exit code 3" in detail["exit"] or "SystemExit" in detail["exit"]
    assert "exit code 0" in detail["die"]
    assert "SIGSEGV" in detail["segfault"]
    assert "no Verdict" in detail["nonsense"]


def children() -> set[int]:
    mine = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            mine.add(int(stat.parent.name))
    return mine


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_nothing_is_left_of_a_pool_that_was_closed():
    before = children()
    judged(["spin", "fine", "fine", "sleep", "fine", "fine"], workers=2)
    assert children() <= before


def test_a_stage_works_in_a_thread_and_several_share_a_pool():
    found: list[list[str]] = []
    pool = Pool(Rowdy(), 1, seconds=1.0, memory=1 << 28)

    def run() -> None:
        tasks = [("judge", ({"answer": str(n)}, str(n))) for n in range(40)]
        found.append([v.outcome for v in pool.ask(tasks)])

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    assert found == [["correct"] * 40] * 3


def in_child(queue) -> None:
    queue.put(judged(["fine", "raise"])["outcome"].to_list())


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_a_stage_works_in_a_daemonic_child_of_each_start_method(method):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=in_child, args=(queue,), daemon=True)
    process.start()
    assert queue.get(timeout=60) == ["correct", "failed"]
    process.join()


def script(tmp_path: Path, text: str, **more) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(text))
    return subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **more,
    )


MINE = """
import os, sys, time
import polars as pl
from tracecraft.schema import Verdict
from tracecraft.verify import Verifier, Verify

AMONG = {"five": "5"}

def known(word):
    return AMONG.get(word, word)

class Exact(Verifier, use="exact"):
    '''The response, stripped, is the answer.'''

    ignore_case: bool = False
    '''Compare case-insensitively.'''

    def judge(self, problem, response):
        norm = str.casefold if self.ignore_case else str
        same = norm(known(response.strip())) == norm(problem["answer"])
        return Verdict("correct" if same else "incorrect", extracted=response.strip())

table = pl.LazyFrame({"answer": ["5", "a", "5"], "response": [" five ", "A", "6"]})
"""


def test_a_verifier_written_in_a_script_without_a_main_guard_works_in_workers(tmp_path):
    done = script(
        tmp_path,
        MINE
        + "out = Verify(verifier=Exact(ignore_case=True))(table).collect()\n"
        + 'print(out["outcome"].to_list(), out["verifier"][0])\n',
    )
    assert done.stdout == "['correct', 'correct', 'incorrect'] exact@1\n", done.stderr
    assert done.stderr == ""


def test_a_bench_works_after_a_fork_that_inherits_its_pool(tmp_path):
    done = script(
        tmp_path,
        MINE
        + """
from tracecraft.verify.bench import Bench
rows = [{"answer": "5", "response": r} for r in ("five", "6", "5")]
with Bench(workers=1) as bench:
    def outcomes():
        return [v.outcome for v in bench.verdicts([Exact()] * 3, rows)]
    first = outcomes()
    if os.fork() == 0:
        os._exit(0 if outcomes() == first else 1)
    _, status = os.wait()
    print(first == outcomes(), first, status)
""",
    )
    assert done.stdout == "True ['correct', 'incorrect', 'correct'] 0\n", done.stderr


def test_a_verifier_from_a_loose_file_is_loaded_in_workers_by_its_path(tmp_path):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/my_exact.py").write_text(MINE.rpartition("table =")[0])
    done = script(
        tmp_path,
        """
        import importlib.util, sys, polars as pl
        spec = importlib.util.spec_from_file_location("loaded_my_exact", "plugins/my_exact.py")
        sys.modules[spec.name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        from tracecraft.verify import Verify
        table = pl.LazyFrame({"answer": ["5", "7"], "response": ["five", "8"]})
        verify = Verify.model_validate({"verifier": {"use": "exact"}})
        print(verify(table).collect()["outcome"].to_list())
        """,
        cwd=tmp_path,
    )
    assert done.stdout == "['correct', 'incorrect']\n", done.stderr


def test_a_verifier_that_cannot_be_loaded_in_a_worker_stops_the_stage_with_the_reason(tmp_path):
    done = script(
        tmp_path,
        MINE
        + """
class Broken(Exact, use="broken"):
    def warm(self):
        import no_such_module
from tracecraft.errors import StageError
try:
    Verify(verifier=Broken())(table)
except StageError as error:
    print(error)
""",
    )
    assert "'broken' cannot be loaded in a worker: ModuleNotFoundError" in done.stdout, done.stderr


def test_an_interrupt_ends_the_workers_and_reaches_the_caller(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        MINE
        + """
class Slow(Verifier, use="slow"):
    seconds = 60.0
    def judge(self, problem, response):
        time.sleep(60)
print("begun", flush=True)
try:
    Verify(verifier=Slow())(table)
except KeyboardInterrupt:
    children = open(f"/proc/self/task/{os.getpid()}/children").read().split()
    print("interrupted", children)
"""
    )
    process = subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert out == "interrupted []\n", err
    assert err == ""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        MINE
        + """
class Slow(Verifier, use="slow"):
    seconds = 60.0
    def judge(self, problem, response):
        open(response, "w").write(str(os.getpid()))
        time.sleep(60)
Verify(verifier=Slow())(table.with_columns(response=pl.lit(sys.argv[1])))
"""
    )
    note = tmp_path / "pid"
    process = subprocess.Popen([sys.executable, str(path), str(note)])
    for _ in range(300):
        if note.exists() and note.read_text():
            break
        time.sleep(0.1)
    process.kill()
    process.wait()
    worker = Path("/proc") / note.read_text()
    for _ in range(100):
        if not worker.exists():
            break
        time.sleep(0.1)
    assert not worker.exists()


def test_a_class_that_never_starts_is_an_error_and_not_a_verdict():
    class Local(Verifier, use="local_for_tests"):
        def judge(self, problem, response):
            return Verdict("correct")

        def warm(self):
            os._exit(7)

    with pytest.raises(StageError, match="ended with code 7 as it started"):
        Verify(verifier=Local())(pl.LazyFrame({"answer": ["a"], "response": ["a"]}))
