"""How a problem's tests call a program that runs in another sandbox; both sides import this.

What has a plain form crosses as a copy, and a copied argument that the call changed is changed at
the caller's too. What has none stays where it is and crosses as a handle. The tests' side answers
only calls of functions it handed over: nothing of it can be looked up from the program's side.
"""

import builtins
import json
import os
from collections.abc import Callable
from typing import Any

from tracecraft.verify.codec import OWN, Encoder, Undecodable, decode

__all__ = ["Gone", "Peer", "Remote", "RemoteClass", "Unsupported"]


class Gone(BaseException):
    """The other side has ended."""


class Unsupported(BaseException):
    """The tests do something to the program that cannot be done from outside of it."""


class Peer:
    """One end of the conversation.

    Args:
        reader: descriptor to read from.
        writer: descriptor to write to.
        special: makes a value of a record; see `decode`.
        trusting: answers every request (the program's side); else calls of its functions only.
    """

    def __init__(self, reader: int, writer: int, *, trusting: bool) -> None:
        self._reader = open(reader, "rb")  # noqa: SIM115
        self._writer = writer
        self._trusting = trusting
        self._own: dict[int, Any] = {}
        self._encoder = Encoder(self._export)
        self.records: dict[str, type] = {}
        """Classes whose instances cross as copies: both sides have them."""
        self.exceptions: dict[str, type[Exception]] = {}
        self.names: dict[str, Any] = {}
        """What the program's side calls by name."""
        self.operators: set[str] = set()
        """Operators that decided something on an object of the program's."""

    # what crosses

    def _export(self, value: Any) -> Any:
        kind = type(value)
        if kind is Remote or kind is RemoteClass:
            return {"H": object.__getattribute__(value, "_id")}
        if kind.__qualname__ in self.records:
            return None
        if not self._trusting and not callable(value) and not hasattr(value, "__next__"):
            raise Unsupported(f"they hand the program an object of their own: {kind.__name__}")
        self._own[id(value)] = value
        shape = "object"
        if isinstance(value, type):
            shape = "exception" if issubclass(value, Exception) else "class"
        mro = [c.__name__ for c in value.__mro__] if shape != "object" else [kind.__name__]
        return {"h": [id(value), shape, mro, callable(value)]}

    def _encode(self, value: Any) -> Any:
        return self._encoder.encode(value)

    def _decode(self, value: Any) -> Any:
        special = {"h": self._handle, "H": lambda v, _: self._own[v], "r": self._record}
        return decode(value, special)

    def _handle(self, value: Any, _: Callable[[Any], Any]) -> Any:
        number, shape, mro, can_call = value
        if shape == "exception":
            return self._exception(mro)
        made: type[Remote] = RemoteClass if shape == "class" else Remote
        return made(self, number, str(mro[0]), bool(can_call))

    def _exception(self, mro: list[str]) -> type[Exception]:
        name = str(mro[0])
        known = self.exceptions.get(name) or getattr(builtins, name, None)
        if isinstance(known, type) and issubclass(known, Exception):
            return known
        base = self._exception(mro[1:]) if len(mro) > 1 else Exception
        self.exceptions[name] = type(name, (base,), {})
        return self.exceptions[name]

    def _record(self, value: Any, inner: Callable[[Any], Any]) -> Any:
        kind, fields = value
        made: Any = object.__new__(self.records[kind])
        for name, field in fields.items():
            object.__setattr__(made, name, inner(field))
        return made

    # talking

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        try:
            while data:
                data = data[os.write(self._writer, data) :]
        except OSError:
            raise Gone from None

    def _receive(self) -> dict[str, Any]:
        line = self._reader.readline(64 << 20)
        if not line.endswith(b"\n"):
            raise Gone
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            raise Gone from None
        if not isinstance(message, dict):
            raise Gone
        return message

    def ask(self, what: str, on: Any, *args: Any, **named: Any) -> Any:
        """Have the other side do something, and wait for what comes of it."""
        sent = [self._encode(a) for a in args]
        request = {"q": what, "o": self._encode(on), "a": sent,
                   "k": {k: self._encode(v) for k, v in named.items()}}  # fmt: skip
        self._send(request)
        while True:
            message = self._receive()
            if "q" in message:
                self._answer(message)
                continue
            try:
                for index, changed in (message.get("c") or {}).items():
                    _change(args[int(index)], self._decode(changed))
                thrown = self._raised(message["x"]) if "x" in message else None
                value = self._decode(message.get("r"))
            except (Undecodable, LookupError, TypeError, ValueError) as error:
                raise Gone(str(error)) from None
            if thrown is not None:
                raise thrown
            return value

    def _raised(self, thrown: Any) -> Exception:
        mro, args, text = thrown
        kind = self._exception([str(name) for name in mro])
        try:
            return kind(*self._decode(args))
        except Exception:  # a constructor with a will of its own
            return Exception(str(text))

    def serve(self) -> None:
        """Answer until the other side is gone."""
        try:
            while True:
                self._answer(self._receive())
        except Gone:
            return

    def _answer(self, message: dict[str, Any]) -> None:
        try:
            on = self._decode(message.get("o"))
            args = [self._decode(a) for a in message.get("a") or ()]
            named = {str(k): self._decode(v) for k, v in (message.get("k") or {}).items()}
            value = self._do(message["q"], on, args, named)
            changes = {
                str(i): after
                for i, before in enumerate(message.get("a") or ())
                if _changeable(args[i]) and (after := self._encode(args[i])) != before
            }
            reply = {"r": self._encode(value), "c": changes}
        except (Gone, Unsupported):
            raise
        except BaseException as error:  # the boundary to the program
            reply = {"x": self._thrown(error)}
        self._send(reply)

    def _thrown(self, error: BaseException) -> list[Any]:
        mro = [c.__name__ for c in type(error).__mro__]
        if not isinstance(error, Exception):
            mro = [f"Left{mro[0]}", "RuntimeError", "Exception"]
        try:
            args = self._encode(list(error.args))
        except Exception:
            args = []
        try:
            return [mro, args, str(error)[:500]]
        except Exception:
            return [mro, args, ""]

    def _do(self, what: str, on: Any, args: list[Any], named: dict[str, Any]) -> Any:
        if what == "call":
            return on(*args, **named)
        if what == "next":
            return next(on)
        if not self._trusting:
            raise PermissionError(what)
        match what:
            case "name":
                return self.names[on]
            case "has":
                return on in self.names
            case "get":
                return getattr(on, args[0])
            case "set":
                return setattr(on, args[0], args[1])
            case "operator":
                method = getattr(on, args[0], None)
                if method is None:
                    raise TypeError(f"{type(on).__name__} has no {args[0]}")
                return method(*args[1:])
            case "is":
                return isinstance(args[0], on)
            case "under":
                return issubclass(args[0], on)
        raise PermissionError(what)


