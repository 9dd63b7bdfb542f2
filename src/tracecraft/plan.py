"""From a recipe to keys: what would run, what is already there. Looks, and writes nothing."""

from dataclasses import dataclass
from pathlib import Path

from tracecraft.curate.source import Source
from tracecraft.errors import RecipeError, StoreError, did_you_mean
from tracecraft.plugin import digest
from tracecraft.recipe import Recipe, StageSpec
from tracecraft.stage import Job, Stage
from tracecraft.store import MANIFEST, Manifest
from tracecraft.yaml import dump

DEFAULT_STORE = Path("runs")


@dataclass(frozen=True, slots=True)
class Planned:
    """One step of a plan, and where its output lies or will lie."""

    spec: StageSpec
    inputs: tuple[Path, ...]
    """Homes of the steps it reads."""
    home: Path
    """`<store>/store/<name>-<key>`: the same step on the same inputs always lands here."""
    key: str
    models: tuple[Path, ...] = ()
    """Of a stage: those of its inputs that are no tables, but models that jobs made."""

    @property
    def state(self) -> str:
        """`cached`, `partial` or `to run`."""
        if (self.home / MANIFEST).exists():
            try:
                whole = Manifest.read(self.home).whole(self.home)
            except StoreError:
                whole = False
            return "cached" if whole else "partial"
        return "partial" if self.home.exists() else "to run"


@dataclass(frozen=True, slots=True)
class Plan:
    """A recipe with the key and the place of every step."""

    recipe: Recipe
    store: Path
    steps: tuple[Planned, ...]

    def __str__(self) -> str:
        return "\n".join(f"{s.state:8} {s.home.name}" for s in self.steps)

    def __getitem__(self, name: str) -> Planned:
        """The step of that name.

        Raises:
            RecipeError: the recipe has no such step.
        """
        for step in self.steps:
            if step.spec.name == name:
                return step
        names = [step.spec.name for step in self.steps]
        raise RecipeError(f"{self.recipe.name}: no step {name!r}" + did_you_mean(name, names))

    @property
    def key(self) -> str:
        """Over all steps and the recipe's own text: the same plan has the same run folder."""
        return digest([dump(self.recipe.resolved), [step.key for step in self.steps]])

    def until(self, name: str) -> "Plan":
        """The plan up to and with a step or a section, and only what that needs."""
        wanted = {self[one].home for one in self.recipe.sections.get(name) or (name,)}
        steps = []
        for step in reversed(self.steps):
            if step.home in wanted:
                wanted.update(step.inputs)
                steps.append(step)
        return Plan(self.recipe, self.store, tuple(reversed(steps)))


def plan(recipe: Recipe, store: str | Path = DEFAULT_STORE) -> Plan:
    """Every step's key (a hash of what it is and of its inputs' keys), hence its place."""
    store = Path(store)
    key: dict[str, str] = {}
    home: dict[str, Path] = {}
    part: dict[str, Source | Stage | Job] = {}
    steps = []
    for spec in recipe.steps:
        key[spec.name] = digest([spec.identity(), [key[name] for name in spec.inputs]])
        home[spec.name] = store / "store" / f"{spec.name}-{key[spec.name]}"
        inputs = tuple(home[name] for name in spec.inputs)
        made = tuple(home[n] for n in spec.inputs if isinstance(part[n], Job))
        models = made if isinstance(spec.part, Stage) else ()
        part[spec.name] = spec.part
        steps.append(Planned(spec, inputs, home[spec.name], key[spec.name], models))
    return Plan(recipe, store, tuple(steps))
