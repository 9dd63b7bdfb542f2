"""The offline engine: vLLM in this process, its continuous batch kept full."""

import gc
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

from pydantic import Field

from tracecraft.distill.engine import Completion, Request, Sampling, Session
from tracecraft.distill.weights import Weights, first_line
from tracecraft.errors import EngineError, MissingExtra
from tracecraft.plugin import Volatile

log = logging.getLogger(__name__)

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
_CPU_CACHE_BYTES = 1 << 30
_ROWS_WAITING = 2
"""Requests handed to the engine per sequence it runs, so that it never waits for us."""


class Vllm(Weights, use="vllm", version=1):
    """A model in this process, through vLLM."""

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

    def altered(self) -> dict[str, Any]:
        return {k: v for k, v in self.options.items() if k not in _FOR_SPEED}

    @contextmanager
    def open(self) -> Iterator[Session]:
        place = self.place()
        with _quiet():
            engine = self._start(place)
        try:
            yield _Batch(engine, self.tokenizer(), self.max_num_seqs)
        finally:
            with _quiet():
                _stop(engine)

    def _start(self, place: str) -> Any:
        try:
            from safetensors import SafetensorError
            from vllm import EngineArgs
            from vllm.platforms import current_platform
            from vllm.v1.engine.llm_engine import LLMEngine
        except ImportError as error:
            log.info("vllm: %s", error)
            raise MissingExtra("vllm", "vllm", "the engine `vllm`") from None
        on_cpu = current_platform.is_cpu()
        options = {
            "model": place,
            "revision": self.revision or None if place == self.model else None,
            "dtype": self.dtype,
            "max_model_len": self.max_model_len,
            "tensor_parallel_size": self.tensor_parallel,
            "pipeline_parallel_size": self.pipeline_parallel,
            "gpu_memory_utilization": self.gpu_memory,
            "max_num_seqs": self.max_num_seqs,
            "disable_log_stats": True,
            "use_tqdm_on_load": False,
            **(_on_cpu() if on_cpu else {}),
            **self.options,
        }
        try:
            with _threads(on_cpu=on_cpu):
                return LLMEngine.from_engine_args(EngineArgs(**options))
        except TypeError as error:
            raise EngineError(f"engine.options: vLLM does not take them: {error}") from error
        except (RuntimeError, ValueError, OSError, MemoryError, SafetensorError) as error:
            log.exception("vLLM did not start")
            raise EngineError(
                f"vllm: {self.model} did not start: {first_line(error)}\n  next   {_advice(error)}"
            ) from error


class _Batch:
    """An opened engine."""

    def __init__(self, engine: Any, tokenizer: Any, rows: int) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.limit = rows * _ROWS_WAITING
        self.context: int = engine.model_config.max_model_len
        self.count = 0

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion]]:
        pending = iter(requests)
        flying: dict[str, Request] = {}
        try:
            while True:
                while len(flying) < self.limit and (request := next(pending, None)):
                    refusal = self._add(request, flying)
                    if refusal is not None:
                        yield request, refusal
                if not flying:
                    return
                for output in self._step():
                    if output.finished:
                        yield flying.pop(output.request_id), _completion(output)
        finally:
            if flying:
                self.engine.abort_request(list(flying))

    def _add(self, request: Request, flying: dict[str, Request]) -> Completion | None:
        """Hand a request over; why not, where that can't be."""
        tokens = self.tokenizer(request.prompt, add_special_tokens=False)["input_ids"]
        if len(tokens) >= self.context:
            return Completion(
                "",
                "failed",
                prompt_tokens=len(tokens),
                error=f"the prompt of {len(tokens)} tokens leaves no room in {self.context}",
            )
        self.count += 1
        name = str(self.count)
        try:
            self.engine.add_request(name, {"prompt_token_ids": tokens}, _drawn(request.sampling))
        except ValueError as error:
            return Completion("", "failed", prompt_tokens=len(tokens), error=first_line(error))
        flying[name] = request
        return None

    def _step(self) -> list[Any]:
        from vllm.exceptions import VLLMServerError

        try:
            outputs: list[Any] = self.engine.step()
        except (RuntimeError, MemoryError, VLLMServerError) as error:
            log.exception("vLLM stopped")
            raise EngineError(
                f"vllm: stopped: {first_line(error)}\n  next   {_advice(error)}"
            ) from error
        return outputs


def _drawn(sampling: Sampling) -> Any:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        seed=sampling.seed,
        skip_special_tokens=False,  # else it deletes `<think>` where that is one
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _completion(output: Any) -> Completion:
    (said,) = output.outputs
    known = said.finish_reason in ("stop", "length")
    return Completion(
        said.text,
        said.finish_reason if known else "failed",
        len(output.prompt_token_ids),
        len(said.token_ids),
        None if known else f"vLLM ended it: {said.finish_reason}",
    )


def _on_cpu() -> dict[str, Any]:
    """What vLLM's CPU build needs to answer right, and fast.

    Compiled, it gave wrong text in bfloat16; with chunked prefill, a seed per request ends it;
    without a size, its cache takes a large share of the memory. Its blocks of 128 tokens share
    little of a prompt: with 32, a prompt of worked examples made 27% more tokens a second.
    """
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    return {
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "kv_cache_memory_bytes": _CPU_CACHE_BYTES,
        "block_size": 32,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """What vLLM and torch have to say goes to `logging`, and to nobody outside."""
    os.environ.setdefault("VLLM_CONFIGURE_LOGGING", "0")
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    logging.getLogger("torch._library.triton").disabled = True  # torch has a handler of its own
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _threads(*, on_cpu: bool) -> Iterator[None]:
    """A thread a core where threads wait asleep, else one less; OMP_NUM_THREADS overrules.

    Threads that wait by spinning, one a core, are stopped all by anything else that runs: 13
    tokens a second instead of 95 with the embedded model on two busy cores. vLLM's CPU worker
    also takes `torch.set_num_threads` from the process; it comes back.
    """
    import torch

    own = torch.set_num_threads
    if on_cpu and "OMP_NUM_THREADS" not in os.environ:
        asleep = os.environ.get("OMP_WAIT_POLICY", "").upper() == "PASSIVE"
        own(max(1, len(os.sched_getaffinity(0)) - (not asleep)))
    try:
        yield
    finally:
        torch.set_num_threads = own


def _stop(engine: Any) -> None:
    from vllm.distributed.parallel_state import cleanup_dist_env_and_memory

    engine.engine_core.shutdown()
    del engine
    gc.collect()
    cleanup_dist_env_and_memory()


def _advice(error: BaseException) -> str:
    told = str(error).lower()
    if "memory" in told or "kv cache" in told or isinstance(error, MemoryError):
        return (
            "lower engine.max_num_seqs or engine.max_model_len, or raise engine.gpu_memory or"
            " engine.tensor_parallel, then run again: what was answered is kept"
        )
    return "read the log above it, mend the cause, then run again: what was answered is kept"
