"""Whether checkpoints can be merged, into what, at which cost: known before a byte is written."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from tracecraft.errors import DataError
from tracecraft.merge import tokens
from tracecraft.merge.dtypes import FLOATS, Float
from tracecraft.merge.methods import ArceeFusion, Method
from tracecraft.merge.weights import CODE_BYTES, Place, Weights

EMBEDDINGS = (
    "embed_tokens.weight",
    "lm_head.weight",
    "wte.weight",
    "embed_in.weight",
    "embed_out.weight",
    "word_embeddings.weight",
)
"""Tensors with a row a token: the only ones that may differ in rows."""
HEAD = "lm_head.weight"

WHOLE_BYTES = 1 << 24
"""A tensor up to this size stays in memory through all passes, as its result does."""
RESIDENT = 210 << 20
"""Python, numpy and numba with the compiled kernels (measured: benchmarks/merge.py)."""
EXACT_SECONDS, REFERENCE_SECONDS = 3e-9, 40e-9
"""CPU time of one weight by mode, files in memory (measured: benchmarks/merge.py)."""
DISK_BYTES_A_SECOND = 1e9
"""Assumed of the disk where the files are not in memory."""


@dataclass(frozen=True, slots=True)
class Seam:
    """One tensor of the output and where its operands lie."""

    name: str
    file: str
    """Shard of the output."""
    code: str
    """Element type in the output."""
    shape: tuple[int, ...]
    places: tuple[Place, ...]
    """One a model; the first is the one merged into."""

    @property
    def out(self) -> Float | None:
        """Float type in the output; None: the bytes are copied."""
        return FLOATS_BY_CODE.get(self.code) if self.places[0].kind else None

    @property
    def bytes(self) -> int:
        """Length in the output."""
        return prod(self.shape) * CODE_BYTES[self.code]


FLOATS_BY_CODE = {kind.code: kind for kind in FLOATS.values()}


@dataclass(frozen=True, slots=True)
class Flight:
    """What a merge would do."""

    seams: tuple[Seam, ...]
    problems: tuple[str, ...]
    """Why it cannot be done; empty: it can."""
    notes: tuple[str, ...]
    """What the user should know though it can be done."""
    bytes_out: int
    free: int
    """Bytes free where the output goes."""
    peak: int
    """Resident bytes it will take, estimated."""
    seconds: float
    """Wall time it will take, estimated."""

    def check(self) -> None:
        """Raises DataError with every problem, one a line."""
        if self.problems:
            lines = "\n".join(f"  {problem}" for problem in self.problems)
            raise DataError(f"these models cannot be merged:\n{lines}")


def inspect(
    models: Sequence[Weights], method: Method, out: Path, dtype: Float | None, threads: int
) -> Flight:
    """Compare the models' headers, configurations, tokenizers; look at the disk."""
    into, others = models[0], models[1:]
    problems, notes = [], []
    if not method.fewest <= len(models) <= (method.most or len(models)):
        wanted = f"{method.fewest}" if method.most == method.fewest else f"{method.fewest} or more"
        problems.append(f"{method.use} takes {wanted} models, not {len(models)}")
    for other in others:
        problems += _compare_configs(into, other)
        found, told = _compare_tokenizers(into, other)
        problems += found
        notes += told + _compare_types(into, other) + _compare_ties(into, other)
    if not tokens.has_tokenizer(into.root):
        notes.append(f"{into.root} has no tokenizer, so the result will have none")
    exact = not (isinstance(method, ArceeFusion) and method.mode == "reference")
    seams, found, told = _seams(models, dtype, exact=exact)
    problems += found
    notes += told
    bytes_out = sum(seam.bytes for seam in seams)
    free = shutil.disk_usage(_existing(out)).free
    have = sum(file.stat().st_size for file in out.glob("*") if file.is_file())
    if bytes_out > free + have:
        problems.append(
            f"{out}: the result takes {bytes_out / 1e9:.2f} GB, {free / 1e9:.2f} GB are free there"
        )
    peak, seconds = _cost(seams, threads, EXACT_SECONDS if exact else REFERENCE_SECONDS)
    return Flight(tuple(seams), tuple(problems), tuple(notes), bytes_out, free, peak, seconds)


def _compare_configs(into: Weights, other: Weights) -> list[str]:
    problems = []
    for key in ("model_type", "architectures"):
        mine, theirs = into.config.get(key), other.config.get(key)
        if mine != theirs:
            problems.append(f"{other.root}: {key} is {theirs}, in {into.root} it is {mine}")
    for one in (into, other):
        if "quantization_config" in one.config:
            problems.append(f"{one.root}: its weights are quantized; merge the unquantized model")
    return problems


def _compare_types(into: Weights, other: Weights) -> list[str]:
    mine, theirs = (
        ", ".join(sorted({p.kind.name for p in one.places.values() if p.kind}))
        for one in (into, other)
    )
    return [] if mine == theirs else [f"{other.root} holds {theirs}, {into.root} {mine}"]


