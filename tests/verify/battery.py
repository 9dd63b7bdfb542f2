"""Runs the hostile programs against one rung and prints, as JSON, which of them got through.

`python battery.py SRC RUNG PYTHON [NAME…]`; standard library only, so that an interpreter of the
system can run it as any user.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

SRC, RUNG, PYTHON = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
for name, folder in (("tracecraft", SRC), ("tracecraft.verify", SRC / "verify")):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [str(folder)]

from tracecraft.verify.keeper import Broken, Job, Limits, Worker  # noqa: E402
from tracecraft.verify.selftest import breaches  # noqa: E402

LIMITS = Limits(cpu=1, wall=2.0, memory=512 << 20, output=4 << 20)


def attacks() -> dict[str, list[bytes]]:
    """The programs of each attack, one run after the other."""
    text = Path(__file__).with_name("attacks.txt").read_text()
    parts = text.split("\n=== ")[1:]
    found = dict(part.split("\n", 1) for part in parts)
    prelude = found.pop("prelude")
    return {
        name: [f"{prelude}\n{part}".encode() for part in body.split("\n--- next\n")]
        for name, body in found.items()
    }


def runs_of(worker: Worker, programs: list[bytes], told: bytes) -> list:
    """How the programs of an attack fared: alone, and where there is but one, also in a stream."""
    jobs = [Job("script", program, told, limits=LIMITS) for program in programs]
    fared = [worker.run(job) for job in jobs]
    if len(jobs) == 1 and fared[0].cpu < LIMITS.cpu / 2 and not fared[0].late:
        fared += worker.stream(jobs[0], [told, told], go_on=True)
    return fared


def listen(family: int, kind: int, where) -> socket.socket:
    sock = socket.socket(family, kind)
    sock.bind(where)
    if kind == socket.SOCK_STREAM:
        sock.listen()
    sock.setblocking(False)
    return sock


def processes_of(uid: int) -> int:
    count = 0
    for entry in Path("/proc").iterdir():
        try:
            count += entry.name.isdigit() and entry.stat().st_uid == uid
        except OSError:
            continue
    return count


def heard(sock: socket.socket) -> bool:
    try:
        if sock.type == socket.SOCK_STREAM:
            sock.accept()[0].close()
        else:
            sock.recv(16)
    except BlockingIOError:
        return False
    return True


def told(ran, took: float) -> list[str]:
    """What a run itself gives away of having got through."""
    problems = []
    if b"SyntaxError" in ran.stderr or b"NameError" in ran.stderr:
        problems.append(f"it never attacked: {ran.stderr[-200:].decode()}")
    if b"BREACH" in ran.stdout:
        problems.append(ran.stdout[:300].decode(errors="replace").strip())
    if max(len(ran.stdout), len(ran.stderr)) > LIMITS.output:
        problems.append("its output was not bounded")
    if took > LIMITS.wall + 15 or ran.cpu > LIMITS.cpu + 1.5:
        problems.append(f"it ran for {took:.1f} s, {ran.cpu:.1f} s of CPU")
    if ran.memory > LIMITS.memory + (64 << 20):
        problems.append(f"it had {ran.memory >> 20} MiB")
    return problems


def main() -> dict[str, str]:
    try:
        worker = Worker(RUNG, 40, PYTHON, {})
        found = breaches(worker)
    except Broken as error:
        return {"skip": str(error)}
    if found:
        return {"skip": f"the self-test refuses it: {'; '.join(found)}"}
    return tried(worker)


class Bait:
    """What an attack would change or wake outside: a canary, a victim, listeners."""

    def __init__(self) -> None:
        self.secret = secrets.token_hex(16)
        os.environ["BATTERY_SECRET"] = self.secret
        self.folder = Path(tempfile.mkdtemp(prefix="battery-", dir="/var/tmp"))
        self.folder.chmod(0o777)
        self.canary = self.folder / "canary"
        self.victim = subprocess.Popen(["sleep", "600"])
        place = self.folder / "socket"
        self.sockets = (
            listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
            listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
            listen(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + self.secret),
            listen(socket.AF_UNIX, socket.SOCK_STREAM, str(place)),
        )
        place.chmod(0o777)

    def told(self) -> bytes:
        tcp, udp, *_ = self.sockets
        return json.dumps({
            "port": tcp.getsockname()[1], "datagram": udp.getsockname()[1],
            "abstract": self.secret, "path": str(self.folder / "socket"),
            "canary": str(self.canary), "folder": str(self.folder),
            "keeper": os.getpid(), "victim": self.victim.pid, "secret": self.secret,
        }).encode()  # fmt: skip

    def state(self) -> tuple[int, list[str]]:
        return self.canary.stat().st_mode, sorted(p.name for p in self.folder.iterdir())

    def lay(self) -> None:
        self.canary.write_text(self.secret)
        self.canary.chmod(0o666)
        self.before = self.state()

    def taken(self) -> list[str]:
        """What happened to it since it was laid."""
        problems = []
        if not self.canary.exists() or self.canary.read_text() != self.secret:
            problems.append("the canary was changed")
        elif self.state() != self.before:
            problems.append("the folder outside was changed")
        if self.victim.poll() is not None:
            problems.append("the victim is dead")
        if any(map(heard, self.sockets)):
            problems.append("a listener heard from it")
        return problems

    def clear(self) -> None:
        self.victim.kill()
        self.victim.wait()
        for sock in self.sockets:
            sock.close()
        for leftover in self.folder.iterdir():
            leftover.unlink()
        self.folder.rmdir()


def tried(worker: Worker) -> dict[str, str]:
    """Every attack against one worker: what got through, or nothing."""
    bait, results, only = Bait(), {}, sys.argv[4:]
    marked = Job("script", f"x = {'QZ7' + bait.secret[::-1]!r}".encode())
    try:
        for name, programs in attacks().items():
            if only and name not in only:
                continue
            bait.lay()
            try:
                worker.run(marked)
                started = time.monotonic()
                fared = runs_of(worker, programs, bait.told())
                took = (time.monotonic() - started) / len(fared)
                alive = worker.run(Job("script", b"print('alive')"))
            except Broken as error:
                results[name] = f"broke the sandbox: {error}"
                worker.close()
                worker = Worker(RUNG, 40, PYTHON, {})
                continue
            problems = [problem for ran in fared for problem in told(ran, took)]
            if alive.stdout != b"alive\n":
                problems.append(f"the next program failed: {alive}")
            results[name] = "; ".join(problems + bait.taken())
        worker.close()
        until = time.monotonic() + 10
        while os.geteuid() == 0 and (left := processes_of(61_184 + 40)):
            if time.monotonic() > until:
                results["leftovers"] = f"{left} processes left"
                break
            time.sleep(0.05)
    finally:
        bait.clear()
    return results


if __name__ == "__main__":
    print(json.dumps(main()))
