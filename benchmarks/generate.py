"""What generation costs beyond the engine, and what the completion ledger costs.

    python benchmarks/generate.py engine    tokens/s through us over vLLM's own LLM.generate
    python benchmarks/generate.py ledger    appends and look-ups a second, memory, a million filed
    python benchmarks/generate.py flow      100,000 problems x 4, from a teacher that costs nothing

engine: one vLLM engine in one process, the same prompts, seeds and settings, ours and LLM.generate
in turn, three rounds, the prefix cache emptied before each; CPU seconds of the process are the
figure, since other work on the machine stretches the wall clock. Ours is the whole stage: prompts
rendered, keys, ledger on disk with its syncs, progress, the table.
ledger: lines of 300 and of 3,000 characters, written as the ledger writes them; look-ups are of
keys drawn at random, each with its text read from disk and checked.
flow: shards of 512 problems; memory is the process's resident set.
"""

import gc
import hashlib
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from tracecraft.completions import Completions
from tracecraft.distill.engine import Completion, Engine, Sampling
from tracecraft.distill.generate import Generate, request
from tracecraft.distill.prompt import load_template
from tracecraft.distill.vllm import Vllm, _Batch, _drawn, _on_cpu
from tracecraft.schema import PROBLEM
from tracecraft.stage import Desk

ROOT = Path(__file__).parents[1]


def key(i: int) -> str:
    return hashlib.blake2b(b"%d" % i, digest_size=16).hexdigest()


