"""What repeats what: duplicates beside the row they repeat, leaks with their span marked."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

import polars as pl

from tracecraft.publish.page_facts import Facts, Stop, hidden
from tracecraft.publish.page_html import Html, joined, tag
from tracecraft.schema import DROPPED

WORDS = 400
"""Words of a text that are compared and shown."""
CLUSTERS = 12
SAME = 3
"""Clusters to show where all rows of all clusters have the same words."""
LEAKS = 24
_PIECES = re.compile(r"\S+|\s+")


@dataclass(frozen=True, slots=True)
class Repeat:
    """A row that was dropped beside the one that it repeats."""

    id: str
    similarity: float
    text: str
    via: str | None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A survivor and what repeated it."""

    step: str
    survivor: str
    text: str | None
    """None where it is not in this run: it was published before."""
    repeats: list[Repeat]
    size: int
    """Rows dropped for this survivor, shown or not."""


@dataclass(frozen=True, slots=True)
class Found:
    """A row that repeats a benchmark's item."""

    id: str
    benchmark: str
    item: str
    coverage: float
    text: str | None
    """None where the benchmark's questions must not be shown."""
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Contamination:
    """What one step found."""

    step: str
    column: str
    rows: int
    """Rows that were searched."""
    counts: dict[str, tuple[int, int, float]]
    """Benchmark to rows dropped, items touched, mean coverage."""
    paraphrases: dict[str, int]
    """Benchmark to rows that have an item's wording and other numbers; they stay."""
    found: list[Found]


def clusters(facts: Facts) -> list[Cluster]:
    """Some clusters of every dedupe: the least alike first, since those are worth a look."""
    found: list[Cluster] = []
    for stop in facts.stops:
        if stop.use == "dedupe" and stop.ledgers and not stop.confidential:
            found += _clusters(stop)
    return found


def _clusters(stop: Stop) -> Iterator[Cluster]:
    assert stop.manifest is not None
    columns = [str(name) for name in stop.manifest.identity.get("column", ["statement"])]
    gone = pl.concat(stop.ledgers, how="diagonal_relaxed")
    names = gone.collect_schema().names()
    key = _key(names, stop.manifest.identity.get("id"))
    if key is None:
        return
    light = gone.select(key, "duplicate_of", "similarity").collect()
    sizes = light.group_by("duplicate_of").agg(
        pl.len().alias("size"), pl.col("similarity").min().alias("least")
    )
    chosen = sizes.sort("least", "size", "duplicate_of").head(CLUSTERS)
    differing = chosen.filter(pl.col("least") < 1)
    chosen = differing if differing.height else chosen.head(SAME)
    wanted = chosen["duplicate_of"].implode()
    rows = gone.filter(pl.col("duplicate_of").is_in(wanted)).collect()
    kept = stop.scan(key, *columns, "source").filter(pl.col(key).cast(pl.String).is_in(wanted))
    texts = {
        str(row[key]): _text(row, columns)
        for row in kept.collect().iter_rows(named=True)
        if not hidden(row)
    }
    for survivor, size, _ in chosen.iter_rows():
        of = rows.filter(pl.col("duplicate_of") == survivor).sort("similarity", key).head(3)
        repeats = [
            Repeat(str(r[key]), r["similarity"], _text(r, columns), r.get("duplicate_via"))
            for r in of.iter_rows(named=True)
            if not hidden({**r, DROPPED: None})
        ]
        if repeats:
            yield Cluster(stop.name, survivor, texts.get(survivor), repeats, size)


def contaminations(facts: Facts) -> list[Contamination]:
    """What every decontaminate found."""
    return [
        _contamination(stop)
        for stop in facts.stops
        if stop.use == "decontaminate" and stop.manifest is not None
    ]


