"""Benchmark leaks: what is found, what is wrongly found, and at which speed.

Method. Real problem sets that are known to overlap are searched for each other (no file of them
is part of this project: `--data FOLDER` names the folder they lie in). For each pair of sets:

  exact   rows whose letters and digits are those of a benchmark item, position by position
  found   of those, how many are dropped (recall on what is certain)
  more    rows dropped beyond those: re-typesettings and rewordings, or mistakes; `--show` prints
          them with their item, to be read
  other   rows flagged as having an item's wording with other numbers; they are kept
  8-gram  rows that share one run of 8 words with an item: what most tools drop

All 139 rows of `more` were read. 127 are the item's problem: retyped, reworded, or asked for the
same unknown in another form ("find m + n"). 12 are not: 11 of the 12 between MATH's training or
test set and MATH-500, and one AIME problem with another number. Six of these share the item's
figure or given facts and ask something else, four are siblings (a hexagon for a heptagon, r = c
for z = c), one has another number (6^20 for 20), one has only its symbols in common. So of 1,042
rows dropped here (`found` and `more`, without HumanEval+) 1,030 repeat an item.

  MATH test for MATH-500 1 of 6 true, MATH train for MATH-500 0 of 6, AIME for MATH-500 4 of 4,
  AIME for MATH test 54 of 55, MATH train for AIME 68 of 68

Speed. Reasoning traces are repeated up to `--megabytes` and searched for eight benchmarks; CPU
seconds are of this process, memory is what the search adds to its peak.

    python benchmarks/decontaminate.py --data ../shared/data [--megabytes 1000] [--show]
"""

import argparse
import gzip
import json
import os
import re
import resource
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from tracecraft.curate.decontaminate import Decontaminate
from tracecraft.curate.leaks import Index, Item

AIME24 = {
    "Qwen": ("math_qwen25math_eval/aime24.jsonl", "problem"),
    "NeMo": ("math_nemo_skills/aime24.jsonl", "problem"),
    "LIMO": ("math_limo_eval/aime.jsonl", "problem"),
    "QwQ": ("code_qwq_lcb_v5/aime24.jsonl", "prompt"),
}
SETS = {
    "MATH-500": ("math_MATH/MATH500.jsonl.gz", "problem"),
    "MATH test": ("math_MATH/MATH_test5000.jsonl.gz", "problem"),
    "MATH train": ("math_deepscaler_rllm/train_math_math.json.gz", "problem"),
    "AIME 1983-2023": ("math_deepscaler_rllm/train_math_aime.json.gz", "problem"),
    "GSM8K train": ("math_gsm8k/train.jsonl.gz", "question"),
    "GSM8K test": ("math_gsm8k/test.jsonl.gz", "question"),
    "AIME24": AIME24["Qwen"],
    "HumanEval": ("code_humaneval/HumanEval.jsonl.gz", "prompt"),
    "HumanEval+": ("code_evalplus/HumanEvalPlus.jsonl.gz", "prompt"),
    "MBPP": ("code_mbpp_evalchemy/eval__chat_benchmarks__MBPP__data__mbpp.jsonl.gz", "text"),
    "LeetCode train": ("code_deepcoder_rllm/train_code_leetcode.json.gz", "problem"),
    "LiveCodeBench": ("code_qwq_lcb_v5/livecodebench_v5.jsonl.gz", "prompt"),
}
PAIRS = (
    ("MATH test", "MATH-500"),
    ("MATH train", "MATH-500"),
    ("AIME 1983-2023", "MATH-500"),
    ("AIME 1983-2023", "MATH test"),
    ("MATH train", "AIME 1983-2023"),
    ("GSM8K train", "AIME24"),
    ("GSM8K train", "MATH-500"),
    ("GSM8K train", "GSM8K test"),
    ("HumanEval+", "HumanEval"),
    ("MBPP", "HumanEval"),
    ("LeetCode train", "LiveCodeBench"),
)
EIGHT = (
    "math_nemo_skills/aime24.jsonl", "math_nemo_skills/aime25.jsonl",
    "math_MATH/MATH500.jsonl.gz", "math_qwen25math_eval/amc23.jsonl",
    "code_qwq_lcb_v5/livecodebench_v5.jsonl.gz", "code_humaneval/HumanEval.jsonl.gz",
    "code_mbpp_evalchemy/eval__chat_benchmarks__MBPP__data__mbpp.jsonl.gz",
    "math_qwen25math_eval/minerva_math.jsonl",
)  # fmt: skip


def lines(path: Path) -> list[dict]:
    body = path.read_bytes()
    body = gzip.decompress(body) if path.suffix == ".gz" else body
    try:
        whole = json.loads(body)
    except json.JSONDecodeError:
        return [json.loads(line) for line in body.splitlines() if line.strip()]
    return whole if isinstance(whole, list) else [whole]


