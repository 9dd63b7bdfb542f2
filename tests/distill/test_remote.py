"""The remote engine against servers that misbehave; what was asked is counted where it arrives."""

import json
import logging
import random
import resource
import threading
import time
from collections import Counter

import pytest
from hostile import HARMLESS, MISCHIEF, MODEL, Hostile, serving, thought

import tracecraft as tc
from tracecraft.completions import Completions
from tracecraft.distill.engine import Engine, Sampling
from tracecraft.engine import request
from tracecraft.errors import EngineError, RecipeError

QUICK = {"silence_seconds": 0.3, "patience_seconds": 5.0}


def remote(urls, **options) -> Engine:
    return Engine.bind({"use": "remote", "model": MODEL, "base_urls": urls, **QUICK, **options})


def ask(engine: Engine, count: int, **sampling) -> list[tuple[str, object]]:
    drawn = Sampling(**sampling)
    requests = [
        request(engine.render([{"role": "user", "content": f"p{i}"}]), 0, engine.teacher, drawn)
        for i in range(count)
    ]
    with engine.open() as session:
        return list(session.stream(iter(requests)))


def recipe(folder, urls, count=20, samples=2, **engine) -> tc.Recipe:
    rows = [{"statement": f"problem {i}", "answer": str(i)} for i in range(count)]
    (folder / "problems.jsonl").write_text("\n".join(map(json.dumps, rows)))
    stages = f"""
name: hostile
inputs:
  problems: {{use: files, path: problems.jsonl}}
stages:
  - {{name: clean, use: normalize, from: problems, domain: math}}
  - name: traces
    use: generate
    from: clean
    samples: {samples}
    retries: 0
    engine: {json.dumps({"use": "remote", "model": MODEL, "base_urls": urls, **QUICK, **engine})}
"""
    (folder / "recipe.yaml").write_text(stages)
    return tc.load_recipe(folder / "recipe.yaml")


def run(folder, urls, **options):
    return tc.run(tc.plan(recipe(folder, urls, **options), store=folder / "store"))


def first_tries(deed: str | None, share: float = 0.3):
    """A third of the requests meet the deed at first; all others are answered."""

    def plan(name: str, attempt: int) -> str | None:
        return deed if attempt == 1 and random.Random(name).random() < share else None

    return plan


def once(traces, *servers: Hostile) -> None:
    """Every trace is there, with its own answer, and none was answered twice."""
    frame = traces.scan().collect()
    answered = sum((s.answered for s in servers), Counter())
    assert frame.height == len(answered)
    assert set(answered.values()) == {1}
    assert frame["finish"].unique().to_list() == ["stop"]
    assert frame["trace_id"].n_unique() == frame.height
    said = frame["response"].str.strip_prefix("\\boxed{").str.strip_suffix("}")
    assert set(said) == set(answered)
    assert all(t == thought(n) for t, n in zip(frame["reasoning"], said, strict=True))


@pytest.mark.parametrize("deed", [*MISCHIEF, "silence", *HARMLESS])
def test_every_problem_is_answered_once_whatever_the_server_does(tmp_path, deed):
    server = Hostile(first_tries(deed))
    with serving(server) as urls:
        done = run(tmp_path, urls)
        once(done["traces"], server)
        odd = sum(random.Random(name).random() < 0.3 for name in server.asked)
        again = 0 if deed in HARMLESS else odd
        assert server.asked.total() == 40 + again
        assert odd


def test_all_mischief_at_once_over_three_servers_loses_nothing_and_doubles_nothing(tmp_path):
    tried: Counter[str] = Counter()

    def plan(name: str, attempt: int) -> str | None:
        tried[name] += 1
        chance = random.Random(f"{name}{tried[name]}")
        if tried[name] <= 2 and chance.random() < 0.4:
            return chance.choice(MISCHIEF)
        return chance.choice((None, *HARMLESS))

    servers = [Hostile(plan) for _ in range(3)]
    with serving(*servers) as urls:
        done = run(tmp_path, urls, count=100, samples=2, patience_seconds=60.0)
        once(done["traces"], *servers)
        asked = sum(s.asked.total() for s in servers)
        assert asked == tried.total() > 220
        assert min(s.answered.total() for s in servers) > 20
        again = run(tmp_path, urls, count=100, samples=3, patience_seconds=60.0)
        once(again["traces"], *servers)
    with Completions(tmp_path / "store/completions") as ledger:
        assert len(ledger) == 300