def _compare_ties(into: Weights, other: Weights) -> list[str]:
    """Where one has a head of its own and the other uses its embedding."""
    heads = [[n for n in one.places if n.endswith(HEAD)] for one in (into, other)]
    if heads[0] and not heads[1]:
        return [f"{heads[0][0]} is merged with the embedding of {other.root}, which ties the two"]
    if heads[1] and not heads[0]:
        return [f"{heads[1][0]} of {other.root} is left out: {into.root} ties it to its embedding"]
    return []


def _compare_tokenizers(into: Weights, other: Weights) -> tuple[list[str], list[str]]:
    have = [tokens.has_tokenizer(one.root) for one in (into, other)]
    problems, notes = [], []
    if have == [False, True]:
        problems.append(
            f"{into.root}: has no tokenizer, which the result would get from it; {other.root} has"
            " one: copy its tokenizer files there if they belong to both"
        )
    if have == [True, False]:
        notes.append(f"{other.root} has no tokenizer to compare")
    if all(have):
        clash = tokens.disagreement(into.root, other.root)
        if clash:
            problems.append(f"{other.root}: tokenizer is not that of {into.root}: {clash}")
    if tokens.template(into.root) != tokens.template(other.root):
        notes.append(f"chat templates differ; the result has that of {into.root}")
    return problems, notes


def _seams(
    models: Sequence[Weights], dtype: Float | None, *, exact: bool
) -> tuple[list[Seam], list[str], list[str]]:
    into = models[0]
    seams, problems, notes = [], [], []
    for name, place in into.places.items():
        places = [_alias(model, name) for model in models]
        absent = [m.root for m, p in zip(models, places, strict=True) if p is None]
        if absent:
            problems.append(f"{absent[0]}: has no tensor {name}")
            continue
        found = tuple(p for p in places if p is not None)
        kinds = {p.kind for p in found}
        if None in kinds and (len({p.code for p in found}) > 1 or place.code[0] == "F"):
            problems.append(f"{name}: weights of type {', '.join(p.code for p in found)}")
            continue
        shape = place.shape
        if len({p.shape for p in found}) > 1:
            rows = min(p.shape[0] if p.shape else 0 for p in found)
            told = _cropped(name, found, rows, into, exact=exact)
            if told:
                problems.append(told)
                continue
            shape = (rows, *place.shape[1:])
            notes.append(f"{name}: cropped to the {rows} rows that all models have")
        code = dtype.code if dtype and place.kind else place.code
        seams.append(Seam(name, place.file, code, shape, found))
    for model in models[1:]:
        more = [n for n in model.places if n not in into.places and _alias(into, n) is None]
        if more:
            problems.append(
                f"{model.root}: has {len(more)} tensors that {into.root} lacks, first {more[0]}"
            )
    return seams, problems, notes


def _alias(model: Weights, name: str) -> Place | None:
    """A tensor, or for a head tied to the embedding the embedding."""
    if name in model.places or not name.endswith(HEAD):
        return model.places.get(name)
    if not model.config.get("tie_word_embeddings", True):
        return None
    tied = [n for n in model.places if n.endswith(EMBEDDINGS) and not n.endswith(HEAD)]
    return model.places[tied[0]] if len(tied) == 1 else None


def _cropped(
    name: str, places: Sequence[Place], rows: int, into: Weights, *, exact: bool
) -> str | None:
    """Why tensors of unequal shape cannot be cut to their common rows; None: they can."""
    shapes = " and ".join(str(list(p.shape)) for p in places)
    if not name.endswith(EMBEDDINGS) or len({p.shape[1:] for p in places}) > 1:
        return f"{name}: shapes differ: {shapes}"
    if exact:
        known = tokens.vocabulary(into.root)
        if known is None or max(known.values(), default=0) >= rows:
            return f"{name}: shapes differ: {shapes}, and a token's row would be cut off"
    return None


def _cost(seams: Sequence[Seam], threads: int, each: float) -> tuple[int, float]:
    """Peak bytes and seconds, from figures measured with the fusion."""
    weights = sum(prod(seam.shape) for seam in seams)
    read = sum(place.bytes for seam in seams for place in seam.places)
    rows = max((prod(seam.shape[:-1]) for seam in seams), default=0)
    buffers = 3 * threads * min(whole_bytes(threads), max((s.bytes for s in seams), default=0))
    wall = weights * each / max(1, min(threads, os.cpu_count() or 1))
    disk = (read + sum(seam.bytes for seam in seams)) / DISK_BYTES_A_SECOND
    return RESIDENT + buffers + 16 * rows, max(wall, disk)


def whole_bytes(threads: int) -> int:
    """Largest tensor that each of so many threads may hold: their buffers stay at 64 MB."""
    return min(WHOLE_BYTES, (2 * WHOLE_BYTES) // max(1, threads))


def _existing(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path
