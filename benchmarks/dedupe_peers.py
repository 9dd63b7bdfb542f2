"""Other tools for near-duplicates, each asked the same: which of these documents would it drop?

All look for a similarity of 0.8 of word 5-grams. datasketch, rensa and gaoya are libraries and
run in the process that asks; text-dedup and datatrove work on files, so this file is also the
program that runs them:

    python benchmarks/dedupe_peers.py text-dedup|datatrove FOLDER

FOLDER holds `in/a.jsonl` with `text` and `id`; the names of what is kept go to `FOLDER/kept`.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

THRESHOLD, NGRAM, PERMUTATIONS = 0.8, 5, 128


def grams(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[i : i + NGRAM]) for i in range(max(1, len(words) - NGRAM + 1))]


def datasketch(texts: list[str]) -> np.ndarray:
    """Its fastest way: signatures in bulk, one query and one insertion a document."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=PERMUTATIONS)
    dropped = np.zeros(len(texts), np.bool_)
    made = MinHash.generator(
        ({gram.encode() for gram in grams(text)} for text in texts), num_perm=PERMUTATIONS
    )
    for i, one in enumerate(made):
        dropped[i] = bool(index.query(one))
        if not dropped[i]:
            index.insert(i, one)
    return dropped


def rensa(texts: list[str]) -> np.ndarray:
    from rensa import RMinHash, RMinHashDeduplicator

    index = RMinHashDeduplicator(THRESHOLD, PERMUTATIONS, use_lsh=True, num_bands=16)
    dropped = np.zeros(len(texts), np.bool_)
    for i, text in enumerate(texts):
        one = RMinHash(num_perm=PERMUTATIONS, seed=42)
        one.update(grams(text))
        dropped[i] = not index.add(str(i), one)
    return dropped


def gaoya(texts: list[str]) -> np.ndarray:
    from gaoya.minhash import MinHashStringIndex

    index = MinHashStringIndex(
        32, THRESHOLD, 21, 6, None, "word", False, (NGRAM, NGRAM), id_container="smallvec"
    )
    dropped = np.zeros(len(texts), np.bool_)
    for i, text in enumerate(texts):
        dropped[i] = bool(index.query(text))
        if not dropped[i]:
            index.insert_document(i, text)
    return dropped


def on_files(name: str, python: str) -> Callable[[list[str]], np.ndarray]:
    """A tool that works on files, run by a Python of its own."""

    def tool(texts: list[str]) -> np.ndarray:
        module = {"text-dedup": "text_dedup.minhash", "datatrove": "datatrove.pipeline.dedup"}
        tried = subprocess.run([python, "-c", f"import {module[name]}"], capture_output=True)
        if tried.returncode:
            raise ImportError(tried.stderr.decode().strip().splitlines()[-1])
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            (home / "in").mkdir()
            rows = (json.dumps({"text": text, "id": str(i)}) for i, text in enumerate(texts))
            (home / "in/a.jsonl").write_text("\n".join(rows))
            asked = [python, __file__, name, folder]
            done = subprocess.run(asked, capture_output=True, cwd=folder)
            if done.returncode:
                raise RuntimeError(done.stderr.decode()[-2000:])
            kept = set((home / "kept").read_text().split())
        return np.array([str(i) not in kept for i in range(len(texts))])

    return tool


def _text_dedup(home: Path) -> list[str]:
    """Its command, over a saved `datasets` folder."""
    from datasets import load_dataset, load_from_disk
    from text_dedup.minhash import main

    rows: Any = load_dataset("json", data_files=str(home / "in/a.jsonl"), split="train")
    rows.save_to_disk(str(home / "set"))
    options = {
        "path": home / "set",
        "output": home / "out",
        "cache_dir": home / "cache",
        "column": "text",
        "ngram": NGRAM,
        "num_perm": PERMUTATIONS,
        "threshold": THRESHOLD,
        "num_proc": 1,
    }
    asked = ["--local", *(f"--{name}={value}" for name, value in options.items())]
    main(asked, standalone_mode=False)
    kept: Any = load_from_disk(str(home / "out"))
    return list(map(str, kept["id"]))


def _datatrove(home: Path) -> list[str]:
    """Its four steps, as its example wires them."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter

    config = MinhashConfig(n_grams=NGRAM, num_buckets=14, hashes_per_bucket=8)
    signatures, buckets, gone = (str(home / name) for name in ("s", "b", "r"))
    reader = JsonlReader(str(home / "in"))
    steps = (
        [reader, MinhashDedupSignature(signatures, config=config)],
        [MinhashDedupBuckets(signatures, buckets, config=config)],
        [MinhashDedupCluster(buckets, gone, config=config)],
        [reader, MinhashDedupFilter(gone), JsonlWriter(str(home / "out"), compression=None)],
    )
    for number, pipeline in enumerate(steps):
        tasks = config.num_buckets if number == 1 else 1
        LocalPipelineExecutor(
            pipeline, tasks=tasks, workers=1, logging_dir=str(home / f"log{number}")
        ).run()
    return [json.loads(line)["id"] for file in (home / "out").glob("*") for line in file.open()]


if __name__ == "__main__":
    place = Path(sys.argv[2])
    names = (_text_dedup if sys.argv[1] == "text-dedup" else _datatrove)(place)
    (place / "kept").write_text("\n".join(names))
