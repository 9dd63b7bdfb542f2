"""CPU time and peak memory of reading JSON lines into typed tables: ours, polars, `datasets`.

One file of 50,000 problems (about 100 MB: a statement of 2 kB, a number, an object). Each reader
runs in a process of its own; its start and imports are measured apart and taken off. Ours reads
the file twice (types, then rows) in pieces; polars gets `infer_schema_length=None`, so that it
too looks at every row. The second table is the same file with one answer that is text in the last
row: what becomes of the numbers there.

    python benchmarks/read.py
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROWS = 50_000
MEASURE = """
import resource, sys, time
from pathlib import Path
path = Path(sys.argv[1])
{imports}
start = time.process_time()
try:
    {read}
    told = str(last)
except Exception as error:
    told = type(error).__name__
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
print(time.process_time() - start, peak, told, sep="\\t")
"""
READERS = {
    "tracecraft": (
        "from tracecraft.curate.files import Files",
        "\n    for piece in Files(path=(path,)).read():\n        last = repr(piece['answer'][-1])",
    ),
    "polars": (
        "import polars as pl",
        "last = repr(pl.read_ndjson(path, infer_schema_length=None)['answer'][-1])",
    ),
    "datasets": (
        "import datasets, tempfile; datasets.disable_progress_bars()",
        "last = repr(datasets.load_dataset('json', data_files=str(path), split='train',"
        " cache_dir=tempfile.mkdtemp())[-1]['answer'])",
    ),
}


def write(path: Path, last: object) -> None:
    with path.open("w") as file:
        for i in range(ROWS):
            row = {
                "problem": f"What is {i} plus {i}? " + "and why " * 240,
                "answer": i if i < ROWS - 1 else last,
                "meta": {"level": i % 5, "source": "made"},
            }
            file.write(json.dumps(row) + "\n")


def measure(reader: str, path: Path) -> tuple[float, float, str]:
    imports, read = READERS[reader]
    code = MEASURE.format(imports=imports, read=read)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds, peak, told = done.stdout.strip().split("\t")
    return float(seconds), float(peak), told


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        for title, last in (("numbers alone", 7), ("text in the last row", "x=7")):
            write(path, last)
            size = path.stat().st_size / 1e6
            print(f"{title}, {size:.0f} MB\n{'':12} cpu s   MB/s  ratio  peak MB  last answer")
            base = None
            for reader in READERS:
                seconds, peak, told = measure(reader, path)
                base = base or seconds
                print(f"{reader:12} {seconds:5.2f} {size / seconds:6.0f} {seconds / base:6.2f} "
                      f"{peak:8.0f}  {told}")  # fmt: skip


if __name__ == "__main__":
    main()
