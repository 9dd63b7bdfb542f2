"""What commands share: the application, its console, and options that mean the same everywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tracecraft import yaml
from tracecraft.errors import UsageError

app = typer.Typer(
    name="tracecraft",
    help="From problems to verified chain-of-thought traces, to a merged student.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
stderr = Console(stderr=True)

RecipeFile = Annotated[Path, typer.Argument(help="A recipe, as in recipes/math.yaml.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override one option: stages.traces.samples=8 (repeatable)."),
]
StoreFolder = Annotated[Path, typer.Option("--store", help="Where everything is kept.")]
Limit = Annotated[
    int | None, typer.Option(min=1, help="At most this many rows of every input that drives one.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable, on stdout.")]

RUNS = Path("runs")


def tell(error: Exception) -> None:
    """Print an error as it reads: where, what, what next."""
    stderr.print(str(error), highlight=False, markup=False, soft_wrap=True)


def override(options: dict[str, Any], sets: Sequence[str] | None) -> None:
    """Put what `--set a.b=value` says into nested options; values are YAML.

    Raises:
        UsageError: it is not of that form, or the value is no YAML.
    """
    for text in sets or ():
        dotted, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--set {text}: must be option=value")
        *holders, last = dotted.split(".")
        target = options
        for key in holders:
            target = target.setdefault(key, {})
        target[last] = yaml.parse(value, f"--set {dotted}", UsageError)
