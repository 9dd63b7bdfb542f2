"""Problems that a program makes, from `reasoning-gym`: any number, each with its answer."""

import importlib.metadata
import warnings
from collections.abc import Iterator
from typing import Any

import polars as pl
from pydantic import Field

from tracecraft.curate import shape
from tracecraft.curate.formats import PIECE_ROWS
from tracecraft.curate.questions import Domain
from tracecraft.curate.source import Source
from tracecraft.errors import DataError, MissingExtra, did_you_mean
from tracecraft.schema import DOMAIN

PACKAGE = "reasoning-gym"


class Procedural(Source, use="procedural", version=1):
    """Problems of one reasoning-gym dataset; the same seed makes the same ones."""

    dataset: str
    """Its name there: `gsm_symbolic`, `chain_sum`, …"""
    size: int = Field(default=500, gt=0)
    """How many problems."""
    seed: int = 0
    """What they are drawn from."""
    config: dict[str, Any] = Field(default_factory=dict)
    """The dataset's own options, such as `min_terms`."""
    domain: Domain | None = None
    """The domain of all rows."""

    def identity(self) -> dict[str, Any]:
        """The package's version counts: another one may make other problems."""
        return {**super().identity(), "package": _version()}

    def read(self) -> Iterator[pl.DataFrame]:
        made = self._made()
        source = f"{PACKAGE}:{self.dataset}@{_version()}"
        for start in range(0, self.size, PIECE_ROWS):
            rows = [made[i] for i in range(start, min(start + PIECE_ROWS, self.size))]
            yield self._table(rows, source)

    def _table(self, rows: list[dict[str, Any]], source: str) -> pl.DataFrame:
        def column(name: str) -> pl.Series:
            return shape.series(name, [row[name] for row in rows], pl.String())

        table = pl.DataFrame(
            {
                "source": [source] * len(rows),
                "license": ["Apache-2.0"] * len(rows),
                "statement": column("question"),
                "answer": column("answer"),
                "metadata": column("metadata"),
            }
        )
        if self.domain is None:
            return table
        return table.insert_column(4, pl.lit(self.domain, DOMAIN).alias("domain"))

    def _made(self) -> Any:
        _version()
        with warnings.catch_warnings():  # its dependencies warn of their own syntax
            warnings.simplefilter("ignore")
            import reasoning_gym
            from reasoning_gym.factory import DATASETS
        if self.dataset not in DATASETS:
            hint = did_you_mean(self.dataset, DATASETS)
            raise DataError(f"{PACKAGE}: no dataset {self.dataset!r}{hint}")
        try:
            return reasoning_gym.create_dataset(
                self.dataset, size=self.size, seed=self.seed, **self.config
            )
        except (TypeError, ValueError, AssertionError) as error:
            options = DATASETS[self.dataset][1].__dataclass_fields__
            known = ", ".join(sorted(set(options) - {"size", "seed"}))
            raise DataError(f"{PACKAGE}: {self.dataset}: {error}\n  known: {known}") from error


def _version() -> str:
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise MissingExtra(PACKAGE, "gym", "a procedural source") from None
