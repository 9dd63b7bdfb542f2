"""Problems of a hub repository's data files, where only a script of its own would load them."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from tracecraft.curate.files import open_files
from tracecraft.curate.hub import check_pinned
from tracecraft.curate.questions import Opened, Questions
from tracecraft.errors import DataError


class HubFiles(Questions, use="hub_files", version=1):
    """Files of a dataset's repository, read as they are; no code of the repository is run."""

    repo: str
    """`org/name`."""
    revision: str | None = None
    """Commit of the repository; without one the recipe is refused."""
    files: tuple[str, ...] = Field(strict=False, min_length=1)
    """Paths in the repository, in the order in which their rows are read."""

    @model_validator(mode="after")
    def _pinned(self) -> Self:
        check_pinned(self.repo, self.revision)
        return self

    def opened(self) -> Opened:
        place = open_files([self._fetched(file) for file in self.files], None)
        return Opened(f"hf:{self.repo}@{self.revision}", place.columns, place.pieces)

    def _fetched(self, file: str) -> Path:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            return Path(
                hf_hub_download(self.repo, file, repo_type="dataset", revision=self.revision)
            )
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(
                f"hf:{self.repo}@{self.revision}: {file}: {first}"
                "\n  next   check the network, or set HF_HUB_OFFLINE=1 where the cache has it;"
                "\n         a private or gated set wants HF_TOKEN"
            ) from error
