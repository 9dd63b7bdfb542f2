"""The thread in which servers are asked, and the plain iterator in front of it."""

import asyncio
import logging
import resource
import threading
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tracecraft.distill.engine import Completion, Request
from tracecraft.distill.pool import Keeper, Pool, Round
from tracecraft.distill.throttle import Throttle
from tracecraft.distill.wire import Wire

_IDLE_SECONDS = 30.0
"""How long a connection that is not used is kept; servers close theirs after more."""
_OTHER_FILES = 512
"""Files that the process may have open beside its connections."""
_LOOK_SECONDS = 10.0
"""What a server may take to say which models it has."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long, and how often."""

    tries: int
    patience: float
    connect: float
    silence: float


class Line:
    """Servers that are connected; `stream` is called from one thread at a time."""

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        self.pool = pool
        self.loop = loop
        self.rounds: set[Round] = set()

    def wait(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done in the loop's thread."""
        asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion]]:
        pending = iter(requests)
        asking = Round(self.pool)
        self.rounds.add(asking)
        self.wait(asking.start())
        held = 0
        try:
            while True:
                while held < self.pool.room() and (request := next(pending, None)):
                    held += 1
                    self.loop.call_soon_threadsafe(asking.add, request)
                if not held:
                    return
                found = asking.results.get()
                if isinstance(found, BaseException):
                    raise found
                held -= 1
                yield found
        finally:
            self._stop(asking)

    def _stop(self, asking: Round) -> None:
        if asking in self.rounds:  # else the line was closed before whoever read from it
            self.rounds.remove(asking)
            self.wait(asking.stop())

    def close(self) -> None:
        """Hang up, whatever is under way."""
        for asking in tuple(self.rounds):
            self._stop(asking)
        self.wait(self.pool.client.aclose())


@contextmanager
def connected(
    wire: Wire, servers: Sequence[Throttle], limits: Limits, keeper: Keeper | None = None
) -> Iterator[Line]:
    """The servers in reach, until the end of the `with` block."""
    _allow_files(sum(server.most for server in servers))
    client = _client(wire, limits)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tracecraft-line", daemon=True)
    thread.start()
    line = Line(Pool(wire, client, servers, limits.tries, limits.patience, keeper), loop)
    try:
        if keeper is not None:
            line.wait(keeper.begin(client))
        line.wait(_look(line.pool))
        yield line
    finally:
        if keeper is not None:
            line.wait(keeper.end())
        line.close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _allow_files(connections: int) -> None:
    """Let this process hold that many connections: shells give 1,024 files where more may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


def _client(wire: Wire, limits: Limits) -> Any:
    import httpx2

    for name in ("httpx2", "httpcore2"):  # a line a request, of which there are millions
        logging.getLogger(name).setLevel(logging.WARNING)
    headers = {"content-type": "application/json", "accept": "text/event-stream, application/json"}
    if wire.secret:
        headers["authorization"] = f"Bearer {wire.secret}"
    return httpx2.AsyncClient(
        headers=headers,
        timeout=httpx2.Timeout(limits.silence, connect=limits.connect, pool=None),
        limits=httpx2.Limits(keepalive_expiry=_IDLE_SECONDS),
        mounts={"all://localhost": None, "all://127.0.0.1": None},  # never by way of a proxy
    )


async def _look(pool: Pool) -> None:
    """Note what the servers say of their models, where they do."""
    await asyncio.gather(*(_models(pool, server) for server in pool.servers))


async def _models(pool: Pool, server: Throttle) -> None:
    import httpx2

    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            response = await pool.client.get(server.url + "/models")
            told = response.json() if response.status_code == 200 else {}
    except (httpx2.HTTPError, TimeoutError, ValueError):
        return
    models = told.get("data") if isinstance(told, dict) else None
    for model in models if isinstance(models, list) else ():
        if isinstance(model, dict) and isinstance(model.get("id"), str):
            server.models.append(model["id"])
            context = model.get("max_model_len")
            if model["id"] == pool.wire.model and isinstance(context, int):
                pool.context = min(context, pool.context or context)
