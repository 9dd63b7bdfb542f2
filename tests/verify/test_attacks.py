"""The hostile battery: every program in `attacks.txt` against every rung, as root and as a user."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tracecraft.verify.kernel import landlock_version
from tracecraft.verify.sandbox import interpreter, rung

HERE = Path(__file__).parent
SRC = HERE.parents[1] / "src/tracecraft"
SYSTEM_PYTHON = Path("/usr/bin/python3")
ORDINARY_USER = 20_001

NAMES = [part.split("\n", 1)[0] for part in (HERE / "attacks.txt").read_text().split("\n=== ")[2:]]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the rungs are Linux's")


def as_user(command: list[str], user: str, *, timeout: float = 120) -> str:
    identity = {"user": ORDINARY_USER, "group": ORDINARY_USER, "extra_groups": []}
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, check=False, cwd="/",
        **(identity if user == "ordinary" else {}),
    )  # fmt: skip
    if ran.returncode:
        pytest.fail(f"{command[:3]}: {ran.stderr[-1000:]}")
    return ran.stdout


@cache
def stage() -> Path:
    """The programs and our sources where every user can read them: a clone may be private."""
    folder = Path(tempfile.mkdtemp(prefix="battery-stage-", dir="/var/tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    shutil.copytree(SRC, folder / "tracecraft", ignore=shutil.ignore_patterns("__pycache__"))
    for program in ("attacks.txt", "battery.py", "confined.py"):
        shutil.copy(HERE / program, folder)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return folder


def readable_by(user: str, *paths: Path) -> bool:
    if user == "own":
        return True
    return all(
        p.stat().st_mode & 0o005 and all(up.stat().st_mode & 0o001 for up in p.resolve().parents)
        for p in paths
    )


@cache
def battery(rung: str, user: str) -> dict[str, str]:
    """What got through, by the attack's name; empty where nothing did."""
    if user == "ordinary" and os.geteuid() != 0:
        return {"skip": "only root can be another user"}
    python = interpreter()
    if not readable_by("ordinary" if os.geteuid() == 0 and rung != "namespaces" else user, python):
        python = SYSTEM_PYTHON
    if not python.exists():
        return {"skip": "no interpreter that this user can read"}
    place = stage()
    command = [str(python), str(place / "battery.py"), str(place / "tracecraft"), rung, str(python)]
    return json.loads(as_user(command, user))


@pytest.mark.parametrize(
    ("rung", "user"),
    [
        ("namespaces", "own"),
        ("namespaces", "ordinary"),
        ("landlock", "ordinary"),
        ("bwrap", "ordinary"),
        pytest.param("landlock", "own", marks=pytest.mark.slow),
        pytest.param("bwrap", "own", marks=pytest.mark.slow),
    ],
)
def test_no_attack_gets_through(rung: str, user: str) -> None:
    found = battery(rung, user)
    if "skip" in found:
        pytest.skip(f"{rung}: {found['skip']}")
    assert set(NAMES) <= found.keys()
    assert {name: got for name, got in found.items() if got} == {}


HARMLESS_WITHOUT_WALLS = (
    "tcp to the host's loopback", "read a file outside", "its own proc", "fork", "spawn a shell",
    "list homes", "environment and command line of the keeper",
    "kill the group", "the keeper's secret in the environment", "many descriptors",
    "sysfs and cgroups", "outlive its parent",
)  # fmt: skip


def test_the_battery_sees_what_gets_through_where_there_are_no_walls(tmp_path: Path) -> None:
    text = (HERE / "attacks.txt").read_text()
    programs = dict(part.split("\n", 1) for part in text.split("\n=== ")[1:])
    canary = tmp_path / "canary"
    canary.write_text("x")
    import socket

    blind = set()
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        abstract.bind(f"\0{tmp_path}")
        abstract.listen()
        bait = {
            "port": listener.getsockname()[1], "abstract": str(tmp_path), "canary": str(canary),
            "folder": str(tmp_path), "keeper": os.getpid(), "victim": os.getpid(),
            "secret": "sesam",
        }  # fmt: skip
        for name in HARMLESS_WITHOUT_WALLS:
            ran = subprocess.run(
                [sys.executable, "-c", programs["prelude"] + "\n" + programs[name]],
                input=json.dumps(bait), capture_output=True, text=True, timeout=30, check=False,
                start_new_session=True, env={"SECRET": "sesam", "PATH": "/usr/bin:/bin"},
            )  # fmt: skip
            if "BREACH" not in ran.stdout:
                blind.add(name)
    assert blind == set()


def test_this_machine_has_the_programs_the_battery_uses() -> None:
    assert shutil.which("sleep")
    assert len(NAMES) == len(set(NAMES)) > 95


@pytest.mark.parametrize(
    ("kind", "first_that_holds"), [("docker", "landlock"), ("rootless", "namespaces")]
)
def test_a_confined_host_gets_the_strongest_rung_it_can_have(
    kind: str, first_that_holds: str
) -> None:
    if os.geteuid() != 0 or not SYSTEM_PYTHON.exists():
        pytest.skip("only root, with an interpreter that others can read, can play such a host")
    if rung(SYSTEM_PYTHON) != "namespaces" or landlock_version() < 1:
        pytest.skip("this machine has fewer rungs than the hosts that are played")
    place = stage()
    program, sources = str(place / "confined.py"), str(place / "tracecraft")
    shown = as_user([str(SYSTEM_PYTHON), program, sources, str(SYSTEM_PYTHON), kind], "own")
    assert f"{first_that_holds}: holds" in shown, shown
    assert "it runs" in shown
