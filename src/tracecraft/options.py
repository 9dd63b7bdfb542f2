"""A plugin's options as a recipe states them: files found, seeds filled in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from tracecraft.errors import RecipeError, UnknownPlugin
from tracecraft.plugin import MayBeFile, Plugin, models_in


def ready(
    point: type[Plugin], options: Mapping[str, Any], path: Path, where: str, seed: int
) -> dict[str, Any]:
    """Options with their files found and the recipe's seed where a plugin wants one."""
    try:
        chosen = point.named(options["use"]) if "use" in options else point
    except UnknownPlugin as error:
        raise RecipeError(f"{where}: {error}") from None
    return {**options, **_filled(chosen, options, path, where, seed)}


def _filled(
    model: type[BaseModel], options: Mapping[str, Any], path: Path, where: str, seed: int
) -> dict[str, Any]:
    filled: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        inner = next(models_in(field.annotation), None)
        value = options.get(name)
        if name == "seed" and name not in options:
            filled[name] = seed
        elif value is not None and MayBeFile in field.metadata:
            filled[name] = _known_or_file(value, path, f"{where}.{name}")
        elif value is not None and _holds_path(field.annotation):
            filled[name] = _files(value, path, f"{where}.{name}")
        elif inner is not None and isinstance(value, Mapping):
            if issubclass(inner, Plugin) and not inner.use:
                filled[name] = ready(inner, value, path, f"{where}.{name}", seed)
            else:
                filled[name] = {**value, **_filled(inner, value, path, f"{where}.{name}", seed)}
        elif inner is not None and name not in options and "seed" in inner.model_fields:
            filled[name] = {"seed": seed}
    return filled


def _files(value: Any, path: Path, where: str) -> Any:
    if isinstance(value, (str, Path)):
        return found(str(value), path, where)
    if isinstance(value, (list, tuple)):
        return [_files(one, path, where) for one in value]
    return value


def _known_or_file(value: Any, path: Path, where: str) -> Any:
    """Names stay as they are; what lies where files are looked for becomes its whole path."""
    if isinstance(value, (list, tuple)):
        return [_known_or_file(one, path, where) for one in value]
    try:
        return str(found(value, path, where))
    except RecipeError:
        return value


def found(text: Any, path: Path, where: str) -> Path:
    """A file named in a recipe: beside the recipe, in the folders above it, or from here."""
    where = where if where.startswith(str(path)) else f"{path}: {where}"
    if not isinstance(text, str):
        raise RecipeError(f"{where}: must be a path, not {text!r}")
    wanted = Path(text).expanduser()
    home = path.resolve().parent
    folders = [home, *list(home.parents)[:2], Path.cwd()]
    for folder in folders if not wanted.is_absolute() else [Path("/")]:
        candidate = folder / wanted
        if candidate.exists() or (_pattern(text) and any(folder.glob(_below(wanted, folder)))):
            return candidate if candidate.is_absolute() else candidate.absolute()
    looked = ", ".join(dict.fromkeys(map(str, folders))) if not wanted.is_absolute() else "/"
    raise RecipeError(f"{where}: no file {text!r}\n  looked in {looked}")


def _pattern(text: str) -> bool:
    return any(sign in text for sign in "*?[")


def _below(wanted: Path, folder: Path) -> str:
    return str(wanted.relative_to("/")) if wanted.is_absolute() else str(wanted)


def _holds_path(annotation: Any) -> bool:
    return annotation is Path or any(_holds_path(inner) for inner in get_args(annotation))
