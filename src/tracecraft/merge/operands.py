"""The tensors of one name that a merge makes one of, read block by block as rows of bits."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from math import nan
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from tracecraft.merge.dtypes import Float

BLOCK = 1 << 20
"""Weights in a block: a few megabytes, beside which the calls for it cost nothing."""

Result = TypeVar("Result")
Values = NDArray[np.float32]
Block = tuple[NDArray[Any], NDArray[Any], np.uint32, np.uint32]
"""The bits of base and other, and the shifts that make them float32 bits."""


@dataclass(frozen=True, slots=True)
class Operands:
    """Tensors of one shape as rows; the first is the one merged into."""

    name: str
    rows: int
    width: int
    kinds: tuple[Float, ...]
    read: Callable[[int, int], tuple[NDArray[Any], ...]]
    """Rows [first, last) of each, as their types' bits, two-dimensional, not to be written."""
    done: Callable[[int, int], None] | None = None
    """Told the rows that `each` has been through; they may be read again."""
    team: Executor | None = None
    """Who shares the blocks; None: the caller alone."""
    spare: NDArray[Any] | None = None
    """Room for the result in the first's type; None where the operands are not held whole."""

    @property
    def size(self) -> int:
        """Weights a tensor."""
        return self.rows * self.width

    def block(self, first: int, last: int, *, wide: bool = False) -> Block:
        """Rows [first, last) of the first two for the kernels; `wide` makes float32 bits."""
        base, other = self.read(first, last)
        kind = self.kinds[0]
        if wide or kind != self.kinds[1] or kind.shift is None:
            base, other = kind.widen(base), self.kinds[1].widen(other)
            return _sealed(base), _sealed(other), np.uint32(0), np.uint32(0)
        shift = np.uint32(kind.shift)
        return _sealed(base), _sealed(other), shift, shift

    def values(self, first: int, last: int) -> list[Values]:
        """Rows [first, last) of each as float32."""
        bits = self.read(first, last)
        return [
            kind.widen(part).view(np.float32) for kind, part in zip(self.kinds, bits, strict=True)
        ]

    def each(self, work: Callable[[int, int], Result]) -> list[Result]:
        """What `work` gives for the borders of every block of rows, in order.

        The borders depend on the shape alone.
        """
        step = max(1, BLOCK // max(1, self.width))
        firsts = range(0, self.rows, step)
        lasts = [min(self.rows, first + step) for first in firsts]

        def one(first: int, last: int) -> Result:
            found = work(first, last)
            if self.done:
                self.done(first, last)
            return found

        return list((self.team.map if self.team else map)(one, firsts, lasts))


def _sealed(bits: NDArray[Any]) -> NDArray[Any]:
    """Read-only, as what lies in a file is, so that the kernels are compiled once for all."""
    view = bits.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True)
class Settled:
    """What a merge did to one tensor."""

    taken: int
    """Weights taken from another model: by a fusion's mask, else those that changed."""
    delta: float
    """Euclidean norm of other - base; of the first other where there are several."""
    moved: float
    """Euclidean norm of merged - base."""
    threshold: float = nan
    """The least score that takes the other's weight; infinite where nothing has importance, NaN
    where the method knows no score."""
    kl: float = nan
    """Mean importance of the rows, in nats; NaN likewise."""
    not_finite: int = 0
    """Merged weights that are NaN or infinite."""
