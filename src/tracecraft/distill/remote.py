"""Any OpenAI-compatible servers, several at once, asked as fast as they take it."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from tracecraft.distill.engine import Engine, Message, Session
from tracecraft.distill.line import Limits, connected
from tracecraft.distill.throttle import Throttle
from tracecraft.distill.weights import content, load_tokenizer, short, templated
from tracecraft.distill.wire import Wire
from tracecraft.errors import EngineError
from tracecraft.plugin import Volatile


class Remote(Engine, use="remote", version=1):
    """A teacher behind HTTP: vLLM, SGLang, llama.cpp, or a service that sells tokens.

    With `tokenizer`, prompts are rendered here and go to the completions endpoint, so the answer
    can be made to begin with the stage's `opening`, and what the offline engines have answered
    with the same model at the same revision is never asked again. Without it, messages go to the
    chat endpoint, the server renders them, and the answer begins as the server likes.
    """

    model: str = Field(min_length=1)
    """The teacher's name, as the server knows it."""
    base_urls: Annotated[tuple[str, ...], Volatile, Field(strict=False, min_length=1)]
    """Addresses that serve it, mostly ending in `/v1`; one text is one address."""
    revision: str = ""
    """Which weights these are, as for `vllm`; a service that does not tell has none."""
    served_as: Annotated[str, Volatile] = ""
    """What the servers call it, where that is not `model`."""
    tokenizer: str = ""
    """A folder or hub id with the teacher's tokenizer and chat template."""
    key_env: Annotated[str, Volatile] = ""
    """The environment variable that holds the key; the key itself has no place in a recipe."""
    extra: dict[str, Any] = Field(default_factory=dict)
    """Further fields of every request (`reasoning_effort`, …), which make another teacher. Null
    takes a field away that a server refuses, as in `{seed: null}`."""
    max_in_flight: Annotated[int, Volatile, Field(gt=0)] = 256
    """Most requests that one server holds; how many it gets is learned from how it answers."""
    tries: Annotated[int, Volatile, Field(gt=0)] = 5
    """Answers to one request that may be lost on the way before it fails."""
    connect_seconds: Annotated[float, Volatile, Field(gt=0)] = 10.0
    """Longest time to reach a server."""
    silence_seconds: Annotated[float, Volatile, Field(gt=0)] = 600.0
    """Longest silence within an answer, the wait for its first word included."""
    answer_seconds: Annotated[float, Volatile, Field(gt=0)] = 7_200.0
    """Longest time for one answer."""
    patience_seconds: Annotated[float, Volatile, Field(gt=0)] = 300.0
    """How long the stage waits while no server can be reached or all ask for time."""

    @field_validator("base_urls", mode="before")
    @classmethod
    def _one_is_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("base_urls")
    @classmethod
    def _are_addresses(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            parts = urlsplit(url)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                raise ValueError("must be addresses such as http://127.0.0.1:8000/v1")
            if parts.username or parts.password or parts.query:
                raise ValueError("a key has no place in an address: name its variable in key_env")
        return tuple(dict.fromkeys(url.rstrip("/") for url in urls))

    def identity(self) -> dict[str, Any]:
        """A tokenizer's folder counts by its content, not by where it lies."""
        folder = Path(self.tokenizer).expanduser()
        told = content(folder.resolve()) if self.tokenizer and folder.is_dir() else self.tokenizer
        return {**super().identity(), "tokenizer": told}

    @property
    def teacher(self) -> str:
        """`model@revision`, and whatever else changes what it says."""
        name = f"{self.model}@{self.revision}" if self.revision else self.model
        return name + "".join(f"+{k}={short(v)}" for k, v in sorted(self.extra.items()))

    def render(self, messages: Sequence[Message], opening: str = "") -> str:
        """The text that the tokenizer's template makes, else the messages as JSON."""
        if self.tokenizer:
            return templated(self._tokenizer(), self.tokenizer, messages, opening)
        return json.dumps(list(messages), ensure_ascii=False)

    def _tokenizer(self) -> Any:
        folder = Path(self.tokenizer).expanduser()
        if folder.is_dir():
            return load_tokenizer(str(folder.resolve()), None)
        return load_tokenizer(self.tokenizer, self.revision or None)

    @contextmanager
    def open(self) -> Iterator[Session]:
        key = os.environ.get(self.key_env, "") if self.key_env else ""
        if self.key_env and not key.strip():
            raise EngineError(
                f"engine.key_env: the environment variable {self.key_env} is not set"
                f"\n  next   export {self.key_env}=…, then run again"
            )
        servers = [Throttle(url, self.max_in_flight) for url in self.base_urls]
        wire = Wire(
            model=self.served_as or self.model,
            chat=not self.tokenizer,
            extra=self.extra,
            count=counter(self._tokenizer()) if self.tokenizer else None,
            answer_seconds=self.answer_seconds,
            secret=key.strip(),
        )
        limits = Limits(
            self.tries, self.patience_seconds, self.connect_seconds, self.silence_seconds
        )
        with connected(wire, servers, limits) as session:
            yield session


def counter(tokenizer: Any) -> Callable[[str], list[int]]:
    """Text to tokens, nothing added."""

    def tokens(text: str) -> list[int]:
        found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    return tokens
