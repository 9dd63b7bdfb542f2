"""The card of a dataset: what is in it, who taught and judged, what was dropped, how to load it."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from tracecraft.publish.card import Card
from tracecraft.publish.card_facts import Link, prompt_of, public, shown, table, versions
from tracecraft.publish.card_licences import MEANS, Together, kind_of, together
from tracecraft.publish.card_load import context_of, how_to_load
from tracecraft.publish.parquet import Written, features
from tracecraft.publish.parquet_parts import DATA_FOLDER, DEFAULT

PROBLEMS, RAW = "problems", "raw"
"""Configurations that are not for training: what was judged, and what the verifier needs of it."""
SIZES = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)
"""The hub's own classes of size, by the rows below which they hold."""
PROMPT_LINES = 40
UNTOLD = "not recorded"
FOR = {RAW: "every trace, with its verdict", PROBLEMS: "what the verifier needs of a problem"}


@dataclass(frozen=True, slots=True)
class Data:
    """What a dataset's card is made from."""

    repo: str
    written: tuple[Written, ...]
    links: tuple[Link, ...] = ()
    recipe: Mapping[str, Any] = field(default_factory=dict)

    @property
    def taught(self) -> tuple[Written, ...]:
        """The configurations meant for training, or all if there are no others."""
        found = tuple(w for w in self.written if w.config not in {RAW, PROBLEMS})
        return found or self.written

    def counts(self, column: str) -> Counter[Any]:
        """Values of a column over the rows that were judged, else over all."""
        judged = [w for w in self.written if w.config == RAW] or list(self.taught)
        total: Counter[Any] = Counter()
        for one in judged:
            total.update(one.tally.counts.get(column, {}))
        return total

    @property
    def together(self) -> Together:
        """What the licences of its rows come to."""
        return together(licence for (_, licence) in self.origins)

    @property
    def origins(self) -> Counter[tuple[str | None, str | None]]:
        """Rows by source and licence."""
        total: Counter[tuple[str | None, str | None]] = Counter()
        for one in self.taught:
            total.update(one.tally.origins)
        return total

    def of(self, use: str) -> list[Link]:
        """The steps of one kind that led here."""
        return [link for link in self.links if link.use == use]


def data_card(data: Data) -> Card:
    """Header and text of a dataset's README."""
    sections = [
        [f"# {data.repo.rpartition('/')[2]}", "", *_opening(data)],
        _contents(data),
        _teacher(data),
        _verdicts(data),
        _funnel(data.links),
        _decontamination(data),
        _licences(data),
        how_to_load(data.repo, data.taught[0].config, _context(data), chat=_chat(data)),
        _again(data),
    ]
    return Card(_header(data), "\n\n".join("\n".join(lines) for lines in sections if lines))


def _header(data: Data) -> dict[str, Any]:
    rows = sum(w.tally.rows for w in data.taught)
    domains = [name for name in data.counts("domain") if name]
    header: dict[str, Any] = {
        "license": data.together.header,
        "language": ["en"],
        "task_categories": ["text-generation"],
        "annotations_creators": ["machine-generated"],
        "tags": ["tracecraft", "reasoning", "chain-of-thought", "distillation", *sorted(domains)],
        "size_categories": [next((name for most, name in SIZES if rows < most), "100M<n<1B")],
    }
    sources = {s.removeprefix("hf:").partition("@")[0] for s, _ in data.origins if _on_hub(s)}
    if sources:
        header["source_datasets"] = sorted(sources)
    header["configs"] = _configs(data.written)
    header["dataset_info"] = _info(data.written)
    return header


def _on_hub(source: str | None) -> TypeGuard[str]:
    return source is not None and source.startswith("hf:")


def _configs(written: Sequence[Written]) -> list[dict[str, Any]]:
    grouped: dict[str, list[Written]] = {}
    for one in written:
        grouped.setdefault(one.config, []).append(one)
    configs: list[dict[str, Any]] = []
    for config, parts in grouped.items():
        files = [{"split": one.split, "path": _pattern(one)} for one in parts]
        configs.append({"config_name": config, "data_files": files})
    if configs and not any(one["config_name"] == DEFAULT for one in configs):
        configs[0]["default"] = True
    return configs


def _pattern(one: Written) -> str:
    folder = DATA_FOLDER if one.config == DEFAULT else one.config
    ending = next(path.suffix for path in one.files if path.suffix in {".parquet", ".arrow"})
    inner = {path.parent.name for path in one.files} - {folder}
    below = f"{folder}/{min(inner)}" if inner else folder
    return f"{below}/{one.split if ending == '.parquet' else 'data'}-*{ending}"


def _info(written: Sequence[Written]) -> list[dict[str, Any]]:
    infos: dict[str, dict[str, Any]] = {}
    for one in written:
        info = infos.setdefault(
            one.config,
            {
                "config_name": one.config,
                "features": features(one.schema),
                "splits": [],
                "download_size": 0,
                "dataset_size": 0,
            },
        )
        split = {"name": one.split, "num_bytes": one.tally.bytes, "num_examples": one.tally.rows}
        info["splits"].append(split)
        info["download_size"] += one.size
        info["dataset_size"] += one.tally.bytes
    return list(infos.values())


