"""Is it right: verifiers, the workers and sandboxes they run in, and the stage that asks them."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracecraft.verify.answer import judge_answer
    from tracecraft.verify.verifier import Doubt, Verifier, Verify

__all__ = ["Doubt", "Verifier", "Verify", "judge_answer"]


def __getattr__(name: str) -> Any:
    if name == "judge_answer":
        from tracecraft.verify import answer

        return answer.judge_answer
    if name in __all__:
        from tracecraft.verify import verifier

        return getattr(verifier, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
