"""Merge two checkpoints with tracecraft and mergekit in one run: agreement, time, memory.

    python benchmarks/merge.py --mergekit VENV/bin/mergekit-yaml [--work DIR] [--rounds 3]

Method. A synthetic pair of the shapes of Qwen2-0.5B (494 million weights, bfloat16, 988 MB each):
the base is normal noise, the other adds a dense change of sd 2e-4 and to 1% of the weights one of
sd 5e-3 (five times that on norms and biases). Every program runs in a process of its own, after
one unmeasured round that fills the page cache and the compiled kernels' cache; of `rounds` the
one with the least wall time counts. mergekit and our reference mode, which take minutes, run once.
Before each round a file of 1.5 GB is written and removed, so that the memory which the result
takes has been used before: a virtual machine may have to ask its host for memory that was not.
Wall and CPU time are those of the whole process, imports included; peak memory is its ru_maxrss.
`again` is a merge in a process that has made one: the same without start-up, which takes as long
for a small model as for a large one. In that process copy and merge take turns, and the medians of
seven rounds each are compared.
`copy`, the raw copy of the bytes, reads both models whole and writes one of them, in Python,
through one buffer of 8 MB on one thread; so it moves the bytes that a merge moves.

Agreement compares our reference mode with mergekit's output, bit by bit, and the masks of both
with a float64 evaluation of the formula. Last comes one pair of tensors of 5120 x 27648, the
largest of a 32B model's layers.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from math import prod
from pathlib import Path
from tempfile import gettempdir

HIDDEN, LAYERS, INNER, VOCAB, KEYS = 896, 24, 4864, 151936, 128
CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "intermediate_size": INNER,
    "vocab_size": VOCAB,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
}

ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
"""Imports are read from bytecode, as where a package has been used once."""

COPY = """
import sys
base, other, out = sys.argv[1:]
buffer = bytearray(8 << 20)
with open(base, "rb") as one, open(other, "rb") as two, open(out, "wb") as three:
    while size := one.readinto(buffer):
        two.readinto(buffer)
        three.write(memoryview(buffer)[:size])
"""
OURS = """
import sys
from pathlib import Path
from tracecraft.merge.fold import Merge
base, other, out, method, threads = sys.argv[1:]
merge = Merge.bind({"method": eval(method), "dtype": "bfloat16", "threads": int(threads)})
merge.make([Path(base), Path(other)], Path(out))
"""
AGAIN = """
import json, os, resource, shutil, sys, time
from pathlib import Path
from statistics import median
from tracecraft.merge.fold import Merge
base, other, out, method, threads = sys.argv[1:]
merge = Merge.bind({"method": eval(method), "dtype": "bfloat16", "threads": int(threads)})
def copy():
    names = [f"{folder}/model.safetensors" for folder in (base, other)]
    sys.argv[1:] = [*names, f"{out}.copy"]
    exec(COPY)
def fused():
    merge.make([Path(base), Path(other)], Path(out))
found = {copy: [], fused: []}
for _ in range(8):
    for what in found:
        shutil.rmtree(out, ignore_errors=True)
        Path(f"{out}.copy").unlink(missing_ok=True)
        with open(f"{out}.warm", "wb") as file:
            for _ in range(190):
                file.write(bytes(8 << 20))
        Path(f"{out}.warm").unlink()
        begun, cpu = time.perf_counter(), time.process_time()
        what()
        found[what].append((time.perf_counter() - begun, time.process_time() - cpu))
