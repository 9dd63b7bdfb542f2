"""Quantities, formulas and equations, held to a table: `reference`, `unit` (a column of its own, as
SciBench has it), `outcome`, `response`, with `\\n` for a line break.
"""

from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracecraft.verify.amounts import amount
from tracecraft.verify.dimensions import unit
from tracecraft.verify.quantity import Quantity
from tracecraft.verify.verifier import Doubt

TABLE = Path(__file__).with_name("quantity.tsv")
CASES = [line.split("\t") for line in TABLE.read_text("utf-8").splitlines()[1:]]


def _text(field: str) -> str:
    parts = field.split("\\\\")
    return "\\".join(part.replace("\\n", "\n").replace("\\t", "\t") for part in parts)


@pytest.mark.parametrize(("reference", "measure", "outcome", "response"), CASES)
def test_a_quantity_gets_its_verdict(
    reference: str, measure: str, outcome: str, response: str
) -> None:
    problem = {"answer": _text(reference), "unit": _text(measure) or None}
    verdict = Quantity().judge(problem, _text(response))
    assert verdict.outcome == outcome, verdict


def test_a_strict_policy_does_not_supply_a_unit() -> None:
    strict = Quantity(policy="strict")
    assert strict.judge({"answer": "9.8 m/s^2"}, "\\boxed{9.8}").outcome == "unverifiable"
    assert strict.judge({"answer": "7.25 %"}, "\\boxed{7.25}").outcome == "unverifiable"
    assert (
        strict.judge({"answer": "9.8 m/s^2"}, "\\boxed{9.8\\,\\mathrm{m/s^2}}").outcome == "correct"
    )


def test_the_tolerance_of_a_data_set_holds_where_it_is_given() -> None:
    scibench = Quantity(tolerance=0.05)
    assert scibench.judge({"answer": "100 J"}, "104 J").outcome == "correct"
    assert scibench.judge({"answer": "100 J"}, "106 J").outcome == "incorrect"
    assert Quantity().judge({"answer": "100 J"}, "104 J").outcome == "incorrect"


def test_units_that_no_table_of_ours_has_are_left_to_a_worker() -> None:
    assert isinstance(Quantity().glance({"answer": "3 furlong"}, "660 yd"), Doubt)
    assert Quantity().judge({"answer": "3 furlong"}, "660 yd").outcome == "correct"
    assert Quantity().judge({"answer": "3 furlong"}, "3 fortnight").outcome == "incorrect"


def test_known_units_ask_no_worker() -> None:
    assert not isinstance(Quantity().glance({"answer": "3 km"}, "3000 m"), Doubt)


@settings(deadline=None)
@given(
    st.fractions(min_value=Fraction(1, 1000), max_value=1000, max_denominator=1000),
    st.sampled_from(["m", "J", "W", "Pa", "g", "V", "mol", "eV"]),
    st.sampled_from([("k", 1000), ("m", Fraction(1, 1000)), ("", 1)]),
)
def test_a_prefix_moves_the_point_and_nothing_else(
    value: Fraction, name: str, prefix: tuple[str, int]
) -> None:
    plain, scaled = unit(name), unit(prefix[0] + name)
    assert plain is not None
    assert scaled is not None
    assert scaled.dimension == plain.dimension
    assert scaled.factor == plain.factor * prefix[1]
    digits = f"{float(value):.6g}"
    reference = amount(f"{digits} {prefix[0]}{name}")
    assert reference is not None
    assert reference.value == Fraction(digits)


@settings(deadline=None)
@given(st.text(max_size=80), st.text(max_size=80))
def test_no_pair_makes_a_glance_raise(reference: str, response: str) -> None:
    Quantity().glance({"answer": reference}, response)


@settings(deadline=None)
@given(st.floats(min_value=1e-30, max_value=1e30, allow_nan=False))
def test_the_sign_always_matters(value: float) -> None:
    verdict = Quantity().glance({"answer": f"{value:e} J"}, f"-{value:e} J")
    assert getattr(verdict, "outcome", None) == "incorrect"
