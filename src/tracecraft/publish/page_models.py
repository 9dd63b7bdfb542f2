"""What jobs leave behind: tables of scores, and the map of a merge."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from tracecraft.errors import StoreError
from tracecraft.publish.page_facts import Facts

SCORES = "scores.parquet"
DIFFERENCES = "differences.parquet"
GATES = "gates.json"
MERGE = "merge.json"
_NEEDED = ("benchmark", "model", "metric", "value")
_LAYER = re.compile(r"^(?:.*?\.)?(?:layers|h|blocks|block)\.(\d+)\.(.+)$")


@dataclass(frozen=True, slots=True)
class Score:
    """One number of a score table, with its interval where there is one."""

    benchmark: str
    model: str
    metric: str
    value: float
    low: float | None
    high: float | None
    problems: int | None
    samples: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """What one model has more than another, on the same problems."""

    benchmark: str
    metric: str
    model: str
    other: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Scores:
    """The score table that a step wrote, and its paired comparisons."""

    step: str
    rows: list[Score]
    differences: list[Difference]


@dataclass(frozen=True, slots=True)
class Gate:
    """A condition that the recipe makes."""

    gate: str
    model: str
    value: float
    holds: bool


@dataclass(frozen=True, slots=True)
class Tensor:
    """What a merge did to one tensor."""

    name: str
    module: str
    """Its name without the number of its layer."""
    layer: int | None
    weights: int
    share: float
    threshold: float | None
    kl: float | None
    delta: float
    moved: float


@dataclass(frozen=True, slots=True)
class Merged:
    """The map of one merge."""

    step: str
    method: str
    models: tuple[str, ...]
    share: float
    delta: float
    moved: float
    tensors: list[Tensor]
    notes: tuple[str, ...]


def scores(facts: Facts) -> list[Scores]:
    """Every score table of the run.

    Raises:
        StoreError: one lacks a column.
    """
    found = []
    for stop in facts.stops:
        path = stop.home / "output" / SCORES
        if stop.kind == "job" and path.is_file():
            table = pl.read_parquet(path)
            lacking = [name for name in _NEEDED if name not in table.columns]
            if lacking:
                raise StoreError(f"{path}: has no column {', '.join(lacking)}")
            rows = [_score(row) for row in table.iter_rows(named=True) if row["value"] is not None]
            found.append(Scores(stop.name, rows, _differences(path.with_name(DIFFERENCES))))
    return found


def _differences(path: Path) -> list[Difference]:
    if not path.is_file():
        return []
    names = [one.name for one in fields(Difference)]
    rows = pl.read_parquet(path).select(names).iter_rows(named=True)
    return [Difference(**row) for row in rows if row["value"] is not None]


def gates(facts: Facts) -> list[Gate]:
    """Every gate of the run, also of a gate job that one of them stopped."""
    found = []
    for stop in facts.stops:
        for folder in ("output", "output.half") if stop.use == "gate" else ():
            path = stop.home / folder / GATES
            if path.is_file():
                told = orjson.loads(path.read_bytes())
                found += [Gate(g["gate"], g["model"], g["value"], g["holds"]) for g in told]
                break
    return found


def _score(row: dict[str, Any]) -> Score:
    def whole(name: str) -> int | None:
        return None if row.get(name) is None else int(row[name])

    return Score(
        str(row["benchmark"]),
        str(row["model"]),
        str(row["metric"]),
        float(row["value"]),
        row.get("low"),
        row.get("high"),
        whole("problems"),
        whole("samples"),
    )


def merges(facts: Facts) -> list[Merged]:
    """The map of every merge of the run.

    Raises:
        StoreError: a merge's report is damaged.
    """
    found = []
    for stop in facts.stops:
        path = stop.home / "output" / MERGE
        if stop.use == "merge" and path.is_file():
            try:
                found.append(_merged(stop.name, stop.inputs, orjson.loads(path.read_bytes())))
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                raise StoreError(f"{path} is damaged: {error!r}") from None
    return found


def _merged(step: str, inputs: tuple[str, ...], told: dict[str, Any]) -> Merged:
    return Merged(
        step=step,
        method=_method(told["method"]),
        models=inputs or tuple(str(m).rpartition("/")[2] for m in told["models"]),
        share=told["share"],
        delta=told["delta"],
        moved=told["moved"],
        tensors=list(_tensors(told["tensors"])),
        notes=tuple(told["notes"]),
    )


def _method(told: Any) -> str:
    """A method and what it was told: `arcee_fusion, mode exact`."""
    if not isinstance(told, dict):
        return str(told)
    said = {k: v for k, v in told.items() if k not in ("use", "version") and v not in (None, {})}
    return ", ".join([str(told.get("use")), *(f"{k} {v}" for k, v in said.items())])


def _tensors(rows: Sequence[dict[str, Any]]) -> Iterator[Tensor]:
    for row in rows:
        name = str(row["name"])
        hit = _LAYER.match(name)
        weights = 1
        for size in row["shape"]:
            weights *= size
        yield Tensor(
            name=name,
            module=(hit[2] if hit else name).removesuffix(".weight"),
            layer=int(hit[1]) if hit else None,
            weights=weights,
            share=row["share"],
            threshold=row["threshold"],
            kl=row["kl"],
            delta=row["delta"],
            moved=row["moved"],
        )
