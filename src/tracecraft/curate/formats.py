"""Files as others write them, in pieces that fit in memory: every row, or an error."""

import csv
import gzip
import io
import json
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import IO, Any, NoReturn

import orjson
import polars as pl

from tracecraft.curate import shape
from tracecraft.errors import DataError

PIECE_ROWS = 2_000
"""Rows of a piece: at a long trace's 60 kB they are 120 MB."""
DIGITS = bytes.maketrans(b"123456789", b"000000000")
LONG_NUMBER = b"0" * 19
"""So many digits, each made a 0, may not fit into 64 bits."""
PACKED = {b"\x1f\x8b": "gz", b"\x28\xb5\x2f\xfd": "zst"}
ROWS_UNDER = ("data", "rows", "examples", "instances", "problems")


class Input(ABC):
    """One file: its columns, and its rows in pieces, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    @abstractmethod
    def columns(self) -> pl.Schema:
        """Every column of every row, in the type that holds all of its values."""

    @abstractmethod
    def pieces(self, columns: pl.Schema) -> Iterator[pl.DataFrame]:
        """The rows, with exactly these columns; a String column holds any value unchanged.

        Raises:
            DataError: `file:line: what; what next`.
        """


class Rows(Input):
    """A file whose rows are read one by one; types are known once all of them were seen."""

    @abstractmethod
    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows as they stand."""

    @cached_property
    def columns(self) -> pl.Schema:
        try:
            found = shape.schema(self.rows())
        except RecursionError:
            fault(self.path, "holds a value nested too deeply", "take that column out")
        if not found:
            fault(self.path, "holds no rows", "check that it was written to its end")
        return found

    def pieces(self, columns: pl.Schema) -> Iterator[pl.DataFrame]:
        rows = self.rows()
        while held := list(islice(rows, PIECE_ROWS)):
            yield shape.table(held, columns)


class JsonLines(Rows):
    """One JSON object a line."""

    def rows(self) -> Iterator[dict[str, Any]]:
        with unpacked(self.path) as file:
            for number, line in enumerate(file, 1):
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not line.strip():
                    continue
                row = parsed(line, self.path, number)
                if not isinstance(row, dict):
                    fault(
                        self.path,
                        f"a row must be a JSON object, found {type(row).__name__}",
                        "write one object a line, or name the file .json if it is one array",
                        number,
                    )
                yield row


