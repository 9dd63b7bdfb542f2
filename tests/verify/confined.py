"""Prints the ladder as a confined host would see it; run as root, standard library only.

`python confined.py SRC PYTHON KIND`: `docker` is root without the right to make namespaces, as in
a container with the usual profile; `rootless` is a user that is root in a namespace of its own.
"""

import ctypes
import os
import sys
import types
from pathlib import Path

SRC, PYTHON, KIND = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
NEWUSER, NEWPID, NEWNS = 0x10000000, 0x20000000, 0x00020000
libc = ctypes.CDLL(None, use_errno=True)


def unshare(flags: int) -> None:
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


def show() -> None:
    for name, folder in (("tracecraft", SRC), ("tracecraft.verify", SRC / "verify")):
        sys.modules[name] = types.ModuleType(name)
        sys.modules[name].__path__ = [str(folder)]
    from tracecraft.verify.sandbox import Job, Sandbox, SandboxUnavailable, describe

    print(describe(PYTHON))
    try:
        with Sandbox(1, python=PYTHON) as box:
            print(box.run(Job("script", b"print(input())", b"it runs\n")).stdout.decode())
    except SandboxUnavailable as refused:
        print(f"refused: {refused}")


def as_root_of(mapping: str, then) -> None:
    """Run `then` in a new user namespace with that mapping, with its own processes."""
    asking, asked = os.pipe()
    telling, told = os.pipe()
    child = os.fork()
    if child == 0:
        unshare(NEWUSER | NEWPID)
        os.write(asked, b"x")
        os.read(telling, 1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        inner = os.fork()
        if inner == 0:
            unshare(NEWNS)
            libc.mount(b"none", b"/", None, 0x44000, None)
            libc.mount(b"proc", b"/proc", b"proc", 0, None)
            then()
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(inner, 0)
        os._exit(0)
    os.read(asking, 1)
    for name in ("uid_map", "gid_map"):
        if name == "gid_map" and KIND == "rootless":
            Path(f"/proc/{child}/setgroups").write_text("deny")
        Path(f"/proc/{child}/{name}").write_text(mapping)
    os.write(told, b"x")
    os.waitpid(child, 0)


def without_namespaces() -> None:
    Path("/proc/sys/user/max_user_namespaces").write_text("0")
    libc.prctl(24, 21, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_SYS_ADMIN
    os.execv(sys.executable, [sys.executable, __file__, *sys.argv[1:3], "bare"])


if KIND == "docker":
    as_root_of("0 0 65536", without_namespaces)
elif KIND == "rootless":
    as_root_of("0 20001 1", show)
else:
    show()
