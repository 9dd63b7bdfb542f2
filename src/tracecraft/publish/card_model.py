"""The card of a model: what it is made of, by which steps, how it scores, how to load it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from tracecraft.publish.card import Card
from tracecraft.publish.card_facts import Link, public, shown, table, versions
from tracecraft.schema import SCORE

TRAINED = ("epochs", "lr", "schedule", "batch", "context", "packing", "seed", "lora")
"""Options of a branch that its row of the card shows."""


@dataclass(frozen=True, slots=True)
class Model:
    """What a model's card is made from."""

    repo: str
    folder: Path
    step: str = ""
    """The step that made it; empty for a folder."""
    links: tuple[Link, ...] = ()
    scores: tuple[Path, ...] = ()
    """Tables of `score` steps."""
    dataset: str | None = None
    """Where the data it was trained on is published."""

    @property
    def backbones(self) -> list[str]:
        """`org/name` of every model of the hub that its branches began from."""
        found = [link.identity.get("backbone") for link in self.links if link.use == "train"]
        named = [_backbone(one) for one in found if one]
        return sorted({name for name in named if name.count("/") == 1})

    @property
    def merged(self) -> bool:
        """Whether it came out of a merge."""
        return any(link.name == self.step and link.use == "merge" for link in self.links)


def _backbone(told: Any) -> str:
    name = told.get("repo") or told.get("model") or "" if isinstance(told, Mapping) else str(told)
    return str(name).partition("@")[0]


def model_card(model: Model) -> Card:
    """Header and text of a model's README."""
    sections = [
        [f"# {model.repo.rpartition('/')[2]}", "", *_opening(model)],
        _scores(model),
        _merges(model),
        _branches(model),
        _lineage(model),
        [
            "## Licence",
            "",
            "What the backbone and the sources of its data ask for holds; it is not decided here."
            " Put `license:` into the header above: it stays.",
        ],
        _load(model),
    ]
    return Card(_header(model), "\n\n".join("\n".join(lines) for lines in sections if lines))


def _header(model: Model) -> dict[str, Any]:
    methods = {link.identity["method"]["use"] for link in model.links if link.use == "merge"}
    header: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tracecraft", "reasoning", *(["merge"] if methods else []), *sorted(methods)],
    }
    if model.backbones:
        header["base_model"] = model.backbones
        header["base_model_relation"] = "merge" if model.merged else "finetune"
    if model.dataset:
        header["datasets"] = [model.dataset]
    return header


def _opening(model: Model) -> list[str]:
    config = _json(model.folder / "config.json")
    architecture = ", ".join(config.get("architectures") or ["unknown architecture"])
    dtype = config.get("dtype") or config.get("torch_dtype") or "unknown"
    size = sum(path.stat().st_size for path in model.folder.glob("*.safetensors"))
    made = versions(model.links)
    by = f" Made by tracecraft {', '.join(f'`{one}`' for one in made)}." if made else ""
    weights = f"{size / 1e9:,.2f} GB" if size > 1e8 else f"{size / 1e6:,.2f} MB"
    return [f"`{architecture}`, {dtype}, {weights} of weights.{by}"]


def _json(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def _scores(model: Model) -> list[str]:
    rows = scores_of(model)
    if rows is None:
        return []
    lines = []
    for row in rows.iter_rows(named=True):
        interval = "" if row["low"] is None else f"[{row['low']:.3f}, {row['high']:.3f}]"
        name = f"**{row['model']}**" if row["model"] == model.step else row["model"]
        value = "" if row["value"] is None else f"{row['value']:.3f}"
        counts = (row["problems"], row["samples"])
        lines.append((row["benchmark"], row["metric"], name, value, interval, *counts))
    head = ("benchmark", "metric", "model", "#value", "#95% interval", "#problems", "#samples")
    return ["## Scores", "", *table(head, lines)]


def scores_of(model: Model) -> pl.DataFrame | None:
    """All scores of the model, and the avg@n of those beside it; None where nothing scored it."""
    read = [pl.read_parquet(path) for path in model.scores]
    found = pl.concat([one.select(list(SCORE)) for one in read]) if read else pl.DataFrame()
    if not found.height or model.step not in found["model"].to_list():
        return None
    beside = pl.col("metric").str.starts_with("avg@")
    return found.filter((pl.col("model") == model.step) | beside).sort(
        "benchmark", "metric", maintain_order=True
    )


def _merges(model: Model) -> list[str]:
    merges = [link for link in model.links if link.use == "merge"]
    if not merges:
        return []
    rows = []
    for link in merges:
        method = dict(link.identity["method"])
        name = method.pop("use")
        method.pop("version", None)
        into, *others = link.inputs
        share = link.manifest.facts.get("share")
        taken = f"{share:.1%}" if isinstance(share, float) else ""
        dtype = link.identity.get("dtype") or "as into"
        rows.append((link.name, name, into, ", ".join(others), taken, shown(method), dtype))
    head = ("step", "method", "into", "other", "#weights taken", "options", "dtype")
    return ["## Merge", "", "In this order; a fusion is not commutative.", "", *table(head, rows)]


def _branches(model: Model) -> list[str]:
    rows = []
    for link in model.links:
        if link.use == "train":
            told, facts = link.identity, link.manifest.facts
            backbone = _backbone(told["backbone"]) if told.get("backbone") else link.inputs[-1]
            options = shown({key: told.get(key) for key in TRAINED})
            trainer = (told.get("trainer") or {}).get("use")
            examples = f"{facts.get('examples', '')}"
            domains = shown(told.get("domain")) or "all"
            rows.append((link.name, backbone, domains, examples, trainer, options))
    if not rows:
        return []
    head = ("branch", "backbone", "domains", "#examples", "trainer", "options")
    return ["## Branches", "", *table(head, rows)]


def _lineage(model: Model) -> list[str]:
    if not model.links:
        return []
    rows = [
        (link.name, link.use, ", ".join(link.inputs), f"{link.manifest.rows_out or ''}")
        for link in model.links
    ]
    return ["## Lineage", "", *table(("step", "use", "from", "#rows"), rows)]


def _load(model: Model) -> list[str]:
    return [
        "## Load it",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'model = AutoModelForCausalLM.from_pretrained("{model.repo}", dtype="auto")',
        f'tokenizer = AutoTokenizer.from_pretrained("{model.repo}")',
        "```",
        "",
        "```sh",
        f"vllm serve {model.repo}",
        "```",
    ]


def clean_record(text: str, homes: Mapping[str, str]) -> str:
    """A JSON file of a step without places of the machine; known homes become their step's name."""
    told = json.loads(text)
    return json.dumps(public(_renamed(told, homes)), indent=2, ensure_ascii=False) + "\n"


def _renamed(value: Any, homes: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(one, homes) for key, one in value.items()}
    if isinstance(value, list):
        return [_renamed(one, homes) for one in value]
    return homes.get(value, value) if isinstance(value, str) else value


def homes_of(links: Sequence[Link]) -> dict[str, str]:
    """Where each step's output lies, to its name."""
    return {str(link.home / "output"): link.name for link in links} | {
        str((link.home / "output").resolve()): link.name for link in links
    }
