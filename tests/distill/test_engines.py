"""Real engines on a real, tiny model: the same demands for each."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest
from processes import descendants, gone, guarded

from tracecraft.completions import Completions
from tracecraft.distill.engine import Engine, Request, Sampling
from tracecraft.errors import EngineError

pytest.importorskip("transformers")

SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_tokens=24)


def ask(engine: Engine, *prompts: str, seed: int = 0, **sampling: object) -> dict[str, object]:
    drawn = SAMPLING.model_copy(update=sampling)
    requests = [
        Request(f"{n}", prompt, drawn.model_copy(update={"seed": seed + n}))
        for n, prompt in enumerate(prompts)
    ]
    with engine.open() as session:
        return {request.key: said for request, said in session.stream(requests)}


@pytest.fixture(
    params=["transformers", pytest.param("vllm", marks=[pytest.mark.vllm, pytest.mark.slow])],
    scope="session",
)
def opened(request, pico):
    """An engine with its session, open for all tests of this file."""
    if request.param == "vllm":
        pytest.importorskip("vllm")
    engine = Engine.bind({"use": request.param, "model": str(pico), "dtype": "float32"})
    with engine.open() as session:
        yield session


def draw(session, *asked: tuple[str, int], **sampling: object) -> list[object]:
    drawn = SAMPLING.model_copy(update=sampling)
    requests = [
        Request(f"{n}", prompt, drawn.model_copy(update={"seed": seed}))
        for n, (prompt, seed) in enumerate(asked)
    ]
    said = {request.key: completion for request, completion in session.stream(iter(requests))}
    return [said[request.key] for request in requests]


def test_every_request_gets_one_completion(opened):
    said = draw(opened, *((f"problem {i}", i) for i in range(40)))
    assert len(said) == 40
    assert {c.finish for c in said} <= {"stop", "length"}
    assert all(c.prompt_tokens == len(f"problem {i}") for i, c in enumerate(said))
    assert all(c.completion_tokens <= 24 for c in said)
    assert all(c.completion_tokens == 24 for c in said if c.finish == "length")


def test_the_seed_decides_and_not_the_neighbours(opened):
    alone = draw(opened, ("one", 5))
    among = draw(opened, ("two", 1), ("one", 5), ("three", 2), ("one", 6))
    assert alone[0].text == among[1].text
    assert among[1].text != among[3].text


def test_greedy_needs_no_seed(opened):
    first, second = draw(opened, ("one", 1), ("one", 2), temperature=0.0)
    assert first.text == second.text


def test_thinking_tags_survive(opened):
    said = draw(opened, *(("x", seed) for seed in range(16)), temperature=2.0, max_tokens=40)
    assert any("<think>" in c.text or "</think>" in c.text for c in said)
    assert not any(c.text.endswith("<|im_end|>") for c in said)


def test_a_stop_text_ends_and_is_left_out(opened):
    said = draw(opened, *(("x", seed) for seed in range(20)), stop=("e", "t"), max_tokens=200)
    assert any(c.finish == "stop" for c in said)
    assert not any(set(c.text) & {"e", "t"} for c in said if c.finish == "stop")


def test_a_prompt_that_is_too_long_fails_alone(opened):
    long, short = draw(opened, ("x" * 300, 0), ("x", 0))
    assert long.finish == "failed"
    assert long.error == "the prompt of 300 tokens leaves no room in 256"
    assert short.finish in ("stop", "length")


def test_weights_that_are_torn_are_said(pico, tmp_path):
    torn = shutil.copytree(pico, tmp_path / "torn")
    (torn / "model.safetensors").write_bytes(b"\x08\x00\x00")
    with pytest.raises(EngineError, match=r"torn did not start(.|\n)*next"):
        ask(Engine.bind({"use": "transformers", "model": str(torn)}), "a")


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.parametrize("use", ["vllm", "local"])
def test_a_model_that_vllm_cant_run_is_said_and_not_tried_for_ever(odd, use, tmp_path, monkeypatch):
    pytest.importorskip("vllm")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    others, begun = guarded(os.getpid()), time.monotonic()
    with pytest.raises(EngineError) as caught:
        ask(Engine.bind({"use": use, "model": str(odd)}), *(f"problem {i}" for i in range(8)))
    told = str(caught.value)
    assert "died: Unsupported CPU attention configuration: head_dim=16" in told
    assert "none has ever answered" in told
    assert "  next   take `engine: {use: transformers}`" in told
    assert [log.is_file() for log in tmp_path.glob("tracecraft-*/vllm-0.log")] == [True]
    assert time.monotonic() - begun < 60
    assert not guarded(os.getpid()) - others
    said = ask(Engine.bind({"use": "transformers", "model": str(odd)}), "problem")
    assert said["0"].finish in ("stop", "length")


KILLED = """
import sys
from pathlib import Path
import polars as pl
from tracecraft.completions import Completions
from tracecraft.distill.generate import Generate
from tracecraft.schema import PROBLEM
from tracecraft.stage import Desk

