"""What a merge took from whom: a row a tensor, as a table and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isfinite, prod, sqrt
from pathlib import Path
from typing import Any, Self

import orjson

from tracecraft.errors import StoreError
from tracecraft.merge.operands import Settled

REPORT = "merge.json"


@dataclass(frozen=True, slots=True)
class TensorDelta:
    """What happened to one tensor. Numbers that the method does not know are None."""

    name: str
    shape: tuple[int, ...]
    share: float
    """Part of the weights taken from another model: by the mask, else those that changed."""
    threshold: float | None
    """The least score that took a weight; None also where nothing had importance."""
    kl: float | None
    """Mean over the rows of KL(softmax(other) || softmax(base)), in nats."""
    delta: float
    """Euclidean norm of other - base."""
    moved: float
    """Euclidean norm of merged - base."""
    not_finite: int
    """Merged weights that are NaN or infinite."""

    @classmethod
    def of(cls, name: str, shape: tuple[int, ...], settled: Settled) -> Self:
        """From what the method tells."""
        return cls(
            name,
            shape,
            settled.taken / max(1, prod(shape)),
            settled.threshold if isfinite(settled.threshold) else None,
            settled.kl if isfinite(settled.kl) else None,
            settled.delta,
            settled.moved,
            settled.not_finite,
        )

    @property
    def row(self) -> dict[str, Any]:
        """Its fields by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def weights(self) -> int:
        """Weights in the tensor."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class Report:
    """What a finished merge did."""

    key: str
    """Hash of the models, the method and its options."""
    method: dict[str, Any]
    """Name, version and options."""
    models: tuple[str, ...]
    """Folders; the first is the one merged into."""
    dtype: str
    """Float types of the result."""
    notes: tuple[str, ...]
    tensors: tuple[TensorDelta, ...]

    @property
    def weights(self) -> int:
        """Weights in the model."""
        return sum(tensor.weights for tensor in self.tensors)

    @property
    def share(self) -> float:
        """Part of all weights that was taken."""
        taken = sum(tensor.share * tensor.weights for tensor in self.tensors)
        return taken / max(1, self.weights)

    @property
    def delta(self) -> float:
        """Euclidean norm of other - base over all tensors."""
        return sqrt(sum(tensor.delta**2 for tensor in self.tensors))

    @property
    def moved(self) -> float:
        """Euclidean norm of merged - base over all tensors."""
        return sqrt(sum(tensor.moved**2 for tensor in self.tensors))

    def to_json(self) -> dict[str, Any]:
        """All of it, with the totals."""
        totals = {"weights": self.weights, "share": self.share}
        return {**asdict(self), **totals, "delta": self.delta, "moved": self.moved}

    @classmethod
    def read(cls, root: Path) -> Self:
        """The report of a merged checkpoint.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        try:
            found = orjson.loads((root / REPORT).read_bytes())
            rows = [
                TensorDelta(**{**row, "shape": tuple(row["shape"])}) for row in found["tensors"]
            ]
            return cls(
                found["key"],
                found["method"],
                tuple(found["models"]),
                found["dtype"],
                tuple(found["notes"]),
                tuple(rows),
            )
        except FileNotFoundError:
            raise StoreError(f"{root} has no {REPORT}: no merge ended here") from None
        except (orjson.JSONDecodeError, KeyError, TypeError) as error:
            raise StoreError(f"{root / REPORT} is damaged: {error!r}") from None

    def table(self, *, most: int | None = None) -> str:
        """The tensors as aligned text, those that moved most first, then the total."""
        rows = sorted(self.tensors, key=lambda tensor: (-tensor.moved, tensor.name))[:most]
        head = ("tensor", "shape", "share", "threshold", "KL", "|delta|", "|moved|")
        sums = (f"{self.share:.4f}", "", "", f"{self.delta:.4g}", f"{self.moved:.4g}")
        cells = [head, *map(_cells, rows), ("total", f"{self.weights}", *sums)]
        return _aligned(cells)


def _cells(row: TensorDelta) -> tuple[str, ...]:
    return (
        row.name,
        "x".join(map(str, row.shape)),
        f"{row.share:.4f}",
        "-" if row.threshold is None else f"{row.threshold:.3g}",
        "-" if row.kl is None else f"{row.kl:.3g}",
        f"{row.delta:.4g}",
        f"{row.moved:.4g}",
    )


def _aligned(cells: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]).rstrip())
    return "\n".join(lines)
