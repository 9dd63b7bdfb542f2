"""Candidates become facts: exact similarity, clusters of what is similar, and who ties whom."""

import ctypes
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tracecraft.curate.lsh import Ints, candidates, components, distinct
from tracecraft.curate.minhash import (
    COMPILE_BYTES,
    Scheme,
    Views,
    sketch,
    spread,
    stop_table,
)
from tracecraft.curate.shingle import U64, shingles, similarity, word_hashes

CROWD_BANDS = (64, 2)
"""Bands and rows by which a crowd is looked at once its boilerplate is left out. Texts that
reach the threshold only together with the boilerplate share little of the rest: 64 × 2 finds
99.6% of what shares 0.29 of it, which is a similarity of 0.8 under 80% of boilerplate."""
CROWD_SAMPLE = 1024
"""Texts of a crowd in which its boilerplate is sought; fewer where they are long."""
CROWD_BYTES = 1 << 20
"""Text of a sample, roughly."""
BOILERPLATE = 0.01
"""Share of the sample from which a shingle is boilerplate."""
ROUNDS = 3
"""How often a crowd that is left crowded is looked at again."""


@dataclass(frozen=True, slots=True)
class Links:
    """Pairs of texts and their exact similarity."""

    left: Ints
    right: Ints
    similarity: NDArray[np.float64]

    def kept(self, mask: NDArray[np.bool_]) -> "Links":
        """Some of them."""
        return Links(self.left[mask], self.right[mask], self.similarity[mask])

    def joined(self, other: "Links") -> "Links":
        """Both."""
        return Links(
            np.append(self.left, other.left),
            np.append(self.right, other.right),
            np.append(self.similarity, other.similarity),
        )


