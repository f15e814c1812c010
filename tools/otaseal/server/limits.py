"""Limits of connections: their timeouts and sizes, and how many there may be, in all and from one address.

One address can have a quarter of a listener's connections at most.
"""

from __future__ import annotations

import contextlib
import ipaddress
from functools import lru_cache

MAX_CONNECTIONS = 10_000
"""Open connections of a listener, where the system gives it so many files."""
SHARES = 4
"""One address has one of so many shares of a listener's connections."""
OTHER_FILES = 256
"""Files that are no connections: the store's, the devices', the interpreter's."""
OPEN_FILES = 2 * MAX_CONNECTIONS + OTHER_FILES

HANDSHAKE_SECONDS = 20.0  # a chip needs up to 139 M instructions for it, at 80 MHz (F27d)
HEAD_SECONDS = 15.0
MAX_HEAD_BYTES = 16 * 1024
IDLE_SECONDS = 5
"""How long a connection may rest between two requests."""
STALL_SECONDS = 60.0
"""How long a client may read nothing of an answer; a device has to take STALL_BYTES in that time."""
STALL_BYTES = 16 * 1024
MAX_AHEAD = 64 * 1024
"""Encrypted bytes that a device may send while it is answered."""
LINGER_SECONDS, LINGER_BYTES = 2.0, 1024 * 1024
"""How long, and how much, is still read from a device that is refused: a close before would take the answer with it."""
DRAIN_SECONDS = 300
"""How long answers on their way have to end when the server stops."""
LAST_SECONDS = 2.0
"""How long who is connected then, and has no answer yet, has to ask."""


def raise_open_files() -> int | None:
    """Raise the soft limit of open files as far as needed and allowed, and return it; None where there is none."""
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


def room() -> int:
    """Return how many connections each of the two listeners may have, by the files that this process may open."""
    files = raise_open_files()
    if files is None or files < 0:  # without a limit
        return MAX_CONNECTIONS
    return max(1, min(MAX_CONNECTIONS, (files - OTHER_FILES) // 2))


class Addresses:
    """Counts the open connections of a listener: at most `most` in all, and a share of them from one address."""

    def __init__(self, most: int) -> None:
        self._most, self._share = most, max(1, most // SHARES)
        self._open: dict[str, int] = {}
        self._total = 0

    def enter(self, address: str) -> bool:
        """Count one more connection of `address`, and return whether there was room for it."""
        where = origin(address)
        there = self._open.get(where, 0)
        if self._total >= self._most or there >= self._share:
            return False
        self._open[where] = there + 1
        self._total += 1
        return True

    def leave(self, address: str) -> None:
        """Count one less, which has entered."""
        where = origin(address)
        self._total -= 1
        there = self._open.pop(where) - 1
        if there:
            self._open[where] = there


@lru_cache(maxsize=4096)
def origin(address: str) -> str:
    """Return what one client can be taken for: an IPv4 address, and of IPv6 the 64 bits that a network is given."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if parsed.version == 6 and parsed.ipv4_mapped is None:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
