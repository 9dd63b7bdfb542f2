"""Gates: what scores must reach for a recipe to be content."""

import json
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tracecraft.errors import GateFailed, RecipeError, did_you_mean
from tracecraft.plugin import explain
from tracecraft.stage import Desk, Job, Progress
from tracecraft.store import OUTPUT, write_json

CONTAMINATION = "contamination"
M = TypeVar("M", bound=BaseModel)


def bound(model: type[M], entries: Any, where: str, what: str) -> tuple[M, ...]:
    """The entries of a section, which is a list of `what`, each a value of the model.

    Raises:
        RecipeError: each mistake with the path of its field.
    """
    if not isinstance(entries, (list, tuple)):
        raise RecipeError(f"{where}: must be a list of {what}")
    made = []
    for number, entry in enumerate(entries):
        try:
            made.append(model.model_validate(entry))
        except ValidationError as error:
            raise RecipeError(explain(error, model, entry, f"{where}[{number}]")) from None
    return tuple(made)


class Gate(BaseModel):
    """A condition on one metric."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    metric: str
    """`BENCHMARK.METRIC` as in `aime24.avg@16` (`aime24.pass@1` is the same), or `contamination`:
    the worst of all benchmarks."""
    at_least: float | None = None
    """The metric must be this much or more."""
    at_most: float | None = None
    """The metric must be this much or less."""
    model: str | None = None
    """Whose; by default the last model's of the evaluation."""

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if self.at_least is None and self.at_most is None:
            raise ValueError("say at_least or at_most")
        if self.metric != CONTAMINATION and "." not in self.metric:
            raise ValueError(f"metric: say BENCHMARK.METRIC, not {self.metric!r}")
        return self

    @classmethod
    def bind(cls, gates: Any, where: str = "gates") -> "tuple[Gate, ...]":
        """The gates of a section.

        Raises:
            RecipeError: each mistake with the path of its field.
        """
        return bound(cls, gates, where, "gates")

    def holds(self, value: float) -> bool:
        """Whether a value satisfies it."""
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )

    def __str__(self) -> str:
        bounds = [f"at least {self.at_least:g}"] if self.at_least is not None else []
        bounds += [f"at most {self.at_most:g}"] if self.at_most is not None else []
        return f"{self.metric} {' and '.join(bounds)}"


class Gated(Job, use="gate", version=1):
    """Hold the scores of a `score` job against gates: `gates.json`, and an error where one fails.

    The scores and whatever was made before stay where they are.
    """

    gates: tuple[Gate, ...] = Field(strict=False)
    """The conditions; all must hold."""

    reads: ClassVar = ()

    def __call__(self, inputs: tuple[Path, ...], into: Path, desk: Desk) -> None:
        """Raises GateFailed, naming each gate that does not hold and by how much."""
        told = json.loads((inputs[0] / OUTPUT / "scores.json").read_bytes())
        found = [self._look(gate, told["scores"]) for gate in self.gates]
        write_json(into / "gates.json", found)
        failed = [one for one in found if not one["holds"]]
        if failed:
            lines = [f"  {one['gate']}: {one['model']} has {one['value']:.4g}" for one in failed]
            raise GateFailed(
                f"{len(failed)} of {len(found)} gates do not hold\n"
                + "\n".join(lines)
                + f"\n  scores {inputs[0] / OUTPUT}"
            )
        desk.report(Progress(len(found), len(found), "gates"))

    def _look(self, gate: Gate, scores: list[dict[str, Any]]) -> dict[str, Any]:
        """The value that a gate is about; of several, the worst."""
        model = gate.model or scores[-1]["model"]
        own = [row for row in scores if row["model"] == model]
        if not own:
            models = {row["model"] for row in scores}
            raise RecipeError(f"gate {gate}: no model {model!r}" + did_you_mean(model, models))
        known = {f"{row['benchmark']}.{name}": row["value"] for row in own for name in _names(row)}
        values = _values(gate.metric, known)
        if not values:
            raise RecipeError(
                f"gate {gate}: {model} has no such metric" + did_you_mean(gate.metric, known)
            )
        value = max(values) if gate.at_most is not None else min(values)
        return {"gate": str(gate), "model": model, "value": value, "holds": gate.holds(value)}


def _names(row: dict[str, Any]) -> list[str]:
    """A metric's name; avg@n is what papers call pass@1."""
    name = str(row["metric"])
    return [name, "pass@1"] if name.startswith("avg@") and name[4:].isdecimal() else [name]


def _values(metric: str, known: dict[str, float]) -> list[float]:
    if metric == CONTAMINATION:
        return [value for name, value in known.items() if name.endswith(f".{CONTAMINATION}")]
    return [known[metric]] if metric in known else []
