"""The sections about verdicts: how many are right, of which problems, how long, who disagrees."""

from collections import Counter
from math import ceil

import polars as pl

from tracecraft.publish.page_charts import (
    Histogram,
    columns,
    heading,
    intervals,
    legend,
    percent,
)
from tracecraft.publish.page_facts import Bands, Facts, hidden
from tracecraft.publish.page_html import Child, Html, Section, folded, joined, table, tag, text
from tracecraft.publish.page_maps import agreement as matrix

GROUPS = 12
"""Bars of a chart of difficulty; with more samples a problem they are put together."""
USUAL = 0.8
"""Share of the problems with the same number of traces, from which the chart counts traces."""


def verdicts(facts: Facts) -> Section | None:
    """How many traces are correct, and how many were cut off."""
    if not facts.passed and not facts.truncated:
        return None
    parts: list[Html] = []
    lead = ""
    if facts.passed:
        rate, solved = facts.passed[0].rate, facts.passed[0].solved
        lead = (
            f"{percent(rate.value)} of the traces are correct, with 95% between "
            f"{percent(rate.low)} and {percent(rate.high)}; {solved:,} of {rate.problems:,} "
            "problems have at least one correct trace. "
        )
        parts.append(tag("div", heading("Correct"), intervals(facts.passed)))
    if facts.truncated:
        parts.append(tag("div", heading("Cut off", "no end before the limit of tokens"),
                         intervals(facts.truncated)))  # fmt: skip
    lead += "Intervals are over problems, since traces of one problem are not independent."
    return Section("verdicts", "Verdicts", text(lead), joined(*parts, _outcomes(facts)))


def _outcomes(facts: Facts) -> Html | None:
    if not facts.verdicts.height:
        return None
    counted = (
        facts.verdicts.group_by("domain", "outcome").len().sort("domain", "len", descending=True)
    )
    rows: list[list[Child]] = [
        [domain or "–", outcome, f"{n:,}"] for domain, outcome, n in counted.iter_rows()
    ]
    return folded("Outcomes in numbers", table(["domain", "outcome", "traces"], rows))


def difficulty(facts: Facts) -> Section | None:
    """How often each problem was solved."""
    bands = facts.bands
    if bands is None:
        return None
    counts, left = bars(bands)
    names = list(counts)
    last = len(names) - 1
    kinds = {0: "o-incorrect", last: "o-correct"}
    drawn = columns([(n, counts[n], kinds.get(i, "mid")) for i, n in enumerate(names)])
    never = sum(rows for (right, _), rows in bands.counts.items() if right == 0)
    always = sum(rows for (right, judged), rows in bands.counts.items() if right == judged)
    total = sum(bands.counts.values())
    lead = (
        f"Of {total:,} problems {never:,} were never solved, {always:,} every time. The first "
        "may be too hard, or have a wrong reference; the second teach little."
    )
    note = f"{left:,} problems with another number of traces are not drawn." if left else ""
    statements = _statements(facts, [*bands.never, *bands.always])
    lists = [
        folded(f"{title}: {min(len(ids), n)} of {n:,}", _named(ids, statements))
        for title, ids, n in (
            ("Never solved", bands.never, never),
            ("Always solved", bands.always, always),
        )
        if ids
    ]
    body = joined(
        heading("Problems by correct traces"), drawn,
        tag("p", note, class_="quiet") if note else None, *lists,
    )  # fmt: skip
    return Section("difficulty", "Difficulty", text(lead), body)


def bars(bands: Bands) -> tuple[dict[str, int], int]:
    """Problems by correct traces, and how many do not fit in; by share where numbers differ."""
    sizes: Counter[int] = Counter()
    for (_, judged), rows in bands.counts.items():
        sizes[judged] += rows
    n, usual = sizes.most_common(1)[0]
    if n <= GROUPS and usual >= USUAL * sizes.total():
        exact = {f"{k} of {n}": bands.counts.get((k, n), 0) for k in range(n + 1)}
        return exact, sizes.total() - usual
    inner = [f"≤{10 * tenth}%" for tenth in range(1, 10)] + ["<100%"]
    shares = dict.fromkeys(["0%", *inner, "100%"], 0)
    for (right, judged), rows in bands.counts.items():
        tenth = ceil(10 * right / judged)
        name = "0%" if not right else "100%" if right == judged else inner[tenth - 1]
        shares[name] += rows
    return shares, 0


