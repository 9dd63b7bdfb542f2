import polars as pl
import pytest

from tracecraft.errors import RuleError
from tracecraft.schema import VERDICT
from tracecraft.select.predicate import check_type, check_words, columns, parse

EMPTY = pl.DataFrame(
    schema={**VERDICT, "text": pl.String, "list": pl.List(pl.Int64), "number": pl.Float64}
)


def taken(sql: str) -> pl.Expr:
    where = "f: rules[0].when"
    test = parse(sql, where)
    check_words(sql, EMPTY.schema, where)
    check_type(test, EMPTY, where)
    return test


@pytest.mark.parametrize(
    "sql",
    [
        "outcome = 'incorrect'",
        "outcome IN ('correct', 'failed') AND finish IS DISTINCT FROM 'stop'",
        "completion_tokens BETWEEN 1 AND 3",
        "REGEXP_LIKE(response, '^x') OR response LIKE 'a%'",
        "LENGTH(TRIM(text)) < 3",
        "COALESCE(number, 0) > 1",
        "ARRAY_LENGTH(list) > 1 OR list[1] = 2",
        "TRY_CAST(text AS INT) > 3",
        "CASE WHEN number > 1 THEN TRUE ELSE FALSE END",
        "NOT (number > 1)",
        "text = 'Len' OR text = 'sum(x) over (select 1)'",
    ],
)
def test_a_test_of_one_row_is_taken(sql: str) -> None:
    assert set(columns(taken(sql))) <= set(EMPTY.columns)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("number > max(number)", "an aggregate"),
        ("sum(number) > 3", "an aggregate"),
        ("count(*) > 1", "an aggregate"),
        ("string_agg(text, ',') = 'b'", "an aggregate"),
        ("corr(number, completion_tokens) > 1", "an aggregate"),
        ("quantile_cont(number, 0.5) > 1", "an aggregate"),
        ("rank() over (order by number) > 1", "OVER looks at other rows"),
        ("number in (select 1)", "SELECT looks at other rows"),
        ("unnest(list) = 1", "a list unfolded"),
        ("CAST(text AS INT) > 1", "TRY_CAST"),
        ("number >", "unable to parse"),
        ("", "unable to parse"),
        ("frobnicate(text)", "unsupported function"),
        ("text", "gives String, not true or false"),
        ("completion_tokens + 1", "gives"),
        ("text > 3", "cannot compare"),
        ("REGEXP_LIKE(text, '(')", "regex: unclosed group"),
        ("outcome = 'incorect'", "outcome is never 'incorect'; did you mean 'incorrect'"),
        ("finish NOT IN ('stop', 'lenght')", "finish is never 'lenght'"),
    ],
)
def test_what_is_no_test_of_one_row_is_refused(sql: str, told: str) -> None:
    with pytest.raises(RuleError, match=r"^f: rules\[0\]") as caught:
        taken(sql)
    assert told in str(caught.value)
