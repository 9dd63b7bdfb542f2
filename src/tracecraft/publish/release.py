"""The section `publish` of a recipe: what goes to the hub, and under which name."""

import re
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tracecraft.errors import RecipeError
from tracecraft.plugin import explain

REPO = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*/[A-Za-z0-9][A-Za-z0-9_.-]*")


def check_repo(repo: str) -> str:
    """The name of a repository of the hub, `org/name`.

    Raises:
        ValueError: it is not one; the hub takes letters, digits, '-', '_' and '.', 96 at most.
    """
    if not REPO.fullmatch(repo) or len(repo) > 96 or "--" in repo or ".." in repo:
        raise ValueError(f"{repo!r} is not the name of a repository; write org/name")
    return repo


class Release(BaseModel):
    """What `tracecraft push RUN` uploads. `tracecraft run` never uploads anything."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    repo: str
    """`org/name`, for the dataset and for the model; several models get `org/name-STEP`."""
    private: bool = False
    """Whether repositories that do not exist yet are made private."""
    data: tuple[str, ...] = Field(default=(), strict=False)
    """Steps whose rows make the dataset: jobs that `write`, or stages."""
    models: tuple[str, ...] = Field(default=(), strict=False)
    """Steps whose output is a model folder: `train` and `merge`."""

    _named = field_validator("repo")(check_repo)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.data and not self.models:
            raise ValueError("says neither `data` nor `models`: name the steps to publish")
        return self

    @classmethod
    def bind(cls, value: Any, where: str = "") -> Self:
        """The release that a recipe's section describes.

        Raises:
            RecipeError: each mistake with the path of its field.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise RecipeError(explain(error, cls, value, where)) from None