def _changeable(value: Any) -> bool:
    return isinstance(value, (list, dict, set)) or type(value).__module__ in OWN


def _change(ours: Any, after: Any) -> None:
    """Do to the caller's argument what the call did to its copy."""
    if isinstance(ours, list) and isinstance(after, list):
        ours[:] = after
    elif (isinstance(ours, dict) and isinstance(after, dict)) or (
        isinstance(ours, set) and isinstance(after, set)
    ):
        ours.clear()
        ours.update(after)
    elif type(ours) is type(after) and hasattr(ours, "__dict__"):
        vars(ours).clear()
        vars(ours).update(vars(after))


class Remote:
    """An object that stays on the other side."""

    def __init__(self, peer: Peer, number: int, kind: str, can_call: bool) -> None:  # noqa: FBT001
        for name, value in (("_peer", peer), ("_id", number), ("_kind", kind), ("_can", can_call)):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self._peer.ask("get", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._peer.ask("set", self, name, value)

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self._peer.ask("call", self, *args, **named)

    def __next__(self) -> Any:
        return self._peer.ask("operator", self, "__next__")

    def __hash__(self) -> int:
        return hash(object.__getattribute__(self, "_id"))

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, Remote):
            return False  # a result that should be plain data and is not
        if object.__getattribute__(other, "_id") == self._id:
            return True
        return _operate(self, "__eq__", other)

    def __ne__(self, other: object) -> Any:
        return not self == other

    def __bool__(self) -> bool:
        self._peer.operators.add("bool")
        return True

    def __class_getitem__(cls, item: Any) -> Any:
        return cls


class RemoteClass(Remote):
    """A class of the other side's."""

    __hash__ = Remote.__hash__

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, Remote) and bool(self._peer.ask("is", self, instance))

    def __subclasscheck__(self, other: type) -> bool:
        return isinstance(other, RemoteClass) and bool(self._peer.ask("under", self, other))

    def __mro_entries__(self, bases: Any) -> Any:
        raise Unsupported("they derive a class from the program's")

    @property
    def __name__(self) -> str:
        return str(self._kind)


def _operate(remote: Remote, name: str, *args: Any) -> Any:
    """An operator whose result may decide a test: the program could make it say anything."""
    remote._peer.operators.add(name.strip("_"))
    return remote._peer.ask("operator", remote, name, *args)


def _plain(name: str) -> Callable[..., Any]:
    def method(self: Remote, *args: Any) -> Any:
        return self._peer.ask("operator", self, name, *args)

    return method


def _deciding(name: str) -> Callable[..., Any]:
    def method(self: Remote, *args: Any) -> Any:
        return _operate(self, name, *args)

    return method


for _word in ("len", "iter", "getitem", "setitem", "delitem", "contains", "str", "repr", "enter",
              "exit", "int", "float", "index", "reversed", "format"):  # fmt: skip
    setattr(Remote, f"__{_word}__", _plain(f"__{_word}__"))
for _word in ("lt", "le", "gt", "ge", "add", "sub", "mul", "truediv", "floordiv", "mod", "pow",
              "matmul", "and", "or", "xor", "lshift", "rshift", "radd", "rsub", "rmul", "rtruediv",
              "neg", "abs", "round", "invert", "iadd", "isub", "imul"):  # fmt: skip
    setattr(Remote, f"__{_word}__", _deciding(f"__{_word}__"))
