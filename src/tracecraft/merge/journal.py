"""The tensors of an unfinished merge that are already on disk: one line each, after the bytes."""

import fcntl
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tracecraft.errors import DataError, StoreError
from tracecraft.store import refused

JOURNAL = ".merge.journal"
PARTIAL = ".partial"
BOOT = Path("/proc/sys/kernel/random/boot_id")


class Journal:
    """Open while a merge writes into a folder; a second process is refused.

    A killed process leaves its bytes in the kernel, a machine that went down may not: lines
    written before the last start of the machine do not count.
    """

    def __init__(self, root: Path, key: str) -> None:
        self.root, self.key = root, key
        self.path = root / JOURNAL
        self.done: dict[str, dict[str, Any]] = {}
        self._handle = -1

    def __enter__(self) -> Self:
        """Take the folder.

        Raises:
            StoreError: another process has it, or it cannot be written.
            DataError: something else lies in it.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if not self.path.exists() and any(self.root.iterdir()):
                raise DataError(
                    f"{self.root} holds another merge, or something else"
                    "\n  next   name a folder that does not exist yet"
                )
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._handle)
            raise StoreError(f"{self.root}: another process is merging into it") from None
        except OSError as error:
            refused(self.path, error)
        self._load()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._handle)

    def end(self) -> None:
        """The merge is done; its journal goes."""
        self.path.unlink()

    def add(self, name: str, told: dict[str, Any]) -> None:
        """The tensor's bytes are written, and this is what is told of it."""
        line = json.dumps({"tensor": name, "told": told}, separators=(",", ":")) + "\n"
        try:
            os.write(self._handle, line.encode())
        except OSError as error:
            refused(self.path, error)
        self.done[name] = told

    @staticmethod
    def left(root: Path) -> bool:
        """Whether an unfinished merge lies in a folder."""
        return (root / JOURNAL).exists()

    def _load(self) -> None:
        head = json.dumps({"key": self.key, "boot": _boot()})
        lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        if lines[0] != head:
            for leftover in self.root.glob(f"*{PARTIAL}"):
                leftover.unlink()
            os.ftruncate(self._handle, 0)
            os.write(self._handle, f"{head}\n".encode())
            return
        whole = lines[1:-1]  # what follows the last newline was cut by the kill
        for line in whole:
            entry = json.loads(line)
            self.done[entry["tensor"]] = entry["told"]
        kept = sum(len(line.encode()) + 1 for line in [head, *whole])
        os.ftruncate(self._handle, kept)


def _boot() -> str:
    return BOOT.read_text().strip() if BOOT.exists() else ""
