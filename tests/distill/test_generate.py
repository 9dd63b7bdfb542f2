import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from tracecraft.completions import Completions
from tracecraft.distill.engine import Completion, Engine, Sampling, request
from tracecraft.distill.generate import Generate
from tracecraft.errors import RecipeError
from tracecraft.schema import PROBLEM, TRACE
from tracecraft.stage import Desk, Progress


class Echo(Engine, use="echo_by_prompt"):
    """A teacher that repeats the problem; it proves the plumbing."""

    prefix: str = ""
    """Said before the problem."""

    @property
    def teacher(self):
        return "echo"

    @contextmanager
    def open(self):
        yield self

    def complete(self, prompts, sampling):
        return [Completion(f"<think>{p}</think>{self.prefix}{p}", "stop", 1, 1) for p in prompts]


class Counting(Engine, use="counting"):
    """A teacher that remembers, beside itself, all it was asked and how often it was opened."""

    name: str = "counting"
    fails: tuple[str, ...] = Field(default=(), strict=False)
    times: int = 10**6
    asked: ClassVar[Counter[tuple[str, int]]] = Counter()
    opened: ClassVar[list[str]] = []

    @property
    def teacher(self) -> str:
        return f"{self.name}@1"

    @contextmanager
    def open(self) -> Iterator["Counting"]:
        self.opened.append(self.name)
        yield self

    def complete(self, prompts, sampling):
        (prompt,) = prompts
        self.asked[prompt, sampling.seed] += 1
        failing = any(word in prompt for word in self.fails)
        if failing and self.asked[prompt, sampling.seed] <= self.times:
            return [Completion("", "failed", error="the line was cut")]
        return [Completion(f"{sampling.seed}</think>\\boxed{{{sampling.seed}}}", "stop", 5, 3)]


@pytest.fixture(autouse=True)
def _nothing_was_asked():
    Counting.asked.clear()
    Counting.opened.clear()


@pytest.fixture
def ledger(tmp_path):
    with Completions(tmp_path / "completions") as ledger:
        yield ledger


def problems(*statements: str | None) -> pl.LazyFrame:
    rows = {
        "problem_id": [f"p{s}" for s in statements],
        "domain": ["math"] * len(statements),
        "source": ["test"] * len(statements),
        "license": [None] * len(statements),
        "statement": list(statements),
        "answer": ["1"] * len(statements),
    }
    return pl.LazyFrame(rows, schema=PROBLEM)


def generate(**options) -> Generate:
    return Generate.bind({"engine": {"use": "counting"}, **options})


def run(stage: Generate, ledger: Completions, *shards: pl.LazyFrame) -> pl.DataFrame:
    with stage.open(Desk(completions=ledger)) as ask:
        return pl.concat([ask(shard).collect() for shard in shards])


def asked() -> int:
    return Counting.asked.total()


def test_the_smallest_engine_works_in_a_notebook():
    traces = Generate(engine=Echo(prefix="so "), samples=2)(problems("1+1", "2+2")).collect()
    assert traces["sample_index"].to_list() == [0, 1, 0, 1]
    assert traces["response"][0].startswith("so 1+1")
    assert traces["teacher"].unique().to_list() == ["echo"]


def test_traces_have_the_columns_they_promise(ledger):
    traces = run(generate(samples=3), ledger, problems("a", "b"))
    assert list(traces.schema.items())[: len(TRACE)] == list(TRACE.items())
    assert traces["problem_id"].to_list() == ["pa"] * 3 + ["pb"] * 3
    assert traces["trace_id"].n_unique() == 6
    assert traces["completion_tokens"].to_list() == [3] * 6


def test_no_problems_make_no_traces_and_no_engine(ledger):
    traces = run(generate(), ledger, problems())
    assert traces.height == 0
    assert traces.schema["finish"] == TRACE["finish"]
    assert Counting.opened == []


def test_the_engine_is_opened_once_for_all_shards(ledger):
    run(generate(), ledger, problems("a"), problems("b"), problems("c"))
    assert Counting.opened == ["counting"]


