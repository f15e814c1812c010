"""Takes from Python what it lacks on Windows, as far as that can be had on another system: `hide()` before all else.

Modules that only POSIX has cannot be imported, functions and constants that only POSIX has are not there. `os.name`
stays, or pathlib would go for the paths of a system that this is not; so does what the standard library goes on using.
"""

from __future__ import annotations

import importlib
import importlib.abc
import os
import select
import signal
import socket
import sys
from collections.abc import Sequence

# The standard library goes by the system it was made for: what wants POSIX is imported before that is hidden.
for _name in ("asyncio", "getpass", "multiprocessing.util", "subprocess", "tempfile"):
    importlib.import_module(_name)

MODULES = {
    "crypt",
    "fcntl",
    "grp",
    "nis",
    "ossaudiodev",
    "pty",
    "pwd",
    "readline",
    "resource",
    "spwd",
    "syslog",
    "termios",
}
MODULES |= {"tty", "uvloop"}
ATTRIBUTES = {
    os: """O_CLOEXEC O_DIRECT O_DIRECTORY O_NOCTTY O_SYNC O_TMPFILE chown chroot ctermid fchdir fchown fork
        forkpty getegid geteuid getgid getgroups getloadavg getpgid getpgrp getpriority getresuid getsid getuid killpg
        lchown mkfifo mknod nice openpty pread preadv pwrite pwritev register_at_fork sched_getaffinity sendfile setegid
        seteuid setgid setpgid setsid setuid statvfs sync sysconf tcgetpgrp ttyname uname wait wait3 wait4 writev
        readv""",
    signal: """SIGALRM SIGCHLD SIGHUP SIGKILL SIGPIPE SIGQUIT SIGUSR1 SIGUSR2 alarm pthread_kill pthread_sigmask
        setitimer sigpending sigwait sigwaitinfo SIG_BLOCK SIG_SETMASK SIG_UNBLOCK""",
    socket: "CMSG_LEN CMSG_SPACE SCM_RIGHTS SO_REUSEPORT recv_fds send_fds",
    select: "epoll poll",
}


class Hidden(importlib.abc.MetaPathFinder):
    """Finds nothing, and lets nobody else find, what only POSIX has."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: object = None) -> None:
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named '{name}'", name=name)


def hide_modules() -> None:
    """Hide modules only, from now on: for a process in which others go by the system it was made for."""
    for name in MODULES:
        sys.modules.pop(name, None)
    sys.meta_path.insert(0, Hidden())


def hide() -> None:
    """Hide all of it."""
    hide_modules()
    for module, names in ATTRIBUTES.items():
        for name in names.split():
            if hasattr(module, name):
                delattr(module, name)
