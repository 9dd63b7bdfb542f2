"""The verifier plug point."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from tracecraft.plugin import Plugin
from tracecraft.schema import Verdict

__all__ = ["Verdict", "Verifier"]


class Verifier(Plugin, kind="verifier"):
    """Decides by the reference answer. Subclass, give it a `use=`, write `judge`."""

    @abstractmethod
    def judge(self, problem: Mapping[str, Any], response: str) -> Verdict:
        """The verdict on one response; `problem` is its row, with `answer` the reference."""


Verifier.known.update(
    {
        "math": "tracecraft.verify.math",
        "code": "tracecraft.verify.code",
        "choice": "tracecraft.verify.choice",
        "quantity": "tracecraft.verify.quantity",
        "judge": "tracecraft.verify.judge",
        "auto": "tracecraft.verify.auto",
    }
)