def test_what_is_on_file_starts_no_engine(ledger):
    first = run(generate(samples=2), ledger, problems("a", "b"))
    Counting.opened.clear()
    assert run(generate(samples=2), ledger, problems("a", "b")).equals(first)
    assert Counting.opened == []
    assert asked() == 4


def test_the_same_completions_make_the_same_bytes(ledger, tmp_path):
    for name in ("one", "two"):
        run(generate(samples=2), ledger, problems("a", "b")).write_ipc(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_more_samples_ask_for_the_new_ones_alone(ledger):
    few = run(generate(samples=2), ledger, problems("a", "b"))
    more = run(generate(samples=5), ledger, problems("a", "b"))
    assert asked() == 10
    assert max(Counting.asked.values()) == 1
    assert more.filter(pl.col("sample_index") < 2).equals(few)


def test_new_and_reordered_problems_ask_for_the_new_ones_alone(ledger):
    first = run(generate(samples=2), ledger, problems("a", "b"))
    second = run(generate(samples=2), ledger, problems("c", "b"), problems("a"))
    assert asked() == 6
    both = second.filter(pl.col("problem_id") != "pc").sort("problem_id", "sample_index")
    assert both.equals(first.sort("problem_id", "sample_index"))


@pytest.mark.parametrize(
    "change",
    [
        {"engine": {"use": "counting", "name": "other"}},
        {"sampling": {"temperature": 0.7}},
        {"sampling": {"max_tokens": 17}},
        {"sampling": {"stop": ["END"]}},
        {"sampling": {"seed": 4}},
        {"opening": ""},
        {"prompt": "other.txt"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_changes_an_answer_asks_anew(ledger, tmp_path, change):
    if "prompt" in change:
        change = {"prompt": tmp_path / change["prompt"]}
        change["prompt"].write_text("Now: {statement}\n")
    run(generate(), ledger, problems("a", "b"))
    run(generate(**change), ledger, problems("a", "b"))
    assert asked() == 4


def test_what_changes_no_answer_asks_nothing_anew(ledger):
    run(generate(), ledger, problems("a", "b"))
    run(generate(attempt=2, retries=5), ledger, problems("a", "b"))
    assert asked() == 2


def test_equal_statements_are_asked_once(ledger):
    traces = run(generate(samples=2), ledger, problems("a", "a"))
    assert asked() == 2
    assert traces.height == 4


def test_a_seed_hangs_on_prompt_and_index_alone():
    seeds = {
        request(f"p{p}", i, "t", Sampling()).sampling.seed for p in range(50) for i in range(4)
    }
    assert len(seeds) == 200
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert request("p", 1, "t", Sampling(seed=2)).sampling.seed not in seeds


def test_a_passing_failure_is_asked_again_at_once(ledger):
    engine = {"use": "counting", "fails": ["b\n"], "times": 2}
    traces = run(generate(engine=engine), ledger, problems("a", "b"))
    assert traces["finish"].to_list() == ["stop", "stop"]
    assert asked() == 4


def test_a_lasting_failure_is_a_row_and_stays_owed(ledger):
    engine = {"use": "counting", "fails": ["b\n"]}
    traces = run(generate(engine=engine), ledger, problems("a", "b"))
    assert traces["finish"].to_list() == ["stop", "failed"]
    assert traces["error"].to_list() == [None, "the line was cut"]
    assert traces["response"].to_list()[1] == ""
    assert asked() == 4
    again = run(generate(attempt=2), ledger, problems("a", "b"))
    assert again["finish"].to_list() == ["stop", "stop"]
    assert again["trace_id"].equals(traces["trace_id"])
    assert asked() == 5


def test_attempt_makes_another_stage_but_retries_do_not():
    assert generate().identity() != generate(attempt=2).identity()
    assert generate().identity() == generate(retries=7).identity()


def test_a_prompt_counts_by_its_text(tmp_path):
    for name, text in (
        ("one", "{statement}?"),
        ("two", "{statement}?\n"),
        ("three", "{statement}!"),
    ):
        (tmp_path / name).write_text(text)
    one, two, three = (generate(prompt=tmp_path / n).identity() for n in ("one", "two", "three"))
    assert one == two != three


def test_a_prompt_that_is_not_there_is_said_before_anything_runs(tmp_path):
    with pytest.raises(RecipeError, match=r"prompt: .*nowhere.txt: no such file"):
        generate(prompt=tmp_path / "nowhere.txt")


def test_progress_adds_up(ledger):
    told: list[Progress] = []
    run(generate(samples=2), ledger, problems("a"))
    with generate(samples=2).open(Desk(completions=ledger, report=told.append)) as ask:
        ask(problems("a", "b")).collect()
        ask(problems("c")).collect()
    last = told[-1]
    assert (last.done, last.total, last.unit) == (6, 6, "completions")
    assert last.facts["on_file"] == 2
    assert last.facts["answered"] == 4
    assert last.facts["in_flight"] == 0
    assert last.facts["output_tokens"] == 18
    assert last.facts["teacher"] == "counting@1"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=30), max_size=8), st.integers(1, 3))
def test_every_problem_gets_its_samples(statements, samples):
    traces = Generate(engine=Counting(), samples=samples)(problems(*statements)).collect()
    assert traces.height == samples * len(statements)
    assert traces["statement"].to_list() == [s for s in statements for _ in range(samples)]


KILLED = """
import sys
from pathlib import Path
import polars as pl
from tracecraft.completions import Completions
from tracecraft.distill.generate import Generate
from tracecraft.distill.replay import Replay
from tracecraft.schema import PROBLEM
from tracecraft.stage import Desk

folder = Path(sys.argv[1])
stage = Generate(engine=Replay(path=folder / "said.jsonl", seconds=float(sys.argv[2])), samples=2)
told = lambda progress: print(progress.facts["answered"], progress.facts["on_file"], flush=True)
with Completions(folder / "completions") as ledger:
    with stage.open(Desk(completions=ledger, report=told)) as ask:
        traces = ask(pl.read_ndjson(folder / "problems.jsonl", schema=PROBLEM).lazy()).collect()
traces.write_ipc(folder / "traces.arrow")
"""


def test_a_killed_generation_asks_again_only_what_was_in_flight(tmp_path):
    statements = [f"problem {i}" for i in range(100)]
    problems(*statements).collect().write_ndjson(tmp_path / "problems.jsonl")
    recording = pl.DataFrame(
        {
            "statement": statements,
            "answers": [[f"{s} a</think>1", f"{s} b</think>2"] for s in statements],
        }
    )
    recording.write_ndjson(tmp_path / "said.jsonl")
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    kills = 0
    for _ in range(3):
        with subprocess.Popen([*command, "0.01"], stdout=subprocess.PIPE, text=True) as process:
            while line := process.stdout.readline():
                if int(line.split()[0]) > 20:
                    os.kill(process.pid, signal.SIGKILL)
                    kills += 1
                    break
            process.stdout.read()
    lines = [p.read_bytes() for p in (tmp_path / "completions").glob("*.jsonl")]
    before = sum(data.count(b"\n") for data in lines)
    done = subprocess.run([*command, "0"], capture_output=True, text=True, check=True)
    answered, on_file = map(int, done.stdout.splitlines()[-1].split())
    assert kills == 3
    assert before >= 60
    assert (answered, on_file) == (200 - before, before)
    traces = pl.read_ipc(tmp_path / "traces.arrow")
    assert traces["reasoning"].to_list() == [f"{s} {x}" for s in statements for x in "ab"]


def test_two_processes_generate_into_one_ledger(tmp_path):
    statements = [f"problem {i}" for i in range(60)]
    problems(*statements).collect().write_ndjson(tmp_path / "problems.jsonl")
    pl.DataFrame(
        {"statement": statements, "answers": [["a</think>1", "b</think>2"]] * 60}
    ).write_ndjson(tmp_path / "said.jsonl")
    command = [sys.executable, "-c", KILLED, str(tmp_path), "0.002"]
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    with Completions(tmp_path / "completions") as ledger:
        assert len(ledger) == 120


def test_text_that_no_table_can_hold_is_mended(ledger):
    class Torn(Counting, use="torn"):
        def complete(self, prompts, sampling):
            return [Completion("half \ud800 a pair", "stop")]

    traces = run(Generate(engine=Torn(), opening=""), ledger, problems("a"))
    assert traces["response"].to_list() == ["half ? a pair"]
