"""Many requests over several servers at once: to the freest, again where one was lost."""

import asyncio
import logging
import queue
import time
from collections.abc import Sequence
from typing import Any, Protocol

from tracecraft.distill.engine import Completion, Request
from tracecraft.distill.owed import Asked, Owed
from tracecraft.distill.throttle import Throttle
from tracecraft.distill.wire import Trouble, Wire
from tracecraft.errors import EngineError

log = logging.getLogger(__name__)

_ALL_REFUSED = 20
"""Requests refused, and none answered, from which the fault is not theirs."""
_LOOK_SECONDS = 0.25
Results = queue.SimpleQueue[tuple[Request, Completion] | BaseException]


class Keeper(Protocol):
    """Whoever started the servers, and starts them again."""

    async def begin(self, client: Any) -> None:
        """Start them, and come back when all answer."""

    async def end(self) -> None:
        """Look after them no more."""

    async def fell(self, server: Throttle) -> bool:
        """Whether the server's process has just died, which takes a moment to show."""

    def answered(self) -> None:
        """Note that one of them works."""

    def obituary(self, server: Throttle, also: str = "") -> str:
        """How the server's process ended, and what next."""


class Pool:
    """The servers of one teacher."""

    def __init__(
        self,
        wire: Wire,
        client: Any,
        servers: Sequence[Throttle],
        tries: int,
        patience: float,
        keeper: Keeper | None = None,
    ) -> None:
        self.wire = wire
        self.client = client
        self.servers = servers
        self.tries = tries
        self.patience = patience
        self.keeper = keeper
        self.context: int | None = None
        """Tokens that the teacher takes, where the servers tell."""
        self.answered = self.refused = 0
        self.silent_since: float | None = None

    def room(self) -> int:
        """Requests worth having at hand: what the servers would take now, and the next few."""
        return sum(int(s.limit) for s in self.servers if s.gone is None) * 5 // 4 + 8


