"""Problems from the Hugging Face hub, always at a named revision."""

from collections.abc import Iterator
from typing import Any, Literal, Self

import polars as pl
from pydantic import model_validator

from tracecraft.curate import shape
from tracecraft.curate.formats import PIECE_ROWS
from tracecraft.curate.questions import Opened, Questions
from tracecraft.errors import DataError, RecipeError

MOVING = ("main", "master", "HEAD")


class Hub(Questions, use="hub", version=1):
    """Problems of a dataset on the hub; what was fetched once is read from the cache."""

    repo: str
    """`org/name`."""
    revision: str | None = None
    """Commit of the dataset; without one the recipe is refused."""
    config: str | None = None
    """Which configuration (subset) of the dataset."""
    split: str = "train"
    """Which split of it."""
    source: str | None = None
    """Where the rows are from; without it `hf:REPO@REVISION`."""

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        check_pinned(self.repo, self.revision)
        return self

    def opened(self) -> Opened:
        return open_hub(self.repo, str(self.revision), self.config, self.split)

    def _found(self, place: Opened) -> dict[str, str]:
        known = super()._found(place)
        if "source" not in self.map:  # what a set calls its source names no repository
            known.pop("source", None)
        return known


def check_pinned(repo: str, revision: str | None) -> None:
    """Raise where a source could hold other rows tomorrow."""
    if revision is None:
        raise RecipeError(f"{repo} has no revision\n  next   run `tracecraft pin RECIPE`")
    if revision in MOVING:
        raise RecipeError(
            f"{repo}: revision {revision!r} moves: name a commit"
            "\n  next   take the line out, then run `tracecraft pin RECIPE`"
        )


def open_hub(repo: str, revision: str, config: str | None, split: str) -> Opened:
    """The rows of a dataset on the hub, fetched or from the cache.

    Raises:
        DataError: there is no such dataset, configuration or split, or no way to it.
    """
    import pyarrow as pa

    from tracecraft.curate.arrows import plain

    where = f"hf:{repo}@{revision}"
    table = _loaded(repo, revision, config, split, where).with_format("arrow")
    empty: pa.Table = table.features.arrow_schema.empty_table()

    def pieces(schema: pl.Schema) -> Iterator[tuple[str, pl.DataFrame]]:
        for batch in table.iter(PIECE_ROWS):
            yield where, shape.cast(plain(batch), schema)

    return Opened(where, plain(empty).schema, pieces)


def _loaded(repo: str, revision: str, config: str | None, split: str, where: str) -> Any:
    import datasets
    from huggingface_hub.errors import HfHubHTTPError

    # Everything that `datasets` and the client raise for a wrong name or a missing way
    faults = (datasets.exceptions.DatasetsError, HfHubHTTPError, OSError, ValueError)
    try:
        return datasets.load_dataset(repo, name=config, split=split, revision=revision)
    except faults as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{where}: {first}"
            "\n  next   check name, config and split; a private or gated set wants HF_TOKEN;"
            "\n         without a network only what the cache holds can be read"
        ) from error


def current_revision(repo: str, kind: Literal["dataset", "model"] = "dataset") -> str:
    """The commit that `main` of a repository points to now.

    Raises:
        DataError: no such repository, or no way to it.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        sha = HfApi().repo_info(repo, repo_type=kind).sha
    except (HfHubHTTPError, OSError, ValueError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"hf:{repo}: {first}\n  next   check the name; a private one wants HF_TOKEN"
        ) from error
    if sha is None:
        raise DataError(f"hf:{repo}: has no commit\n  next   check that anything was uploaded")
    return sha