def resident() -> float:
    """MB this process holds now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def problems(count: int) -> pl.DataFrame:
    rows = [json.loads(s) for s in (ROOT / "recipes/problems/words.jsonl").open()]
    rows = rows[:count]
    return pl.DataFrame(
        {
            "problem_id": [row["id"] for row in rows],
            "domain": ["math"] * len(rows),
            "source": [row["source"] for row in rows],
            "license": [row["license"] for row in rows],
            "statement": [row["statement"] for row in rows],
            "answer": [row["answer"] for row in rows],
        },
        schema=PROBLEM,
    )


class Lent(Vllm, use="lent"):
    """The vLLM engine over an engine that is already running."""

    @contextmanager
    def open(self) -> Iterator[_Batch]:
        yield _Batch(RUNNING["llm"].llm_engine, self.tokenizer(), self.max_num_seqs)


RUNNING: dict[str, object] = {}


def engine(count: int = 24, samples: int = 2, rounds: int = 3) -> None:
    os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    on_cpu = _on_cpu()
    from vllm import LLM

    teacher = Lent(model="embedded", max_num_seqs=64)
    llm = RUNNING["llm"] = LLM(
        teacher.place(), max_num_seqs=64, disable_log_stats=True, use_tqdm_on_load=False, **on_cpu
    )
    sampling = Sampling(max_tokens=96, stop=("\n\nProblem:",), seed=17)
    stage = Generate(
        engine=teacher,
        sampling=sampling,
        samples=samples,
        prompt=ROOT / "recipes/prompts/local.txt",
    )
    rows = problems(count)
    template = load_template(stage.prompt)
    texts = [template.replace("{statement}", s) for s in rows["statement"]]
    prompts = [teacher.render([{"role": "user", "content": t}], stage.opening) for t in texts]
    asked = [request(p, i, "", sampling) for p in prompts for i in range(samples)]
    tokens = 0

    def direct() -> None:
        nonlocal tokens
        ids = [teacher.tokenizer()(r.prompt, add_special_tokens=False)["input_ids"] for r in asked]
        said = llm.generate(
            [{"prompt_token_ids": i} for i in ids],
            [_drawn(r.sampling) for r in asked],
            use_tqdm=False,
        )
        tokens = sum(len(s.outputs[0].token_ids) + len(s.prompt_token_ids) for s in said)

    def ours() -> None:
        nonlocal tokens
        with tempfile.TemporaryDirectory() as folder, Completions(Path(folder)) as ledger:
            told: list[int] = []
            desk = Desk(completions=ledger, report=lambda p: told.append(p.done))
            with stage.open(desk) as ask:
                traces = ask(rows.lazy()).collect()
        tokens = int(traces["prompt_tokens"].sum() + traces["completion_tokens"].sum())

    direct()  # warm
    spent: dict[str, list[tuple[float, float, int]]] = {"LLM.generate": [], "tracecraft": []}
    for _ in range(rounds):
        for name, work in (("LLM.generate", direct), ("tracecraft", ours)):
            llm.reset_prefix_cache()
            wall, cpu = timed(work)
            spent[name].append((wall, cpu, tokens))
    print(f"{count} problems x {samples}, prompt and output tokens per second")
    print(f"{'':14}{'tokens':>8}{'wall s':>9}{'CPU s':>9}{'tok/s':>8}{'tok/CPU s':>11}")
    rate = {}
    for name, runs in spent.items():
        wall, cpu, count = (sum(column) for column in zip(*runs, strict=True))
        rate[name] = count / cpu
        print(f"{name:14}{count:8}{wall:9.1f}{cpu:9.1f}{count / wall:8.0f}{count / cpu:11.1f}")
    print(f"ratio of tokens per CPU second: {rate['tracecraft'] / rate['LLM.generate']:.3f}")


def ledger(count: int = 1_000_000, looked: int = 50_000) -> None:
    print(f"{'':34}{'seconds':>9}{'per second':>12}{'MB held':>9}")
    for size in (300, 3_000):
        with tempfile.TemporaryDirectory() as folder:
            _ledger(Path(folder), count if size < 1_000 else count // 5, looked, size)


def _ledger(folder: Path, count: int, looked: int, size: int) -> None:
    def row(what: str, spent: tuple[float, float], done: int, held: float) -> None:
        print(f"{what:34}{spent[1]:9.2f}{done / spent[1]:12,.0f}{held:9.0f}")

    print(f"{count:,} completions of {size:,} characters (CPU seconds)")
    text, made = "x" * size, 20_000
    with Completions(folder) as filed:

        def append() -> None:
            for i in range(made):
                filed.put(key(i), Completion(text, "stop", 10, 20), "teacher@1")

        row("append, each a write", timed(append), made, 0)
    with (folder / "20200101T000000.000000-other-1.jsonl").open("w") as file:
        for i in range(made, count):
            file.write(
                f'{{"key":"{key(i)}","text":"{text}","finish":"stop","prompt_tokens":10,'
                f'"completion_tokens":20,"teacher":"teacher@1","time":1577836800.0}}\n'
            )
    opened: list[Completions] = []
    for what in ("open, no index: texts are read", "open, from the index"):
        opened.clear()
        gc.collect()
        before = resident()
        spent = timed(lambda: opened.append(Completions(folder)))
        row(what, spent, count, resident() - before)
    (filed,) = opened
    keys = [key(random.Random(i).randrange(count)) for i in range(looked)]
    assert len(filed) == count
    row("is it filed?", timed(lambda: [k in filed for k in keys]), looked, 0)
    row("get, one by one", timed(lambda: [filed.get(k).text for k in keys]), looked, 0)
    row("get_many, 2,048 at once", timed(lambda: _many(filed, keys)), looked, 0)
    filed.close()


def _many(filed: Completions, keys: list[str]) -> None:
    for start in range(0, len(keys), 2_048):
        assert all(filed.get_many(keys[start : start + 2_048]))


class Canned(Engine, use="canned"):
    """A teacher that says the same of everything, at no cost."""

    @property
    def teacher(self) -> str:
        return "canned"

    def stream(self, requests):
        said = Completion("so it is " * 50 + "</think>\n\n\\boxed{1}", "stop", 100, 150)
        for asked in requests:
            yield asked, said


def flow(count: int = 100_000, samples: int = 4) -> None:
    stage = Generate(engine=Canned(), samples=samples)
    print(f"{count:,} problems x {samples}, first and second run")
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):
            with Completions(Path(folder)) as ledger:
                wall, cpu, held = time.perf_counter(), time.process_time(), []
                with stage.open(Desk(completions=ledger)) as ask:
                    for start in range(0, count, stage.shard_rows):
                        ask(_made(start, min(count, start + stage.shard_rows))).collect()
                        held.append(resident())
                wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
                tenth = held[len(held) // 10]
                print(
                    f"{wall:7.0f} s wall {cpu:7.0f} s CPU {count * samples / cpu:10,.0f} a CPU"
                    f" second; {tenth:.0f} MB at a tenth, {held[-1]:.0f} MB at the end"
                )


def _made(start: int, end: int) -> pl.LazyFrame:
    rows = {name: [f"{name} {i}" for i in range(start, end)] for name in PROBLEM.names()}
    return pl.LazyFrame({**rows, "domain": ["math"] * (end - start)}, schema=PROBLEM)


if __name__ == "__main__":
    parts = {"engine": engine, "ledger": ledger, "flow": flow}
    for name in sys.argv[1:] or parts:
        parts[name]()
