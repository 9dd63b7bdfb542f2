"""Curate problems, distil a teacher's traces, verify them, train branches, merge them."""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tracecraft import verify
    from tracecraft.curate.decontaminate import Decontaminate
    from tracecraft.curate.dedupe import Dedupe
    from tracecraft.curate.normalize import Normalize
    from tracecraft.curate.source import Source
    from tracecraft.distill.engine import Engine, Sampling
    from tracecraft.distill.generate import Generate
    from tracecraft.history import Run
    from tracecraft.plan import Plan, plan
    from tracecraft.plugin import Volatile
    from tracecraft.publish.shards import Write
    from tracecraft.recipe import Recipe, load_recipe
    from tracecraft.run import run
    from tracecraft.schema import Completion, Verdict
    from tracecraft.select.measure import Measure
    from tracecraft.select.pick import Pick
    from tracecraft.select.rules import Filter
    from tracecraft.stage import Desk, Job, Marker, Stage
    from tracecraft.store import Dataset
    from tracecraft.verify.verifier import Verifier, Verify
    from tracecraft.version import __version__

_HOMES = {
    "Completion": "schema",
    "Dataset": "store",
    "Decontaminate": "curate.decontaminate",
    "Dedupe": "curate.dedupe",
    "Desk": "stage",
    "Engine": "distill.engine",
    "Filter": "select.rules",
    "Generate": "distill.generate",
    "Job": "stage",
    "Marker": "stage",
    "Measure": "select.measure",
    "Normalize": "curate.normalize",
    "Pick": "select.pick",
    "Plan": "plan",
    "Recipe": "recipe",
    "Run": "history",
    "Sampling": "distill.engine",
    "Source": "curate.source",
    "Stage": "stage",
    "Verdict": "schema",
    "Verifier": "verify.verifier",
    "Verify": "verify.verifier",
    "Volatile": "plugin",
    "Write": "publish.shards",
    "__version__": "version",
    "load_recipe": "recipe",
}
"""Names and the modules they are imported from when first asked for: polars and pydantic alone
take longer than an import may."""

__all__ = [
    "Completion",
    "Dataset",
    "Decontaminate",
    "Dedupe",
    "Desk",
    "Engine",
    "Filter",
    "Generate",
    "Job",
    "Marker",
    "Measure",
    "Normalize",
    "Pick",
    "Plan",
    "Recipe",
    "Run",
    "Sampling",
    "Source",
    "Stage",
    "Verdict",
    "Verifier",
    "Verify",
    "Volatile",
    "Write",
    "__version__",
    "load_recipe",
    "plan",
    "run",
    "verify",
]


class _House(ModuleType):
    """The package. `plan` and `run` are functions, though modules of the same name exist: the
    import system's own binding of a submodule must not take their place.
    """

    def __getattr__(self, name: str) -> Any:
        if name == "verify":
            return import_module("tracecraft.verify")
        if name not in _HOMES:
            raise AttributeError(f"module 'tracecraft' has no attribute {name!r}")
        found = getattr(import_module(f"tracecraft.{_HOMES[name]}"), name)
        self.__dict__[name] = found
        return found

    def __dir__(self) -> list[str]:
        return __all__

    @property
    def plan(self) -> Any:
        return import_module("tracecraft.plan").plan

    @plan.setter
    def plan(self, module: ModuleType) -> None:
        """Let the submodule be found in `sys.modules` alone."""

    @property
    def run(self) -> Any:
        return import_module("tracecraft.run").run

    @run.setter
    def run(self, module: ModuleType) -> None:
        """Let the submodule be found in `sys.modules` alone."""


sys.modules[__name__].__class__ = _House