def _contamination(stop: Stop) -> Contamination:
    assert stop.manifest is not None
    column = str(stop.manifest.identity.get("column", "statement"))
    counts: dict[str, tuple[int, int, float]] = {}
    found: list[Found] = []
    if stop.ledgers:
        gone = pl.concat(stop.ledgers, how="diagonal_relaxed")
        by = gone.group_by(DROPPED).agg(
            pl.len().alias("rows"),
            pl.col("contaminated_by").n_unique().alias("items"),
            pl.col("coverage").mean().alias("mean"),
        )
        for rule, rows, items, mean in by.sort("rows", descending=True).collect().iter_rows():
            counts[_benchmark(rule)] = (rows, items, mean or 0.0)
        order = pl.int_range(pl.len()).over(DROPPED)
        key = _key(gone.collect_schema().names(), None)
        light = gone.select(DROPPED, "coverage").with_row_index("row").collect()
        light = light.sort("coverage", "row").with_columns(order.alias("turn"))
        chosen = light.sort("turn", "coverage").head(LEAKS)["row"].implode()
        rows = gone.with_row_index("row").filter(pl.col("row").is_in(chosen)).collect()
        found = [_found(r, key, column, stop) for r in rows.sort("coverage").to_dicts()]
    paraphrases: dict[str, int] = {}
    if "paraphrase_of" in stop.columns:
        named = stop.scan("paraphrase_of").drop_nulls().select(
            pl.col("paraphrase_of").str.split(":").list.first()
        )  # fmt: skip
        counted = named.group_by("paraphrase_of").len().sort("paraphrase_of").collect()
        paraphrases = dict(counted.iter_rows())
    return Contamination(stop.name, column, stop.manifest.rows_in, counts, paraphrases, found)


def _found(row: dict[str, Any], key: str | None, column: str, stop: Stop) -> Found:
    span = row.get("contaminated_span") or {"start": 0, "end": 0}
    secret = stop.confidential or hidden(row)
    return Found(
        id=str(row[key]) if key else f"row {row['row'] + 1}",
        benchmark=_benchmark(row[DROPPED]),
        item=str(row["contaminated_by"]),
        coverage=row["coverage"] or 0.0,
        text=None if secret else row[column],
        start=span["start"],
        end=span["end"],
    )


def _benchmark(rule: str) -> str:
    return rule.partition(":")[2] or rule


def _key(names: Iterable[str], asked: str | None) -> str | None:
    ids = ("trace_id", "problem_id", "example_id", "id")
    return asked or next((name for name in ids if name in set(names)), None)


def _text(row: dict[str, Any], columns: list[str]) -> str:
    return "\n\n".join(str(row[name]) for name in columns if row.get(name) is not None)


def marked_difference(left: str, right: str) -> tuple[Html, Html]:
    """Two texts with the words marked that the other does not have, at most `WORDS` of each."""
    ours, theirs = (_PIECES.findall(one)[: 2 * WORDS] for one in (left, right))
    matcher = SequenceMatcher(None, _folded(ours), _folded(theirs), autojunk=False)
    sides: tuple[list[Html], list[Html]] = ([], [])
    for what, a, b, c, d in matcher.get_opcodes():
        for side, pieces, name in ((0, ours[a:b], "del"), (1, theirs[c:d], "ins")):
            words = "".join(pieces)
            if words:
                same = what == "equal" or not words.strip()
                sides[side].append(joined(words) if same else tag(name, words))
    return _ended(sides[0], left, ours), _ended(sides[1], right, theirs)


def _folded(pieces: list[str]) -> list[str]:
    return [" " if piece.isspace() else piece for piece in pieces]


def _ended(parts: list[Html], text: str, pieces: list[str]) -> Html:
    left = len(text) - sum(map(len, pieces))
    more = tag("span", f" … {left:,} more characters", class_="quiet") if left > 0 else None
    return joined(*parts, more)


def marked_span(text: str, start: int, end: int, around: int = 240) -> Html:
    """A text with a span marked, and at most `around` characters on either side of it."""
    before, after = text[max(0, start - around) : start], text[end : end + around]
    inside = text[start:end]
    if len(inside) > 1_600:
        inside = f"{inside[:1_000]} … {inside[-500:]}"
    return joined(
        "… " if start > around else None,
        before,
        tag("mark", inside),
        after,
        " …" if end + around < len(text) else None,
    )
