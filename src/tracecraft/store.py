"""What lies on disk: a Dataset is a directory of Arrow shards, one folder a domain.

Every file is written whole or not at all: temporary file, fsync, rename, fsync of the folder. A
manifest is written last, so its existence means that what it lists is complete.
"""

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn, Self

import polars as pl

from tracecraft.errors import StoreError
from tracecraft.plugin import file_digest

MANIFEST = "manifest.json"
OUTPUT = "output"
"""Where a step keeps what its job made."""
STALE_SECONDS = 600.0
"""A claim whose heartbeat is older than this was left by a host that died."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One Arrow IPC file of rows."""

    path: Path
    rows: int
    digest: str
    """blake2b of the bytes."""
    bytes: int

    def scan(self) -> pl.LazyFrame:
        """The rows, not yet read."""
        return pl.scan_ipc(self.path, glob=False)


@dataclass(frozen=True, slots=True)
class Dataset:
    """A finished output: its folder and its shards in row order."""

    root: Path
    shards: tuple[Shard, ...]

    @classmethod
    def open(cls, root: Path) -> Self:
        """The dataset that a step's manifest lists; `root` is the step's home.

        Raises:
            StoreError: there is no manifest, or a shard is missing.
        """
        manifest = Manifest.read(root)
        shards = tuple(
            Shard(root / "shards" / name, rows, digest, size)
            for name, (rows, digest, size) in manifest.shards.items()
        )
        for shard in shards:
            if not shard.path.exists():
                raise StoreError(
                    f"{shard.path} is gone, though the manifest lists it"
                    "\n  next   run the recipe again: it remakes this shard alone"
                )
        return cls(root, shards)

    @property
    def rows(self) -> int:
        """How many rows all shards hold."""
        return sum(shard.rows for shard in self.shards)

    def scan(self) -> pl.LazyFrame:
        """All rows in order, not yet read."""
        return pl.scan_ipc([shard.path for shard in self.shards], glob=False)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a step did. `rows_in = rows_out + dropped` unless the step fans out or is a source."""

    name: str
    identity: dict[str, Any]
    inputs: list[str]
    rows_in: int
    rows_out: int
    dropped: dict[str, int]
    shards: dict[str, tuple[int, str, int]]
    """Path below `shards/` to rows, digest, bytes; in row order."""
    files: dict[str, int] = field(default_factory=dict)
    """What else it made, path below its home to bytes: ledgers of drops, a job's output."""
    seconds: float = 0.0
    facts: dict[str, float | int | str] = field(default_factory=dict)
    """What the stage counted while it ran: tokens, requests answered from the ledger, …"""
    made_by: dict[str, str] = field(default_factory=dict)
    """tracecraft's version, git revision, host, time."""

    @classmethod
    def read(cls, home: Path) -> Self:
        """Raises StoreError where the step is not finished or the file is damaged."""
        try:
            found = json.loads((home / MANIFEST).read_text())
            found["shards"] = {k: tuple(v) for k, v in found["shards"].items()}
            return cls(**found)
        except FileNotFoundError:
            raise StoreError(f"{home} is not finished: it has no {MANIFEST}") from None
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(
                f"{home / MANIFEST} is damaged: {error}"
                f"\n  next   remove {home} and run the recipe again"
            ) from None

    def write(self, home: Path) -> None:
        """Last of all: its existence means the step is done."""
        write_json(home / MANIFEST, asdict(self))

    def whole(self, home: Path) -> bool:
        """Whether every file it lists lies there with its size."""
        sizes = {f"shards/{name}": size for name, (_, _, size) in self.shards.items()}
        return all(size_of(home / name) == size for name, size in (sizes | self.files).items())


def write_shard(table: pl.DataFrame, path: Path) -> Shard:
    """Write whole or not at all; the same table gives the same bytes.

    Raises:
        StoreError: the disk is full or cannot be written.
    """
    with replacing(path) as half:
        table.rechunk().write_ipc(half, compression="zstd")
    return Shard(path, table.height, file_digest(path), path.stat().st_size)