folder, model = Path(sys.argv[1]), sys.argv[2]
rows = {name: [f"{name} {i}" for i in range(40)] for name in PROBLEM.names()}
rows["domain"] = ["math"] * 40
stage = Generate.bind(
    {
        "engine": {"use": "vllm", "model": model, "max_num_seqs": 4, "logs": str(folder)},
        "sampling": {"max_tokens": 100, "temperature": 1.0},
        "samples": 2,
    }
)
told = lambda progress: print(progress.facts["answered"], progress.facts["on_file"], flush=True)
with Completions(folder / "completions") as ledger:
    with stage.open(Desk(completions=ledger, report=told)) as ask:
        ask(pl.LazyFrame(rows, schema=PROBLEM)).collect().write_ipc(folder / "traces.arrow")
"""


@pytest.mark.vllm
@pytest.mark.slow
def test_a_killed_vllm_loses_only_what_was_in_flight(pico, tmp_path):
    pytest.importorskip("vllm")
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(pico)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        while line := process.stdout.readline():
            if int(line.split()[0]) >= 10:
                os.kill(process.pid, signal.SIGKILL)
                break
        process.stdout.read()
    filed = len(Completions(tmp_path / "completions"))
    assert 10 <= filed < 80
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answered, on_file = map(int, done.stdout.splitlines()[-1].split())
    assert (answered, on_file) == (80 - filed, filed)
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.splitlines()[-1] == "0 80"
    assert "vllm" not in again.stderr.lower()


def lively(pico, **options) -> Engine:
    return Engine.bind({"use": "vllm", "model": str(pico), "dtype": "float32", **options})


@pytest.mark.vllm
@pytest.mark.slow
def test_a_killed_engine_is_started_again_and_nothing_is_lost(pico, tmp_path):
    pytest.importorskip("vllm")
    engine = lively(pico, replicas=2, max_num_seqs=4, logs=str(tmp_path))
    drawn = SAMPLING.model_copy(update={"max_tokens": 100})
    asked = [Request(f"{n}", f"problem {n}", drawn) for n in range(120)]
    answered, held, others = [], set(), guarded(os.getpid())
    with engine.open() as session:
        before = guarded(os.getpid()) - others
        assert len(before) == 2
        for one, completion in session.stream(iter(asked)):
            answered.append(one.key)
            assert completion.finish in ("stop", "length")
            if len(answered) == 10:
                os.kill(min(before), signal.SIGKILL)
            held |= guarded(os.getpid()) - others
    assert sorted(answered) == sorted(one.key for one in asked)
    assert len(held) == 3, "the one that was killed, its successor, and the other"
    assert gone(held)


@pytest.mark.vllm
@pytest.mark.slow
def test_a_request_that_kills_its_engine_twice_is_set_aside_and_no_other(pico, tmp_path):
    pytest.importorskip("vllm")
    # On the CPU, vLLM dies of a seed once a prompt is read in parts; greedy ones draw nothing.
    options = {"enable_chunked_prefill": True, "max_num_batched_tokens": 64}
    engine = lively(pico, max_num_seqs=2, logs=str(tmp_path), options=options)
    greedy = SAMPLING.model_copy(update={"temperature": 0.0})
    asked = [Request(f"{n}", f"problem {n}", greedy) for n in range(12)]
    asked[5] = Request("5", "x" * 200, SAMPLING)
    with engine.open() as session:
        said = list(session.stream(iter(asked)))
    failed = {one.key: completion.error for one, completion in said if completion.error}
    assert len(said) == len({one.key for one, _ in said}) == 12
    assert failed.keys() == {"5"}
    assert failed["5"].startswith("set aside: ")


@pytest.mark.vllm
@pytest.mark.slow
def test_an_engine_dies_with_whoever_started_it(pico, tmp_path):
    pytest.importorskip("vllm")
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(pico)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        process.stdout.readline()
        while not process.stdout.readline().startswith("5"):
            pass
        family = descendants(process.pid)
        assert guarded(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.read()
    assert gone(family)


@pytest.mark.vllm
@pytest.mark.slow
def test_an_engine_that_does_not_start_says_why(pico, tmp_path):
    pytest.importorskip("vllm")
    others = guarded(os.getpid())
    for options, why in (
        ({"no_such_option": 1}, "does not take them"),
        ({"quantization": "nonsense"}, "did not start"),
    ):
        with pytest.raises(EngineError, match=why) as caught:
            ask(lively(pico, logs=str(tmp_path), options=options), "a")
        assert "next" in str(caught.value)
    assert not guarded(os.getpid()) - others
