"""How many samples a problem gets, and what becomes of a truncated one: pure decisions."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tracecraft.engine import Completion, Request, Sampling, request
from tracecraft.stage import Stage


class Adaptive(BaseModel):
    """Samples one after the other, until enough of a problem's traces are verified.

    Which samples a problem gets hangs on their verdicts alone, taken in order, so the rows are
    the same however fast or slow the answers come.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    target: int = Field(default=1, ge=1)
    """Correct traces wanted."""
    at_most: int = Field(ge=1, le=32_767)
    """Samples tried; a problem that can't reach its target any more is given up before."""
    judge: Stage
    """Who verifies as it goes: a `verify` stage; in a recipe, by default the one that reads the
    traces."""

    def wanted(self, asked: int, correct: int) -> int:
        """How many more samples to ask for, with `correct` of `asked` verified."""
        short, left = self.target - correct, self.at_most - asked
        return 0 if short <= 0 or short > left else short


class Truncation(BaseModel):
    """What is done about an answer that reached `max_tokens`; in a recipe, its name may do."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    do: Literal["keep", "retry", "continue"] = "keep"
    """`retry` asks for it anew with more room, `continue` for what comes after it."""
    max_tokens: int | None = Field(default=None, gt=0)
    """Room of the next try, or of each continuation; by default twice the last, or as much."""
    times: int = Field(default=1, ge=1)
    """How often."""

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, value: Any) -> Any:
        return {"do": value} if isinstance(value, str) else value

    def follow(
        self, asked: list[Request], said: Completion, teacher: str, sampling: Sampling
    ) -> Request | None:
        """The request after a truncated answer to the last of `asked`; None: it stays."""
        if self.do == "keep" or said.finish != "length" or len(asked) > self.times:
            return None
        last = asked[-1]
        if self.do == "retry":
            room = self.max_tokens or 2 * last.sampling.max_tokens
            prompt = last.prompt
        else:
            room = self.max_tokens or sampling.max_tokens
            prompt = last.prompt + said.text
        more = sampling.model_copy(update={"max_tokens": room})
        return request(prompt, last.index, teacher, more)

    def whole(self, said: list[Completion]) -> Completion:
        """One completion of what was said to a request and to those that followed it."""
        if self.do != "continue" or len(said) == 1:
            return said[-1]
        return Completion(
            "".join(one.text for one in said),
            said[-1].finish,
            said[0].prompt_tokens,
            sum(one.completion_tokens for one in said),
            said[-1].error,
        )
