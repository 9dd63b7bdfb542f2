"""How a verifier gets into another process: its class by name, by file, or by value."""

import pickle
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from tracecraft.plugin import Plugin

__all__ = ["landed", "shipped"]


def shipped(verifier: Plugin, seconds: float, memory: int) -> bytes:
    """All a worker needs to have the same verifier, its class included.

    A class from an importable module goes by name, one from a loose file by its path, and one
    from a notebook or a script by value.
    """
    files = {}
    for name in _modules(verifier):
        module = sys.modules.get(name)
        path = getattr(module, "__file__", None)
        if name != "__main__" and path and PathFinder.find_spec(name.partition(".")[0]) is None:
            files[name] = str(Path(path).resolve())
    import cloudpickle  # type: ignore[import-untyped]

    payload = cloudpickle.dumps(verifier)
    return pickle.dumps((files, payload, seconds, memory))


def _modules(value: Any) -> set[str]:
    """Where the classes of a plugin, and of the plugins within it, are written."""
    if not isinstance(value, Plugin):
        return set()
    found = {c.__module__ for c in type(value).__mro__ if issubclass(c, Plugin)}
    for name in type(value).model_fields:
        inner = getattr(value, name)
        for part in inner if isinstance(inner, (list, tuple)) else (inner,):
            found |= _modules(part)
    return found


def landed(freight: bytes) -> tuple[Any, float, int]:
    """The verifier that was shipped, warm, and its limits: CPU seconds and bytes."""
    files, payload, seconds, memory = pickle.loads(freight)
    for name, path in files.items():
        spec = spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = module_from_spec(spec)
        spec.loader.exec_module(module)
    verifier = pickle.loads(payload)
    verifier.warm()
    return verifier, seconds, memory