class Json(Rows):
    """One JSON value: an array of objects, the same under `data`, columns, or objects by id."""

    @cached_property
    def _held(self) -> list[dict[str, Any]]:
        with unpacked(self.path) as file:
            body = file.read().removeprefix(b"\xef\xbb\xbf")
        if not body.strip():
            fault(self.path, "is empty", "check that it was written to its end")
        first = body.lstrip().split(b"\n", 1)[0]
        if first.startswith(b"{") and b"\n" in body.strip() and _whole(first):
            return list(JsonLines(self.path).rows())
        return self._found(parsed(body, self.path, None))

    def rows(self) -> Iterator[dict[str, Any]]:
        yield from self._held

    def _found(self, value: Any) -> list[dict[str, Any]]:
        if isinstance(value, dict):
            under = next((k for k in ROWS_UNDER if isinstance(value.get(k), list)), None)
            if under is not None and all(isinstance(one, dict) for one in value[under]):
                return self._objects(value[under])
            if value and all(isinstance(one, list) for one in value.values()):
                return self._transposed(value)
            if value and all(isinstance(one, dict) for one in value.values()):
                return [{"key": key, **row} for key, row in value.items()]
            return [value]
        if isinstance(value, list):
            return self._objects(value)
        fault(
            self.path,
            f"must hold rows, found one {type(value).__name__}",
            "an array of objects, {data: [...]}, columns, or objects by id",
        )

    def _objects(self, values: list[Any]) -> list[dict[str, Any]]:
        for number, one in enumerate(values, 1):
            if not isinstance(one, dict):
                fault(
                    self.path,
                    f"row {number} must be an object, found {type(one).__name__}",
                    "give every row its column names",
                )
        return values

    def _transposed(self, value: dict[str, list[Any]]) -> list[dict[str, Any]]:
        lengths = {name: len(column) for name, column in value.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{name} {n}" for name, n in lengths.items())
            fault(self.path, f"its columns differ in length: {shown}", "write it anew")
        return [dict(zip(value, row, strict=True)) for row in zip(*value.values(), strict=True)]


class Csv(Rows):
    """Comma or tab separated text with a header. It knows no types, so its columns are text."""

    def rows(self) -> Iterator[dict[str, Any]]:
        separator = "\t" if ".tsv" in self.path.suffixes else ","
        csv.field_size_limit(2**31 - 1)
        with unpacked(self.path) as file:
            lines = io.TextIOWrapper(file, "utf-8-sig", newline="")
            reader = csv.reader(lines, delimiter=separator, strict=True)
            header: list[str] = []
            try:
                for values in reader:
                    if not header:
                        header = self._header(values)
                    elif values:
                        yield self._row(header, values, reader.line_num)
            except csv.Error as error:
                fault(self.path, str(error), "check the quotes around here", reader.line_num)
            except UnicodeDecodeError as error:
                fault(self.path, f"is not UTF-8: {error.reason}", RECODE, reader.line_num + 1)

    def _header(self, names: list[str]) -> list[str]:
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            fault(self.path, f"names the column {twice[0]!r} twice", "rename one of them", 1)
        return names

    def _row(self, header: list[str], values: list[str], line: int) -> dict[str, Any]:
        if len(values) != len(header):
            fault(
                self.path,
                f"has {len(values)} fields where the header names {len(header)}",
                "quote fields that hold the separator; a cut last row means a torn file",
                line,
            )
        return {name: one or None for name, one in zip(header, values, strict=True)}


RECODE = "convert it: iconv -f latin1 -t utf-8"


def parsed(body: bytes, path: Path, line: int | None) -> Any:
    """The JSON value of some bytes; whole numbers of any size stay exact.

    Raises:
        DataError: `file:line: not JSON`.
    """
    with suppress(orjson.JSONDecodeError):
        if LONG_NUMBER not in body.translate(DIGITS):
            return orjson.loads(body)
    try:
        value = json.loads(body.decode())  # knows NaN, and whole numbers beyond 64 bits
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        fault(path, f"is not UTF-8: {error.reason}", RECODE, line)
    except UnicodeEncodeError:
        fault(path, "holds half a character (a lone surrogate)", "write it anew", line)
    except (ValueError, RecursionError) as error:
        at = line or getattr(error, "lineno", None)
        fault(path, f"not JSON: {error}", "a cut last line means a torn file: copy it anew", at)
    return value


def _whole(line: bytes) -> bool:
    try:
        orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return True


@contextmanager
def unpacked(path: Path) -> Iterator[IO[bytes]]:
    """The file's bytes, unpacked where they are gzip or zstd by their first bytes.

    Raises:
        DataError: no such file, or the packing is torn.
    """
    try:
        with path.open("rb") as raw:
            packing = next((p for magic, p in PACKED.items() if _starts(raw, magic)), None)
            if packing == "gz":
                with gzip.open(raw) as file:
                    yield io.BufferedReader(file)
            elif packing == "zst":
                import pyarrow as pa

                yield io.BufferedReader(pa.CompressedInputStream(raw, "zstd"))
            else:
                yield raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        fault(path, f"is torn: {error}", "copy it anew")
    except FileNotFoundError:
        fault(path, "is not there", "check the path")
    except OSError as error:
        first = error.strerror or str(error).splitlines()[0]
        fault(path, f"cannot be read: {first}", "check it, or copy it anew")


def _starts(file: IO[bytes], magic: bytes) -> bool:
    begun = file.read(len(magic))
    file.seek(0)
    return begun == magic


def fault(path: Path, what: str, then: str, line: int | None = None) -> NoReturn:
    """Raise the DataError of a place in a file: where, what, what next."""
    where = f"{path}:{line}" if line else f"{path}"
    raise DataError(f"{where}: {what}\n  next   {then}")
