"""A server that speaks OpenAI's protocol and misbehaves to order, and keeps count."""

import asyncio
import json
import os
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET

MODEL = "hostile"
MISCHIEF = (
    *("429", "429-seconds", "429-date", "503", "500", "502-page", "reset", "cut", "close"),
    *("hang", "page", "torn", "torn-event", "error-event", "empty"),
)
"""All after which a request has to be asked again."""
HARMLESS = ("whole", "drip", "cut-after-the-end", "no-usage", "comments")
"""Odd ways of a whole answer."""


class Hostile:
    """One server. `plan` says, by request and attempt, what it does instead of answering."""

    def __init__(self, plan: Callable[[str, int], str | None] = lambda prompt, attempt: None):
        self.plan = plan
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.bodies: list[dict] = []
        self.headers: list[str] = []
        self.times: list[float] = []
        self.busy = self.most_busy = 0
        self.most: int | None = None
        """More at once get 429."""
        self.seconds = 0.0
        self.model = MODEL
        self.context: int | None = None
        self.url = ""
        self.listener: asyncio.Server | None = None
        self.tally: Path | None = None
        """Where the names of all that was answered are written, for when the process dies."""

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                text = head.decode("latin-1")
                length = [x for x in text.split("\r\n") if x.lower().startswith("content-length:")]
                body = await reader.readexactly(int(length[0].split(":")[1])) if length else b""
                self.headers.append(text)
                if not await self.reply(text, body, writer):
                    break
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass
        finally:
            writer.close()

    async def reply(self, head: str, body: bytes, writer: asyncio.StreamWriter) -> bool:
        if head.startswith("GET /health "):
            return await say(writer, 200, "")
        if "GET /v1/models" in head:
            model = {"id": self.model, "max_model_len": self.context}
            return await say(writer, 200, json.dumps({"data": [model]}))
        if "/v1/" not in head.split("\r\n")[0]:
            return await say(writer, 404, '{"detail":"Not Found"}')
        told = json.loads(body)
        if told["model"] != self.model:
            error = {"message": f"The model `{told['model']}` does not exist.", "code": 404}
            return await say(writer, 404, json.dumps({"error": error}))
        prompt = told.get("prompt") or told["messages"][0]["content"]
        name = f"{prompt}|{told.get('seed')}"
        self.bodies.append(told)
        self.times.append(time.monotonic())
        self.asked[name] += 1
        if self.most is not None and self.busy >= self.most:
            return await say(writer, 429, "{}")
        self.busy += 1
        self.most_busy = max(self.busy, self.most_busy)
        try:
            await asyncio.sleep(self.seconds)
            return await self.act(self.plan(name, self.asked[name]), name, told, writer)
        finally:
            self.busy -= 1

    async def act(self, deed: str | None, name: str, told: dict, writer) -> bool:
        chat = "messages" in told
        if deed == "exit":
            os._exit(3)
        if deed == "die":
            self.listener.close()
            return reset(writer)
        if deed is None or deed in HARMLESS:
            done = await answer(writer, deed, name, chat=chat)
            self.answered[name] += 1
            if self.tally:
                with self.tally.open("a") as file:
                    file.write(f"{name}\n")
            return done
        return await misbehave(writer, deed, name, chat=chat)


def thought(name: str) -> str:
    return f"thinking of {name} — «ünïcödé»"


def events(name: str, *, chat: bool) -> list[dict]:
    if chat:
        deltas = [{"role": "assistant", "content": ""}]
        deltas += [{"reasoning_content": word} for word in thought(name)]
        deltas += [{"content": f"\\boxed{{{name}}}"}]
        choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
        choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    else:
        texts = [*thought(name), "</think>", f"\\boxed{{{name}}}"]
        choices = [{"index": 0, "text": text, "finish_reason": None} for text in texts]
        choices.append({"index": 0, "text": "", "finish_reason": "stop"})
    return [{"choices": [choice]} for choice in choices]


USAGE = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 11}}


