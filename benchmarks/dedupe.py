"""Near-duplicates: our stage and other tools on the same documents, in one process.

Method. Documents of about 7 kB are drawn from 50,000 words with Zipf's distribution. 70% stand
alone; of the others each gets one to three copies in which up to 3% of the words are replaced,
so that most copies reach a Jaccard similarity of 0.8 of word 5-grams and some do not. The order
is shuffled. The truth is computed, not assumed: exact similarity of all pairs within a family
(words are drawn at random, so no two families are alike), and connected components of those that
reach the threshold. A tool is asked which documents it would drop.

  recall     dropped documents, over those that a perfect tool drops (all but one a component);
             more than that from one component count as lost, not as found
  precision  dropped documents with a true near-duplicate, over all dropped documents
  lost       components of which nothing is kept

CPU seconds are of this process and its children, threads included; each tool starts with the
documents as a list of strings in memory and, after a warm-up on 1,500 of them, is run three
times, of which the best counts; once, where a run takes more than 10 s. Tools that want tokens
get them made within their time. What is not installed is skipped with a line.

`--slow` adds text-dedup and datatrove, which work on files: each in a process of its own, with
the interpreter that `--peers` names; their time includes that process's start and the files.

    python benchmarks/dedupe.py [--documents 20000] [--words 960] [--slow [--peers PYTHON]]
    python benchmarks/dedupe.py --files | --curve | --crowd
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from dedupe_peers import datasketch, gaoya, on_files, rensa
from tracecraft.curate import bands, lines
from tracecraft.curate.dedupe import Dedupe
from tracecraft.curate.lsh import bands_for, components, datasketch_bands, first_seen
from tracecraft.curate.minhash import Scheme, sketch
from tracecraft.curate.shingle import shingles, similarity, word_hashes

THRESHOLD, NGRAM, PERMUTATIONS = 0.8, 5, 128
WORKERS = os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class Corpus:
    texts: list[str]
    component: np.ndarray
    """For each document the least one it is connected with by true pairs."""

    @property
    def excess(self) -> int:
        """Documents that a perfect tool drops."""
        return len(self.texts) - len(np.unique(self.component))


def vocabulary(words: int, g: np.random.Generator) -> np.ndarray:
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    sizes = g.integers(3, 10, words)
    return np.array([letters[g.integers(0, 26, size)].tobytes().decode() for size in sizes])


def corpus(documents: int, words: int, seed: int = 7) -> Corpus:
    g = np.random.default_rng(seed)
    spelt = vocabulary(50_000, g)
    chance = np.cumsum(1 / np.arange(1, len(spelt) + 1) ** 0.9)
    chance /= chance[-1]
    drawn: list[np.ndarray] = []
    family: list[int] = []
    while len(drawn) < documents:
        size = int(words * g.uniform(0.8, 1.2))
        base = np.searchsorted(chance, g.random(size)).astype(np.int32)
        copies = 0 if g.random() < 0.7 else int(g.integers(1, 4))
        for copy in range(copies + 1):
            text = base.copy()
            edits = int(g.integers(1, max(2, int(size * 0.03)) + 1)) if copy else 0
            text[g.integers(0, size, edits)] = g.integers(0, len(spelt), edits)
            drawn.append(text)
            family.append(len(drawn) - 1 - copy)
    order = g.permutation(len(drawn))[:documents]
    texts = [" ".join(spelt[drawn[i]]) for i in order]
    return Corpus(texts, truth(texts, np.array(family)[order]))


def truth(texts: Sequence[str], family: np.ndarray) -> np.ndarray:
    """Components of the exact near-duplicate pairs within families."""
    by_family: dict[int, list[int]] = {}
    for i, name in enumerate(family.tolist()):
        by_family.setdefault(name, []).append(i)
    left, right = [], []
    for members in by_family.values():
        if len(members) < 2:
            continue
        hashes, begins = word_hashes([texts[i] for i in members], fold=False)
        found = [shingles(hashes[a:b], NGRAM) for a, b in pairwise(begins)]
        for a in range(len(members)):
            for b in range(a + 1, len(members)):
                if similarity(found[a], found[b]) >= THRESHOLD:
                    left.append(members[a])
                    right.append(members[b])
    return components(len(texts), np.array(left, np.int64), np.array(right, np.int64))


@dataclass(frozen=True, slots=True)
class Score:
    name: str
    cpu: float
    wall: float
    recall: float
    precision: float
    lost: int


def scored(name: str, given: Corpus, dropped: np.ndarray, cpu: float, wall: float) -> Score:
    n = len(given.texts)
    size = np.bincount(given.component, minlength=n)
    gone = np.bincount(given.component[dropped], minlength=n)
    found = int(np.minimum(gone, np.maximum(size - 1, 0)).sum())
    right = int((size[given.component[dropped]] > 1).sum())
    lost = int(((size > 0) & (gone == size)).sum())
    return Score(
        name, cpu, wall, found / max(given.excess, 1), right / max(int(dropped.sum()), 1), lost
    )


def cpu_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def timed(
    tool: Callable[[list[str]], np.ndarray], texts: list[str]
) -> tuple[np.ndarray, float, float]:
    tool(texts[:1_500])
    best = np.inf, np.inf
    for _ in range(3):
        cpu, wall = cpu_seconds(), time.perf_counter()
        dropped = tool(texts)
        best = min(best, (cpu_seconds() - cpu, time.perf_counter() - wall))
        if best[0] > 10:
            break
    return dropped, *best


def ours(hash: str = "words", workers: int = WORKERS) -> Callable[[list[str]], np.ndarray]:
    stage = Dedupe(column=("text",), threshold=THRESHOLD, hash=hash, fold=False, workers=workers)

    def tool(texts: list[str]) -> np.ndarray:
        table = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String)})
        return stage.mark(table.lazy())["dropped"].is_not_null().to_numpy()

    return tool


def ours_as_datasketch(texts: list[str]) -> np.ndarray:
    """datasketch's own hash, bands and loop, without verification: its mask bit for bit."""
    theirs = datasketch_bands(THRESHOLD, PERMUTATIONS)
    scheme = Scheme(PERMUTATIONS, 1, NGRAM, "sha1")
    return first_seen(sketch(pl.Series(texts), scheme, theirs, workers=WORKERS, compiled=True).keys)


