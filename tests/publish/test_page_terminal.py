"""The report's twin in a terminal: the same figures, and texts that cannot steer it."""

import io
import json

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rehearsal import workshop
from rich.console import Console

from tracecraft.cli.figures import WIDTH, bar, columns, whisker
from tracecraft.cli.show import print_rows, print_table

SHARES = st.floats(0, 1)
STEERING = "\x1b[2J\x1b]0;title\x07 [bold]not bold[/bold] [/nonsense] \u202egnp.exe \x9b31m"


@given(SHARES)
def test_a_bar_is_as_wide_as_its_column(share):
    assert len(bar(share)) == WIDTH
    assert bar(0).strip() == ""
    assert bar(1) == "█" * WIDTH


@given(SHARES, SHARES, SHARES)
def test_a_whisker_holds_its_value_between_its_ends(one, two, three):
    low, value, high = sorted((one, two, three))
    line = whisker(value, low, high)
    assert len(line) == WIDTH
    assert line.count("●") == 1
    assert line.index("●") == min(WIDTH - 1, int(value * WIDTH))


@given(st.lists(st.integers(0, 10**9), max_size=40))
def test_what_is_not_zero_can_be_seen(counts):
    assert [level == " " for level in columns(counts)] == [n == 0 for n in counts]


@pytest.mark.parametrize("name", ["statement", "response", "reasoning", "source"])
def test_a_text_cannot_steer_the_terminal_and_is_no_markup(name):
    told = io.StringIO()
    console = Console(file=told, width=120, force_terminal=True, color_system=None)
    print_rows(pl.DataFrame({name: [STEERING], "domain": ["math"]}), console, "x")
    print_table([{name: STEERING}], console)
    assert not set("\x07\u202e\x9b") & set(told.getvalue())
    assert "\x1b[2J" not in told.getvalue()
    assert "\x1b]" not in told.getvalue()
    assert told.getvalue().count("[bold]not bold[/bold]") == 2


def test_show_draws_a_run_and_folds_the_reasoning_of_a_row(tracecraft, tmp_path):
    recipe = workshop(tmp_path / "w")
    tracecraft("run", recipe, "--store", "runs")
    told = tracecraft("show", "latest", "--store", "runs").stdout
    for part in ("correct, with 95% over problems", "problems by correct traces", "├", "█"):
        assert part in told
    rows = tracecraft("show", "latest/judged", "--rows", 12, "--store", "runs").stdout
    assert "reasoning, 14 characters" in rows
    assert "three quarters" in rows
    found = tracecraft("show", "latest/kept", "--rule", "wrong", "--json", "--store", "runs")
    assert {row["dropped"] for row in json.loads(found.stdout)} == {"wrong"}
