"""A teacher that says what was recorded: for tests, and to run a pipeline again on its answers."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
from pydantic import Field, field_validator

from tracecraft import yaml
from tracecraft.distill.engine import Completion, Engine, Request, Session
from tracecraft.errors import DataError
from tracecraft.plugin import Volatile, file_digest
from tracecraft.schema import FINISHES


class Replay(Engine, use="replay"):
    """Recorded completions; sample `i` of a problem gets the answer at place `i`.

    The file is YAML, `statement: [answer, …]`, or JSON lines, `{"statement": …, "answers": […]}`;
    `prompt` instead of `statement` names the whole rendered prompt. An answer is a text, or a
    mapping with `text` and, if wanted, `finish`, `prompt_tokens`, `completion_tokens`.
    """

    path: Path = Field(strict=False)
    """The recording."""
    model: str = ""
    """Whose answers these are (`model@revision`); without it, the recording is the teacher."""
    seconds: Annotated[float, Volatile, Field(ge=0)] = 0.0
    """Time a completion takes."""

    @field_validator("path")
    @classmethod
    def _is_there(cls, path: Path) -> Path:
        if not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path

    def identity(self) -> dict[str, Any]:
        """The recording counts by its content, not by where it lies."""
        return {**super().identity(), "path": file_digest(self.path)}

    @property
    def teacher(self) -> str:
        return self.model or f"replay:{self.path.stem}@{file_digest(self.path)[:12]}"

    @contextmanager
    def open(self) -> Iterator[Session]:
        yield Recording(load_answers(self.path), self.seconds)


class Recording:
    """An opened recording."""

    def __init__(self, answers: Mapping[str, Sequence[Completion]], seconds: float = 0.0) -> None:
        self.answers = answers
        self.seconds = seconds
        self._around: tuple[str, str] = ("", "")
        self._last: tuple[str, Sequence[Completion] | None] = ("", None)

    def stream(self, requests: Iterable[Request]) -> Iterator[tuple[Request, Completion]]:
        for request in requests:
            if self.seconds:
                time.sleep(self.seconds)
            yield request, self._say(request)

    def _say(self, request: Request) -> Completion:
        if self._last[0] != request.prompt or self._last[1] is None:
            self._last = (request.prompt, self._find(request.prompt))
        said = self._last[1]
        if said is None:
            return _failed("nothing is recorded for this problem")
        if request.index >= len(said):
            return _failed(f"{len(said)} answers are recorded, not {request.index + 1}")
        return said[request.index]

    def _find(self, prompt: str) -> Sequence[Completion] | None:
        """By the whole prompt; else by the longest recorded statement that stands in it.

        One template makes all prompts of a stage, so what stood around the last statement is
        tried before all statements are.
        """
        before, after = self._around
        if prompt.startswith(before) and prompt.endswith(after):
            said = self.answers.get(prompt[len(before) : len(prompt) - len(after)])
            if said is not None:
                return said
        if prompt in self.answers:
            return self.answers[prompt]
        within = max((s for s in self.answers if s in prompt), key=len, default=None)
        if within is None:
            return None
        before, _, after = prompt.partition(within)
        self._around = (before, after)
        return self.answers[within]


def load_answers(path: Path) -> Mapping[str, Sequence[Completion]]:
    """Statement or prompt → its recorded answers.

    Raises:
        DataError: the file, or a line of it, is not a recording.
    """
    if path.suffix not in {".yaml", ".yml"}:
        return _Lines(path)
    told = yaml.load(path, DataError)
    if not isinstance(told, Mapping):
        raise DataError(f"{path}: must map a statement to its answers")
    return {str(asked): _answers(said, f"{path}: {asked!r}") for asked, said in told.items()}


class _Lines(Mapping[str, Sequence[Completion]]):
    """A recording in JSON lines: in memory what was asked, on disk what was said.

    A recording of long traces is larger than memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.places: dict[str, list[tuple[int, int]]] = {}
        """By what was asked: where each of its lines begins, and its length in bytes."""
        offset = 0
        try:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    asked, _ = _read(line, f"{path}:{number}")
                    self.places.setdefault(asked, []).append((offset, len(line)))
                    offset += len(line)
        except OSError as error:
            raise DataError(f"{path}: {(error.strerror or str(error)).lower()}") from None

    def __getitem__(self, asked: str) -> Sequence[Completion]:
        answers: list[Completion] = []
        with self.path.open("rb") as file:
            for offset, length in self.places[asked]:
                file.seek(offset)
                answers += _read(file.read(length), f"{self.path}: at byte {offset}")[1]
        return answers

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def __contains__(self, asked: object) -> bool:
        return asked in self.places


def _read(line: bytes, where: str) -> tuple[str, list[Completion]]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{where}: is not JSON: {error}") from None
    asked = row.get("prompt", row.get("statement")) if isinstance(row, dict) else None
    if not isinstance(asked, str):
        raise DataError(f"{where}: names no statement and no prompt")
    return asked, _answers(row.get("answers"), where)


def _answers(said: Any, where: str) -> list[Completion]:
    said = said if isinstance(said, list) else [said]
    return [_answer(one, where) for one in said]


def _answer(said: Any, where: str) -> Completion:
    if isinstance(said, str):
        return Completion(said, "stop", completion_tokens=len(said.split()))
    if isinstance(said, Mapping) and isinstance(said.get("text"), str):
        finish = said.get("finish", "stop")
        if finish not in FINISHES:
            raise DataError(f"{where}: finish is one of {', '.join(FINISHES)}, not {finish!r}")
        return Completion(
            said["text"],
            finish,
            said.get("prompt_tokens", 0),
            said.get("completion_tokens", len(said["text"].split())),
        )
    raise DataError(f"{where}: an answer is a text, or a mapping with `text`, not {said!r}")


def _failed(why: str) -> Completion:
    return Completion("", "failed", error=why)
