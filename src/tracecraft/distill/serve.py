"""vLLM servers of our own on this machine: started, watched, started again, ended."""

import asyncio
import json
import logging
import math
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tracecraft.distill.child import Child, advice, environment, gpu_groups, log_folder
from tracecraft.distill.engine import Session
from tracecraft.distill.line import Limits, connected
from tracecraft.distill.local import built_for_cpu
from tracecraft.distill.remote import counter
from tracecraft.distill.throttle import Throttle
from tracecraft.distill.vllm import Vllm
from tracecraft.distill.wire import Wire
from tracecraft.distill.worker import on_cpu_options
from tracecraft.errors import EngineError, MissingExtra
from tracecraft.plugin import Volatile

log = logging.getLogger(__name__)

_NAME = "teacher"
"""What our servers call the model, wherever its weights lie."""
_LIMITS = Limits(tries=5, patience=math.inf, connect=10.0, silence=600.0)
_TOKENS_AN_EVENT = 16
"""One event of a stream holds so many: fewer, larger ones cost server and client less."""
_LOOK_SECONDS = 0.25
_DYING_SECONDS = 8.0
"""How long vLLM's server may take to end after its engine died: it looks every 5 seconds."""
_MOST_DEATHS = 6
"""In a row without an answer: see `owed.py`, which needs five to find a culprit."""


class Serve(Vllm, use="serve", version=1):
    """A model on this machine behind `vllm serve`, several servers side by side.

    They are started with the stage, asked as `remote` asks, started again when one dies, and end
    with this process, however it ends. What `vllm` answered with the same model serves here too.
    """

    start_seconds: Annotated[float, Volatile, Field(gt=0)] = 1_800.0
    """Longest time for a server to load its weights."""

    @contextmanager
    def open(self) -> Iterator[Session]:
        if find_spec("vllm") is None:
            raise MissingExtra("vllm", "vllm", "the engine `serve`")
        self.place()  # which may make it, once for all servers
        groups = gpu_groups(self.replicas, self.tensor_parallel * self.pipeline_parallel)
        most = self.max_num_seqs * 5 // 4 + 1
        wire = Wire(model=_NAME, chat=False, count=counter(self.tokenizer()))
        with log_folder(self.logs) as logs:
            servers = [
                Server(i, len(groups), gpus, logs, most, self) for i, gpus in enumerate(groups)
            ]
            keeper = Servers(servers, self.start_seconds)
            try:
                with connected(wire, servers, _LIMITS, keeper) as session:
                    yield session
            finally:
                keeper.close()

    def command(self, port: int) -> list[str]:
        """What starts one server."""
        place = self.place()
        options: dict[str, Any] = {
            "model": place,
            "revision": self.revision or None if place == self.model else None,
            "served_model_name": _NAME,
            "host": "127.0.0.1",
            "port": port,
            "dtype": self.dtype,
            "max_model_len": self.max_model_len,
            "tensor_parallel_size": self.tensor_parallel,
            "pipeline_parallel_size": self.pipeline_parallel,
            "gpu_memory_utilization": self.gpu_memory,
            "max_num_seqs": self.max_num_seqs,
            "generation_config": "vllm",  # else a model's own defaults join our sampling
            "stream_interval": _TOKENS_AN_EVENT,
            "disable_uvicorn_access_log": True,
            **(on_cpu_options() if built_for_cpu() else {}),
            **self.options,
        }
        words = [sys.executable, "-W", "ignore", "-m", "vllm.entrypoints.openai.api_server"]
        for name, value in options.items():
            words += _flag(name, value)
        return words


