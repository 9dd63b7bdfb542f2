"""The opened teacher kept busy: requests wait in line, completions are filed as they arrive."""

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace

from tracecraft.completions import Completions
from tracecraft.distill.budget import Budget, Purse
from tracecraft.engine import Completion, Engine, Request, Session
from tracecraft.errors import BudgetSpent
from tracecraft.stage import Desk, Progress

_REPORT_SECONDS = 0.2
_FACTS = (
    "answered",
    "on_file",
    "failed",
    "truncated",
    "in_flight",
    "prompt_tokens",
    "output_tokens",
)


class Asking:
    """Whoever wants answers puts requests into the line and takes what comes back.

    The stream of the engine lives on from call to call, so that it never runs empty between two
    shards. A completion that failed is asked for again at once, and is final after `retries`.
    """

    def __init__(
        self, engine: Engine, desk: Desk, stack: ExitStack, retries: int, budget: Budget | None
    ) -> None:
        self.engine = engine
        self.desk = desk
        self.stack = stack
        self.retries = retries
        self.teacher = engine.teacher
        self.ledger = desk.completions if desk.completions is not None else Completions()
        self.purse = Purse(budget, desk.scratch, engine.gpus or 1)
        self.tally: Counter[str] = Counter()
        self.total = 0
        self.failed: dict[str, Completion] = {}
        self._line: deque[Request] = deque()
        self._flying: dict[str, Request] = {}
        self._tries: Counter[str] = Counter()
        self._session: Session | None = None
        self._stream: Iterator[tuple[Request, Completion]] | None = None
        self._reported = 0.0

    # ── the line: what the engine draws from ──

    def __iter__(self) -> Iterator[Request]:
        return self

    def __next__(self) -> Request:
        if not self._line or self._held_back():
            raise StopIteration
        asked = self._line.popleft()
        self._flying[asked.key] = asked
        return asked

    def put(self, request: Request, *, first: bool = False) -> None:
        """Have it answered, `first` or after all others; one that waits is not asked twice."""
        if request.key not in self._tries:
            self._tries[request.key] = 1
            (self._line.appendleft if first else self._line.append)(request)

    @property
    def busy(self) -> bool:
        """Whether anything is owed by the engine."""
        return bool(self._line or self._flying)

    def take(self) -> tuple[Request, Completion]:
        """The next final answer, filed and counted.

        Raises:
            BudgetSpent: nothing more may be asked, and all that was is answered.
        """
        while True:
            asked, completion = self._next()
            completion = _clean(completion)
            self.ledger.put(asked.key, completion, self.teacher)
            if completion.finish == "failed" and self._tries[asked.key] <= self.retries:
                self._tries[asked.key] += 1
                self._line.append(asked)
                continue
            self._tries.pop(asked.key, None)
            if completion.finish == "failed":
                self.failed[asked.key] = completion
            self.count(completion, "failed" if completion.finish == "failed" else "answered")
            return asked, completion

    def _next(self) -> tuple[Request, Completion]:
        if self._session is None:
            self._session = self.stack.enter_context(self.engine.open())
            self.stack.enter_context(self.purse.running())
        while True:
            if self._stream is None:
                if not self._flying and (cap := self._reached()):
                    raise BudgetSpent(
                        f"the budget is spent: {cap}; {len(self._line)} completions are owed of"
                        f" {self.total} asked for so far"
                        "\n  next   raise the stage's `budget`, then run again: what was answered"
                        " is kept"
                    )
                self._stream = self._session.stream(self)
            answer = next(self._stream, None)
            if answer is not None:
                self._flying.pop(answer[0].key, None)
                return answer
            self._stream = None
            if self._flying:  # the stream ended without them
                _, asked = self._flying.popitem()
                return asked, Completion("", "failed", error="no answer came")

    # ── the account ──

    def _held_back(self) -> bool:
        """Whether the next request might go over the budget, by what an answer takes on average."""
        return self.purse.budget is not None and self._reached(len(self._flying)) is not None

    def _reached(self, flying: int = 0) -> str | None:
        answers = self.tally["answered"] + self.tally["on_file"]
        share = 1 + flying / answers if answers else 1.0
        return self.purse.reached(
            self.tally["prompt_tokens"] * share, self.tally["output_tokens"] * share
        )

    def count(self, completion: Completion, how: str) -> None:
        """One more is `answered`, `on_file` or `failed`."""
        self.tally[how] += 1
        self.tally["done"] += 1
        self.tally["truncated"] += completion.finish == "length"
        self.tally["prompt_tokens"] += completion.prompt_tokens
        self.tally["output_tokens"] += completion.completion_tokens

    def report(self, *, now: bool = False) -> None:
        """Tell whoever watches, at most five times a second."""
        if not now and time.monotonic() - self._reported < _REPORT_SECONDS:
            return
        self._reported = time.monotonic()
        facts: dict[str, float | int | str] = {name: self.tally[name] for name in _FACTS}
        facts["in_flight"] = len(self._flying)
        facts |= {"teacher": self.teacher, "engine": self.engine.via}
        facts["gpu_seconds"] = round(self.purse.gpu_seconds, 1)
        self.desk.report(Progress(self.tally["done"], self.total, "completions", facts))


def _clean(completion: Completion) -> Completion:
    """The completion in valid Unicode, the only text that a table can hold."""
    try:
        completion.text.encode()
    except UnicodeEncodeError:
        return replace(completion, text=completion.text.encode(errors="replace").decode())
    return completion