def texts(data: Path, place: tuple[str, str]) -> list[str]:
    return [str(line[place[1]]) for line in lines(data / place[0])]


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def eight_grams(text: str) -> set[str]:
    words = re.findall(r"\w+", text.lower())
    return {" ".join(words[i : i + 8]) for i in range(len(words) - 7)}


def table(items: list[str], name: str) -> pl.LazyFrame:
    ids = list(map(str, range(len(items))))
    return pl.LazyFrame({"problem_id": ids, "benchmark": name, "statement": items})


def typesettings(data: Path) -> None:
    print("AIME24: of 30 problems in one typesetting (row), found in another (column)")
    print(f"{'':>8}" + "".join(f"{name:>8}" for name in AIME24))
    for name, place in AIME24.items():
        items = table(texts(data, place), "aime24")
        found = []
        for other in AIME24.values():
            rows = pl.LazyFrame({"statement": texts(data, other)})
            made = Decontaminate()(rows, items).collect()
            found.append(made["contaminated_by"].drop_nulls().n_unique())
        print(f"{name:>8}" + "".join(f"{n:>8}" for n in found))


def overlaps(data: Path, *, show: bool) -> None:
    heads = "rows", "items", "exact", "found", "more", "other", "8-gram", "CPU s"
    print(f"{'searched':<16}{'for':<16}" + "".join(f"{head:>8}" for head in heads))
    for searched, wanted in PAIRS:
        rows, items = texts(data, SETS[searched]), texts(data, SETS[wanted])
        stage, frame = Decontaminate(workers=1), pl.LazyFrame({"statement": rows})
        cpu = time.process_time()
        made = stage(frame, table(items, wanted)).collect()
        cpu = time.process_time() - cpu
        same = pl.Series([plain(row) for row in rows]).is_in([plain(item) for item in items])
        dropped = made["dropped"].is_not_null()
        grams = set().union(*map(eight_grams, items))
        naive = sum(not grams.isdisjoint(eight_grams(row)) for row in rows)
        numbers = (
            len(rows), len(items), same.sum(), (same & dropped).sum(), (dropped & ~same).sum(),
            made["paraphrase_of"].count(), naive,
        )  # fmt: skip
        print(f"{searched:<16}{wanted:<16}" + "".join(f"{n:>8}" for n in numbers) + f"{cpu:>8.2f}")
        if show:
            for row in made.filter(dropped & ~same).iter_rows(named=True):
                item = items[int(row["contaminated_by"])]
                print(f"  {row['coverage']:.2f}\n    {row['statement']!r}\n    {item!r}")


def traces(data: Path) -> Iterator[str]:
    for file in sorted((data / "traces_skythought_math").glob("Sky*.jsonl.gz")):
        for line in lines(file):
            yield from line["code"] if isinstance(line["code"], list) else [line["code"]]
    for file in sorted((data / "traces_r1_qwq_code").glob("*.gz")):
        for line in lines(file):
            yield from (v for v in line.values() if isinstance(v, str) and len(v) > 1_000)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def speed(data: Path, megabytes: int) -> None:
    once = pl.DataFrame({"reasoning": list(traces(data))})
    size = int(once["reasoning"].str.len_bytes().sum())
    times = max(1, megabytes * 1_000_000 // size)
    rows = pl.concat([once] * times).lazy()
    stage = Decontaminate(column="reasoning", against=tuple(str(data / name) for name in EIGHT))
    begun = time.process_time()
    with stage.open(_Quiet) as ask:
        ask(once.head(400).lazy()).collect()  # the index is built, kernels are loaded
        ready = time.process_time() - begun
        before, cpu, wall = peak_mb(), time.process_time(), time.perf_counter()
        made = ask(rows).select("dropped").collect()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    told = Counter(made["dropped"].drop_nulls().to_list())
    print(
        f"{size * times / 1e6:,.0f} MB of traces against eight benchmarks: {cpu:.1f} CPU s, "
        f"{wall:.1f} s on {os.cpu_count()} cores; ready after {ready:.1f} CPU s; "
        f"memory added {peak_mb() - before:.0f} MB"
    )
    print(f"dropped: {dict(told.most_common())} of {made.height}")


class _Quiet:
    @staticmethod
    def report(progress: object) -> None:
        pass


def index_size(data: Path) -> None:
    items = [
        Item(name, str(i), text)
        for name in ("AIME24", "MATH-500", "MBPP", "HumanEval", "LiveCodeBench")
        for i, text in enumerate(texts(data, SETS[name]))
    ]
    tables = Index(items, 8).tables
    size = sum(part.nbytes for part in tables) / 1e6
    print(f"index of {len(items)} items: {size:.1f} MB")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--data", type=Path, default=Path(os.environ.get("TRACECRAFT_DATA", "data")))
    asked.add_argument("--megabytes", type=int, default=1_000)
    asked.add_argument("--show", action="store_true", help="print what is dropped beyond `exact`")
    given = asked.parse_args()
    typesettings(given.data)
    overlaps(given.data, show=given.show)
    index_size(given.data)
    speed(given.data, given.megabytes)


if __name__ == "__main__":
    main()
