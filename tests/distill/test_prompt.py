import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracecraft.distill.prompt import MATH, OPENING, begin, fill, load_template
from tracecraft.errors import DataError


@given(st.text())
def test_the_statement_arrives_as_it_is(statement):
    assert (
        fill(r"A {statement} in \boxed{} {0} {{", statement)
        == rf"A {statement} in \boxed{{}} {{0}} {{{{"
    )


@pytest.mark.parametrize(
    "statement", ["{statement}", r"\boxed{3}", "{}", "{x!r}", "%s", "<|im_end|>", "</think>", "$1"]
)
def test_a_statement_may_look_like_a_template(statement):
    assert fill(MATH, statement).startswith(statement)


def test_the_built_in_prompt_is_what_r1_is_advised_to_get():
    assert fill(MATH, "1+1?") == (
        "1+1?\n\nPlease reason step by step, and put your final answer within \\boxed{}."
    )


@pytest.mark.parametrize(
    ("prompt", "opening", "begun"),
    [
        ("<|Assistant|>", OPENING, "<|Assistant|><think>\n"),
        ("<|Assistant|><think>\n", OPENING, "<|Assistant|><think>\n"),
        ("<|Assistant|><think>", OPENING, "<|Assistant|><think>"),
        ("<|Assistant|>", "", "<|Assistant|>"),
        ("<|Assistant|><think>\n", "", "<|Assistant|><think>\n"),
        ("x", "First, ", "xFirst, "),
    ],
)
def test_the_opening_is_there_once(prompt, opening, begun):
    assert begin(prompt, opening) == begun


def test_the_line_break_that_ends_a_file_is_no_part_of_the_prompt(tmp_path):
    (tmp_path / "p.txt").write_text("Häh? {statement}\n", "utf-8")
    assert load_template(tmp_path / "p.txt") == "Häh? {statement}"


@pytest.mark.parametrize(
    ("content", "why"), [(b"no hole", "has no {statement}"), (b"\xff{statement}", "not UTF-8")]
)
def test_a_template_that_is_none_is_said(tmp_path, content, why):
    (tmp_path / "p.txt").write_bytes(content)
    with pytest.raises(DataError, match=why):
        load_template(tmp_path / "p.txt")
