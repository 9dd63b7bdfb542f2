"""What a published dataset says of its verdicts: rows, problems, and the verifiers' options."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tracecraft.errors import DataError
from tracecraft.publish.card_data import PROBLEMS, RAW
from tracecraft.publish.hub import RECORD
from tracecraft.publish.hub_client import clean, client, faults, patiently, said
from tracecraft.publish.parquet_parts import parts_of

HUB = "hub:"
"""Before `org/name` or `org/name@revision`."""


@dataclass(frozen=True, slots=True)
class Stored:
    """Files with rows that were judged, or are to be."""

    files: list[Path]
    problems: list[Path]
    """Where the columns lie that verifiers joined to the rows."""
    verifiers: dict[str, dict[str, Any]]
    """Each step that judged, with its verifier's options; empty where nothing says so."""

    @classmethod
    def at(cls, path: Path) -> "Stored":
        """What lies in a file or folder here, or at `hub:org/name`.

        Raises:
            DataError: no such dataset, or no way to it.
        """
        text = str(path)
        folder = fetched(text.removeprefix(HUB)) if text.startswith(HUB) else path
        if not (folder / RECORD).is_file():
            return cls([folder], [], {})
        parts = parts_of(folder)
        raw = [p for p in parts if p.config == RAW] or [p for p in parts if _judged(p.files[0])]
        problems = [file for p in parts if p.config == PROBLEMS for file in p.files]
        files = [file for part in raw or parts for file in part.files]
        return cls(files, problems, _verifiers(folder / RECORD))


def fetched(name: str) -> Path:
    """The folder of a dataset's files; what was fetched once comes from the cache."""
    from huggingface_hub import snapshot_download

    repo, _, revision = name.partition("@")
    wanted = ["*.parquet", "*.arrow", RECORD]
    known: tuple[type[Exception], ...] = (*faults(), OSError, ValueError)
    try:
        client()
        place = patiently(
            lambda: snapshot_download(
                repo, repo_type="dataset", revision=revision or None, allow_patterns=wanted
            ),
            f"dataset {repo}",
            tries=3,
        )
    except known as error:
        told = said(error) if isinstance(error, faults()) else clean(str(error).splitlines()[0])
        raise DataError(
            f"{HUB}{name}: {told}\n  next   check the name; a private one wants HF_TOKEN"
        ) from None
    return Path(place)


def _judged(path: Path) -> bool:
    if path.suffix == ".parquet":
        return "outcome" in pq.read_schema(path).names
    with pa.memory_map(str(path)) as source:
        return "outcome" in pa.ipc.open_stream(source).schema.names


def _verifiers(record: Path) -> dict[str, dict[str, Any]]:
    """Of each `verify` step that gave a first opinion."""
    try:
        steps = json.loads(record.read_text(encoding="utf-8"))["steps"]
        told = {step["name"]: step["identity"] for step in steps}
        return {
            name: _options(one["verifier"])
            for name, one in told.items()
            if one.get("use") == "verify" and not one.get("prefix")
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{record}: is not what a push writes: {error!r}") from None


def _options(value: Any) -> Any:
    """A plugin's identity as a recipe would say it: without versions and empty options."""
    if isinstance(value, Mapping):
        kept = {k: v for k, v in value.items() if k != "version" and v is not None}
        return {key: _options(one) for key, one in kept.items()}
    return [_options(one) for one in value] if isinstance(value, list) else value
