"""A table's texts, read in pieces as often as need be, so that they never lie in memory at once."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tracecraft.curate.minhash import Views
from tracecraft.curate.shingle import prepare

BATCH_BYTES = 32_000_000
"""Text that one piece holds, roughly."""
MOST_ROWS = 1 << 16
"""Rows that one piece holds at most: what is kept of each takes memory too."""
HELD_BYTES = 1 << 29
"""Text that may be held in memory while it is compared."""
SPARSE = 0.5
"""Share of a piece's rows below which the chosen ones are copied: a slice holds on to it all."""
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
        return int(np.clip(BATCH_BYTES / max(mean or 0, 1), LEAST_ROWS, MOST_ROWS))

    def batches(self, *expressions: pl.Expr) -> Iterator[pl.DataFrame]:
        """Expressions over all rows, in order, in pieces."""
        chosen = self.table.select(*expressions)
        return iter(chosen.collect_batches(chunk_size=self.batch_rows(), maintain_order=True))

    def slices(self, *expressions: pl.Expr) -> Iterator[pl.LazyFrame]:
        """The same, not yet read: for whoever reads them elsewhere."""
        chosen, step = self.table.select(*expressions), self.batch_rows()
        rows = self.table.select(pl.len()).collect().item()
        return (chosen.slice(start, step) for start in range(0, rows, step))

    def pieces(self, expression: pl.Expr, rows: NDArray[np.int64]) -> Iterator[pl.Series]:
        """An expression's values for some rows, given in ascending order, in pieces."""
        return (values for values, _ in self._chosen(expression, rows))

    def _chosen(
        self, expression: pl.Expr, rows: NDArray[np.int64]
    ) -> Iterator[tuple[pl.Series, float]]:
        """`pieces`, each with the share of its rows that were chosen."""
        start = 0
        for batch in self.batches(*map(pl.col, dict.fromkeys(expression.meta.root_names()))):
            first, last = np.searchsorted(rows, [start, start + batch.height])
            if last > first:
                some = batch[rows[first:last] - start]
                yield some.select(expression.alias("value"))["value"], some.height / batch.height
            start += batch.height

    def some(self, expression: pl.Expr, rows: NDArray[np.int64]) -> pl.Series:
        """An expression's values for some rows, given in ascending order."""
        parts = list(self.pieces(expression, rows))
        return pl.concat(parts) if parts else pl.Series("value", [], pl.String)

    def held(self, rows: NDArray[np.int64], *, fold: bool, scratch: Path | None) -> Views:
        """The prepared texts of some rows, given in ascending order, at hand for kernels.

        What exceeds `HELD_BYTES` lies in a file of `scratch`, mapped, that is gone with them.
        """
        parts: list[pl.Series] = []
        sizes: list[NDArray[np.int64]] = []
        size = 0
        with contextlib.ExitStack() as opened:
            file = None
            for piece, share in self._chosen(self.text, rows):
                texts = prepare(piece, fold=fold)
                texts = _copied(texts) if share < SPARSE else texts
                parts.append(texts)
                sizes.append(texts.str.len_bytes().cast(pl.Int64).to_numpy())
                size += int(sizes[-1].sum())
                if size > HELD_BYTES and file is None:
                    if scratch is not None:
                        scratch.mkdir(parents=True, exist_ok=True)
                    file = opened.enter_context(tempfile.TemporaryFile(dir=scratch))
                if file is not None:
                    for part in parts:
                        file.write(_bytes(part))
                    parts.clear()
            if file is None:
                return Views.of(pl.concat(parts) if parts else pl.Series([], dtype=pl.String))
            file.flush()
            mapped = np.memmap(file, np.uint8, "r")
        lengths = np.concatenate(sizes)
        begins = (np.cumsum(lengths) - lengths).astype(np.uint64)
        return Views(begins + np.uint64(mapped.ctypes.data), lengths, mapped)


def _copied(texts: pl.Series) -> pl.Series:
    """The same texts in memory of their own."""
    return pl.Series(texts.to_arrow(compat_level=pl.CompatLevel.oldest()))


def _bytes(texts: pl.Series) -> memoryview:
    """All texts, one behind the other."""
    array = texts.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest())
    borders = np.frombuffer(array.buffers()[1], np.int64)[array.offset :]
    return memoryview(array.buffers()[2])[borders[0] : borders[len(array)]]
