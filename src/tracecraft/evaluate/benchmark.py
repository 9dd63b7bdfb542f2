"""A benchmark is data: where its problems lie, how they are asked, how many answers score."""

import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from tracecraft import yaml
from tracecraft.engine import Sampling
from tracecraft.errors import RecipeError, did_you_mean
from tracecraft.plugin import explain

SHIPPED = Path(__file__).with_name("benchmarks")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
Domain = Literal["math", "code", "science", "logic", "chat"]
Preset = Literal["r1", "chat"]

PRESETS: Mapping[str, dict[str, Any]] = {
    "r1": {
        "opening": "<think>\n",
        "sampling": {"temperature": 0.6, "top_p": 0.95, "max_tokens": 32_768},
    },
    "chat": {
        "opening": "",
        "sampling": {"temperature": 0.6, "top_p": 0.95, "max_tokens": 4_096},
    },
}
"""`r1`: DeepSeek's advice for R1, and TinyR1's protocol (arXiv 2503.04872): the answer begins with
a thought, no system prompt. `chat`: the same for a model that was not taught to think aloud."""


class Window(BaseModel):
    """Which items, by their date: from `since`, before `until`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    column: str = "contest_date"
    """The column that holds the date, as text that begins with YYYY-MM-DD or as a date."""
    since: str = "0000-00-00"
    """The first day."""
    until: str = "9999-99-99"
    """The day after the last."""

    @field_validator("since", "until", mode="before")
    @classmethod
    def _day(cls, value: Any) -> Any:
        return value.isoformat() if isinstance(value, date) else value

    @field_validator("since", "until")
    @classmethod
    def _iso(cls, value: str) -> str:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", value):
            raise ValueError(f"must be a day, as in 2024-08-01, not {value!r}")
        return value


class Benchmark(BaseModel):
    """Problems and a protocol."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """What scores and gates call it: letters, digits, `_` and `-`."""
    title: str = ""
    """What tables call it."""
    domain: Domain
    """Of all its problems."""
    source: dict[str, Any]
    """Where the problems lie: a source, as an input of a recipe."""
    local: dict[str, Any] = Field(default_factory=dict)
    """Options of the source of a local copy, where `--on NAME=FILE` says one: its `map`, …"""
    problems: int | None = Field(default=None, ge=1)
    """How many there are; a score of fewer says so."""
    samples: int = Field(default=4, ge=1)
    """Answers a problem."""
    least: int = Field(default=1, ge=1)
    """With fewer than this there is no score."""
    id: tuple[str, ...] = ("id", "unique_id", "question_id", "task_id", "problem_id")
    """Columns that may name an item; the first that is there does. Without one, its text does."""
    answered: bool = True
    """Whether every problem must have a reference answer; programs have tests instead."""
    wrong: tuple[str, ...] = ()
    """Columns of the wrong options, beside `answer`, the right one."""
    permute: bool = False
    """Put the options of each sample in an order of their own, seeded by item and sample."""
    append: dict[str, str] = Field(default_factory=dict)
    """Column to the text that follows the statement where that column is not empty; `{value}` is
    what it holds."""
    window: Window | None = None
    """Which items count, by their date."""
    prompt: Path | None = None
    """Template of the user's turn, beside this file; by default R1's for mathematics."""
    verifier: dict[str, Any]
    """Who decides, and its options."""
    sampling: dict[str, Any] = Field(default_factory=dict)
    """What differs from the preset's."""
    preset: Preset = "r1"
    """How the model is asked."""
    majority: bool = True
    """Whether answers can be counted against each other; programs cannot."""
    private: bool = False
    """Its questions are not to be published: no log, score or export holds them."""

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(f"use letters, digits, '_' and '-', not {name!r}")
        return name

    def model_post_init(self, context: Any) -> None:
        """Raises ValueError where what belongs together does not fit."""
        if self.least > self.samples:
            raise ValueError(f"least: {self.least} is more than the {self.samples} samples")

    def asked(self, preset: str | None, sampling: Mapping[str, Any]) -> dict[str, Any]:
        """Options of `generate`: the preset's, what this benchmark changes, what is asked for."""
        chosen = PRESETS[preset or self.preset]
        drawn = {**chosen["sampling"], **self.sampling, **sampling}
        asked = {"opening": chosen["opening"], "sampling": drawn}
        return asked | ({"prompt": str(self.prompt)} if self.prompt else {})

    @classmethod
    def read(cls, path: Path) -> Self:
        """The benchmark of a YAML file; paths in it are looked for beside it.

        Raises:
            RecipeError: each mistake with the path of its field.
        """
        told = yaml.load(path, RecipeError)
        if not isinstance(told, Mapping):
            raise RecipeError(f"{path}: must be a mapping (key: value)")
        raw = _beside({"name": path.stem, **told}, path)
        try:
            made = cls.model_validate(raw)
            Sampling.model_validate(made.asked(None, {})["sampling"])
        except ValidationError as error:
            raise RecipeError(explain(error, cls, raw, f"{path}:")) from None
        return made


def shipped() -> list[str]:
    """Names of the benchmarks that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load(name: str, near: Path | None = None) -> Benchmark:
    """A shipped benchmark by name, one's own by its file; `NAME=FILE` reads a local copy.

    Args:
        name: as said.
        near: a recipe that names it: files are looked for beside it and in the folders above.

    Raises:
        RecipeError: there is none.
    """
    called, equals, copy = name.partition("=")
    if called in shipped():
        made = Benchmark.read(SHIPPED / f"{called}.yaml")
    elif called.endswith((".yaml", ".yml")):
        made = Benchmark.read(nearby(called, near))
    else:
        raise RecipeError(
            f"no benchmark {called!r}: neither a shipped one nor a YAML file"
            + did_you_mean(called, shipped())
        )
    return made if not equals else _copied(made, nearby(copy, near))


def _copied(made: Benchmark, path: Path) -> Benchmark:
    """The benchmark read from a local file in a shape in which it is published."""
    use = "zip" if path.suffix == ".zip" else "files"
    local = {key: value for key, value in made.local.items() if key != "zip"}
    packed = made.local.get("zip", {}) if use == "zip" else {}
    return made.model_copy(update={"source": {"use": use, "path": str(path), **local, **packed}})


def nearby(text: str, near: Path | None) -> Path:
    """A file beside a recipe, in the two folders above it, or from here.

    Raises:
        RecipeError: it is in none of them.
    """
    wanted = Path(text).expanduser()
    folders = [Path.cwd()]
    if near is not None:
        home = near.resolve().parent
        folders = [home, *list(home.parents)[:2], *folders]
    for folder in folders:
        if (folder / wanted).exists():
            return (folder / wanted).absolute()
    raise RecipeError(f"no file {text!r}\n  looked in {', '.join(map(str, folders))}")


def _beside(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    """The same with the files it names made absolute."""
    home = path.resolve().parent
    if isinstance(raw.get("prompt"), str):
        raw["prompt"] = home / raw["prompt"]
    source = raw.get("source")
    if isinstance(source, Mapping) and "path" in source:
        named = source["path"]
        many = named if isinstance(named, list) else [named]
        raw["source"] = {**source, "path": [str(home / str(one)) for one in many]}
    return raw