Path(f"{out}.copy").unlink(missing_ok=True)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps([[*map(median, zip(*found[what][1:])), peak] for what in found]))
"""
YAML = """
merge_method: arcee_fusion
base_model: {base}
models: [{{model: {other}}}]
dtype: {compute}
out_dtype: bfloat16
"""


def shapes() -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCAB, HIDDEN)}
    for layer in range(LAYERS):
        place = f"model.layers.{layer}."
        for name, rows in (("q", HIDDEN), ("k", KEYS), ("v", KEYS)):
            found[f"{place}self_attn.{name}_proj.weight"] = (rows, HIDDEN)
            found[f"{place}self_attn.{name}_proj.bias"] = (rows,)
        found[f"{place}self_attn.o_proj.weight"] = (HIDDEN, HIDDEN)
        found[f"{place}mlp.gate_proj.weight"] = (INNER, HIDDEN)
        found[f"{place}mlp.up_proj.weight"] = (INNER, HIDDEN)
        found[f"{place}mlp.down_proj.weight"] = (HIDDEN, INNER)
        found[f"{place}input_layernorm.weight"] = (HIDDEN,)
        found[f"{place}post_attention_layernorm.weight"] = (HIDDEN,)
    return found | {"model.norm.weight": (HIDDEN,)}


def write_pair(work: Path, tensors: dict[str, tuple[int, ...]]) -> None:
    """The two checkpoints, a few million weights in memory at a time."""
    import numpy as np

    from tracecraft.merge.dtypes import FLOATS
    from tracecraft.merge.weights import header_of

    names = ("base", "other")
    files = []
    for name in names:
        (work / name).mkdir(parents=True)
        (work / name / "config.json").write_text(json.dumps(CONFIG))
        files.append((work / name / "model.safetensors").open("wb"))
        files[-1].write(header_of({k: ("BF16", s) for k, s in tensors.items()})[0])
    rng, narrow = np.random.default_rng(0), FLOATS["bfloat16"].narrow
    for shape in tensors.values():
        left = int(np.prod(shape))
        while left:
            n = min(left, 1 << 22)
            vector = 5.0 if len(shape) == 1 else 1.0
            base = rng.standard_normal(n, np.float32) * np.float32(0.03 if vector == 1 else 0.2)
            base = narrow(base.view(np.uint32))
            change = rng.standard_normal(n, np.float32) * np.float32(2e-4 * vector)
            big = rng.random(n, np.float32) < 0.01
            change += big * rng.standard_normal(n, np.float32) * np.float32(5e-3 * vector)
            other = FLOATS["bfloat16"].widen(base).view(np.float32) + change
            files[0].write(base)
            files[1].write(narrow(other.view(np.uint32)))
            left -= n
    for file in files:
        file.close()


@dataclass
class Cost:
    wall: float
    cpu: float
    peak: float


def measure(command: list[str], out: Path, rounds: int) -> Cost:
    best = Cost(float("inf"), float("inf"), 0)
    for _ in range(rounds + 1):
        if out.is_dir():
            shutil.rmtree(out)
        out.unlink(missing_ok=True)
        touch_memory(out.parent)
        begun = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT
        )
        told = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begun
        if status:
            sys.exit(f"{command[0]}: {told.decode()[-2000:]}")
        cost = Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
        warm = rounds == 0 or _ > 0
        best = min(best, cost, key=lambda c: c.wall) if warm else best
    print(f"{out.name}: {best}", file=sys.stderr)
    return best


def touch_memory(work: Path) -> None:
    place = work / "warm"
    with place.open("wb") as file:
        for _ in range(190):
            file.write(bytes(8 << 20))
    place.unlink()


def again(work: Path, threads: int) -> tuple[Cost, str]:
    """Copy and merge in turn within one process, by the medians of all rounds but the first."""
    command = ours(work, "again", {"use": "arcee_fusion"}, threads)
    command[2] = f"COPY = {COPY!r}\n{AGAIN}"
    told = subprocess.run(command, check=True, capture_output=True, env=ENVIRONMENT).stdout
    copied, merged = (Cost(*each) for each in json.loads(told))
    return merged, (
        f"in turn within one process, {threads} threads: copy {copied.wall:.2f} s wall,"
        f" {copied.cpu:.2f} s CPU; merge {merged.wall:.2f} s and {merged.cpu:.2f} s:"
        f" {merged.wall / copied.wall:.2f} and {merged.cpu / copied.cpu:.2f} times the copy"
    )


def ours(work: Path, out: str, method: dict[str, str], threads: int) -> list[str]:
    pair = [str(work / "base"), str(work / "other"), str(work / out)]
    return [sys.executable, "-c", OURS, *pair, repr(method), str(threads)]


def theirs(work: Path, program: Path, compute: str) -> tuple[list[str], Path]:
    out = work / f"mergekit-{compute}"
    config = work / f"{compute}.yml"
    config.write_text(YAML.format(base=work / "base", other=work / "other", compute=compute))
    return [str(program), str(config), str(out), "--no-copy-tokenizer"], out


def agreement(work: Path) -> None:
    """Runs in a process of its own: it holds whole tensors."""
    import numpy as np

    from tracecraft.merge.weights import Weights

    def read(folder: str) -> Weights:
        return Weights.look(work / folder)

    for compute in ("bfloat16", "float32"):
        if not (work / f"reference-{compute}").exists():
            continue
        one, two = read(f"reference-{compute}"), read(f"mergekit-{compute}")
        same = small = differ = above = 0
        with one.opened(), two.opened():
            for name, place in one.places.items():
                bits = [one.view(place, 0, prod(place.shape), "<u2")]
                bits.append(two.view(two.places[name], 0, len(bits[0]), "<u2"))
                if bits[0].size <= 1_000_000:
                    small += 1
                    same += np.array_equal(*bits)
                else:
                    above += bits[0].size
                    differ += int(np.count_nonzero(bits[0] != bits[1]))
        print(
            f"reference {compute}: of the tensors up to 10^6 weights {same} of {small} are those of"
            f" mergekit, bit by bit; above, where it samples, {differ / above:.4%} of the weights"
            " differ"
        )
    masks(work)


def masks(work: Path) -> None:
    """Jaccard index of what was taken, against float64, over the tensors of two layers."""

    from tracecraft.merge import fuse
    from tracecraft.merge.weights import Weights

    torch = __import__("torch")
    found: dict[str, list[int]] = {}
    pair = [Weights.look(work / name) for name in ("base", "other")]
    with pair[0].opened(), pair[1].opened():
        for name, place in pair[0].places.items():
            if ".layers.3." not in name and ".layers.20." not in name:
                continue
            count = prod(place.shape)
            bits = [m.view(m.places[name], 0, count, "<i2").copy() for m in pair]
            base, other = (
                torch.from_numpy(b.reshape(place.shape)).view(torch.bfloat16) for b in bits
            )
            wanted = float64(base.double().numpy(), other.double().numpy())
            for label, masked in (
                ("exact, bfloat16", fuse(base, other).mask),
                ("exact, float32", fuse(base.float(), other.float()).mask),
                ("reference, bfloat16", fuse(base, other, mode="reference").mask),
                ("reference, float32", fuse(base.float(), other.float(), mode="reference").mask),
            ):
                mask = masked.numpy()
                both = found.setdefault(label, [0, 0])
                both[0] += int((mask & wanted).sum())
                both[1] += int((mask | wanted).sum())
    for label, (both, either) in found.items():
        print(f"mask against float64, {label}: Jaccard {both / either:.5f}")


def float64(base, other):  # type: ignore[no-untyped-def]
    """The mask of the formula in float64."""
    import numpy as np

    delta = other - base
    q = np.exp(base - base.max(-1, keepdims=True))
    q /= q.sum(-1, keepdims=True)
    d = delta - (q * delta).sum(-1, keepdims=True)
    series = d * d * (1 / 2 + d / 6 + d * d / 24 + d**3 / 120)
    g = (q * np.where(np.abs(d) < 1e-3, series, np.expm1(d) - d)).sum(-1, keepdims=True)
    k = (q * d * np.expm1(d)).sum(-1, keepdims=True) / (1 + g) - np.log1p(g)
    scores = np.abs(delta) * (k if k.size > 1 else np.ones_like(k))
    ordered = np.sort(scores.ravel())
    if ordered[int(0.75 * (len(ordered) - 1))] == 0:
        ordered = ordered[ordered > 0]
    first, median, third = (ordered[int(p * (len(ordered) - 1))] for p in (0.25, 0.5, 0.75))
    return scores >= median + 1.5 * (third - first)


def table(costs: dict[str, Cost]) -> None:
    copy, peer = costs["copy"], costs.get("mergekit-bfloat16")
    print(f"{'':24}{'wall s':>8}{'CPU s':>8}{'peak MB':>9}{'/ copy wall':>13}", end="")
    print(f"{'mergekit wall /':>17}{'mergekit CPU /':>16}" if peer else "")
    for name, cost in costs.items():
        line = (
            f"{name:24}{cost.wall:8.2f}{cost.cpu:8.2f}{cost.peak:9.0f}{cost.wall / copy.wall:13.2f}"
        )
        if peer:
            line += f"{peer.wall / cost.wall:17.1f}{peer.cpu / cost.cpu:16.1f}"
        print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path(gettempdir()) / "tracecraft-merge")
    parser.add_argument("--mergekit", type=Path, help="mergekit-yaml of a virtual environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--compute", nargs="+", default=["bfloat16", "float32"], help="of the reference modes"
    )
    parser.add_argument("--exact", action="store_true", help="leave out our reference modes")
    parser.add_argument("--inner", choices=["pair", "big", "agreement"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    work: Path = options.work.resolve()
    if options.inner == "pair":
        return write_pair(work, shapes())
    if options.inner == "big":
        return write_pair(work, {"model.layers.0.mlp.down_proj.weight": (5120, 27648)})
    if options.inner == "agreement":
        return agreement(work)
    inner = [sys.executable, __file__, "--inner"]
    if not (work / "base").exists():
        subprocess.run([*inner, "pair", "--work", str(work)], check=True)
        subprocess.run([*inner, "big", "--work", str(work / "big")], check=True)
    files = [str(work / name / "model.safetensors") for name in ("base", "other")]
    copied = work / "copied"
    costs = {}
    costs["copy"] = measure(
        [sys.executable, "-c", COPY, *files, str(copied)], copied, options.rounds
    )
    copied.unlink()
    told = []
    for threads in (2, 1):
        name = f"exact, {threads} threads"
        command = ours(work, name, {"use": "arcee_fusion"}, threads)
        costs[name] = measure(command, work / name, options.rounds)
        costs[f"again, {threads} threads"], in_turn = again(work, threads)
        told.append(in_turn)
    for compute in [] if options.exact else options.compute:
        method = {"use": "arcee_fusion", "mode": "reference", "compute": compute}
        name = f"reference-{compute}"
        costs[name] = measure(ours(work, name, method, 2), work / name, 0)
    if options.mergekit:
        for compute in options.compute:
            command, out = theirs(work, options.mergekit, compute)
            costs[out.name] = measure(command, out, 0)
    big = work / "big"
    costs["5120 x 27648, exact"] = measure(
        ours(big, "out", {"use": "arcee_fusion"}, 2), big / "out", 1
    )
    table(costs)
    print(*told, sep="\n")
    same = (work / "exact, 1 threads/model.safetensors").read_bytes() == (
        work / "exact, 2 threads/model.safetensors"
    ).read_bytes()
    print(f"one thread and two give the same bytes: {same}")
    if options.mergekit and not options.exact:
        subprocess.run([*inner, "agreement", "--work", str(work)], check=True)


if __name__ == "__main__":
    main()
