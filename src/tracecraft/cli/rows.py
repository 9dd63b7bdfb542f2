"""A file's rows under our names, as the stages that are commands read them."""

import logging
from pathlib import Path

import polars as pl

from tracecraft.errors import DataError, UsageError
from tracecraft.stage import Stage
from tracecraft.think import split

log = logging.getLogger(__name__)

ALIASES = {"reference": "answer", "problem": "statement", "question": "statement"}
"""What `--map` also understands for a column of ours."""

DECISIVE = {True: ("outcome", "response"), False: ("statement", "answer")}
"""Columns that a filter of traces, or of problems, can't do without where its rules name them."""

NESTED = {
    "statement": False,
    "reasoning": False,
    "tests": False,
    "domain": False,
    "finish": False,
    "choices": True,
    "completion_tokens": True,
}
"""Columns that a stage uses where they are there, found like the required ones; those with a type
of their own keep it."""


def read(files: list[Path], mapping: list[str] | None) -> pl.DataFrame:
    """The rows of the files as they are."""
    from tracecraft.curate.files import read_table

    named = mapped(mapping).items()
    texts = {theirs.split(".")[0] for ours, theirs in named if not NESTED.get(ours)}
    table = pl.concat([read_table(file, texts) for file in files], how="diagonal_relaxed").collect()
    if not table.height:
        where = ", ".join(map(str, files))
        raise DataError(f"{where}: holds no rows\n  next   give a file with at least one row")
    return table


def as_ours(
    table: pl.DataFrame,
    mapping: list[str] | None,
    wanted: tuple[str, ...],
    files: list[Path],
    optional: tuple[str, ...] = (),
) -> pl.DataFrame:
    """The rows with the columns a stage reads under our names, texts as texts."""
    from tracecraft.curate.columns import find, text

    where = ", ".join(map(str, files))
    known = [*wanted, *(name for name in NESTED if name not in wanted)]
    required = [name for name in wanted if name not in optional]
    found = find(known, table.columns, mapped(mapping), where, required=required)
    read = [
        table[theirs].alias(ours)
        if NESTED.get(ours) and theirs in table.columns
        else text(table, theirs).alias(ours)
        for ours, theirs in found.items()
        if ours in wanted or ours != theirs
    ]
    return table.with_columns(read)


def answered(
    stages: list[Stage], table: pl.DataFrame, mapping: list[str] | None, files: list[Path]
) -> pl.DataFrame:
    """The rows as verifiers read them; a reference answer that none of them needs may be absent."""
    from tracecraft.verify.verifier import Verify

    verifiers = [stage.verifier for stage in stages if isinstance(stage, Verify)]
    ours = as_ours(table, mapping, ("answer", "response"), files, ("answer",))
    tested = "tests" in ours.columns
    if any("answer" in v.requires or (v.use == "auto" and not tested) for v in verifiers):
        return as_ours(table, mapping, ("answer", "response"), files)
    if "answer" in ours.columns:
        return ours
    return ours.with_columns(pl.lit(None, pl.String).alias("answer"))


def judgeable(
    stage: Stage,
    table: pl.DataFrame,
    mapping: list[str] | None,
    files: list[Path],
    *,
    what_if: bool,
) -> pl.DataFrame:
    """The rows as rules read them; a lesser column that a file lacks is null, which is said.

    A response that holds its thought is parted. Without an outcome one can only look; problems
    with tests may lack an answer.
    """
    needs = stage.needs()[0]
    decisive = DECISIVE["response" in needs]
    there = {*(name.lower() for name in table.columns), *mapped(mapping)}
    unjudged = "outcome" in needs and "outcome" not in there
    if unjudged and not what_if:
        raise DataError(
            f"{', '.join(map(str, files))}: rules about outcome, and no column outcome: it has "
            f"{', '.join(table.columns)}\n  next   judge first: tracecraft verify FILE --out "
            "JUDGED; or --map outcome=THEIRS; --what-if shows what the other rules would drop"
        )
    wanted = tuple(name for name in needs if name in decisive)
    known = as_ours(table, mapping, wanted, files, wanted).columns
    spared = (*(["outcome"] if unjudged else []), *(["answer"] if "tests" in known else []))
    ours = _parted(as_ours(table, mapping, wanted, files, spared))
    lacking = [name for name in needs if name not in ours.columns]
    lesser = [name for name in lacking if name != "outcome"]
    if unjudged:
        log.warning("no column outcome: who is right can't be told; tracecraft verify judges")
    if lesser:
        log.warning("no column %s: read as null in every row", ", ".join(lesser))
    return ours.with_columns(pl.lit(None, needs[name]).alias(name) for name in lacking)


def _parted(ours: pl.DataFrame) -> pl.DataFrame:
    """The rows with thought and response apart where one column holds both."""
    if "response" not in ours.columns or "reasoning" in ours.columns:
        return ours
    texts = ours["response"].to_list()
    parts = [None if text is None else split(text) for text in texts]
    pairs = zip(parts, texts, strict=True)
    if all(part is None or part.response == text.strip() for part, text in pairs):
        return ours
    return ours.with_columns(
        pl.Series(name, [part and getattr(part, name) for part in parts], pl.String)
        for name in ("reasoning", "response")
    )


def mapped(mapping: list[str] | None) -> dict[str, str]:
    """What `--map` says: ours to theirs."""
    pairs = {}
    for text in mapping or []:
        ours, equals, theirs = text.partition("=")
        if not equals or not theirs:
            raise UsageError(f"--map {text}: must be ours=theirs, as in answer=gold")
        pairs[ALIASES.get(ours, ours)] = theirs
    return pairs
