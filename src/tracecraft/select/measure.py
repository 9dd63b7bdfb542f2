"""The measure plug point: a measure *is* a polars expression, so it is vectorised and lazy."""

from abc import abstractmethod

import polars as pl

from tracecraft.plugin import Plugin


class Measure(Plugin, kind="measure"):
    """A column computed from a row; it decides nothing."""

    @abstractmethod
    def expr(self) -> pl.Expr:
        """The column's values, over the columns of a trace."""
