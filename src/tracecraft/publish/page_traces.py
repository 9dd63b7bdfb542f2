"""The rows that a report lets one read: a seeded sample of every way in which a row can end."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from tracecraft.publish.page_facts import Facts, Stop, ancestors, differs, hidden, opinions
from tracecraft.schema import DROPPED

SEED = 17
TEXTS = ("statement", "reasoning", "response")
MARKS = (
    "answer",
    "extracted",
    "detail",
    "verifier",
    "second_outcome",
    "second_extracted",
    "duplicate_of",
    "similarity",
    "contaminated_by",
    "coverage",
    "paraphrase_of",
)
"""Columns of a row that the browser shows under their own name, where they are."""
_LIGHT = ("trace_id", "problem_id", "domain", "source", "outcome", DROPPED)
_HEAVY = (*TEXTS, *MARKS, "teacher", "sample_index", "finish", "completion_tokens", "messages")
CHARACTERS = 4_000_000
"""Of all texts on a page together, about; longer ones are cut in the middle."""
LEAST = 1_500
"""Characters of a text that are never cut."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows to show, and of how many."""

    rows: list[dict[str, Any]]
    total: int
    """Rows that ended somewhere: dropped by a step, or kept to the end."""
    withheld: int
    """Of the total, rows of a benchmark whose questions must not be shown."""


@dataclass(frozen=True, slots=True)
class _Pool:
    """Files in which rows end in the same step."""

    step: str
    files: tuple[pl.LazyFrame, ...]
    kept: pl.Series | None
    """None: rows that were dropped. Else the ids of those of the rows that stayed."""
    secret: bool
    """None of them may be shown."""


def sample(facts: Facts, most: int) -> Sample:
    """At most `most` rows (or one of every way to end), each way to end about equally often.

    A way to end is a step, a rule, a domain, an outcome, and whether opinions of it differ. The
    same run gives the same rows.
    """
    pools = list(_pools(facts))
    light = [_light(pool, i, j) for i, pool in enumerate(pools) for j in range(len(pool.files))]
    if not light:
        return Sample([], 0, 0)
    rows = pl.concat(light, how="diagonal_relaxed")
    shown = rows.filter(~pl.col("hidden"))
    chosen = _chosen(shown, most)
    found: list[dict[str, Any]] = []
    for (pool, file), part in sorted(chosen.partition_by("pool", "file", as_dict=True).items()):
        found += _read(pools[int(pool)], int(file), part)
    found.sort(key=lambda row: row["order"])
    return Sample(_within(found), rows.height, rows.height - shown.height)


def _pools(facts: Facts) -> Iterable[_Pool]:
    stops = [stop for stop in facts.stops if stop.kind != "job" and stop.columns]
    for stop in stops:
        if stop.ledgers:
            yield _Pool(stop.name, tuple(stop.ledgers), None, stop.confidential)
    read = {stop.inputs[0] for stop in stops if stop.inputs}
    for stop in stops:
        if stop.name in read:
            continue
        told = _telling(stop, facts.stops)
        names = [n for n in ("trace_id", "problem_id") if n in stop.columns and n in told.columns]
        if names:
            ids = stop.scan(names[0]).collect()[names[0]].unique()
            yield _Pool(stop.name, _files(told), ids, stop.confidential)


def _telling(stop: Stop, stops: Sequence[Stop]) -> Stop:
    """Where the rows that a step kept can be read best: examples have lost their verdict."""
    if "messages" in stop.columns:
        for one in ancestors(stop, stops):
            if "response" in one.columns:
                return one
    return stop


def _files(stop: Stop) -> tuple[pl.LazyFrame, ...]:
    assert stop.manifest is not None
    names = stop.manifest.shards
    return tuple(pl.scan_ipc(stop.home / "shards" / name, glob=False) for name in names)


