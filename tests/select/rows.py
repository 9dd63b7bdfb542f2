"""Small tables for the tests of this room."""

from typing import Any

import polars as pl

from tracecraft.schema import VERDICT


def verdicts(*rows: dict[str, Any]) -> pl.DataFrame:
    """Judged traces with the given cells; the rest is a plain correct trace."""
    filled = []
    for i, row in enumerate(rows):
        plain = {
            "problem_id": "p0",
            "domain": "math",
            "source": "made",
            "license": "CC0",
            "statement": "What is 1+2?",
            "answer": "3",
            "trace_id": f"t{i}",
            "teacher": "made@1",
            "sample_index": i,
            "reasoning": "I add one and two.",
            "response": r"It is $\boxed{3}$.",
            "finish": "stop",
            "prompt_tokens": 5,
            "completion_tokens": 10,
            "outcome": "correct",
            "extracted": "3",
            "verifier": "math@1",
        }
        filled.append({**plain, **row})
    return pl.DataFrame(filled, schema=VERDICT)
