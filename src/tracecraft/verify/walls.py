"""The walls around a worker, built once: namespaces, and a root with nothing in it to find."""

import os
import resource
from pathlib import Path

from tracecraft.verify import kernel

__all__ = [
    "WORK",
    "become",
    "bounds",
    "enter_namespaces",
    "fresh_work",
    "library_roots",
    "never",
    "state_of_work",
]

WORK = Path("/w")
"""The one folder a program may write to."""
_WORK = str(WORK)

_SYSTEM = ("usr", "lib", "lib64", "lib32", "libx32", "bin", "sbin")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_PLACES = ("/tmp", "/var/tmp", "/mnt", "/media", "/srv", "/run", "/dev/shm")
_ETC = ("ld.so.cache", "alternatives", "localtime")


def become(uid: int) -> None:
    """Stop being root: this process is the user and group `uid`, with no other group."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    # /proc/self belongs to root again after a change of user, unless said otherwise
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)


def library_roots(prefixes: list[str]) -> list[Path]:
    """The system's program folders and the interpreter's own, without those inside another."""
    wanted = [Path("/", name) for name in _SYSTEM if Path("/", name).is_dir()]
    wanted += [Path(p).resolve() for p in prefixes]
    with Path("/proc/self/maps").open() as maps:
        files = {line.split(None, 5)[5].strip() for line in maps if line.count("/")}
    wanted += [Path(f).parent for f in sorted(files) if f.startswith("/") and ".so" in f]
    roots: list[Path] = []
    for path in wanted:
        real = path if path.is_symlink() else path.resolve()
        if not any(real.is_relative_to(r) and real != r for r in roots) and real not in roots:
            roots.append(real)
    return roots


def enter_namespaces(prefixes: list[str], extras: dict[str, str], uid: int | None) -> None:
    """Put this process into namespaces of its own, on a read-only root; its children get a pid 1.

    Args:
        prefixes: folders of the interpreter, bound at their own place.
        extras: further folders, from path inside to path outside.
        uid: whom to become first; None where this is an ordinary user already.
    """
    own = (
        kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC
        | kernel.CLONE_NEWUTS | kernel.CLONE_NEWPID
    )  # fmt: skip
    roots = library_roots(prefixes)
    proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
    pid = os.getpid()
    alias = None
    if uid is not None:
        known = _is_mapped(uid)
        kernel.unshare(kernel.CLONE_NEWNS)
        _build_root(roots, extras)
        if known:
            become(uid)
        else:
            alias = uid
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(own)
    for name, text in (
        ("setgroups", "deny"), ("uid_map", f"{alias or uid} {uid} 1"),
        ("gid_map", f"{alias or gid} {gid} 1"),
    ):  # fmt: skip
        handle = os.open(f"{pid}/{name}", os.O_WRONLY, dir_fd=proc)
        try:
            os.write(handle, text.encode())
        finally:
            os.close(handle)
    os.close(proc)
    if not WORK.is_dir() or Path("/proc/self").exists():
        _build_root(roots, extras)


def _is_mapped(uid: int) -> bool:
    """Whether this process can become that user; in a container of one user it cannot.

    Raises:
        OSError: nor is it an ordinary user outside its container.
    """
    with Path("/proc/self/uid_map").open() as lines:
        ranges = [[int(word) for word in line.split()] for line in lines]
    if any(first <= uid < first + count for first, _, count in ranges):
        return True
    if any(outside == 0 for _, outside, _ in ranges):
        raise OSError(1, f"user {uid} does not exist here, and root is root outside too")
    return False


def _build_root(roots: list[Path], extras: dict[str, str]) -> None:
    kernel.mount("none", Path("/"), flags=kernel.MS_REC | kernel.MS_PRIVATE)
    sources = [*roots, *map(Path, extras.values())]
    # the new root is put over a folder, whose contents it hides
    places = [p for p in map(Path, _PLACES) if p.is_dir() and p not in roots]
    new = next((p for p in places if not any(s.is_relative_to(p) for s in sources)), None)
    if new is None:
        raise OSError(16, f"no folder for a new root but those that hold {sources}")
    kernel.mount("tmpfs", new, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "size=1m,mode=755")
    for root in roots:
        if root.is_symlink():
            _inside(new, root).symlink_to(root.readlink())
        else:
            _bind(root, _inside(new, root))
    for inside, outside in extras.items():
        _bind(Path(outside), _inside(new, Path(inside)))
    for name in _ETC:
        if (source := Path("/etc", name)).exists():
            _bind(source, _inside(new, source))
    _devices(new)
    for folder in (WORK, Path("/old")):
        _inside(new, folder).mkdir(mode=0o755)
    (new / "tmp").symlink_to(WORK)
    kernel.pivot_root(new, new / "old")
    os.chdir("/")
    kernel.unmount(Path("/old"))
    Path("/old").rmdir()
    kernel.mount("none", Path("/"), flags=kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY
                 | kernel.MS_NOSUID | kernel.MS_NODEV)  # fmt: skip


def _devices(new: Path) -> None:
    (new / "dev").mkdir(mode=0o755)
    for name in _DEVICES:
        target = new / "dev" / name
        target.touch()
        kernel.mount(f"/dev/{name}", target, flags=kernel.MS_BIND)
        kernel.readonly(target, devices=True)  # its times are not written either
    # without /proc the usual link has nowhere to lead; the runner puts the input there
    (new / "dev/stdin").symlink_to(WORK / ".stdin")


def _inside(new: Path, path: Path) -> Path:
    target = new / path.relative_to("/")
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    return target


def _bind(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(mode=0o755, exist_ok=True)
    else:
        target.touch()
    kernel.mount(str(source), target, flags=kernel.MS_BIND | kernel.MS_REC)
    kernel.readonly(target)


def fresh_work(size: int, files: int) -> tuple[int, ...]:
    """An empty work folder of its own; the one before is gone. Returns its `state_of_work`."""
    data = f"size={size},nr_inodes={files},mode=700"
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOATIME
    kernel.mount("tmpfs", WORK, "tmpfs", flags, data)
    return state_of_work()


def state_of_work() -> tuple[int, ...]:
    """The same as before where nothing was made, removed, renamed or changed in the work folder.

    Whatever is done to a folder changes the time of its last change, which nobody can set; where
    that was within the same tick of the clock, its size tells of what is left in it.
    """
    s = os.stat(_WORK)  # noqa: PTH116
    return (s.st_mode, s.st_nlink, s.st_size, s.st_atime_ns, s.st_mtime_ns, s.st_ctime_ns)


def never() -> None:
    """What no program has any of: core files, locked memory, message queues."""
    for which in (resource.RLIMIT_CORE, resource.RLIMIT_MEMLOCK, resource.RLIMIT_MSGQUEUE):
        resource.setrlimit(which, (0, 0))


def bounds(limits: dict[str, int], *, processes: int) -> dict[int, tuple[int, int]]:
    """What a program may take, by the resource's number: first limit and last."""
    cpu = limits["cpu"]
    same = {
        resource.RLIMIT_AS: limits["memory"],
        resource.RLIMIT_FSIZE: limits["output"],
        resource.RLIMIT_NOFILE: limits["open_files"],
    }
    if processes:
        same[resource.RLIMIT_NPROC] = processes
    found = {which: (bound, bound) for which, bound in same.items()}
    found[resource.RLIMIT_CPU] = (cpu, cpu + 1)
    if limits["stack"]:
        # a program may ask for more, as many do; its address space bounds its stack anyhow
        most = resource.getrlimit(resource.RLIMIT_STACK)[1]
        soft = limits["stack"] if most == resource.RLIM_INFINITY else min(limits["stack"], most)
        found[resource.RLIMIT_STACK] = (soft, most)
    return found
