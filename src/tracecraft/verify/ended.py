"""How a run ended, as a zygote tells its keeper: a few numbers and the output, as bytes."""

import struct
from typing import NamedTuple

__all__ = ["INLINE", "SHOWN", "Ended"]

INLINE = 1 << 16
"""Bytes of output that are told with the answer; more is handed over as a file."""
SHOWN = 1 << 12
"""Bytes of the end of what it said on standard error that are told with the answer."""

_FORMAT = struct.Struct("<iddq?q")
_MARK = b"E"
"""A message that does not begin with it is JSON."""


class Ended(NamedTuple):
    """How one run ended."""

    status: int
    """As `wait(2)` gives it."""
    cpu: float
    """Seconds."""
    wall: float
    """Seconds."""
    memory: int
    """Bytes."""
    late: bool
    """It met the wall limit."""

    def message(self, more: bytes = b"", out: int = 0) -> bytes:
        """To be sent, with what is told along, and the bytes of its standard output."""
        return _MARK + _FORMAT.pack(*self, out) + more

    @classmethod
    def read(cls, message: memoryview) -> tuple["Ended", int, bytes] | None:
        """What was sent, the bytes of output, what came along; None for another kind of message."""
        if message[:1] != _MARK:
            return None
        start = 1 + _FORMAT.size
        *told, out = _FORMAT.unpack(message[1:start])
        return cls(*told), out, bytes(message[start:])