def _light(pool: _Pool, number: int, file: int) -> pl.DataFrame:
    """The rows of a file by their index, with what decides which are shown."""
    frame = pool.files[file]
    schema = frame.collect_schema()
    have, other = schema.names(), differs(schema)
    marks = [name for name in ("contaminated_by", "paraphrase_of") if name in have]
    names = [name for name in _LIGHT if name in have]
    flag = (pl.lit(value=False) if other is None else other).alias("differs")
    rows = frame.select(*names, *marks, flag).collect().with_row_index("row")
    rows = rows.with_columns(pl.col(*names, *marks).cast(pl.String))
    if pool.kept is not None:
        key = "trace_id" if "trace_id" in have else "problem_id"
        rows = rows.filter(pl.col(key).is_in(pool.kept.implode()))
    told = [n for n in ("source", DROPPED, *marks) if n in rows.columns]
    secrets = {
        tuple(row.values())
        for row in rows.select(told).unique().iter_rows(named=True)
        if hidden(row)
    }
    flags = [pool.secret] * rows.height
    if secrets and not pool.secret:
        flags = [row in secrets for row in rows.select(told).iter_rows()]
    key = next((n for n in ("trace_id", "problem_id") if n in rows.columns), "row")
    return rows.select(
        "row",
        *(pl.col(n) for n in ("domain", "outcome", DROPPED) if n in rows.columns),
        "differs",
        pl.col(key).cast(pl.String).hash(SEED).alias("lot"),
        pl.lit(number).alias("pool"),
        pl.lit(file).alias("file"),
        pl.Series("hidden", flags, dtype=pl.Boolean),
    )


def _chosen(rows: pl.DataFrame, most: int) -> pl.DataFrame:
    """One of each kind, then a second of each, and so on; kinds draw from few files."""
    for name in ("domain", "outcome", DROPPED):
        if name not in rows.columns:
            rows = rows.with_columns(pl.lit(None, pl.String).alias(name))
    way = ["pool", DROPPED]
    turn = pl.struct("pool", "file").hash(SEED)
    rows = rows.sort(turn, "lot", "row")
    rank = pl.int_range(pl.len())
    rows = rows.with_columns(
        rank.over([*way, "domain", "outcome", "differs"]).alias("turn"),
        rank.over(way).alias("first"),
    )
    rows = rows.sort(pl.col("first") > 0, "turn", "first", "lot")
    ways = rows.select(way).n_unique()
    return rows.head(max(most, ways)).with_row_index("order")


def _read(pool: _Pool, file: int, part: pl.DataFrame) -> list[dict[str, Any]]:
    frame = pool.files[file]
    schema = frame.collect_schema()
    names = [name for name in (*_LIGHT, *_HEAVY) if name in schema]
    others = [name for name in opinions(schema) if name not in names]
    other = differs(schema)
    flag = [] if other is None else [other.alias("differs")]
    wanted = part["row"].implode()
    order = dict(part.select("row", "order").iter_rows())
    numbered = (
        frame.select(*names, *others, *flag)
        .with_row_index("row")
        .filter(pl.col("row").is_in(wanted))
    )
    return [
        _entry(row, pool.step, kept=pool.kept is not None) | {"order": order[row["row"]]}
        for row in numbered.collect(engine="streaming").iter_rows(named=True)
    ]


def _entry(row: dict[str, Any], step: str, *, kept: bool) -> dict[str, Any]:
    """A row as the browser reads it; nothing that is null."""
    marks = [*MARKS, *(name for name in row if name.startswith("theirs_"))]
    told = {
        "id": row.get("trace_id") or row.get("problem_id") or f"row {row['row'] + 1}",
        "problem": row.get("problem_id"),
        "domain": row.get("domain"),
        "source": row.get("source"),
        "teacher": row.get("teacher"),
        "sample": row.get("sample_index"),
        "outcome": row.get("outcome"),
        "step": step,
        "rule": None if kept else row.get(DROPPED),
        "finish": row.get("finish"),
        "tokens": row.get("completion_tokens"),
        "differs": row.get("differs"),
        "marks": {n: _told(row[n]) for n in marks if row.get(n) is not None},
        **{name: row.get(name) for name in TEXTS},
    }
    return {name: value for name, value in told.items() if value not in (None, "", {})}


def _told(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _within(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their longest texts cut in the middle, so that the page stays light."""
    sizes = sorted(len(row[name]) for row in rows for name in TEXTS if name in row)
    left, cut = CHARACTERS, 0
    for i, size in enumerate(sizes):
        share = left // (len(sizes) - i)
        if size > share:
            cut = max(LEAST, share)
            break
        left -= size
    for row in rows:
        del row["order"]
        for name in TEXTS:
            if cut and len(row.get(name, "")) > cut:
                row[name], row[f"{name}_cut"] = _middle(row[name], cut)
        for name, value in row["marks"].items() if "marks" in row else ():
            row["marks"][name] = value if len(value) <= LEAST else _middle(value, LEAST)[0]
    return rows


def _middle(text: str, most: int) -> tuple[str, int]:
    """A text without its middle, and how many characters that had."""
    head = most * 2 // 3
    gone = len(text) - most
    return f"{text[:head]}\n\n[… {gone:,} characters left out …]\n\n{text[-(most - head) :]}", gone
