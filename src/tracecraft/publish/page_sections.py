"""The sections of a report, in the order of the work; one without anything to tell is left out."""

from collections.abc import Iterator, Mapping

from tracecraft.publish.page_charts import Fall, bracket, percent, waterfall
from tracecraft.publish.page_facts import WHOLE, Facts, Stop, ancestors, examined
from tracecraft.publish.page_findings import duplicates, leaks, merge_maps, score_tables
from tracecraft.publish.page_html import Child, Html, Section, folded, joined, table, tag, text
from tracecraft.publish.page_verdicts import agreement, difficulty, tokens, verdicts


def sections(facts: Facts, why: Mapping[str, str]) -> Iterator[Section]:
    """All that the run can tell; `why` explains rules."""
    for made in (
        funnel(facts, why),
        verdicts(facts),
        difficulty(facts),
        tokens(facts),
        agreement(facts),
        duplicates(facts),
        leaks(facts),
        score_tables(facts),
        merge_maps(facts),
    ):
        if made is not None:
            yield made


def funnel(facts: Facts, why: Mapping[str, str]) -> Section | None:
    """What each rule took of each domain."""
    panels = []
    own = [stop for stop in facts.stops if not examined(stop, facts.stops)]
    for root in own if any(stop.columns for stop in own) else facts.stops:
        if root.inputs or root.kind == "job":
            continue
        line = [s for s in facts.stops if s is root or root in ancestors(s, facts.stops)]
        line = [s for s in line if s.kind != "job" and s.manifest is not None]
        names = sorted({d for s in line for d in (*s.domains, *s.drops)} - {WHOLE})
        for domain in names or [WHOLE]:
            falls = list(_falls(line, domain, why, alone=len(names) < 2))
            if falls:
                title = tag("h3", "rows" if domain == WHOLE else domain, " ", tag(
                    "span", f"from {root.name}", class_="quiet"))  # fmt: skip
                panels.append(tag("div", title, waterfall(falls), class_="panel"))
    if not panels:
        return None
    lead = text(
        "What came in, what each rule took, and what stayed. Bars of the same kind of row share "
        "a scale; a rule leads to the rows that it took."
    )
    return Section(
        "funnel", "Funnel", lead, joined(tag("div", *panels, class_="panels"), _steps(facts))
    )


def _falls(line: list[Stop], domain: str, why: Mapping[str, str], *, alone: bool) -> Iterator[Fall]:
    """The waterfall of one domain; rows that had no domain yet count where there is one alone."""
    unit, have, scale = "", 0, 1
    for stop in line:
        kept = stop.domains.get(domain, 0) + (stop.domains.get(WHOLE, 0) if alone else 0)
        rules = dict(stop.drops.get(domain, {}))
        for rule, rows in stop.drops.get(WHOLE, {}).items() if alone and domain != WHOLE else ():
            rules[rule] = rules.get(rule, 0) + rows
        before = kept + sum(rules.values())
        if not before and not have:
            continue
        grown = stop.unit != unit and not (stop.unit == "examples" and before == have)
        if grown or before != have:
            what = "traces" if stop.unit == "examples" else stop.unit
            each = f"×{before / have:.3g}" if have and before > have else ""
            scale = before
            yield Fall(what, each, 0, before, scale, "total")
        unit, left = stop.unit, before
        for rule, rows in rules.items():
            reason = why.get(f"{stop.name}:{rule}", "")
            yield Fall(rule, stop.name, left - rows, left, scale, "drop", stop.name, rule, reason)
            left -= rows
        have = kept
    if have or unit:
        yield Fall(f"{unit} kept", "", 0, have, scale, "total")


def _steps(facts: Facts) -> Html:
    rows: list[list[Child]] = []
    for stop in facts.stops:
        told = stop.manifest
        if told is None:
            rows.append([stop.name, stop.use, "–", "–", "–", "not finished"])
            continue
        drops = ", ".join(f"{n:,} {rule}" for rule, n in told.dropped.items())
        rows.append(
            [stop.name, stop.use, f"{told.rows_in:,}", drops, f"{told.rows_out:,}",
             f"{told.seconds:,.1f} s"]
        )  # fmt: skip
    head = ["step", "what", "rows in", "dropped, by rule", "rows out", "time"]
    return folded("All steps in numbers", table(head, rows))


def headline(facts: Facts) -> Html:
    """The run in one sentence."""
    tables = [s for s in facts.stops if s.kind != "job" and s.manifest is not None]
    tables = [s for s in tables if not examined(s, facts.stops)] or tables
    if not tables:
        done = sum(stop.manifest is not None for stop in facts.stops)
        return text(f"{done} of {_count(len(facts.stops), 'steps')} done.")
    read = {s.inputs[0] for s in tables if s.inputs}
    ends = [s for s in tables if s.name not in read]
    words = _amount([s for s in tables if not s.inputs])
    if facts.traces.height and any(not s.inputs and s.unit == "problems" for s in tables):
        words += f" became {_count(facts.traces.height, 'traces')}"
    if facts.passed:
        rate = facts.passed[0].rate
        words += f", of which {percent(rate.value)} {bracket(rate)} are correct"
    stayed = _amount([s for s in ends if s.inputs])
    return text(f"{words}; {stayed} stayed." if stayed else f"{words}.")


def _amount(stops: list[Stop]) -> str:
    """Rows by what they are: `16 problems and 8 traces`."""
    found: dict[str, int] = {}
    for stop in stops:
        found[stop.unit] = found.get(stop.unit, 0) + sum(stop.domains.values())
    return " and ".join(_count(rows, unit) for unit, rows in found.items())


def _count(number: int, unit: str) -> str:
    return f"{number:,} {unit.removesuffix('s') if number == 1 else unit}"


def figures(facts: Facts) -> Html | None:
    """The few numbers that one looks for first."""
    told: list[tuple[str, str, str]] = []
    problems = facts.traces["problem_id"].n_unique()
    if facts.traces.height:
        told.append(("problems asked", f"{problems:,}", ""))
        told.append(("traces", f"{facts.traces.height:,}", ""))
    for label, shares in (("correct", facts.passed), ("cut off", facts.truncated)):
        if shares:
            rate = shares[0].rate
            told.append((label, percent(rate.value), bracket(rate)))
    if facts.passed:
        told.append(("problems solved", percent(facts.passed[0].solved / max(1, problems)), ""))
    tokens = int(facts.traces["completion_tokens"].fill_null(0).sum())
    if tokens:
        told.append(("tokens written", _short(tokens), ""))
    if not told:
        return None
    cells = [
        tag("div", tag("dt", label), tag("dd", value),
            tag("dd", note, class_="quiet") if note else None)
        for label, value, note in told
    ]  # fmt: skip
    return tag("dl", *cells, class_="figures")


def _short(number: int) -> str:
    for size, name in ((10**9, " bn"), (10**6, " M"), (10**4, " k")):
        if number >= size:
            return f"{number / (size if size != 10**4 else 1000):,.1f}{name}"
    return f"{number:,}"
