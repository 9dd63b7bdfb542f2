"""`verify` on rows that hold verdicts already: does it come to the same?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import typer

from tracecraft.cli.frame import stderr
from tracecraft.cli.show import print_json
from tracecraft.errors import UsageError
from tracecraft.publish.parquet_parts import JUDGE

OUTCOME = "outcome"
SHOWN = 20
"""Differences that are printed; `--json` has all."""
Options = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Difference:
    """One row whose verdict is another now."""

    row: str
    """Its `trace_id`, or its number from 0."""
    stored: str
    now: str
    verifier: str
    """Who gave the stored one."""
    detail: str
    """The reason of the one that is given now."""


def groups(
    verifiers: Mapping[str, Options], table: pl.DataFrame
) -> list[tuple[Options, pl.Series]]:
    """Whom to ask about which rows: all of one mind, else by the step that judged a row.

    Raises:
        UsageError: it is not clear who judged some rows.
    """
    distinct = list[Options]()
    for one in verifiers.values():
        distinct += [] if one in distinct else [one]
    if len(distinct) == 1:
        return [(distinct[0], pl.Series([True] * table.height))]
    if JUDGE in table.columns:
        steps = {name: one for name, one in verifiers.items() if name in table[JUDGE].unique()}
        return [(one, table[JUDGE] == name) for name, one in steps.items()]
    names = [str(one.get("use")) for one in distinct]
    if len(set(names)) < len(names) or "verifier" not in table.columns:
        raise UsageError(
            "verify: these rows were judged under different options"
            f" ({'; '.join(map(str, distinct))})\n  next   choose with --use and --set"
        )
    by = table["verifier"].cast(pl.String).str.split("@").list.first()
    return [(one, by == name) for one, name in zip(distinct, names, strict=True)]


def with_problems(rows: pl.DataFrame, files: Sequence[Path]) -> pl.DataFrame:
    """The rows with what their verifiers joined to them: tests, choices."""
    from tracecraft.curate.files import read_table

    if not files or "problem_id" not in rows.columns:
        return rows
    found = pl.concat([read_table(file) for file in files], how="diagonal_relaxed").collect()
    lacking = [name for name in found.columns if name not in rows.columns]
    extra = found.select("problem_id", *lacking).unique("problem_id", keep="first")
    return rows.join(extra, on="problem_id", how="left", maintain_order="left")


def check(
    table: pl.DataFrame, masks: Sequence[pl.Series], made: Sequence[pl.DataFrame], *, as_json: bool
) -> None:
    """Say where the new verdict on a row is another than the stored; exit 1 if there is one.

    Args:
        table: All rows, with the verdicts they hold.
        masks: Which of them each verifier was asked about.
        made: What it said.
        as_json: For machines, on stdout.
    """
    compared, differ = 0, list[Difference]()
    for mask, said in zip(masks, made, strict=True):
        stored = table.with_row_index("row").filter(mask)
        for row, new in zip(stored.iter_rows(named=True), said.iter_rows(named=True), strict=True):
            before = row[OUTCOME]
            compared += before is not None
            if before is not None and before != new[OUTCOME]:
                differ.append(
                    Difference(
                        row=str(row.get("trace_id") or row["row"]),
                        stored=str(before),
                        now=str(new[OUTCOME]),
                        verifier=f"{row.get('verifier')} → {new['verifier']}",
                        detail=str(new["detail"] or ""),
                    )
                )
    _tell(table.height, compared, differ, as_json=as_json)
    if differ:
        raise typer.Exit(1)


def _tell(rows: int, compared: int, differ: Sequence[Difference], *, as_json: bool) -> None:
    if as_json:
        told = [
            {"row": d.row, "stored": d.stored, "now": d.now, "verifier": d.verifier}
            | {"detail": d.detail}
            for d in differ
        ]
        same = compared - len(differ)
        print_json(
            {"command": "verify", "rows": rows, "compared": compared, "same": same, "differ": told}
        )
        return
    lines = [f"verify: {compared:,} stored verdicts, {compared - len(differ):,} the same again"]
    lines += [f"  {d.row}  {d.stored} → {d.now}  {d.detail} ({d.verifier})" for d in differ[:SHOWN]]
    if len(differ) > SHOWN:
        lines.append(f"  and {len(differ) - SHOWN:,} more: --json lists them")
    stderr.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
