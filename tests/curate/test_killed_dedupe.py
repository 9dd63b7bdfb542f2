"""A run that dies in any phase of dedupe and is run again ends as if nothing had happened."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

WORDS = [f"word{i}" for i in range(900)]
PROGRAM = """
import os, sys, time
from pathlib import Path
from tracecraft.curate import bands, corpus
from tracecraft.curate.dedupe import Dedupe
import tracecraft as tc
bands.KEYS_BYTES, corpus.LEAST_ROWS, corpus.BATCH_BYTES = 100_000, 500, 1
Dedupe.shard_rows = 700
phase, recipe, store, flag = sys.argv[1:]
for owner, name in (
    (Dedupe, "_order"), (Dedupe, "_texts"), (Dedupe, "_marks"), (bands.Bands, "_spill"),
    (Dedupe, "dress"),
):
    def slow(*given, before=getattr(owner, name), name=name, **named):
        if name == phase:
            Path(flag).touch()
            time.sleep(30)
        return before(*given, **named)
    setattr(owner, name, slow)
tc.run(tc.plan(tc.load_recipe(Path(recipe)), store=Path(store)))
"""


def recipe(home: Path) -> Path:
    g = random.Random(5)
    rows = []
    for _ in range(2_000):
        base = g.choices(WORDS, k=g.randrange(5, 40))
        rows.append(" ".join(base))
        if g.random() < 0.3:
            rows.append(" ".join([*base[:-1], "changed"]))
    lines = [orjson.dumps({"statement": row, "answer": "1"}) for row in rows]
    (home / "rows.jsonl").write_bytes(b"\n".join(lines))
    (home / "recipe.yaml").write_text(
        "name: killed\ninputs:\n"
        "  raw: {use: files, path: rows.jsonl}\n"
        "stages:\n"
        "  - {name: unique, use: dedupe, from: raw}\n"
    )
    return home / "recipe.yaml"


def start(phase: str, path: Path, store: Path) -> subprocess.Popen:
    flag = store.with_suffix(".flag")
    flag.unlink(missing_ok=True)
    return subprocess.Popen([sys.executable, "-c", PROGRAM, phase, path, store, flag])


def found(store: Path) -> dict[str, str]:
    home = next((store).rglob("unique-*"))
    return {
        str(file.relative_to(home)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(home.rglob("*.arrow"))
    }


@pytest.mark.slow
def test_a_kill_in_any_phase_changes_nothing(tmp_path):
    path = recipe(tmp_path)
    assert start("none", path, tmp_path / "whole").wait(120) == 0
    want = found(tmp_path / "whole")
    assert len(want) > 6
    for phase in ("_spill", "_order", "_texts", "_marks", "dress"):
        store = tmp_path / phase
        running = start(phase, path, store)
        while not store.with_suffix(".flag").exists():
            assert running.poll() is None
            time.sleep(0.05)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        assert start("none", path, store).wait(120) == 0
        assert found(store) == want, phase
        assert not list(store.rglob("bands-*"))