def test_a_server_that_dies_leaves_its_requests_to_the_others(tmp_path):
    lives = iter(range(20))
    dying = Hostile(lambda name, attempt: "die" if next(lives, None) is None else None)
    living = Hostile()
    dying.seconds = living.seconds = 0.05
    with serving(living, dying) as urls:
        once(run(tmp_path, urls, count=40)["traces"], dying, living)
    assert dying.answered.total() == 20


def test_an_address_where_nobody_listens_costs_nothing_but_a_look(tmp_path):
    server = Hostile()
    with serving(server) as urls:
        once(run(tmp_path, ["http://127.0.0.1:9/v1", *urls])["traces"], server)


def test_nobody_anywhere_stops_the_stage_and_says_where(tmp_path):
    with pytest.raises(EngineError, match=r"127\.0\.0\.1:9/v1: no answer(.|\n)*next   see that"):
        run(tmp_path, "http://127.0.0.1:9/v1", patience_seconds=0.5)


def test_a_lost_answer_is_asked_again_so_often_and_then_is_a_row(tmp_path):
    server = Hostile(lambda name, attempt: "cut" if "problem 3" in name else None)
    with serving(server) as urls:
        frame = run(tmp_path, urls, count=5, samples=1, tries=3)["traces"].scan().collect()
        assert Counter(frame["finish"]) == {"stop": 4, "failed": 1}
        (error,) = frame["error"].drop_nulls()
        assert "the last of 3 tries" in error
        assert server.asked.total() == 4 + 3


def test_a_request_that_is_refused_is_a_row_and_not_asked_again():
    server = Hostile(lambda name, attempt: "refused" if name.startswith("p3|") else None)
    with serving(server) as urls:
        said = dict(ask(remote(urls), 6))
    failed = [c for c in said.values() if c.finish == "failed"]
    assert [c.error for c in failed] == ["refused: 400 maximum context length is 8 tokens"]
    assert server.asked.total() == 6


def test_a_server_that_refuses_everything_stops_the_stage():
    server = Hostile(lambda name, attempt: "refused")
    with serving(server) as urls, pytest.raises(EngineError, match="refused each of the first"):
        ask(remote(urls), 100)
    assert server.asked.total() < 100


def test_a_model_that_is_not_there_is_said_with_those_that_are():
    server = Hostile()
    with serving(server) as urls, pytest.raises(EngineError) as caught:
        ask(remote(urls, model="other"), 3)
    assert "404 The model `other` does not exist." in str(caught.value)
    assert "known  hostile" in str(caught.value)
    assert "engine.served_as" in str(caught.value)


def test_a_server_may_call_the_teacher_otherwise():
    with serving(Hostile()) as urls:
        engine = remote(urls, model="org/teacher", revision="56d4cbb", served_as=MODEL)
        assert engine.teacher == "org/teacher@56d4cbb"
        assert len(ask(engine, 3)) == 3


def test_the_key_is_sent_and_shown_nowhere(monkeypatch, caplog):
    monkeypatch.setenv("TEACHER_KEY", "sk-very-secret")
    server = Hostile(lambda name, attempt: "echo-key")
    caplog.set_level(logging.DEBUG)
    with serving(server) as urls:
        engine = remote(urls, key_env="TEACHER_KEY")
        with pytest.raises(EngineError) as caught:
            ask(engine, 3)
        assert any("authorization: bearer sk-very-secret" in h.lower() for h in server.headers)
    assert "401" in str(caught.value)
    assert "engine.key_env" in str(caught.value)
    shown = caplog.text + str(caught.value) + repr(engine) + repr(caught.value.__context__)
    assert "sk-very-secret" not in shown + json.dumps(engine.identity())


