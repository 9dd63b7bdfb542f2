import json
from pathlib import Path

import polars as pl
import pytest

from places import shared_data
from tracecraft.curate.normalize import Normalize
from tracecraft.curate.source import Source
from tracecraft.errors import DataError, RecipeError

CHAT = [
    {"role": "user", "content": "What is 1+1?"},
    {"role": "assistant", "content": "<think>\nhm\n</think>\n\n\\boxed{2}"},
]


def put(folder: Path, rows: list[dict]) -> dict:
    """Rows on disk, and the options that read them there."""
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(folder / "a.jsonl")}


def read(options: dict, **more) -> pl.DataFrame:
    return pl.concat(Source.bind({"use": "traces", **options, **more}).read())


def rows(folder: Path, *made: dict, **options) -> pl.DataFrame:
    return read(put(folder, list(made)), **{"domain": "math", "teacher": "t"} | options)


ENCODINGS = [
    ("<think>\nhm\n</think>\n\n4", "hm", "4", "stop"),
    ("hm\n</think>\n\n4", "hm", "4", "stop"),
    (
        "<|begin_of_thought|>\nhm\n<|end_of_thought|>\n<|begin_of_solution|>4<|end_of_solution|>",
        "hm",
        "4",
        "stop",
    ),
    ("<think>\nhm", "hm", "", "length"),
    ("4", "", "4", "stop"),
]


@pytest.mark.parametrize("case", ENCODINGS)
def test_any_encoding_of_a_thought_is_understood(tmp_path, case):
    text, reasoning, response, finish = case
    table = rows(tmp_path, {"question": "2+2?", "output": text})
    assert table.select("reasoning", "response", "finish").row(0) == (reasoning, response, finish)


def test_a_thought_and_its_response_may_stand_apart(tmp_path):
    table = rows(
        tmp_path,
        {"question": "2+2?", "reasoning": " hm\n", "response": "4"},
        {"question": "3+3?", "reasoning": "hm", "response": None},
    )
    assert table.select("reasoning", "response", "finish").rows() == [
        ("hm", "4", "stop"),
        ("hm", "", "length"),
    ]


def test_a_set_with_marks_of_its_own_says_them(tmp_path):
    made = [
        {"question": "2+2?", "model_answer": "think\nhm\nanswer\n4"},
        {"question": "3+3?", "model_answer": "think\nhm"},
    ]
    table = rows(tmp_path, *made, marks=["think\n", "\nanswer\n"])
    assert table.select("reasoning", "response", "finish").rows() == [
        ("hm", "4", "stop"),
        ("hm", "", "length"),
    ]


def test_where_the_prompt_opened_the_thought_a_text_without_marks_is_all_thought(tmp_path):
    table = rows(tmp_path, {"question": "2+2?", "generation": "hm"}, opened=True)
    assert table.select("reasoning", "response", "finish").row(0) == ("hm", "", "length")


def test_chats_of_either_convention_need_no_map(tmp_path):
    sharegpt = [{"from": "human", "value": "2+2?"}, {"from": "gpt", "value": "hm</think>4"}]
    one = rows(tmp_path, {"conversations": sharegpt})
    two = rows(tmp_path, {"messages": [{"role": "system", "content": "s"}, *CHAT]})
    assert one.select("statement", "response").row(0) == ("2+2?", "4")
    assert two.select("statement", "response").row(0) == ("What is 1+1?", "\\boxed{2}")


def test_traces_of_one_problem_are_numbered_over_all_rows(tmp_path):
    made = [{"question": q, "completion": c} for q, c in [("a", "1"), ("b", "2"), ("A ", "1")]]
    table = rows(tmp_path, *made)
    assert table["sample_index"].to_list() == [0, 0, 1]
    assert table["problem_id"][0] == table["problem_id"][2]
    assert table["trace_id"].is_unique().all()


def test_a_problem_has_the_id_that_normalize_gives_it(tmp_path):
    text = "\ufeffWhat  is 1+1? \r\n"
    asked = pl.LazyFrame({"source": "s", "license": "l", "statement": text, "answer": "2"})
    problem = Normalize(domain="math")(asked).collect()
    trace = rows(tmp_path, {"question": text, "completion": "2"})
    assert trace.select("problem_id", "statement").equals(problem.select("problem_id", "statement"))


def test_a_row_without_a_generation_is_a_failed_trace_not_a_lost_row(tmp_path):
    made = [
        {"question": "a", "generations": []},
        {"question": "b", "generations": None},
        {"question": "c", "generations": ["1", None]},
    ]
    table = rows(tmp_path, *made)
    assert table.select("statement", "finish").rows() == [
        ("a", "failed"),
        ("b", "failed"),
        ("c", "stop"),
        ("c", "failed"),
    ]


