"""What a report tells of a run, read from manifests and the light columns of its tables."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from tracecraft.errors import StoreError
from tracecraft.schema import DOMAINS, DROPPED, OUTCOMES
from tracecraft.store import MANIFEST, Dataset, Manifest

CONFIDENTIAL = re.compile(r"gpqa|'private': True", re.IGNORECASE)
"""What a benchmark whose questions must not be shown has in its name or its options. GPQA's
authors ask (arXiv:2311.12022) that no question be put where crawlers find it."""
LOCKED = "zip"
"""A source that reads an archive with a password: it was locked for a reason."""
BENCHMARK = "benchmark"
"""The stage that makes problems of a benchmark's items."""
WHOLE = "all"
"""The folder of rows that have no domain yet."""


class StepLike(Protocol):
    """A step of a run: where its output lies, and what made it."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def use(self) -> str: ...
    @property
    def inputs(self) -> tuple[str, ...]: ...
    @property
    def home(self) -> Path: ...


class RateLike(Protocol):
    """A share with its interval."""

    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def problems(self) -> int: ...
    @property
    def traces(self) -> int: ...


Rating = Callable[[pl.DataFrame, pl.Expr], RateLike | None]
"""The share of rows for which something is true, with a 95% interval over problems."""


@dataclass(frozen=True)
class Stop:
    """One step of the run, as far as it is done."""

    name: str
    use: str
    kind: str
    home: Path
    inputs: tuple[str, ...]
    manifest: Manifest | None
    """None where the step is not finished."""
    confidential: bool = False
    """Its rows are, or come from, a benchmark whose questions must not be shown."""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Of its table; empty for a job or an unfinished step."""
        if self.manifest is None or not self.manifest.shards:
            return ()
        first = self.home / "shards" / next(iter(self.manifest.shards))
        return tuple(pl.scan_ipc(first, glob=False).collect_schema().names())

    @property
    def unit(self) -> str:
        """What its rows are: problems, traces or examples."""
        if "messages" in self.columns:
            return "examples"
        return "traces" if {"trace_id", "response"} & set(self.columns) else "problems"

    @cached_property
    def domains(self) -> dict[str, int]:
        """Rows kept, by domain."""
        found: Counter[str] = Counter()
        for name, (rows, _, _) in (self.manifest.shards if self.manifest else {}).items():
            found[name.partition("/")[0]] += rows
        return dict(found)

    @cached_property
    def drops(self) -> dict[str, dict[str, int]]:
        """Rows dropped, by domain and rule."""
        found: dict[str, dict[str, int]] = {}
        for table in self.ledgers:
            have = table.collect_schema().names()
            domain = pl.col("domain").cast(pl.String) if "domain" in have else pl.lit(WHOLE)
            counted = table.group_by(domain.fill_null(WHOLE).alias("d"), DROPPED).len().collect()
            for name, rule, rows in counted.sort("d", DROPPED).iter_rows():
                of = found.setdefault(name, {})
                of[rule] = of.get(rule, 0) + rows
        return {d: dict(sorted(of.items(), key=lambda one: -one[1])) for d, of in found.items()}

    @property
    def ledgers(self) -> list[pl.LazyFrame]:
        """The files of rows it dropped."""
        files = sorted((self.home / "dropped").glob("*.arrow"))
        return [pl.scan_ipc(file, glob=False) for file in files] if self.manifest else []

    def scan(self, *columns: str) -> pl.LazyFrame:
        """Its rows, only these columns, as far as it has them."""
        wanted = [name for name in columns if name in self.columns]
        return Dataset.open(self.home).scan().select(wanted)


@dataclass(frozen=True, slots=True)
class Share:
    """A named share: of a domain, of a teacher."""

    name: str
    rate: RateLike
    solved: int = 0
    """Problems for which it is true at least once."""


