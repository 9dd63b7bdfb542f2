"""What `vllm` does about engines that die, with engines that are up in no time."""

import json
import sys
from pathlib import Path

import flimsy
import pytest

from tracecraft.distill.engine import Request, Sampling
from tracecraft.distill.replicas import Replica, Replicas
from tracecraft.errors import EngineError


class Flimsy(Replica):
    """A process of the tests' own, with what it dies of among its options."""

    def command(self, fd, options):
        return [sys.executable, flimsy.__file__, str(fd), options]


def asked(*prompts: str) -> list[Request]:
    return [Request(f"{i}", prompt, Sampling()) for i, prompt in enumerate(prompts)]


@pytest.fixture
def opened(tmp_path):
    """Opens engines that die of something."""
    sessions = []

    def start(poison: str = "", replicas: int = 1, rows: int = 8, **others) -> Replicas:
        engines = [Flimsy(i, 1, None, tmp_path) for i in range(replicas)]
        options = json.dumps({"poison": poison, **others})
        sessions.append(Replicas(engines, "flimsy", options, rows))
        sessions[-1].start()
        return sessions[-1]

    yield start
    for session in sessions:
        session.close()


def loads(folder: Path) -> list[int]:
    """What the engine held, batch by batch, over all its lives."""
    return [
        int(line.split()[1])
        for line in (folder / "vllm-0.log").read_text().splitlines()
        if line.startswith("holds")
    ]


def test_every_request_gets_its_answer_once_and_streams_follow_each_other(opened):
    session = opened(replicas=2)
    for _ in range(2):
        said = list(session.stream(iter(asked(*(f"p{i}" for i in range(50))))))
        assert sorted(int(one.key) for one, _ in said) == list(range(50))
        assert all(one.prompt == completion.text for one, completion in said)


@pytest.mark.parametrize("place", [0, 29])
def test_the_one_culprit_is_set_aside_whenever_it_comes(opened, place):
    prompts = [f"p{i}" for i in range(30)]
    prompts[place] = "Z"
    said = dict(opened("Z").stream(iter(asked(*prompts))))
    failed = [one.prompt for one, completion in said.items() if completion.finish == "failed"]
    assert (len(said), failed) == (30, ["Z"])
    (why,) = [completion.error for completion in said.values() if completion.error]
    assert why.startswith("set aside: ")
    assert why.endswith("engines died of it: vllm: flimsy died: RuntimeError: poison")


def test_the_only_request_is_a_failed_row_and_no_error(opened):
    ((_, said),) = opened("Z").stream(iter(asked("Z")))
    assert said.error.startswith("set aside: 2 engines died of it")


@pytest.mark.parametrize("replicas", [1, 2])
def test_engines_that_never_answer_are_given_up(opened, tmp_path, replicas):
    session = opened("p", replicas)
    with pytest.raises(EngineError) as caught:
        list(session.stream(iter(asked(*(f"p{i}" for i in range(30))))))
    lines = str(caught.value).splitlines()
    assert lines[0] == "vllm: flimsy died: RuntimeError: poison"
    assert lines[1].startswith("  log    ")
    assert lines[-2].endswith(
        "2 engines in a row died of a request each, and none has ever answered"
    )
    assert lines[-1] == "  next   take another"
    if replicas == 1:
        assert loads(tmp_path) == [8, 1, 1]


def test_engines_that_can_not_run_the_model_are_given_up_sooner(opened, tmp_path):
    session = opened("p", trouble="RuntimeError: Unsupported head size 16")
    with pytest.raises(EngineError, match="also   2 engines died so, and none has ever answered"):
        list(session.stream(iter(asked(*(f"p{i}" for i in range(30))))))
    assert loads(tmp_path) == [8, 1]


def test_an_engine_that_answers_no_more_is_given_up(opened, tmp_path):
    prompts = [*(f"good {i}" for i in range(8)), *(f"p{i}" for i in range(30))]
    said = []
    with pytest.raises(EngineError, match="4 engines in a row died of a request each\n  next"):
        said += opened("p").stream(iter(asked(*prompts)))
    assert len(loads(tmp_path)) < 10


def test_an_engine_that_ran_out_of_memory_holds_fewer_from_then_on(opened, tmp_path):
    said = list(opened(rows=16, room=6).stream(iter(asked(*(f"p{i}" for i in range(40))))))
    assert sorted(int(one.key) for one, _ in said) == list(range(40))
    assert not [completion.error for _, completion in said if completion.error]
    first, *later = loads(tmp_path)
    assert first > 6
    assert max(later) <= 4
