"""Keep one of what is nearly the same: exact first, then MinHash, then proof."""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PrivateAttr

from tracecraft.curate.bands import Bands
from tracecraft.curate.cluster import Texts, Ties, tie
from tracecraft.curate.corpus import Corpus
from tracecraft.curate.lsh import Ints, bands_for, candidates
from tracecraft.curate.minhash import COMPILE_BYTES, Hash, Scheme, sketch
from tracecraft.curate.published import Again, Published, publish
from tracecraft.curate.shingle import STEP, U64
from tracecraft.errors import BrokenContract, RecipeError, did_you_mean
from tracecraft.plugin import Volatile, file_digest
from tracecraft.schema import DROPPED
from tracecraft.stage import Ask, Desk, Marker, Progress

DUPLICATE = "duplicate"
IDS = ("trace_id", "problem_id", "example_id", "id")
"""Columns that name a row, the first that is there."""


def _tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _cores() -> int:
    return os.cpu_count() or 1


Names = Annotated[tuple[str, ...], BeforeValidator(_tuple), Field(min_length=1, strict=False)]


@dataclass(frozen=True, slots=True)
class Facts:
    """What one reading of all rows leaves in memory, beside the band keys: a few words a row."""

    contents: U64
    """0 for a row without words; equal for rows with the same words in the same group."""
    ranks: NDArray[np.float64]
    """One line for each word of `keep`: larger is better."""


