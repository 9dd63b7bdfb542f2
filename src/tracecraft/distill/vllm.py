"""The offline engine: vLLM, a process a replica, its continuous batch kept full."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from tracecraft.distill.child import gpu_groups, log_folder, visible_gpus
from tracecraft.distill.engine import Session
from tracecraft.distill.replicas import Replica, Replicas
from tracecraft.distill.weights import Weights
from tracecraft.errors import MissingExtra
from tracecraft.plugin import Volatile

_FOR_SPEED = frozenset(
    {
        "all2all_backend",
        "async_scheduling",
        "block_size",
        "compilation_config",
        "cpu_offload_gb",
        "data_parallel_size",
        "disable_custom_all_reduce",
        "distributed_executor_backend",
        "download_dir",
        "enable_chunked_prefill",
        "enable_expert_parallel",
        "enable_prefix_caching",
        "enforce_eager",
        "kv_cache_memory_bytes",
        "max_num_batched_tokens",
        "num_gpu_blocks_override",
        "optimization_level",
        "safetensors_load_strategy",
        "trust_remote_code",
    }
)
"""Engine options known to change speed and memory alone; any other makes another teacher."""
_ROWS_WAITING = 2
"""Requests handed to the engine per sequence it runs, so that it never waits for us."""


class Vllm(Weights, use="vllm", version=1):
    """A model on this machine, through vLLM, in processes of their own.

    An engine that dies (out of memory, a crash) is started again, and what it held is owed
    again; a request of which an engine dies once more, alone, comes back as failed.
    """

    replicas: Annotated[int, Volatile, Field(ge=0)] = 1
    """Engines side by side, on accelerators of their own; 0 is as many as those hold."""

    tensor_parallel: Annotated[int, Volatile, Field(gt=0)] = 1
    """Accelerators that share each layer."""
    pipeline_parallel: Annotated[int, Volatile, Field(gt=0)] = 1
    """Groups of layers, each on accelerators of its own."""
    gpu_memory: Annotated[float, Volatile, Field(gt=0, le=1)] = 0.9
    """Share of an accelerator's memory for weights and cache."""
    max_num_seqs: Annotated[int, Volatile, Field(gt=0)] = 256
    """Completions drawn at once. Fewer need less memory."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Further options of vLLM's engine, passed on as they are. Those not known to change speed
    alone (`quantization`, `hf_overrides`, …) make another teacher."""

    logs: Annotated[Path | None, Volatile, Field(strict=False)] = None
    """Folder for what the engines' processes say; without one, a temporary folder."""

    @property
    def gpus(self) -> int:
        size = self.tensor_parallel * self.pipeline_parallel
        return size * len(gpu_groups(self.replicas, size)) if visible_gpus() else 0

    def altered(self) -> dict[str, Any]:
        return {k: v for k, v in self.options.items() if k not in _FOR_SPEED}

    @contextmanager
    def open(self) -> Iterator[Session]:
        if find_spec("vllm") is None:
            raise MissingExtra("vllm", "vllm", "the engine `vllm`")
        self.place()  # which may make it, once for all replicas
        groups = gpu_groups(self.replicas, self.tensor_parallel * self.pipeline_parallel)
        with log_folder(self.logs) as logs:
            replicas = [Replica(i, len(groups), gpus, logs) for i, gpus in enumerate(groups)]
            options = self.model_dump_json()
            session = Replicas(replicas, self.model, options, self.max_num_seqs * _ROWS_WAITING)
            try:
                session.start()
                yield session
            finally:
                session.close()
