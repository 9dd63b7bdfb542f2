"""vLLM's own server on this machine: started, asked, killed, started again, ended."""

import os
import signal
import subprocess
import sys
import time

import pytest
from processes import descendants, gone, guarded

from tracecraft.completions import Completions
from tracecraft.distill.engine import Engine, Sampling
from tracecraft.distill.serve import Serve
from tracecraft.engine import request
from tracecraft.errors import EngineError


def requests(engine: Engine, count: int, **sampling):
    drawn = Sampling(**{"temperature": 1.0, "top_p": 1.0, "max_tokens": 24, **sampling})
    prompts = [engine.render([{"role": "user", "content": f"problem {i}"}]) for i in range(count)]
    return [request(prompt, 0, engine.teacher, drawn) for prompt in prompts]


def serve(pico, **options) -> Engine:
    return Engine.bind(
        {"use": "serve", "model": str(pico), "dtype": "float32", "max_num_seqs": 8, **options}
    )


def test_options_go_to_the_command_line_as_vllm_takes_them(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    options = {
        "enable_prefix_caching": True,
        "async_scheduling": False,
        "hf_overrides": {"a": 1},
        "stream_interval": 4,
    }
    engine = Engine.bind({"use": "serve", "model": str(tmp_path), "options": options})
    words = engine.command(8123)
    assert words[words.index("--model") + 1] == str(tmp_path)
    assert words[words.index("--port") + 1] == "8123"
    assert "--enable-prefix-caching" in words
    assert "--no-async-scheduling" in words
    assert words[words.index("--hf-overrides") + 1] == '{"a": 1}'
    assert words[words.index("--stream-interval") + 1] == "4"
    assert words[words.index("--generation-config") + 1] == "vllm"
    assert "--revision" not in words


def test_the_teacher_is_the_same_behind_each_engine(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    names = {
        Engine.bind({"use": use, "model": str(tmp_path)}).teacher
        for use in ("vllm", "serve", "transformers", "local")
    }
    assert len(names) == 1


@pytest.mark.vllm
@pytest.mark.slow
def test_a_real_server_answers_as_the_offline_engine_does(pico, tmp_path):
    pytest.importorskip("vllm")
    engine = serve(pico, logs=str(tmp_path))
    offline = Engine.bind({"use": "vllm", "model": str(pico), "dtype": "float32"})
    asked = requests(engine, 20)
    with engine.open() as session:
        first = dict(session.stream(iter(asked)))
        again = dict(session.stream(iter(asked)))
        (long,) = session.stream([request("x" * 300, 0, "", Sampling())])
        family = guarded(os.getpid())
        assert len(family) == 1
    assert gone(family)
    assert {a.key: c.text for a, c in first.items()} == {a.key: c.text for a, c in again.items()}
    assert long[1].error == "the prompt of 300 tokens leaves no room in 256"
    with offline.open() as session:
        said = dict(session.stream(iter(requests(offline, 20))))
    assert len(said) == 20
    same = sum(first[asked] == completion for asked, completion in said.items())
    assert same == 20


@pytest.mark.vllm
@pytest.mark.slow
def test_a_killed_server_is_started_again_and_nothing_is_lost(pico, tmp_path):
    pytest.importorskip("vllm")
    engine = serve(pico, replicas=2, max_num_seqs=4, logs=str(tmp_path))
    asked, answered = requests(engine, 150, max_tokens=150), []
    with engine.open() as session:
        before = guarded(os.getpid())
        assert len(before) == 2
        for one, completion in session.stream(iter(asked)):
            answered.append((one.key, completion.finish))
            if len(answered) == 10:
                os.kill(min(before), signal.SIGKILL)
        assert sorted(key for key, _ in answered) == sorted(one.key for one in asked)
        assert {finish for _, finish in answered} <= {"stop", "length"}
        deadline = time.monotonic() + 60
        while len(guarded(os.getpid())) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(guarded(os.getpid())) == 2
        assert guarded(os.getpid()) - before
    assert not guarded(os.getpid())


@pytest.mark.vllm
@pytest.mark.slow
def test_a_server_that_does_not_start_says_why(pico, tmp_path):
    pytest.importorskip("vllm")
    engine = serve(pico, logs=str(tmp_path), options={"quantization": "nonsense"})
    with pytest.raises(EngineError) as caught, engine.open():
        pass
    assert "did not start: its process ended with exit code" in str(caught.value)
    assert "nonsense" in str(caught.value)
    assert "next" in str(caught.value)
    assert not guarded(os.getpid())


@pytest.mark.vllm
@pytest.mark.slow
def test_a_model_that_vllm_cant_run_is_said_and_its_servers_are_given_up(odd, tmp_path):
    pytest.importorskip("vllm")
    engine = Engine.bind({"use": "serve", "model": str(odd), "logs": str(tmp_path)})
    with pytest.raises(EngineError) as caught, engine.open() as session:
        list(session.stream(iter(requests(engine, 8))))
    told = str(caught.value)
    assert "RuntimeError: Unsupported CPU attention configuration: head_dim=16" in told
    assert "none has ever answered" in told
    assert "  next   take `engine: {use: transformers}`" in told
    assert not guarded(os.getpid())


KILLED = """
import sys
from pathlib import Path
import polars as pl
from tracecraft.completions import Completions
from tracecraft.distill.generate import Generate
from tracecraft.schema import PROBLEM
from tracecraft.stage import Desk

folder, model = Path(sys.argv[1]), sys.argv[2]
rows = {name: [f"{name} {i}" for i in range(60)] for name in PROBLEM.names()}
rows["domain"] = ["math"] * 60
stage = Generate.bind(
    {
        "engine": {"use": "serve", "model": model, "max_num_seqs": 4, "logs": str(folder)},
        "sampling": {"max_tokens": 100, "temperature": 1.0},
    }
)
told = lambda progress: print(progress.facts["answered"], progress.facts["on_file"], flush=True)
with Completions(folder / "completions") as ledger:
    with stage.open(Desk(completions=ledger, report=told)) as ask:
        ask(pl.LazyFrame(rows, schema=PROBLEM)).collect()
"""


@pytest.mark.vllm
@pytest.mark.slow
def test_servers_die_with_whoever_started_them_and_the_rest_is_asked_next_time(pico, tmp_path):
    pytest.importorskip("vllm")
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(pico)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        while line := process.stdout.readline():
            if int(line.split()[0]) >= 5:
                break
        family = descendants(process.pid)
        assert len(family) >= 3, "a guard, a server, its engine"
        os.kill(process.pid, signal.SIGKILL)
        process.stdout.read()
    assert gone(family)
    filed = len(Completions(tmp_path / "completions"))
    assert 5 <= filed < 60
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == f"{60 - filed} {filed}"


@pytest.mark.vllm
@pytest.mark.slow
def test_the_embedded_teacher_behind_a_real_server():
    pytest.importorskip("vllm")
    engine = Serve(model="embedded", max_model_len=512, max_num_seqs=8)
    asked = requests(engine, 4, temperature=0.0, max_tokens=8)
    with engine.open() as session:
        said = dict(session.stream(iter(asked)))
    assert len(said) == 4
    assert all(c.finish in ("stop", "length") and c.completion_tokens <= 8 for c in said.values())
    assert all(c.prompt_tokens > 5 for c in said.values())
