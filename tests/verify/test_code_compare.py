"""When an output, or a result, is the one expected."""

import math
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tracecraft.verify.code_compare import compare_text, compare_value
from tracecraft.verify.codec import Encoder, Undecodable, decode, encode

TEXTS = [
    ("5\n", "5", "exact"),
    ("5  \n\n\n", "5\n", "exact"),
    ("\n5", "5", "exact"),
    ("a\r\nb\r\n", "a\nb", "exact"),
    ("1  2   3", "1 2 3", "spaces"),
    ("  7", "7", "spaces"),
    ("1.0", "1", "decimals"),
    ("0.50", "0.5", "decimals"),
    ("1e3", "1000", "decimals"),
    ("0.3333333", "0.33333334", "tolerance"),
    ("1000000.4", "1000000.0", "tolerance"),
    ("2", "2.0000001", "tolerance"),
    ("1000001", "1000000", None),
    ("0.334", "0.3333", None),
    ("1 2 3", "1 2", None),
    ("1\n2", "1 2", None),
    ("1\n2\n3", "1\n2", None),
    ("1\n", "1\n2\n3", None),
    ("1\n\n2", "1\n2", None),
    ("YES", "Yes", None),
    ("nan", "0.5", None),
    ("inf", "1.0", None),
    ("", "0", None),
    ("1e999999999", "1.5", None),
    ("x" * 10_000, "1.5", None),
]


@pytest.mark.parametrize(("got", "expected", "rule"), TEXTS)
def test_outputs_agree_by_the_rule_that_is_named(got: str, expected: str, rule: str | None) -> None:
    match = compare_text(got, expected)
    assert (match.why if match.same else None) == rule


FLOATS = [
    # what was printed, what was expected, by lines, by decimals, by tokens
    ("6.06449510224598", "6.06449510224597979401", "tolerance", None, "tolerance"),
    ("6.06", "6.06449510224597979401", None, None, None),
    ("384694.57587932075", "384694.57587932075868509383", "tolerance", None, "tolerance"),
    ("6.0644950", "6.064495", "decimals", "decimals", "decimals"),
    ("0.50000", "0.5", "decimals", "decimals", "decimals"),
    ("0.30000000000000004", "0.3", "tolerance", None, "tolerance"),
    ("0.300005", "0.3", None, None, "tolerance"),
    ("0.0000004", "0.0", "tolerance", None, "tolerance"),
    ("3", "2.9999999", "tolerance", None, "tolerance"),
    ("2.9999999", "3", None, None, None),
    ("1e400", "2.5e400", None, None, None),
    ("12345678", "12345679", None, None, None),
    ("0.1 x", "0.10000001 x", "tolerance", None, "tolerance"),
]


@pytest.mark.parametrize(("got", "expected", "lines", "decimals", "tokens"), FLOATS)
def test_a_number_may_be_off_as_far_as_the_rule_of_the_format_allows(
    got: str, expected: str, lines: str | None, decimals: str | None, tokens: str | None
) -> None:
    for rule, wanted in (("lines", lines), ("decimals", decimals), ("tokens", tokens)):
        match = compare_text(got, expected, rule)
        assert (match.why if match.same else None) == wanted, rule
    if lines == "tolerance":
        assert "close but not equal" in compare_text(got, expected, "decimals").why


def test_codecontests_words_may_stand_anywhere_in_any_case() -> None:
    assert compare_text("yes\n1 2", "YES 1\n2\n", "tokens").same
    assert not compare_text("yes 1", "YES 1 2", "tokens").same
    assert compare_text("b\na", "a\nb", "unordered").same


VALUES = [
    ([1, 2], (1, 2), True, False),
    ((1, (2,)), [1, [2]], True, False),
    (1, 1.0, True, True),
    (True, 1, False, True),
    (False, 0, False, True),
    ("1", 1, False, False),
    (0.1 + 0.2, 0.3, True, False),
    (0.31, 0.3, False, False),
    (math.nan, math.nan, True, False),
    ({1: "a"}, {"1": "a"}, True, False),
    ({1: "a"}, {1: "a"}, True, True),
    ({1, 2}, [2, 1], True, False),
    (None, 0, False, False),
    ("a", "a", True, True),
    (10**400, 1.0, False, False),
    ([], None, False, False),
]


@pytest.mark.parametrize(("got", "expected", "loose", "python"), VALUES)
def test_results_agree_loosely_or_as_python_says(
    got: object, expected: object, loose: bool, python: bool
) -> None:
    assert compare_value(got, expected).same is loose
    assert compare_value(got, expected, "python").same is python


def test_what_cannot_be_shown_can_be_compared() -> None:
    assert "too large" in compare_value([10**9999], [1]).why
    assert compare_value(10**9999, 10**9999).same


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
    | st.binary() | st.complex_numbers(allow_nan=False) | st.fractions() | st.dates()
    | st.datetimes() | st.timedeltas() | st.decimals(allow_nan=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@settings(deadline=None)
@given(PLAIN)
def test_values_come_back_as_they_were(value: object) -> None:
    back = decode(encode(value))
    assert back == value
    assert type(back) is type(value)


@settings(deadline=None)
@given(st.sets(st.integers() | st.text()) | st.frozensets(st.tuples(st.integers(), st.text())))
def test_sets_come_back_as_they_were(value: object) -> None:
    assert decode(encode(value)) == value


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from("itsfdbqcDFRnaorN") | st.just("td"), inner, max_size=2)
    ),
)


@settings(deadline=None)
@given(JSON)
@example({"r": "00"})
def test_a_forged_text_is_a_value_or_is_refused(text: object) -> None:
    with suppress(Undecodable):
        compare_value(decode(text), 1)


def test_objects_keep_only_their_name() -> None:
    class Sly(str):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = str.__hash__

    assert decode(encode(Sly("x"))) == "x"
    assert type(decode(encode(Sly("x")))) is str
    assert decode(encode(object())) != decode(encode(object()))
    assert Encoder(lambda v: {"b": "00"}).encode(object()) == {"b": "00"}
