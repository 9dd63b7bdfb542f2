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


def attacks() -> dict[str, str]:
    text = Path(__file__).with_name("attacks.txt").read_text()
    parts = text.split("\n=== ")[1:]
    found = dict(part.split("\n", 1) for part in parts)
    prelude = found.pop("prelude")
    return {name: f"{prelude}\n{body}" for name, body in found.items()}


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


def main() -> dict[str, str]:
    try:
        worker = Worker(RUNG, 40, PYTHON, {})
        found = breaches(worker)
    except Broken as error:
        return {"skip": str(error)}
    if found:
        return {"skip": f"the self-test refuses it: {'; '.join(found)}"}
    secret = secrets.token_hex(16)
    os.environ["BATTERY_SECRET"] = secret
    folder = Path(tempfile.mkdtemp(prefix="battery-", dir="/var/tmp"))
    folder.chmod(0o777)
    canary = folder / "canary"
    victim = subprocess.Popen(["sleep", "600"])
    tcp = listen(socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0))
    udp = listen(socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0))
    abstract = listen(socket.AF_UNIX, socket.SOCK_STREAM, "\0" + secret)
    path = listen(socket.AF_UNIX, socket.SOCK_STREAM, str(folder / "socket"))
    (folder / "socket").chmod(0o777)
    bait = {
        "port": tcp.getsockname()[1], "datagram": udp.getsockname()[1], "abstract": secret,
        "path": str(folder / "socket"), "canary": str(canary), "folder": str(folder),
        "keeper": os.getpid(), "victim": victim.pid, "secret": secret,
    }  # fmt: skip
    results = {}
    only = sys.argv[4:]
    try:
        for name, program in attacks().items():
            if only and name not in only:
                continue
            canary.write_text(secret)
            canary.chmod(0o666)
            before = (canary.stat().st_mode, sorted(p.name for p in folder.iterdir()))
            marked = Job("script", f"x = {secret[::-1]!r}".encode())
            try:
                worker.run(marked)
                started = time.monotonic()
                ran = worker.run(Job("script", program.encode(), json.dumps(bait).encode(),
                                     limits=LIMITS))  # fmt: skip
                took = time.monotonic() - started
                alive = worker.run(Job("script", b"print('alive')"))
            except Broken as error:
                results[name] = f"broke the sandbox: {error}"
                worker.close()
                worker = Worker(RUNG, 40, PYTHON, {})
                continue
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
            if alive.stdout != b"alive\n":
                problems.append(f"the next program failed: {alive}")
            if not canary.exists() or canary.read_text() != secret:
                problems.append("the canary was changed")
            elif (canary.stat().st_mode, sorted(p.name for p in folder.iterdir())) != before:
                problems.append("the folder outside was changed")
            if victim.poll() is not None:
                problems.append("the victim is dead")
            if any(map(heard, (tcp, udp, abstract, path))):
                problems.append("a listener heard from it")
            results[name] = "; ".join(problems)
        worker.close()
        until = time.monotonic() + 10
        while os.geteuid() == 0 and (left := processes_of(61_184 + 40)):
            if time.monotonic() > until:
                results["leftovers"] = f"{left} processes left"
                break
            time.sleep(0.05)
    finally:
        victim.kill()
        victim.wait()
        for sock in (tcp, udp, abstract, path):
            sock.close()
        for leftover in folder.iterdir():
            leftover.unlink()
        folder.rmdir()
    return results


if __name__ == "__main__":
    print(json.dumps(main()))
