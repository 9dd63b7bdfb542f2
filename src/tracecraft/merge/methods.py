"""Ways to make one tensor of several: the fusion, and what it is compared with.

All arithmetic but the reference fusion's is float32, rounded once to the output's float type.
The first model is the one merged into; the parameters' names and defaults are mergekit's.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import acos, sin, sqrt
from threading import Lock
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from tracecraft.errors import DataError, RecipeError
from tracecraft.merge.dtypes import FLOATS, Float
from tracecraft.merge.operands import Operands, Settled, Values
from tracecraft.merge.quantile import Counts, radix
from tracecraft.plugin import Plugin

OneOrEach = float | Annotated[tuple[float, ...], Field(strict=False)]


@dataclass(frozen=True, slots=True)
class Work:
    """One tensor to merge."""

    operands: Operands
    out: Float
    """Float type of the result."""
    seed: int
    """The plan's seed and the tensor's name, as one number."""
    write: Callable[[int, NDArray[Any]], None]
    """Takes the first row of a block and its bits."""


class Method(Plugin, kind="merge method"):
    """Several tensors in, one out. Subclass, give it a `use=`, write `merge`."""

    fewest: ClassVar[int] = 2
    """Models it needs, the one merged into among them."""
    most: ClassVar[int | None] = None

    @abstractmethod
    def merge(self, work: Work) -> Settled:
        """Write the merged tensor, block by block, the same for any number of threads.

        Raises:
            DataError: a weight that cannot be merged or does not fit the result's float type.
        """


class ArceeFusion(Method, use="arcee_fusion", version=1):
    """The other's weights where they matter most: KL of the rows times the size of the change."""

    most: ClassVar[int | None] = 2
    mode: Literal["exact", "reference"] = "exact"
    """`exact`: stable importance, whole-tensor quantiles; `reference`: as mergekit rounds it."""
    compute: Literal["bfloat16", "float16", "float32"] | None = None
    """Float type of the arithmetic in reference mode; by default that of the weights."""

    def merge(self, work: Work) -> Settled:
        if self.mode == "exact":
            from tracecraft.merge.exact import fuse_exact

            return fuse_exact(work.operands, work.out, work.write).settled
        from tracecraft.merge.reference import fuse_reference

        compute = FLOATS[self.compute] if self.compute else None
        return fuse_reference(
            work.operands,
            compute,
            work.out,
            work.seed,
            lambda first, bits, _: work.write(first, bits),
        )


class Blend(Method):
    """A method that makes each weight from those at its place, and of what `study` learnt."""

    def study(self, operands: Operands) -> Any:
        """What must be known of the whole tensor first."""
        return None

    @abstractmethod
    def blend(self, values: list[Values], studied: Any, rng: np.random.Generator) -> Values:
        """The merged block."""

    def merge(self, work: Work) -> Settled:
        studied = self.study(work.operands)

        def one(first: int, last: int) -> tuple[int, float, float]:
            values = work.operands.values(first, last)
            rng = np.random.default_rng(np.random.SeedSequence((work.seed, first)))
            merged = self.blend(values, studied, rng).astype(np.float32, copy=False)
            bits = work.out.narrow(np.ascontiguousarray(merged).view(np.uint32))
            written = work.out.widen(bits).view(np.float32)
            if not np.isfinite(written).all():
                raise DataError(
                    f"{work.operands.name}: row {first} or one after it merges to a weight that is"
                    f" not finite in {work.out.name}\n  next   look for NaN in the models"
                )
            work.write(first, bits)
            moved = written - values[0]
            delta = values[-1] - values[0] if len(values) < 3 else values[1] - values[0]
            return int(np.count_nonzero(moved)), _square(delta), _square(moved)

        parts = work.operands.each(one)
        return Settled(
            taken=sum(part[0] for part in parts),
            delta=sqrt(sum(part[1] for part in parts)),
            moved=sqrt(sum(part[2] for part in parts)),
        )


