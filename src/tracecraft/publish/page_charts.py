"""Figures drawn as SVG that stretches: bars in the drawing, words beside it in HTML."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor, log10

import polars as pl

from tracecraft.publish.page_facts import RateLike, Share, ordered_outcomes
from tracecraft.publish.page_html import Html, joined, tag, text

WIDE = 1000
"""Units of a drawing that is as wide as its place."""
BINS = 32
TALL = 136
"""Height of the highest column, in pixels."""


@dataclass(frozen=True, slots=True)
class Fall:
    """One row of a waterfall: a total, or what a rule takes off."""

    label: str
    note: str
    low: int
    high: int
    """The bar goes from `low` to `high`, in rows."""
    scale: int
    """Rows that fill the whole width."""
    kind: str
    """`total` or `drop`."""
    step: str = ""
    rule: str = ""
    why: str = ""


def drawing(*shapes: Html, height: int, class_: str = "bar") -> Html:
    """An SVG that is stretched to the width of its place; hidden from screen readers, since the
    words beside it say the same.
    """
    return tag(
        "svg",
        *shapes,
        class_=class_,
        viewBox=f"0 0 {WIDE} {height}",
        preserveAspectRatio="none",
        aria_hidden="true",
        focusable="false",
    )


def bar(low: float, high: float, class_: str, *, y: float = 0, height: float = 10) -> Html:
    """A horizontal bar between two shares of the width."""
    x, width = WIDE * max(0.0, low), WIDE * max(0.0, min(1.0, high) - max(0.0, low))
    return tag("rect", x=_n(x), y=_n(y), width=_n(width), height=_n(height), class_=class_)


def waterfall(rows: Sequence[Fall]) -> Html:
    """A list of rows, each with its bar; a drop's row leads to the traces that it took."""
    return tag("ol", *map(_fall, rows), class_="falls")


def _fall(row: Fall) -> Html:
    scale = max(1, row.scale)
    low, high = row.low / scale, row.high / scale
    if row.kind == "total":
        shapes = [bar(0, high, "kept")]
        count = f"{row.high:,}"
    else:
        least = max(high, low + 0.003)
        shapes = [bar(0, low, "ghost"), bar(low, least, "gone")]
        count = f"−{row.high - row.low:,}"
    name: Html = text(row.label)
    if row.kind == "drop":
        name = tag(
            "a",
            row.label,
            href="#traces",
            data_step=row.step,
            data_rule=row.rule,
            title=row.why or None,
        )
    return tag(
        "li",
        tag(
            "span", tag("b", name), tag("span", row.note, class_="quiet") if row.note else None,
            class_="name",
        ),
        drawing(*shapes, height=10),
        tag("span", count, class_="count"),
        class_=row.kind,
    )  # fmt: skip


def intervals(shares: Iterable[Share], unit: str = "") -> Html:
    """A dot with its whiskers a row, from 0 to 1."""
    return tag("ol", *(_interval(share, unit) for share in shares), ruler(), class_="intervals")


def ruler(first: str = "0", middle: str = "50%", last: str = "100%") -> Html:
    """What the ticks of a line of intervals mean."""
    ends = tag("span", *(tag("span", end) for end in (first, middle, last)), class_="scale")
    return tag("li", ends, class_="ruler", aria_hidden="true")


def _interval(share: Share, unit: str) -> Html:
    rate = share.rate
    told = f"{rate.traces:,} traces of {rate.problems:,} problems"
    return tag(
        "li",
        tag("span", tag("b", share.name), tag("span", told, class_="quiet"), class_="name"),
        whisker(rate.value, rate.low, rate.high),
        tag("span", tag("b", percent(rate.value)), " ", text(bracket(rate)), unit, class_="count"),
    )


def whisker(value: float, low: float | None, high: float | None, class_: str = "dot") -> Html:
    """A value on a line from 0 to 1, with its interval."""
    shapes = [tag("path", d=f"M0 10H{WIDE}", class_="axis")]
    shapes += [
        tag("path", d=f"M{_n(WIDE * part)} 6v8", class_="axis") for part in (0, 0.25, 0.5, 0.75, 1)
    ]
    if low is not None and high is not None:
        shapes.append(tag("path", d=f"M{_n(WIDE * low)} 10H{_n(WIDE * high)}", class_="whisker"))
    shapes.append(tag("path", d=f"M{_n(WIDE * value)} 10h0.01", class_=class_))
    return drawing(*shapes, height=20, class_="line")


