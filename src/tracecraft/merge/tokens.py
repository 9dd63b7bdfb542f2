"""The tokenizer and chat template of a checkpoint folder, compared without loading them."""

from pathlib import Path
from typing import Any

import orjson

from tracecraft.errors import DataError
from tracecraft.plugin import file_digest

TOKENIZER = "tokenizer.json"
SIDE_FILES = (
    TOKENIZER,
    "tokenizer_config.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
)
"""What a checkpoint holds beside configuration and weights; copied from the model merged into."""


def side_files(root: Path) -> list[Path]:
    """The files of that kind which are there; code files of custom models too."""
    named = [root / name for name in SIDE_FILES if (root / name).is_file()]
    return named + sorted(root.glob("*.py"))


def has_tokenizer(root: Path) -> bool:
    """Whether there is a tokenizer of any kind."""
    kinds = (TOKENIZER, "tokenizer.model", "vocab.json", "vocab.txt")
    return any((root / name).is_file() for name in kinds)


def vocabulary(root: Path) -> dict[str, int] | None:
    """Token to id, the added ones too; None where there is no tokenizer.json."""
    path = root / TOKENIZER
    if not path.is_file():
        return None
    found = _object(path)
    model = found.get("model", {}).get("vocab", {})
    if isinstance(model, list):  # unigram: [token, score] by id
        tokens = {entry[0]: i for i, entry in enumerate(model)}
    else:
        tokens = dict(model)
    return tokens | {entry["content"]: entry["id"] for entry in found.get("added_tokens", [])}


def template(root: Path) -> str | None:
    """The chat template's text; None where there is none."""
    if (root / "chat_template.jinja").is_file():
        return (root / "chat_template.jinja").read_text(encoding="utf-8")
    path = root / "tokenizer_config.json"
    found = _object(path).get("chat_template") if path.is_file() else None
    return orjson.dumps(found).decode() if isinstance(found, list) else found


def same_tokenizer(one: Path, two: Path) -> bool:
    """Whether both have the same tokenizer file, byte for byte."""
    files = [root / TOKENIZER for root in (one, two)]
    if not all(file.is_file() for file in files):
        return False
    sizes = {file.stat().st_size for file in files}
    return len(sizes) == 1 and len({file_digest(file) for file in files}) == 1


def disagreement(one: Path, two: Path) -> str | None:
    """The first id that means another token in each of two folders; None where none does."""
    if same_tokenizer(one, two):
        return None
    first, second = vocabulary(one), vocabulary(two)
    if first is None or second is None:
        return None
    tokens = {i: token for token, i in first.items()}
    clashes = [
        (i, tokens[i], token) for token, i in second.items() if i in tokens and tokens[i] != token
    ]
    if not clashes:
        return None
    i, here, there = min(clashes)
    return f"{len(clashes)} ids mean different tokens, first {i}: {here!r} and {there!r}"


def _object(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: is not a JSON object")
    return found
