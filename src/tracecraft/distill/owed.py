"""Requests that are owed an answer, and what becomes of those whose engine died under them."""

from collections import deque
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

from tracecraft.distill.child import unsuited
from tracecraft.distill.engine import Request

_NARROWER = 8
"""By how much fewer suspects are tried together after each death. With 8, one culprit among 256
is alone after four deaths, each of which costs the loading of a model."""
_BROKEN_FROM_THE_START, _BROKEN = 2, 4
"""Requests in a row of each of which an engine died, from which the fault is not theirs: while no
engine has ever answered, and later."""
_UNSUITED = 2
"""Engines that died, before any answered, of something that they say they can't do at all."""


@dataclass(slots=True, eq=False)
class Asked:
    """A request, and what it has been through."""

    request: Request
    tries: int = 0
    """Answers to it that were lost."""
    deaths: int = 0
    """Engines that died while they held it."""
    why: str = ""
    """How the last of them died."""


class Owed:
    """What to hand out next, to whom.

    Requests in flight when an engine died are suspects. An engine that holds nothing tries a few
    of them, and nothing else meanwhile; if it dies again, fewer together, until one that kills an
    engine alone is to blame. So the innocent are answered, and no request kills for ever. While no
    engine has ever answered, suspects are tried one by one, and blamed only once one has: what two
    of them do alone, the engine does with any.
    """

    def __init__(self, *, proven: bool = False) -> None:
        self.proven = proven
        """Whether an engine has ever answered."""
        self._fresh: deque[Asked] = deque()
        self._suspects: deque[Asked] = deque()
        self._trials: set[Hashable] = set()
        self._width = 1
        self._guilty: list[Asked] = []
        self._in_a_row: set[str] = set()
        self._unsuited = 0

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

    def answered(self) -> None:
        """An engine works."""
        if not self.proven:
            self._width = max(1, len(self._suspects) // _NARROWER)
        self.proven = True
        self._in_a_row.clear()

    def died(self, holder: Hashable, held: Iterable[Asked], why: str = "") -> bool:
        """An engine died: what it held is owed again, unless it is known now which is to blame."""
        held = list(held)
        on_trial = holder in self._trials
        self._trials.discard(holder)
        self._unsuited += not self.proven and unsuited(why)
        for asked in held:
            asked.deaths += 1
            asked.why = why
        if on_trial and len(held) == 1:
            self._in_a_row.add(held[0].request.key)
            self._guilty += held
            return True
        if held:
            self._width = max(1, len(held) // _NARROWER) if self.proven else 1
            self._suspects.extend(held)
        return False

    def guilty(self, *, last: bool = False) -> list[Asked]:
        """Those to be set aside now; at the `last`, also where no engine has ever answered."""
        if not (self.proven or last):
            return []
        found, self._guilty = self._guilty, []
        return found

    @property
    def hopeless(self) -> str:
        """Why none should be started again; empty while one should."""
        if self._unsuited >= _UNSUITED and not self.proven:
            return f"{self._unsuited} engines died so, and none has ever answered"
        count = len(self._in_a_row)
        if count < (_BROKEN if self.proven else _BROKEN_FROM_THE_START):
            return ""
        ever = "" if self.proven else ", and none has ever answered"
        return f"{count} engines in a row died of a request each{ever}"