class Dedupe(Marker, use="dedupe", version=1):
    """Keep one row of every cluster of near-duplicates, and name it in every row dropped.

    Two rows are near-duplicates if the exact Jaccard similarity of their word n-grams reaches
    the threshold. MinHash only proposes pairs. A cluster is all that such pairs connect; its
    best row by `keep` survives. In a long chain a row may resemble its neighbours and not the
    survivor: `similarity` then is below the threshold, and `duplicate_via` names the neighbour.
    A row without words is nobody's duplicate; a row with fewer words than `ngram` is one only
    of rows with the same words. Order of rows, batches and threads make no difference.
    """

    column: Names = ("statement",)
    """What is compared: one column, or several taken together."""
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Jaccard similarity of word n-grams from which two rows are one."""
    ngram: int = Field(default=5, ge=1)
    """Words in a shingle. 5, as in datatrove: rare enough to mean something, short enough to
    catch edits."""
    keep: Names = ("longest",)
    """Who survives, the first difference decides: `longest`, `shortest`, `first` (the only one
    that depends on the order of rows), `verified`, or SQL whose larger value wins."""
    within: str | None = None
    """Compare only rows that are equal in this column, such as `problem_id`. What was `published`
    counts whatever stands in it."""
    chains: Literal["join", "cut"] = "join"
    """`join`: one survivor a cluster. `cut`: a row goes only if it reaches the threshold with
    its survivor itself."""
    published: Path | None = Field(default=None, strict=False)
    """An index of what was published before (see `published.py`): rows that repeat it go first,
    and name what they repeat. Made with the same ngram, permutations, seed, hash and fold."""
    fold: bool = True
    """Compare in lower case, in Unicode's composed form and without invisible characters."""
    id: str | None = None
    """The column that names a row. By default `trace_id`, `problem_id`, `example_id` or `id`,
    the first that is there; else the number of the row, from 1: `row 17`."""
    permutations: int = Field(default=128, ge=16, le=1024)
    """Of a signature, as datasketch's `num_perm`."""
    seed: int = 1
    """Of the permutations, as datasketch's."""
    hash: Hash = "words"
    """How a shingle becomes a number: our own hash, or datasketch's default `sha1`."""
    workers: Annotated[int, Field(ge=1), Volatile] = Field(default_factory=_cores)
    """Threads."""

    writes: ClassVar[pl.Schema] = pl.Schema(
        {
            DROPPED: pl.String,
            "duplicate_of": pl.String,
            "similarity": pl.Float64,
            "duplicate_via": pl.String,
        }
    )
    _desk: Desk = PrivateAttr(default_factory=Desk)

    def needs(self) -> tuple[pl.Schema, ...]:
        """The columns compared."""
        return (pl.Schema(dict.fromkeys(self.column, pl.String)),)

    @contextmanager
    def open(self, desk: Desk) -> Iterator[Ask]:
        self._desk = desk
        yield self

    def mark(self, rows: pl.LazyFrame, /) -> pl.DataFrame:
        self._check(rows)
        corpus, bands = Corpus(rows, self.column), bands_for(self.threshold, self.permutations)
        with Bands(bands[0], self._desk.scratch) as keys:
            facts = self._read(corpus, bands, keys)
            again = self._again(corpus, facts, keys)
            order = self._order(corpus, facts)
            best = _best(facts.contents, order)
            unique = order[best[order] == order]
            numbers = np.full(len(order), -1, np.int64)
            numbers[unique] = np.arange(len(unique))
            pairs, crowded = candidates(keys.parts(), numbers, len(unique))
        left, right = np.divmod(pairs, max(len(unique), 1))
        near = np.unique(np.append(left, right))
        rows_near = unique[near]
        texts = self._texts(corpus, rows_near)
        local = np.searchsorted(near, left) * len(near) + np.searchsorted(near, right)
        crowd = np.searchsorted(near, np.flatnonzero(crowded))
        contents = facts.contents[rows_near]
        cut = self.chains == "cut"
        ties = tie(texts, local, crowd, contents, self.threshold, cut=cut)
        return self._repeated(self._marks(corpus, best, rows_near, ties), again)

    def _check(self, rows: pl.LazyFrame) -> None:
        have = rows.collect_schema().names()
        asked = [*self.column, *(n for e in self._ranks() for n in e.meta.root_names())]
        for name in (*asked, self.within, self.id):
            if name is not None and name not in have:
                raise BrokenContract(f"dedupe reads column {name!r}" + did_you_mean(name, have))

    def _ranks(self) -> list[pl.Expr]:
        """For each word of `keep` an expression, larger is better."""
        text = Corpus(pl.LazyFrame(), self.column).text
        words = {
            "first": -pl.int_range(pl.len()),
            "longest": text.str.len_bytes(),
            "shortest": -text.str.len_bytes().cast(pl.Int64),
            "verified": pl.col("outcome").cast(pl.String) == "correct",
        }
        chosen = []
        for word in self.keep:
            try:
                rank = words[word] if word in words else pl.sql_expr(word)
            except pl.exceptions.PolarsError as error:
                raise RecipeError(
                    f"dedupe.keep: {word!r} is no SQL ({error})" + did_you_mean(word, words)
                ) from None
            chosen.append(rank.cast(pl.Float64).fill_null(-np.inf))
        return chosen

    def _scheme(self) -> Scheme:
        return Scheme(self.permutations, self.seed, self.ngram, self.hash, self.fold)

    def _read(self, corpus: Corpus, bands: tuple[int, int], into: Bands) -> Facts:
        """One reading of all rows; their band keys go `into`."""
        ranks = [rank.alias(f"rank{i}") for i, rank in enumerate(self._ranks())]
        group = [pl.col(self.within).hash(self.seed).alias("group")] if self.within else []
        asked = (corpus.text.alias("text"), *ranks, *group)
        read = partial(_sketched, scheme=self._scheme(), bands=bands)
        if self._desk.spread is not None:
            pieces = self._desk.spread(partial(read, compiled=True), corpus.slices(*asked))
        else:
            pieces = self._here(read, corpus.batches(*asked))
        done = 0
        parts = [Facts(np.empty(0, np.uint64), np.empty((len(ranks), 0)))]
        for facts, keys in pieces:
            into.add(keys)
            parts.append(facts)
            done += len(facts.contents)
            self._desk.report(Progress(done, done))
        return Facts(
            np.concatenate([part.contents for part in parts]),
            np.concatenate([part.ranks for part in parts], axis=1),
        )

    def _here(
        self, read: Callable[..., tuple[Facts, U64]], batches: Iterable[pl.DataFrame]
    ) -> Iterator[tuple[Facts, U64]]:
        size = 0
        for batch in batches:
            size += int(batch["text"].str.len_bytes().sum() or 0)
            yield read(batch, workers=self.workers, compiled=size > COMPILE_BYTES)

    def _again(self, corpus: Corpus, facts: Facts, keys: Bands) -> list[Again]:
        """The rows that repeat what was published. They take no further part."""
        if self.published is None:
            return []
        index = Published(self.published)
        if index.scheme != self._scheme():
            raise RecipeError(
                f"dedupe: {self.published} was made with {index.scheme}, not {self._scheme()}"
                "\n  next   give dedupe the options of the index"
            )
        if self.within is None:
            found = index.again(corpus, facts.contents, keys, self.threshold)
        else:  # an index knows no groups, and the keys at hand are each of one
            bands = bands_for(self.threshold, self.permutations)
            with Bands(bands[0], self._desk.scratch) as plain:
                self.model_copy(update={"within": None})._read(corpus, bands, plain)
                found = index.again(corpus, facts.contents, plain, self.threshold)
        facts.contents[[one.row for one in found]] = 0
        return found

    @staticmethod
    def _repeated(marks: pl.DataFrame, again: list[Again]) -> pl.DataFrame:
        rows = [one.row for one in again]
        return (
            marks.with_columns(
                marks[DROPPED].scatter(rows, DUPLICATE),
                marks["duplicate_of"].scatter(rows, [one.id for one in again]),
                marks["similarity"].scatter(rows, [one.similarity for one in again]),
            )
            if again
            else marks
        )

    def index(self, rows: pl.LazyFrame, into: Path) -> int:
        """Write an index of rows, and of those in `published`, for a later run: how many it has."""
        name = self._id(Corpus(rows, self.column))
        if name is None:
            raise RecipeError(
                "dedupe: an index names its rows, and no column does"
                f"\n  next   say which: id; by itself {', '.join(IDS)} is found"
            )
        return publish(
            rows, into, self._scheme(), self.column, name, self.workers, after=self.published
        )

    def identity(self) -> dict[str, Any]:
        file = self.published and file_digest(self.published)
        return {**super().identity(), "published": file}

    def _order(self, corpus: Corpus, facts: Facts) -> Ints:
        """All rows, best first. Rows that are equal in all that `keep` says go by what they
        hold, so that the order of rows decides only between rows that are the same.
        """
        keys = (facts.contents, *-facts.ranks[::-1])
        order: Ints = np.lexsort(keys)
        equal = np.all([key[order][1:] == key[order][:-1] for key in keys], axis=0)
        equal &= facts.contents[order][1:] != 0
        tied = np.zeros(len(order), np.bool_)
        tied[order[1:][equal]] = tied[order[:-1][equal]] = True
        if not tied.any():
            return order
        name = self._id(corpus)
        whole = pl.struct(corpus.table.collect_schema().names()).struct.json_encode()
        said = pl.col(name).cast(pl.String) if name else whole
        rows = np.flatnonzero(tied)
        line = np.zeros(len(order), np.int64)
        line[rows] = corpus.some(said, rows).rank("dense").fill_null(0).to_numpy()
        order = np.lexsort((line, *keys))
        return order

    def _texts(self, corpus: Corpus, rows: Ints) -> Texts:
        ascending = np.argsort(rows)
        views = corpus.held(rows[ascending], fold=self.fold, scratch=self._desk.scratch)
        place = np.empty(len(rows), np.int64)
        place[ascending] = np.arange(len(rows))
        return Texts(views.part(place), self._scheme(), self.workers)

    def _id(self, corpus: Corpus) -> str | None:
        have = corpus.table.collect_schema().names()
        return self.id or next((name for name in IDS if name in have), None)

    def _names(self, corpus: Corpus, rows: Ints) -> pl.Series:
        """What rows are called; -1 is null."""
        name, asked = self._id(corpus), np.unique(rows[rows >= 0])
        if name is None:
            said = pl.Series([f"row {row + 1}" for row in asked.tolist()], dtype=pl.String)
        else:
            said = corpus.some(pl.col(name).cast(pl.String), asked)
        known = pl.Series(np.where(rows >= 0, np.searchsorted(asked, rows), 0), dtype=pl.UInt32)
        if not len(asked):
            return pl.Series([None] * len(rows), dtype=pl.String)
        return said.gather(known).zip_with(pl.Series(rows >= 0), pl.Series([None], dtype=pl.String))

    def _marks(self, corpus: Corpus, best: Ints, near: Ints, ties: Ties) -> pl.DataFrame:
        n = len(best)
        survivor, similarity, via = np.arange(n), np.ones(n), np.full(n, -1)
        survivor[near] = near[ties.survivor]
        similarity[near] = ties.similarity
        via[near] = np.where(ties.via >= 0, near[ties.via] if len(near) else -1, -1)
        known = best >= 0
        survivor[known], similarity[known] = survivor[best[known]], similarity[best[known]]
        via[known] = via[best[known]]
        gone = survivor != np.arange(n)
        names = self._names(corpus, np.concatenate([survivor[gone], via[gone]]))
        half = int(gone.sum())
        return (
            pl.DataFrame({"gone": gone})
            .with_columns(pl.lit(None, kind).alias(name) for name, kind in self.writes.items())
            .with_columns(
                pl.when("gone").then(pl.lit(DUPLICATE)).alias(DROPPED),
                _scattered(gone, names[:half]).alias("duplicate_of"),
                _scattered(gone, pl.Series(similarity[gone])).alias("similarity"),
                _scattered(gone, names[half:]).alias("duplicate_via"),
            )
            .select(*self.writes)
        )


