"""How many requests a server may hold at once, learned from how it takes them."""

import random
import time
from collections.abc import Callable

_START = 32
"""Requests that a server gets before it has answered any."""
_HALVED = 0.5
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds: after the first trouble in a row, doubled with each, and where that ends."""
_ODD = 3
"""Rounds of broken answers in a row from which it is the server's trouble, not the requests'."""


class Throttle:
    """One server: more at once as it answers, half as many when it asks for time.

    Additive increase, multiplicative decrease, as TCP does it: until the first refusal the limit
    doubles with each round of answers, after it a round adds one.
    """

    def __init__(
        self, url: str, most: int, clock: Callable[[], float] = time.monotonic, seed: int = 0
    ) -> None:
        self.url = url
        self.most = most
        self.clock = clock
        self.limit = float(min(most, _START))
        self.busy = 0
        self.ready_at = 0.0
        self.troubles = 0
        """Rounds of it in a row, without an answer between."""
        self.gone: str | None = None
        """Why it will never be asked again."""
        self.last = ""
        """What it said last instead of an answer."""
        self.models: list[str] = []
        """What it says it has."""
        self._grown = False
        self._troubled_at = float("-inf")
        self._random = random.Random(f"{seed}{url}")

    @property
    def free(self) -> int:
        """Requests it may be given now."""
        if self.gone is not None or self.clock() < self.ready_at:
            return 0
        return max(0, int(self.limit) - self.busy)

    def answered(self) -> None:
        """A completion came: there may be room for more."""
        self.troubles = 0
        step = 1 / self.limit if self._grown else 1.0
        self.limit = min(float(self.most), self.limit + step)

    def asked_for_time(self, asked_at: float, seconds: float | None, why: str) -> None:
        """Half as many from now on, once for all requests that were under way together."""
        if self._anew(asked_at, why):
            self._halve()
        pause = self._pause() if seconds is None else seconds
        self.ready_at = max(self.ready_at, self.clock() + pause)

    def broke(self, asked_at: float, why: str) -> None:
        """An answer was lost; if round upon round brings nothing else, the server is the cause."""
        if self._anew(asked_at, why) and self.troubles >= _ODD:
            self._halve()
            self.ready_at = max(self.ready_at, self.clock() + self._pause())

    def away(self, asked_at: float, why: str) -> None:
        """It could not be reached."""
        if self._anew(asked_at, why):
            self.ready_at = max(self.ready_at, self.clock() + self._pause())

    def _anew(self, asked_at: float, why: str) -> bool:
        """Whether this is a further trouble, and not the last one as another request met it."""
        self.last = why
        if asked_at < self._troubled_at:
            return False
        self._troubled_at = self.clock()
        self.troubles += 1
        return True

    def _halve(self) -> None:
        self.limit = max(1.0, self.limit * _HALVED)
        self._grown = True

    def _pause(self) -> float:
        """Doubling, with up to half of it left to chance, so that clients do not come together."""
        steps = min(max(0, self.troubles - 1), 10)
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2.0**steps)
        return pause * (0.5 + 0.5 * self._random.random())
