"""What is posted, and how an answer is read, in every form that servers give."""

import json

import pytest
from hostile import MODEL, Hostile, serving, thought

from tracecraft.distill.engine import Engine, Sampling
from tracecraft.distill.wire import Answer, Trouble, Wire, declined, retry_after
from tracecraft.engine import Request, request
from tracecraft.think import split

CHAT = Wire(model="m", chat=True)
TEXT = Wire(model="m", chat=False)
MESSAGES = [{"role": "user", "content": "2+2?"}]


def read(*events: dict, wire: Wire = CHAT):
    answer = Answer(wire)
    for event in events:
        answer.take(json.dumps(event).encode())
    return answer.result()


def delta(finish: str | None = None, **fields) -> dict:
    return {"choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_a_thought_in_a_field_of_its_own_becomes_one_text(name):
    said = read(delta(**{name: "two and"}), delta(**{name: " two"}), delta("stop", content="4"))
    assert said.text == "<think>\ntwo and two\n</think>\n\n4"
    assert split(said.text) == ("two and two", "4", True)


def test_a_thought_with_its_tags_stays_as_it_is():
    said = read(delta(content="<think>two and two</think>"), delta("stop", content="4"))
    assert split(said.text) == ("two and two", "4", True)


def test_a_thought_that_was_cut_off_is_not_closed():
    said = read(delta(reasoning="two and", content=None), delta("length"))
    assert said.finish == "length"
    assert split(said.text) == ("two and", "", False)


def test_an_answer_that_was_cut_off_is_kept_as_that():
    said = read(delta(reasoning="two"), delta(content="it is"), delta("length"))
    assert (said.finish, split(said.text)) == ("length", ("two", "it is", True))


def test_tokens_are_as_the_server_counts_them_else_as_we_do():
    usage = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}
    assert read(delta("stop", content="4"), usage).completion_tokens == 5
    assert read(delta("stop", content="4"), usage).prompt_tokens == 9
    assert read(delta(content="a"), delta(content="b"), delta("stop")).completion_tokens == 2
    counting = Wire(model="m", chat=False, count=lambda text: list(map(ord, text)))
    said = read({"choices": [{"text": "four", "finish_reason": "stop"}]}, wire=counting)
    assert said.completion_tokens == 4


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ({"error": {"message": "boom", "code": 500}}, "broken"),
        ({"error": {"message": "too long", "code": 400}}, "refused"),
        ({"error": {"message": "later", "code": 429}}, "wait"),
        ({"error": "boom"}, "broken"),
        (delta("abort"), "broken"),
        ({"choices": "none"}, "broken"),
        ({"choices": [17]}, "broken"),
        ({}, "broken"),
    ],
)
def test_what_is_no_answer_says_what_to_do(event, kind):
    found = read(event)
    assert isinstance(found, Trouble)
    assert found.kind == kind


def test_a_filtered_answer_failed():
    said = read(delta("content_filter", content="I"))
    assert (said.finish, said.error) == ("failed", "the server ended it: content_filter")


@pytest.mark.parametrize("junk", [b"", b"[]", b"null", b"17", b'"x"', b"\xff\xfe", b"{", b"nan"])
def test_junk_is_never_an_answer(junk):
    answer = Answer(CHAT)
    answer.take(junk)
    assert isinstance(answer.result(), Trouble)


MEANINGS = {
    "refused": (400, 413, 422),
    "closed": (301, 302, 401, 402, 403, 404),
    "broken": (408, 409, 500, 502),
    "wait": (429, 503, 529),
}


@pytest.mark.parametrize("kind", MEANINGS)
def test_each_status_has_its_meaning(kind):
    assert {declined(status, f"{status} why").kind for status in MEANINGS[kind]} == {kind}


def test_an_account_that_is_empty_is_not_asked_again():
    assert declined(429, "429 You exceeded your quota (insufficient_quota)").kind == "closed"


PAUSES = {
    **{"3": 3, "0.5": 0.5, "-4": 0, "": None, "soon": None, "1e99": None, "nan": None},
    "Wed, 21 Oct 2015 07:28:00 GMT": 60,
    "Wed, 21 Oct 2015 07:26:00 GMT": 0,
}


@pytest.mark.parametrize("told", PAUSES)
def test_retry_after_is_read_in_both_forms(told):
    headers = {"retry-after": told, "date": "Wed, 21 Oct 2015 07:27:00 GMT"}
    assert retry_after(headers) == PAUSES[told]


