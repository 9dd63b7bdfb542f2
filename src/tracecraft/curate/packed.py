"""Problems inside a zip archive, also a locked one, which is never unpacked to disk."""

import csv
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import Field

from tracecraft.curate import shape
from tracecraft.curate.files import digest_of
from tracecraft.curate.questions import Opened, Questions
from tracecraft.errors import DataError, did_you_mean


class Zip(Questions, use="zip", version=1):
    """Problems of one CSV or JSONL file in a zip archive.

    Its messages hold names and numbers alone, no row: such archives are locked so that nobody
    publishes what is in them.
    """

    path: Path = Field(strict=False)
    """The archive."""
    member: str
    """The file in it, by its name or the end of its path."""
    password: str | None = None
    """The environment variable that holds the password; never the password itself."""

    def identity(self) -> dict[str, Any]:
        """The archive counts by its content, wherever it lies."""
        bare = self.model_copy(update={"path": ()})
        return {**super(Zip, bare).identity(), "path": [[self.path.name, digest_of(self.path)]]}

    def opened(self) -> Opened:
        rows = self._rows()
        where = f"{self.path}: {self.member}"
        if not rows:
            raise DataError(f"{where}: holds no rows")

        def pieces(columns: pl.Schema) -> Iterator[tuple[str, pl.DataFrame]]:
            yield f"file:{self.path.name}", shape.table(rows, columns)

        return Opened(where, shape.schema(rows), pieces)

    def _rows(self) -> list[dict[str, Any]]:
        where = f"{self.path}: {self.member}"
        try:
            text = self._read().decode("utf-8-sig")
            if self.member.endswith((".jsonl", ".ndjson")):
                return [json.loads(line) for line in text.splitlines() if line.strip()]
            return list(csv.DictReader(io.StringIO(text, newline="")))
        except (UnicodeDecodeError, json.JSONDecodeError, csv.Error):
            raise DataError(f"{where}: is no UTF-8 text of CSV or JSON lines") from None

    def _read(self) -> bytes:
        try:
            with zipfile.ZipFile(self.path) as archive:
                names = archive.namelist()
                found = [n for n in names if n == self.member or n.endswith(f"/{self.member}")]
                if len(found) != 1:
                    hint = did_you_mean(self.member, names)
                    raise DataError(f"{self.path}: no one file {self.member!r}{hint}")
                locked = bool(archive.getinfo(found[0]).flag_bits & 1)
                return archive.read(found[0], self._secret() if locked else None)
        except (OSError, zipfile.BadZipFile) as error:
            told = getattr(error, "strerror", None) or "is no whole zip archive"
            raise DataError(f"{self.path}: {told}") from None
        except NotImplementedError:
            raise DataError(
                f"{self.path}: is encrypted in a way that Python does not read"
                "\n  next   unpack it, and name the file instead"
            ) from None
        except RuntimeError:  # what zipfile raises for a wrong password
            raise DataError(
                f"{self.path}: the password in ${self.password} does not open it"
                "\n  next   its publisher says the password beside the archive"
            ) from None

    def _secret(self) -> bytes:
        secret = os.environ.get(self.password or "")
        if not secret:
            name = self.password or "a variable that `password:` names"
            raise DataError(
                f"{self.path}: is locked\n  next   put its password into the environment as {name}"
            )
        return secret.encode()
