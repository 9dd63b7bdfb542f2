"""Requests that are owed an answer, and what becomes of those whose engine died under them."""

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from tracecraft.distill.engine import Request

_NARROWER = 8
"""By how much fewer suspects are tried together after each death. With 8, one culprit among 256
is alone after four deaths, each of which costs the loading of a model."""


@dataclass(slots=True, eq=False)
class Asked:
    """A request, and what it has been through."""

    request: Request
    tries: int = 0
    """Answers to it that were lost."""
    deaths: int = 0
    """Engines that died while they held it."""


class Owed:
    """What to hand out next, to whom.

    Requests in flight when an engine died are suspects. An engine that holds nothing tries a few
    of them, and nothing else meanwhile; if it dies again, fewer together, until one that kills an
    engine alone is set aside. So the innocent are answered, and no request kills for ever.
    """

    def __init__(self) -> None:
        self._fresh: deque[Asked] = deque()
        self._suspects: deque[Asked] = deque()
        self._trials: set[Hashable] = set()
        self._width = 1

    def __len__(self) -> int:
        return len(self._fresh) + len(self._suspects)

    def add(self, asked: Asked) -> None:
        """A new one, at the end."""
        self._fresh.append(asked)

    def again(self, asked: Asked) -> None:
        """One that came back unanswered, through no fault of its own: it is next."""
        (self._suspects if asked.deaths else self._fresh).appendleft(asked)

    def suspects(self, holder: Hashable, busy: int, free: int) -> list[Asked]:
        """Those that an engine that holds nothing, and has room for `free`, should try now."""
        if busy:
            return []
        self._trials.discard(holder)
        count = min(free, self._width, len(self._suspects))
        if count:
            self._trials.add(holder)
        return [self._suspects.popleft() for _ in range(count)]

    def tries(self, holder: Hashable) -> bool:
        """Whether an engine is trying suspects, and should get nothing else."""
        return holder in self._trials

    def next(self) -> Asked | None:
        """The first that is no suspect."""
        return self._fresh.popleft() if self._fresh else None

    def died(self, holder: Hashable, held: Iterable[Asked]) -> Asked | None:
        """An engine died: what it held is owed again. The one that is to blame, once known."""
        held = list(held)
        on_trial = holder in self._trials
        self._trials.discard(holder)
        for asked in held:
            asked.deaths += 1
        if on_trial and len(held) == 1:
            return held[0]
        if held:
            self._width = max(1, len(held) // _NARROWER)
            self._suspects.extend(held)
        return None
