"""Everything in recipes/ and filters/ loads and keeps its cases."""

from pathlib import Path

import pytest

import tracecraft as tc
from tracecraft.select.rules import RuleFile

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda p: p.name)
def test_a_recipe_loads(path):
    recipe = tc.load_recipe(path)
    assert recipe.steps
    assert recipe.name == path.stem


@pytest.mark.parametrize("path", sorted((ROOT / "filters").glob("*.yaml")), ids=lambda p: p.name)
def test_a_filter_keeps_its_word(path):
    file = RuleFile.load(path)
    assert file.broken_cases(path.name) == []
    assert file.cases
