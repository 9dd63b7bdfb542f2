"""The tensors of a checkpoint folder in safetensors files: where they lie, and their bytes."""

import json
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from tracecraft.errors import DataError
from tracecraft.merge.dtypes import BY_CODE, Float

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
CODE_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2}
CODE_BYTES |= {"F16": 2, "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "I64": 8, "U64": 8, "F64": 8}


@dataclass(frozen=True, slots=True)
class Place:
    """Where one tensor lies."""

    file: str
    """Name in the folder."""
    start: int
    """First byte in the file."""
    code: str
    """Element type as the safetensors header spells it."""
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Length in the file."""
        return prod(self.shape) * CODE_BYTES[self.code]

    @property
    def kind(self) -> Float | None:
        """Its float type; None for integers, booleans, and floats that cannot be merged."""
        return BY_CODE.get(self.code)


@dataclass(frozen=True, slots=True)
class Weights:
    """A checkpoint folder whose headers have been read."""

    root: Path
    config: dict[str, Any]
    places: dict[str, Place]
    """By tensor name, in the order of the files and of the bytes in them."""
    files: tuple[str, ...]
    _maps: dict[str, mmap.mmap] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def look(cls, root: Path) -> Self:
        """Read configuration and headers; no weight is read.

        Raises:
            DataError: no checkpoint, one in another format, or a file that is cut or damaged.
        """
        config = _config(root)
        files = _files(root)
        places: dict[str, Place] = {}
        for file in files:
            for name, place in _header(root, file):
                if name in places:
                    raise DataError(f"{root / file}: tensor {name} is in {places[name].file} too")
                places[name] = place
        if (root / INDEX).exists():
            listed = _json(root / INDEX).get("weight_map", {})
            missing = sorted(listed.keys() - places.keys())
            if missing:
                raise DataError(
                    f"{root / INDEX}: lists {len(missing)} tensors that no file holds, first"
                    f" {missing[0]}\n  next   copy the checkpoint again"
                )
        return cls(root, config, places, files)

    @contextmanager
    def opened(self) -> Iterator[Self]:
        """The files are mapped for `view` while the block runs."""
        try:
            for file in self.files:
                with (self.root / file).open("rb") as handle:
                    self._maps[file] = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
            yield self
        finally:
            self._maps.clear()  # a mapping ends with the last view of it

    def view(self, place: Place, first: int, count: int, raw: str) -> NDArray[Any]:
        """Elements [first, first + count) of a tensor as `raw`, to be read only.

        Raises:
            DataError: the file has become shorter than its header says.
        """
        size = np.dtype(raw).itemsize
        at = place.start + first * size
        if at + count * size > len(self._maps[place.file]):
            raise DataError(f"{self.root / place.file}: was cut after its header was read")
        if count == 0:
            return np.empty(0, raw)
        found = np.frombuffer(self._maps[place.file], raw, count, at)
        return found if at % size == 0 else found.copy()

    def release(self, place: Place, first: int, count: int) -> None:
        """Gives back the memory of what `view` showed; it may be shown again."""
        size = CODE_BYTES[place.code]
        at = place.start + first * size
        page = at % mmap.PAGESIZE
        if count:
            self._maps[place.file].madvise(mmap.MADV_DONTNEED, at - page, count * size + page)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, orjson.JSONDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"{path}: is not a JSON object")
    return found


def _config(root: Path) -> dict[str, Any]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder\n  next   give a folder with a {CONFIG}")
    if not (root / CONFIG).exists():
        raise DataError(f"{root}: has no {CONFIG}, so it is no checkpoint of transformers")
    return _json(root / CONFIG)


def _files(root: Path) -> tuple[str, ...]:
    if (root / INDEX).exists():
        listed = sorted(set(_json(root / INDEX).get("weight_map", {}).values()))
        gone = [file for file in listed if not (root / file).exists()]
        if gone:
            raise DataError(f"{root}: {gone[0]} is missing, though {INDEX} lists it")
        return tuple(listed)
    if (root / SINGLE).exists():
        return (SINGLE,)
    others = sorted(path.name for path in root.iterdir() if path.suffix in {".bin", ".pth", ".pt"})
    told = f"; {others[0]} is of another format" if others else ""
    raise DataError(
        f"{root}: has neither {SINGLE} nor {INDEX}{told}"
        "\n  next   save it with save_pretrained, which writes safetensors"
    )


def _header(root: Path, file: str) -> Iterator[tuple[str, Place]]:
    path = root / file
    size = path.stat().st_size
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > size - 8:
            raise DataError(f"{path}: is cut or no safetensors file: {size} bytes")
        try:
            header = orjson.loads(handle.read(length))
        except orjson.JSONDecodeError as error:
            raise DataError(f"{path}: its header is damaged: {error}") from None
    entries = [(name, entry) for name, entry in header.items() if name != "__metadata__"]
    for name, entry in sorted(entries, key=lambda item: item[1]["data_offsets"][0]):
        start, end = entry["data_offsets"]
        if entry["dtype"] not in CODE_BYTES:
            raise DataError(f"{path}: {name} has the unknown element type {entry['dtype']}")
        place = Place(file, 8 + length + start, entry["dtype"], tuple(entry["shape"]))
        if place.bytes != end - start or 8 + length + end > size:
            raise DataError(
                f"{path}: {name} does not fit: the file is cut or damaged"
                "\n  next   copy the checkpoint again"
            )
        yield name, place


def header_of(tensors: dict[str, tuple[str, tuple[int, ...]]]) -> tuple[bytes, dict[str, int]]:
    """The first bytes of a safetensors file for tensors of those codes and shapes, in order.

    Also where in the file each tensor starts.
    """
    entries: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at, offsets = 0, {}
    for name, (code, shape) in tensors.items():
        end = at + prod(shape) * CODE_BYTES[code]
        entries[name] = {"dtype": code, "shape": list(shape), "data_offsets": [at, end]}
        offsets[name], at = at, end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    head = len(text).to_bytes(8, "little") + text
    return head, {name: len(head) + offset for name, offset in offsets.items()}