class Linear(Blend, use="linear", version=1):
    """The weighted average."""

    weight: OneOrEach = 1.0
    """One for all models, or one each, the one merged into first."""
    normalize: bool = True
    """Divide by the sum of the weights."""

    def blend(self, values: list[Values], studied: Any, rng: np.random.Generator) -> Values:
        weights = _spread(self.weight, len(values), "linear")
        total = sum(weights) if self.normalize else 1.0
        return _weighted(values, [w / total for w in weights])


class Slerp(Blend, use="slerp", version=1):
    """The way along the great circle between two tensors."""

    most: ClassVar[int | None] = 2
    t: float = 0.5
    """0 is the model merged into, 1 the other."""

    def study(self, operands: Operands) -> tuple[float, float]:
        gram = _gram(operands, relative=False)
        lengths = sqrt(gram[0, 0] * gram[1, 1])
        cosine = gram[0, 1] / lengths if lengths > 0 else 1.0
        if abs(cosine) > 0.9995:  # nearly one direction: the chord, as mergekit takes it
            return 1 - self.t, self.t
        angle = acos(cosine)
        return sin((1 - self.t) * angle) / sin(angle), sin(self.t * angle) / sin(angle)

    def blend(self, values: list[Values], studied: Any, rng: np.random.Generator) -> Values:
        return _weighted(values, list(studied))


class TaskArithmetic(Blend, use="task_arithmetic", version=1):
    """The model merged into plus the weighted sum of the others' deltas from it."""

    weight: OneOrEach = 1.0
    """One for all deltas, or one each."""
    normalize: bool = False
    """Divide by the sum of the weights that count."""
    scale: float = Field(default=1.0, alias="lambda")
    """Factor of the sum of deltas."""

    consensus: ClassVar[bool] = False
    """Only deltas of the sign that their sum has count (TIES-Merging, arXiv 2306.01708)."""

    def keep(self, delta: Values, studied: Any, rng: np.random.Generator) -> Values:
        """The delta, thinned."""
        return delta

    def blend(self, values: list[Values], studied: Any, rng: np.random.Generator) -> Values:
        base, others = values[0], values[1:]
        weights = _spread(self.weight, len(others), self.use)
        limits = studied or [None] * len(others)
        deltas = [
            np.float32(w) * self.keep(other - base, limit, rng)
            for w, other, limit in zip(weights, others, limits, strict=True)
        ]
        counts: Any = sum(weights)
        if self.consensus:
            sign = np.where(np.sum(deltas, axis=0) >= 0, np.float32(1), np.float32(-1))
            agree = [np.sign(delta) == sign for delta in deltas]
            deltas = [delta * same for delta, same in zip(deltas, agree, strict=True)]
            counts = _weighted([same.astype(np.float32) for same in agree], weights)
        total = np.sum(deltas, axis=0)
        if self.normalize:
            total /= np.where(np.abs(counts) < 1e-8, np.float32(1), np.float32(counts))
        merged: Values = base + np.float32(self.scale) * total
        return merged


class Ties(TaskArithmetic, use="ties", version=1):
    """Task arithmetic of each delta's largest weights, where they agree in sign."""

    normalize: bool = True
    """Divide by the sum of the weights that count."""
    density: OneOrEach = 1.0
    """Part of each delta that is kept, the largest first; ties at the border are all kept."""

    consensus: ClassVar[bool] = True

    def study(self, operands: Operands) -> list[float]:
        others = len(operands.kinds) - 1
        kept = [int(d * operands.size) for d in _spread(self.density, others, self.use)]
        return [
            0.0
            if keep >= operands.size or not operands.size
            else _largest(operands, model, max(1, keep))
            for model, keep in enumerate(kept, start=1)
        ]

    def keep(self, delta: Values, studied: Any, rng: np.random.Generator) -> Values:
        return np.where(np.abs(delta) >= np.float32(studied), delta, np.float32(0))


