"""What is said over HTTP to an OpenAI-compatible server, and how its answer is read."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import orjson

from tracecraft.distill.engine import Completion, Request
from tracecraft.think import CLOSE, OPEN, join

_SHOWN = 300
"""Characters of a server's own words that an error repeats."""
_MOST_BYTES = 64 << 20
"""Of an answer that comes whole: forty times the longest that any teacher gives."""
_USAGE_SECONDS = 10.0
"""What an answer that is finished still waits for its token counts."""
_LONGEST_PAUSE = 1e9
"""Seconds: a server that asks for more means something else."""
_FINISHES = {
    "stop": "stop",
    "eos": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why no completion came.

    `refused`: this request will never be answered. `broken`: this answer was lost, another may
    come. `wait`: the server asks for time. `away`: it can't be reached. `closed`: it will answer
    no request of ours.
    """

    kind: Literal["refused", "broken", "wait", "away", "closed"]
    why: str
    seconds: float | None = None
    """For `wait`: how long, where the server says so."""


@dataclass(frozen=True, slots=True)
class Wire:
    """How requests are put, the same for each server of a teacher."""

    model: str
    """As the servers call it."""
    chat: bool
    """Prompts are messages in JSON, for the chat endpoint; else text that is rendered already."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of each request; one that is None takes a field of ours away."""
    count: Callable[[str], list[int]] | None = None
    """The teacher's tokenizer, where it is here."""
    answer_seconds: float = 7_200.0
    """Longest time for one answer."""
    secret: str = field(default="", repr=False)
    """The key, so that no server's words repeat it."""

    @property
    def path(self) -> str:
        return "/chat/completions" if self.chat else "/completions"

    def body(self, request: Request, context: int | None = None) -> dict[str, Any] | Completion:
        """What is posted; a failed completion where the prompt leaves no room in `context`."""
        sampling = request.sampling
        room = sampling.max_tokens
        asked: dict[str, Any]
        if self.chat:
            asked = _messages(request.prompt)
        elif self.count is None:
            asked = {"prompt": request.prompt, "skip_special_tokens": False}
        else:
            # Tokens and not text: a server would put a second begin-of-text before a text.
            tokens = self.count(request.prompt)
            if context is not None and len(tokens) >= context:
                why = f"the prompt of {len(tokens)} tokens leaves no room in {context}"
                return Completion("", "failed", len(tokens), error=why)
            room = min(room, context - len(tokens)) if context is not None else room
            asked = {"prompt": tokens, "skip_special_tokens": False}
        asked |= {
            "model": self.model,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": room,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.top_k:
            asked["top_k"] = sampling.top_k
        if sampling.stop:
            asked["stop"] = list(sampling.stop)
        return {k: v for k, v in {**asked, **self.extra}.items() if v is not None}

    def tell(self, text: str) -> str:
        """A server's own words, short, on one line, and without the key."""
        if self.secret:
            text = text.replace(self.secret, "…")
        text = " ".join(text.split())
        return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"

    async def ask(self, client: Any, base: str, body: Mapping[str, Any]) -> Completion | Trouble:
        """One request to one server, read to its end."""
        import httpx2

        answer = Answer(self, continues=bool(body.get("continue_final_message")))
        data = orjson.dumps(body)
        try:
            async with (
                asyncio.timeout(self.answer_seconds) as limit,
                client.stream("POST", base + self.path, content=data) as response,
            ):
                if response.status_code != 200:
                    return self._declined(response, await _start(response))
                await answer.read(response, limit)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            return Trouble("away", self.tell(str(error) or type(error).__name__))
        except TimeoutError:
            answer.cut(f"no answer in {self.answer_seconds:,g} seconds")
        except httpx2.ReadTimeout:
            answer.cut("the server fell silent in mid-answer")
        except httpx2.HTTPError as error:
            answer.cut(self.tell(f"the connection was cut: {error or type(error).__name__}"))
        return answer.result()

    def _declined(self, response: Any, start: bytes) -> Trouble:
        status: int = response.status_code
        said = self.tell(_message(start) or response.reason_phrase)
        return declined(status, f"{status} {said}".strip(), retry_after(response.headers))


def declined(status: int, why: str, seconds: float | None = None) -> Trouble:
    """What a status that is not 200 means for the request and for its server."""
    if status in {401, 402, 403, 404, 405, 410} or 300 <= status < 400:
        return Trouble("closed", why)
    if status == 429 and "insufficient_quota" in why:
        return Trouble("closed", why)
    if status in {425, 429, 503, 529} or (status >= 500 and seconds is not None):
        return Trouble("wait", why, seconds)
    if 400 <= status < 500 and status not in {408, 409, 421, 499}:
        return Trouble("refused", why)
    return Trouble("broken", why)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a server asks to be left alone (RFC 9110 §10.2.3: seconds, or a date).

    A date is read against the server's own clock where the answer tells it.
    """
    told = headers.get("retry-after", "").strip()
    if not told:
        return None
    try:
        return max(0.0, float(told)) if float(told) < _LONGEST_PAUSE else None
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(told).timestamp()
        now = headers.get("date", "").strip()
        return max(0.0, until - (parsedate_to_datetime(now).timestamp() if now else time.time()))
    except (ValueError, OverflowError):
        return None


class Answer:
    """One answer as it arrives, in events or whole."""

    def __init__(self, wire: Wire, *, continues: bool = False) -> None:
        self.wire = wire
        self.continues = continues
        """What comes goes on where another answer was cut off, maybe in its thought."""
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.pieces = 0
        self.finish: str | None = None
        self.usage: Mapping[str, Any] = {}
        self.ended = False
        self.trouble: Trouble | None = None

    async def read(self, response: Any, limit: asyncio.Timeout) -> None:
        """Take all that comes, until the answer is whole or can't become so."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            self.take(await _start(response, _MOST_BYTES))
            return
        if kind.startswith("text/html"):
            told = self.wire.tell((await _start(response)).decode("utf-8", "replace"))
            self.trouble = Trouble("broken", f"a web page instead of an answer: {told}")
            return
        async for line in _lines(response):
            if line.startswith(b"data:"):
                self.take(line[5:].strip())
            if self.ended or self.trouble is not None:
                return
            if self.finish is not None and limit.when() is not None:
                limit.reschedule(asyncio.get_running_loop().time() + _USAGE_SECONDS)

    def take(self, data: bytes) -> None:
        """One event, or a whole answer."""
        if data == b"[DONE]":
            self.ended = True
            return
        try:
            told = orjson.loads(data)
        except orjson.JSONDecodeError:
            told = None
        if not isinstance(told, dict):
            said = self.wire.tell(data[:_SHOWN].decode("utf-8", "replace"))
            self.cut(f"not the JSON of an answer: {said!r}")
            return
        if told.get("error"):
            self.trouble = self._error(told["error"])
            return
        if isinstance(told.get("usage"), dict):
            self.usage = told["usage"]
        choices = told.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._add(choice)

    def _add(self, choice: Mapping[str, Any]) -> None:
        said = choice.get("delta") or choice.get("message") or choice
        if isinstance(said, dict):
            thought = _text(said, "reasoning_content") or _text(said, "reasoning")
            text = _text(said, "content") or _text(said, "text")
            self.pieces += bool(thought or text)
            self.reasoning.append(thought)
            self.content.append(text)
        if isinstance(choice.get("finish_reason"), str):
            self.finish = choice["finish_reason"]

    def _error(self, told: Any) -> Trouble:
        message = told.get("message") if isinstance(told, dict) else told
        code = told.get("code") if isinstance(told, dict) else None
        why = f"in mid-answer: {self.wire.tell(str(message))}"
        return declined(code if isinstance(code, int) else 500, why)

    def cut(self, why: str) -> None:
        """What came is no longer trusted, unless the answer had ended already."""
        if self.finish is None and self.trouble is None:
            self.trouble = Trouble("broken", why)

    @property
    def text(self) -> str:
        """Thought and response in the one form that `think.split` reads."""
        thought, content = "".join(self.reasoning), "".join(self.content)
        if not thought:
            return content
        cut = not content and self.finish is not None and _FINISHES.get(self.finish) == "length"
        if self.continues:  # to the letter, since what was there before is joined to it
            return thought if cut else f"{thought}\n{CLOSE}\n\n{content}"
        return f"{OPEN}\n{thought}" if cut else join(thought, content)

    def result(self) -> Completion | Trouble:
        if self.trouble is not None and self.finish is None:
            return self.trouble
        if self.finish is None:
            return Trouble("broken", "the answer stops without an end")
        if self.finish in {"abort", "error"}:
            return Trouble("broken", f"the server ended it: {self.finish}")
        known = _FINISHES.get(self.finish)
        return Completion(
            self.text,
            known or "failed",
            _count(self.usage, "prompt_tokens"),
            _count(self.usage, "completion_tokens") or self._counted(),
            None if known else f"the server ended it: {self.finish}",
        )

    def _counted(self) -> int:
        """Tokens of an answer whose server does not tell; an event is one, on most servers."""
        return len(self.wire.count(self.text)) if self.wire.count else self.pieces


def _messages(prompt: str) -> dict[str, Any]:
    """The chat that `Remote.render` wrote; text after it is the beginning of the answer.

    A server goes on with it only where it knows these two fields of vLLM's, and refuses else.
    """
    messages, end = json.JSONDecoder().raw_decode(prompt)
    if end == len(prompt):
        return {"messages": messages}
    return {
        "messages": [*messages, {"role": "assistant", "content": prompt[end:]}],
        "add_generation_prompt": False,
        "continue_final_message": True,
    }


def _text(told: Mapping[str, Any], name: str) -> str:
    found = told.get(name)
    return found if isinstance(found, str) else ""


def _count(usage: Mapping[str, Any], name: str) -> int:
    found = usage.get(name)
    return found if isinstance(found, int) and found > 0 else 0


def _message(start: bytes) -> str:
    """What an error's body says: OpenAI's form, vLLM's, FastAPI's, or plain text."""
    try:
        told = orjson.loads(start)
    except orjson.JSONDecodeError:
        return start.decode("utf-8", "replace")
    error = told.get("error", told) if isinstance(told, dict) else told
    if not isinstance(error, dict):
        return str(error)
    said = str(error.get("message") or error.get("detail") or error)
    code = error.get("code")
    return f"{said} ({code})" if isinstance(code, str) else said


async def _start(response: Any, most: int = 1 << 14) -> bytes:
    found = bytearray()
    async for piece in response.aiter_bytes():
        found += piece
        if len(found) >= most:
            break
    return bytes(found)


async def _lines(response: Any) -> AsyncIterator[bytes]:
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest
