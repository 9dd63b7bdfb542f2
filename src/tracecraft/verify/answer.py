"""One answer, one verdict: the verifiers as a function."""

import atexit
import time
from dataclasses import replace
from functools import cache
from typing import Any

from tracecraft.schema import Verdict
from tracecraft.verify.bench import Bench
from tracecraft.verify.verifier import Verifier

__all__ = ["judge_answer"]


def judge_answer(
    reference: str | None, response: str | None, use: str = "math", **options: Any
) -> Verdict:
    """The verdict on one response, guarded as in a run: it never hangs and never raises.

    Args:
        reference: the reference answer.
        response: a final answer, or a whole response with its thought.
        use: the verifier's name.
        options: its options.

    Raises:
        RecipeError: no such option.
        UnknownPlugin: no such verifier.
    """
    verifier = Verifier.bind({"use": use, **options}, f"verifier {use!r}:")
    row = {"answer": reference, "response": response}
    start = time.perf_counter()
    verdict = _bench().verdicts([verifier.chosen(row)], [row])[0]
    return replace(verdict, seconds=time.perf_counter() - start)


@cache
def _bench() -> Bench:
    bench = Bench(workers=1)
    atexit.register(bench.close)
    return bench