class Server(Throttle):
    """One server, its process, and how to start it."""

    def __init__(
        self, number: int, replicas: int, gpus: str | None, logs: Path, most: int, engine: Serve
    ) -> None:
        super().__init__("", most)
        self.limit = float(most)
        self.engine = engine
        self.log = logs / f"serve-{number}.log"
        self.env = environment(gpus, replicas)
        self.child: Child | None = None
        self.up = False

    def start(self) -> None:
        """Have it begin to load, at a port that is free."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/v1"
        self.up, self.ready_at = False, math.inf
        self.child = Child(self.engine.command(port), self.log, self.env)

    @property
    def dead(self) -> bool:
        return self.child is None or not self.child.alive

    def obituary(self, what: str, also: str = "") -> str:
        """How it ended, its last words, and what next."""
        child = self.child
        told = f"serve: {self.engine.model} {what}"
        if child is None:
            return told
        cause = child.cause()
        why = f"its process {child.end()}" + (f": {cause}" if cause else "")
        lines = [f"{told}: {why}", child.tail(), *([f"  also   {also}"] if also else [])]
        return "\n".join([*lines, f"  next   {advice(cause)}"])


class Servers:
    """Looks after our servers, in the thread in which they are asked."""

    def __init__(self, servers: Sequence[Server], start_seconds: float) -> None:
        self.servers = servers
        self.start_seconds = start_seconds
        self.client: Any = None
        self.watching: asyncio.Task[None] | None = None
        self.deaths = 0

    async def begin(self, client: Any) -> None:
        """Start all, and come back when all answer.

        Raises:
            EngineError: one does not come up.
        """
        self.client = client
        for server in self.servers:
            server.start()
        end = asyncio.get_running_loop().time() + self.start_seconds
        while not all([await self._healthy(server) for server in self.servers]):
            for server in self.servers:
                if server.dead:
                    raise EngineError(server.obituary("did not start"))
            if asyncio.get_running_loop().time() > end:
                late = next(s for s in self.servers if not s.up)
                raise EngineError(late.obituary(f"did not start in {self.start_seconds:g} seconds"))
            await asyncio.sleep(_LOOK_SECONDS)
        self.watching = asyncio.create_task(self._watch())

    async def end(self) -> None:
        """Look after them no more."""
        if self.watching is not None:
            self.watching.cancel()
            await asyncio.gather(self.watching, return_exceptions=True)

    def close(self) -> None:
        for server in self.servers:
            if server.child is not None:
                server.child.stop()

    def answered(self) -> None:
        self.deaths = 0

    async def fell(self, server: Throttle) -> bool:
        if not isinstance(server, Server):
            return False
        child = server.child
        server.ready_at = max(server.ready_at, server.clock() + _DYING_SECONDS)
        for _ in range(int(_DYING_SECONDS / _LOOK_SECONDS)):
            if server.child is not child or server.dead:
                return True
            if await self._healthy(server):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        server.ready_at = server.clock()
        return False

    def obituary(self, server: Throttle, also: str = "") -> str:
        return server.obituary("died", also) if isinstance(server, Server) else ""

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for server in self.servers:
                if server.gone is None and server.dead and not server.busy:
                    self._again(server)
                elif server.gone is None and not server.up:
                    await self._healthy(server)

    def _again(self, server: Server) -> None:
        self.deaths += 1
        told = server.obituary("died")
        log.warning("%s", told)
        if self.deaths >= _MOST_DEATHS:
            for other in self.servers:
                other.gone = told
            return
        if server.child is not None and server.child.ran_out_of_memory():
            server.most = max(1, server.most // 2)
            server.limit = float(server.most)
            log.warning("%s: %d requests at once from now on", server.log.name, server.most)
        server.start()

    async def _healthy(self, server: Server) -> bool:
        import httpx2

        try:
            async with asyncio.timeout(_DYING_SECONDS):
                answer = await self.client.get(server.url.removesuffix("/v1") + "/health")
        except (httpx2.HTTPError, TimeoutError):
            return False
        well = bool(answer.status_code == 200)
        if well and not server.up:
            server.up, server.ready_at, server.troubles = True, 0.0, 0
        return well


def _flag(name: str, value: Any) -> list[str]:
    """An option as vLLM's command line takes it; none where it is None."""
    flag = "--" + name.replace("_", "-")
    if value is None:
        return []
    if isinstance(value, bool):
        return [flag] if value else [f"--no-{flag[2:]}"]
    if isinstance(value, (dict, list)):
        return [flag, json.dumps(value)]
    return [flag, str(value)]
