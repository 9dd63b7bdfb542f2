"""The measure plug point: a measure *is* a polars expression, so it is vectorised and lazy."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import polars as pl

from tracecraft.plugin import Plugin


class Measure(Plugin, kind="measure"):
    """A column computed from a row; it decides nothing."""

    @abstractmethod
    def expr(self) -> pl.Expr:
        """The column's values, over the columns of a trace."""


def by_row(column: str, kernel: Callable[[bytes], Any], kind: Any) -> pl.Expr:
    """`kernel` over the UTF-8 of each text of a column; null stays null.

    For what no expression says. A kernel should loop in C (find, split, translate), not in Python.
    """

    def apply(texts: pl.Series) -> pl.Series:
        told = [None if text is None else kernel(text) for text in texts]
        return pl.Series(texts.name, told, dtype=kind)

    return pl.col(column).cast(pl.Binary).map_batches(apply, return_dtype=kind, is_elementwise=True)


_HOMES = {
    "length": ("chars", "tokens", "words"),
    "repetition": ("compression", "loop", "novelty", "tail_loop"),
    "format": ("boxed_at", "boxed_count", "boxed_values", "cut_off", "think_tags", "turns"),
    "language": ("foreign_letters", "hesitation", "hints", "refusal"),
    "premise": ("doubts",),
    "statement": ("answer_shown", "asks_figure", "asks_proof", "english", "parts"),
}
Measure.known.update(
    {name: f"tracecraft.select.{module}" for module, names in _HOMES.items() for name in names}
)
