"""One checkpoint folder made of several: look, weave, dress, and only then say it is there."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from tracecraft.errors import DataError, StoreError
from tracecraft.merge.delta import REPORT, Report
from tracecraft.merge.dtypes import BY_CODE, FLOATS
from tracecraft.merge.journal import PARTIAL, Journal
from tracecraft.merge.methods import Method
from tracecraft.merge.preflight import Flight, Seam, inspect
from tracecraft.merge.tokens import side_files
from tracecraft.merge.weave import weave
from tracecraft.merge.weights import CONFIG, INDEX, SINGLE, Weights
from tracecraft.plugin import digest
from tracecraft.store import refused, replacing, write_json


def preview(
    models: Sequence[Path], out: Path, method: Method, *, dtype: str | None, threads: int
) -> Flight:
    """What the merge would do and why it may not; nothing is written.

    Raises:
        DataError: a folder that holds no whole checkpoint.
    """
    looked = [Weights.look(model) for model in models]
    return inspect(looked, method, out, FLOATS[dtype] if dtype else None, threads)


def merge_checkpoints(
    models: Sequence[Path],
    out: Path,
    method: Method,
    *,
    dtype: str | None,
    seed: int,
    threads: int,
    told: Callable[[int, int], None],
) -> Report:
    """Merge the folders into `out`, which takes up where a killed merge stopped.

    Raises:
        DataError: the models do not fit together, a weight is not finite, `out` holds other work.
        StoreError: the disk refuses.
    """
    if any(out.resolve() == model.resolve() for model in models):
        raise DataError(f"{out} is one of the models\n  next   name another folder for the result")
    looked = [Weights.look(model) for model in models]
    key = _key(looked, method, dtype, seed)
    if (out / REPORT).exists() and not Journal.left(out):
        report = Report.read(out)
        if report.key == key:
            return report
    flight = inspect(looked, method, out, FLOATS[dtype] if dtype else None, threads)
    flight.check()
    with Journal(out, key) as journal:
        rows = weave(
            looked,
            flight.seams,
            method,
            seed,
            journal,
            threads,
            lambda done: told(done, flight.bytes_out),
        )
        lost = [row.name for row in rows if row.not_finite]
        if lost:
            raise DataError(
                f"{out}: {len(lost)} merged tensors hold weights that are not finite, first"
                f" {lost[0]}\n  next   mode: exact names the model and the place"
            )
        report = Report(
            key=key,
            method={**method.identity(), "dtype": dtype, "seed": seed},
            models=tuple(str(model) for model in models),
            dtype=_float_types(flight.seams),
            notes=flight.notes,
            tensors=tuple(rows),
        )
        _dress(looked[0], flight.seams, report, out)
        journal.end()
    _complete(flight.seams, out)
    return report


def _key(models: Sequence[Weights], method: Method, dtype: str | None, seed: int) -> str:
    """Hash of all that decides the result; a model is known by its files' sizes and times."""
    stats = [
        [[file, *_stat(model.root / file)] for file in (*model.files, CONFIG)] for model in models
    ]
    return digest([method.identity(), dtype, seed, stats], 16)


def _stat(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _float_types(seams: Sequence[Seam]) -> str:
    found = {BY_CODE[seam.code].name for seam in seams if seam.code in BY_CODE}
    return ", ".join(sorted(found))


def _dress(into: Weights, seams: Sequence[Seam], report: Report, out: Path) -> None:
    """Everything beside the weights, then the names of the shards; the index comes last."""
    try:
        for file in side_files(into.root):
            with replacing(out / file.name) as half:
                shutil.copyfile(file, half)
        write_json(out / CONFIG, _config(into, seams, report.dtype))
        write_json(out / REPORT, report.to_json())
        shards = dict.fromkeys(seam.file for seam in seams)
        for shard in shards:
            half = out / f"{shard}{PARTIAL}"
            if half.exists():
                half.replace(out / shard)
        if list(shards) != [SINGLE]:
            total = sum(seam.bytes for seam in seams)
            where = {seam.name: seam.file for seam in sorted(seams, key=lambda seam: seam.name)}
            write_json(out / INDEX, {"metadata": {"total_size": total}, "weight_map": where})
    except OSError as error:
        refused(out, error)


def _config(into: Weights, seams: Sequence[Seam], dtype: str) -> dict[str, Any]:
    """The configuration of `into` with the float type and vocabulary that the result has."""
    config: dict[str, Any] = orjson.loads(json.dumps(into.config))
    parts = [config, *(v for v in config.values() if isinstance(v, dict) and "vocab_size" in v)]
    rows = {
        seam.shape[0] for seam in seams if seam.shape != into.places[seam.name].shape and seam.shape
    }
    for part in parts:
        said = [key for key in ("dtype", "torch_dtype") if key in part]
        for key in said or (["dtype"] if part is config else []):
            part[key] = dtype if "," not in dtype else part.get(key)
        if rows and "vocab_size" in part:
            part["vocab_size"] = min(rows)
    return config


def _complete(seams: Sequence[Seam], out: Path) -> None:
    """Read the headers of what was written: every tensor is there, of its type and shape."""
    found = Weights.look(out).places
    for seam in seams:
        place = found.get(seam.name)
        if place is None or (place.code, place.shape) != (seam.code, seam.shape):
            raise StoreError(f"{out}: {seam.name} is not as it was written: {place}")
