"""How something came about, from the manifests of the steps that led to it, fit to be published."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tracecraft.errors import UsageError, did_you_mean
from tracecraft.plugin import file_digest
from tracecraft.store import Manifest

TOKEN = re.compile(r"hf_[A-Za-z0-9]{8,}")
"""What an access token of the hub looks like."""
PLACE = re.compile(r"(?<![\w./])/(?:[^/\s:'\",]+/)+[^/\s:'\",]*")
"""An absolute path in a text; not the path of an address."""


class Told(Protocol):
    """A step as a run knows it."""

    @property
    def name(self) -> str:
        """Its name in the recipe."""

    @property
    def use(self) -> str:
        """Which plugin it is."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the steps it reads."""

    @property
    def home(self) -> Path:
        """Where its output and its manifest lie."""


@dataclass(frozen=True, slots=True)
class Link:
    """One step of a lineage."""

    name: str
    use: str
    inputs: tuple[str, ...]
    home: Path
    manifest: Manifest

    @property
    def identity(self) -> dict[str, Any]:
        """Its options, without places of the machine it ran on."""
        told: dict[str, Any] = public(self.manifest.identity)
        return told

    def told(self) -> dict[str, Any]:
        """For `tracecraft.json`."""
        made = self.manifest.made_by
        return {
            "name": self.name,
            "inputs": list(self.inputs),
            "identity": self.identity,
            "rows_in": self.manifest.rows_in,
            "rows_out": self.manifest.rows_out,
            "dropped": self.manifest.dropped,
            "made_by": {key: made[key] for key in ("tracecraft", "git", "at") if made.get(key)},
        }


def lineage(steps: Sequence[Told], names: Iterable[str]) -> list[Link]:
    """The named steps and all that led to them, in the order they ran.

    Raises:
        UsageError: no step has the name.
        StoreError: a step is not finished.
    """
    known = {step.name: step for step in steps}
    wanted, pending = set[str](), list(names)
    while pending:
        name = pending.pop()
        if name not in known:
            raise UsageError(f"no step {name!r} to publish" + did_you_mean(name, known))
        if name not in wanted:
            wanted.add(name)
            pending += known[name].inputs
    return [
        Link(step.name, step.use, tuple(step.inputs), step.home, Manifest.read(step.home))
        for step in steps
        if step.name in wanted
    ]


def public(value: Any) -> Any:
    """A value without absolute paths (their last part stays) and without access tokens."""
    if isinstance(value, Mapping):
        return {public(key): public(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [public(one) for one in value]
    if isinstance(value, str):
        bare = PLACE.sub(lambda found: Path(found[0]).name, value)
        return TOKEN.sub("hf_…", bare)
    return value


def prompt_of(link: Link, recipe: Mapping[str, Any]) -> str | None:
    """The text that a `generate` step put around its problems, where its file is still the same."""
    for entry in recipe.get("stages") or []:
        if entry.get("name") == link.name and isinstance(entry.get("prompt"), str):
            path, wanted = Path(entry["prompt"]), link.manifest.identity.get("prompt")
            if path.is_file() and file_digest(path) == wanted:
                return path.read_text(encoding="utf-8")
    return None


def versions(links: Sequence[Link]) -> list[str]:
    """The versions of tracecraft that made it, with revisions."""
    found = dict.fromkeys(
        f"{link.manifest.made_by.get('tracecraft', '')} {link.manifest.made_by.get('git', '')}"
        for link in links
    )
    return [one.strip() for one in found if one.strip()]


def shown(value: Any) -> str:
    """An option's value in a table's cell."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(one)}" for key, one in value.items() if one is not None)
    if isinstance(value, (list, tuple)):
        return ", ".join(map(shown, value))
    text = "" if value is None else str(value)
    return text.replace("\n", "⏎").replace("|", "\\|").replace("`", "'")


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """A table in Markdown; columns named with `#` in front hold numbers."""
    names = [name.removeprefix("#") for name in head]
    rule = ["---:" if name.startswith("#") else "---" for name in head]
    lines = [names, rule, *([shown(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(line)} |" for line in lines]