def _sketched(
    rows: pl.DataFrame | pl.LazyFrame,
    scheme: Scheme,
    bands: tuple[int, int],
    workers: int = 1,
    *,
    compiled: bool,
) -> tuple[Facts, U64]:
    """What is kept of a piece of the table, and the band keys of its texts."""
    batch = rows.collect() if isinstance(rows, pl.LazyFrame) else rows
    found = sketch(batch["text"], scheme, bands, workers=workers, compiled=compiled)
    contents, keys = found.contents, found.keys
    if "group" in batch.columns:
        twist = batch["group"].to_numpy() * STEP
        contents = np.where(contents != 0, contents ^ twist, 0)
        keys ^= twist
    lines = [batch[name].to_numpy() for name in batch.columns if name.startswith("rank")]
    return Facts(contents, np.stack(lines)), keys


def _best(contents: U64, order: Ints) -> Ints:
    """For each row the best one with the same content; -1 for a row without words."""
    best = np.arange(len(order))
    best[contents == 0] = -1
    held = np.sort(contents)
    repeated = np.unique(held[1:][held[1:] == held[:-1]])
    repeated = repeated[repeated != 0]
    if len(repeated):
        group = np.minimum(np.searchsorted(repeated, contents), len(repeated) - 1)
        rows = order[(repeated[group] == contents)[order]]
        first = np.full(len(repeated), -1)
        first[group[rows][::-1]] = rows[::-1]  # the last of several writes stays: the best row
        best[rows] = first[group[rows]]
    return best


def _scattered(mask: NDArray[np.bool_], values: pl.Series) -> pl.Series:
    """The values where the mask is true, in order; null elsewhere."""
    place = pl.Series(np.cumsum(mask) - 1).set(pl.Series(~mask), None)
    return values.gather(place)
