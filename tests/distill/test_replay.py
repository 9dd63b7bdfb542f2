import json
import tracemalloc

import pytest

from tracecraft.distill.engine import Completion, Engine, Request, Sampling
from tracecraft.distill.replay import Replay
from tracecraft.errors import DataError, RecipeError


def say(engine: Engine, *asked: tuple[str, int]) -> list[Completion]:
    requests = [Request(str(n), prompt, Sampling(), i) for n, (prompt, i) in enumerate(asked)]
    with engine.open() as session:
        return [completion for _, completion in session.stream(requests)]


@pytest.fixture
def recording(tmp_path):
    path = tmp_path / "said.jsonl"
    path.write_text(
        '{"statement": "1+1", "answers": ["two", {"text": "tw", "finish": "length"}]}\n'
        '{"statement": "1+1+1", "answers": ["three"]}\n'
        '{"prompt": "Whole: 4", "answers": "four"}\n'
    )
    return path


def test_each_sample_gets_its_own_answer(recording):
    said = say(Replay(path=recording), ("1+1", 0), ("1+1", 1))
    assert [(c.text, c.finish) for c in said] == [("two", "stop"), ("tw", "length")]


def test_a_statement_is_found_inside_its_prompt(recording):
    said = say(Replay(path=recording), ("Q: 1+1 A:", 0), ("Q: 1+1+1 A:", 0), ("Whole: 4", 0))
    assert [c.text for c in said] == ["two", "three", "four"]


def test_what_was_not_recorded_failed(recording):
    said = say(Replay(path=recording), ("7", 0), ("1+1+1", 1))
    assert [c.finish for c in said] == ["failed", "failed"]
    assert said[0].error == "nothing is recorded for this problem"


def test_yaml_maps_statements_to_answers(tmp_path):
    (tmp_path / "said.yaml").write_text("1+1: [two, {text: '2', completion_tokens: 9}]\n2: four\n")
    said = say(Replay(path=tmp_path / "said.yaml"), ("1+1", 0), ("1+1", 1), ("2", 0))
    assert [(c.text, c.completion_tokens) for c in said] == [("two", 1), ("2", 9), ("four", 1)]


def test_a_recording_counts_by_its_content(recording, tmp_path):
    copy = tmp_path / "elsewhere" / "said.jsonl"
    copy.parent.mkdir()
    copy.write_bytes(recording.read_bytes())
    assert Replay(path=copy).identity() == Replay(path=recording).identity()
    assert Replay(path=copy).teacher == Replay(path=recording).teacher
    copy.write_text('{"prompt": "p", "answers": []}\n')
    assert Replay(path=copy).teacher != Replay(path=recording).teacher
    assert Replay(path=copy, model="deepseek-ai/DeepSeek-R1@56d4cbb").teacher.endswith("@56d4cbb")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", r"said.jsonl:2: is not JSON"),
        ("[]", r"said.jsonl:2: names no statement"),
        ('{"answers": []}', r"said.jsonl:2: names no statement"),
        ('{"statement": 7, "answers": []}', r"said.jsonl:2: names no statement"),
        ('{"statement": "x", "answers": [3]}', r"said.jsonl:2: an answer is"),
        ('{"prompt": "x", "answers": {"text": "", "finish": "end"}}', r"2: finish is one of"),
    ],
)
def test_a_line_that_is_no_answer_is_named(recording, line, why):
    first = recording.read_text().splitlines()[0]
    recording.write_text(f"{first}\n{line}\n")
    with pytest.raises(DataError, match=why):
        say(Replay(path=recording))


def test_a_recording_that_is_not_there_is_said_before_anything_runs(tmp_path):
    with pytest.raises(RecipeError, match="path: there is no file"):
        Engine.bind({"use": "replay", "path": str(tmp_path / "none.jsonl")})


def test_a_long_recording_stays_on_disk(tmp_path):
    path = tmp_path / "said.jsonl"
    with path.open("w") as file:
        for i in range(300):
            file.write(json.dumps({"statement": f"problem {i}.", "answers": ["x" * 20_000] * 4}))
            file.write("\n")
    tracemalloc.start()
    said = say(Replay(path=path), *((f"Q problem {i}. A", i % 4) for i in range(0, 300, 50)))
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(c.text) for c in said] == [20_000] * 6
    assert held < 2_000_000 < path.stat().st_size / 10


def test_a_prompt_recorded_twice_has_the_answers_of_both(tmp_path):
    path = tmp_path / "said.jsonl"
    path.write_text('{"prompt": "p", "answers": ["a"]}\n{"prompt": "p", "answers": ["b", "c"]}\n')
    assert [c.text for c in say(Replay(path=path), *(("p", i) for i in range(3)))] == list("abc")
