"""LiveCodeBench's packed tests: base64 of zlib of a pickle, read without unpickling."""

import base64
import binascii
import json
import pickletools
import zlib
from typing import Any

__all__ = ["private_cases", "unpacked"]

_MOST = 1 << 30
"""Bytes a set of tests may have when unpacked."""
_TEXTS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_SCAFFOLD = {"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "STOP"}
_OF_TEXTS = {"DICT", "EMPTY_DICT", "MARK", "SETITEM", "SETITEMS"}
"""What a dictionary adds to these."""


def private_cases(value: Any) -> list[Any]:
    """The test cases, whether they are plain JSON or packed.

    Raises:
        ValueError: they are neither.
    """
    if not isinstance(value, (str, bytes)):
        return list(value or ())
    if not value:
        return []
    text = value if isinstance(value, str) else value.decode()
    if text.lstrip().startswith(("[", "{")):
        return list(json.loads(text))
    found = unpacked(text)
    if found is None or isinstance(found, dict):
        raise ValueError("private tests are neither JSON nor packed")
    return list(found)


def unpacked(text: str) -> Any:
    """What was packed: a list of cases, or a dictionary of texts; None for any other text.

    Raises:
        ValueError: it is packed, and holds more than that.
    """
    try:
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(base64.b64decode(text.strip(), validate=True), _MOST)
    except (binascii.Error, zlib.error, ValueError):
        return None
    if unpacking.unconsumed_tail:
        raise ValueError(f"packed tests are larger than {_MOST} bytes")
    if data.lstrip().startswith((b"[", b"{")):
        return json.loads(data)
    texts, mapping = _pickled_texts(data)
    if mapping and len(texts) % 2 == 0:
        return dict(zip(texts[::2], texts[1::2], strict=True))
    if mapping or len(texts) != 1:
        raise ValueError("packed tests hold neither one text nor names with a text each")
    return json.loads(texts[0])


def _pickled_texts(data: bytes) -> tuple[list[str], bool]:
    """The texts in the pickle, and whether they stand in a dictionary; nothing is ever built."""
    texts: list[str] = []
    mapping = False
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _TEXTS:
            texts.append(str(argument))
        elif opcode.name in _OF_TEXTS:
            mapping = True
        elif opcode.name not in _SCAFFOLD:
            raise ValueError(f"packed tests hold more than texts: {opcode.name}")
    return texts, mapping
