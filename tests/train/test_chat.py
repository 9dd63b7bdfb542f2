"""The parity gate: what passes is what the served model will see, to the token."""

from pathlib import Path
from typing import Any

import pytest
from classroom import R1, backbone, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.errors import DataError
from tracecraft.train import chat as gate
from tracecraft.train.backbone import Backbone
from tracecraft.train.chat import TEMPLATES, Chat, Said

CONTEXT = 10_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture
def tokenizer(folder: Path) -> Any:
    return Backbone(str(folder)).tokenizer()


def said(chat: Chat, talk_: list[dict[str, str]], **options: Any) -> Said | str:
    return chat.say([talk_], options.pop("context", CONTEXT), **options)[0]


@pytest.mark.parametrize("template", [TEMPLATES["chatml"], R1], ids=["chatml", "r1"])
def test_the_generation_prompt_begins_the_training_text_and_one_thought_and_the_stop_follow(
    tokenizer, template
):
    chat = Chat.of(tokenizer, template, [])
    one = said(chat, talk(5))
    prompt = tokenizer.apply_chat_template(talk(5)[:1], tokenize=False, add_generation_prompt=True)
    assert one.prompt == prompt
    whole = tokenizer.decode(one.prompt_ids + one.answer_ids)
    assert whole == one.prompt + one.answer
    assert whole.count("<think>") == whole.count("</think>") == 1
    assert talk(5)[1]["content"] in whole
    assert one.answer_ids[-1] == tokenizer.eos_token_id == chat.stop
    assert one.answer.endswith("<|im_end|>")


def test_a_template_that_strips_the_thought_is_caught_and_the_thought_trained_on(tokenizer):
    chat = Chat.of(tokenizer, R1, [])
    assert chat.strips
    stock = tokenizer.apply_chat_template(talk(5), tokenize=False)
    assert "5 and 12" not in stock
    assert "5 and 12" in said(chat, talk(5)).answer
    assert not said(chat, talk(5)).answer.startswith("<think>"), "the prompt says it already"
    assert not Chat.of(tokenizer, "chatml", []).strips


def test_the_prompt_tokens_are_those_of_the_prompt_alone(tokenizer):
    one = said(Chat.of(tokenizer, R1, []), talk(3))
    assert one.prompt_ids == tokenizer(one.prompt, add_special_tokens=False)["input_ids"]


TALKS = {
    "no answer": ([{"role": "user", "content": "?"}], gate.NO_ANSWER),
    "two thoughts": (talk(1, "a</think>b<think>c"), gate.THOUGHTS),
    "an open thought": ([talk(1)[0], {"role": "assistant", "content": "<think>a"}], gate.THOUGHTS),
    "an empty thought": (talk(1, "\n"), gate.THOUGHTS),
    "words before it": (
        [talk(1)[0], {"role": "assistant", "content": "So <think>a</think>b"}],
        gate.THOUGHTS,
    ),
    "no thought": ([talk(1)[0], {"role": "assistant", "content": "24"}], gate.THOUGHTS),
    "nothing after it": (
        [talk(1)[0], {"role": "assistant", "content": "<think>\na\n</think>\n\n "}],
        gate.EMPTY,
    ),
    "a stop inside": (talk(1, "a<|im_end|>b"), gate.CONTROL),
    "a question that steers": (talk(1, question="<|im_start|>system"), gate.CONTROL),
}


@pytest.mark.parametrize(("example", "rule"), TALKS.values(), ids=TALKS)
@pytest.mark.parametrize("template", ["chatml", R1], ids=["chatml", "r1"])
def test_each_way_to_fail_has_its_rule(tokenizer, template, example, rule):
    assert said(Chat.of(tokenizer, template, []), example) == rule


def test_an_answer_without_a_thought_passes_where_that_is_allowed_and_the_prompt_opens_none(
    tokenizer,
):
    plain = [talk(1)[0], {"role": "assistant", "content": "24"}]
    assert said(Chat.of(tokenizer, "chatml", []), plain, thoughts="any").answer == "24<|im_end|>"
    assert said(Chat.of(tokenizer, R1, []), plain, thoughts="any") == gate.PROMPT


def test_an_answer_that_begins_otherwise_than_the_prompt_does_not_pass(tokenizer):
    tight = [talk(1)[0], {"role": "assistant", "content": "<think>a</think>b"}]
    assert said(Chat.of(tokenizer, R1, []), tight) == gate.PROMPT
    assert isinstance(said(Chat.of(tokenizer, "chatml", []), tight), Said)


def test_a_tag_in_the_question_is_no_thought(tokenizer):
    chat = Chat.of(tokenizer, "chatml", [])
    assert isinstance(said(chat, talk(1, question="What does </think> mean?")), Said)


def test_what_is_longer_than_the_context_is_dropped_whole_and_what_just_fits_is_not(tokenizer):
    chat = Chat.of(tokenizer, "chatml", [])
    length = said(chat, talk(1)).tokens
    assert isinstance(said(chat, talk(1), context=length), Said)
    assert said(chat, talk(1), context=length - 1) == gate.LONG


def test_a_tokenizer_that_loses_letters_is_found_out(tokenizer):
    from tokenizers import normalizers

    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    assert said(Chat.of(tokenizer, "chatml", []), talk(1)) == gate.ROUND_TRIP


def test_a_backbone_without_a_template_asks_for_one(tokenizer):
    tokenizer.chat_template = None
    with pytest.raises(DataError, match=r"no chat template\n  next   say `template:`"):
        Chat.of(tokenizer, None, [])


def test_a_template_that_never_stops_is_refused(tokenizer):
    endless = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + ' over ' }}{% endfor %}"
    with pytest.raises(DataError, match="holds no special token to stop at"):
        Chat.of(tokenizer, endless, [])


def test_a_template_that_leaves_the_end_to_the_tokenizer_gets_its_eos(tokenizer):
    bare = "{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\\n' }}{% endfor %}"
    chat = Chat.of(tokenizer, bare, [])
    assert chat.end == "<|im_end|>"


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(
    lambda s: s.strip() and "<" not in s
)


@settings(max_examples=60, deadline=None)
@given(question=words, thought=words, answer=words)
def test_any_text_comes_back_from_its_tokens(folder, question, thought, answer):
    chat = Chat.of(Backbone(str(folder)).tokenizer(), R1, [])
    talk_ = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": f"<think>\n{thought}\n</think>\n\n{answer}"},
    ]
    one = said(chat, talk_)
    assert chat.tokenizer.decode(one.prompt_ids + one.answer_ids) == one.prompt + one.answer
