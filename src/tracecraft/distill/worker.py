"""vLLM's engine in the process that it has to itself: requests in, completions out, by a socket."""

import gc
import logging
import os
import queue
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from tracecraft.distill.child import advice
from tracecraft.distill.engine import Completion, Request, Sampling
from tracecraft.distill.weights import first_line
from tracecraft.errors import EngineError, MissingExtra

if TYPE_CHECKING:
    from tracecraft.distill.vllm import Vllm

log = logging.getLogger(__name__)

_CPU_CACHE_BYTES = 1 << 30


def start(teacher: "Vllm") -> Any:
    """The engine, its weights loaded.

    Raises:
        MissingExtra: vLLM is not installed.
        EngineError: it does not start: what, what next.
    """
    place = teacher.place()
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
        "revision": teacher.revision or None if place == teacher.model else None,
        "dtype": teacher.dtype,
        "max_model_len": teacher.max_model_len,
        "tensor_parallel_size": teacher.tensor_parallel,
        "pipeline_parallel_size": teacher.pipeline_parallel,
        "gpu_memory_utilization": teacher.gpu_memory,
        "max_num_seqs": teacher.max_num_seqs,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
        **(on_cpu_options() if on_cpu else {}),
        **teacher.options,
    }
    try:
        with _threads(on_cpu=on_cpu):
            return LLMEngine.from_engine_args(EngineArgs(**options))
    except TypeError as error:
        raise EngineError(
            f"engine.options: vLLM does not take them: {error}"
            "\n  next   take the names that vLLM's EngineArgs has"
        ) from error
    except (RuntimeError, ValueError, OSError, MemoryError, SafetensorError) as error:
        log.exception("vLLM did not start")
        raise EngineError(
            f"vllm: {teacher.model} did not start: {first_line(error)}"
            f"\n  next   {advice(f'{type(error).__name__}: {error}')}"
        ) from error


class Batch:
    """An engine's continuous batch."""

    def __init__(self, engine: Any, tokenizer: Any) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.context: int = engine.model_config.max_model_len
        self.flying: set[str] = set()

    def add(self, name: str, request: Request) -> Completion | None:
        """Take a request in; why not, where that can't be."""
        tokens = self.tokenizer(request.prompt, add_special_tokens=False)["input_ids"]
        if len(tokens) >= self.context:
            return Completion(
                "",
                "failed",
                prompt_tokens=len(tokens),
                error=f"the prompt of {len(tokens)} tokens leaves no room in {self.context}",
            )
        try:
            self.engine.add_request(name, {"prompt_token_ids": tokens}, drawn(request.sampling))
        except ValueError as error:
            return Completion("", "failed", prompt_tokens=len(tokens), error=first_line(error))
        self.flying.add(name)
        return None

    def step(self) -> list[tuple[str, Completion]]:
        """Compute on; what is finished by it.

        Raises:
            EngineError: the engine is broken.
        """
        from vllm.exceptions import VLLMServerError

        try:
            outputs = [output for output in self.engine.step() if output.finished]
        except (RuntimeError, MemoryError, VLLMServerError) as error:
            log.exception("vLLM stopped")
            told = advice(f"{type(error).__name__}: {error}")
            raise EngineError(f"{first_line(error)}\n  next   {told}") from error
        self.flying.difference_update(output.request_id for output in outputs)
        return [(output.request_id, _completion(output)) for output in outputs]

    def drop(self) -> None:
        """Forget all that is under way."""
        self.engine.abort_request(list(self.flying))
        self.flying.clear()


def drawn(sampling: Sampling) -> Any:
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


def on_cpu_options() -> dict[str, Any]:
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


def serve(connection: Connection, teacher: "Vllm") -> None:
    """Answer until the other side hangs up."""
    try:
        with _quiet():
            engine = start(teacher)
    except (EngineError, MissingExtra) as error:
        connection.send(("failed", type(error).__name__, str(error)))
        return
    batch = Batch(engine, teacher.tokenizer())
    connection.send(("ready",))
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(connection, inbox), daemon=True).start()
    try:
        with _quiet():
            _answer(connection, batch, inbox)
    except EngineError as error:
        connection.send(("broken", str(error)))
    except BrokenPipeError:
        return
    finally:
        with _quiet():
            _stop(engine)


def _answer(connection: Connection, batch: Batch, inbox: "queue.SimpleQueue[Any]") -> None:
    while True:
        said: list[tuple[str, Completion]] = []
        while not inbox.empty() or not batch.flying:
            told = inbox.get()
            if told is None:
                return
            if told == "drop":
                batch.drop()
                continue
            name, request = told
            refusal = batch.add(name, request)
            if refusal is not None:
                connection.send(("said", [(name, refusal)]))
        said += batch.step()
        if said:
            connection.send(("said", said))


def _receive(connection: Connection, inbox: "queue.SimpleQueue[Any]") -> None:
    """Take in at once whatever is sent, so that neither side waits for the other."""
    while True:
        try:
            inbox.put(connection.recv())
        except (EOFError, OSError):
            inbox.put(None)
            return


def main(fd: str, options: str) -> None:
    """What the process does: its end of the socket, and the teacher as JSON."""
    from tracecraft.distill.vllm import Vllm

    logging.basicConfig(level=logging.INFO)
    serve(Connection(int(fd)), Vllm.model_validate_json(options))


if __name__ == "__main__":
    main(*sys.argv[1:])
