"""Makes `.venv` from the lock files, with uv where it is there and with venv and pip where not.

Runs on any Python that can start it and needs nothing but the standard library.

    python3 tools/environment.py          make .venv, or bring it up to date
    python3 tools/environment.py recipe   the recipe that suits this machine, on stdout
"""

from __future__ import annotations

import ast
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
READY = VENV / ".ready"
LOCKS = ROOT / "requirements"
TORCH_CPU = "https://download.pytorch.org/whl/cpu"
"""Where PyTorch publishes the builds without CUDA; PyPI carries only the others."""
PYTHONS = ("python3.11", "python3.12", "python3.13", "python3.14", "python3", "python")
"""3.11 comes first: the lock files are resolved for it."""


def say(text: str) -> None:
    print(f"set-up: {text}", file=sys.stderr, flush=True)


def output(*command: str | Path) -> str | None:
    """What a command prints, or None where it is missing or fails."""
    try:
        done = subprocess.run(
            [str(c) for c in command], capture_output=True, text=True, cwd=ROOT, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout


def find_uv() -> str | None:
    """A uv that runs; a version manager's shim for one that is not installed is none."""
    path = shutil.which("uv")
    return path if path and output(path, "--version") else None


def find_python(uv: str | None) -> Path:
    """The interpreter for `.venv`: $PYTHON where set, else the best on the PATH."""
    wanted = os.environ.get("PYTHON")
    facts = "import sys; assert sys.version_info >= (3, 11); print(sys.executable)"
    if not uv:
        facts = "import ensurepip, venv; " + facts
    for name in [wanted] if wanted else PYTHONS:
        found = output(name, "-c", facts)
        if found:
            return Path(found.strip())
    if uv:
        found = output(uv, "python", "find", "--no-project", wanted or ">=3.11")
        if found:
            return Path(found.strip())
    raise SystemExit(
        f"set-up: no Python 3.11 or newer{'' if uv else ' with venv and pip'} found"
        f" ({wanted or ', '.join(PYTHONS)})\n"
        "  next   install one (Debian, Ubuntu: apt install python3 python3-venv), or uv"
    )


def pip_settings(python: Path) -> dict[str, str]:
    """What pip is configured with on this machine, by option; the environment wins over files."""
    settings = {}
    for line in (output(python, "-m", "pip", "config", "list") or "").splitlines():
        name, _, value = line.partition("=")
        where, _, option = name.rpartition(".")
        if where in {"global", "install", ":env:"}:
            settings[option] = " ".join(str(ast.literal_eval(value)).split())
    for name, value in os.environ.items():
        if name.startswith("PIP_"):
            settings[name[4:].lower().replace("_", "-")] = value
    return settings


def as_uv_options(settings: dict[str, str]) -> list[str]:
    """Pip's settings said to uv, which reads none of them."""
    options = ["--index-strategy", "unsafe-best-match"]
    names = {
        "index-url": "--default-index",
        "extra-index-url": "--index",
        "find-links": "--find-links",
        "trusted-host": "--allow-insecure-host",
    }
    for name, option in names.items():
        for value in settings.get(name, "").split():
            options += [option, value]
    return options


class Installer:
    """Installs locked packages into `.venv`."""

    def __init__(self) -> None:
        self.uv = find_uv()
        self.python = VENV / "bin/python"
        if output(self.python, "-c", "import sys; assert sys.version_info >= (3, 11)") is None:
            self._create()
        self.settings = pip_settings(self.python if not self.uv else find_python(self.uv))

    def _create(self) -> None:
        python = find_python(self.uv)
        shutil.rmtree(VENV, ignore_errors=True)
        say(f".venv with {python} and {'uv' if self.uv else 'pip (uv would be faster)'}")
        maker = [self.uv, "venv", "-q", "--python", python] if self.uv else [python, "-m", "venv"]
        subprocess.run([str(m) for m in [*maker, VENV]], cwd=ROOT, check=True)

    def command(self, *arguments: str | Path) -> tuple[list[str], dict[str, str]]:
        environment = {
            k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONPATH"}
        }
        if self.uv:
            if "cert" in self.settings:
                environment.setdefault("SSL_CERT_FILE", self.settings["cert"])
            start = [self.uv, "pip", "install", "-q", "--python", str(self.python)]
            start += as_uv_options(self.settings)
        else:
            if output(self.python, "-m", "pip", "--version") is None:
                subprocess.run([str(self.python), "-m", "ensurepip"], cwd=ROOT, check=True)
            start = [str(self.python), "-m", "pip", "install", "-q"]
            start += ["--disable-pip-version-check", "--no-input", "--no-compile"]
        return [*start, *map(str, arguments)], environment

    def install(self, *arguments: str | Path) -> None:
        """Install, or end with the installer's own words."""
        command, environment = self.command(*arguments)
        if subprocess.run(command, env=environment, cwd=ROOT, check=False).returncode:
            raise SystemExit(f"set-up: this failed: {shlex.join(command)[:400]}")

    def can_install(self, *arguments: str | Path) -> bool:
        """Install, or say False without a word."""
        command, environment = self.command(*arguments)
        environment.update(UV_HTTP_TIMEOUT="20", UV_HTTP_RETRIES="1")
        return not subprocess.run(
            command, env=environment, cwd=ROOT, capture_output=True, check=False
        ).returncode


def pins(*names: str) -> list[str]:
    """The locked packages, as `name==version`."""
    return [pin for name in names for pin in (LOCKS / f"{name}.txt").read_text().split()]


def torch_of(name: str) -> str:
    """The torch of a lock file."""
    return next(pin for pin in pins(name) if pin.startswith("torch=="))


def torch_without_cuda(installer: Installer) -> bool:
    """Whether the locked CPU build of torch is in `.venv` now: from the sources that this machine
    is set to, else from PyTorch's own index.
    """
    pin = torch_of("cpu")
    say(f"{pin} (some 200 MB)")
    if installer.can_install("--no-deps", pin):
        return True
    source = ["--index" if installer.uv else "--extra-index-url", TORCH_CPU]
    patience = [] if installer.uv else ["--timeout", "20", "--retries", "1"]
    return installer.can_install("--no-deps", *source, *patience, pin)


def has_gpu() -> bool:
    return "GPU 0" in (output("nvidia-smi", "-L") or "")


def make() -> None:
    """`.venv` with everything this machine can run, and the stamp that says so."""
    start = time.monotonic()
    installer = Installer()
    READY.unlink(missing_ok=True)
    if has_gpu():
        kind, names = "vLLM on the GPU", ("base", "gpu")
    elif torch_without_cuda(installer):
        kind, names = "vLLM on the CPU", ("base", "cpu")
    else:
        kind, names = "without vLLM: no index has its CPU build of torch for this Python", ("base",)
    say(f"{len(pins(*names))} packages, {kind}")
    wanted = [pin for pin in pins(*names) if pin != torch_of("cpu")]
    installer.install("--no-deps", "--only-binary", ":all:", *wanted)
    if names == ("base",):
        say("torch as PyPI has it (on Linux with CUDA, several GB), for the transformers engine")
        installer.install("-c", LOCKS / "base.txt", torch_of("gpu"))
    installer.install("--no-deps", "--no-build-isolation", "-e", ROOT)
    READY.write_text(kind + "\n")
    say(f"done in {time.monotonic() - start:.0f} s ({kind})")


def hub_answers() -> bool:
    """Whether the hub can be reached within three seconds."""
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() not in {"", "0", "false", "no", "off"}:
        return False
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        urllib.request.urlopen(urllib.request.Request(hub, method="HEAD"), timeout=3).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def recipe(domain: str = "math") -> None:
    """Prints a domain's real recipe where there are a GPU and a hub, else its embedded default."""
    embedded = "local" if domain == "math" else f"local-{domain}"
    if not has_gpu():
        name, why = embedded, "nvidia-smi shows no GPU"
    elif not hub_answers():
        name, why = embedded, "the hub does not answer"
    else:
        name, why = domain, "a GPU, and the hub answers"
    print(f"recipe: recipes/{name}.yaml ({why}); RECIPE=… names another", file=sys.stderr)
    print(f"recipes/{name}.yaml")


if __name__ == "__main__":
    recipe(*sys.argv[2:]) if sys.argv[1:2] == ["recipe"] else make()
