"""What the engines share that load a model's weights themselves: which model, and its template."""

import hashlib
import os
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from tracecraft.distill import embedded
from tracecraft.distill.engine import Engine, Message
from tracecraft.distill.prompt import begin
from tracecraft.errors import EngineError, MissingExtra
from tracecraft.plugin import digest
from tracecraft.store import OUTPUT
from tracecraft.think import CLOSE, OPEN

EMBEDDED = "embedded"
STEP = "step"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_WHOLE_BYTES = 64 << 20
_SAMPLES, _SAMPLE_BYTES = 1_000, 4_096


class Weights(Engine):
    """An engine that runs a model in this process."""

    model: str
    """A hub id, a folder that holds a model, `embedded`, or `step`: the model that a step makes
    which the stage names in `from:`."""
    revision: str = ""
    """Commit of a hub id, which must be pinned. For a folder, a name for its weights that is
    trusted; without one, the folder is known by its content."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Numbers to compute in; `auto` is what the model's files say."""
    max_model_len: int | None = Field(default=None, gt=0)
    """Most tokens of prompt and completion together; without it, what the model can. A completion
    that reaches it has finish `length`: to ask again with more room, raise `max_tokens` too."""

    @model_validator(mode="after")
    def _is_there(self) -> Self:
        folder = Path(self.model).expanduser()
        if self.model in (EMBEDDED, STEP) or (folder / "config.json").is_file():
            return self
        if folder.exists():
            raise ValueError(f"model: {self.model} holds no model: it has no config.json")
        if not _HUB_ID.fullmatch(self.model) or self.model.startswith("."):
            raise ValueError(f"model: there is no folder {self.model}, and it is no hub id")
        if not self.revision:
            raise ValueError(
                f"revision: is missing: {self.model} is no folder here, and a hub model must be"
                " pinned, as in `revision: 56d4cbb`"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """A folder counts by its content, not by where it lies."""
        return {**super().identity(), "model": self._name()}

    @property
    def teacher(self) -> str:
        """`model@revision`, and whatever else changes what it says."""
        changed = {"dtype": self.dtype} if self.dtype != "auto" else {}
        changed |= self.altered()
        return self._name() + "".join(f"+{k}={short(v)}" for k, v in sorted(changed.items()))

    def altered(self) -> dict[str, Any]:
        """Options of the engine that make another teacher of the same weights."""
        return {}

    @property
    def takes_model(self) -> bool:
        return self.model == STEP

    def with_model(self, home: Path) -> Self:
        if not (home / OUTPUT / "config.json").is_file():
            raise EngineError(f"{home.name} made no model: its output has no config.json")
        return self.model_copy(update={"model": str(home / OUTPUT), "revision": ""})

    def _name(self) -> str:
        if self.model == EMBEDDED:
            return embedded.teacher()
        if self.model == STEP:
            return STEP
        folder = Path(self.model).expanduser()
        if not folder.is_dir():
            return f"{self.model}@{self.revision}"
        folder = folder.resolve()
        made = folder.name == OUTPUT  # by a step, whose home is `name-key`
        called = folder.parent.name.rpartition("-")[0] if made else folder.name
        return f"{called}@{self.revision or content(folder)}"

    def place(self) -> str:
        """What the libraries are told to load: a folder, or the hub id."""
        if self.model == EMBEDDED:
            return str(embedded.folder())
        folder = Path(self.model).expanduser()
        return str(folder.resolve()) if folder.is_dir() else self.model

    def tokenizer(self) -> Any:
        """The model's own, loaded once.

        Raises:
            EngineError: it can't be loaded.
        """
        return load_tokenizer(self.place(), self.revision or None)

    def render(self, messages: Sequence[Message], opening: str = "") -> str:
        return templated(self.tokenizer(), self.model, messages, opening)


def templated(tokenizer: Any, model: str, messages: Sequence[Message], opening: str) -> str:
    """The prompt text that a model's own chat template makes, ending with `opening`.

    Raises:
        EngineError: it has no template, or one that refuses the messages.
    """
    from jinja2 import TemplateError

    words = [w for w in tokenizer.all_special_tokens if w not in (OPEN, CLOSE)]
    harmless = [{**m, "content": _harmless(m["content"], words)} for m in messages]
    try:
        text = tokenizer.apply_chat_template(harmless, tokenize=False, add_generation_prompt=True)
    except (ValueError, TemplateError) as error:
        raise EngineError(
            f"{model}: its chat template can't be used: {first_line(error)}"
            "\n  next   take an instruction-tuned model: a base model has no chat template"
        ) from error
    return begin(text, opening)


def _harmless(content: str, words: Sequence[str]) -> str:
    """A statement that holds `<|im_end|>` must not end the turn: a space takes its power away."""
    for word in words:
        content = content.replace(word, f"{word[:1]} {word[1:]}")
    return content


def first_line(error: BaseException) -> str:
    """What an exception says, in one line."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def short(value: Any) -> str:
    """An option's value for a teacher's name: as it is, or its digest."""
    text = str(value)
    return text if re.fullmatch(r"[\w.-]{1,40}", text) else digest(value)


@lru_cache(maxsize=8)
def load_tokenizer(place: str, revision: str | None) -> Any:
    """The tokenizer in a folder, or of a hub id.

    Raises:
        EngineError: it can't be loaded: where, what, what next.
    """
    if "torch" not in sys.modules:  # which reads these once, as it is imported
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingExtra("transformers", "local", "a model in this process") from None
    revision = None if Path(place).is_dir() else revision
    try:
        return AutoTokenizer.from_pretrained(place, revision=revision)
    except (OSError, ValueError) as error:
        raise EngineError(
            f"{place}: its tokenizer can't be loaded: {first_line(error)}"
            "\n  next   name a folder that holds the whole model, or check the hub id, its"
            " revision, and that the hub can be reached (HF_TOKEN where it asks for one)"
        ) from error


@lru_cache(maxsize=8)
def content(folder: Path) -> str:
    """12 hex digits that tell two models apart.

    Files up to 64 MiB are read whole; of larger ones, which hold hundreds of GB in all, 1,000
    places of 4 KiB in even steps, so that any tensor above a thousandth of its file is seen.
    """
    hasher = hashlib.blake2b(digest_size=6)
    for path in sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith(".")):
        size = path.stat().st_size
        hasher.update(f"{path.name}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= _WHOLE_BYTES:
                hasher.update(file.read())
                continue
            for i in range(_SAMPLES):
                where = (size - _SAMPLE_BYTES) * i // (_SAMPLES - 1)
                hasher.update(os.pread(file.fileno(), _SAMPLE_BYTES, where))
    return hasher.hexdigest()
