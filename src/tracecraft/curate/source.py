"""The source plug point: where problems come from."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from tracecraft.plugin import Plugin
from tracecraft.schema import QUESTION


class Source(Plugin, kind="source"):
    """Rows from outside, as tables with at least the columns of `schema.QUESTION`."""

    writes: ClassVar[pl.Schema] = QUESTION
    """Columns that every piece has; others pass through."""

    @abstractmethod
    def read(self) -> Iterator[pl.DataFrame]:
        """The rows, in a fixed order, in pieces that fit in memory.

        Raises:
            DataError: where, what, what next. A row is never skipped silently.
        """


Source.known.update(
    {
        "files": "tracecraft.curate.files",
        "hub": "tracecraft.curate.hub",
        "hub_files": "tracecraft.curate.hub_files",
        "procedural": "tracecraft.curate.procedural",
        "traces": "tracecraft.curate.traces",
        "zip": "tracecraft.curate.packed",
    }
)
