"""Training with TRL's SFTTrainer: tokens prepared here, then one process or a launcher's."""

import json
import logging
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from tracecraft.errors import MissingExtra, StageError
from tracecraft.plugin import MayBeFile, Volatile
from tracecraft.stage import Desk, Progress
from tracecraft.store import write_json
from tracecraft.train.branch import Lesson, Train, Trainer
from tracecraft.train.chat import LONG
from tracecraft.train.examples import Tally, passed
from tracecraft.train.packing import Packed, write_rows, write_tokens
from tracecraft.train.sft import PROGRESS, Task, run

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
TAIL_LINES = 15
"""Of a failed worker's output, shown with the error."""


class Trl(Trainer, use="trl", version=1):
    """TRL's SFTTrainer on this machine's accelerator or CPU, or under a launcher on many."""

    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """What is computed in; weights and optimizer stay float32. By default bfloat16 on an
    accelerator, float32 on a CPU. The branch is saved in the backbone's own type."""
    per_device: Annotated[int, Volatile, Field(ge=1)] = 1
    """Rows at once on a device; gradients add up to the branch's `batch`."""
    gradient_checkpointing: Annotated[bool | None, Volatile] = None
    """Compute activations twice and keep few; by default on an accelerator only."""
    attention: Annotated[str | None, Volatile] = None
    """An implementation that transformers knows, such as flash_attention_2."""
    liger: Annotated[bool, Volatile] = False
    """Liger's fused layers (package liger-kernel); needs a GPU."""
    save_every: Annotated[int, Volatile, Field(ge=1)] = 100
    """Steps between two checkpoints to resume from."""
    keep: Annotated[int, Volatile, Field(ge=1)] = 2
    """Checkpoints that are kept while it trains."""
    report_to: Annotated[tuple[str, ...], Volatile, Field(strict=False)] = ()
    """Where transformers reports: trackio, wandb, tensorboard, …"""
    launch: Annotated[tuple[str, ...], Volatile, MayBeFile, Field(strict=False)] = ()
    """Words of a launcher for many devices: [accelerate, launch, --config_file, fsdp2.yaml]."""

    def train(self, lesson: Lesson, into: Path, desk: Desk) -> None:
        for package in ("trl", *(["peft"] if lesson.branch.lora else [])):
            if find_spec(package) is None:
                raise MissingExtra(package, "train", "training a branch")
        tally, packed = _prepared(lesson, desk)
        task = self.task(lesson, tally, packed, into)
        facts = _facts(tally, packed)

        def tell(told: dict[str, Any]) -> None:
            steps, total = told.pop("step"), told.pop("steps")
            desk.report(Progress(steps, total, "steps", {**facts, **told}))

        if self.launch:
            _launched(self.launch, task, lesson.workshop, tell)
        else:
            run(task, tell)

    def task(self, lesson: Lesson, tally: Tally, packed: Packed, into: Path) -> Task:
        """All that a process needs to train, wherever it runs."""
        branch: Train = lesson.branch
        return Task(
            model=lesson.backbone.place,
            revision=lesson.backbone.revision,
            tokenizer=str(lesson.workshop / "tokenizer"),
            stop=lesson.chat.stop,
            rows=str(lesson.workshop / "rows.arrow"),
            checkpoints=str(lesson.workshop / "checkpoints"),
            into=str(into),
            told=lesson.told() | {"counts": _counts(tally, packed)},
            lora=branch.lora.model_dump() if branch.lora else None,
            options={
                name: getattr(branch, name)
                for name in ("epochs", "lr", "schedule", "warmup", "batch", "context", "packing")
            }
            | {"weight_decay": branch.weight_decay, "betas": list(branch.betas)}
            | {"epsilon": branch.epsilon, "clip": branch.clip, "seed": branch.seed},
            machine=self.model_dump(exclude={"launch"}, mode="json"),
        )


def _prepared(lesson: Lesson, desk: Desk) -> tuple[Tally, Packed]:
    """Token rows in the workshop: made once, and found again after a kill."""
    branch, shop = lesson.branch, lesson.workshop
    done = shop / "rows.json"
    if done.exists():
        found = json.loads(done.read_text())
        return Tally(**found["tally"]), Packed(**found["packed"])
    tally = Tally()
    said = passed(lesson.examples, lesson.chat, branch.context, branch.thoughts, tally)
    write_tokens(said, shop / "tokens.arrow")
    tally.check(branch.tolerate)
    for rule, rows in tally.dropped.items():
        log.info("%d of %d examples dropped: %s", rows, tally.read, rule)
    packed = write_rows(shop / "tokens.arrow", shop / "rows.arrow", branch.context, branch.packing)
    (shop / "tokens.arrow").unlink()
    lesson.chat.tokenizer.save_pretrained(shop / "tokenizer")
    write_json(done, {"tally": asdict(tally), "packed": asdict(packed)})
    desk.report(Progress(0, 1, "steps", _facts(tally, packed)))
    return tally, packed


def _counts(tally: Tally, packed: Packed) -> dict[str, Any]:
    return {**asdict(tally), "rows": packed.rows, "longest_row": packed.longest}


def _facts(tally: Tally, packed: Packed) -> dict[str, float | int | str]:
    long = tally.dropped.get(LONG, 0)
    return {
        "examples": tally.kept,
        "rows": packed.rows,
        "tokens": tally.tokens,
        "too long": long,
        "not passed": tally.failed,
    }


def _launched(words: tuple[str, ...], task: Task, shop: Path, tell: Any) -> None:
    """Train in processes of a launcher; ends when they do.

    Raises:
        StageError: one of them failed; the message ends with its last words.
    """
    write_json(shop / "task.json", asdict(task))
    told, said = shop / PROGRESS, shop / "workers.log"
    told.unlink(missing_ok=True)
    command = [*words, "-m", "tracecraft.train.worker", str(shop / "task.json")]
    log.info("%s", shlex.join(command))
    with said.open("ab") as output, _process(command, output) as process:
        place = 0
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            place = _passed_on(told, place, tell)
        _passed_on(told, place, tell)
    if process.returncode:
        last = said.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        raise StageError(
            f"{words[0]} ended with code {process.returncode}\n"
            + "\n".join(f"    {line}" for line in last)
            + f"\n  output {said}"
        )


@contextmanager
def _process(command: list[str], output: Any) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that ends with this one, however this one ends."""
    if Path(command[0]).name == command[0]:
        beside = Path(sys.executable).with_name(command[0])
        command = [str(beside) if beside.exists() else command[0], *command[1:]]
    try:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, preexec_fn=_die_with_parent
        )
    except OSError as error:
        raise StageError(f"{command[0]} cannot be started: {error.strerror}") from error
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()


def _die_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes

        death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(death_signal, signal.SIGTERM)


def _passed_on(file: Path, place: int, tell: Any) -> int:
    """Tell what the worker has written since `place`; where it ends now."""
    if not file.exists():
        return place
    with file.open("rb") as lines:
        lines.seek(place)
        whole, newline, _ = lines.read().rpartition(b"\n")
    for line in whole.splitlines():
        tell(json.loads(line))
    return place + len(whole) + len(newline)
