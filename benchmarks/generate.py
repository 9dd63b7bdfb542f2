"""What generation costs beyond the engine, and what the completion ledger costs.

    python benchmarks/generate.py engine    tokens/s through us over vLLM's own LLM.generate
    python benchmarks/generate.py remote    what asking servers costs the one who asks
    python benchmarks/generate.py ledger    appends and look-ups a second, memory, a million filed
    python benchmarks/generate.py flow      100,000 problems x 4, from a recording

engine: vLLM's LLM in this process, and ours in a process of its own, as it always runs; the same
prompts, seeds and settings, in turn, three rounds, after a round each that fills both prefix caches
alike; CPU seconds of the process and of all it started are the figure, since other work on the
machine stretches the wall clock. Ours is the whole stage: prompts rendered, keys, the way to the
engine's process and back, ledger on disk with its syncs, progress, the table.
remote: a server in a process of its own answers each of 2,000 requests with 100 events of one word,
256 at once, at no cost of its own to us; the same over events of 16 words, as `serve` asks for.
ledger: lines of 300 and of 3,000 characters, written as the ledger writes them; look-ups are of
keys drawn at random, each with its text read from disk and checked.
flow: shards of 512 problems from a recording of 400,000 answers; memory is the process's resident
set.
"""

import asyncio
import gc
import hashlib
import json
import multiprocessing
import os
import random
import re
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path

import polars as pl

from tracecraft.completions import Completions
from tracecraft.distill.engine import Completion, Engine, Sampling, Session
from tracecraft.distill.generate import Generate
from tracecraft.distill.prompt import load_template
from tracecraft.distill.replay import Replay
from tracecraft.distill.vllm import Vllm
from tracecraft.distill.worker import drawn, on_cpu_options
from tracecraft.engine import request
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
    """The vLLM engine over a session that is already open."""

    @contextmanager
    def open(self) -> Iterator[Session]:
        yield RUNNING["session"]


RUNNING: dict[str, Session] = {}


