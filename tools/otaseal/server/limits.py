"""What the operating system allows the server: as many open files as it may have, for each connection is one."""

from __future__ import annotations

import contextlib

from .listener import MAX_CONNECTIONS

__all__ = ["raise_open_files"]

OPEN_FILES = 2 * MAX_CONNECTIONS + 256


def raise_open_files() -> int | None:
    """Raise the soft limit of open files as far as the hard one and OPEN_FILES go, and return what it is now.

    A shell's usual 1024 is for programs that call select, and a thousand silent clients would fill it. None where there
    is no such limit, as on Windows.
    """
    try:
        import resource
    except ModuleNotFoundError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a sandbox may forbid it: what there is has to do
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
