"""What a run did, in numbers: funnel, tokens, pass rate, truncation, time, and where it lies."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from tracecraft.history import Run, Step
from tracecraft.store import OUTPUT, Dataset, Manifest

EVALUATION = "eval."
"""How the steps begin that the section `evaluate` stands for; what a run made is counted apart."""


@dataclass(frozen=True, slots=True)
class Line:
    """One step of the funnel."""

    name: str
    use: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    seconds: float
    place: Path
    job: bool = False
    """It fills a folder; its rows are those of its first table, if it has one."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of traces, with its 95% interval.

    Traces of one problem are not independent draws, so the standard error is sd(p)/√N over the N
    problems' own shares p. The interval is Wilson's (J. Am. Stat. Assoc. 22, 1927) at the number of
    independent draws that has this error, v(1−v)/error²; where all problems agree, at N.
    """

    value: float
    low: float
    high: float
    problems: int
    traces: int


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything the table at the end of a run shows."""

    run: str
    funnel: list[Line]
    domains: dict[str, int] = field(default_factory=dict)
    """Rows of the last table, by domain."""
    prompt_tokens: int = 0
    output_tokens: int = 0
    truncated: Rate | None = None
    outcomes: dict[str, int] = field(default_factory=dict)
    pass_rate: Rate | None = None
    solved: int = 0
    """Problems with at least one correct trace."""
    outputs: dict[str, Path] = field(default_factory=dict)
    """What jobs made, by step."""

    @property
    def seconds(self) -> float:
        """Time that the steps took when they ran."""
        return sum(line.seconds for line in self.funnel)


def summarize(run: Run) -> Summary:
    """Read a finished run's manifests, and of its tables only the light columns.

    Raises:
        StoreError: a step is not finished.
    """
    manifests = {step.name: Manifest.read(step.home) for step in run.steps}
    funnel = [_line(step, manifests[step.name]) for step in run.steps]
    tables = [step for step in run.steps if step.kind != "job"]
    made = [step for step in tables if not step.name.startswith(EVALUATION)] or tables
    traces = [s for s in made if s.use in {"generate", "traces"}]
    judged = [s for s in made if s.use == "verify" and not manifests[s.name].identity["prefix"]]
    tokens = _tokens([Dataset.open(s.home) for s in traces])
    verdicts = _verdicts([Dataset.open(s.home) for s in judged])
    last = Dataset.open(made[-1].home)
    return Summary(
        run=run.folder.name,
        funnel=funnel,
        domains=_counts(last.scan(), "domain"),
        prompt_tokens=int(tokens["prompt_tokens"].sum()),
        output_tokens=int(tokens["completion_tokens"].sum()),
        truncated=rate(tokens, pl.col("finish") == "length"),
        outcomes=_counts(verdicts.lazy(), "outcome"),
        pass_rate=rate(verdicts, pl.col("outcome") == "correct"),
        solved=verdicts.filter(pl.col("outcome") == "correct")["problem_id"].n_unique(),
        outputs={s.name: s.home / OUTPUT for s in run.steps if s.kind == "job"},
    )


def _line(step: Step, manifest: Manifest) -> Line:
    return Line(
        name=step.name,
        use=step.use,
        rows_in=manifest.rows_in,
        rows_out=manifest.rows_out,
        dropped=manifest.dropped,
        seconds=manifest.seconds,
        place=step.home,
        job=step.kind == "job",
    )


def _tokens(datasets: list[Dataset]) -> pl.DataFrame:
    return _gathered(datasets, ["problem_id", "finish", "prompt_tokens", "completion_tokens"])


def _verdicts(datasets: list[Dataset]) -> pl.DataFrame:
    return _gathered(datasets, ["problem_id", "outcome"])


def _gathered(datasets: list[Dataset], columns: list[str]) -> pl.DataFrame:
    if not datasets:
        numbers = {"prompt_tokens", "completion_tokens"}
        return pl.DataFrame(schema={c: pl.Int32 if c in numbers else pl.String for c in columns})
    return pl.concat([d.scan().select(columns) for d in datasets]).collect()


def _counts(table: pl.LazyFrame, column: str) -> dict[str, int]:
    if column not in table.collect_schema().names():
        return {}
    counted = table.group_by(column).len().sort("len", descending=True).collect()
    return {str(name): rows for name, rows in counted.iter_rows()}


def rate(table: pl.DataFrame, true: pl.Expr) -> Rate | None:
    """The share of traces for which something is true; None without any."""
    if not table.height:
        return None
    shares = table.group_by("problem_id").agg(true.mean().alias("share"))["share"]
    value = float(table.select(true.mean()).item() or 0.0)
    spread = shares.std()
    error = float(spread) / math.sqrt(shares.len()) if isinstance(spread, float) else 0.0
    draws = value * (1 - value) / error**2 if error > 0 and 0 < value < 1 else float(shares.len())
    low, high = _wilson(value, draws)
    return Rate(value, low, high, shares.len(), table.height)


def _wilson(value: float, draws: float, z: float = 1.96) -> tuple[float, float]:
    middle = (value + z * z / (2 * draws)) / (1 + z * z / draws)
    spread = math.sqrt(value * (1 - value) / draws + z * z / (4 * draws * draws))
    half = z * spread / (1 + z * z / draws)
    return max(0.0, middle - half), min(1.0, middle + half)
