"""The training itself, in each process that takes part: from token rows to a saved branch."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracecraft.errors import DataError, StageError, StoreError, UsageError
from tracecraft.store import write_json
from tracecraft.train.backbone import imported, served
from tracecraft.train.watch import RECORD, watcher

PROGRESS = "progress.jsonl"
SCHEDULES = {"constant": "constant_with_warmup", "cosine": "cosine", "linear": "linear"}
ADAM_BYTES = 12
"""A trained weight and AdamW's two moments, in float32."""
FULL = ("no space left", "os error 28", "file write failed", "unexpected pos", "disk quota")
"""What torch, safetensors and the system say of a full disk."""


@dataclass(frozen=True, slots=True)
class Task:
    """What to train, as JSON holds it, so that it can be handed to another process."""

    model: str
    revision: str | None
    tokenizer: str
    stop: int
    rows: str
    checkpoints: str
    into: str
    told: dict[str, Any]
    lora: dict[str, Any] | None
    options: dict[str, Any]
    machine: dict[str, Any]


def run(task: Task, tell: Callable[[dict[str, Any]], None]) -> None:
    """Train, or go on where the last whole checkpoint stands, and save the branch.

    Raises:
        StageError: a loss that is not finite, or memory that ran out; checkpoints are kept.
        StoreError: the disk is full.
        UsageError: the batch does not divide over the devices.
    """
    failures = (OSError, RuntimeError, imported("safetensors").SafetensorError)
    imported().utils.logging.disable_progress_bar()
    checkpoints = Path(task.checkpoints)
    start = last_whole(checkpoints)
    args = _arguments(task)
    model = _model(task)
    _room(task, model, checkpoints)
    trainer = _trainer(task, args, model, tell)
    try:
        trainer.train(resume_from_checkpoint=str(start) if start else None)
        _save(task, trainer)
    except failures as error:
        raise _told(error, checkpoints) from error


def last_whole(checkpoints: Path) -> Path | None:
    """The latest checkpoint that was written to its end; those that were not are removed."""
    whole = []
    for folder in checkpoints.glob("checkpoint-*"):
        if (folder / RECORD).exists():
            whole.append(folder)
        else:
            shutil.rmtree(folder, ignore_errors=True)  # another process may be at it too
    return max(whole, key=lambda f: int(f.name.rpartition("-")[2]), default=None)


def _arguments(task: Task) -> Any:
    import torch

    options, machine = task.options, task.machine
    accelerated = torch.accelerator.is_available()
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1 and torch.cuda.device_count() > 1:
        raise UsageError(
            f"{torch.cuda.device_count()} GPUs are visible to one process"
            "\n  next   say `launch:` to use them all, or set CUDA_VISIBLE_DEVICES to one"
        )
    at_once = machine["per_device"] * world
    if options["batch"] % at_once:
        raise UsageError(
            f"a batch of {options['batch']} rows does not divide over {world} processes of"
            f" {machine['per_device']} rows\n  next   change `per_device`, or the processes"
        )
    checkpointing = machine["gradient_checkpointing"]
    return imported("trl").SFTConfig(
        output_dir=task.checkpoints,
        num_train_epochs=options["epochs"],
        learning_rate=options["lr"],
        lr_scheduler_type=SCHEDULES[options["schedule"]],
        warmup_steps=options["warmup"],
        per_device_train_batch_size=machine["per_device"],
        gradient_accumulation_steps=options["batch"] // at_once,
        optim="adamw_torch",
        weight_decay=options["weight_decay"],
        adam_beta1=options["betas"][0],
        adam_beta2=options["betas"][1],
        adam_epsilon=options["epsilon"],
        max_grad_norm=options["clip"],
        seed=options["seed"],
        data_seed=options["seed"],
        bf16=machine["dtype"] == "bfloat16" or (machine["dtype"] == "auto" and accelerated),
        use_cpu=not accelerated,
        gradient_checkpointing=accelerated if checkpointing is None else checkpointing,
        use_liger_kernel=machine["liger"],
        max_length=options["context"],
        packing=options["packing"] == "block",
        dataset_kwargs={"skip_prepare_dataset": True},
        dataloader_pin_memory=accelerated,
        save_strategy="steps",
        save_steps=machine["save_every"],
        save_total_limit=machine["keep"],
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=machine["report_to"] or "none",
        disable_tqdm=True,
    )


def _model(task: Task) -> Any:
    import torch

    transformers = imported()
    try:
        model = transformers.AutoModelForCausalLM.from_pretrained(
            task.model,
            revision=task.revision,
            dtype=torch.float32,
            attn_implementation=task.machine["attention"],
        )
    except (OSError, ValueError, ImportError) as error:
        raise DataError(f"{task.model} cannot be loaded: {error}") from error
    stops = model.generation_config.eos_token_id
    stops = [] if stops is None else [stops] if isinstance(stops, int) else list(stops)
    model.generation_config.eos_token_id = [task.stop, *(s for s in stops if s != task.stop)]
    return model


