"""Figures over two dimensions: verdicts against verdicts, models on benchmarks, tensors."""

import re
from collections.abc import Sequence

from tracecraft.publish.page_charts import percent, ruler, whisker
from tracecraft.publish.page_facts import Agreement, ordered_outcomes
from tracecraft.publish.page_html import Child, Html, folded, joined, table, tag, text
from tracecraft.publish.page_models import Difference, Gate, Merged, Score, Tensor

CELL, LABEL = 15, 190
"""Units of a tensor's cell, and of the names beside the map."""
SHADES = 10
MOST = 60
"""Tensors in the table under a map."""


def agreement(found: Agreement) -> Html:
    """A table of one opinion against the other, darker where there are more traces."""
    ours = ordered_outcomes(a for a, _ in found.counts)
    theirs = ordered_outcomes(b for _, b in found.counts)
    top = max(found.counts.values())
    rows: list[list[Child]] = []
    for one in ours:
        cells = [found.counts.get((one, other), 0) for other in theirs]
        drawn = [tag("span", f"{n:,}", class_=f"cell q{_shade(n / top)}") for n in cells]
        rows.append([one, *drawn])
    told = table(["ours ↓  theirs →", *theirs], rows, class_="matrix")
    same, decided = agreeing(found)
    if not decided:
        return told
    share = percent(same / decided)
    words = f"Both say the same of {share} of the {decided:,} traces that both decide."
    link = tag("a", "Traces on which they differ", href="#traces", data_opinions="differ")
    return joined(tag("p", words, " ", link if same < decided else None), told)


def agreeing(found: Agreement) -> tuple[int, int]:
    """Traces on which both opinions are the same, and traces that both decide."""
    words = {"true": "correct", "false": "incorrect"}
    same = decided = 0
    for (ours, theirs), n in found.counts.items():
        other = words.get(theirs, theirs)
        if {ours, other} <= {"correct", "incorrect"}:
            decided += n
            same += n * (ours == other)
    return same, decided


def scores(rows: Sequence[Score]) -> Html:
    """A figure a benchmark and metric: each model's value with its interval."""
    figures = []
    for benchmark, metric in _drawn(rows):
        part = [r for r in rows if (r.benchmark, r.metric) == (benchmark, metric)]
        if all(0 <= r.value <= 1 for r in part):
            title = tag("h4", benchmark, " ", tag("span", metric, class_="quiet"))
            lines = tag("ol", *map(_score, part), ruler(), class_="intervals")
            figures.append(tag("div", title, lines))
    numbers: list[list[Child]] = [
        [r.model, r.benchmark, r.metric, _number(r.value), _number(r.low), _number(r.high),
         r.problems, r.samples]
        for r in rows
    ]  # fmt: skip
    head = ["model", "benchmark", "metric", "value", "low", "high", "problems", "samples"]
    return joined(*figures, folded("All numbers", table(head, numbers)))


def _drawn(rows: Sequence[Score]) -> list[tuple[str, str]]:
    """What is drawn of each benchmark: means, votes, pass@k of its largest k, contamination."""
    chosen = []
    for benchmark, metric in dict.fromkeys((row.benchmark, row.metric) for row in rows):
        name, _, k = metric.partition("@")
        ks = [
            int(other.metric.partition("@")[2])
            for other in rows
            if other.benchmark == benchmark and re.fullmatch(r"pass@\d+", other.metric)
        ]
        largest = name == "pass" and k.isdigit() and int(k) == max(ks)
        if name in ("avg", "maj", "contamination") or largest:
            chosen.append((benchmark, metric))
    return chosen


def differences(rows: Sequence[Difference]) -> Html:
    """Paired differences: whiskers around the middle, which is no difference."""
    ends = [abs(v) for r in rows for v in (r.value, r.low, r.high) if v is not None]
    most = max(0.01, *ends)
    lines = []
    for row in rows:
        place = [None if v is None else (v / most + 1) / 2 for v in (row.low, row.high)]
        told = f"{100 * row.value:+.1f} points"
        if row.low is not None and row.high is not None:
            told += f" [{100 * row.low:+.1f}, {100 * row.high:+.1f}]"
        name = tag("span", tag("b", f"{row.model} − {row.other}"), tag(
            "span", f"{row.benchmark} {row.metric}", class_="quiet"), class_="name")  # fmt: skip
        drawn = whisker((row.value / most + 1) / 2, place[0], place[1])
        lines.append(tag("li", name, drawn, tag("span", told, class_="count")))
    scale = ruler(f"−{100 * most:.1f}", "0", f"+{100 * most:.1f}")
    return tag("ol", *lines, scale, class_="intervals")


