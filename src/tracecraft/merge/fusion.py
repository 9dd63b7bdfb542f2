"""Arcee Fusion of one pair of tensors: in a notebook, a test, or a merge of whole checkpoints."""

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from tracecraft.errors import DataError, UsageError, did_you_mean
from tracecraft.merge.dtypes import FLOATS, Float, float_named
from tracecraft.merge.exact import fuse_exact, reached
from tracecraft.merge.operands import Operands, Settled

Mode = Literal["exact", "reference"]
Parts = tuple[NDArray[Any], NDArray[np.bool_], Settled]
"""The bits of the result, the mask, and what was taken."""


@dataclass(frozen=True, slots=True)
class Fused:
    """A fused tensor and what was taken; arrays are of the kind (numpy, torch) that came in."""

    tensor: Any
    """The base, with the other's weights where `mask` is true."""
    mask: Any
    """True where the other's weight was taken."""
    threshold: float
    """The least score that takes the other's weight; infinite where nothing has importance."""
    share: float
    """Part of the weights taken from the other, 0 to 1."""
    kl: float
    """Mean over the rows of KL(softmax(other) || softmax(base)), in nats."""


def fuse(
    base: Any,
    other: Any,
    *,
    mode: Mode = "exact",
    dtype: Any = None,
    seed: int = 0,
    name: str = "tensor",
) -> Fused:
    """The Arcee Fusion of two numpy or torch tensors of one shape.

    `exact` computes the importance without cancellation and the quantiles of the whole tensor;
    `reference` rounds as the reference implementation does, and samples above a million weights
    from `seed`. `dtype` is the result's float type: by default the base's, in reference mode
    float32. `name` is what errors call the tensor.

    Raises:
        UsageError: another mode or float type, or not a pair of tensors.
        DataError: shapes that differ, or in exact mode a weight that is not finite.
    """
    if mode not in get_args(Mode):
        raise UsageError(
            f"no fusion mode {mode!r}{did_you_mean(str(mode), ['exact', 'reference'])}"
        )
    base_kind, base_bits = _bits(base, name)
    other_kind, other_bits = _bits(other, name)
    if base_bits.shape != other_bits.shape:
        raise DataError(f"{name}: base has the shape {base_bits.shape}, other {other_bits.shape}")
    rows, width = flat(base_bits.shape)
    out = _out(dtype) or (base_kind if mode == "exact" else FLOATS["float32"])
    a, b = base_bits.reshape(rows, width), other_bits.reshape(rows, width)
    pair = Operands(name, rows, width, (base_kind, other_kind), lambda i, j: (a[i:j], b[i:j]))
    fused, mask, settled = (_exact if mode == "exact" else _reference)(pair, out, seed)
    return Fused(
        tensor=_like(base, fused.reshape(base_bits.shape), out),
        mask=_mask_like(base, mask.reshape(base_bits.shape)),
        threshold=settled.threshold,
        share=settled.taken / max(1, pair.size),
        kl=settled.kl,
    )


def _exact(pair: Operands, out: Float, _seed: int) -> Parts:
    from tracecraft.merge.kernels import scores

    fused = np.empty((pair.rows, pair.width), np.dtype(out.raw))

    def write(first: int, bits: NDArray[Any]) -> None:
        if bits is not fused:
            fused[first : first + len(bits)] = bits

    spare = fused if out == pair.kinds[0] else None
    choice = fuse_exact(replace(pair, spare=spare), out, write)
    height = np.empty(fused.shape, np.float32)
    scores(*pair.block(0, pair.rows), choice.ready, height)
    return fused, height >= reached(choice.threshold), choice.settled


def _reference(pair: Operands, out: Float, seed: int) -> Parts:
    from tracecraft.merge.reference import fuse_reference, one_thread

    fused = np.empty((pair.rows, pair.width), np.dtype(out.raw))
    mask = np.zeros(fused.shape, np.bool_)

    def write(first: int, bits: NDArray[Any], taken: NDArray[Any]) -> None:
        fused[first : first + len(bits)] = bits
        mask[first : first + len(bits)] = taken != 0

    with one_thread():
        settled = fuse_reference(pair, None, out, seed, write)
    return fused, mask, settled


def flat(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and width of a tensor: its last dimension is a row, a vector is one row."""
    width = shape[-1] if shape else 1
    rows = 1
    for size in shape[:-1]:
        rows *= size
    return rows, width


def _out(dtype: Any) -> Float | None:
    if dtype is None:
        return None
    if isinstance(dtype, str) or type(dtype).__module__ == "torch":
        return float_named(str(dtype))
    return float_named(np.dtype(dtype).name)


def _is_torch(tensor: Any) -> bool:
    return type(tensor).__module__.partition(".")[0] == "torch"


def _bits(tensor: Any, name: str) -> tuple[Float, NDArray[Any]]:
    if _is_torch(tensor):
        from tracecraft.merge.reference import as_bits

        kind = FLOATS.get(str(tensor.dtype).removeprefix("torch."))
        if kind is not None:
            shape = tuple(tensor.shape)
            return kind, as_bits(tensor.detach().cpu().contiguous().reshape(-1)).reshape(shape)
    elif isinstance(tensor, np.ndarray):
        kind = FLOATS.get(tensor.dtype.name)
        if kind is not None:
            flat_bits = np.ascontiguousarray(tensor).reshape(-1).view(kind.raw)
            return kind, flat_bits.reshape(tensor.shape)
    else:
        raise UsageError(
            f"{name}: a {type(tensor).__name__} is neither numpy array nor torch tensor"
        )
    raise UsageError(
        f"{name}: weights of type {tensor.dtype} cannot be fused\n  known: {', '.join(FLOATS)}"
    )


def _like(base: Any, bits: NDArray[Any], out: Float) -> Any:
    if _is_torch(base):
        from tracecraft.merge.reference import as_torch

        return as_torch(bits.reshape(-1), out).reshape(tuple(bits.shape)).to(base.device)
    if base.dtype.name == out.name:
        return bits.view(base.dtype)
    try:
        return bits.view(np.dtype(out.name))
    except TypeError:
        raise UsageError(
            "numpy itself has no bfloat16\n  next   pass torch tensors, or import ml_dtypes first"
        ) from None


def _mask_like(base: Any, mask: NDArray[np.bool_]) -> Any:
    if not _is_torch(base):
        return mask
    import torch

    return torch.from_numpy(mask).to(base.device)
