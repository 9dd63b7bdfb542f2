"""What `serve` does about servers that die, with servers that are up in no time."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import hostile
import pytest
from processes import descendants, gone, guarded

from tracecraft.distill.engine import Engine, Sampling
from tracecraft.distill.serve import Serve
from tracecraft.engine import request
from tracecraft.errors import EngineError

pytestmark = pytest.mark.skipif(find_spec("vllm") is None, reason="needs the package vllm")


class Flimsy(Serve, use="flimsy"):
    """Serve, over a server of the tests' own that ends when a prompt holds the poison."""

    poison: str = ""
    tally: str = ""

    def command(self, port: int) -> list[str]:
        return [sys.executable, hostile.__file__, str(port), self.poison, self.tally]


def flimsy(pico, folder: Path, poison: str = "", **options) -> Engine:
    tokens = Serve(model=str(pico)).tokenizer()(poison, add_special_tokens=False)["input_ids"]
    return Engine.bind(
        {
            **{"use": "flimsy", "model": str(pico), "logs": str(folder), "max_num_seqs": 8},
            **{"poison": f" {tokens[0]}," if tokens else "", "tally": str(folder / "tally")},
            **options,
        }
    )


def requests(engine: Engine, *problems: str):
    prompts = [engine.render([{"role": "user", "content": problem}]) for problem in problems]
    return [request(prompt, 0, engine.teacher, Sampling()) for prompt in prompts]


def answers(folder: Path) -> Counter[str]:
    return Counter((folder / "tally").read_text().splitlines())


def test_a_server_that_is_killed_is_started_again_and_nothing_is_lost(pico, tmp_path):
    engine = flimsy(pico, tmp_path, replicas=2)
    asked, said = requests(engine, *(f"problem {i}" for i in range(120))), []
    others = guarded(os.getpid())
    with engine.open() as session:
        before = guarded(os.getpid()) - others
        assert len(before) == 2
        for one, completion in session.stream(iter(asked)):
            said.append(one.key)
            assert completion.finish == "stop"
            if len(said) == 20:
                os.kill(min(before), signal.SIGKILL)
        deadline = time.monotonic() + 20
        while len(guarded(os.getpid()) - others) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        after = guarded(os.getpid()) - others
        assert len(after) == 2
        assert len(after | before) == 3
    assert sorted(said) == sorted(one.key for one in asked)
    assert set(answers(tmp_path).values()) == {1}
    assert gone(before | after)


def test_a_request_that_ends_its_server_twice_is_set_aside_and_no_other(pico, tmp_path):
    engine = flimsy(pico, tmp_path, poison="Z")
    names = [f"problem {i}" for i in range(30)]
    names[7] = "Z is poison"
    asked = requests(engine, *names)
    with engine.open() as session:
        said = list(session.stream(iter(asked)))
    failed = {one.key: completion.error for one, completion in said if completion.error}
    assert len(said) == len({one.key for one, _ in said}) == 30
    assert failed.keys() == {asked[7].key}
    assert failed[asked[7].key].startswith("set aside: 2 servers died of it: serve: ")
    assert set(answers(tmp_path).values()) == {1}


def test_servers_that_only_die_stop_the_stage_and_show_their_last_words(pico, tmp_path):
    engine = flimsy(pico, tmp_path, poison="p")
    with engine.open() as session, pytest.raises(EngineError) as caught:
        list(session.stream(iter(requests(engine, *(f"problem {i}" for i in range(300))))))
    assert "died: its process ended with exit code 3" in str(caught.value)
    assert "  log    " in str(caught.value)
    assert "  also   2 engines in a row died of a request each, and none" in str(caught.value)
    assert str(caught.value).count("  next   ") == 1
    assert not (tmp_path / "tally").exists()


class Stillborn(Serve, use="stillborn"):
    """Serve, over a program that ends at once."""

    def command(self, port: int) -> list[str]:
        return [sys.executable, "-c", f"import sys; sys.exit('no port {port}')"]


def test_a_server_that_does_not_start_says_its_last_words(pico, tmp_path):
    engine = Stillborn(model=str(pico), logs=tmp_path)
    with pytest.raises(EngineError, match=r"did not start: its process ended(.|\n)*no port \d+"):
        engine.open().__enter__()


PARENT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_serve_deaths import flimsy, requests
from pathlib import Path

engine = flimsy(Path(sys.argv[2]), Path(sys.argv[3]), replicas=2)
with engine.open() as session:
    for one, _ in session.stream(iter(requests(engine, *map(str, range(3_000))))):
        print(one.key, flush=True)
"""


def test_servers_end_with_whoever_started_them(pico, tmp_path):
    command = [sys.executable, "-c", PARENT, str(Path(__file__).parent), str(pico), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline()
        family = descendants(parent.pid)
        assert len(family) == 4, "a guard and a server, twice"
        parent.kill()
        parent.stdout.read()
    assert gone(family)
