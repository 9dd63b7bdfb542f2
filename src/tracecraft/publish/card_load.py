"""How to load a published dataset, in the words of those who train with it."""

from collections.abc import Iterable, Sequence
from typing import Any

CONTEXT_STEP = 1024
"""The training window that a card names is a multiple of this."""
UNKNOWN = 16384
"""The window that it names where the lengths are not known: TinyR1's (arXiv 2503.04872)."""


def context_of(tokens: Iterable[int]) -> int:
    """A window that cuts no example; 0 where their lengths are not known."""
    longest = max(tokens, default=0)
    return -(-longest // CONTEXT_STEP) * CONTEXT_STEP


def how_to_load(repo: str, config: str, context: int, *, chat: bool) -> list[str]:
    """Snippets for `datasets` and, for rows of chat messages, TRL, LLaMA-Factory and axolotl."""
    lines = [
        "## Load it",
        "",
        "```python",
        "import datasets",
        "",
        f'rows = datasets.load_dataset("{repo}", "{config}", split="train")',
        f'some = datasets.load_dataset("{repo}", "{config}", split="train", streaming=True)',
        "```",
    ]
    return lines + _trainers(repo, config, context or UNKNOWN) if chat else lines


def _trainers(repo: str, config: str, window: int) -> list[str]:
    return [
        "",
        "TRL (its default window of 1024 tokens would cut answers off):",
        "",
        "```python",
        "from trl import SFTConfig, SFTTrainer",
        "",
        f"config = SFTConfig(max_length={window})",
        'SFTTrainer(model="…", args=config, train_dataset=rows.select_columns("messages")).train()',
        "```",
        "",
        "LLaMA-Factory (it reads `dataset_info.json` from here):",
        "",
        "```yaml",
        f"dataset_dir: REMOTE:{repo}",
        f"dataset: {config}",
        f"cutoff_len: {window}",
        "```",
        "",
        "axolotl:",
        "",
        "```yaml",
        "datasets:",
        f"- path: {repo}",
        f"  name: {config}",
        "  type: chat_template",
        "  field_messages: messages",
        f"sequence_len: {window}",
        "```",
    ]


def llamafactory_info(repo: str, configs: Sequence[str]) -> dict[str, Any]:
    """`dataset_info.json`: one entry a configuration of chat messages."""
    tags = {"role_tag": "role", "content_tag": "content"}
    tags |= {f"{one}_tag": one for one in ("user", "assistant", "system")}
    return {
        config: {
            "hf_hub_url": repo,
            "subset": config,
            "split": "train",
            "formatting": "sharegpt",
            "columns": {"messages": "messages"},
            "tags": tags,
        }
        for config in configs
    }