def test_problems_in_a_file_apart_are_found_by_key_or_by_row(tmp_path):
    problems = tmp_path / "p.json"
    problems.write_text(json.dumps([{"id": 8, "q": "b"}, {"id": 7, "q": "a"}]))
    place = put(tmp_path, [{"key": "7", "output": "1"}, {"key": "8", "output": "2"}])
    more = {
        "problems": str(problems),
        "map": {"statement": "problems.q"},
        "domain": "math",
        "teacher": "t",
    }
    by_key = read(place, on={"key": "id"}, keep=["problems.id"], **more)
    assert by_key.select("statement", "response", "theirs_id").rows() == [
        ("a", "1", 7),
        ("b", "2", 8),
    ]
    assert read(place, **more)["statement"].to_list() == ["b", "a"]
    problems.write_text(json.dumps([{"id": 8, "q": "b"}]))
    for options, message in [({"on": {"key": "id"}}, "no problem for the row"), ({}, "no problem")]:
        with pytest.raises(DataError, match=message):
            read(place, **more, **options)
    problems.write_text(json.dumps([{"id": 8, "q": "b"}] * 2))
    with pytest.raises(DataError, match=r"the same 'problems\.id'"):
        read(place, on={"key": "id"}, **more)


BAD = [
    ({"layout": "openr1"}, RecipeError, "no layout 'openr1'; did you mean 'openr1-math'"),
    ({"repo": "a/b", "path": "x"}, RecipeError, "name one of the two"),
    ({"path": []}, RecipeError, "which traces"),
    ({"path": [], "layout": "s1k"}, RecipeError, "run `tracecraft pin RECIPE`"),
    ({"teacher": None}, DataError, "who wrote them"),
    ({"domain": None}, DataError, "no column for 'domain'"),
    ({"flags": ["scor"]}, DataError, "no column 'scor'; did you mean 'score'"),
    ({"flags": ["score"]}, DataError, "'score' has 2 values beside 1 generations"),
    ({"map": {"completion": "question.x"}}, DataError, "has no value in any"),
    ({"map": {"statement": "output.x"}}, DataError, "no value in any of 1 rows"),
    ({"map": {"domain": "kind"}, "domain": None}, DataError, "'cooking' is no domain"),
]


@pytest.mark.parametrize(("options", "kind", "message"), BAD)
def test_a_wrong_request_is_one_error_that_says_what_next(tmp_path, options, kind, message):
    row = {"question": "2+2?", "output": "4", "score": [1, 0], "kind": "cooking"}
    with pytest.raises(kind, match=message):
        rows(tmp_path, row, **options)


def test_columns_that_nothing_explains_are_listed(tmp_path):
    with pytest.raises(DataError, match=r"no column for 'completion': it has question, zzz\n"):
        rows(tmp_path, {"question": "2+2?", "zzz": "4"})


MIP, SKY = "traces_mip_overthinking", "traces_skythought_math"


def test_real_traces_on_well_posed_questions_have_thought_answer_and_gold():
    for name, marks in [("DSQ", None), ("QwQ", None), ("s1.1", ["think\n", "\nanswer\n"])]:
        path = shared_data(f"{MIP}/gsm8k__normal__{name}.json.gz")
        table = read(
            {"path": str(path), "answer_after": "####", "domain": "math"},
            teacher=name,
            marks=marks,
        )
        assert table.height == 582
        assert table["finish"].unique().to_list() == ["stop"]
        for column in ("reasoning", "response", "answer"):
            assert (table[column].fill_null("") != "").all()
        assert table["answer"].str.contains(r"^-?[\d,.]+$").all()


def test_real_traces_that_never_close_are_cut_off_and_never_scored_right():
    path = shared_data(SKY) / "Sky-T1-math-co*.jsonl.gz"
    mapping = {"completion": "code", "answer": "gt"}
    table = read({"path": str(path)}, map=mapping, flags=["score"], teacher="t", domain="math")
    cut = table.filter(pl.col("finish") == "length")
    assert cut.height > 0
    assert not cut["theirs_score"].any()
    assert (cut["response"] == "").all()
    assert table["theirs_score"].sum() > 0


def test_real_traces_under_keys_that_hold_dots_are_reached():
    path = shared_data(f"{SKY}/Qwen2.5-32B-Instruct_MATH500_test_None_0_-1_cw_0.1.json.gz")
    mapping = {
        "completion": "responses.0.0.content",
        "completion_tokens": "token_usages.0.0.completion_tokens",
    }
    flags = ["responses.0.0.correctness"]
    table = read({"path": str(path)}, map=mapping, flags=flags, teacher="t", domain="math")
    assert table.height == 500
    assert table["completion_tokens"].null_count() == 0
    assert table["theirs_correctness"].value_counts().height == 2


def test_real_code_traces_meet_their_problems_in_another_file():
    path = shared_data("traces_r1_qwq_code/cruxeval_qwq_output_level1.json.gz")
    options = {
        "path": str(path),
        "problems": str(shared_data("code_cruxeval/cruxeval.jsonl")),
        "on": {"key": "id"},
        "map": {
            "statement": "problems.code",
            "answer": "problems.output",
            "response": "answer",
        },
        "flags": ["score"],
        "keep": ["problems.input"],
    }
    table = read(options, domain="code", teacher="Qwen/QwQ-32B")
    assert table.height == 800
    assert table["theirs_score"].sum() == 661  # as the data's own description counts them
    same = table.filter(pl.col("answer") == pl.col("response"))
    assert same["theirs_score"].all()


def test_real_choices_are_lists():
    path = shared_data("traces_qwen3_mmlupro") / "*.json.gz"
    table = read({"path": str(path)}, keep=["category"], teacher="t", domain="science")
    assert table.height == 1_780
    assert table["choices"].list.len().min() > 1
    assert table["answer"].str.contains("^[A-J]$").all()
