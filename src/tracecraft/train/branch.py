"""A branch: the backbone after one domain's examples. The job, and the plug point of trainers."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, model_validator

from tracecraft.errors import DataError, RecipeError
from tracecraft.plugin import MayBeFile, Plugin
from tracecraft.schema import EXAMPLE
from tracecraft.stage import Desk, Job
from tracecraft.store import OUTPUT
from tracecraft.train.backbone import CONFIG, Backbone
from tracecraft.train.chat import TEMPLATES, Chat, Thoughts
from tracecraft.train.examples import Examples
from tracecraft.train.packing import Packing


class Lora(BaseModel):
    """Low-rank updates in place of all weights; merged into the branch when it is done."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    rank: int = Field(default=16, ge=1)
    """Rank of the update of each matrix."""
    alpha: int = Field(default=32, ge=1)
    """The update is scaled by alpha / rank."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Of the update's input."""
    targets: str = "all-linear"
    """Which matrices: peft's word for all but the head, or a regular expression of their names."""


class Trainer(Plugin, kind="trainer"):
    """Who trains. Subclass, give it a `use=`, write `train`."""

    @abstractmethod
    def train(self, lesson: "Lesson", into: Path, desk: Desk) -> None:
        """Fill `into`; what must survive a kill goes to `lesson.workshop`."""


class Train(Job, use="train", version=1):
    """One branch: the backbone trained on the examples of a domain, loss on the answers alone.

    Its inputs are steps that made examples (`write`, `pick`) and, where `backbone` is not said,
    one that made a model. The defaults are those of TinyR1's math branch (arXiv 2503.04872).
    """

    reads: ClassVar[tuple[pl.Schema, ...]] = (EXAMPLE,)
    resumes: ClassVar[bool] = True

    backbone: Annotated[str | None, MayBeFile] = None
    """`org/name@commit`, or a folder. By default the input that is a model."""
    domain: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Whose examples; by default those of all domains, which makes a data mixture."""
    trainer: Trainer = Field(default_factory=lambda: Trainer.bind({"use": "trl"}))
    """Who trains, and on what."""
    template: Annotated[str | None, MayBeFile] = None
    """Chat template in place of the backbone's: `chatml`, or a Jinja file."""
    thoughts: Thoughts = "one"
    """What the parity gate asks of an answer: exactly one thought, or `any`: one or none."""
    tolerate: float = Field(default=0.01, ge=0, le=1)
    """Share of the examples that may fail the gate and be dropped; more is an error."""
    epochs: float = Field(default=5, gt=0)
    """Passes over the examples."""
    lr: float = Field(default=1e-5, gt=0)
    """Learning rate after the warm-up."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """What becomes of it then."""
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which it rises from 0."""
    batch: int = Field(default=96, ge=1)
    """Rows a step, over all devices. A row is an example, or what packing puts into one."""
    context: int = Field(default=16_384, ge=8)
    """Tokens of a row. A longer example is dropped and counted, never cut."""
    packing: Packing = "plain"
    """Several examples a row: `none`; `plain`, where they see each other; `block`, where not."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW's."""
    betas: Annotated[tuple[float, float], Field(strict=False)] = (0.9, 0.95)
    """AdamW's."""
    epsilon: float = Field(default=1e-8, gt=0)
    """AdamW's."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    seed: int = 0
    """Of the order of the rows, and of dropout."""
    lora: Lora | None = None
    """By default all weights are trained."""

    @model_validator(mode="before")
    @classmethod
    def _one_domain(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("domain"), str):
            return {**value, "domain": (value["domain"],)}
        return value

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        if self.backbone is not None:
            Backbone.named(self.backbone)
        if self.template is not None:
            self._template()
        return self

    def identity(self) -> dict[str, Any]:
        """Files count by their content, not by where they lie."""
        told = super().identity()
        if self.backbone is not None:
            told["backbone"] = Backbone.named(self.backbone).identity()
        return {**told, "template": self._template()}

    def __call__(self, inputs: tuple[Path, ...], into: Path, desk: Desk) -> None:
        """Train into the folder `into`; call again to resume.

        Raises:
            DataError: no backbone, no examples, or traces that the template can't say.
            StageError: the training stopped; its last checkpoint is kept.
        """
        homes = [home for home in inputs if not _is_model(home)]
        models = [home for home in inputs if _is_model(home)]
        backbone = self._backbone(models)
        if not homes:
            raise DataError("no input holds examples\n  next   add a `write` or `pick` step")
        examples = tuple(Examples.at(home, self.domain) for home in homes)
        chat = Chat.of(backbone.tokenizer(), self._template(), backbone.stops())
        workshop = (desk.scratch or into.with_name(f".{into.name}.work")) / "train"
        workshop.mkdir(parents=True, exist_ok=True)
        self.trainer.train(Lesson(self, backbone, examples, chat, workshop), into, desk)

    def _backbone(self, models: list[Path]) -> Backbone:
        if self.backbone is not None and not models:
            return Backbone.named(self.backbone)
        if self.backbone is None and len(models) == 1:
            return Backbone(str((models[0] / OUTPUT).resolve()))
        found = len(models) + (self.backbone is not None)
        raise RecipeError(
            f"backbone: {found} are given; a branch has one"
            "\n  next   say `backbone:`, or name one step that makes a model in `from:`"
        )

    def _template(self) -> str | None:
        if self.template is None or self.template in TEMPLATES:
            return self.template
        path = Path(self.template)
        if not path.is_file():
            raise RecipeError(
                f"template: no file {self.template!r}, and known are {', '.join(TEMPLATES)}"
            )
        return path.read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Lesson:
    """What a trainer is given."""

    branch: Train
    """Its options."""
    backbone: Backbone
    examples: tuple[Examples, ...]
    chat: Chat
    workshop: Path
    """Survives a kill, and goes when the branch is done."""

    def told(self) -> dict[str, Any]:
        """What a checkpoint carries with it: recipe, data, template."""
        return {
            "branch": self.branch.identity(),
            "backbone": self.backbone.identity(),
            "examples": [
                {"domains": list(one.domains), "digest": one.digest} for one in self.examples
            ],
            "template": self.chat.tokenizer.chat_template,
            "ends_with": self.chat.end,
            "template_strips_thoughts": self.chat.strips,
        }


def _is_model(home: Path) -> bool:
    return (home / OUTPUT / CONFIG).is_file()


Trainer.known.update(
    {
        "trl": "tracecraft.train.trl",
        "llamafactory": "tracecraft.train.export",
        "axolotl": "tracecraft.train.export",
    }
)
