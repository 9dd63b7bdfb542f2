"""The same branch for those who train with LLaMA-Factory or axolotl: data and a configuration.

Both get prompt and answer as texts that have passed the gate, under a template that adds nothing:
they train on the very tokens that our own trainer would.
"""

from abc import abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from tracecraft.errors import UsageError
from tracecraft.stage import Desk, Progress
from tracecraft.store import replacing, write_json, write_text
from tracecraft.train.branch import Lesson, Train, Trainer
from tracecraft.train.chat import Said
from tracecraft.train.examples import Tally, passed
from tracecraft.train.sft import SCHEDULES
from tracecraft.train.watch import RECORD
from tracecraft.yaml import dump

DATA, CONFIG, NAME = "branch.jsonl", "branch.yaml", "branch"


class _Export(Trainer):
    """Trains nothing; fills the folder with what another program trains from."""

    def train(self, lesson: Lesson, into: Path, desk: Desk) -> None:
        branch, tally = lesson.branch, Tally()
        config = self.config(lesson)
        said = passed(lesson.examples, lesson.chat, branch.context, branch.thoughts, tally)
        _write_lines(into / DATA, (self.row(one) for batch in said for one in batch))
        tally.check(branch.tolerate)
        write_text(into / CONFIG, self.comment() + dump(config))
        write_text(into / "chat_template.jinja", lesson.chat.tokenizer.chat_template)
        write_json(into / RECORD, lesson.told())
        desk.report(Progress(tally.kept, tally.read, "rows", {"examples": tally.kept}))

    @abstractmethod
    def row(self, said: Said) -> dict[str, Any]:
        """One line of the data file."""

    @abstractmethod
    def config(self, lesson: Lesson) -> dict[str, Any]:
        """The configuration file."""

    def comment(self) -> str:
        """How to start it."""
        return (
            f"# In this folder: {self.command()}\n# One device; on n of them divide"
            " gradient_accumulation_steps by n. Serve the result with chat_template.jinja.\n"
        )

    @abstractmethod
    def command(self) -> str:
        """What trains."""


class LlamaFactory(_Export, use="llamafactory", version=1):
    """A folder that `llamafactory-cli train branch.yaml` trains from."""

    def train(self, lesson: Lesson, into: Path, desk: Desk) -> None:
        super().train(lesson, into, desk)
        columns = {"prompt": "prompt", "response": "answer"}
        info = {NAME: {"file_name": DATA, "formatting": "alpaca", "columns": columns}}
        write_json(into / "dataset_info.json", info)

    def row(self, said: Said) -> dict[str, Any]:
        return {"prompt": said.prompt, "answer": said.answer}

    def command(self) -> str:
        return f"llamafactory-cli train {CONFIG}"

    def config(self, lesson: Lesson) -> dict[str, Any]:
        branch = lesson.branch
        told: dict[str, Any] = {"model_name_or_path": lesson.backbone.place}
        if lesson.backbone.revision:
            told["model_revision"] = lesson.backbone.revision
        told |= {"stage": "sft", "do_train": True, **_lora(branch, "finetuning_type", "lora_")}
        told |= {"dataset_dir": ".", "dataset": NAME, "template": "empty"}
        told |= {"cutoff_len": branch.context, "packing": branch.packing != "none"}
        told |= {"neat_packing": branch.packing == "block", "per_device_train_batch_size": 1}
        return told | _shared(branch, "num_train_epochs", "lr_scheduler_type")


class Axolotl(_Export, use="axolotl", version=1):
    """A folder that `axolotl train branch.yaml` trains from."""

    def row(self, said: Said) -> dict[str, Any]:
        prompt = {"label": False, "text": said.prompt}
        return {"segments": [prompt, {"label": True, "text": said.answer}]}

    def command(self) -> str:
        return f"axolotl train {CONFIG}"

    def config(self, lesson: Lesson) -> dict[str, Any]:
        branch = lesson.branch
        if branch.packing == "plain":
            raise UsageError(
                "axolotl packs examples so that they do not see each other, or not at all"
                "\n  next   set `packing: block`, or export to llamafactory"
            )
        told: dict[str, Any] = {"base_model": lesson.backbone.place}
        if lesson.backbone.revision:
            told["revision_of_model"] = lesson.backbone.revision
        told |= _lora(branch, "adapter", "lora_")
        told["datasets"] = [{"path": DATA, "ds_type": "json", "type": "input_output"}]
        told |= {"train_on_inputs": False, "sequence_len": branch.context}
        told |= {"sample_packing": branch.packing == "block", "micro_batch_size": 1}
        told |= {"optimizer": "adamw_torch", "flash_attention": branch.packing == "block"}
        return told | _shared(branch, "num_epochs", "lr_scheduler")


def _shared(branch: Train, epochs: str, scheduler: str) -> dict[str, Any]:
    """What both call by the same names, or nearly."""
    return {
        "gradient_accumulation_steps": branch.batch,
        epochs: branch.epochs,
        "learning_rate": branch.lr,
        scheduler: SCHEDULES[branch.schedule],
        "warmup_ratio": branch.warmup,
        "weight_decay": branch.weight_decay,
        "adam_beta1": branch.betas[0],
        "adam_beta2": branch.betas[1],
        "adam_epsilon": branch.epsilon,
        "max_grad_norm": branch.clip,
        "bf16": True,
        "gradient_checkpointing": True,
        "seed": branch.seed,
        "output_dir": "trained",
    }


def _lora(branch: Train, kind: str, prefix: str) -> dict[str, Any]:
    lora = branch.lora
    if lora is None:
        return {kind: "full"} if kind == "finetuning_type" else {}
    everything = lora.targets == "all-linear"
    told: dict[str, Any] = {kind: "lora", f"{prefix}alpha": lora.alpha}
    told |= {f"{prefix}dropout": lora.dropout}
    if kind == "adapter":
        key = "lora_target_linear" if everything else "lora_target_modules"
        return told | {"lora_r": lora.rank, key: True if everything else lora.targets}
    return told | {"lora_rank": lora.rank, "lora_target": "all" if everything else lora.targets}


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    with replacing(path) as half, pa.OSFile(str(half), "wb") as file:
        for row in rows:
            file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