def test_what_is_posted():
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=7, stop=("END",), top_k=5, seed=3)
    body = CHAT.body(Request("k", json.dumps(MESSAGES), sampling))
    assert body["messages"] == MESSAGES
    assert {k: body[k] for k in ("model", "temperature", "top_p", "max_tokens", "seed")} == {
        "model": "m",
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 7,
        "seed": 3,
    }
    assert (body["stop"], body["top_k"], body["stream"]) == (["END"], 5, True)
    plain = CHAT.body(Request("k", json.dumps(MESSAGES), Sampling()))
    assert {"stop", "top_k"} & plain.keys() == set()


def test_an_answer_that_was_cut_off_is_gone_on_with():
    begun = json.dumps(MESSAGES) + "<think>\ntwo and"
    body = CHAT.body(Request("k", begun, Sampling()))
    assert body["messages"] == [*MESSAGES, {"role": "assistant", "content": "<think>\ntwo and"}]
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    answer = Answer(CHAT, continues=True)
    for event in (delta(reasoning=" two"), delta("stop", content="4")):
        answer.take(json.dumps(event).encode())
    whole = "<think>\ntwo and" + answer.result().text
    assert split(whole) == ("two and two", "4", True)


def test_further_fields_are_added_and_taken_away():
    wire = Wire(model="m", chat=True, extra={"reasoning_effort": "high", "seed": None})
    body = wire.body(Request("k", json.dumps(MESSAGES), Sampling()))
    assert body["reasoning_effort"] == "high"
    assert "seed" not in body


def test_a_text_goes_as_tokens_and_leaves_room_in_the_context():
    wire = Wire(model="m", chat=False, count=lambda text: list(range(len(text))))
    body = wire.body(Request("k", "x" * 10, Sampling(max_tokens=50)), context=40)
    assert (body["prompt"], body["max_tokens"]) == (list(range(10)), 30)
    said = wire.body(Request("k", "x" * 40, Sampling()), context=40)
    assert said.error == "the prompt of 40 tokens leaves no room in 40"


def test_with_a_tokenizer_the_ledger_key_is_that_of_the_offline_engine(pico):
    pytest.importorskip("transformers")
    offline = Engine.bind({"use": "transformers", "model": str(pico), "revision": "abc"})
    server = Hostile()
    with serving(server) as urls:
        options = {"model": "pico", "revision": "abc", "served_as": MODEL, "tokenizer": str(pico)}
        engine = Engine.bind({"use": "remote", "base_urls": urls, **options})
        assert engine.teacher == offline.teacher
        prompt = engine.render(MESSAGES, "<think>\n")
        assert prompt == offline.render(MESSAGES, "<think>\n")
        asked = request(prompt, 0, engine.teacher, Sampling())
        assert asked == request(prompt, 0, offline.teacher, Sampling())
        with engine.open() as session:
            ((_, said),) = session.stream([asked])
    (body,) = server.bodies
    tokens = offline.tokenizer()(prompt, add_special_tokens=False)["input_ids"]
    assert body["prompt"] == tokens
    assert body["skip_special_tokens"] is False
    name = f"{tokens}|{asked.sampling.seed}"
    assert split(said.text, opened=True) == (thought(name), f"\\boxed{{{name}}}", True)


def test_the_name_of_the_teacher_holds_what_changes_it_and_not_where_it_is():
    def teacher(**options) -> str:
        return Engine.bind({"use": "remote", "model": "m", **options}).teacher

    here = teacher(base_urls="http://a/v1")
    assert here == teacher(base_urls=["http://b/v1", "http://c"], max_in_flight=3, tries=9) == "m"
    assert teacher(base_urls="http://a", extra={"reasoning_effort": "high"}) != here


def test_an_answer_that_never_ends_is_cut_off():
    with serving(Hostile(lambda name, attempt: "forever")) as urls:
        options = {"model": MODEL, "answer_seconds": 0.3, "tries": 1}
        engine = Engine.bind({"use": "remote", "base_urls": urls, **options})
        with engine.open() as session:
            prompt = engine.render(MESSAGES)
            ((_, said),) = session.stream([request(prompt, 0, engine.teacher, Sampling())])
    assert (said.finish, said.error) == ("failed", "no answer in 0.3 seconds (the last of 1 tries)")