async def answer(writer, how: str | None, name: str, *, chat: bool) -> bool:
    if how == "whole":
        said = {"reasoning_content": thought(name), "content": f"\\boxed{{{name}}}"}
        choice = {"message": said, "finish_reason": "stop"}
        if not chat:
            choice = {"text": f"{thought(name)}</think>\\boxed{{{name}}}", "finish_reason": "stop"}
        whole = {"choices": [choice], "usage": USAGE["usage"]}
        return await say(writer, 200, json.dumps(whole))
    begin(writer)
    told = b""
    for event in events(name, chat=chat):
        told += b": keep-alive\n\n" if how == "comments" else b""
        told += b"data: " + json.dumps(event, ensure_ascii=False).encode() + b"\n\n"
    if how == "cut-after-the-end":
        chunk(writer, told)
        await writer.drain()
        return reset(writer)
    if how != "no-usage":
        told += b"data: " + json.dumps(USAGE).encode() + b"\n\n"
    told += b"data: [DONE]\n\n"
    step = 97 if how == "drip" else len(told)
    for start in range(0, len(told), step):
        chunk(writer, told[start : start + step])
        await writer.drain()
        await asyncio.sleep(0.002 if how == "drip" else 0)
    writer.write(b"0\r\n\r\n")
    await writer.drain()
    return True


async def misbehave(writer, deed: str, name: str, *, chat: bool) -> bool:
    start = events(name, chat=chat)[:5]
    told = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in start)
    if deed == "reset":
        return reset(writer)
    if deed == "hang":
        await asyncio.sleep(3600)
    if deed == "429-long":
        return await say(writer, 429, "{}", more="retry-after: 3600\r\n")
    if deed[:3].isdigit():
        headers = {"429-seconds": "retry-after: 0.2\r\n"}.get(deed, "")
        if deed == "429-date":
            now = time.time()
            headers = f"date: {formatdate(now, usegmt=True)}\r\n"
            headers += f"retry-after: {formatdate(now + 1, usegmt=True)}\r\n"
        kind = "text/html" if "page" in deed else "application/json"
        return await say(writer, int(deed[:3]), "<h1>no</h1>", kind, headers)
    if deed == "page":
        return await say(writer, 200, "<!doctype html><title>Log in</title>", "text/html")
    if deed == "torn":
        return await say(writer, 200, '{"choices": [{"message": {"content": "ha')
    if deed == "echo-key":
        error = {"message": "Incorrect API key provided: sk-very-secret", "code": 401}
        return await say(writer, 401, json.dumps({"error": error}))
    if deed == "refused":
        error = {"message": "maximum context length is 8 tokens", "code": 400}
        return await say(writer, 400, json.dumps({"error": error}))
    begin(writer)
    chunk(writer, told)
    if deed == "torn-event":
        chunk(writer, b'data: {"choices": [{"del\n\n')
    if deed == "error-event":
        chunk(writer, b'data: {"error": {"message": "out of memory", "code": 500}}\n\n')
    await writer.drain()
    await asyncio.sleep(0.01)
    if deed == "cut":
        return reset(writer)
    while deed == "forever":
        chunk(writer, b": still here\n\n")
        await writer.drain()
        await asyncio.sleep(0.02)
    if deed == "silence":
        await asyncio.sleep(3600)
    if deed != "close":
        writer.write(b"0\r\n\r\n")
        await writer.drain()
    return False


def begin(writer) -> None:
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
        b"transfer-encoding: chunked\r\n\r\n"
    )


def chunk(writer, data: bytes) -> None:
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


def reset(writer) -> bool:
    """Not a close but a reset: what was not yet read is lost."""
    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


async def say(writer, status: int, body: str, kind: str = "application/json", more: str = ""):
    data = body.encode()
    writer.write(
        f"HTTP/1.1 {status} Said\r\ncontent-type: {kind}\r\n{more}"
        f"content-length: {len(data)}\r\n\r\n".encode()
        + data
    )
    await writer.drain()
    return True


@contextmanager
def serving(*servers: Hostile) -> Iterator[list[str]]:
    """The servers at addresses of their own, in a thread."""
    loop = asyncio.new_event_loop()
    started: list[asyncio.Server] = []

    async def start() -> None:
        for server in servers:
            started.append(await asyncio.start_server(server.handle, "127.0.0.1", 0))
            server.listener = started[-1]
            server.url = f"http://127.0.0.1:{started[-1].sockets[0].getsockname()[1]}/v1"

    async def stop() -> None:
        for server in started:
            server.close()
        for _ in range(3):  # a connection that was just taken has its task a turn later
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0.02)  # so that transports close before their loop does

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result()
    try:
        yield [server.url for server in servers]
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def alone(port: int, poison: str, tally: str) -> None:
    """One server that is a whole process, and ends with the first request that holds the poison."""
    server = Hostile(lambda name, attempt: "exit" if poison and poison in name else None)
    server.model, server.seconds, server.tally = "teacher", 0.05, Path(tally)
    listener = await asyncio.start_server(server.handle, "127.0.0.1", port)
    await listener.serve_forever()


if __name__ == "__main__":
    asyncio.run(alone(int(sys.argv[1]), *sys.argv[2:]))
