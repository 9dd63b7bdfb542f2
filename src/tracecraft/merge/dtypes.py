"""The four float types of weights, as bits: how wide, how to read them, how to write them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracecraft.errors import UsageError, did_you_mean

Bits = NDArray[np.uint16] | NDArray[np.uint32]
"""Weights as unsigned integers; shifted left by their `Float.shift` they are float32 bits."""


@dataclass(frozen=True, slots=True)
class Float:
    """One float type of weights."""

    name: str
    """As torch, transformers and mergekit spell it."""
    code: str
    """As a safetensors header spells it."""
    raw: str
    """The numpy type of its bits."""
    shift: int | None
    """Left shift that makes float32 bits; None: it must be converted first."""

    @property
    def size(self) -> int:
        """Bytes a weight."""
        return np.dtype(self.raw).itemsize

    def widen(self, raw: NDArray[Any]) -> NDArray[np.uint32]:
        """The same values as float32 bits."""
        if self.name == "float32":
            return raw
        if self.name == "bfloat16":
            return raw.astype(np.uint32) << np.uint32(16)
        return raw.view(np.float16).astype(np.float32).view(np.uint32)

    def narrow(self, bits: NDArray[np.uint32]) -> NDArray[Any]:
        """Float32 bits rounded to this type, to the nearest, ties to even."""
        if self.name == "float32":
            return bits
        if self.name == "float16":
            with np.errstate(over="ignore"):
                return bits.view(np.float32).astype(np.float16).view(np.uint16)
        from tracecraft.merge.kernels import to_bfloat16

        out = np.empty(bits.shape, np.uint16)
        to_bfloat16(bits.reshape(-1), out.reshape(-1))
        return out


FLOATS = {
    f.name: f
    for f in (
        Float("bfloat16", "BF16", "<u2", 16),
        Float("float16", "F16", "<u2", None),
        Float("float32", "F32", "<u4", 0),
    )
}
BY_CODE = {f.code: f for f in FLOATS.values()}


def float_named(name: str) -> Float:
    """The float type of that name, with or without `torch.` before it.

    Raises:
        UsageError: none has it.
    """
    found = FLOATS.get(name.removeprefix("torch."))
    if found is None:
        raise UsageError(f"no float type of weights {name!r}{did_you_mean(name, FLOATS)}")
    return found
