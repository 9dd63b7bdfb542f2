"""Whether a merged checkpoint can be used: it loads and speaks, in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tracecraft.errors import StageError
from tracecraft.merge import tokens
from tracecraft.merge.preflight import EMBEDDINGS
from tracecraft.merge.weights import Weights

WORDS = 8
"""Tokens that the model has to say."""
LOADED = 1.3
"""Memory that a loaded model takes, in bytes a byte of its files: activations and a margin."""
RUNTIME = 1 << 30
"""Memory that torch and transformers take before."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of trying a checkpoint."""

    problems: tuple[str, ...]
    """Why it cannot be used; empty: nothing was found."""
    notes: tuple[str, ...]
    """What was not tried, and why."""
    text: str
    """What the model said, greedily; empty where it was not asked."""

    def check(self, root: Path) -> None:
        """Raises StageError with every problem."""
        if self.problems:
            lines = "\n".join(f"  {problem}" for problem in self.problems)
            raise StageError(f"{root}: the merged model cannot be used:\n{lines}")


def try_out(root: Path) -> Tried:
    """Load tokenizer, chat template and model as a user would, and let it generate."""
    weights = Weights.look(root)
    problems, notes = _vocabulary(weights), []
    size = sum(place.bytes for place in weights.places.values())
    need, free = size * LOADED + RUNTIME, _available()
    if problems:
        return Tried(tuple(problems), (), "")
    if not tokens.has_tokenizer(root):
        notes.append("not asked to generate: it has no tokenizer")
    elif importlib.util.find_spec("transformers") is None:
        notes.append("not asked to generate: transformers is not installed")
    elif need > free:
        memory = f"{need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free"
        notes.append(f"not asked to generate: loading it takes {memory}")
    else:
        spoken = _spoken(root)
        problems += [spoken["error"]] if "error" in spoken else []
        return Tried(tuple(problems), tuple(notes), spoken.get("text", ""))
    return Tried(tuple(problems), tuple(notes), "")


def _vocabulary(weights: Weights) -> list[str]:
    """Rows of the embedding against configuration and tokenizer."""
    rows = [p.shape[0] for n, p in weights.places.items() if n.endswith(EMBEDDINGS) and p.shape]
    problems = []
    said = weights.config.get("vocab_size")
    if rows and said is not None and said != min(rows):
        problems.append(f"config.json says vocab_size {said}, the embedding has {min(rows)} rows")
    known = tokens.vocabulary(weights.root)
    top = max(known.values(), default=-1) if known else -1
    if rows and top >= min(rows):
        problems.append(f"the tokenizer has the id {top}, the embedding {min(rows)} rows")
    return problems


def _available() -> float:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") + _cached()


def _cached() -> float:
    info = Path("/proc/meminfo")
    if not info.exists():
        return 0.0
    found = dict(line.split(":") for line in info.read_text().splitlines() if ":" in line)
    return float(found.get("Cached", "0 kB").split()[0]) * 1024


def _spoken(root: Path) -> dict[str, str]:
    command = [sys.executable, "-m", __name__, str(root)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode == 0:
        return dict(json.loads(ended.stdout.splitlines()[-1]))
    last = (ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"])[-1]
    return {"error": f"it cannot be loaded: {last}"}


def _speak(root: str) -> dict[str, str]:
    """Runs in the other process."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(root)
    if tokenizer.chat_template:
        chat = [{"role": "user", "content": "1 + 1 = ?"}]
        prompt = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        if "1 + 1 = ?" not in prompt:
            return {"error": "the chat template leaves out what the user says"}
    else:
        prompt = "1 + 1 ="
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
    if ids.shape[1] == 0:
        return {"error": "the tokenizer makes no tokens of a prompt"}
    model: Any = AutoModelForCausalLM.from_pretrained(root, dtype="auto")
    model.eval()
    with torch.inference_mode():
        logits = model(ids).logits
        if not torch.isfinite(logits).all():
            return {"error": "the model gives logits that are not finite"}
        said = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=WORDS, do_sample=False
        )
    return {"text": tokenizer.decode(said[0, ids.shape[1] :])}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_speak(sys.argv[1])) + "\n")
