"""An index of what was published, so that new rows are compared with it without reading it.

One Arrow IPC file, uncompressed, so that it is mapped and only the pages in question are read:

  id         string
  content    uint64: see `shingle.content`
  signature  fixed_size_list<uint32>[permutations]: `hashvalues` of a datasketch MinHash
  shingles   large_list<uint64>: distinct, ascending, for exact similarity

The file's metadata hold the scheme (`permutations`, `seed`, `ngram`, `hash`, `fold`) under
`tracecraft`. With `hash: sha1` and `fold: false` a signature is that of `datasketch.MinHash`.
It takes some 8 bytes a word and 4 a permutation, about as much as the texts themselves.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pyarrow as pa

from tracecraft.curate.bands import Bands
from tracecraft.curate.corpus import Corpus
from tracecraft.curate.lsh import CROWD, Ints, bands_for
from tracecraft.curate.minhash import Scheme, sketch
from tracecraft.curate.shingle import (
    LOW,
    STEP,
    U32,
    U64,
    mum,
    prepare,
    shingles,
    similarity,
    word_hashes,
)
from tracecraft.errors import DataError

KEY = b"tracecraft"


def publish(
    table: pl.LazyFrame,
    into: Path,
    scheme: Scheme,
    columns: Sequence[str],
    id: str,
    workers: int,
    after: Path | None = None,
) -> int:
    """Write the index of a table's texts: how many rows it has. Rows without words are left out.

    `after` names an index of the same scheme whose rows come first.
    """
    schema = pa.schema(
        [
            ("id", pa.string()),
            ("content", pa.uint64()),
            ("signature", pa.list_(pa.uint32(), scheme.permutations)),
            ("shingles", pa.large_list(pa.uint64())),
        ],
        metadata={KEY: json.dumps(asdict(scheme))},
    )
    corpus, rows = Corpus(table, columns), 0
    half = into.with_name(into.name + ".half")
    with pa.OSFile(str(half), "wb") as file, pa.ipc.new_file(file, schema) as out:
        for earlier in Published(after).table.to_batches() if after is not None else ():
            out.write_batch(earlier)
            rows += earlier.num_rows
        for batch in corpus.batches(corpus.text.alias("text"), pl.col(id).cast(pl.String)):
            batch = batch.filter(pl.col("text").is_not_null())
            made = sketch(batch["text"], scheme, (0, 1), signed=True, workers=workers)
            some = np.flatnonzero(made.contents)
            sets = _sets(batch["text"].gather(some), scheme)
            borders = np.cumsum([0, *map(len, sets)])
            flat = np.concatenate([np.empty(0, np.uint64), *sets])
            signatures = pa.array(made.signatures[some].ravel())
            out.write_batch(
                pa.record_batch(
                    [
                        pa.array(batch[id].gather(some).to_list(), pa.string()),
                        pa.array(made.contents[some]),
                        pa.FixedSizeListArray.from_arrays(signatures, scheme.permutations),
                        pa.LargeListArray.from_arrays(pa.array(borders), pa.array(flat)),
                    ],
                    schema=schema,
                )
            )
            rows += len(some)
    half.replace(into)
    return rows


@dataclass(frozen=True, slots=True)
class Again:
    """A row that repeats what was published."""

    row: int
    id: str
    similarity: float


class Published:
    """An index, opened."""

    def __init__(self, path: Path) -> None:
        try:
            self.table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
            scheme = json.loads(self.table.schema.metadata[KEY])
        except (OSError, KeyError, TypeError, ValueError, pa.ArrowInvalid) as error:
            raise DataError(
                f"{path}: is no index of published rows ({error})"
                "\n  next   make one: tracecraft dedupe FILE --out OUT --index INDEX"
            ) from None
        self.scheme = Scheme(**scheme)

    @property
    def signatures(self) -> U32:
        """One row for each row published."""
        column = self.table["signature"].combine_chunks()
        flat = column.flatten() if isinstance(column, pa.Array) else pa.array([], pa.uint32())
        return np.asarray(flat).reshape(-1, self.scheme.permutations)

    def minhashes(self) -> Iterator[tuple[str, Any]]:
        """Name and datasketch MinHash of each row published, ready for an LSH of theirs."""
        from datasketch import MinHash

        names = self.table["id"].to_pylist()
        for name, line in zip(names, self.signatures, strict=True):
            yield name, MinHash(seed=self.scheme.seed, hashvalues=line, scheme=self.scheme.scheme)

    def keys(self, bands: tuple[int, int]) -> U64:
        """Band keys: bands × rows published."""
        count, rows = bands
        cells = self.signatures[:, : count * rows].reshape(-1, count, rows)
        found = np.full((len(cells), count), LOW)
        for j in range(rows):
            found = mum(found ^ cells[:, :, j].astype(np.uint64), STEP ^ found)
        return np.ascontiguousarray(found.T)

    def candidates(self, keys: Bands, bands: tuple[int, int]) -> Ints:
        """Pairs that share a band, as `text * published + row`, sorted; of a crowd, the first."""
        total = self.table.num_rows
        pairs = [np.empty(0, np.int64)]
        with Bands(bands[0], keys.scratch, spilt=keys.spilt) as ours:
            ours.add(self.keys(bands))
            for (mine, texts), (theirs, others) in zip(keys.parts(), ours.parts(), strict=True):
                order = np.lexsort((others, theirs))
                sides: tuple[Literal["left"], Literal["right"]] = ("left", "right")
                low, high = (np.searchsorted(theirs[order], mine, side) for side in sides)
                for step in range(CROWD):
                    some = np.flatnonzero(low + step < high)
                    pairs.append(texts[some] * total + others[order[low[some] + step]])
        return np.unique(np.concatenate(pairs))

    def again(self, corpus: Corpus, contents: U64, keys: Bands, threshold: float) -> list[Again]:
        """The rows that reach the threshold with a row published, and the one they are nearest.

        Args:
            corpus: the rows.
            contents: of each row, 0 for one without words.
            keys: of the same rows, by `lsh.bands_for`.
            threshold: Jaccard similarity.
        """
        pairs = self.candidates(keys, bands_for(threshold, self.scheme.permutations))
        texts, others = np.divmod(pairs, max(self.table.num_rows, 1))
        worded = contents[texts] != 0
        texts, others = texts[worded], others[worded]
        rows = np.unique(texts)
        lists, names = self.table["shingles"], self.table["id"]
        found: list[Again] = []
        done = 0
        for piece in corpus.pieces(corpus.text, rows):
            for row, mine in zip(rows[done:], _sets(piece, self.scheme), strict=False):
                first, last = np.searchsorted(texts, [row, row + 1])
                near = [
                    (similarity(mine, np.asarray(lists[other].values)), -int(other))
                    for other in others[first:last]
                ]
                best, other = max(near)
                if best >= threshold:
                    found.append(Again(int(row), names[-other].as_py(), best))
            done += len(piece)
        return found


def _sets(texts: pl.Series, scheme: Scheme) -> list[U64]:
    """The distinct shingles of each text, ascending."""
    spelt = prepare(texts, fold=scheme.fold).to_list()
    hashes, begins = word_hashes(spelt, fold=scheme.fold)
    return [np.unique(shingles(hashes[a:b], scheme.ngram)) for a, b in pairwise(begins)]
