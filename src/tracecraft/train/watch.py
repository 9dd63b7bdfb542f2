"""What looks on while a branch trains: progress, losses that are not finite, whole checkpoints."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tracecraft.errors import StageError
from tracecraft.store import write_json
from tracecraft.train.backbone import imported

RECORD = "branch.json"
"""A branch's recipe, data and template. Written last: a checkpoint without it was cut short."""


def watcher(told: dict[str, Any], tell: Callable[[dict[str, Any]], None]) -> Any:
    """A callback of transformers.

    `tell` gets step, steps, loss, learning rate, tokens a second, CPU time and seconds left, on
    the main process alone.
    """
    transformers, accelerate = imported(), imported("accelerate")

    class Watcher(transformers.TrainerCallback):  # type: ignore[misc, name-defined]
        """Looks at every step."""

        began = 0.0
        cpu = 0.0
        first = 0

        def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            self.began, self.first = time.monotonic(), state.global_step
            self.cpu = time.process_time()

        def on_log(
            self, args: Any, state: Any, control: Any, logs: dict[str, Any], **named: Any
        ) -> None:
            if "loss" not in logs:
                return
            _finite(logs, state.global_step)
            if not state.is_world_process_zero:
                return
            seconds = time.monotonic() - self.began
            done = state.global_step - self.first
            tell(
                {
                    "step": state.global_step,
                    "steps": state.max_steps,
                    "loss": round(logs["loss"], 4),
                    "lr": logs["learning_rate"],
                    "tokens/s": round(logs.get("num_tokens", 0) / seconds, 1),
                    "cpu seconds": round(time.process_time() - self.cpu, 1),
                    "seconds left": round(seconds / done * (state.max_steps - state.global_step)),
                }
            )

        def on_save(self, args: Any, state: Any, control: Any, **named: Any) -> None:
            accelerate.PartialState().wait_for_everyone()  # each process writes a part
            if state.is_world_process_zero:
                folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
                write_json(folder / RECORD, told)

    return Watcher()


def _finite(logs: dict[str, Any], step: int) -> None:
    """A step is logged before it is saved, so no checkpoint has what is not finite.

    Raises:
        StageError: loss or gradient is NaN or infinite.
    """
    for what in ("loss", "grad_norm"):
        value = logs.get(what, 0.0)
        if not math.isfinite(value):
            raise StageError(
                f"{what} is {value} at step {step}; checkpoints before it are kept"
                "\n  next   look at the backbone's weights and the learning rate (`lr`): both are"
                " part of the key, so a changed one trains anew"
            )