def gates(rows: Sequence[Gate]) -> Html:
    """A table of conditions, and whether they hold."""
    cells: list[list[Child]] = [
        [r.gate, r.model, f"{r.value:.4g}", tag("span", "holds" if r.holds else "does not hold",
         class_=f"chip b-{'correct' if r.holds else 'incorrect'}")]
        for r in rows
    ]  # fmt: skip
    return table(["gate", "model", "value", ""], cells)


def _score(row: Score) -> Html:
    told = percent(row.value)
    if row.low is not None and row.high is not None:
        told += f" [{percent(row.low)}, {percent(row.high)}]"
    of = [f"{row.problems:,} problems"] if row.problems else []
    of += [f"n = {row.samples}"] if row.samples else []
    return tag(
        "li",
        tag("span", tag("b", row.model), tag("span", ", ".join(of), class_="quiet"), class_="name"),
        whisker(row.value, _inside(row.low), _inside(row.high)),
        tag("span", told, class_="count"),
    )


def merged(found: Merged) -> Html:
    """The share of each tensor that was taken: modules by layers."""
    into, others = found.models[0], ", ".join(found.models[1:])
    words = (
        f"{found.method}: {others} into {into}. {percent(found.share)} of all weights were taken; "
        f"the merged model moved {found.moved:.4g} of a distance of {found.delta:.4g}."
    )
    shares = [t.share for t in found.tensors] or [0.0]
    low, high = min(shares), max(shares)
    told = f"light {percent(low)}, dark {percent(high)} of a tensor's weights"
    rows: list[list[Child]] = [
        [t.name, f"{t.weights:,}", percent(t.share), _number(t.threshold), _number(t.kl),
         f"{t.delta:.4g}", f"{t.moved:.4g}"]
        for t in sorted(found.tensors, key=lambda t: (-t.moved, t.name))[:MOST]
    ]  # fmt: skip
    head = ["tensor", "weights", "share", "threshold", "KL, nats", "‖delta‖", "‖moved‖"]
    title = f"The {len(rows)} tensors of {len(found.tensors):,} that moved most"
    return joined(
        tag("p", words),
        *(tag("p", note, class_="quiet") for note in found.notes),
        _map(found.tensors, low, high),
        tag("p", told, class_="quiet"),
        folded(title, table(head, rows)),
    )


def _map(tensors: Sequence[Tensor], low: float, high: float) -> Html:
    stacked = [t for t in tensors if t.layer is not None]
    alone = [t for t in tensors if t.layer is None]
    modules = list(dict.fromkeys(t.module for t in stacked))
    layers = max((t.layer for t in stacked if t.layer is not None), default=-1) + 1
    rows = [*modules, *(t.module for t in alone)]
    shapes: list[Html] = []
    for number, module in enumerate(rows):
        y = (number + 0.75) * CELL
        words = module if len(module) <= 30 else f"…{module[-29:]}"
        shapes.append(tag("text", words, x=LABEL - 8, y=y, text_anchor="end"))
    for t in (*stacked, *alone):
        row = modules.index(t.module) if t.layer is not None else rows.index(t.module)
        scaled = (t.share - low) / (high - low) if high > low else 0.5
        wide = CELL - 1 if t.layer is not None else max(CELL, layers * CELL) - 1
        box = {"x": LABEL + (t.layer or 0) * CELL, "y": row * CELL, "width": wide}
        shade = f"q{_shade(scaled)}"
        shapes.append(tag("rect", tag("title", _told(t)), **box, height=CELL - 1, class_=shade))
    height = (len(rows) + 1) * CELL
    for layer in range(0, layers, 1 if layers <= 12 else 4):
        x = LABEL + (layer + 0.5) * CELL
        shapes.append(tag("text", layer, x=x, y=height - 4, text_anchor="middle"))
    width = LABEL + max(1, layers) * CELL
    label = f"Share taken of {len(tensors):,} tensors; the table below has the numbers"
    drawn = tag(
        "svg", *shapes, class_="map", role="img", aria_label=label, width=width * 1.4,
        height=height * 1.4, viewBox=f"0 0 {width} {height}",
    )  # fmt: skip
    return tag("div", drawn, class_="scroll", tabindex=0, role="region", aria_label="Merge map")


def _told(t: Tensor) -> str:
    more = [f"threshold {t.threshold:.3g}"] if t.threshold is not None else []
    more += [f"KL {t.kl:.3g}"] if t.kl is not None else []
    words = ", ".join([f"{percent(t.share)} taken", *more, f"moved {t.moved:.3g}"])
    return f"{t.name}: {words}"


def _shade(share: float) -> int:
    return min(SHADES - 1, int(share * SHADES))


def _inside(value: float | None) -> float | None:
    return None if value is None else min(1.0, max(0.0, value))


def _number(value: float | None) -> Html:
    return text("–" if value is None else f"{value:.4g}")
