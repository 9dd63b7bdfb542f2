"""Declarative filters: a file of rules, compiled to one polars expression; and the Filter stage."""

import re
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from tracecraft import yaml
from tracecraft.errors import RuleError, did_you_mean
from tracecraft.plugin import Volatile, digest, explain
from tracecraft.schema import DROPPED, OPTIONAL, VERDICT
from tracecraft.select import predicate
from tracecraft.select.measure import Measure
from tracecraft.select.whatif import WhatIf, what_if
from tracecraft.stage import Stage

KEEP = "keep"
"""What a case expects of a row that no rule drops."""
STANDARD = pl.Schema({**VERDICT, **OPTIONAL})
"""The columns a rule may name without saying so: those of the house's tables."""
TYPES = {
    "String": pl.String(),
    "Boolean": pl.Boolean(),
    "Int64": pl.Int64(),
    "Float64": pl.Float64(),
}
"""Types of the columns that a filter file declares for itself."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Rule(_Part):
    """A reason to drop a row."""

    drop: str = Field(pattern=r"^[a-z0-9][a-z0-9_:.-]*$")
    """The name of the drop, as the ledger shows it."""
    when: str
    """SQL over the columns of one row; null does not drop."""
    why: str = Field(min_length=1)
    """The reason, with the source of a threshold."""

    @field_validator("drop")
    @classmethod
    def _not_keep(cls, drop: str) -> str:
        if drop == KEEP:
            raise ValueError(f"{KEEP!r} is what happens to rows that no rule drops")
        return drop


class Case(_Part):
    """A row, and what must become of it: the name of a drop, or `keep`.

    A long text may be written `{repeat: text, times: n}`.
    """

    expect: str
    row: dict[str, Any]

    @field_validator("row", mode="after")
    @classmethod
    def _unfolded(cls, row: dict[str, Any]) -> dict[str, Any]:
        return {name: _repeated(value) for name, value in row.items()}


class Measured(_Part):
    """A measure and the column it fills: `loop`, or `{use: novelty, ngram: 4, as: novelty4}`."""

    name: str
    measure: Measure

    @model_validator(mode="before")
    @classmethod
    def _spelled(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = {"use": value}
        if isinstance(value, Mapping) and isinstance(value.get("use"), str):
            options = dict(value)
            return {"name": options.pop("as", options["use"]), "measure": Measure.bind(options)}
        raise ValueError("a measure is a name, or {use: name, option: value, as: column}")


class RuleFile(_Part):
    """One file of `filters/`: measures to add, rules to apply in order, cases that must hold."""

    name: str
    columns: dict[str, str] = {}
    """Columns beyond the house's tables that the rules read, with their type."""
    measures: tuple[Measured, ...] = Field(default=(), strict=False)
    rules: tuple[Rule, ...] = Field(min_length=1, strict=False)
    cases: tuple[Case, ...] = Field(default=(), strict=False)

    @classmethod
    def load(cls, path: Path, known: Collection[str] | None = None) -> Self:
        """The rules in a file: parsed, their SQL and measures known, their columns there.

        `known` are a table's columns, if one is at hand; else the house's tables are meant, and
        rules are also tried on their types.

        Raises:
            RuleError: the first mistakes, as `file: rules[i].when: what`, or `file:line: what`.
        """
        raw = yaml.load(path, RuleError)
        try:
            file = cls.model_validate(raw)
        except ValidationError as error:
            told = explain(error, cls, raw if isinstance(raw, Mapping) else {}, f"{path}:")
            raise RuleError(_bracketed(told)) from None
        file._check_names(str(path))
        file.check_columns(file.table() if known is None else known, str(path))
        if known is None:
            file.check_types(file.table(), str(path))
        return file

    def table(self) -> pl.Schema:
        """The columns a rule or measure may read when nothing is known of the table."""
        return pl.Schema({**STANDARD, **{k: TYPES[v] for k, v in self.columns.items()}})

    def tests(self, where: str) -> list[pl.Expr]:
        """Each rule's `when`, in order."""
        return [
            predicate.parse(rule.when, f"{where}: rules[{i}].when")
            for i, rule in enumerate(self.rules)
        ]

    def measured(self) -> list[pl.Expr]:
        """The columns to add before the rules look at a row."""
        return [m.measure.expr().alias(m.name) for m in self.measures]

    def reason(self, where: str) -> pl.Expr:
        """The name of the first rule that matches a row, or null."""
        reason = pl.lit(None, dtype=pl.String)
        for rule, test in zip(reversed(self.rules), reversed(self.tests(where)), strict=True):
            reason = pl.when(test).then(pl.lit(rule.drop)).otherwise(reason)
        return reason

    def reads(self, where: str) -> list[str]:
        """The columns of the table that rules and measures read."""
        added = {m.name for m in self.measures}
        names = [name for m in self.measures for name in predicate.columns(m.measure.expr())]
        names += [n for test in self.tests(where) for n in predicate.columns(test)]
        own = [n for m in self.measures for n in predicate.columns(m.measure.expr())]
        return list(dict.fromkeys(n for n in names if n not in added or n in own))

    def check_columns(self, known: Collection[str], where: str) -> None:
        """Look for columns that no table has.

        Raises:
            RuleError: the rule or measure that reads it, and the nearest name that is known.
        """
        added = {m.name for m in self.measures}
        for i, m in enumerate(self.measures):
            for name in predicate.columns(m.measure.expr()):
                if name not in known:
                    raise RuleError(
                        f"{where}: measures[{i}]: {m.name} reads a column {name!r} that is not "
                        "there" + did_you_mean(name, known)
                    )
        for i, test in enumerate(self.tests(where)):
            for name in predicate.columns(test):
                if name in known or name in added:
                    continue
                spot = f"{where}: rules[{i}].when: no column {name!r}"
                if name in Measure.known:
                    raise RuleError(f"{spot}; it is a measure: add it to `measures:`")
                own = "\n  next   a column of your own is declared: `columns: {name: Float64}`"
                raise RuleError(spot + did_you_mean(name, {*known, *added}) + own)

    def check_types(self, schema: Mapping[str, Any], where: str) -> None:
        """Try every rule on a table without rows that has these columns.

        Raises:
            RuleError: a rule that is not true or false there, or that can never match.
        """
        empty = pl.DataFrame(schema=pl.Schema(schema)).with_columns(self.measured())
        for i, (rule, test) in enumerate(zip(self.rules, self.tests(where), strict=True)):
            spot = f"{where}: rules[{i}].when"
            predicate.check_words(rule.when, empty.schema, spot)
            predicate.check_type(test, empty, spot)

    def broken_cases(self, where: str) -> list[str]:
        """What the file says of its own cases and does not do; empty when all hold."""
        if not self.cases:
            return []
        schema = self.table()
        rows = pl.concat(
            [_row(case, schema, f"{where}: cases[{i}]", self) for i, case in enumerate(self.cases)]
        )
        told = rows.with_columns(self.measured()).select(self.reason(where).fill_null(KEEP))
        return [
            f"{where}: cases[{i}]: expected {case.expect!r}, got {got!r}"
            for i, (case, got) in enumerate(zip(self.cases, told.to_series(), strict=True))
            if case.expect != got
        ]

    def identity(self) -> dict[str, Any]:
        """What decides which rows go, and what they are called: not `why`, not the cases."""
        return {
            "measures": {m.name: m.measure.identity() for m in self.measures},
            "rules": [[rule.drop, rule.when] for rule in self.rules],
        }

    def _check_names(self, where: str) -> None:
        for name, kind in self.columns.items():
            if kind not in TYPES:
                raise RuleError(
                    f"{where}: columns.{name}: no type {kind!r}" + did_you_mean(kind, TYPES)
                )
        names = [m.name for m in self.measures]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise RuleError(f"{where}: measures[{i}]: a second {name!r}; name it with `as:`")
        drops = {KEEP, *(rule.drop for rule in self.rules)}
        for i, case in enumerate(self.cases):
            if case.expect not in drops:
                raise RuleError(
                    f"{where}: cases[{i}].expect: no rule drops {case.expect!r}"
                    + did_you_mean(case.expect, drops)
                )


