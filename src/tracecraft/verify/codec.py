"""Plain values as text, between a sandbox and its keeper; nothing that is read can run code.

JSON, where what JSON lacks is an object with one key: `{"t": […]}` is a tuple, `{"o": [type,
repr]}` an object that has no plain form. Standard library only: the sandbox imports this too.
"""

import datetime
import json
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

__all__ = ["Opaque", "Record", "Undecodable", "decode", "dumps", "encode", "loads"]

_SAFE_INT = 1 << 1024
"""Above it integers travel in hexadecimal: decimal text of theirs is limited by the interpreter."""
_MAX_DEPTH = 200


class Undecodable(ValueError):
    """The text is not a value."""


@dataclass(frozen=True)
class Opaque:
    """An object without a plain form: its type's name and how it prints. Equal to nothing."""

    kind: str
    shown: str

    def __eq__(self, other: object) -> bool:
        return False

    def __hash__(self) -> int:
        return id(self)


@dataclass(frozen=True)
class Record:
    """An instance of a class of the program: the class's name and its attributes."""

    kind: str
    fields: dict[str, Any]

    def __hash__(self) -> int:
        return hash(self.kind)


def encode(value: Any, depth: int = 0) -> Any:
    """What `json.dumps` takes for `value`; objects become `Record`s or `Opaque`s of themselves."""
    if value is None or value is True or value is False:
        return value
    if depth > _MAX_DEPTH:
        raise RecursionError("nested deeper than a value may be")
    kind = type(value)
    if kind is int:
        return value if -_SAFE_INT < value < _SAFE_INT else {"i": hex(value)}
    if kind is str or kind is float:
        return value
    if kind is list:
        return [encode(v, depth + 1) for v in value]
    return _encode_rarer(value, kind, depth + 1)


def _encode_rarer(value: Any, kind: type, depth: int) -> Any:
    for base, tag, plain in _BY_BASE:
        if isinstance(value, base):
            return {tag: plain(value, depth)} if tag else plain(value, depth)
    if kind.__module__ == "numpy" or hasattr(value, "__array_interface__"):
        listed = value.tolist()
        return {"a": encode(listed, depth)} if isinstance(listed, list) else encode(listed, depth)
    attributes = getattr(value, "__dict__", None)
    if kind.__module__ in _OWN and isinstance(attributes, dict) and not callable(value):
        fields = {str(k): encode(v, depth) for k, v in attributes.items()}
        return {"r": [kind.__qualname__, fields]}
    return {"o": [f"{kind.__module__}.{kind.__qualname__}", _shown(value)]}


_OWN = ("__main__", "solution")
"""What a program's own module is called."""


def _shown(value: Any) -> str:
    try:
        return repr(value)[:200]
    except Exception as error:  # the object is the program's own
        return f"<unprintable: {type(error).__name__}>"


def _items(value: Any, depth: int) -> list[Any]:
    return [encode(v, depth) for v in value]


_BY_BASE: list[tuple[Any, str, Callable[[Any, int], Any]]] = [
    (int, "", lambda v, d: encode(int(v), d)),
    (float, "", lambda v, d: float(v)),
    (str, "", lambda v, d: str.__str__(v)),
    (list, "", _items),
    (tuple, "t", _items),
    (set, "s", _items),
    (frozenset, "f", _items),
    (dict, "d", lambda v, d: [[encode(k, d), encode(x, d)] for k, x in v.items()]),
    ((bytes, bytearray), "b", lambda v, d: bytes(v).hex()),
    (deque, "q", _items),
    (complex, "c", lambda v, d: [v.real, v.imag]),
    (Decimal, "D", lambda v, d: str(v)),
    (Fraction, "F", lambda v, d: _items((v.numerator, v.denominator), d)),
    (range, "R", lambda v, d: _items((v.start, v.stop, v.step), d)),
    (datetime.datetime, "dt", lambda v, d: v.isoformat()),
    (datetime.date, "da", lambda v, d: v.isoformat()),
    (datetime.time, "ti", lambda v, d: v.isoformat()),
    (datetime.timedelta, "td", lambda v, d: [v.days, v.seconds, v.microseconds]),
]

_Resolve = Callable[[str, dict[str, Any]], Any]


def decode(value: Any, record: _Resolve = Record) -> Any:
    """The value again.

    Args:
        value: what `json.loads` gave.
        record: makes an object of a class's name and its attributes.

    Raises:
        Undecodable: it was not made by `encode`.
    """
    try:
        return _decode(value, record)
    except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError) as error:
        raise Undecodable(f"not a value: {error}") from None


def _decode(value: Any, record: _Resolve) -> Any:
    if isinstance(value, list):
        return [_decode(v, record) for v in value]
    if not isinstance(value, Mapping):
        return value
    ((tag, inner),) = value.items()
    if tag == "d":
        return {_decode(k, record): _decode(v, record) for k, v in inner}
    if tag == "r":
        kind, fields = inner
        return record(kind, {k: _decode(v, record) for k, v in fields.items()})
    if tag in _OF_LIST:
        return _OF_LIST[tag]([_decode(v, record) for v in inner])
    return _OF_TEXT[tag](inner)


_OF_LIST: dict[str, Callable[[list[Any]], Any]] = {
    "t": tuple,
    "s": set,
    "f": frozenset,
    "q": deque,
    "a": list,
    "F": lambda v: Fraction(*v),
    "R": lambda v: range(*v),
    "c": lambda v: complex(*v),
    "td": lambda v: datetime.timedelta(*v),
    "o": lambda v: Opaque(*v),
}
_OF_TEXT: dict[str, Callable[[str], Any]] = {
    "i": lambda v: int(v, 16),
    "b": bytes.fromhex,
    "D": Decimal,
    "dt": datetime.datetime.fromisoformat,
    "da": datetime.date.fromisoformat,
    "ti": datetime.time.fromisoformat,
}


def dumps(value: Any) -> str:
    """`value` as one line of text."""
    return json.dumps(encode(value), separators=(",", ":"))


def loads(text: str | bytes, record: _Resolve = Record) -> Any:
    """The value that `dumps` wrote.

    Raises:
        Undecodable: it was not written by `dumps`.
    """
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Undecodable(f"not a value: {error}") from None
    return decode(parsed, record)