def write_json(path: Path, value: Any) -> None:
    """Pretty JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """A small text file, whole or not at all."""
    with replacing(path) as half:
        half.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well.

    Raises:
        StoreError: the disk is full or cannot be written; `path` is as it was.
    """
    half = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.half")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield half
        with half.open("rb") as file:
            os.fsync(file.fileno())
        half.replace(path)
        _sync_folder(path.parent)
    except (OSError, pl.exceptions.ComputeError) as error:
        refused(path, error)
    finally:
        half.unlink(missing_ok=True)


def refused(path: Path, error: Exception) -> NoReturn:
    """Raise the StoreError that tells what the disk said of `path`."""
    reason = getattr(error, "strerror", None) or str(error)
    full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or "os error 28" in reason
    advice = "free some space" if full else "check the folder's permissions and the disk"
    raise StoreError(
        f"{path}: cannot be written: {'No space left on device' if full else reason}"
        f"\n  next   {advice}, then run again: finished work is kept"
    ) from error


class Claims:
    """Who works on which batch of a step, across processes and hosts that share a store.

    A claim is a file that names host and process, taken under a lock; its holder touches it. One
    whose process is gone (same host) or silent for `STALE_SECONDS` (another host) is taken over.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.me = f"{os.uname().nodename} {os.getpid()}"
        self._held: set[Path] = set()
        self._stop = threading.Event()
        self._pulse: threading.Thread | None = None

    @contextlib.contextmanager
    def hold(self, name: str) -> Iterator[bool]:
        """True while the block runs if the claim is ours, False if somebody else works on it."""
        ours = self.take(name)
        try:
            yield ours
        finally:
            if ours:
                self.give_back(name)

    def take(self, name: str) -> bool:
        """Whether the claim is ours: by now, or already."""
        path = self.folder / f"{name}.claim"
        if path not in self._held and not self._take(path):
            return False
        self._held.add(path)
        self._start_pulse()
        return True

    def give_back(self, name: str) -> None:
        """Let others have it."""
        path = self.folder / f"{name}.claim"
        self._held.discard(path)
        with contextlib.suppress(FileNotFoundError):
            if path.read_text() == self.me:
                path.unlink()

    def release(self, holder: str) -> None:
        """Let others have what a process holds that is known to be dead."""
        for path in self.folder.glob("*.claim"):
            with contextlib.suppress(FileNotFoundError):
                if path.read_text() == holder:
                    path.unlink()

    def close(self) -> None:
        """Give back what is held, stop the heartbeat, and leave no empty folder."""
        for path in list(self._held):
            self.give_back(path.stem)
        self._stop.set()
        if self._pulse is not None:
            self._pulse.join()
        with contextlib.suppress(OSError), self._lock():
            self.folder.rmdir()

    def _take(self, path: Path) -> bool:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with self._lock():
                self.folder.mkdir(exist_ok=True)
                if path.exists() and not self._stale(path):
                    return False
                path.write_text(self.me)
                return True
        except OSError as error:
            refused(path, error)

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Two processes that find the same stale claim must not both take it."""
        handle = os.open(self.folder.parent / ".lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _stale(self, path: Path) -> bool:
        host, _, pid = path.read_text().rpartition(" ")
        if host == os.uname().nodename and pid.isdigit() and not _alive(int(pid)):
            return True
        return time.time() - path.stat().st_mtime > STALE_SECONDS  # its number may be another's now

    def _start_pulse(self) -> None:
        if self._pulse is None:
            self._pulse = threading.Thread(target=self._beat, daemon=True)
            self._pulse.start()

    def _beat(self) -> None:
        while not self._stop.wait(STALE_SECONDS / 20):
            for path in list(self._held):
                with contextlib.suppress(OSError):
                    os.utime(path)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def size_of(path: Path) -> int:
    """A file's bytes; -1 where it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
