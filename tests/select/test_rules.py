from functools import cache
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from rows import verdicts

from tracecraft.errors import RuleError
from tracecraft.select.rules import Filter, RuleFile

RULES = """
name: small
measures: [boxed_count]
rules:
  - {drop: wrong, when: outcome = 'incorrect', why: it is}
  - {drop: long, when: completion_tokens > 100, why: it is}
  - {drop: unboxed, when: boxed_count = 0, why: it is}
cases:
  - {expect: keep, row: {outcome: correct, response: '\\boxed{3}'}}
  - {expect: wrong, row: {outcome: incorrect, completion_tokens: 500}}
"""


def written(folder: Path, text: str, name: str = "f.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_first_rule_that_matches_names_the_drop(tmp_path: Path) -> None:
    rows = verdicts(
        {},
        {"outcome": "incorrect", "completion_tokens": 500},
        {"completion_tokens": 500, "response": "3"},
        {"response": "3"},
    )
    told = Filter(rules=written(tmp_path, RULES))(rows.lazy()).collect()
    assert told["dropped"].to_list() == [None, "wrong", "long", "unboxed"]
    assert told["boxed_count"].to_list() == [1, 1, 0, 0]
    assert told.drop("dropped", "boxed_count").equals(rows)


def test_null_never_drops(tmp_path: Path) -> None:
    rows = verdicts({"outcome": None, "completion_tokens": None, "response": None})
    told = Filter(rules=written(tmp_path, RULES))(rows.lazy()).collect()
    assert told["dropped"].to_list() == [None]


@cache
def shipped() -> Filter:
    return Filter(rules=Path(__file__).parents[2] / "filters/math.yaml")


maybe = st.one_of(st.none(), st.sampled_from(["", "3", r"\boxed{3}", r"\boxed{", "é\n```"]))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "outcome": st.sampled_from([None, "correct", "incorrect", "failed"]),
                "completion_tokens": st.one_of(st.none(), st.integers(0, 200)),
                "response": maybe,
                "reasoning": maybe,
                "statement": maybe,
                "finish": st.sampled_from([None, "stop", "length"]),
            }
        ),
        min_size=1,
        max_size=8,
    )
)
def test_every_row_comes_back_in_order_and_alone_it_fares_the_same(cells: list) -> None:
    rows = verdicts(*cells)
    stage = shipped()
    told = stage(rows.lazy()).collect()
    assert told["trace_id"].to_list() == rows["trace_id"].to_list()
    alone = [stage(rows[i].lazy()).collect()["dropped"][0] for i in range(rows.height)]
    assert told["dropped"].to_list() == alone
    backwards = stage(rows.reverse().lazy()).collect().reverse()
    assert backwards.equals(told)


def test_cases_test_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, RULES)
    assert RuleFile.load(path).broken_cases("f") == []
    path.write_text(RULES.replace("expect: wrong, ", "expect: long, "))
    assert RuleFile.load(path).broken_cases("f") == ["f: cases[1]: expected 'long', got 'wrong'"]


def test_the_key_is_what_the_rules_say(tmp_path: Path) -> None:
    key = Filter(rules=written(tmp_path, RULES)).identity()
    same = RULES.replace("why: it is", "why: other words").partition("cases:")[0]
    assert Filter(rules=written(tmp_path, same, "g.yaml")).identity() == key
    changed = RULES.replace("> 100", "> 101")
    assert Filter(rules=written(tmp_path, changed)).identity() != key
    measured = RULES.replace("[boxed_count]", "[boxed_count, loop]")
    assert Filter(rules=written(tmp_path, measured)).identity() != key


