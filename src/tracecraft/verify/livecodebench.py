"""LiveCodeBench's private tests: base64 of zlib of a pickle, read without unpickling."""

import base64
import binascii
import json
import pickletools
import zlib
from typing import Any

__all__ = ["private_cases"]

_MOST = 1 << 30
"""Bytes a set of tests may have when unpacked."""
_TEXTS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_SCAFFOLD = {"PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "STOP"}


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
    try:
        packed = base64.b64decode(text, validate=True)
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(packed, _MOST)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"private tests are neither JSON nor packed: {error}") from None
    if unpacking.unconsumed_tail:
        raise ValueError(f"private tests are larger than {_MOST} bytes")
    return list(json.loads(_pickled_text(data)))


def _pickled_text(data: bytes) -> str:
    """The one text in the pickle; anything else in it is refused, nothing is ever built."""
    texts: list[str] = []
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in _TEXTS:
            texts.append(str(argument))
        elif opcode.name not in _SCAFFOLD:
            raise ValueError(f"private tests hold more than a text: {opcode.name}")
    if len(texts) != 1:
        raise ValueError("private tests do not hold one text")
    return texts[0]
