"""One shape for all that plugs in: a frozen, typed value with one method.

A plugin is a subclass whose *fields are its options*. `use` is its name in a recipe, `version`
changes whenever its results do. Built-ins are known by module name and imported on first use,
so a missing optional dependency never breaks `import tracecraft`.
"""

import hashlib
import importlib
import importlib.metadata
import json
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from tracecraft.errors import RecipeError, UnknownPlugin, UsageError, did_you_mean


class _Volatile:
    """Marks an option that changes speed, never results: it stays out of the key."""

    def __repr__(self) -> str:
        return "Volatile"


Volatile = _Volatile()


class _MayBeFile:
    """Marks an option of texts that name a file or something known; a recipe finds the file."""

    def __repr__(self) -> str:
        return "MayBeFile"


MayBeFile = _MayBeFile()

PLUGIN_DIGEST = "__plugin_digest__"
"""Set on the module of a loose plugin file, so that an edit of it changes the keys."""


class Plugin(BaseModel):
    """Base of every plug point: Stage, Job, Source, Engine, Verifier, Measure, Trainer."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True
    )

    kind: ClassVar[str] = "plugin"
    use: ClassVar[str] = ""
    version: ClassVar[int] = 1
    known: ClassVar[dict[str, Any]] = {}
    """Name to class, or to the module whose import files the class."""

    def __init_subclass__(
        cls, *, use: str | None = None, version: int = 1, kind: str | None = None, **more: Any
    ) -> None:
        super().__init_subclass__(**more)
        if kind is not None:  # a plug point: Stage, Verifier, …
            cls.kind, cls.known = kind, {}
        if use is not None:  # a plugin
            taken = cls.known.get(use)
            if isinstance(taken, type) and taken.__qualname__ != cls.__qualname__:
                raise TypeError(
                    f"{cls.kind} {use!r} is already {taken.__module__}.{taken.__qualname__}"
                )
            cls.use, cls.version, cls.known[use] = use, version, cls

    @classmethod
    def named(cls, name: str) -> type[Self]:
        """The plugin of this plug point with that name; imports it on first use.

        Raises:
            UnknownPlugin: no such name; the message suggests the nearest.
        """
        if name not in cls.known:
            _load_installed()
        found = cls.known.get(name)
        if isinstance(found, str):
            importlib.import_module(found)
            found = cls.known[name]
        if found is None:
            raise UnknownPlugin(cls.kind, name, cls.known)
        return found  # type: ignore[no-any-return]

    @model_validator(mode="wrap")
    @classmethod
    def _choose(cls, value: Any, handler: Any) -> Any:
        """`{use: name, **options}` becomes a value of the class it names."""
        if not isinstance(value, Mapping) or cls.use:
            return handler(value)
        if "use" not in value:
            raise ValueError(f"which {cls.kind}? say `use:`" + did_you_mean("", cls.known))
        options = {k: v for k, v in value.items() if k != "use"}
        return cls.named(value["use"]).model_validate(options)

    @classmethod
    def bind(cls, value: Mapping[str, Any], where: str = "") -> Self:
        """The plugin a recipe describes.

        Raises:
            RecipeError: each mistake with the path of its field.
        """
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise RecipeError(explain(error, cls, value, where)) from None

    def identity(self) -> dict[str, Any]:
        """All that decides the result, in canonical form."""
        fields = type(self).model_fields
        semantic = {k for k, f in fields.items() if Volatile not in f.metadata}
        options = {k: _canonical(getattr(self, k)) for k in sorted(semantic)}
        identity = {"use": self.use, "version": self.version, **options}
        code = getattr(sys.modules.get(type(self).__module__), PLUGIN_DIGEST, None)
        return identity if code is None else {**identity, "code": code}


@cache
def _load_installed() -> None:
    """Import what other packages offer under the entry-point group `tracecraft`, once."""
    for entry in importlib.metadata.entry_points(group="tracecraft"):
        try:
            entry.load()
        except ImportError as error:
            raise UsageError(
                f"the plugin {entry.name!r} ({entry.value}) cannot be imported: {error}"
                "\n  next   repair or uninstall the package that brings it"
            ) from error


def digest(value: Any, size: int = 6) -> str:
    """blake2b of `value` as canonical JSON, in hex (two characters a byte of `size`)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()


def file_digest(path: Path) -> str:
    """blake2b of a file's bytes, 32 hex characters."""
    with path.open("rb") as file:
        hasher = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
    return hasher.hexdigest()


def path_digest(path: Path) -> str:
    """The digest of a file, or of all files of a folder with their names."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        return digest([[str(p.relative_to(path)), file_digest(p)] for p in files], size=16)
    return file_digest(path)


def explain(error: ValidationError, model: type[BaseModel], value: Any, where: str) -> str:
    """One line a mistake, `where.field.subfield: what`, with the nearest known name."""
    lines = []
    for item in error.errors():
        message, loc = item["msg"].removeprefix("Value error, "), item["loc"]
        if item["type"] == "extra_forbidden":
            owner = _owner(model, value, loc[:-1])
            message = f"{owner.__name__} has no {str(loc[-1])!r}" + did_you_mean(
                str(loc[-1]), owner.model_fields
            )
        elif item["type"] == "missing":
            message = "is missing"
        elif item["type"] not in {"value_error", "model_type"}:
            message += f", not {_shown(item['input'])}"
        path = ".".join(map(str, loc))
        lines.append(": ".join(filter(None, [_joined(where, path), message])))
    return "\n".join(lines)


def _joined(where: str, path: str) -> str:
    if not (where and path):
        return where or path
    return f"{where} {path}" if where.endswith(":") else f"{where}.{path}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


def _owner(model: type[BaseModel], value: Any, path: tuple[int | str, ...]) -> type[BaseModel]:
    """The model that the last step of `path` lives in, following `use:` where it is said."""
    owner = _chosen(model, value)
    for part in path:
        value = value[part] if _has(value, part) else None
        field = owner.model_fields.get(str(part))
        models = list(models_in(field.annotation)) if field is not None else [owner]
        owner = _chosen(models[0], value) if models else owner
    return owner


def _has(value: Any, part: int | str) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, (list, tuple)) and isinstance(part, int) and part < len(value)


def _chosen(model: type[BaseModel], value: Any) -> type[BaseModel]:
    if isinstance(value, Mapping) and issubclass(model, Plugin) and not model.use:
        found = model.known.get(value.get("use", ""))
        return found if isinstance(found, type) else model
    return model


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The pydantic models that an annotation names, however nested."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from models_in(inner)


def _canonical(value: Any) -> Any:
    if isinstance(value, Plugin):
        return value.identity()
    if isinstance(value, BaseModel):
        return {k: _canonical(v) for k, v in value}
    if isinstance(value, Mapping):
        return {str(k): _canonical(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_canonical(v) for v in value]
    return path_digest(value) if isinstance(value, Path) else value
