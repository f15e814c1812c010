"""The listening sockets of both halves, and what the kernel still holds of a connection."""

from __future__ import annotations

import socket
from array import array
from typing import Any

from ..errors import ConfigError, SystemFaultError

KERNEL_BUFFER = 64 * 1024
"""Bytes of a connection's send buffer, which the kernel doubles; by itself it grows to megabytes, for a chip whose
window is a few kilobytes."""
BACKLOG = 2048

_fcntl: Any
_termios: Any
try:
    import fcntl as _fcntl
    import termios as _termios
except ModuleNotFoundError:  # Windows
    _fcntl = _termios = None


def bind(address: str) -> socket.socket:
    """Return a listening socket for `host:port` or `[v6]:port`; port 0 takes a free one.

    Raises ConfigError for what is not an address, SystemFaultError when it cannot be had.
    """
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"'{address}' is not an address to listen on", "write host:port, as in 127.0.0.1:8443")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, int(port)), family=family, backlog=BACKLOG)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BUFFER)  # accepted connections inherit it
        return listening
    except OSError as error:
        reason = error.strerror or str(error)
        raise SystemFaultError(
            f"cannot listen on '{address}': {reason}", "choose a free port, and an own address"
        ) from (error)


def unacknowledged(connection: Any) -> int:
    """Return the bytes in the kernel that the other side has not acknowledged; 0 where the system does not say."""
    if _fcntl is None:
        return 0
    size = array("i", (0,))
    try:
        _fcntl.ioctl(connection.fileno(), _termios.TIOCOUTQ, size)
    except OSError:
        return 0
    return size[0]
