"""What a small hub holds: repositories in memory, uploaded content, and what is to go wrong."""

import hashlib
import re
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

WRITER = "hf_WriterWriterWriterWriterWriterWr"
READER = "hf_ReaderReaderReaderReaderReaderRe"
STRANGER = "hf_StrangerStrangerStrangerStranger"
USERS = {
    WRITER: {"name": "ann", "orgs": [{"name": "org"}], "role": "write"},
    READER: {"name": "ann", "orgs": [{"name": "org"}], "role": "read"},
    STRANGER: {"name": "bob", "orgs": [], "role": "write"},
}
LARGE = (".parquet", ".arrow", ".safetensors")
"""What a new repository's .gitattributes sends through LFS."""


@dataclass
class Blob:
    """A file in a commit: its content, or the address of a large one."""

    content: bytes = b""
    lfs: str | None = None
    size: int = 0


@dataclass
class Repo:
    private: bool = False
    commits: dict[str, dict[str, Blob]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)

    @property
    def head(self) -> str:
        return list(self.commits)[-1]

    @property
    def files(self) -> dict[str, Blob]:
        return self.commits[self.head]

    def commit(self, files: dict[str, Blob], message: str) -> str:
        sha = hashlib.sha1(f"{time.time_ns()} {len(self.commits)}".encode()).hexdigest()
        self.commits[sha] = files
        self.messages.append(message)
        return sha


@dataclass
class Fault:
    """What goes wrong: on which request, how often, and how."""

    method: str
    path: str
    """A regular expression that is found in the path."""
    what: int | str | Callable[[], object]
    """A status, or `reset` (no answer), `lost` (done, but no answer), `hang`, or what somebody
    else does just before."""
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)


class Hub:
    """The state, and what was asked."""

    def __init__(self, folder: Path) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.lfs: dict[str, bytes] = {}
        self.asked: list[tuple[str, str, int]] = []
        """Method, path, bytes of the body."""
        self.faults: list[Fault] = []
        self.hanging = threading.Event()
        self.go_on = threading.Event()
        self.lock = threading.Lock()
        self.xet = folder / "xet"
        self.url = ""

    def repo(self, kind: str, name: str, files: dict[str, bytes] | None = None) -> Repo:
        """A repository with a first commit, as the hub makes one."""
        made = Repo()
        blobs = {p: Blob(c, None, len(c)) for p, c in (files or {}).items()}
        made.commit({".gitattributes": Blob(b"*.parquet\n", None, 10), **blobs}, "initial commit")
        self.repos[kind, name] = made
        return made

    def text(self, kind: str, name: str, path: str) -> str:
        return self.content(self.repos[kind, name].files[path]).decode()

    def content(self, blob: Blob) -> bytes:
        if blob.lfs is None:
            return blob.content
        return self.lfs[blob.lfs] if blob.lfs in self.lfs else self._put_together(blob)

    def _put_together(self, blob: Blob) -> bytes:
        """A file from its chunks, for those who ask for bytes."""
        import hf_xet

        place = self.xet / "whole"
        group = hf_xet.XetSession().new_file_download_group(
            endpoint=f"local://{self.xet}", token="x", token_expiry_unix_secs=2**40
        )
        with group:
            info = hf_xet.XetFileInfo(in_xet(self.xet)[blob.lfs], blob.size)
            group.start_download_file(info, str(place))
        return place.read_bytes()

    def sent(self, method: str, pattern: str) -> int:
        """Bytes of all bodies of such requests."""
        return sum(n for m, path, n in self.asked if m == method and re.search(pattern, path))

    def count(self, method: str, pattern: str) -> int:
        return sum(1 for m, path, _ in self.asked if m == method and re.search(pattern, path))


def in_xet(folder: Path) -> dict[str, str]:
    """sha256 of every file that xet holds, to xet's own hash of it.

    A shard begins with 48 bytes of header; then, file by file, records of 48 bytes: hash, flags and
    count; that many segments, as many checks (flag 31), and the sha256 (flag 30).
    """
    found = {}
    for shard in folder.glob("**/shards/*.mdb"):
        data, at = shard.read_bytes(), 48
        while data[at : at + 32] != b"\xff" * 32:
            flags, count = struct.unpack_from("<II", data, at + 32)
            end = at + 48 * (1 + count + (count if flags >> 31 & 1 else 0))
            if flags >> 30 & 1:
                found[words(data[end : end + 32])] = words(data[at : at + 32])
                end += 48
            at = end
    return found


def words(raw: bytes) -> str:
    """A hash as xet writes it: four little-endian words."""
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", raw))


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def pointer(blob: Blob) -> bytes:
    """What git itself holds of a large file."""
    head = "version https://git-lfs.github.com/spec/v1"
    return f"{head}\noid sha256:{blob.lfs}\nsize {blob.size}\n".encode()
