"""The sections about what was found: duplicates, leaks, scores, and what a merge took."""

from tracecraft.publish import page_maps as maps
from tracecraft.publish.page_charts import heading, percent
from tracecraft.publish.page_facts import Facts
from tracecraft.publish.page_html import Child, Html, Section, folded, joined, table, tag, text
from tracecraft.publish.page_models import gates, merges, scores
from tracecraft.publish.page_pairs import (
    Cluster,
    Contamination,
    clusters,
    contaminations,
    marked_difference,
    marked_span,
)


def duplicates(facts: Facts) -> Section | None:
    """Some clusters, each row beside the one that survives."""
    found = clusters(facts)
    if not found:
        return None
    total = sum(
        sum(s.manifest.dropped.values())
        for s in facts.stops
        if s.use == "dedupe" and s.manifest is not None
    )
    lead = text(
        f"{total:,} rows repeat another one. Shown are {len(found)} clusters, the least alike "
        "first, each beside the row that survives; marked are the words that the other lacks."
    )
    return Section("duplicates", "Duplicates", lead, joined(*map(_cluster, found)))


def _cluster(found: Cluster) -> Html:
    rows = []
    for repeat in found.repeats:
        left, right = marked_difference(found.text or "", repeat.text)
        survivor = left if found.text is not None else tag("em", "published before this run")
        title = f"similarity {repeat.similarity:.3f}" + (", by way of " + repeat.via[:12]
                                                        if repeat.via else "")  # fmt: skip
        rows += [
            tag("div", tag("h4", "kept ", tag("code", found.survivor[:16])),
                tag("p", survivor, class_="prose")),
            tag("div", tag("h4", "dropped ", tag("code", repeat.id[:16]),
                           tag("span", f" {title}", class_="quiet")),
                tag("p", right, class_="prose")),
        ]  # fmt: skip
    more = found.size - len(found.repeats)
    note = tag("p", f"and {more:,} more for this row", class_="quiet") if more > 0 else None
    return tag("article", tag("div", *rows, class_="pair"), note, class_="cluster")


def leaks(facts: Facts) -> Section | None:
    """What repeats a benchmark."""
    found = contaminations(facts)
    if not found:
        return None
    gone = sum(rows for one in found for rows, _, _ in one.counts.values())
    searched = sum(one.rows for one in found)
    lead = text(
        f"{gone:,} of {searched:,} rows repeat an item of a benchmark and were dropped. Marked is "
        "the span that repeats it; coverage is the share of the item's tokens that it holds."
    )
    return Section("contamination", "Contamination", lead, joined(*map(_contamination, found)))


def _contamination(one: Contamination) -> Html:
    rows: list[list[Child]] = [
        [name, f"{n:,}", f"{items:,}", percent(mean), f"{one.paraphrases.get(name, 0):,}"]
        for name, (n, items, mean) in one.counts.items()
    ]
    rows += [
        [name, 0, 0, "–", f"{n:,}"] for name, n in one.paraphrases.items() if name not in one.counts
    ]
    head = ["benchmark", "rows dropped", "items touched", "mean coverage", "other numbers, kept"]
    shown = [
        tag(
            "article",
            tag("h4", f"{f.benchmark} ", tag("code", f.item), tag(
                "span", f" coverage {percent(f.coverage)}", class_="quiet")),
            tag("p", marked_span(f.text, f.start, f.end) if f.text is not None else tag(
                "em", "not shown: this benchmark asks that its questions stay off the web"),
                class_="prose"),
        )
        for f in one.found
    ]  # fmt: skip
    title = f"{len(shown)} of the rows that repeat an item, the least covered first"
    return joined(
        heading(one.step, f"searched {one.column} of {one.rows:,} rows"),
        table(head, rows) if rows else tag("p", "Nothing was found."),
        folded(title, *shown) if shown else None,
    )


def score_tables(facts: Facts) -> Section | None:
    """Every score table of the run."""
    found, conditions = scores(facts), gates(facts)
    if not found and not conditions:
        return None
    parts = [joined(heading("Gates"), maps.gates(conditions))] if conditions else []
    for one in found:
        parts.append(joined(heading(one.step), maps.scores(one.rows)))
        if one.differences:
            note = "on the same problems, so that their difficulty cancels"
            parts.append(joined(heading("Differences", note), maps.differences(one.differences)))
    lead = text("Each model on each benchmark, with its 95% interval.")
    return Section("scores", "Scores", lead, joined(*parts))


def merge_maps(facts: Facts) -> Section | None:
    """The map of every merge of the run."""
    found = merges(facts)
    if not found:
        return None
    parts = [tag("div", heading(one.step), maps.merged(one)) for one in found]
    lead = text("What each merge took from whom, tensor by tensor.")
    return Section("merge", "Merge", lead, joined(*parts))
