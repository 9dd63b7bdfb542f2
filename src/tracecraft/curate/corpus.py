"""A table's texts, read in pieces as often as need be, so that they never lie in memory at once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

BATCH_BYTES = 32_000_000
"""Text that one piece holds, roughly."""
PROBE_ROWS = 256
LEAST_ROWS = 512
"""Rows at the top of a table whose length stands for all."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Rows whose text is that of one or more columns, joined by a line break."""

    table: pl.LazyFrame
    columns: Sequence[str]

    @property
    def text(self) -> pl.Expr:
        """The text of a row; null where it has none."""
        first, *more = (pl.col(name).cast(pl.String) for name in self.columns)
        return pl.concat_str(first, *more, separator="\n", ignore_nulls=True) if more else first

    def batch_rows(self) -> int:
        """Rows that hold about `BATCH_BYTES`."""
        probe = self.table.head(PROBE_ROWS).select(self.text.str.len_bytes().mean())
        mean = probe.collect().item()
        return int(np.clip(BATCH_BYTES / max(mean or 0, 1), LEAST_ROWS, 1 << 18))

    def batches(self, *expressions: pl.Expr) -> Iterator[pl.DataFrame]:
        """Expressions over all rows, in order, in pieces."""
        chosen = self.table.select(*expressions)
        return iter(chosen.collect_batches(chunk_size=self.batch_rows(), maintain_order=True))

    def some(self, expression: pl.Expr, rows: NDArray[np.int64]) -> pl.Series:
        """An expression's values for some rows, given in ascending order."""
        parts, start = [], 0
        for batch in self.batches(expression.alias("value")):
            first, last = np.searchsorted(rows, [start, start + batch.height])
            if last > first:
                parts.append(batch["value"].gather(rows[first:last] - start))
            start += batch.height
        return pl.concat(parts) if parts else pl.Series("value", [], pl.String)