def table(scores: Sequence[Score]) -> None:
    best = scores[0]
    heads = (
        ("CPU s", 8),
        ("wall s", 8),
        ("× ours", 8),
        ("recall", 9),
        ("precision", 11),
        ("lost", 6),
    )
    print(f"{'tool':<34}" + "".join(f"{head:>{width}}" for head, width in heads))
    for s in scores:
        print(
            f"{s.name:<34}{s.cpu:>8.2f}{s.wall:>8.2f}{s.cpu / best.cpu:>8.1f}"
            f"{s.recall:>9.4f}{s.precision:>11.4f}{s.lost:>6}"
        )


def compare(documents: int, words: int, peers: str, *, slow: bool) -> None:
    given = corpus(documents, words)
    size = sum(map(len, given.texts)) / 1e6
    print(f"{documents:,} documents, {size:.0f} MB, {given.excess:,} to drop, {WORKERS} cores")
    tools: list[tuple[str, Callable[[list[str]], np.ndarray]]] = [
        ("tracecraft", ours()),
        ("tracecraft, sha1", ours("sha1")),
        ("tracecraft, datasketch's mask", ours_as_datasketch),
        ("datasketch", datasketch),
        ("rensa", rensa),
        ("gaoya", gaoya),
        *((name, on_files(name, peers)) for name in ("text-dedup", "datatrove") if slow),
    ]
    scores, masks = [], {}
    for name, tool in tools:
        try:
            dropped, cpu, wall = timed(tool, given.texts)
        except ImportError as error:
            print(f"{name}: skipped ({error})")
            continue
        masks[name] = dropped
        scores.append(scored(name, given, dropped, cpu, wall))
    table(scores)
    if "datasketch" in masks:
        same = bool((masks["datasketch"] == masks["tracecraft, datasketch's mask"]).all())
        print(f"the mask of datasketch, bit for bit: {same}")


class Peak:
    """The most memory of its own (mapped files left out) that this process held in a block."""

    def __enter__(self) -> "Peak":
        self.before = self.most = self.now()
        self.ended = threading.Event()
        self.watch = threading.Thread(target=self.look)
        self.watch.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.ended.set()
        self.watch.join()

    def look(self) -> None:
        while not self.ended.wait(0.01):
            self.most = max(self.most, self.now())

    @staticmethod
    def now() -> float:
        status = Path("/proc/self/status").read_text()
        return int(status.split("RssAnon:")[1].split()[0]) * 1024


def curve() -> None:
    """Short rows, each size in a process of its own: time and memory over that of the input."""
    print(
        f"{'rows':>10}{'MB':>8}{'CPU s':>9}{'µs a row':>10}{'added MB':>10}"
        f"{'bytes a row':>13}  keys"
    )
    for rows in (2_000, 20_000, 200_000, 2_000_000):
        told = subprocess.run(
            [sys.executable, __file__, "--row", str(rows)],
            capture_output=True,
            text=True,
            check=True,
        )
        print(told.stdout.rstrip())


