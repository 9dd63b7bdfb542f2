"""What a stage may spend, and what it has spent, over all attempts at it."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tracecraft.store import write_json

SPENT = "spent"
"""Files of this name's kind hold what each process of a stage has spent."""


class Price(BaseModel):
    """What a teacher costs, in US dollars."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    gpu_hour: float = Field(default=0.0, ge=0)
    """An hour of one GPU."""
    prompt: float = Field(default=0.0, ge=0)
    """A million prompt tokens."""
    output: float = Field(default=0.0, ge=0)
    """A million tokens of completions."""

    def usd(self, gpu_hours: float, prompt_tokens: float, output_tokens: float) -> float:
        """The sum."""
        tokens = self.prompt * prompt_tokens + self.output * output_tokens
        return self.gpu_hour * gpu_hours + tokens / 1e6


class Budget(BaseModel):
    """Caps; whichever is reached first ends the stage, with all that was answered kept."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    tokens: float | None = Field(default=None, gt=0)
    """Prompt and output tokens together, of all completions that the stage uses."""
    gpu_hours: float | None = Field(default=None, gt=0)
    """Hours that the engine was open, times its GPUs."""
    usd: float | None = Field(default=None, gt=0)
    """US dollars by `price`."""
    price: Price = Price()
    """What the teacher costs."""
    gpus: int | None = Field(default=None, ge=1)
    """GPUs behind the engine, where that can't be told: behind a remote server; by default 1."""

    @model_validator(mode="after")
    def _priced(self) -> "Budget":
        if self.usd is not None and self.price == Price():
            raise ValueError("usd: what does it cost? say price, as in price: {gpu_hour: 2.5}")
        if (self.tokens, self.gpu_hours, self.usd) == (None, None, None):
            raise ValueError("caps nothing: say tokens, gpu_hours or usd")
        return self


class Purse:
    """Keeps count for one opening of a stage; what other openings spent is read from `folder`."""

    def __init__(self, budget: Budget | None, folder: Path | None, gpus: int) -> None:
        self.budget = budget
        self.gpus = budget.gpus if budget is not None and budget.gpus else gpus
        self.place: Path | None = None
        self.before = 0.0
        self.opened: float | None = None
        self.open_seconds = 0.0
        self.saved = 0.0
        if folder is not None and budget is not None:
            who = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}"
            self.place = folder / f"{SPENT}-{who}.json"
            self.before = sum(
                json.loads(path.read_text())["gpu_seconds"]
                for path in sorted(folder.glob(f"{SPENT}-*.json"))
            )

    @contextmanager
    def running(self) -> Iterator[None]:
        """The engine is open."""
        self.opened = time.monotonic()
        try:
            yield
        finally:
            self.open_seconds += time.monotonic() - self.opened
            self.opened = None
            self._save()

    @property
    def gpu_seconds(self) -> float:
        """Of this opening."""
        now = time.monotonic() - self.opened if self.opened is not None else 0.0
        return self.gpus * (self.open_seconds + now)

    def reached(self, prompt_tokens: float, output_tokens: float) -> str | None:
        """The cap that these tokens and the time so far come to, in words; None while below."""
        if self.budget is None:
            return None
        if time.monotonic() - self.saved > 1:
            self._save()
        budget, hours = self.budget, (self.before + self.gpu_seconds) / 3600
        usd = budget.price.usd(hours, prompt_tokens, output_tokens)
        tokens = prompt_tokens + output_tokens
        for cap, spent, told in (
            (budget.tokens, tokens, "{:,.0f} of {:,.0f} tokens"),
            (budget.gpu_hours, hours, "{:,.4g} of {:,.4g} GPU-hours"),
            (budget.usd, usd, "${:,.2f} of ${:,.2f}"),
        ):
            if cap is not None and spent >= cap:
                return told.format(spent, cap)
        return None

    def _save(self) -> None:
        self.saved = time.monotonic()
        if self.place is not None:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.place, {"gpu_seconds": self.gpu_seconds})