@dataclass(frozen=True, slots=True)
class Bands:
    """How many problems were solved how often."""

    counts: dict[tuple[int, int], int]
    """(correct, judged) traces to problems."""
    never: list[str]
    """Ids of some problems with no correct trace."""
    always: list[str]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Two opinions of the same traces."""

    other: str
    """The column of the second opinion."""
    counts: dict[tuple[str, str], int]
    """(ours, theirs) to traces."""


@dataclass(frozen=True)
class Facts:
    """All that the figures of the page show."""

    stops: list[Stop]
    traces: pl.DataFrame
    """problem_id, domain, source, teacher, finish, completion_tokens of every trace."""
    verdicts: pl.DataFrame
    """problem_id, domain, outcome, completion_tokens of every first verdict."""
    passed: list[Share] = field(default_factory=list)
    """All traces first, then by domain and by teacher."""
    truncated: list[Share] = field(default_factory=list)
    bands: Bands | None = None
    agreements: list[Agreement] = field(default_factory=list)

    def stop(self, name: str) -> Stop:
        """The step of that name."""
        return next(stop for stop in self.stops if stop.name == name)


def gather(steps: Iterable[StepLike], rate: Rating) -> Facts:
    """Read a run. Memory: some 100 bytes a trace, however long its text.

    Raises:
        StoreError: an output that a manifest lists is gone or damaged.
    """
    stops = stops_of(steps)
    told = [s for s in stops if not examined(s, stops)]
    told = told if any(s.columns for s in told) else stops
    traces = _gathered(
        [stop for stop in told if _first(stop, stops, "traces")],
        ("problem_id", "domain", "source", "teacher", "finish", "completion_tokens"),
    )
    verdicts = _gathered(
        [stop for stop in told if _first(stop, stops, "verdicts")],
        ("problem_id", "domain", "teacher", "outcome", "completion_tokens"),
    )
    return Facts(
        stops=stops,
        traces=traces,
        verdicts=verdicts,
        passed=_shares(verdicts, "outcome", "correct", rate),
        truncated=_shares(traces, "finish", "length", rate),
        bands=_bands(verdicts),
        agreements=_agreements(stops),
    )


def stops_of(steps: Iterable[StepLike]) -> list[Stop]:
    """The steps with their manifests; those whose rows must not be shown are marked."""
    stops: list[Stop] = []
    for step in steps:
        try:
            manifest = Manifest.read(step.home)
        except StoreError:
            if (step.home / MANIFEST).exists():
                raise
            manifest = None
        stops.append(Stop(step.name, step.use, step.kind, step.home, step.inputs, manifest))
    secret = _confidential(stops)
    return [replace(stop, confidential=stop.name in secret) for stop in stops]


def _confidential(stops: Sequence[Stop]) -> set[str]:
    """Steps that hold a benchmark's questions which must not be shown, or what came of them."""
    found: set[str] = set()
    private = {
        str(benchmark["name"])
        for stop in stops
        if stop.manifest is not None and stop.use == "score"
        for benchmark in stop.manifest.identity.get("benchmarks", ())
        if benchmark.get("private")
    }
    for stop in stops:
        told = {} if stop.manifest is None else stop.manifest.identity
        marked = bool(CONFIDENTIAL.search(str(told)))
        if stop.kind == "source" and (marked or stop.use == LOCKED):
            found.add(stop.name)
        if stop.use == BENCHMARK and (marked or told.get("benchmark") in private):
            found |= {stop.name, *(one.name for one in ancestors(stop, stops))}
    for stop in stops:
        rows = stop.inputs[:1] if stop.use == "decontaminate" else stop.inputs
        if found & set(rows):
            found.add(stop.name)
    return found


def ancestors(stop: Stop, stops: Sequence[Stop]) -> list[Stop]:
    """The steps whose rows became this one's, nearest first."""
    by_name = {one.name: one for one in stops}
    found = []
    while stop.inputs and stop.inputs[0] in by_name:
        stop = by_name[stop.inputs[0]]
        found.append(stop)
    return found


def examined(stop: Stop, stops: Sequence[Stop]) -> bool:
    """Whether a step belongs to an evaluation, and not to the data that the run makes."""
    own = [stop, *ancestors(stop, stops)]
    return any(one.use == BENCHMARK for one in own) or any(
        other.use == BENCHMARK and stop in ancestors(other, stops) for other in stops
    )


def _first(stop: Stop, stops: Sequence[Stop], what: str) -> bool:
    """Whether a table is the first on its way to hold traces, or their verdicts."""

    def holds(one: Stop) -> bool:
        if one.kind == "job":
            return False
        if what == "traces":
            return {"problem_id", "finish", "completion_tokens"} <= set(one.columns)
        return one.use == "verify" and {"problem_id", "outcome"} <= set(one.columns)

    return holds(stop) and not any(holds(one) for one in ancestors(stop, stops))


