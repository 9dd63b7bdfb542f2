import importlib.metadata

import polars as pl
import pytest

from tracecraft.curate.source import Source
from tracecraft.errors import DataError, MissingExtra
from tracecraft.schema import QUESTION
from tracecraft.verify.verifier import Verifier

SHORT = ("chain_sum", "simple_equations", "gcd", "gsm_symbolic", "fraction_simplification")


def read(**options) -> pl.DataFrame:
    pytest.importorskip("reasoning_gym")
    return pl.concat(Source.bind({"use": "procedural", **options}).read())


def test_the_same_seed_makes_the_same_problems():
    one = read(dataset="chain_sum", size=20, seed=3, domain="math")
    assert one.equals(read(dataset="chain_sum", size=20, seed=3, domain="math"))
    assert not one.equals(read(dataset="chain_sum", size=20, seed=4, domain="math"))
    assert list(one.schema)[:4] == list(QUESTION)
    assert one["source"][0].startswith("reasoning-gym:chain_sum@")
    assert one["license"].unique().to_list() == ["Apache-2.0"]


def test_more_problems_begin_with_the_same_ones():
    few = read(dataset="gcd", size=5, seed=3)
    assert read(dataset="gcd", size=2_005, seed=3).head(5).equals(few)


def test_options_of_the_dataset_are_passed_on():
    table = read(dataset="chain_sum", size=5, config={"min_terms": 2, "max_terms": 2})
    assert table["statement"].str.count_matches(r" [+-] ").to_list() == [1] * 5


@pytest.mark.parametrize("name", SHORT)
def test_short_answers_are_right_by_our_own_verifier(name):
    pytest.importorskip("math_verify")
    verifier = Verifier.named("math")()
    for row in read(dataset=name, size=10, seed=5).iter_rows(named=True):
        verdict = verifier.judge(row, f"so it is \\boxed{{{row['answer'].strip('$')}}}")
        assert verdict.outcome == "correct", (row["answer"], verdict)


def test_wrong_names_and_options_list_what_is_known():
    with pytest.raises(DataError, match="no dataset 'chain_sums'; did you mean 'chain_sum'"):
        read(dataset="chain_sums")
    with pytest.raises(DataError, match=r"min_term'\n  known: .*max_terms"):
        read(dataset="chain_sum", config={"min_term": 2})
    with pytest.raises(DataError, match="chain_sum: "):
        read(dataset="chain_sum", config={"min_terms": 9, "max_terms": 2})


def test_without_the_package_the_plan_already_says_so(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    source = Source.bind({"use": "procedural", "dataset": "chain_sum"})
    with pytest.raises(MissingExtra, match=r"pip install 'tracecraft\[gym\]'"):
        source.identity()