def test_what_a_stage_read_does_not_change_under_it(tmp_path: Path) -> None:
    stage = Filter(rules=written(tmp_path, RULES))
    written(tmp_path, RULES.replace("> 100", "> 1"))
    assert stage(verdicts({}).lazy()).collect()["dropped"].to_list() == [None]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "boxed_count = 0",
            "boxed_cnt = 0",
            "f.yaml: rules[2].when: no column 'boxed_cnt'; did you mean 'boxed_count'?",
        ),
        ("boxed_count = 0", "loop = 'tail'", "it is a measure: add it to `measures:`"),
        ("[boxed_count]", "[boxed_cuont]", "did you mean 'boxed_count'"),
        ("[boxed_count]", "[boxed_count, {use: novelty, ngramm: 3}]", "did you mean 'ngram'"),
        ("[boxed_count]", "[boxed_count, boxed_count]", "measures[1]: a second 'boxed_count'"),
        (
            "drop: long",
            "dorp: long",
            "f.yaml: rules[1].dorp: Rule has no 'dorp'; did you mean 'drop'",
        ),
        ("drop: long", "drop: keep", "rules[1].drop: 'keep' is what happens"),
        ("drop: long", "drop: Too Long", "rules[1].drop"),
        (", why: it is}", "}", "rules[0].why: is missing"),
        ("> 100", "> MAX(completion_tokens)", "rules[1].when: an aggregate"),
        ("= 'incorrect'", "= 'wrong'", "outcome is never 'wrong'"),
        ("expect: wrong", "expect: wrnog", "cases[1].expect: no rule drops 'wrnog'"),
        ("name: small", "name: small\nname: twice", "f.yaml:3: not valid YAML"),
        ("name: small", "name: [", "f.yaml:"),
        ("name: small", "title: small", "RuleFile has no 'title'"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    path = written(tmp_path, RULES.replace(old, new, 1))
    with pytest.raises(RuleError) as caught:
        RuleFile.load(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)
    with pytest.raises(ValidationError):
        Filter(rules=path)


@pytest.mark.parametrize("text", ["", "[]", "3", "- a"])
def test_a_file_that_is_no_filter_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(RuleError, match=r"f\.yaml"):
        RuleFile.load(written(tmp_path, text))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RuleError, match="no such file"):
        RuleFile.load(tmp_path / "none.yaml")


def test_a_column_that_the_table_lacks_is_an_error_and_never_ignored(tmp_path: Path) -> None:
    stage = Filter(rules=written(tmp_path, RULES))
    with pytest.raises(RuleError, match=r"rules\[1\]\.when: no column 'completion_tokens'"):
        stage(verdicts({}).drop("completion_tokens").lazy())
    with pytest.raises(RuleError, match=r"measures\[0\]: boxed_count reads a column 'response'"):
        stage(verdicts({}).drop("response").lazy())


def test_a_table_of_other_columns_is_checked_against_itself(tmp_path: Path) -> None:
    text = "name: own\nrules: [{drop: low, when: score < 0.5, why: it is}]\n"
    path = written(tmp_path, text)
    with pytest.raises(RuleError, match="no column 'score'"):
        RuleFile.load(path)
    table = pl.DataFrame({"score": [0.1, None, 0.9]})
    stage = Filter(rules=path, columns=("score",))
    assert stage(table.lazy()).collect()["dropped"].to_list() == ["low", None, None]
    with pytest.raises(ValidationError, match="no column 'score'; did you mean 'scores'"):
        Filter(rules=path, columns=("scores",))
    declared = written(tmp_path, text + "columns: {score: Float64}\n")
    assert Filter(rules=declared).needs() == (pl.Schema({"score": pl.Float64}),)
    with pytest.raises(RuleError, match=r"columns\.score: no type 'float'"):
        RuleFile.load(written(tmp_path, text + "columns: {score: float}\n"))


def test_a_measure_may_stand_twice_under_two_names(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "name: two\n"
        "measures: [chars, {use: chars, column: statement, as: asked}]\n"
        "rules: [{drop: short, when: asked < 3 OR chars < 2, why: it is}]\n",
    )
    told = Filter(rules=path)(verdicts({}, {"statement": "?"}).lazy()).collect()
    assert told["dropped"].to_list() == [None, "short"]
    assert told["asked"].to_list() == [12, 1]


def test_a_filter_needs_the_columns_its_rules_and_measures_read(tmp_path: Path) -> None:
    (needed,) = Filter(rules=written(tmp_path, RULES)).needs()
    assert set(needed.names()) == {"outcome", "completion_tokens", "response"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{boxed_count: 1}", "cases[2].row: no column 'boxed_count'; a measure is computed"),
        ("{outcom: correct}", "did you mean 'outcome'"),
        ("{outcome: fine}", "cases[2].row.outcome: 'fine' is no Enum"),
        ("{completion_tokens: many}", "cases[2].row.completion_tokens"),
    ],
)
def test_a_case_with_a_wrong_cell_is_told(tmp_path: Path, row: str, told: str) -> None:
    file = RuleFile.load(written(tmp_path, RULES + f"  - {{expect: keep, row: {row}}}\n"))
    with pytest.raises(RuleError) as caught:
        file.broken_cases("f")
    assert told in str(caught.value)


def test_a_long_text_of_a_case_is_written_by_its_unit(tmp_path: Path) -> None:
    more = r"  - {expect: unboxed, row: {response: {repeat: 'so ', times: 900}}}"
    file = RuleFile.load(written(tmp_path, RULES + more + "\n"))
    assert file.cases[2].row["response"] == "so " * 900
    assert file.broken_cases("f") == []
