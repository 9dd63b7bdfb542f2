"""Processes that end when this one does, however it ends, and whose last words are kept."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from tracecraft.distill import guard
from tracecraft.errors import EngineError

_TAIL_BYTES = 4_096
_TRACE_BYTES = 1 << 16
"""What the traces of an engine and of its processes take, of which one names the cause."""
_TAIL_LINES = 8
_EXCEPTION = re.compile(
    r"^(?:\(.*?\) )?(?:ERROR .*?\] )?(?:\w+\.)*(?!EngineDeadError)(\w+(?:Error|Exception)): (.+)$",
    re.MULTILINE,
)
"""The last line of a trace, as Python prints it and as vLLM logs it; that an engine is dead is no
cause."""
_STOP_SECONDS = 15.0
"""More than the guard takes to end its group."""


class Child:
    """A command under a guard, what it says in a log file."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        env: Mapping[str, str],
        fds: Sequence[int] = (),
    ) -> None:
        self.log = log
        with log.open("ab") as file:
            self._begin = file.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-I", guard.__file__, str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env=dict(env),
                pass_fds=fds,
                start_new_session=True,
            )

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        """End it and all that it started."""
        if self.alive:
            self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def end(self) -> str:
        """How it ended, in words."""
        code = self.process.poll()
        if code is None:
            return "is still running"
        if code > 128 and code - 128 in set(signal.Signals):
            return f"was ended by {signal.Signals(code - 128).name}"
        return f"ended with exit code {code}"

    def ran_out_of_memory(self) -> bool:
        """Whether it said so before it ended; the words of PyTorch, CUDA and Python."""
        said = self._last(_TRACE_BYTES).lower()
        return "out of memory" in said or "memoryerror" in said

    def cause(self) -> str:
        """The first exception that it named lately, as `type: what`; empty where it named none."""
        found = _EXCEPTION.search(self._last(_TRACE_BYTES))
        return f"{found[1]}: {found[2].strip()}" if found else ""

    def _last(self, count: int) -> str:
        with self.log.open("rb") as file:
            file.seek(max(self._begin, self.log.stat().st_size - count))
            return file.read().decode("utf-8", "replace")

    def tail(self) -> str:
        """Its last words, as lines of an error's message."""
        lines = self._last(_TAIL_BYTES).splitlines()
        said = [line.rstrip() for line in lines if line.strip()][-_TAIL_LINES:]
        return "\n".join([f"  log    {self.log}", *(f"         {line[:200]}" for line in said)])


@contextmanager
def log_folder(wanted: Path | None) -> Iterator[Path]:
    """Where the logs go: the folder that is wanted, else one that stays where an error names it.

    Raises:
        EngineError: it can't be made.
    """
    try:
        folder = Path(mkdtemp(prefix="tracecraft-")) if wanted is None else wanted.expanduser()
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(
            f"{wanted or 'temporary folder'}: {(error.strerror or str(error)).lower()}"
            "\n  next   name a folder for the logs that can be written, in engine.logs"
        ) from error
    told = False
    try:
        yield folder
    except EngineError:  # names the log
        told = True
        raise
    finally:
        if wanted is None and not told:
            rmtree(folder, ignore_errors=True)


def unsuited(told: str) -> bool:
    """Whether an engine ended of something that it can't do at all."""
    told = told.lower()
    return "unsupported" in told or "not supported" in told or "notimplemented" in told


def advice(told: str) -> str:
    """What to do about an engine of vLLM's that ended so."""
    if unsuited(told):
        return (
            "take `engine: {use: transformers}`, which draws from the same model, where vLLM"
            " can't; what was answered is kept"
        )
    if "memory" in told.lower() or "kv cache" in told.lower():
        return (
            "lower engine.max_num_seqs or engine.max_model_len, or raise engine.gpu_memory or"
            " engine.tensor_parallel, then run again: what was answered is kept"
        )
    return (
        "read the log above, mend the cause, then run again: what was answered is kept; or take"
        " `engine: {use: transformers}`, where vLLM can't run this model"
    )


def visible_gpus() -> list[str]:
    """The GPUs of this machine that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    if told is not None:
        return [gpu for gpu in told.split(",") if gpu.strip()]
    cards = [*Path("/proc/driver/nvidia/gpus").glob("*")]
    cards = cards or [*Path("/dev").glob("nvidia[0-9]*")]  # all that some containers see of them
    return [str(i) for i in range(len(cards))]


def gpu_groups(replicas: int, size: int) -> list[str | None]:
    """The GPUs of each replica, as CUDA_VISIBLE_DEVICES takes them; None leaves all as it is.

    Zero replicas are as many as the GPUs hold, or one where there are none.

    Raises:
        EngineError: there are fewer GPUs than that.
    """
    gpus = visible_gpus()
    replicas = replicas or max(1, len(gpus) // size)
    if not gpus or replicas == 1:
        return [None] * replicas
    if replicas * size > len(gpus):
        raise EngineError(
            f"engine.replicas: {replicas} with {size} GPUs each are more than the {len(gpus)} here"
            "\n  next   lower engine.replicas or engine.tensor_parallel"
        )
    return [",".join(gpus[i * size : (i + 1) * size]) for i in range(replicas)]


def environment(gpus: str | None, replicas: int) -> dict[str, str]:
    """What a replica's process is told: its GPUs, and its share of the cores."""
    env = dict(os.environ)
    env.setdefault("VLLM_NO_USAGE_STATS", "1")
    if gpus is not None:
        env["CUDA_VISIBLE_DEVICES"] = gpus
    elif replicas > 1 and "OMP_NUM_THREADS" not in env:
        env["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // replicas))
        env.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    env.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return env