def _trainer(task: Task, args: Any, model: Any, tell: Callable[[dict[str, Any]], None]) -> Any:
    import datasets

    transformers, trl = imported(), imported("trl")

    class Quiet(trl.SFTTrainer):  # type: ignore[misc, name-defined]
        """Writes no model card into checkpoints, and tells nobody that it is used."""

        def _send_telemetry(self) -> None:
            pass

        def create_model_card(self, *args: Any, **named: Any) -> None:
            pass

    trainer = Quiet(
        model=model,
        args=args,
        train_dataset=datasets.Dataset.from_file(task.rows),
        processing_class=transformers.AutoTokenizer.from_pretrained(task.tokenizer),
        peft_config=_peft(task),
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.add_callback(watcher(task.told, tell))
    return trainer


def _peft(task: Task) -> Any:
    if task.lora is None:
        return None
    peft = imported("peft")
    return peft.LoraConfig(
        r=task.lora["rank"],
        lora_alpha=task.lora["alpha"],
        lora_dropout=task.lora["dropout"],
        target_modules=task.lora["targets"],
        task_type="CAUSAL_LM",
    )


def _room(task: Task, model: Any, checkpoints: Path) -> None:
    """Refuse before the first step what would fill the disk in the middle.

    Raises:
        StoreError: the checkpoints do not fit.
    """
    weights = sum(getattr(p, "ds_numel", p.numel()) for p in model.parameters())  # ZeRO-3's name
    one = weights * (4 if task.lora else ADAM_BYTES)
    needed = one * (task.machine["keep"] + 1) + 4 * weights
    checkpoints.mkdir(parents=True, exist_ok=True)
    there = sum(f.stat().st_size for f in checkpoints.rglob("*") if f.is_file())
    free = shutil.disk_usage(checkpoints).free + there
    if needed > free:
        raise StoreError(
            f"{checkpoints}: training takes {needed / 1e9:.1f} GB there, {free / 1e9:.1f} GB are"
            " free\n  next   free some space, or keep fewer checkpoints (`keep: 1`)"
        )


def _save(task: Task, trainer: Any) -> None:
    """The branch as a folder that loads anywhere, in the backbone's own float type."""
    import torch

    transformers = imported()
    config = transformers.AutoConfig.from_pretrained(task.model, revision=task.revision)
    dtype = config.dtype or torch.float32
    if task.lora is None:
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        model = trainer.accelerator.unwrap_model(trainer.model)
    else:
        model, state = _adapted(task, trainer)
    if trainer.accelerator.is_main_process:
        into = Path(task.into)
        model.save_pretrained(into, state_dict=_cast(state, dtype))
        model.config.dtype = dtype  # the model in memory is float32, and its cache is off
        model.config.use_cache = getattr(config, "use_cache", True)
        model.config.save_pretrained(into)
        trainer.processing_class.save_pretrained(into)
        if not served(into, task.stop):
            raise StageError(f"{into}: the saved model does not stop at token {task.stop}")
        history = [one for one in trainer.state.log_history if "loss" in one]
        ran = {
            "processes": trainer.accelerator.num_processes,
            "distributed": trainer.accelerator.distributed_type.value,
            "device": str(trainer.accelerator.device),
        }
        write_json(into / RECORD, {**task.told, "ran_on": ran, "history": history})
    trainer.accelerator.wait_for_everyone()


def _adapted(task: Task, trainer: Any) -> tuple[Any, Any]:
    """The backbone with the trained adapter merged into its weights."""
    peft = imported("peft")
    adapter = Path(task.checkpoints) / "adapter"
    trainer.save_model(str(adapter))
    if not trainer.accelerator.is_main_process:
        return None, None
    model = peft.PeftModel.from_pretrained(_model(task), adapter).merge_and_unload()
    return model, model.state_dict()


def _cast(state: dict[str, Any], dtype: Any) -> dict[str, Any]:
    """Every float tensor in that type; what shared memory still does."""
    done: dict[tuple[int, Any], Any] = {}
    cast = {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tuple(tensor.shape))
        if key not in done:
            kind = dtype if tensor.is_floating_point() else tensor.dtype
            done[key] = tensor.detach().to("cpu", kind).contiguous()
        cast[name] = done[key]
    return cast


def _told(error: Exception, checkpoints: Path) -> StageError:
    text = str(error).strip() or type(error).__name__
    last = last_whole(checkpoints)
    kept = f"{last.name} is kept" if last else "there is no checkpoint yet"
    if any(word in text.lower() for word in FULL):
        return StoreError(f"{checkpoints}: the disk is full; {kept}\n  next   free some space")
    if "out of memory" in text.lower():
        first = text.splitlines()[0]
        return StageError(
            f"{first}; {kept}\n  next   lower `per_device`, set `gradient_checkpointing: true`, or"
            " launch on more devices; none of these is part of the key"
        )
    return StageError(f"{type(error).__name__}: {text}; {kept}")


def record(folder: Path) -> dict[str, Any]:
    """What a branch's folder, or a checkpoint of it, says of its recipe, data and template."""
    found: dict[str, Any] = json.loads((folder / RECORD).read_bytes())
    return found