def _statements(facts: Facts, ids: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for stop in facts.stops:
        have = {"problem_id", "statement"} <= set(stop.columns)
        if stop.confidential or not have or stop.use not in {"verify", "normalize"}:
            continue
        lacking = [one for one in ids if one not in found]
        if lacking:
            rows = stop.scan("problem_id", "statement", "source")
            rows = rows.filter(pl.col("problem_id").is_in(lacking)).unique("problem_id")
            for row in rows.collect(engine="streaming").iter_rows(named=True):
                if not hidden(row):
                    found[row["problem_id"]] = row["statement"]
    return found


def _named(ids: list[str], statements: dict[str, str]) -> Html:
    def line(one: str) -> Html:
        told = " ".join(statements.get(one, "(not shown)").split())
        short = told if len(told) <= 180 else f"{told[:180]}…"
        link = tag("a", tag("code", one[:12]), href="#traces", data_search=one)
        return tag("li", link, " ", text(short))

    return tag("ul", *map(line, ids), class_="plain")


def tokens(facts: Facts) -> Section | None:
    """How long the completions are."""
    rows = _counted(facts)
    whole = histogram(facts)
    if whole is None:
        return None
    parts = [("all", rows)]
    if rows["domain"].drop_nulls().n_unique() > 1:
        parts += [
            (str(d), part)
            for (d,), part in sorted(rows.partition_by("domain", as_dict=True).items(), key=str)
        ]
    drawn = []
    for name, part in parts:
        figure = Histogram.of(part["completion_tokens"], part["outcome"])
        title = heading(name, f"{part.height:,} traces")
        drawn.append(tag("div", title, figure.draw("tokens of a completion")))
    numbers = (
        rows.group_by("domain", "outcome")
        .agg(
            pl.len().alias("traces"),
            pl.col("completion_tokens").mean().alias("mean"),
            pl.col("completion_tokens").median().alias("median"),
            pl.col("completion_tokens").quantile(0.9).alias("p90"),
            pl.col("completion_tokens").max().alias("max"),
        )
        .sort("domain", "outcome")
    )
    cells: list[list[Child]] = [
        [d or "–", o, *(f"{n:,.0f}" for n in more)] for d, o, *more in numbers.iter_rows()
    ]
    head = ["domain", "outcome", "traces", "mean", "median", "90% below", "longest"]
    body = joined(
        legend(whole.groups), tag("div", *drawn, class_="panels"),
        folded("Tokens in numbers", table(head, cells)),
    )  # fmt: skip
    total = int(rows["completion_tokens"].sum())
    middle = float(str(rows["completion_tokens"].median()))
    lead = f"{total:,} tokens in {rows.height:,} completions; the median has {middle:,.0f}."
    return Section("tokens", "Tokens", text(lead), body)


def histogram(facts: Facts) -> Histogram | None:
    """The completions by their tokens and outcomes; None where no length is known."""
    rows = _counted(facts)
    return Histogram.of(rows["completion_tokens"], rows["outcome"]) if rows.height else None


def _counted(facts: Facts) -> pl.DataFrame:
    """The completions whose tokens are known, with their outcome as far as they were judged."""
    rows = facts.verdicts if facts.verdicts.height else facts.traces
    rows = rows.filter(pl.col("completion_tokens").fill_null(0) > 0)
    known = pl.col("outcome") if "outcome" in rows.columns else pl.lit(None, pl.String)
    return rows.with_columns(known.fill_null("unjudged").alias("outcome"))


def agreement(facts: Facts) -> Section | None:
    """The first opinion of each trace against the others."""
    if not facts.agreements:
        return None
    parts = [
        tag("div", heading(f"outcome against {one.other}"), matrix(one)) for one in facts.agreements
    ]
    lead = text("The first opinion of each trace against the others on file.")
    return Section("agreement", "Agreement", lead, joined(*parts))