def test_a_key_that_is_not_set_is_said_before_anything_is_asked():
    with serving(Hostile()) as urls, pytest.raises(EngineError, match="NO_SUCH_KEY is not set"):
        ask(remote(urls, key_env="NO_SUCH_KEY"), 1)


@pytest.mark.parametrize("url", ["ftp://x", "localhost:8000", "http://user:pass@host/v1"])
def test_an_address_must_be_one_and_hold_no_key(url):
    with pytest.raises(RecipeError, match="base_urls"):
        remote([url])


@pytest.mark.parametrize(("deed", "least"), [("429-seconds", 0.2), ("429-date", 0.5)])
def test_retry_after_is_honoured(deed, least):
    server = Hostile(lambda name, attempt: deed if attempt == 1 else None)
    with serving(server) as urls:
        assert len(ask(remote(urls), 1)) == 1
    first, second = server.times
    assert second - first >= least


def test_a_pause_longer_than_our_patience_is_said_at_once():
    server = Hostile(lambda name, attempt: "429-long")
    begun = time.monotonic()
    with (
        serving(server) as urls,
        pytest.raises(EngineError, match=r"expected for another 3,\d\d\d"),
    ):
        ask(remote(urls), 3)
    assert time.monotonic() - begun < 3


def test_concurrency_finds_the_room_there_is():
    server = Hostile()
    server.most, server.seconds = 12, 0.01
    with serving(server) as urls:
        assert len(ask(remote(urls), 400)) == 400
    late = [at for at in server.times if at > server.times[0] + 1]
    assert server.most_busy == 12
    assert server.asked.total() < 400 * 1.5
    assert late


def test_concurrency_grows_to_what_is_allowed():
    server = Hostile()
    server.seconds = 0.05
    with serving(server) as urls:
        ask(remote(urls, max_in_flight=100), 600)
    assert 60 < server.most_busy <= 100


def test_a_slow_server_gets_less():
    slow, fast = Hostile(), Hostile()
    slow.seconds, fast.seconds = 0.4, 0.02
    with serving(slow, fast) as urls:
        assert len(ask(remote(urls, max_in_flight=8), 200)) == 200
    assert fast.answered.total() > 4 * slow.answered.total()


def test_requests_are_taken_as_there_is_room():
    server, drawn = Hostile(), []
    server.seconds = 0.01

    def endless(engine):
        for i in range(10**9):
            drawn.append(i)
            prompt = engine.render([{"role": "user", "content": f"p{i}"}])
            yield request(prompt, 0, engine.teacher, Sampling())

    with serving(server) as urls:
        engine = remote(urls, max_in_flight=16)
        with engine.open() as session:
            stream = session.stream(endless(engine))
            for _ in range(20):
                next(stream)
            stream.close()
            assert len(drawn) < 80
            deadline = time.monotonic() + 5
            while server.busy and time.monotonic() < deadline:
                time.sleep(0.01)
            assert server.busy == 0
            assert next(session.stream(endless(engine)))
    assert not [t for t in threading.enumerate() if t.name == "tracecraft-line"]


def test_what_comes_into_an_empty_line_is_asked_while_others_are_under_way():
    server, line = Hostile(lambda name, attempt: "drip"), []
    server.seconds = 0.02

    class Line:
        def __iter__(self):
            return self

        def __next__(self):
            if not line:
                raise StopIteration
            return line.pop()

    with serving(server) as urls:
        engine = remote(urls)
        prompts = [engine.render([{"role": "user", "content": f"p{i}"}]) for i in range(40)]
        asked = [request(prompt, 0, engine.teacher, Sampling()) for prompt in prompts]
        line += asked[:10]
        with engine.open() as session:
            said = []
            for one, _ in session.stream(Line()):
                said.append(one.key)
                line += asked[9 + len(said) : 10 + len(said)]
    assert sorted(said) == sorted(one.key for one in asked)
    assert server.most_busy > 5


def test_more_connections_than_a_shell_allows_are_allowed():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, hard))
    try:
        with serving(Hostile()) as urls, remote(urls, max_in_flight=1_000).open():
            assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == min(1_512, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
