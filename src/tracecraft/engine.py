"""The engine plug point: requests in, completions out as each one finishes.

A simple engine writes `complete` (a batch in, a batch out, in order). One that can hold many
requests at once overrides `stream`, which hands back each completion the moment it is there.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from pydantic import BaseModel, ConfigDict, Field

from tracecraft.errors import BrokenContract
from tracecraft.plugin import Plugin, digest
from tracecraft.schema import Completion

__all__ = ["Completion", "Engine", "Message", "Request", "Sampling", "Session", "request"]


class Sampling(BaseModel):
    """How completions are drawn; part of every completion's key.

    The defaults are what DeepSeek advises for R1 (temperature 0.6, top-p 0.95).
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    temperature: float = Field(default=0.6, ge=0)
    """Softmax temperature; 0 is greedy."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    """Nucleus: the smallest set of tokens whose probability reaches this."""
    top_k: int = Field(default=0, ge=0)
    """Draw from this many tokens; 0 from all."""
    max_tokens: int = Field(default=16_384, gt=0)
    """Most tokens of one completion; one that reaches it has finish `length`."""
    stop: tuple[str, ...] = Field(default=(), strict=False)
    """Texts that end a completion."""
    seed: int = 0
    """What every request's own seed is derived from."""


Message = dict[str, str]
"""`{role, content}`, as chat templates read them."""


@dataclass(frozen=True, slots=True)
class Request:
    """One completion to be drawn."""

    key: str
    """Its key in the completion ledger, hex."""
    prompt: str
    """Rendered text, as `Engine.render` made it."""
    sampling: Sampling
    """With the request's own seed."""
    index: int = 0
    """Which of its problem's samples this is."""


def request(prompt: str, index: int, teacher: str, sampling: Sampling) -> Request:
    """One sample of a problem: its key in the ledger, and its own seed.

    The key holds all that decides a completion and not how it was had, so a teacher at a
    revision is the same behind any engine. The seed hangs on prompt and index alone: no other
    problem, no order and no number of samples can move it.
    """
    key = digest([prompt, teacher, sampling.model_dump(mode="json"), index], 16)
    text = f"{sampling.seed}|{index}|{prompt}".encode()
    seed = int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")
    own = sampling.model_copy(update={"seed": seed >> 1})  # 31 bits: what every engine takes
    return Request(key, prompt, own, index)


class Session(Protocol):
    """An opened teacher."""

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion]]:
        """Each request with its completion, in the order in which they finish."""


class Engine(Plugin, kind="engine"):
    """A teacher that can be opened: weights, a server, or a file of recorded answers."""

    @property
    def teacher(self) -> str:
        """Which model answers, with its revision: part of every completion's key."""
        raise NotImplementedError

    @property
    def via(self) -> str:
        """The engine that does the work, for whoever watches; not part of any key."""
        return self.use

    def render(self, messages: Sequence[Message], opening: str = "") -> str:
        """The prompt text for a chat, ending with `opening` as the start of the answer.

        Part of every completion's key, so it must not need the opened engine.
        """
        return "\n\n".join(m["content"] for m in messages) + opening

    @property
    def gpus(self) -> int:
        """How many GPUs of this machine it takes."""
        return 0

    @property
    def takes_model(self) -> bool:
        """Whether its model is one that another step of the recipe makes."""
        return False

    def with_model(self, home: Path) -> Self:
        """This engine with the model that the step at `home` made, where it takes one."""
        raise BrokenContract(f"{self.use} runs no model of another step")

    @contextmanager
    def open(self) -> Iterator[Session]:
        """Start the teacher; it is stopped at the end of the `with` block.

        Raises:
            EngineError: it cannot be started: where, what, what next.
        """
        yield self

    def complete(self, prompts: Sequence[str], sampling: Sampling) -> Sequence[Completion]:
        """One completion a prompt, in order."""
        raise NotImplementedError

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion]]:
        """Each request with its completion, in the order in which they finish.

        Consume `requests` lazily: it is longer than what should be in flight. An answer may lead
        to new requests, so where it has run dry, ask it again as long as some are in flight. A
        request that can't be answered comes back as a completion that `failed`, with its `error`.

        Raises:
            EngineError: the teacher itself is gone.
        """
        for request in requests:
            (completion,) = self.complete([request.prompt], request.sampling)
            yield request, completion


Engine.known.update(
    {
        "local": "tracecraft.distill.local",
        "vllm": "tracecraft.distill.vllm",
        "transformers": "tracecraft.distill.hf",
        "remote": "tracecraft.distill.remote",
        "serve": "tracecraft.distill.serve",
        "replay": "tracecraft.distill.replay",
    }
)
