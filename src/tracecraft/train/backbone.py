"""The checkpoint that every branch starts from: a folder, or a model on the hub at a revision."""

import importlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracecraft.errors import DataError, MissingExtra, RecipeError
from tracecraft.plugin import digest, file_digest

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
MOVING = ("", "main", "master", "HEAD")
SMALL_BYTES = 64 << 20
"""A file up to this size counts by its content, a larger one by its content's ends."""
END_BYTES = 1 << 20
CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class Backbone:
    """Where a model is loaded from, and which."""

    place: str
    """A folder, or a hub id."""
    revision: str | None = None

    @classmethod
    def named(cls, name: str) -> "Backbone":
        """The backbone of a recipe's `org/name@revision` or folder.

        Raises:
            RecipeError: neither, or a hub id without a commit.
        """
        folder = Path(name).expanduser()
        if (folder / CONFIG).is_file():
            return cls(str(folder.resolve()))
        if folder.exists():
            raise RecipeError(f"backbone: {name} holds no model: it has no {CONFIG}")
        model, _, revision = name.partition("@")
        if not HUB_ID.fullmatch(model) or model.startswith("."):
            raise RecipeError(f"backbone: there is no folder {name}, and it is no hub id")
        if revision in MOVING:
            raise RecipeError(
                f"backbone: {model} must be pinned to a commit, as in {model}@56d4cbb"
            )
        return cls(model, revision)

    def identity(self) -> str:
        """What it is: a hub model by its commit, a folder by its content."""
        if self.revision is not None:
            return f"{self.place}@{self.revision}"
        files = sorted(p for p in Path(self.place).iterdir() if p.is_file())
        return digest([[p.name, p.stat().st_size, _content(p)] for p in files], 16)

    def tokenizer(self) -> Any:
        """Its own, of transformers.

        Raises:
            DataError: it can't be loaded.
        """
        transformers = imported()
        try:
            return transformers.AutoTokenizer.from_pretrained(self.place, revision=self.revision)
        except (OSError, ValueError) as error:
            raise self._missing("tokenizer", error) from error

    def stops(self) -> list[int]:
        """Token ids at which it stops when it is served."""
        transformers = imported()
        try:
            found = transformers.GenerationConfig.from_pretrained(
                self.place, revision=self.revision
            ).eos_token_id
        except OSError:  # a model without generation_config.json says it in its configuration
            found = self.config().eos_token_id
        return as_ids(found)

    def config(self) -> Any:
        """Its configuration, of transformers.

        Raises:
            DataError: it can't be loaded.
        """
        transformers = imported()
        try:
            return transformers.AutoConfig.from_pretrained(self.place, revision=self.revision)
        except (OSError, ValueError) as error:
            raise self._missing("configuration", error) from error

    def _missing(self, what: str, error: Exception) -> DataError:
        name = self.place if self.revision is None else f"{self.place}@{self.revision}"
        return DataError(
            f"the backbone {name} gives no {what}: {str(error).strip().splitlines()[0]}"
            "\n  next   check the name and the commit, or copy the model into a folder"
        )


def imported(package: str = "transformers") -> Any:
    """A package that only training needs.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError:
        raise MissingExtra(package, "train", "training a branch") from None


def as_ids(found: int | Iterable[int] | None) -> list[int]:
    """One id, several or none, as a list."""
    if found is None:
        return []
    return [found] if isinstance(found, int) else list(found)


def served(folder: Path, stop: int) -> bool:
    """Whether a saved model stops at that token when it is served."""
    path = folder / "generation_config.json"
    found = json.loads(path.read_bytes()) if path.is_file() else {}
    return stop in as_ids(found.get("eos_token_id"))


def _content(path: Path) -> str:
    if path.stat().st_size <= SMALL_BYTES:
        return file_digest(path)
    with path.open("rb") as file:
        head = file.read(END_BYTES)
        file.seek(-END_BYTES, 2)
        return digest([head.hex(), file.read().hex()], 16)