class DareLinear(TaskArithmetic, use="dare_linear", version=1):
    """Task arithmetic of deltas thinned at random and scaled up again (arXiv 2311.03099)."""

    density: OneOrEach = 1.0
    """Probability that a weight's delta is kept."""
    rescale: bool = True
    """Divide what is kept by the density, so that the expectation stays."""

    def study(self, operands: Operands) -> list[float]:
        return _spread(self.density, len(operands.kinds) - 1, self.use)

    def keep(self, delta: Values, studied: Any, rng: np.random.Generator) -> Values:
        kept = rng.random(delta.shape, np.float32) < np.float32(studied)
        thinned: Values = delta * kept
        return thinned / np.float32(studied) if self.rescale and studied > 0 else thinned


class DareTies(DareLinear, use="dare_ties", version=1):
    """As `dare_linear`, where the deltas agree in sign."""

    consensus: ClassVar[bool] = True


class ModelStock(Blend, use="model_stock", version=1):
    """The mean of the others, drawn to the base by the angle between them (arXiv 2403.19522)."""

    fewest: ClassVar[int] = 3

    def study(self, operands: Operands) -> float:
        gram = _gram(operands, relative=True)
        n = len(gram)
        lengths = np.sqrt(np.diag(gram))
        pairs = [(i, j) for i in range(n) for j in range(i)]
        if not lengths.all():
            return 1.0
        cosine = sum(gram[i, j] / (lengths[i] * lengths[j]) for i, j in pairs) / len(pairs)
        return float(n * cosine / (1 + (n - 1) * cosine))

    def blend(self, values: list[Values], studied: Any, rng: np.random.Generator) -> Values:
        others = len(values) - 1
        return _weighted(values, [1 - studied, *[studied / others] * others])


class Passthrough(Blend, use="passthrough", version=1):
    """The one model as it is, or scaled."""

    fewest: ClassVar[int] = 1
    most: ClassVar[int | None] = 1
    scale: float = 1.0
    """Factor of every weight."""

    def blend(self, values: list[Values], studied: Any, rng: np.random.Generator) -> Values:
        return values[0] * np.float32(self.scale)


def _spread(value: OneOrEach, models: int, method: str) -> list[float]:
    values = list(value) if isinstance(value, tuple) else [value] * models
    if len(values) != models:
        raise RecipeError(f"{method}: {len(values)} values for {models} models: {values}")
    return values


def _weighted(values: list[Values], weights: list[float]) -> Values:
    total = values[0] * np.float32(weights[0])
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total += value * np.float32(weight)
    return total


def _square(values: Values) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def _gram(operands: Operands, *, relative: bool) -> NDArray[np.float64]:
    """Inner products of all tensors, or relative ones: of the others' deltas from the first."""

    def work(first: int, last: int) -> NDArray[np.float64]:
        values = [value.astype(np.float64).reshape(-1) for value in operands.values(first, last)]
        if relative:
            values = [value - values[0] for value in values[1:]]
        return np.array([[(a * b).sum() for b in values] for a in values])

    return np.sum(operands.each(work), axis=0)  # type: ignore[no-any-return]


def _largest(operands: Operands, model: int, keep: int) -> float:
    """The `keep`-th largest |delta| of one model."""

    def counts(prefix: int) -> Counts:
        total, turn = np.zeros(1 << 16, np.int64), Lock()

        def work(first: int, last: int) -> None:
            values = operands.values(first, last)
            bits = np.abs(values[model] - values[0]).view(np.uint32).reshape(-1)
            bits = bits[bits >> 16 == prefix] & 0xFFFF if prefix >= 0 else bits >> 16
            part = np.bincount(bits, minlength=1 << 16)
            with turn:
                np.add(total, part, out=total)

        operands.each(work)
        return total

    return radix([operands.size - keep], counts)[0]
