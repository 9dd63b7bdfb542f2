"""How a run looks while it goes: one live line on a terminal, plain lines elsewhere, or JSON."""

import json
import sys
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from tracecraft.plan import Planned
from tracecraft.stage import Progress
from tracecraft.store import Manifest

PLAIN_SECONDS = 30.0
"""Between two plain lines of the same step, where there is no terminal."""


class Watch(AbstractContextManager["Watch"]):
    """The command line's watcher. Human text goes to stderr, `--json` events to stdout."""

    def __init__(self, console: Console, *, as_json: bool = False) -> None:
        self.console = console
        self.as_json = as_json
        self.live: Live | None = None
        self.begun = 0.0
        self.first: Progress | None = None
        self.told = 0.0
        self.cached = 0

    def __enter__(self) -> Self:
        if self.console.is_terminal and not self.as_json:
            self.live = Live(console=self.console, refresh_per_second=4, transient=True)
            self.live.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.live is not None:
            self.live.__exit__(kind, error, trace)

    def started(self, step: Planned) -> None:
        """Begin a step."""
        self.begun, self.first, self.told = time.monotonic(), None, time.monotonic()
        if self.as_json:
            self._event("started", step, {})
        elif self.live is None:
            self.console.print(f"{step.spec.name}: started", style="dim", highlight=False)
        else:
            self.live.update(Text(f"{step.spec.name} …"))

    def advanced(self, step: Planned, progress: Progress) -> None:
        """Show how far it is."""
        self.first = self.first or progress
        now = time.monotonic()
        if self.as_json:
            if now - self.told >= 1.0:
                self.told = now
                facts = {"done": progress.done, "total": progress.total, "unit": progress.unit}
                self._event("progress", step, {**facts, **progress.facts})
            return
        line = f"{step.spec.name}  {self._line(progress, now - self.begun)}"
        if self.live is not None:
            self.live.update(Text(line))
        elif now - self.told >= PLAIN_SECONDS:
            self.told = now
            self.console.print(line, highlight=False)

    def finished(self, step: Planned, manifest: Manifest) -> None:
        """Say what came of it."""
        if self.as_json:
            told = {"rows_in": manifest.rows_in, "rows_out": manifest.rows_out}
            self._event("finished", step, {**told, "dropped": manifest.dropped})
        elif self.begun:
            self.console.print(f"{step.spec.name}: {outcome(manifest)}", highlight=False)
        else:
            self.cached += 1
        self.begun = 0.0

    def _line(self, progress: Progress, seconds: float) -> str:
        parts = [f"{progress.done:,}/{progress.total:,} {progress.unit}"]
        facts = progress.facts
        for name, label in (("prompt_tokens", "prompt"), ("output_tokens", "output")):
            if name in facts and seconds > 0:
                parts.append(f"{float(facts[name]) / seconds:,.0f} {label} tokens/s")
        for name in ("in_flight", "from_ledger", "accepted"):
            if facts.get(name):
                parts.append(f"{facts[name]:,} {name.replace('_', ' ')}")
        left = self._left(progress, seconds)
        return " · ".join([*parts, left] if left else parts)

    def _left(self, progress: Progress, seconds: float) -> str:
        """Time left at the pace since the first word; what lay in the ledger costs no time."""
        start = self.first.done if self.first is not None else 0
        made = progress.done - start
        if made <= 0 or progress.done >= progress.total:
            return ""
        return f"{duration(seconds * (progress.total - progress.done) / made)} left"

    def _event(self, what: str, step: Planned, more: dict[str, object]) -> None:
        line = {"event": what, "step": step.spec.name, "at": round(time.time(), 3), **more}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


def outcome(manifest: Manifest) -> str:
    """One line on what a step did."""
    drops = ", ".join(f"{n:,} {rule}" for rule, n in manifest.dropped.items())
    told = f"{manifest.rows_in:,} in, {manifest.rows_out:,} out"
    return told + (f" (dropped: {drops})" if drops else "") + f" in {duration(manifest.seconds)}"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
