"""The math verifier beside Math-Verify: accuracy and CPU time, both in this one process.

    python benchmarks/verify.py [--limit N] [--set NAME]…

Method. Each set is pairs of a reference answer and a response with a label. Ours judges the whole
response through a bench with one worker; Math-Verify gets the two answers as final-answer strings
in a box (its own advice; raw strings do much worse), the reference of a worked solution cut out for
it, and its own timeouts of 3 s. Both are warmed by a few pairs. Time is CPU time of
this process and of its workers, each policy's caches of parsed answers filled by its first run and
so colder for the first. `unsure` is the share that is neither right nor wrong.
`accuracy` is agreement with the set's own label; in prime, qwen and theoremqa it comes from other
graders and errs more often than either verifier: tests/verify/labels.tsv has each such row. Of
theoremqa the floats are left out, whose tolerance of 4% is for quantities.
Sets other than `builtin` come from TRACECRAFT_DATA (default ../shared/data) where that exists.
"""

import argparse
import csv
import gzip
import json
import logging
import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tracecraft.verify.bench import Bench
from tracecraft.verify.extract import extracted
from tracecraft.verify.math import Math

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("TRACECRAFT_DATA", ROOT.parent / "shared/data"))


@dataclass(frozen=True)
class Pair:
    reference: str
    response: str
    right: bool


def rows(path: Path) -> Iterator[dict[str, Any]]:
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    yield from (json.loads(line) for line in text.decode().splitlines() if line.strip())


def builtin() -> Iterator[Pair]:
    with (ROOT / "tests/verify/math.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["policy"] == "lenient":
                response = row["response"].replace("␤", "\n")
                yield Pair(row["reference"], response, row["outcome"] == "correct")


def gsm8k() -> Iterator[Pair]:
    for row in rows(DATA / "math_gsm8k/example_model_solutions.jsonl.gz"):
        for name in ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification"):
            yield Pair(row["ground_truth"], row[name]["solution"], row[name]["is_correct"])


def labelled(name: str) -> Iterator[Pair]:
    """A labelled set as the tests read it, but for what has the tolerance of quantities."""
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/verify")]
    import pytest
    from labelled import SETS as READERS

    try:
        for row in READERS[name]():
            if isinstance(row.judge, Math):
                yield Pair(row.reference, row.response, row.right)
    except pytest.skip.Exception as error:
        raise FileNotFoundError(name) from error


def mathverify() -> Iterator[Pair]:
    for path in sorted((DATA / "eq_mathverify_tests").glob("*.jsonl")):
        for row in rows(path):
            gold, given = row.get("gold"), row.get("pred")
            if isinstance(gold, str) and isinstance(given, str) and row.get("strict") is not False:
                yield Pair(gold, given, bool(row.get("expected", row.get("result"))))


SETS: dict[str, Callable[[], Iterator[Pair]]] = {
    "builtin": builtin,
    "gsm8k": gsm8k,
    "mathverify": mathverify,
    **{
        name: partial(labelled, name)
        for name in (
            "tricky",
            "nemo",
            "qwen",
            "prime",
            "skythought",
            "tora",
            "mario",
            "mario apart",
            "theoremqa",
        )
    },
}


def cpu() -> float:
    """CPU seconds of this process and of its ended children."""
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def waiting() -> float:
    """CPU seconds of the workers that still wait, which the system counts in hundredths."""
    spent = 0.0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                spent += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return spent


def ours(pairs: list[Pair], judge: Math, bench: Bench) -> list[bool | None]:
    verdicts = bench.verdicts(
        [judge] * len(pairs), [{"answer": p.reference, "response": p.response} for p in pairs]
    )
    told = {"correct": True, "incorrect": False}
    return [told.get(v.outcome) for v in verdicts]


def theirs(pairs: list[Pair]) -> list[bool | None]:
    from math_verify import parse, verify

    answers: list[bool | None] = []
    for pair in pairs:
        gold, given = (_final(t) for t in (pair.reference, pair.response))
        if given is None:
            answers.append(None)
            continue
        try:
            left = parse(f"\\boxed{{{gold}}}", parsing_timeout=3)
            right = parse(f"\\boxed{{{given}}}", parsing_timeout=3)
            answers.append(bool(verify(left, right, timeout_seconds=3)))
        except Exception:
            answers.append(None)
    return answers


def _final(text: str) -> str | None:
    found = extracted(text)
    if found is None:
        return text if len(text) < 200 else None
    return found.answer


def measured(
    name: str, pairs: list[Pair], judge: Callable[[], list[bool | None]]
) -> tuple[str, float]:
    before = waiting()
    start = cpu()  # after the look at the workers, which itself takes milliseconds
    told = judge()
    spent = cpu() - start
    spent += waiting() - before
    right = [t for t, p in zip(told, pairs, strict=True) if p.right]
    wrong = [t for t, p in zip(told, pairs, strict=True) if not p.right]
    kept, refused = right.count(True), len(wrong) - wrong.count(True)
    rate = len(pairs) / spent
    line = (
        f"{name:<22}{(kept + refused) / len(pairs):>9.3f}{kept / max(len(right), 1):>8.3f}"
        f"{refused / max(len(wrong), 1):>8.3f}{wrong.count(True):>6}"
        f"{told.count(None) / len(pairs):>8.3f}{rate:>10.0f}/s"
    )
    return line, rate


WARM = [
    Pair(r"\frac{1}{3}", r"\boxed{\int_0^1 x^2\,dx}", right=True),
    Pair(r"\sqrt{8}", r"So the answer is $\boxed{2\sqrt{2}}$.", right=True),
    Pair("#### 7", "A: 7 dollars", right=True),
]
"""What loads all that either loads lazily."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=int, default=3_000, help="most pairs of a set")
    parser.add_argument("--set", action="append", choices=list(SETS), dest="names")
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)
    judges = {policy: Math(policy=policy) for policy in ("lenient", "strict")}
    print(f"{'':<22}{'accuracy':>9}{'recall':>8}{'spec':>8}{'fp':>6}{'unsure':>8}{'CPU':>12}")
    with Bench(workers=1) as bench:
        for judge in judges.values():
            ours(WARM, judge, bench)
        theirs(WARM)
        for name in chosen.names or SETS:
            try:
                pairs = list(islice(SETS[name](), chosen.limit))
            except FileNotFoundError:
                pairs = []
            print(f"{name}, {len(pairs)} pairs" if pairs else f"{name}: no data")
            if pairs:
                compare(pairs, judges, bench)


def compare(pairs: list[Pair], judges: dict[str, Math], bench: Bench) -> None:
    rates = []
    for policy, judge in judges.items():
        line, rate = measured(f"  ours, {policy}", pairs, partial(ours, pairs, judge, bench))
        rates.append(rate)
        print(line)
    line, rate = measured("  Math-Verify", pairs, partial(theirs, pairs))
    print(f"{line}   ours {rates[0] / rate:.1f} times as fast")


if __name__ == "__main__":
    main()
