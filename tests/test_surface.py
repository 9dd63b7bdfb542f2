"""The public surface: names, command-line flags and tables change only on purpose.

After a change on purpose: `TRACECRAFT_UPDATE_GOLDEN=1 pytest tests/test_surface.py`.
"""

import os
from pathlib import Path

import typer.main

import tracecraft as tc
from tracecraft import schema
from tracecraft.cli.app import add_commands, app
from tracecraft.cli.catalog import POINTS, plug_point

GOLDEN = Path(__file__).parent / "golden/surface.txt"


def ours(home: str | type) -> bool:
    """Whether a plugin is built in, and not one that a test has made."""
    return (home if isinstance(home, str) else home.__module__).startswith("tracecraft.")


def surface() -> str:
    lines = [f"name {name}" for name in tc.__all__]
    add_commands()
    group = typer.main.get_command(app)
    for command in sorted(group.commands.values(), key=lambda c: c.name):
        words = sorted("/".join(p.opts) for p in command.params)
        lines.append(f"command {command.name} {' '.join(words)}")
    for table in ("QUESTION", "PROBLEM", "TRACE", "VERDICT", "EXAMPLE", "SCORE"):
        columns = getattr(schema, table).items()
        lines.append(
            f"table {table} " + " ".join(f"{n}:{t.base_type().__name__}" for n, t in columns)
        )
    for kind in POINTS:
        known = plug_point(kind).known.items()
        lines += [
            f"{kind} {name}" for name, home in sorted(known, key=lambda one: one[0]) if ours(home)
        ]
    return "\n".join(lines) + "\n"


def test_the_surface_is_what_it_was():
    if os.environ.get("TRACECRAFT_UPDATE_GOLDEN"):
        GOLDEN.write_text(surface())
    assert surface() == GOLDEN.read_text(), "changed on purpose? see the top of this file"


def test_all_names_are_sorted_and_there():
    assert sorted(tc.__all__) == tc.__all__
    for name in tc.__all__:
        assert getattr(tc, name) is not None
