"""The tables that flow, and their enums; one row is a Problem, a Trace, a Verdict or an Example.

Ids are blake2b in hex, times are seconds, every text is UTF-8. A schema lists the columns a
table must have; others pass through a stage untouched.
"""

from dataclasses import dataclass

import polars as pl

DOMAINS = ("math", "code", "science", "logic", "chat")
OUTCOMES = ("correct", "incorrect", "unverifiable", "failed")
FINISHES = ("stop", "length", "failed")

DOMAIN = pl.Enum(DOMAINS)
OUTCOME = pl.Enum(OUTCOMES)
FINISH = pl.Enum(FINISHES)

QUESTION = pl.Schema(
    {
        "source": pl.String(),
        "license": pl.String(),
        "statement": pl.String(),
        "answer": pl.String(),
    }
)
"""What a Source yields: a problem before `normalize` gives it its id and its domain."""

PROBLEM = pl.Schema({"problem_id": pl.String(), "domain": DOMAIN, **QUESTION})
"""Optional columns of a problem, never required: see `OPTIONAL`."""

OPTIONAL = pl.Schema(
    {
        "tests": pl.String(),
        "choices": pl.List(pl.String()),
        "solution": pl.String(),
        "difficulty": pl.Float32(),
    }
)
"""Heavy or rare columns. They stay with the problem and are joined by `problem_id` where a
stage needs them. `tests` is JSON text in one of the formats that `verify/code.py` names."""

TRACE = pl.Schema(
    {
        **PROBLEM,
        "trace_id": pl.String(),
        "teacher": pl.String(),
        "sample_index": pl.Int16(),
        "reasoning": pl.String(),
        "response": pl.String(),
        "finish": FINISH,
        "prompt_tokens": pl.Int32(),
        "completion_tokens": pl.Int32(),
    }
)

OPINION = pl.Schema(
    {
        "outcome": OUTCOME,
        "extracted": pl.String(),
        "detail": pl.String(),
        "verifier": pl.String(),
    }
)
"""What `verify` adds to a trace."""

VERDICT = pl.Schema({**TRACE, **OPINION})

MESSAGES = pl.List(pl.Struct({"role": pl.String(), "content": pl.String()}))

EXAMPLE = pl.Schema(
    {
        "example_id": pl.String(),
        "problem_id": pl.String(),
        "trace_id": pl.String(),
        "domain": DOMAIN,
        "source": pl.String(),
        "license": pl.String(),
        "messages": MESSAGES,
        "tokens": pl.Int32(),
    }
)
"""One SFT row. `messages` holds the chain of thought inline: `<think>\\n…\\n</think>\\n\\n…`."""

SCORE = pl.Schema(
    {
        "benchmark": pl.String(),
        "model": pl.String(),
        "metric": pl.String(),
        "value": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "stderr": pl.Float64(),
        "stderr_problem": pl.Float64(),
        "problems": pl.Int32(),
        "samples": pl.Int32(),
    }
)
"""One metric of a model on a benchmark; `low` to `high` is its 95% interval over problems,
`stderr` the noise of the samples, `stderr_problem` that of problems and samples together."""

DROPPED = "dropped"
"""The column in which a stage names the rule that drops a row; null keeps it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a verifier says of one response. A verifier never raises for a bad response."""

    outcome: str
    """One of `OUTCOMES`."""
    extracted: str | None = None
    """The answer as read out of the response."""
    detail: str | None = None
    """The rule that decided, or the reason why nothing could be decided."""
    span: tuple[int, int] | None = None
    """Where `extracted` stands in the response, as character offsets [start, end)."""
    seconds: float | None = None
    """Wall time of the verdict."""


@dataclass(frozen=True, slots=True)
class Completion:
    """The raw text an engine returned for one request."""

    text: str
    finish: str
    """One of `FINISHES`."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None
    """Why `finish` is `failed`."""