def _gathered(stops: Sequence[Stop], columns: tuple[str, ...]) -> pl.DataFrame:
    kinds: dict[str, Any] = {"completion_tokens": pl.Int64}
    empty = pl.DataFrame(schema={name: kinds.get(name, pl.String) for name in columns})
    tables = [empty]
    for stop in stops:
        found = stop.scan(*columns)
        have = found.collect_schema()
        named = ("domain", "source", "teacher", "finish", "outcome")
        casts = [pl.col(n).cast(pl.Categorical) for n in named if n in have]
        if "completion_tokens" in have:
            casts.append(pl.col("completion_tokens").cast(pl.Int64))
        tables.append(found.with_columns(casts).collect())
    tables = [t.with_columns(pl.col(pl.String, pl.Categorical).cast(pl.String)) for t in tables]
    return pl.concat(tables, how="diagonal_relaxed")


def _shares(table: pl.DataFrame, column: str, value: str, rate: Rating) -> list[Share]:
    if not table.height:
        return []
    true = pl.col(column) == value
    parts: list[tuple[str, pl.DataFrame]] = [("all", table)]
    for by in ("domain", "teacher"):
        if by in table.columns and table[by].drop_nulls().n_unique() > 1:
            groups = table.partition_by(by, as_dict=True)
            named = [(str(name), part) for (name,), part in groups.items() if name is not None]
            parts += sorted(named, key=lambda one: _domain_order(one[0]))
    shares = []
    for name, part in parts:
        found = rate(part, true)
        if found is not None:
            solved = part.filter(true)["problem_id"].n_unique()
            shares.append(Share(name, found, solved))
    return shares


def _domain_order(name: str) -> tuple[int, str]:
    return (DOMAINS.index(name) if name in DOMAINS else len(DOMAINS), name)


def _bands(verdicts: pl.DataFrame) -> Bands | None:
    if not verdicts.height:
        return None
    solved = (
        verdicts.group_by("problem_id")
        .agg((pl.col("outcome") == "correct").sum().alias("right"), pl.len().alias("judged"))
        .sort("problem_id")
    )
    counted = solved.group_by("right", "judged").len().sort("judged", "right")
    never = solved.filter(pl.col("right") == 0).sort("judged", descending=True, maintain_order=True)
    always = solved.filter(pl.col("right") == pl.col("judged"))
    return Bands(
        {(right, judged): rows for right, judged, rows in counted.iter_rows()},
        never["problem_id"].head(12).to_list(),
        always["problem_id"].head(12).to_list(),
    )


def _agreements(stops: Sequence[Stop]) -> list[Agreement]:
    """Every second opinion, where it was first given: `second_outcome`, or `theirs_…` flags."""
    found: list[Agreement] = []
    for stop in stops:
        if stop.kind == "job" or "outcome" not in stop.columns:
            continue
        schema = stop.scan(*stop.columns).collect_schema()
        known = {one.other for one in found}
        for name in opinions(schema):
            if name in known:
                continue
            pair = pl.struct(pl.col("outcome").cast(pl.String), pl.col(name).cast(pl.String))
            told = stop.scan("outcome", name).select(pair.alias("pair").value_counts())
            counts = {
                (str(p["pair"]["outcome"]), str(p["pair"][name])): int(p["count"])
                for p in told.collect()["pair"].to_list()
                if p["pair"][name] is not None
            }
            if counts:
                found.append(Agreement(name, counts))
    return found


def opinions(schema: Mapping[str, Any]) -> list[str]:
    """The columns that hold another opinion of a trace: a second verdict, flags of a source."""
    return [
        name
        for name, kind in schema.items()
        if name == "second_outcome"
        or (name.startswith("theirs_") and kind.base_type() in (pl.Boolean, pl.Enum))
    ]


def differs(schema: Mapping[str, Any]) -> pl.Expr | None:
    """Whether another opinion contradicts the outcome; None where there is no other opinion."""
    names = opinions(schema) if "outcome" in schema else []
    ours = pl.col("outcome").cast(pl.String)
    decided = ["correct", "incorrect"]
    found = []
    for name in names:
        theirs = pl.col(name).cast(pl.String).replace({"true": decided[0], "false": decided[1]})
        found.append(theirs.is_in(decided) & ours.is_in(decided) & (ours != theirs))
    return pl.any_horizontal(found).fill_null(value=False) if found else None


def ordered_outcomes(names: Iterable[str]) -> list[str]:
    """Outcomes in the house's order, then whatever else there is."""
    names = set(names)
    return [o for o in OUTCOMES if o in names] + sorted(names - set(OUTCOMES))


def hidden(row: Mapping[str, Any]) -> bool:
    """Whether a row repeats, or comes from, a benchmark whose questions must not be shown."""
    names = ("source", DROPPED, "contaminated_by", "paraphrase_of")
    return any(CONFIDENTIAL.search(str(row[name])) for name in names if row.get(name))
