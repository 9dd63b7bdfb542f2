"""What can be plugged in, read from the plug points themselves."""

from importlib import import_module
from typing import Any

from pydantic.fields import FieldInfo

from tracecraft.errors import MissingExtra, UsageError, did_you_mean
from tracecraft.plugin import Plugin, Volatile

POINTS = {
    "sources": "tracecraft.curate.source:Source",
    "stages": "tracecraft.stage:Stage",
    "jobs": "tracecraft.stage:Job",
    "engines": "tracecraft.distill.engine:Engine",
    "verifiers": "tracecraft.verify.verifier:Verifier",
    "measures": "tracecraft.select.measure:Measure",
    "methods": "tracecraft.merge.methods:Method",
    "trainers": "tracecraft.train.branch:Trainer",
}


def plug_point(kind: str) -> type[Plugin]:
    """The plug point that `kind` names, in the plural or not.

    Raises:
        UsageError: there is none.
    """
    key = kind if kind in POINTS else f"{kind}s"
    if key not in POINTS:
        raise UsageError(f"no plug point {kind!r}" + did_you_mean(kind, POINTS))
    module, _, name = POINTS[key].partition(":")
    found: type[Plugin] = getattr(import_module(module), name)
    return found


def listing(kind: str | None) -> list[dict[str, Any]]:
    """Every plugin of a kind, or of all, with its first line."""
    rows = []
    for key in POINTS if kind is None else [kind]:
        point = plug_point(key)
        rows += [
            {"kind": point.kind, "use": name, "what": _first_line(point, name)}
            for name in sorted(point.known)
        ]
    return rows


def describe(kind: str, name: str) -> list[dict[str, Any]]:
    """The options of one plugin, with default, meaning, and whether they enter the key."""
    plugin = plug_point(kind).named(name)
    return [
        {
            "option": option,
            "type": _type(field.annotation),
            "default": _default(field),
            "in the key": Volatile not in field.metadata,
            "what": field.description or "",
        }
        for option, field in plugin.model_fields.items()
    ]


def _type(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)


def _default(field: FieldInfo) -> Any:
    return "required" if field.is_required() else field.get_default(call_default_factory=True)


def _first_line(point: type[Plugin], name: str) -> str:
    try:
        plugin = point.named(name)
    except (ImportError, MissingExtra) as error:
        return f"not available: {error}"
    return (plugin.__doc__ or "").strip().partition("\n")[0]