class Texts:
    """Prepared texts that may be compared, numbered best first."""

    def __init__(self, views: Views, scheme: Scheme, workers: int) -> None:
        self.views, self.scheme, self.workers = views, scheme, workers
        self.compiled = int(views.sizes.sum()) > COMPILE_BYTES
        self.parents = np.arange(len(views.sizes))

    def __len__(self) -> int:
        return len(self.views.sizes)

    def spelt(self, numbers: Ints) -> list[str]:
        """Some texts."""
        places = zip(
            self.views.addresses[numbers].tolist(), self.views.sizes[numbers].tolist(), strict=True
        )
        return [ctypes.string_at(address, size).decode() for address, size in places]

    def shingles(self, numbers: Ints) -> list[U64]:
        """The shingles of some texts."""
        hashes, begins = word_hashes(self.spelt(numbers), fold=self.scheme.fold)
        return [shingles(hashes[a:b], self.scheme.ngram) for a, b in pairwise(begins)]

    def compare(self, pairs: Ints, threshold: float, *, join: bool) -> Links:
        """The exact similarity of pairs (`left * n + right`), but of those tied already.

        With `join`, a pair that reaches the threshold is tied, and what others tied is skipped.
        A similarity below the threshold may come out smaller than it is.
        """
        if not len(pairs):
            return Links(pairs, pairs, np.empty(0))
        left, right = np.divmod(pairs, len(self))
        if join:
            roots = self.roots()
            part = components(len(self), roots[left], roots[right])[roots[left]]
            order = np.lexsort((right, left, part))
            left, right, part = left[order], right[order], part[order]
        else:
            part = left
        found = np.empty(len(left), np.float64)
        if self.compiled:
            self._compare_by_kernels(left, right, part, threshold, found, join=join)
        else:
            self._compare_by_numpy(left, right, threshold, found, join=join)
        return Links(left, right, found).kept(found >= 0)

    def _compare_by_kernels(
        self, left: Ints, right: Ints, part: Ints, threshold: float, out: NDArray[np.float64],
        *, join: bool,
    ) -> None:  # fmt: skip
        from tracecraft.curate import overlap

        views, parents = self.views, self.parents if join else self.parents[:0]

        def one(some: slice) -> None:
            overlap.compare(
                views.addresses, views.sizes, self.scheme.fold, self.scheme.ngram,
                left[some], right[some], parents, threshold, out[some],
            )  # fmt: skip

        # Tied texts lie in one part, and a part in one task, so no two threads touch one tree.
        starts = np.flatnonzero(np.diff(part, prepend=-1))
        wanted = np.linspace(0, len(left), 4 * self.workers + 1)[1:-1]
        cuts = np.unique([0, *starts[np.searchsorted(starts, wanted) - 1], len(left)]).tolist()
        spread(one, (slice(a, b) for a, b in pairwise(cuts)), self.workers)

    def _compare_by_numpy(
        self, left: Ints, right: Ints, threshold: float, out: NDArray[np.float64], *, join: bool
    ) -> None:
        numbers = np.unique(np.append(left, right))
        sets = dict(zip(numbers.tolist(), self.shingles(numbers), strict=True))
        for i, (x, y) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
            a, b = self.root(x), self.root(y)
            out[i] = -1 if join and a == b else similarity(sets[x], sets[y])
            if join and out[i] >= threshold:
                self.parents[max(a, b)] = min(a, b)

    def root(self, x: int) -> int:
        """The best text that this one is tied with."""
        while self.parents[x] != x:
            x = int(self.parents[x])
        return x

    def roots(self) -> Ints:
        """`root` of every text."""
        roots = self.parents
        while (roots[roots] != roots).any():
            roots = roots[roots]
        return roots

    def crowd_pairs(self, crowd: Ints, contents: U64) -> tuple[Ints, Ints]:
        """Pairs of a crowd that are alike even without its boilerplate, and who is still crowded.

        The sample is drawn by content, so that it is the same for any order of rows.
        """
        ordered = crowd[np.argsort(contents[crowd], kind="stable")]
        mean = int(self.views.sizes.mean()) + 1
        picked = min(CROWD_SAMPLE, max(CROWD_BYTES // mean, 64))
        sample = ordered[np.unique(np.linspace(0, len(crowd) - 1, picked).astype(np.int64))]
        seen = np.concatenate([np.unique(s) for s in self.shingles(sample)])
        found, counts = np.unique(seen, return_counts=True)
        common = found[counts >= max(8, BOILERPLATE * len(sample))]
        if not len(common):
            return np.empty(0, np.int64), crowd[:0]
        stop = stop_table(common)
        scheme = replace(self.scheme, permutations=CROWD_BANDS[0] * CROWD_BANDS[1], hash="words")
        rest = sketch(
            pl.Series(self.spelt(crowd)), scheme, CROWD_BANDS,
            stop=stop, workers=self.workers, compiled=self.compiled,
        )  # fmt: skip
        some = np.flatnonzero(rest.counts)
        known = np.where(rest.counts, np.cumsum(rest.counts != 0) - 1, -1)
        rows = np.arange(len(crowd))
        pairs, crowded = candidates(((band, rows) for band in rest.keys), known, len(some))
        left, right = np.divmod(pairs, max(len(some), 1))
        numbers = crowd[some]
        return numbers[left] * len(self) + numbers[right], numbers[crowded]


@dataclass(frozen=True, slots=True)
class Ties:
    """What became of each text."""

    survivor: Ints
    """The text kept in its place; itself where it is kept."""
    similarity: NDArray[np.float64]
    """To the survivor."""
    via: Ints
    """The text that ties it into the cluster where the survivor alone would not; else -1."""


def tie(
    texts: Texts, pairs: Ints, crowd: Ints, contents: U64, threshold: float, *, cut: bool
) -> Ties:
    """Compare candidates and settle who survives: the best of each cluster.

    With `cut` a text goes only for a survivor that it reaches the threshold with.
    """
    links = _linked(texts, pairs, crowd, contents, threshold, join=not cut)
    n = len(texts)
    survivor = _stars(n, links) if cut else texts.roots()
    gone = np.flatnonzero(survivor != np.arange(n))
    similarity, via = np.ones(n), np.full(n, -1)
    direct = survivor[links.right] == links.left
    similarity[gone] = -1
    similarity[links.right[direct]] = links.similarity[direct]
    unknown = gone[similarity[gone] < 0]
    if len(unknown):
        more = texts.compare(np.sort(survivor[unknown] * n + unknown), 0.0, join=False)
        similarity[more.right] = more.similarity
        via[unknown] = _nearest(n, links)[unknown]
        via[similarity >= threshold] = -1
    return Ties(survivor, similarity, via)


def _linked(
    texts: Texts, pairs: Ints, crowd: Ints, contents: U64, threshold: float, *, join: bool
) -> Links:
    links, seen = texts.compare(pairs, threshold, join=join), pairs
    for _ in range(ROUNDS):
        if not len(crowd) or (join and len(np.unique(texts.roots()[crowd])) == 1):
            break
        more, crowd = texts.crowd_pairs(crowd, contents)
        more = np.setdiff1d(distinct([more]), seen, assume_unique=True)
        seen = distinct([seen, more])
        links = links.joined(texts.compare(more, threshold, join=join))
    return links.kept(links.similarity >= threshold)


def _stars(n: int, links: Links) -> Ints:
    """Best first, each text not yet gone takes all that are linked to it."""
    survivor = np.arange(n)
    order = np.lexsort((links.right, links.left))
    for x, y in zip(links.left[order].tolist(), links.right[order].tolist(), strict=True):
        if survivor[x] == x and survivor[y] == y:
            survivor[y] = x
    return survivor


def _nearest(n: int, links: Links) -> Ints:
    """The text that each is most similar to, the better one of equals; -1 without a link."""
    here = np.append(links.left, links.right)
    there = np.append(links.right, links.left)
    order = np.lexsort((-there, np.append(links.similarity, links.similarity)))
    nearest = np.full(n, -1)
    nearest[here[order]] = there[order]  # the last of several writes to one place stays
    return nearest