def percent(share: float) -> str:
    """As it is read: `62.5%`, `100%`."""
    return f"{share:.0%}" if share in (0, 1) else f"{share:.1%}"


def bracket(rate: RateLike) -> str:
    """The interval in words."""
    return f"[{percent(rate.low)}, {percent(rate.high)}]"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts by bin and by group."""

    width: int
    groups: list[str]
    bins: list[list[int]]
    """One list a bin, one number a group."""
    beyond: bool
    """The last bin also holds everything above it."""

    @classmethod
    def of(cls, values: pl.Series, groups: pl.Series) -> "Histogram":
        """Bins of one round width that the values below the 99.5th percentile fill."""
        top = float(values.quantile(0.995, "higher") or 1)
        width = _round(max(1.0, top / BINS))
        last = int(top // width)
        place = (values // width).clip(0, 4 * (last // 4) + 3).alias("bin")
        counted = pl.DataFrame([place, groups.alias("group")]).group_by("bin", "group").len()
        names = ordered_outcomes(groups.unique().to_list())
        bins = [[0] * len(names) for _ in range(4 * (last // 4 + 1))]
        for number, name, rows in counted.iter_rows():
            bins[int(number)][names.index(name)] = rows
        largest = float(str(values.max() or 0))
        return cls(width, names, bins, beyond=largest >= len(bins) * width)

    def draw(self, unit: str) -> Html:
        """Columns with a scale below."""
        top = max(1, *(sum(counts) for counts in self.bins))
        step = WIDE / len(self.bins)
        shapes = []
        for number, counts in enumerate(self.bins):
            y, told = 100.0, self._told(number, counts, unit)
            stack = []
            for name, rows in zip(self.groups, counts, strict=True):
                height = 100 * rows / top
                y -= height
                if rows:
                    box = {"x": _n(number * step), "y": _n(y), "width": _n(step * 0.92)}
                    stack.append(tag("rect", **box, height=_n(height), class_=f"o-{name}"))
            shapes.append(tag("g", tag("title", told), *stack))
        ends = [f"{self.width * len(self.bins) * part // 4:,}" for part in range(5)]
        ends[-1] += "+" if self.beyond else ""
        return tag(
            "div",
            drawing(*shapes, height=100, class_="columns"),
            tag("div", *(tag("span", end) for end in ends), class_="scale"),
            tag("div", text(unit), class_="quiet middle"),
            class_="histogram",
        )

    def _told(self, number: int, counts: list[int], unit: str) -> str:
        first = number * self.width
        last = "more" if self.beyond and number == len(self.bins) - 1 else f"{first + self.width:,}"
        parts = [f"{n:,} {name}" for name, n in zip(self.groups, counts, strict=True) if n]
        return f"{first:,} to {last} {unit}: {', '.join(parts) or 'none'}"


def columns(counts: Sequence[tuple[str, int, str]]) -> Html:
    """A column for each label; the third word is the column's class."""
    top = max(1, *(n for _, n, _ in counts))
    cells = [
        tag(
            "li",
            tag("span", f"{n:,}", class_="count"),
            tag("svg", tag("rect", width="100%", height="100%", class_=name), width="100%",
                height=_n(TALL * n / top), aria_hidden="true", focusable="false"),
            tag("span", label, class_="label"),
        )
        for label, n, name in counts
    ]  # fmt: skip
    return tag("ol", *cells, class_="bands")


def legend(names: Iterable[str]) -> Html:
    """What the colours mean."""
    return tag(
        "ul",
        *(tag("li", tag("span", class_=f"swatch b-{name}"), text(name)) for name in names),
        class_="legend",
    )


def heading(title: str, note: str = "") -> Html:
    """The title of a figure."""
    return tag("h3", title, joined(" ", tag("span", note, class_="quiet")) if note else None)


def _round(width: float) -> int:
    """The next of 1, 2, 5, 10, 20, 50, …"""
    unit = int(10 ** floor(log10(width)))
    return next(step * unit for step in (1, 2, 5, 10) if step * unit >= width)


def _n(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")