def _opening(data: Data) -> list[str]:
    teachers = [str(name) for name in data.counts("teacher") if name]
    by = f" written by {_listed(teachers)}" if teachers else ""
    how = ", generated, verified and selected" if data.of("generate") else ""
    version = versions(data.links)
    made = f" (version {_listed(version)})" if version else ""
    return [
        f"Chain-of-thought traces{by}{how} with tracecraft{made}. Problems were"
        " collected, not written here; every row names its source."
    ]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{public(name)}`" for name in names)


def _contents(data: Data) -> list[str]:
    rows = []
    for one in data.written:
        tokens = sorted(one.tally.tokens)
        middle = f"{tokens[len(tokens) // 2]:,}" if tokens else ""
        most = f"{tokens[-1]:,}" if tokens else ""
        what = {
            RAW: "every trace, with its verdict",
            PROBLEMS: "what the verifier needs of a problem",
        }
        told = what.get(one.config, "for training")
        rows.append((one.config, one.split, f"{one.tally.rows:,}", middle, most, told))
    head = ("configuration", "split", "#rows", "#tokens, median", "#longest", "what")
    return ["## What is in it", "", *table(head, rows)]


def _teacher(data: Data) -> list[str]:
    lines = ["## Teacher and sampling"]
    for link in data.of("generate"):
        told = link.identity
        engine = told.get("engine") or {}
        teacher = link.manifest.facts.get("teacher") or engine.get("model")
        rows = [
            ("teacher", public(teacher)),
            ("engine", engine.get("use")),
            *((f"engine: {k}", v) for k, v in engine.items() if k not in {"use", "version"} and v),
            *(told.get("sampling") or {}).items(),
            ("samples a problem", told.get("samples")),
            ("begins with", told.get("opening") and f"`{shown(told['opening'])}`"),
        ]
        stated = [(name, value) for name, value in rows if value not in (None, "", [])]
        lines += ["", f"`{link.name}`:", "", *table(("option", "value"), stated)]
        prompt = prompt_of(link, data.recipe)
        if prompt is not None:
            kept = prompt.rstrip().splitlines()[:PROMPT_LINES]
            lines += ["", "Prompt:", "", "````text", *kept, "````"]
    if len(lines) == 1:
        teachers = data.counts("teacher").most_common()
        if not teachers:
            return []
        lines += ["", *table(("teacher", "#traces"), [(public(t), f"{n:,}") for t, n in teachers])]
        lines += ["", "How they were sampled is not recorded here."]
    return lines


def _verdicts(data: Data) -> list[str]:
    outcomes = data.counts("outcome")
    if not outcomes:
        return []
    total = sum(outcomes.values())
    rows = [(name, f"{n:,}", f"{n / total:.1%}") for name, n in outcomes.most_common()]
    lines = [
        "## Verdicts",
        "",
        "Every answer was held against the reference answer of its problem.",
    ]
    options = [(link.name, shown(link.identity.get("verifier"))) for link in data.of("verify")]
    lines += ["", *table(("step", "verifier"), options)] if options else []
    return [*lines, "", *table(("outcome", "#traces", "#share"), rows)]


def _funnel(links: Sequence[Link]) -> list[str]:
    if not links:
        return []
    rows = []
    for link in links:
        drops = "; ".join(f"{n:,} {rule}" for rule, n in link.manifest.dropped.items())
        counted = (f"{link.manifest.rows_in:,}", public(drops), f"{link.manifest.rows_out:,}")
        rows.append((link.name, link.use, *counted))
    told = ["## Funnel", "", "What each step read, dropped by which rule, and kept.", ""]
    return told + table(("step", "use", "#in", "dropped", "#out"), rows)


def _decontamination(data: Data) -> list[str]:
    lines = []
    for link in data.of("decontaminate"):
        told = link.identity
        against = told.get("against") or {}
        names = against if isinstance(against, Mapping) else dict.fromkeys(against, "")
        gone = sum(link.manifest.dropped.values())
        options = {k: v for k, v in told.items() if k not in {"use", "version", "against"}}
        lines += ["", f"`{link.name}` dropped {gone:,} of {link.manifest.rows_in:,} rows"]
        lines[-1] += f" ({shown(options)}), against:"
        lines += ["", *table(("benchmark", "digest"), list(names.items()))]
    if lines:
        return ["## Decontamination", *lines]
    return ["## Decontamination", "", "None is recorded."] if data.links else []


def _licences(data: Data) -> list[str]:
    if not data.origins:
        return []
    rows = [
        (
            public(source) or "not recorded",
            licence or "not recorded",
            f"{n:,}",
            MEANS[kind_of(licence)],
        )
        for (source, licence), n in data.origins.most_common()
    ]
    lines = ["## Licences", "", *table(("source", "licence", "#rows", "which means"), rows), ""]
    lines += [f"- {one}" for one in data.together.says]
    teachers = [str(name) for name in data.counts("teacher") if name]
    if teachers:
        lines.append(f"- What {_listed(teachers)} wrote is under its terms too, not recorded here.")
    return lines


def _chat(data: Data) -> bool:
    return "messages" in data.taught[0].schema.names


def _context(data: Data) -> int:
    return context_of(n for w in data.taught for n in w.tally.tokens)


def _again(data: Data) -> list[str]:
    if not data.counts("outcome"):
        return []
    return [
        "## Check it",
        "",
        "```sh",
        f"tracecraft verify hub:{data.repo}   # judges again, and says where the verdict differs",
        "```",
        "",
        "`tracecraft.json` holds the options of every step, and the digest of every file.",
    ]
