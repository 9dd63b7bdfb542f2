import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracecraft.think import Thought, join, split

CASES = [
    ("<think>\nsix\n</think>\n\n6", False, ("six", "6", True)),
    ("six</think>6", False, ("six", "6", True)),
    ("six</think>6", True, ("six", "6", True)),
    ("  <think> six </think> 6 ", True, ("six", "6", True)),
    ("<think>\n<think>\nsix</think>6", False, ("six", "6", True)),
    (
        "<|begin_of_thought|>\nsix\n<|end_of_thought|>\n<|begin_of_solution|>\n6\n<|end_of_solution|>",
        False,
        ("six", "6", True),
    ),
    ("six<|end_of_thought|><|begin_of_solution|>6", False, ("six", "6", True)),
    ("<|begin_of_thought|>six<|begin_of_solution|>6<|end_of_solution|>", False, ("six", "6", True)),
    ("<|begin_of_thought|>six and", False, ("six and", "", False)),
    ("<think>six and", False, ("six and", "", False)),
    ("six and", True, ("six and", "", False)),
    ("six", False, ("", "six", True)),
    ("the tag <think> opens a thought", False, ("", "the tag <think> opens a thought", True)),
    ("a</think>b</think>c", False, ("a</think>b", "c", True)),
    ("<think></think>6", False, ("", "6", True)),
    ("six</think>", True, ("six", "", True)),
    ("think\nsix, no:\nanswer\nseven\nanswer\n6", False, ("six, no:\nanswer\nseven", "6", True)),
    ("<|im_start|>think\nsix\n<|im_start|>answer\n6<|im_end|>", False, ("six", "6", True)),
    ("think\nsix\nanswer\nanswer\n6", False, ("six\nanswer", "6", True)),
    ("think\nsix</think>6", False, ("think\nsix", "6", True)),
    ("think\nsix and", False, ("six and", "", False)),
    ("think\nanswer\n6", False, ("", "6", True)),
    ("think\nsix\nanswer", False, ("six", "", True)),
    ("think of six\nanswer\n6", False, ("", "think of six\nanswer\n6", True)),
    ("six\nanswer\n6", False, ("", "six\nanswer\n6", True)),
    ("", False, ("", "", True)),
    ("", True, ("", "", False)),
]


@pytest.mark.parametrize(("text", "opened", "parts"), CASES)
def test_every_encoding_is_read(text, opened, parts):
    assert split(text, opened=opened) == Thought(*parts)


@given(st.text(), st.text(), st.booleans())
def test_what_was_joined_splits_again(reasoning, response, opened):
    reasoning, response = f"r{reasoning}r", f"a{response}a"
    assert split(join(reasoning, response), opened=opened) == Thought(reasoning, response, True)


@given(st.text(alphabet="<think>/|_ofsluba \n"), st.booleans())
def test_no_text_is_too_odd(text, opened):
    thought = split(text, opened=opened)
    assert len(thought.reasoning) + len(thought.response) <= len(text)
