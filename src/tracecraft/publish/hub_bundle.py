"""What one repository is to hold, made from a run's steps or from a folder."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import polars as pl

from tracecraft.errors import DataError, UsageError
from tracecraft.publish.card_data import PROBLEMS, RAW, Data, data_card
from tracecraft.publish.card_facts import Link
from tracecraft.publish.card_load import llamafactory_info
from tracecraft.publish.card_model import Model, clean_record, homes_of, model_card, scores_of
from tracecraft.publish.hub import CARD, RECORD, Bundle
from tracecraft.publish.parquet import Written, write_arrow, write_parquet
from tracecraft.publish.parquet_parts import Part, joined, parts_of
from tracecraft.store import Dataset, write_json, write_text

Format = Literal["parquet", "arrow"]
WEIGHTS = ".safetensors"
SHIPPED = {WEIGHTS, ".json", ".jinja", ".txt", ".model", ".tiktoken"}
"""Endings of a model's files that go up. Pickles do not: loading one runs its code."""
SPEAKING = {"config.json", "generation_config.json", "adapter_config.json", "merge.json"}
SPEAKING |= {"branch.json"}
"""Files that may name places of this machine; they go up without them. Vocabularies stay as is."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something comes from: the steps that led to it, and the recipe they stood in."""

    links: tuple[Link, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """The run's `recipe.yaml`."""
    names: tuple[str, ...] = ()
    """The steps whose output the folders are, in their order."""

    @property
    def told(self) -> tuple[dict[str, Any], ...]:
        """For `tracecraft.json`."""
        return tuple(link.told() for link in self.links)


def is_model(folder: Path) -> bool:
    """Whether a folder holds a model: its configuration and weights."""
    return (folder / "config.json").is_file() and any(folder.glob(f"*{WEIGHTS}"))


def dataset_bundle(
    repo: str,
    folders: Sequence[Path],
    into: Path,
    *,
    origin: Origin | None = None,
    layout: Format = "parquet",
    told: Callable[[int], None] = lambda rows: None,
) -> Bundle:
    """The dataset that some folders make together, written into `into` in the form of the hub.

    Raises:
        DataError: a folder holds no dataset, or rows that do not go together.
    """
    origin = origin or Origin()
    found = [parts_of(folder) for folder in folders]
    parts = joined([part for some in _judged(found, origin) for part in some])
    parts += _problems(parts, origin.links)
    write = write_parquet if layout == "parquet" else write_arrow
    written = tuple(write(part, into, told) for part in parts)
    _not_empty(written, folders)
    chats = [w.config for w in written if "messages" in w.schema.names]
    if chats:
        write_json(into / "dataset_info.json", llamafactory_info(repo, chats))
    files = {str(p.relative_to(into)): p for p in sorted(into.rglob("*")) if p.is_file()}
    card = data_card(Data(repo, written, origin.links, origin.recipe))
    return Bundle(repo, "dataset", files, card, origin.told)


def _not_empty(written: Sequence[Written], folders: Sequence[Path]) -> None:
    if not any(one.tally.rows for one in written):
        raise DataError(
            f"{', '.join(map(str, folders))}: holds no rows"
            "\n  next   look with `tracecraft show` at which rule dropped them"
        )


def _judged(found: list[list[Part]], origin: Origin) -> list[list[Part]]:
    """The parts with who judged them, where several did: their options may differ."""
    judges = [_judge(name, origin.links) for name in origin.names]
    if len({judge for judge in judges if judge}) < 2:
        return found
    return [
        [
            replace(part, judges=dict.fromkeys(part.files, judge))
            if judge and (part.config == RAW or not has_raw)
            else part
            for part in parts
        ]
        for parts, judge in zip(found, judges, strict=True)
        for has_raw in [any(part.config == RAW for part in parts)]
    ]


def _judge(name: str, links: Sequence[Link]) -> str | None:
    """The `verify` step nearest above a step; of a `write` job's inputs, above its last."""
    known = {link.name: link for link in links}
    while name in known:
        if known[name].use == "verify" and not known[name].manifest.identity.get("prefix"):
            return name
        inputs = known[name].inputs
        name = inputs[-1 if known[name].use == "write" else 0] if inputs else ""
    return None


def _problems(parts: Sequence[Part], links: Sequence[Link]) -> list[Part]:
    """What verifiers joined to the traces: tests and choices, without which none judges again."""
    homes = {link.name: link.home for link in links}
    found: list[Part] = []
    if not any(part.config == RAW for part in parts):
        return found
    for link in links:
        if link.use == "verify" and len(link.inputs) > 1:
            traces, problems = (Dataset.open(homes[name]) for name in link.inputs[:2])
            known = set(_names(traces))
            columns = ("problem_id", *(name for name in _names(problems) if name not in known))
            files = tuple(shard.path for shard in problems.shards)
            found.append(Part(PROBLEMS, files, columns=columns))
    same = {part.columns for part in found}
    return joined(found) if len(same) <= 1 else found[-1:]


def _names(dataset: Dataset) -> list[str]:
    return pl.scan_ipc(dataset.shards[0].path, glob=False).collect_schema().names()


def model_bundle(
    repo: str,
    folder: Path,
    into: Path,
    *,
    step: str = "",
    origin: Origin | None = None,
    scores: Sequence[Path] = (),
    dataset: str | None = None,
) -> Bundle:
    """The model in a folder: weights, tokenizer, template and the records of how it was made.

    Raises:
        UsageError: it is no model's folder, or has only pickled weights.
    """
    if not is_model(folder):
        raise UsageError(
            f"{folder}: is not a model: it needs config.json and weights as safetensors"
            "\n  next   save it with `save_pretrained`"
        )
    origin = origin or Origin()
    homes = homes_of(origin.links)
    into.mkdir(parents=True, exist_ok=True)
    files = {}
    for path in sorted(folder.iterdir()):
        if path.suffix in SHIPPED and path.name not in {CARD, RECORD} and path.is_file():
            files[path.name] = _cleaned(path, homes, into) if path.name in SPEAKING else path
    model = Model(repo, folder, step, origin.links, tuple(scores), dataset)
    table = scores_of(model)
    if table is not None:
        write_json(into / "scores.json", table.to_dicts())
        files["scores.json"] = into / "scores.json"
    card = model_card(model)
    return Bundle(repo, "model", files, card, origin.told)


def _cleaned(path: Path, homes: Mapping[str, str], into: Path) -> Path:
    """The file itself where it names no place of this machine, else a copy that does not."""
    text = path.read_text(encoding="utf-8")
    clean = clean_record(text, homes)
    if json.loads(clean) == json.loads(text):
        return path
    write_text(into / path.name, clean)
    return into / path.name
