"""Which system calls a program in the sandbox may make, with their numbers on both machines.

`name=x86_64/aarch64`; an empty side means the machine has no such call. Numbers are those of the
kernel's `asm/unistd_64.h` and `asm-generic/unistd.h`.
"""

import platform

__all__ = [
    "AUDIT_ARCH",
    "CALLS",
    "CHECKED",
    "COMPUTE",
    "LAUNCH",
    "NR",
    "PATHS",
    "REFUSED_AS_UNKNOWN",
    "SPAWN",
]

_COMPUTE = """
read=0/63 write=1/64 close=3/57 fstat=5/80 lseek=8/62 mmap=9/222 mprotect=10/226
munmap=11/215 brk=12/214 rt_sigaction=13/134 rt_sigprocmask=14/135 rt_sigreturn=15/139
pread64=17/67 pwrite64=18/68 readv=19/65 writev=20/66 preadv=295/69 pwritev=296/70
access=21/ pipe=22/ select=23/ sched_yield=24/124 mremap=25/216 msync=26/227 mincore=27/232
madvise=28/233 dup=32/23 dup2=33/ pause=34/ nanosleep=35/101 getitimer=36/102 alarm=37/
setitimer=38/103 getpid=39/172 sendfile=40/71 sendto=44/206 recvfrom=45/207 shutdown=48/210
getsockname=51/204 getpeername=52/205 getsockopt=55/209 exit=60/93 uname=63/160 flock=73/32
fsync=74/82 fdatasync=75/83 getdents=78/ getdents64=217/61 getcwd=79/17 chdir=80/49 fchdir=81/50
readlink=89/ umask=95/166 gettimeofday=96/169 getrlimit=97/163 getrusage=98/165 sysinfo=99/179
times=100/153 getuid=102/174 getgid=104/176 geteuid=107/175 getegid=108/177 getppid=110/173
getpgrp=111/ getgroups=115/158 getresuid=118/148 getresgid=120/150 getpgid=121/155
getsid=124/156 rt_sigpending=127/136 rt_sigtimedwait=128/137 rt_sigsuspend=130/133
sigaltstack=131/132 statfs=137/43 fstatfs=138/44 sched_get_priority_max=146/125
sched_get_priority_min=147/126 arch_prctl=158/ setrlimit=160/164 gettid=186/178 time=201/
futex=202/98 sched_getaffinity=204/123 set_tid_address=218/96 restart_syscall=219/128
fadvise64=221/223 timer_create=222/107 timer_settime=223/110 timer_gettime=224/108
timer_getoverrun=225/109 timer_delete=226/111 clock_gettime=228/113 clock_getres=229/114
clock_nanosleep=230/115 exit_group=231/94 epoll_wait=232/ epoll_ctl=233/21 wait4=61/260
waitid=247/95 openat=257/56 newfstatat=262/79 readlinkat=267/78 faccessat=269/48
pselect6=270/72 ppoll=271/73 poll=7/ set_robust_list=273/99 get_robust_list=274/100
epoll_pwait=281/22 epoll_pwait2=441/441 eventfd=284/ timerfd_create=283/85
timerfd_settime=286/86 timerfd_gettime=287/87 eventfd2=290/19 epoll_create=213/
epoll_create1=291/20 dup3=292/24 pipe2=293/59 getcpu=309/168 getrandom=318/278 membarrier=324/283
copy_file_range=326/285 statx=332/291 rseq=334/293 faccessat2=439/439 close_range=436/436
open=2/ stat=4/ lstat=6/ ftruncate=77/46 fallocate=285/47
"""

_PATHS = """
truncate=76/45 rename=82/ mkdir=83/ rmdir=84/ creat=85/ link=86/ unlink=87/ symlink=88/
chmod=90/ fchmod=91/52 utime=132/ utimes=235/ mkdirat=258/34 unlinkat=263/35 renameat=264/38
renameat2=316/276 linkat=265/37 symlinkat=266/36 fchmodat=268/53 utimensat=280/88
"""

_CHECKED = """
ioctl=16/29 prctl=157/167 clone=56/220 prlimit64=302/261 kill=62/129 tkill=200/130 tgkill=234/131
socketpair=53/199 fcntl=72/25
"""

_LAUNCH = "execve=59/221 execveat=322/281"

_SPAWN = """
fork=57/ vfork=58/ setpgid=109/154 setsid=112/157 fchown=93/55 chown=92/ fchownat=260/54 lchown=94/
sched_getparam=143/121 sched_getscheduler=145/120 getpriority=140/141 memfd_create=319/279
"""

_UNKNOWN = "clone3=435/435 openat2=437/437"

_SETUP = """
seccomp=317/277 pivot_root=155/41 unshare=272/97 mount_setattr=442/442 capset=126/91
landlock_create_ruleset=444/444 landlock_add_rule=445/445 landlock_restrict_self=446/446
"""

_MACHINES = {"x86_64": (0, 0xC000003E), "amd64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7),
             "arm64": (1, 0xC00000B7)}  # fmt: skip
_COLUMN, AUDIT_ARCH = _MACHINES.get(platform.machine().lower(), (-1, 0))
"""`AUDIT_ARCH` is 0 where the machine is neither x86_64 nor aarch64: no filter can be made."""


def _numbers(text: str) -> dict[str, int]:
    found = {}
    for entry in text.split():
        name, _, sides = entry.partition("=")
        side = sides.split("/")[_COLUMN] if _COLUMN >= 0 else ""
        if side:
            found[name] = int(side)
    return found


COMPUTE = _numbers(_COMPUTE)
"""Calls that compute, read what is open to the process, and touch nothing outside it."""
PATHS = _numbers(_PATHS)
"""Calls that change names and modes of files; harmless only where the file system is private."""
CHECKED = _numbers(_CHECKED)
"""Calls allowed with some arguments only."""
LAUNCH = _numbers(_LAUNCH)
"""Starting another program in place of this one."""
SPAWN = _numbers(_SPAWN)
"""Starting further processes: for compilers."""
REFUSED_AS_UNKNOWN = _numbers(_UNKNOWN)
"""Calls answered with ENOSYS, so that the C library falls back to an older one."""
NR = _numbers(_SETUP)
"""Numbers the sandbox itself calls while it builds the walls."""
CALLS = COMPUTE | CHECKED | SPAWN | NR
"""All that a process may have to call before it is walled in."""