def family_seconds() -> float:
    """CPU seconds of this process and of all processes under it."""
    found, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
        found[int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    family, fresh = set(), {os.getpid()}
    while fresh:
        family |= fresh
        fresh = {pid for pid, parent in parents.items() if parent in fresh}
    return sum(found[pid] for pid in family) / os.sysconf("SC_CLK_TCK")


def engine(count: int = 12, samples: int = 2, rounds: int = 3) -> None:
    os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    settings = on_cpu_options()
    from vllm import LLM

    teacher = Lent(model="embedded", max_num_seqs=64)
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
    llm = LLM(
        teacher.place(), max_num_seqs=64, disable_log_stats=True, use_tqdm_on_load=False, **settings
    )

    def direct() -> int:
        ids = [teacher.tokenizer()(r.prompt, add_special_tokens=False)["input_ids"] for r in asked]
        said = llm.generate(
            [{"prompt_token_ids": i} for i in ids],
            [drawn(r.sampling) for r in asked],
            use_tqdm=False,
        )
        return sum(len(s.outputs[0].token_ids) + len(s.prompt_token_ids) for s in said)

    def ours() -> int:
        with tempfile.TemporaryDirectory() as folder, Completions(Path(folder)) as ledger:
            told: list[int] = []
            desk = Desk(completions=ledger, report=lambda p: told.append(p.done))
            with stage.open(desk) as ask:
                traces = ask(rows.lazy()).collect()
        return int(traces["prompt_tokens"].sum() + traces["completion_tokens"].sum())

    spent: dict[str, list[tuple[float, float, int]]] = {"LLM.generate": [], "tracecraft": []}
    with Vllm(model="embedded", max_num_seqs=64).open() as RUNNING["session"]:
        direct(), ours()  # warm
        for _ in range(rounds):
            for name, work in (("LLM.generate", direct), ("tracecraft", ours)):
                wall, cpu = time.perf_counter(), family_seconds()
                tokens = work()
                wall, cpu = time.perf_counter() - wall, family_seconds() - cpu
                spent[name].append((wall, cpu, tokens))
    print(f"{count} problems x {samples}, prompt and output tokens per second")
    print(f"{'':14}{'tokens':>8}{'wall s':>9}{'CPU s':>9}{'tok/s':>8}{'tok/CPU s':>11}")
    rate = {}
    for name, runs in spent.items():
        wall, cpu, count = (sum(column) for column in zip(*runs, strict=True))
        rate[name] = count / cpu
        print(f"{name:14}{count:8}{wall:9.1f}{cpu:9.1f}{count / wall:8.0f}{count / cpu:11.1f}")
    print(f"ratio of tokens per CPU second: {rate['tracecraft'] / rate['LLM.generate']:.3f}")


def remote(count: int = 2_000) -> None:
    print(f"{count:,} answers of 100 events; CPU seconds of the one who asks")
    print(f"{'words an event':16}{'wall s':>8}{'CPU s':>8}{'answers/s':>11}{'words per CPU s':>17}")
    for words in (1, 16):
        here, there = multiprocessing.get_context("spawn").Pipe()
        server = multiprocessing.get_context("spawn").Process(
            target=talk, args=(there, 100, words), daemon=True
        )
        server.start()
        options = {"base_urls": here.recv(), "model": "talk"}
        teacher = Engine.bind({"use": "remote", **options})
        prompts = [teacher.render([{"role": "user", "content": f"p{i}"}]) for i in range(count)]
        asked = [request(prompt, 0, "talk", Sampling()) for prompt in prompts]
        with teacher.open() as session:
            wall, cpu = timed(lambda s=session, a=asked: [None for _ in s.stream(iter(a))])
        server.kill()
        made = count * 100 * words
        print(f"{words:14}{wall:10.1f}{cpu:8.1f}{count / wall:11.0f}{made / cpu:17,.0f}")


def talk(to: Connection, events: int, words: int) -> None:
    """A server whose every answer is the same."""
    said = {"choices": [{"index": 0, "delta": {"content": "word " * words}}]}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    event = b"data: " + json.dumps(said).encode() + b"\n\n"
    end = b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n"

    def chunk(data: bytes) -> bytes:
        return f"{len(data):x}\r\n".encode() + data + b"\r\n"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await converse(reader, writer)
        writer.close()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            if length is None:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                continue
            await reader.readexactly(int(length[1]))
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
            writer.write(b"transfer-encoding: chunked\r\n\r\n")
            for _ in range(events):
                writer.write(chunk(event))
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(chunk(end) + b"0\r\n\r\n")

    async def serve() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        to.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        await server.serve_forever()

    asyncio.run(serve())


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


def flow(count: int = 100_000, samples: int = 4) -> None:
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "said.jsonl"
        said = {"text": "so it is " * 50 + "</think>\n\n\\boxed{1}", "completion_tokens": 150}
        with recording.open("w") as file:
            for i in range(count):
                row = {"statement": f"statement {i}.", "answers": [said] * samples}
                file.write(json.dumps(row) + "\n")
        stage = Generate(engine=Replay(path=recording), samples=samples)
        _flow(stage, count, samples, Path(folder) / "completions")


def _flow(stage: Generate, count: int, samples: int, folder: Path) -> None:
    print(f"{count:,} problems x {samples}, first and second run")
    for _ in range(2):
        with Completions(folder) as ledger:
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
    rows = {name: [f"{name} {i}." for i in range(start, end)] for name in PROBLEM.names()}
    return pl.LazyFrame({**rows, "domain": ["math"] * (end - start)}, schema=PROBLEM)


if __name__ == "__main__":
    parts = {"engine": engine, "remote": remote, "ledger": ledger, "flow": flow}
    for name in sys.argv[1:] or parts:
        parts[name]()
