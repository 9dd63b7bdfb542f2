"""Rows of a trace set become traces: one row a generation, thought and response apart."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from tracecraft import think
from tracecraft.curate import columns, shape
from tracecraft.curate.layouts import domain_of
from tracecraft.curate.normalize import clean, clean_answer, problem_id
from tracecraft.curate.questions import OURS as ASKED
from tracecraft.curate.questions import parted, questions
from tracecraft.errors import DataError
from tracecraft.schema import DOMAIN, FINISH, TRACE

COMPLETED = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_length"), "length"),
}
"""What servers call the end of a completion; any other word is a failure."""
TOKENS = ("prompt_tokens", "completion_tokens")
MOST_SAMPLES = 2**15 - 1
BESIDE = "problems."
"""What a map calls the columns of a file that holds the problems apart."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How one set is read: which column is what, and what holds for all of its rows."""

    where: str
    paths: Mapping[str, str]
    """Ours: theirs."""
    flags: Sequence[str]
    keep: Sequence[str]
    teacher: str | None
    license: str | None
    domain: str | None
    marks: tuple[str, str] | None
    opened: bool
    answer_after: str | None
    counts: dict[str, int] = field(default_factory=dict)
    """Traces seen so far of each problem."""

    def traces(self, piece: pl.DataFrame, source: str) -> pl.DataFrame:
        """The traces of some rows, in their order."""
        asked = self._asked(piece, source)
        texts = self._texts(piece)
        of = [row for row, samples in enumerate(texts) for _ in samples]
        flat = [sample for samples in texts for sample in samples]
        thoughts = [self._thought(*sample) for sample in flat]
        beside = {
            name: self._spread(piece, name, texts)
            for name in ("finish", *TOKENS)
            if name in self.paths
        }
        reported = beside.get("finish", [None] * len(flat))
        told = [_finish(t, r) for t, r in zip(thoughts, reported, strict=True)]
        made = asked[of].with_columns(
            pl.Series("reasoning", [t.reasoning if t else "" for t in thoughts], dtype=pl.String),
            pl.Series("response", [t.response if t else "" for t in thoughts], dtype=pl.String),
            pl.Series("finish", told, dtype=FINISH),
            *(self._counted(name, beside.get(name), len(flat)) for name in TOKENS),
            *(self._flag(piece, path, texts) for path in self.flags),
        )
        made = self._numbered(made, flat)
        return made.select(*TRACE, *(name for name in made.columns if name not in TRACE))

    def _asked(self, piece: pl.DataFrame, source: str) -> pl.DataFrame:
        """What is asked in each row, by whom it was answered, and what else is kept of it."""
        known = {name: path for name, path in self.paths.items() if name in ASKED}
        made = questions(piece, known, self.where)
        made = made.select([name for name in ASKED if name in made.columns])
        if self.answer_after is not None:
            made = parted(made, self.answer_after)
        return made.with_columns(
            clean(pl.col("statement")).fill_null(""),
            clean_answer(pl.col("answer")),
            pl.col("source").fill_null(source),
            pl.col("license").fill_null(pl.lit(self.license, pl.String)),
            self._domain(made),
            self._teacher(piece),
            *(_kept(piece, path) for path in self.keep),
        ).with_columns(problem_id(pl.col("statement")).alias("problem_id"))

    def _domain(self, made: pl.DataFrame) -> pl.Series:
        if self.domain is not None:
            return pl.Series("domain", [self.domain] * made.height, dtype=DOMAIN)
        if "domain" not in made.columns:
            raise DataError(f"{self.where}: no column for 'domain'\n  next   say domain: NAME")
        return pl.Series(
            "domain", [domain_of(name, self.where) for name in made["domain"]], dtype=DOMAIN
        )

    def _teacher(self, piece: pl.DataFrame) -> pl.Series:
        named = pl.Series("teacher", [self.teacher] * piece.height, dtype=pl.String)
        if "teacher" in self.paths:
            named = columns.text(piece, self.paths["teacher"]).alias("teacher").fill_null(named)
        if named.null_count():
            raise DataError(f"{self.where}: who wrote them?\n  next   say teacher: model@revision")
        return named

    def _texts(self, piece: pl.DataFrame) -> list[list[tuple[str | None, ...]]]:
        """Each row's generations: one text each, or thought and response. A row that has none
        yields one without text, so that no row vanishes.
        """
        pair = ("reasoning", "response") if "reasoning" in self.paths else ("completion",)
        lists = [[_many(v) for v in columns.values(piece, self.paths[name])] for name in pair]
        rows = []
        for parts in zip(*lists, strict=True):
            most = max(len(part) for part in parts) or 1
            whole = [part or [None] * most for part in parts]
            if any(len(part) != most for part in whole):
                counts = " and ".join(str(len(part)) for part in whole)
                raise DataError(
                    f"{self.where}: a row has {counts} texts in {' and '.join(pair)}"
                    "\n  next   correct the row: each thought needs its response"
                )
            rows.append(list(zip(*whole, strict=True)))
        return rows

    def _thought(self, *parts: str | None) -> think.Thought | None:
        """A generation in its two parts; None where there is none."""
        if all(part is None for part in parts):
            return None
        if len(parts) == 2:
            reasoning, response = ((part or "").strip() for part in parts)
            return think.Thought(reasoning, response, closed=bool(response))
        text = parts[0] or ""
        if self.marks is None:
            return think.split(text, opened=self.opened)
        opening, closing = self.marks
        body = text.strip()
        begun = body.startswith(opening)
        reasoning, closed, response = body.removeprefix(opening).partition(closing)
        if closed:
            return think.Thought(reasoning.strip(), response.strip(), closed=True)
        if begun or self.opened:
            return think.Thought(reasoning.strip(), "", closed=False)
        return think.Thought("", body, closed=True)

    def _spread(self, piece: pl.DataFrame, name: str, texts: Sequence[Sequence[Any]]) -> list[Any]:
        """What stands beside each generation; a row's single value holds for all of its own."""
        found = columns.values(piece, self.paths.get(name, name))
        spread: list[Any] = []
        for value, samples in zip(found, texts, strict=True):
            if isinstance(value, list) and len(value) != len(samples):
                raise DataError(
                    f"{self.where}: {name!r} has {len(value)} values beside "
                    f"{len(samples)} generations\n  next   keep it for the row: keep: [{name}]"
                )
            spread += value if isinstance(value, list) else [value] * len(samples)
        return spread

    def _flag(self, piece: pl.DataFrame, path: str, texts: Sequence[Sequence[Any]]) -> pl.Series:
        dtype: pl.DataType = pl.String()
        if path in piece.columns:
            whole = piece[path].dtype
            dtype = whole.inner if isinstance(whole, pl.List) else whole  # type: ignore[assignment]
        return shape.series(_theirs(piece, path), self._spread(piece, path, texts), dtype)

    def _counted(self, name: str, values: list[Any] | None, total: int) -> pl.Series:
        texts = [shape.as_text(one) for one in values or [None] * total]
        numbers = pl.Series(name, texts, dtype=pl.String).cast(pl.Float64, strict=False)
        return numbers.cast(pl.Int32)

    def _numbered(self, made: pl.DataFrame, flat: Sequence[tuple[str | None, ...]]) -> pl.DataFrame:
        """Each trace's place among its problem's traces, and its id."""
        indices, ids = [], []
        named = zip(made["problem_id"], made["teacher"], flat, strict=True)
        for problem, teacher, parts in named:
            index = self.counts.get(problem, 0)
            self.counts[problem] = index + 1
            indices.append(min(index, MOST_SAMPLES))
            said = "\x1f".join((problem, teacher, str(index), *(part or "" for part in parts)))
            ids.append(hashlib.blake2b(said.encode(), digest_size=12).hexdigest())
        return made.with_columns(
            pl.Series("sample_index", indices, dtype=pl.Int16),
            pl.Series("trace_id", ids, dtype=pl.String),
        )


def _many(value: Any) -> list[str | None]:
    """One generation, or several, as texts."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [shape.as_text(one) for one in values]


def _finish(thought: think.Thought | None, reported: Any) -> str:
    """How a generation ended: as reported, else a thought that never closes was cut off."""
    if thought is None:
        return "failed"
    if reported is None:
        return "stop" if thought.closed else "length"
    return COMPLETED.get(str(reported).lower(), "failed")


def _kept(piece: pl.DataFrame, path: str) -> pl.Series:
    column = piece[path] if path in piece.columns else columns.text(piece, path)
    return column.alias(_theirs(piece, path))


def _theirs(piece: pl.DataFrame, path: str) -> str:
    whole = path.removeprefix(BESIDE)
    return f"theirs_{whole if path in piece.columns else path.rpartition('.')[2]}"