class Round:
    """One stream of requests through a pool; lives in its event loop."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.owed = Owed(proven=pool.answered > 0)
        self.hopeless = ""
        self.results: Results = queue.SimpleQueue()
        self.wake = asyncio.Event()
        self.runner: asyncio.Task[None] | None = None
        self.tasks: set[asyncio.Task[None]] = set()
        self.fallen: dict[Throttle, list[Asked]] = {}

    def add(self, request: Request) -> None:
        """One more to be answered."""
        self.owed.add(Asked(request))
        self.wake.set()

    async def start(self) -> None:
        """Ask from now on; once no server is left, that is among the results."""
        self.runner = asyncio.create_task(self._run())
        self.runner.add_done_callback(self._done)

    async def stop(self) -> None:
        """Let go of all that is under way."""
        tasks = [*self.tasks, *([self.runner] if self.runner else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self.pool.servers:
            server.busy = 0

    async def _run(self) -> None:
        while True:
            self.wake.clear()
            self._hand_out()
            if not self.owed and not self.tasks:
                self._set_aside(last=True)
            hopeless = self._hopeless()
            if hopeless:
                raise EngineError(hopeless)
            try:
                async with asyncio.timeout(self._pause()):
                    await self.wake.wait()
            except TimeoutError:
                continue

    def _hand_out(self) -> None:
        """Suspects to servers that hold nothing; the rest, one by one, to the freest."""
        servers = self.pool.servers
        for server in servers:
            for asked in self.owed.suspects(server, server.busy, server.free):
                self._give(asked, server)
        while rooms := [s for s in servers if s.free and not self.owed.tries(s)]:
            fresh = self.owed.next()
            if fresh is None:
                return
            self._give(fresh, max(rooms, key=lambda s: s.free))

    def _give(self, asked: Asked, server: Throttle) -> None:
        server.busy += 1
        task = asyncio.create_task(self._ask(asked, server))
        self.tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        self.wake.set()
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.results.put(error)

    async def _ask(self, asked: Asked, server: Throttle) -> None:
        begun = server.clock()
        pool = self.pool
        try:
            body = pool.wire.body(asked.request, pool.context)
            if isinstance(body, Completion):
                self.results.put((asked.request, body))
                return
            outcome = await pool.wire.ask(pool.client, server.url, body)
            fell = (
                isinstance(outcome, Trouble)
                and outcome.kind in {"broken", "away"}
                and pool.keeper is not None
                and await pool.keeper.fell(server)
            )
        finally:
            server.busy -= 1
        if isinstance(outcome, Completion):
            pool.answered += 1
            pool.silent_since = None
            self.owed.answered()
            self._set_aside()
            server.answered()
            if pool.keeper is not None:
                pool.keeper.answered()
            self.results.put((asked.request, outcome))
        elif fell:
            self.fallen.setdefault(server, []).append(asked)
        else:
            self._settle(asked, server, begun, outcome)
        if server.busy == 0 and server in self.fallen:
            self._bury(server, self.fallen.pop(server))

    def _settle(self, asked: Asked, server: Throttle, begun: float, trouble: Trouble) -> None:
        log.info("%s: %s: %s", server.url, trouble.kind, trouble.why)
        if trouble.kind == "refused":
            self.pool.refused += 1
            self._fail(asked, f"refused: {trouble.why}")
            return
        if self.pool.silent_since is None:
            self.pool.silent_since = time.monotonic()
        if trouble.kind == "closed":
            server.gone = trouble.why
            log.warning("%s is not asked any more: %s", server.url, trouble.why)
        elif trouble.kind == "away":
            if not server.troubles:
                log.warning("%s can't be reached: %s", server.url, trouble.why)
            server.away(begun, trouble.why)
        elif trouble.kind == "wait":
            server.asked_for_time(begun, trouble.seconds, trouble.why)
        else:
            server.broke(begun, trouble.why)
            asked.tries += 1
            if asked.tries >= self.pool.tries:
                self._fail(asked, f"{trouble.why} (the last of {asked.tries} tries)")
                return
        self.owed.again(asked)

    def _bury(self, server: Throttle, held: list[Asked]) -> None:
        keeper = self.pool.keeper
        assert keeper is not None
        self.owed.died(server, held, keeper.obituary(server).partition("\n")[0])
        if self.owed.hopeless:
            self.hopeless = keeper.obituary(server, self.owed.hopeless)
        self._set_aside()

    def _set_aside(self, *, last: bool = False) -> None:
        for guilty in self.owed.guilty(last=last):
            self._fail(guilty, f"set aside: {guilty.deaths} servers died of it: {guilty.why}")

    def _fail(self, asked: Asked, why: str) -> None:
        self.results.put((asked.request, Completion("", "failed", error=why)))

    def _pause(self) -> float | None:
        """Seconds until a server may be asked again that is left alone now."""
        if not self.owed:
            return None
        waits = [s.ready_at - s.clock() for s in self.pool.servers if s.gone is None]
        if self.pool.keeper is not None:
            waits.append(_LOOK_SECONDS)  # a server that starts again is ready at no known time
        return min((max(0.01, wait) for wait in waits if wait > 0), default=None)

    def _hopeless(self) -> str:
        """Why no answer will come any more, and what next; empty while one may."""
        if self.hopeless:
            return self.hopeless
        pool = self.pool
        live = [s for s in pool.servers if s.gone is None]
        if not live:
            return _none_left(pool.servers)
        if pool.refused >= _ALL_REFUSED and not pool.answered:
            return (
                f"{live[0].url}: refused each of the first {pool.refused} requests, as their"
                " rows say\n  next   mend the cause (sampling.max_tokens, engine.extra, …), then"
                " run again with a higher `attempt`"
            )
        if self.tasks or not self.owed or pool.keeper is not None:
            return ""
        wait = min(s.ready_at - s.clock() for s in live)
        silent = time.monotonic() - (pool.silent_since or time.monotonic())
        if wait <= pool.patience and silent <= pool.patience:
            return ""
        return (
            f"{live[0].url}: no answer for {silent:,.0f} seconds, none expected for another"
            f" {max(0.0, wait):,.0f}: {live[0].last}\n  next   see that a server runs there and"
            " has room, then run again: what was answered is kept"
        )


def _none_left(servers: Sequence[Throttle]) -> str:
    told = [f"{s.url}: {s.gone}" for s in servers]
    first, *others = dict.fromkeys(told)
    models = sorted({model for s in servers for model in s.models})
    lines = [first, *(f"  also   {other}" for other in others[:3])]
    if ": 404" in first and models:
        lines.append(f"  known  {', '.join(models[:10])}")
    if "  next " not in first:
        lines.append(f"  next   {_advice(first)}")
    return "\n".join(lines)


def _advice(why: str) -> str:
    if ": 401" in why or ": 403" in why:
        return "set engine.key_env to the environment variable that holds a valid key"
    if ": 402" in why or "insufficient_quota" in why:
        return "top the account up, then run again: what was answered is kept"
    if ": 404" in why or ": 405" in why:
        return (
            "check engine.model (engine.served_as, where the server calls it differently) and"
            " engine.base_urls, which mostly end in /v1"
        )
    return "mend the cause, then run again: what was answered is kept"
