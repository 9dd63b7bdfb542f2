"""The figures of a report in a terminal: bars, intervals, bands and histograms in characters."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from tracecraft.publish.page_facts import Facts, Share

BLOCKS = " ▏▎▍▌▋▊▉█"
LEVELS = " ▁▂▃▄▅▆▇█"
WIDTH = 40
"""Characters of a bar that is as long as it can be."""
STYLES = {
    "correct": "green",
    "incorrect": "red",
    "unverifiable": "yellow",
    "failed": "magenta",
}


def bar(share: float, width: int = WIDTH) -> str:
    """A bar for a share of 0 to 1, to an eighth of a character."""
    eighths = round(max(0.0, min(1.0, share)) * width * 8)
    full, rest = divmod(eighths, 8)
    return ("█" * full + (BLOCKS[rest] if rest else "")).ljust(width)


def whisker(value: float, low: float, high: float, width: int = WIDTH) -> str:
    """A value from 0 to 1 with its interval: `···├─●──┤······`."""

    def place(share: float) -> int:
        return min(width - 1, int(max(0.0, share) * width))

    line = ["·"] * width
    first, last = place(low), place(high)
    for i in range(first, last + 1):
        line[i] = "─"
    line[first], line[last] = "├", "┤"
    line[place(value)] = "●"
    return "".join(line)


def columns(counts: Sequence[int]) -> str:
    """A histogram on one line; what is not zero can be seen."""
    top = max([1, *counts])
    return "".join(LEVELS[0 if not n else max(1, round(8 * n / top))] for n in counts)


def print_figures(facts: "Facts", console: Console) -> None:
    """How often, how hard, how long: what the page draws, without the page."""
    for title, shown in (
        ("correct, with 95% over problems", _shares(facts.passed)),
        ("cut off", _shares(facts.truncated)),
        ("problems by correct traces", _bands(facts)),
        ("tokens of a completion", _tokens(facts)),
    ):
        if shown is not None:
            console.print()
            console.print(Group(Text(f"  {title}", style="bold"), shown), highlight=False)


def _grid(rows: Sequence[tuple[Text, ...]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    for row in rows:
        grid.add_row(Text(""), *row)
    return grid


def _shares(shares: "Sequence[Share]") -> RenderableType | None:
    rows = [
        (
            Text(share.name),
            Text(whisker(share.rate.value, share.rate.low, share.rate.high), style="cyan"),
            Text(f"{share.rate.value:.1%} [{share.rate.low:.1%}, {share.rate.high:.1%}]"),
            Text(f"{share.rate.traces:,} traces of {share.rate.problems:,}", style="dim"),
        )
        for share in shares
    ]
    return _grid(rows) if rows else None


def _bands(facts: "Facts") -> RenderableType | None:
    from tracecraft.publish.page_verdicts import bars

    if facts.bands is None:
        return None
    counts, _ = bars(facts.bands)
    top = max([1, *counts.values()])
    ends = {next(iter(counts)): "red", list(counts)[-1]: "green"}
    rows = [
        (Text(name), Text(bar(n / top), style=ends.get(name, "cyan")), Text(f"{n:,}"))
        for name, n in counts.items()
    ]
    return _grid(rows)


def _tokens(facts: "Facts") -> RenderableType | None:
    from tracecraft.publish.page_verdicts import histogram

    found = histogram(facts)
    if found is None:
        return None
    rows = []
    for i, name in enumerate(found.groups):
        counts = [bin_[i] for bin_ in found.bins]
        line = Text(columns(counts), style=STYLES.get(name, "cyan"))
        rows.append((Text(name), line, Text(f"{sum(counts):,} traces", style="dim")))
    last = f"{found.width * len(found.bins):,}{'+' if found.beyond else ''}"
    scale = Text("0" + last.rjust(max(1, len(found.bins) - 1)), style="dim")
    return _grid([*rows, (Text(""), scale, Text(""))])
