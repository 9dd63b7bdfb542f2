"""The second rung: the walls are bubblewrap's, where only it may build them."""

import json
import shutil
from pathlib import Path
from typing import Any

__all__ = ["ENVIRONMENT", "command"]

_HOME = "/tracecraft"
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "HOME": "/w", "LANG": "C.UTF-8", "TZ": "UTC", "PYTHONHASHSEED": "0",
    "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "LD_BIND_NOW": "1",
}  # fmt: skip
"""Of a worker. What is bound at its start is not bound again in every process it forks."""


def command(argv: list[str], config: dict[str, Any], home: str) -> list[str]:
    """The line that starts a worker behind bubblewrap's walls; empty where it is not installed."""
    found = shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin")
    if found is None:
        return []
    line = [
        found, "--unshare-user", "--disable-userns", "--unshare-all", "--as-pid-1",
        "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL",
        "--ro-bind", "/usr", "/usr",
    ]  # fmt: skip
    for name in ("lib", "lib64", "lib32", "libx32", "bin", "sbin"):
        path = Path("/", name)
        if path.is_symlink():
            line += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            line += ["--ro-bind", str(path), str(path)]
    line += ["--ro-bind", f"{home}/verify", f"{_HOME}/verify"]
    for prefix in config["prefixes"]:
        if not Path(prefix).is_relative_to("/usr"):
            line += ["--ro-bind", prefix, prefix]
    for inside, outside in config["extras"].items():
        line += ["--ro-bind", outside, inside]
    for name in ("ld.so.cache", "alternatives", "localtime"):
        line += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    line += ["--dev", "/dev", "--size", str(32 << 20), "--tmpfs", "/w", "--symlink", "/w", "/tmp"]
    line += ["--remount-ro", "/dev", "--remount-ro", "/"]
    for name, value in ENVIRONMENT.items():
        line += ["--setenv", name, value]
    argv = [_HOME if a == home else a for a in argv]
    return [*line, "--", *argv, json.dumps({**config, "launched": True})]