def row(rows: int) -> None:
    g = np.random.default_rng(3)
    spelt = vocabulary(20_000, g)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.arrow"
        parts = []
        for start in range(0, rows, 100_000):
            count = min(100_000, rows - start)
            drawn = g.integers(0, len(spelt), (count, 40))
            again = g.random(count) < 0.1
            drawn[again] = drawn[np.maximum(np.flatnonzero(again) - 1, 0)]
            drawn[again, 39] = g.integers(0, len(spelt), int(again.sum()))
            spoken = [" ".join(line) for line in spelt[drawn]]
            parts.append(Path(folder) / f"{start}.arrow")
            pl.DataFrame({"statement": spoken}).write_ipc(parts[-1])
            del spoken, drawn
        table = pl.scan_ipc(parts)
        stage = Dedupe(workers=1)
        stage.mark(table.head(20_000))
        size = sum(part.stat().st_size for part in parts)
        cpu = time.process_time()
        with Peak() as peak:
            marks = stage.mark(table)
        cpu = time.process_time() - cpu
        assert marks.height == rows, path
        added = peak.most - peak.before
        keys = bands_for(THRESHOLD, PERMUTATIONS)[0] * 8 * rows
        print(
            f"{rows:>10,}{size / 1e6:>8.0f}{cpu:>9.2f}{cpu / rows * 1e6:>10.1f}"
            f"{added / 1e6:>10.0f}{added / rows:>13.0f}"
            f"  {'on disk' if keys > bands.KEYS_BYTES else 'in memory'}"
        )


def files(documents: int, words: int) -> None:
    """JSON lines in, JSON lines out, the dropped ones beside them, all of it synced to disk."""
    given = corpus(documents, words)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with (home / "a.jsonl").open("w") as file:
            for i, text in enumerate(given.texts):
                file.write(json.dumps({"id": f"d{i}", "text": text}) + "\n")
        size = (home / "a.jsonl").stat().st_size / 1e6
        stage = Dedupe(column=("text",), threshold=THRESHOLD)
        for turn in range(4):
            cpu, wall = time.process_time(), time.perf_counter()
            told = lines.dedupe(home / "a.jsonl", home / "o.jsonl", home / "d.jsonl", stage)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            print(f"turn {turn + 1}: {size:.0f} MB, {told}, CPU {cpu:.2f} s, wall {wall:.2f} s")


def crowd(documents: int) -> None:
    """A preamble shared by all: what it costs, and whether true pairs are still found."""
    print(f"{'preamble':>9}{'kinds':>7}{'CPU s':>8}{'true':>7}{'found':>7}{'dropped':>9}")
    spelt = np.array([f"w{i}" for i in range(20_000)])
    for kinds in (1, 20):
        for share in (0.0, 0.3, 0.5, 0.7, 0.8, 0.85, 0.88):
            g = np.random.default_rng(1)
            preambles = [spelt[g.integers(0, 20_000, int(300 * share))] for _ in range(kinds)]
            texts: list[str] = []
            body, kind = spelt[:0], 0
            for i in range(documents):
                if i % 10 == 9:
                    body = body.copy()
                    body[g.integers(0, len(body))] = spelt[g.integers(0, 20_000)]
                else:
                    kind = int(g.integers(kinds))
                    body = spelt[g.integers(0, 20_000, 300 - len(preambles[0]))]
                texts.append(" ".join([*preambles[kind], *body]))
            dropped, cpu, _ = timed(ours(workers=1), texts)
            pairs = range(9, documents, 10)
            found = sum(bool(dropped[i - 1] | dropped[i]) for i in pairs)
            print(f"{share:>9.0%}{kinds:>7}{cpu:>8.2f}{len(pairs):>7}{found:>7}{dropped.sum():>9}")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--documents", type=int, default=20_000)
    asked.add_argument("--words", type=int, default=960, help="a document; of 7.3 bytes each")
    asked.add_argument("--slow", action="store_true", help="also text-dedup and datatrove")
    asked.add_argument("--peers", default=sys.executable, help="the Python that has those two")
    asked.add_argument("--curve", action="store_true", help="2,000 to 2,000,000 short rows")
    asked.add_argument("--files", action="store_true", help="JSON lines to JSON lines")
    asked.add_argument("--crowd", action="store_true", help="a preamble shared by all")
    asked.add_argument("--row", type=int, help=argparse.SUPPRESS)
    given = asked.parse_args()
    if given.row:
        row(given.row)
    elif given.curve:
        curve()
    elif given.files:
        files(given.documents, given.words)
    elif given.crowd:
        crowd(given.documents)
    else:
        compare(given.documents, given.words, given.peers, slow=given.slow)


if __name__ == "__main__":
    main()
