"""One merge, or several in an order: the fusion takes two models and is not associative."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tracecraft.errors import RecipeError, did_you_mean
from tracecraft.merge.checkpoint import merge_checkpoints
from tracecraft.merge.delta import Report
from tracecraft.merge.methods import ArceeFusion, Method
from tracecraft.merge.postflight import try_out
from tracecraft.plugin import Volatile, explain
from tracecraft.stage import Desk, Job, Progress
from tracecraft.store import OUTPUT

FloatName = Literal["bfloat16", "float16", "float32"]
Told = Callable[[int, int], None]
"""Gets the bytes done and their total."""


def _cores() -> int:
    return len(os.sched_getaffinity(0))


class Merge(Job, use="merge", version=1):
    """One checkpoint made of several; of its inputs the first is the one merged into."""

    resumes: ClassVar[bool] = True

    method: Method = Field(default_factory=ArceeFusion)
    """How, and its options."""
    dtype: FloatName | None = None
    """Float type of the result; by default each tensor keeps that of the model merged into."""
    seed: int = 0
    """Of what a method draws at random."""
    threads: Annotated[int, Field(ge=1), Volatile] = Field(default_factory=_cores)
    """How many work at once."""

    def __call__(self, inputs: tuple[Path, ...], into: Path, desk: Desk) -> None:
        roots = [root / OUTPUT if (root / OUTPUT).is_dir() else root for root in inputs]

        def told(done: int, total: int) -> None:
            desk.report(Progress(done, total, "bytes"))

        report = self.make(roots, into, told)
        tried = try_out(into)
        tried.check(into)
        facts: dict[str, float | int | str] = {"share": report.share, "moved": report.moved}
        notes = [*report.notes, *tried.notes]
        facts |= {"said": tried.text} if tried.text else {}
        facts |= {"notes": "; ".join(notes)} if notes else {}
        desk.report(Progress(1, 1, "models", facts))

    def make(self, models: Sequence[Path], out: Path, told: Told | None = None) -> Report:
        """Merge checkpoint folders into `out`; call again to resume, a finished one is kept.

        Raises:
            DataError: the models do not fit together, or a weight is not finite.
            StoreError: the disk refuses.
        """
        return merge_checkpoints(
            [Path(model) for model in models],
            Path(out),
            self.method,
            dtype=self.dtype,
            seed=self.seed,
            threads=self.threads,
            told=told or (lambda done, total: None),
        )


class MergeStep(BaseModel):
    """One merge of a plan."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str = Field(min_length=1, pattern=r"^[\w.-]+$")
    """What later steps and the rest of the recipe call the result."""
    into: str
    """The model that receives: its tokenizer, configuration and chat template are the result's."""
    other: str | tuple[str, ...]
    """The model that gives, or several where the method takes them."""
    method: str = "arcee_fusion"
    """One of the merge methods."""
    mode: Literal["exact", "reference"] | None = None
    """Of a fusion; by default exact."""
    dtype: FloatName | None = None
    """Float type of the result; by default that of `into`."""
    seed: int = 0
    """Of what the method draws at random."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """The method's other options."""

    @property
    def models(self) -> tuple[str, ...]:
        """All operands, `into` first."""
        return (self.into, *((self.other,) if isinstance(self.other, str) else self.other))

    @model_validator(mode="after")
    def _binds(self) -> Self:
        self.merge()
        return self

    def merge(self) -> Merge:
        """The job that makes it.

        Raises:
            RecipeError: no such method, or one without such an option.
        """
        options = dict(self.parameters)
        if self.mode is not None:
            options["mode"] = self.mode
        method = Method.bind({"use": self.method, **options}, "parameters")
        return Merge(method=method, dtype=self.dtype, seed=self.seed)


class MergePlan(BaseModel):
    """Merges in order; each may use the results of those before it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    steps: tuple[MergeStep, ...]
    """Carried out from first to last; the last one is the student."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.steps:
            raise RecipeError("lists no merges")
        made: list[str] = []
        for step in self.steps:
            if step.name in made:
                raise RecipeError(f"two merges are named {step.name!r}")
            later = {other.name for other in self.steps} - set(made)
            for model in step.models:
                if model in later:
                    raise RecipeError(f"{step.name}: {model!r} is only made later, or is itself")
            made.append(step.name)
        return self

    @classmethod
    def bind(cls, steps: Any, where: str = "merge") -> Self:
        """The plan that a recipe's `merge:` section lists.

        Raises:
            RecipeError: each mistake with the path of its field.
        """
        try:
            return cls.model_validate({"steps": steps})
        except ValidationError as error:
            told = explain(error, cls, {"steps": steps}, where)
            raise RecipeError(told.replace(f"{where}.steps", where)) from None

    @property
    def formula(self) -> str:
        """What goes into what, as `code <- (science <- math)`."""
        told: dict[str, str] = {}
        for step in self.steps:
            operands = [told.get(model, model) for model in step.models]
            told[step.name] = f"({operands[0]} <- {', '.join(operands[1:])})"
        return told[self.steps[-1].name][1:-1]

    @property
    def sources(self) -> tuple[str, ...]:
        """Names that the plan uses and does not make: branches or checkpoints."""
        made = {step.name for step in self.steps}
        used = (model for step in self.steps for model in step.models)
        return tuple(dict.fromkeys(model for model in used if model not in made))


def carry_out(
    plan: MergePlan, sources: Mapping[str, Path], out: Path, *, told: Told | None = None
) -> dict[str, Report]:
    """Carry out all steps, each into a folder of `out` with its name; resumes where it stopped.

    Raises:
        RecipeError: a source without a folder.
        DataError, StoreError: as `Merge.make`.
    """
    where = dict(sources)
    for name in plan.sources:
        if name not in where:
            raise RecipeError(f"merge: no model is named {name!r}{did_you_mean(name, where)}")
    reports = {}
    for step in plan.steps:
        target = out / step.name
        reports[step.name] = step.merge().make([where[m] for m in step.models], target, told)
        where[step.name] = target
    return reports


def merge_pair(
    base: Path,
    other: Path,
    out: Path,
    *,
    method: str = "arcee_fusion",
    mode: Literal["exact", "reference"] | None = None,
    dtype: FloatName | None = None,
    seed: int = 0,
    parameters: Mapping[str, Any] | None = None,
    told: Told | None = None,
) -> Report:
    """Merge the checkpoint folder `other` into `base`; the result is the folder `out`.

    Raises:
        RecipeError: no such method, or option of it.
        DataError, StoreError: as `Merge.make`.
    """
    step = {"name": "merge", "into": str(base), "other": str(other), "method": method}
    options = {"mode": mode, "dtype": dtype, "seed": seed, "parameters": dict(parameters or {})}
    plan = MergePlan.bind([{**step, **options}])
    return plan.steps[0].merge().make([base, other], out, told)
