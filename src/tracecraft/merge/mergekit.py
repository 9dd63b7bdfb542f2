"""A mergekit configuration, read as a merge of ours; what ours cannot do is an error."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tracecraft import yaml
from tracecraft.errors import RecipeError, did_you_mean
from tracecraft.merge.fold import Merge

KNOWN = {"merge_method", "base_model", "models", "slices", "dtype", "out_dtype", "parameters"}
KNOWN |= {"tokenizer_source", "tokenizer"}
FROM_BASE = {"task_arithmetic", "ties", "dare_linear", "dare_ties", "model_stock"}
"""Methods that take deltas from the base, which itself has no parameters."""
OURS = FROM_BASE | {"arcee_fusion", "linear", "slerp", "passthrough"}
EACH = {"weight", "density"}
"""Parameters that a model may have of its own."""
WITHOUT_EFFECT = {"int8_mask"}
"""Parameters that only say how mergekit keeps its masks in memory."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A merge that a mergekit file describes."""

    merge: Merge
    models: tuple[Path, ...]
    """Folders as they stand in the file, the one merged into first."""


def read_mergekit(path: Path, *, mode: str | None = None) -> Foreign:
    """The merge that the file describes.

    `mode` is that of a fusion, which a mergekit file cannot say; by default exact. The result's
    float type is `out_dtype`, else `dtype`. In reference mode `dtype` is the float type of the
    arithmetic, and the result is float32 where no `out_dtype` is named, as mergekit writes it.

    Raises:
        RecipeError: not a mergekit configuration, or one that asks for what ours cannot do.
    """
    raw = yaml.load(path, RecipeError)
    if not isinstance(raw, Mapping) or "merge_method" not in raw:
        raise RecipeError(f"{path}: names no merge_method, so it is no mergekit configuration")
    for key in raw:
        if key not in KNOWN:
            raise RecipeError(f"{path}: {key} is not supported{did_you_mean(str(key), KNOWN)}")
    use = str(raw["merge_method"])
    if use not in OURS:
        raise RecipeError(f"{path}: merge_method {use!r} is none of ours{did_you_mean(use, OURS)}")
    own = _models(raw, path)
    models = _order(use, raw.get("base_model"), list(own), path)
    givers = models[1:] if use in FROM_BASE else models
    options = _options(raw.get("parameters"), own, givers, path)
    _keeps_tokenizer(raw, models[0], path)
    compute, dtype = raw.get("dtype"), raw.get("out_dtype") or raw.get("dtype")
    if mode is not None:
        options["mode"] = mode
    if mode == "reference":  # the mask is float32, and so is what it multiplies
        options["compute"], dtype = compute, raw.get("out_dtype") or "float32"
    merge = {"method": {"use": use, **options}, "dtype": dtype}
    return Foreign(Merge.bind(merge, f"{path}:"), tuple(Path(model) for model in models))


def _models(raw: Mapping[str, Any], path: Path) -> dict[str, Mapping[str, Any]]:
    """The models in the file's order, each with its own parameters."""
    entries, layers = raw.get("models"), None
    if raw.get("slices"):
        if entries or len(raw["slices"]) > 1:
            raise RecipeError(
                f"{path}: slices: layers of several models are not stacked here; one slice over"
                " all layers can be merged"
            )
        entries = raw["slices"][0].get("sources")
        ranges = {tuple(entry.get("layer_range") or ()) for entry in entries}
        layers = ranges.pop() if len(ranges) == 1 else ()
        if len(layers) != 2 or layers[0] != 0:
            raise RecipeError(
                f"{path}: slices: all sources need one layer_range, from 0 to the last"
            )
    if not isinstance(entries, Sequence) or not all(isinstance(e, Mapping) for e in entries):
        raise RecipeError(f"{path}: names no models")
    for entry in entries:
        odd = entry.keys() - {"model", "parameters", *(["layer_range"] if layers else [])}
        if odd or not isinstance(entry.get("model"), str):
            raise RecipeError(f"{path}: models: {dict(entry)} is not supported: a name is expected")
        _all_layers(Path(entry["model"]), layers, path)
    return {entry["model"]: entry.get("parameters") or {} for entry in entries}


def _all_layers(model: Path, layers: tuple[int, int] | None, path: Path) -> None:
    if layers is None or not (model / "config.json").exists():
        return
    found = orjson.loads((model / "config.json").read_bytes()).get("num_hidden_layers")
    if found is not None and layers[1] != found:
        raise RecipeError(
            f"{path}: slices: layers {layers[0]} to {layers[1]} are not all {found} of {model}"
        )


def _order(use: str, base: Any, listed: list[str], path: Path) -> list[str]:
    """The model merged into, then the others."""
    if base is None:
        if use in FROM_BASE | {"arcee_fusion", "slerp"}:
            raise RecipeError(f"{path}: {use} needs a base_model")
        return listed
    if use in {"linear", "passthrough"} and base not in listed:
        raise RecipeError(f"{path}: base_model is not among the models, so {use} would ignore it")
    return [str(base), *(model for model in listed if model != base)]


def _options(
    shared: Any, own: Mapping[str, Mapping[str, Any]], givers: Sequence[str], path: Path
) -> dict[str, Any]:
    """The method's options: those for all, and one value a giving model where they have own."""
    options = {k: _plain(v, k, path) for k, v in (shared or {}).items() if k not in WITHOUT_EFFECT}
    kinds = sorted({key for name in givers for key in own.get(name, {})} - WITHOUT_EFFECT)
    for key in kinds:
        values = [own.get(name, {}).get(key, options.get(key)) for name in givers]
        if key not in EACH:
            if len(givers) > 1:
                raise RecipeError(f"{path}: parameter {key} cannot differ between models")
            options[key] = _plain(values[0], key, path)
        elif None in values:
            missing = givers[values.index(None)]
            raise RecipeError(f"{path}: {missing} has no {key}, though others have")
        else:
            options[key] = [_plain(value, key, path) for value in values]
    return options


def _plain(value: Any, key: str, path: Path) -> Any:
    """One number or flag; mergekit also knows gradients over the layers and name filters."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, Mapping) and set(value) == {"value"}:
        value = value["value"]
    if isinstance(value, list | Mapping):
        raise RecipeError(f"{path}: {key}: values that differ by layer or tensor are not supported")
    return value


def _keeps_tokenizer(raw: Mapping[str, Any], base: str, path: Path) -> None:
    """The result has the tokenizer of the model merged into, and no other."""
    tokenizer = raw.get("tokenizer") or {}
    source = raw.get("tokenizer_source") or tokenizer.get("source") or "base"
    if source not in ("base", base) or set(tokenizer) - {"source"}:
        raise RecipeError(
            f"{path}: the result has the tokenizer of {base}; another, or a union, is not supported"
        )