class Filter(Stage, use="filter", version=1):
    """Drop the rows that a filter file says to drop, and say which rule did it."""

    rules: Path = Field(strict=False)
    """The filter file. It counts by what its measures and rules say, not by its name or cases."""
    columns: Annotated[tuple[str, ...] | None, Volatile] = Field(default=None, strict=False)
    """The table's columns where they are known beforehand; else the house's tables are assumed."""

    reads: ClassVar[tuple[pl.Schema, ...]] = (pl.Schema(),)

    @model_validator(mode="after")
    def _load(self) -> Self:
        assert self.file.rules  # reads it now, so that mistakes show before anything runs
        return self

    @cached_property
    def file(self) -> RuleFile:
        """The rules, as read when the stage was made."""
        return RuleFile.load(self.rules, self.columns)

    def needs(self) -> tuple[pl.Schema, ...]:
        known = self.file.table()
        names = self.file.reads(str(self.rules))
        return (pl.Schema({name: known[name] for name in names if name in known}),)

    def __call__(self, rows: pl.LazyFrame, /) -> pl.LazyFrame:
        self._check(rows)
        measured = rows.with_columns(self.file.measured())
        return measured.with_columns(self.file.reason(str(self.rules)).alias(DROPPED))

    def what_if(self, rows: pl.LazyFrame, examples: int = 3) -> WhatIf:
        """What the rules would drop of these rows, rule by rule, with examples; drops nothing."""
        self._check(rows)
        tests = self.file.tests(str(self.rules))
        rules = [(r.drop, r.when, r.why, t) for r, t in zip(self.file.rules, tests, strict=True)]
        return what_if(rows.with_columns(self.file.measured()), rules, examples)

    def identity(self) -> dict[str, Any]:
        return {**super().identity(), "rules": digest(self.file.identity(), size=16)}

    def _check(self, rows: pl.LazyFrame) -> None:
        schema, where = rows.collect_schema(), str(self.rules)
        self.file.check_columns(schema.names(), where)
        self.file.check_types(schema, where)


def _row(case: Case, schema: pl.Schema, where: str, file: RuleFile) -> pl.DataFrame:
    for name in case.row:
        if name not in schema:
            hint = (
                "; a measure is computed, not given"
                if name in {m.name for m in file.measures}
                else did_you_mean(name, schema)
            )
            raise RuleError(f"{where}.row: no column {name!r}{hint}")
    cells = {}
    for name, kind in schema.items():
        try:
            cells[name] = pl.Series(name, [case.row.get(name)], dtype=kind)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            raise RuleError(f"{where}.row.{name}: {case.row[name]!r} is no {kind}") from None
    return pl.DataFrame(cells)


def _repeated(value: Any) -> Any:
    match value:
        case {"repeat": str(text), "times": int(times), **more} if not more:
            return text * times
    return value


def _bracketed(text: str) -> str:
    """`rules.3.when` as `rules[3].when`."""
    return re.sub(r"(?<=[a-z])\.(\d+)(?=[.:])", r"[\1]", text)
