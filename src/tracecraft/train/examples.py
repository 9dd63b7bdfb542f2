"""Examples on their way to a trainer: read as they lie, said through the gate, counted."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from tracecraft.errors import DataError, did_you_mean
from tracecraft.plugin import digest
from tracecraft.store import OUTPUT, Dataset
from tracecraft.train.chat import LONG, Chat, Message, Said, Thoughts

BATCH = 1_000


@dataclass(frozen=True, slots=True)
class Examples:
    """The examples of some domains, not yet read."""

    files: tuple[Path, ...]
    """Arrow streams, as a finished dataset holds them, or the store's Arrow files."""
    digest: str
    """Of what is in them."""
    domains: tuple[str, ...]

    @classmethod
    def at(cls, home: Path, domains: tuple[str, ...]) -> "Examples":
        """What a `write` or a `pick` step left; of the named domains, or of all.

        Raises:
            DataError: a domain that is not there.
        """
        if (home / OUTPUT / "dataset_dict.json").exists():
            return cls._written(home / OUTPUT, domains)
        return cls._stored(home, domains)

    @classmethod
    def _written(cls, root: Path, domains: tuple[str, ...]) -> "Examples":
        there = tuple(orjson.loads((root / "dataset_dict.json").read_bytes())["splits"])
        wanted = _among(there, domains, root)
        files, prints = [], []
        for domain in wanted:
            state = orjson.loads((root / domain / "state.json").read_bytes())
            files += [root / domain / part["filename"] for part in state["_data_files"]]
            prints.append(state["_fingerprint"])
        return cls(tuple(files), digest(prints, 16), wanted)

    @classmethod
    def _stored(cls, home: Path, domains: tuple[str, ...]) -> "Examples":
        shards = [shard for shard in Dataset.open(home).shards if shard.rows]
        there = tuple(dict.fromkeys(shard.path.parent.name for shard in shards))
        wanted = _among(there, domains, home)
        chosen = [shard for shard in shards if shard.path.parent.name in wanted]
        told = digest([shard.digest for shard in chosen], 16)
        return cls(tuple(shard.path for shard in chosen), told, wanted)

    def read(self) -> Iterator[list[dict[str, Any]]]:
        """Batches of rows with `example_id` and `messages`, in order, memory-mapped."""
        wanted = ["example_id", "messages"]
        for file in self.files:
            if file.with_name("state.json").exists():
                with pa.memory_map(str(file)) as source:
                    for batch in pa.ipc.open_stream(source):
                        yield batch.select(wanted).to_pylist()
            else:
                rows = pl.scan_ipc(file, glob=False).select(wanted)
                for table in rows.collect_batches(chunk_size=BATCH, maintain_order=True):
                    yield table.to_dicts()


def _among(there: tuple[str, ...], wanted: tuple[str, ...], where: Path) -> tuple[str, ...]:
    for domain in wanted:
        if domain not in there:
            raise DataError(
                f"{where}: has no examples of the domain {domain!r}" + did_you_mean(domain, there)
            )
    return wanted or there


@dataclass(slots=True)
class Tally:
    """What became of the examples that were read."""

    read: int = 0
    kept: int = 0
    tokens: int = 0
    learnt: int = 0
    """Tokens inside the loss."""
    dropped: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    """The first example that each rule dropped."""

    def note(self, example: str, said: Said | str) -> None:
        """Count one example."""
        self.read += 1
        if isinstance(said, str):
            self.dropped[said] = self.dropped.get(said, 0) + 1
            self.first.setdefault(said, example)
        else:
            self.kept += 1
            self.tokens += said.tokens
            self.learnt += len(said.answer_ids)

    @property
    def failed(self) -> int:
        """Examples that did not pass the gate; a long one did."""
        return sum(rows for rule, rows in self.dropped.items() if rule != LONG)

    def check(self, tolerate: float) -> None:
        """Refuse to train where the gate says that template, tokenizer and traces do not agree.

        Raises:
            DataError: nothing is left, or more than the share `tolerate` failed.
        """
        told = "".join(
            f"\n  {rows} of {self.read}: {rule}, first {self.first[rule]}"
            for rule, rows in sorted(self.dropped.items(), key=lambda told: -told[1])
        )
        if self.failed > tolerate * self.read:
            raise DataError(
                f"the parity gate stops {self.failed} of {self.read} examples{told}"
                "\n  next   mend the template or the traces; `thoughts: any` takes examples that"
                " have none"
            )
        if not self.kept:
            why = told or "\n  the dataset has no rows"
            raise DataError(f"no example is left to train on{why}")


def passed(
    examples: Iterable[Examples], chat: Chat, context: int, thoughts: Thoughts, tally: Tally
) -> Iterator[list[Said]]:
    """The examples that pass the gate, batch by batch; `tally` counts all."""
    for rows in chain.from_iterable(one.read() for one in examples):
        talks: list[list[Message]] = [row["messages"] or [] for row in rows]
        said = chat.say(talks, context, thoughts)
        for row, one in zip(rows, said, strict=True):
            tally.note(row["example_id"], one)
        yield [one for one in said if isinstance(one, Said)]
