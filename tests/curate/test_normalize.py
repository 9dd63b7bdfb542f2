import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.curate.normalize import Normalize
from tracecraft.errors import DataError
from tracecraft.schema import PROBLEM, QUESTION
from tracecraft.stage import Stage

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def asked(*statements, **columns) -> pl.LazyFrame:
    rows = [
        {"source": "s", "license": "MIT", "statement": one, "answer": " 4 "} for one in statements
    ]
    return pl.LazyFrame(rows, schema=QUESTION).with_columns(**columns)


def normalize(table: pl.LazyFrame, **options) -> pl.DataFrame:
    return Normalize(**{"domain": "math"} | options)(table).collect()


def ids(*statements) -> list[str]:
    return normalize(asked(*statements))["problem_id"].to_list()


@settings(deadline=None, max_examples=150)
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_normalising_twice_changes_nothing(statements):
    once = normalize(asked(*statements))
    again = normalize(asked(*once["statement"]))
    assert again["statement"].to_list() == once["statement"].to_list()
    assert again["problem_id"].to_list() == once["problem_id"].to_list()


@settings(deadline=None, max_examples=100)
@given(TEXT)
def test_unicode_forms_letter_case_and_white_space_are_one_problem(text):
    decomposed = unicodedata.normalize("NFD", text)
    spaced = f"\ufeff\t{text.replace(' ', '  ')}\r\n"
    assert len(set(ids(text, decomposed, spaced))) == 1


def test_the_id_is_fixed_for_good():  # printf "what is 2+2?" | b2sum -l 96
    assert ids("What is 2+2?") == ["892f463cac85edc3dd39799c"]


def test_different_problems_have_different_ids():
    assert len(set(ids("x^2", "x^3", "x 2", "x2", "x²"))) == 5


def test_signs_of_mathematics_stay_as_they_are():
    text = "∀x² ≤ ½·√π, \\frac{1}{2} \\(a\\) − ﬁ ℝ 3\u202f000 👩\u200d🔬"
    assert normalize(asked(text))["statement"].to_list() == [text]


def test_line_ends_trailing_spaces_and_invisible_characters_go():
    made = normalize(asked("\ufeff a \u200b\r\nb\t\rc\u2060 \n\n"))
    assert made["statement"].to_list() == ["a\nb\nc"]


def test_an_empty_statement_is_dropped_by_name_and_a_missing_answer_is_not():
    table = asked("a", " \u200b\n", None, answer=pl.lit(None, pl.String))
    made = normalize(table)
    assert made["dropped"].to_list() == [None, "empty_statement", "empty_statement"]
    assert made["answer"].to_list() == [None] * 3


def test_a_blank_answer_is_none():
    assert normalize(asked("a", answer=pl.lit(" ")))["answer"].to_list() == [None]
    assert normalize(asked("a"))["answer"].to_list() == ["4"]


def test_dollars_replace_latex_delimiters_only_where_asked():
    text = r"\(x\) and \[A=\begin{pmatrix}1\\[2pt]2\end{pmatrix}\] cost \$5"
    assert normalize(asked(text))["statement"].item() == text
    made = normalize(asked(text), delimiters="dollar")["statement"].item()
    assert made == r"$x$ and $$A=\begin{pmatrix}1\\[2pt]2\end{pmatrix}$$ cost \$5"


def test_domain_source_and_licence_are_declared_or_the_rows_own():
    table = asked("a", source=pl.lit(None, pl.String), license=pl.lit(None, pl.String))
    made = normalize(table, source="here", license="CC0")
    assert made.row(0, named=True)["source"] == "here"
    assert made.row(0, named=True)["license"] == "CC0"
    own = Normalize()(asked("a", domain=pl.lit("code"))).collect()
    assert own["domain"].to_list() == ["code"]


def test_a_domain_that_is_none_is_refused():
    with pytest.raises(DataError, match="no column 'domain'"):
        Normalize()(asked("a"))
    with pytest.raises(DataError, match=r"holds 'biology', known are math"):
        Normalize()(asked("a", domain=pl.lit("biology"))).collect()


def test_a_problem_has_its_columns_in_front_and_keeps_the_others():
    table = asked("a", solution=pl.lit("s"), problem_id=pl.lit("7"))
    made = normalize(table)
    assert list(made.schema)[: len(PROBLEM)] == list(PROBLEM)
    assert {name: made.schema[name] for name in PROBLEM} == dict(PROBLEM)
    assert made["theirs_problem_id"].to_list() == ["7"]
    assert made["solution"].to_list() == ["s"]


def test_it_is_the_stage_that_a_recipe_names():
    assert Stage.bind({"use": "normalize", "domain": "math"}) == Normalize(domain="math")
