"""Plain values as text, between a sandbox and its keeper; nothing that is read can run code.

JSON, where what JSON lacks is an object with one key: `{"t": […]}` is a tuple, `{"o": [type,
repr]}` an object that has no plain form. Standard library only: the sandbox imports this too.
"""

import datetime
from collections import deque, namedtuple
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

__all__ = ["OWN", "Encoder", "Opaque", "Record", "Undecodable", "decode", "encode"]

_SAFE_INT = 1 << 1024
"""Above it integers travel in hexadecimal: decimal text of theirs is limited by the interpreter."""
_MAX_DEPTH = 200
OWN = ("__main__", "solution")
"""What a program's own module is called."""


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


class Encoder:
    """Makes of values what `json.dumps` takes.

    Args:
        export: may make something of an object that has no plain form; None leaves it to become
            a `Record` or an `Opaque`.
    """

    def __init__(self, export: Callable[[Any], Any] | None = None) -> None:
        self.export = export

    def encode(self, value: Any, depth: int = 0) -> Any:
        """The value in JSON's types.

        Raises:
            RecursionError: it is nested deeper than a value may be, or contains itself.
        """
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
            return [self.encode(v, depth + 1) for v in value]
        return self._rarer(value, kind, depth + 1)

    def _rarer(self, value: Any, kind: type, depth: int) -> Any:
        if issubclass(kind, tuple) and kind is not tuple and hasattr(kind, "_fields"):
            return {"n": [kind.__name__, list(kind._fields), self.items(value, depth)]}
        for base, tag, plain in _BY_BASE:
            if issubclass(kind, base):
                made = plain(self, value, depth)
                return {tag: made} if tag else made
        if (name := getattr(value, "__name__", None)) in _NAMES and _NAMES[name] is value:
            return {"N": name}
        if kind.__module__ == "numpy":
            listed = value.tolist()
            made = self.encode(listed, depth)
            return {"a": made} if isinstance(listed, list) else made
        if self.export is not None and (made := self.export(value)) is not None:
            return made
        attributes = getattr(value, "__dict__", None)
        if kind.__module__ in OWN and isinstance(attributes, dict) and not callable(value):
            return self.record(value, depth)
        return {"o": [f"{kind.__module__}.{kind.__qualname__}", _shown(value)]}

    def record(self, value: Any, depth: int) -> Any:
        """An object by its attributes."""
        fields = {str(k): self.encode(v, depth) for k, v in vars(value).items()}
        return {"r": [type(value).__qualname__, fields]}

    def items(self, values: Any, depth: int) -> list[Any]:
        """Each of them."""
        return [self.encode(v, depth) for v in values]

    def pairs(self, value: Any, depth: int) -> list[Any]:
        """Keys and values of a mapping."""
        return [[self.encode(k, depth), self.encode(v, depth)] for k, v in value.items()]


def _shown(value: Any) -> str:
    try:
        return repr(value)[:200]
    except Exception as error:  # the object is the program's own
        return f"<unprintable: {type(error).__name__}>"


_Plain = Callable[[Encoder, Any, int], Any]
_BY_BASE: list[tuple[Any, str, _Plain]] = [
    (int, "", lambda e, v, d: e.encode(int(v), d)),
    (float, "", lambda e, v, d: float(v)),
    (str, "", lambda e, v, d: str.__str__(v)),
    (list, "", Encoder.items),
    (tuple, "t", Encoder.items),
    (set, "s", Encoder.items),
    (frozenset, "f", Encoder.items),
    (dict, "d", Encoder.pairs),
    ((bytes, bytearray), "b", lambda e, v, d: bytes(v).hex()),
    (deque, "q", Encoder.items),
    (complex, "c", lambda e, v, d: [v.real, v.imag]),
    (Decimal, "D", lambda e, v, d: str(v)),
    (Fraction, "F", lambda e, v, d: e.items((v.numerator, v.denominator), d)),
    (range, "R", lambda e, v, d: e.items((v.start, v.stop, v.step), d)),
    (datetime.datetime, "dt", lambda e, v, d: v.isoformat()),
    (datetime.date, "da", lambda e, v, d: v.isoformat()),
    (datetime.time, "ti", lambda e, v, d: v.isoformat()),
    (datetime.timedelta, "td", lambda e, v, d: [v.days, v.seconds, v.microseconds]),
]

encode = Encoder().encode

Special = Mapping[str, Callable[[Any, Callable[[Any], Any]], Any]]
"""For each further tag, what makes the value: it gets what the tag holds and the decoder."""


def decode(value: Any, special: Special | None = None) -> Any:
    """The value again.

    Args:
        value: what `json.loads` gave.
        special: how to read tags of one's own, or `r`, a record.

    Raises:
        Undecodable: it was not made by an `Encoder`.
    """
    try:
        return _decode(value, special or {})
    except (
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise Undecodable(f"not a value: {error}") from None


def _decode(value: Any, special: Special) -> Any:
    if isinstance(value, list):
        return [_decode(v, special) for v in value]
    if not isinstance(value, Mapping):
        return value
    ((tag, inner),) = value.items()
    if tag in special:
        return special[tag](inner, lambda v: _decode(v, special))
    if tag == "d":
        return {_decode(k, special): _decode(v, special) for k, v in inner}
    if tag == "r":
        kind, fields = inner
        return Record(kind, {k: _decode(v, special) for k, v in fields.items()})
    if tag == "n":
        kind, names, values = inner
        return _NAMED(str(kind), names)(*(_decode(v, special) for v in values))
    if tag in _OF_LIST:
        return _OF_LIST[tag]([_decode(v, special) for v in inner])
    return _OF_TEXT[tag](inner)


_NAMED: Any = namedtuple
_NAMES: dict[Any, Any] = {
    f.__name__: f
    for f in (bool, bytes, complex, dict, float, frozenset, int, list, object, range, set, str,
              tuple, abs, all, any, bin, chr, divmod, hash, hex, len, max, min, oct, ord, pow, repr,
              round, sorted, sum)
}  # fmt: skip
"""Builtins that cross by name."""
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
    "N": lambda v: _NAMES[v],
    "i": lambda v: int(v, 16),
    "b": bytes.fromhex,
    "D": Decimal,
    "dt": datetime.datetime.fromisoformat,
    "da": datetime.date.fromisoformat,
    "ti": datetime.time.fromisoformat,
}
