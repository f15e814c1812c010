"""A server's end of TLS over one of asyncio's plain transports: bytes in, bytes out, and what of these has arrived.

asyncio's own TLS holds 256 KiB for reading alone, and lets OpenSSL write each record by itself. Here what is encrypted
stays in memory until it is handed on, so that a whole answer goes out in one system call, however short the records are
that a device has agreed to (F27c).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from array import array
from collections.abc import Callable
from typing import Any

_fcntl: Any
_termios: Any
try:
    import fcntl as _fcntl
    import termios as _termios
except ModuleNotFoundError:  # Windows
    _fcntl = _termios = None

KERNEL_BUFFER = 64 * 1024
"""Bytes of a connection's send buffer, which the kernel doubles; by itself it grows to megabytes, for a chip whose
window is a few kilobytes."""
RECORD = 16 * 1024
"""Bytes encrypted at once: OpenSSL's buffer for them never shrinks while the connection lasts."""
READ = 4 * 1024
"""Plain bytes handed on at once: a few requests of a device, and no flood of them."""
WHOLE = 4 * KERNEL_BUFFER
"""Bytes that go to the kernel at once where there are few deliveries: a firmware, or most of it, in one call."""


class TlsTransport:
    """One connection over the plain `transport`; TLS begins with `begin`.

    `receive` takes bytes from the network. `write` encrypts, at most RECORD bytes at once, into memory; `flush` sends.
    `address` is the client's, None where it has gone. `room` is how many bytes may lie in the kernel; `paused` is set
    while asyncio asks to write nothing. `handshake`, `read` and `write` raise ssl.SSLError for a breach of the
    protocol.
    """

    __slots__ = (
        "_handed",
        "_incoming",
        "_take",
        "_taken",
        "_tls",
        "address",
        "paused",
        "receive",
        "room",
        "transport",
        "write",
    )

    receive: Callable[[bytes], int]
    write: Callable[[bytes | memoryview], int]

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self._tls: ssl.SSLObject | None = None
        self._handed = self._taken = 0
        self.room = KERNEL_BUFFER
        self.paused = False
        peer = transport.get_extra_info("peername")
        self.address: str | None = peer[0] if peer else None
        transport.set_write_buffer_limits(high=0)

    def begin(self, context: ssl.SSLContext) -> None:
        """Allocate what TLS needs; not before the client has sent something, for many never do."""
        self._incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, outgoing, server_side=True)
        self.receive, self._take, self.write = self._incoming.write, outgoing.read, self._tls.write

    @property
    def begun(self) -> bool:
        """Whether TLS has begun."""
        return self._tls is not None

    @property
    def held(self) -> int:
        """Bytes that were received and are not read yet."""
        return self._incoming.pending

    def handshake(self) -> ssl.SSLObject | None:
        """Go on with the handshake, and return the TLS of a connection where it is over."""
        assert self._tls is not None
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return None
        return self._tls

    def read(self) -> bytes | None:
        """Return plain bytes, none when the other side has closed, None when more has to be received first."""
        assert self._tls is not None
        if not self._incoming.pending and not self._tls.pending():
            return None  # an exception costs more than the question
        try:
            return self._tls.read(READ)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def send(self, part: memoryview, *, last: bool) -> None:
        """Encrypt and send `part`, and after the `last` one the alert that nothing more comes."""
        pieces = [self._take()]
        for start in range(0, len(part), RECORD):
            self.write(part[start : start + RECORD])
            pieces.append(self._take())
        if last:
            self.close_notify()
            pieces.append(self._take())
        self._handed += sum(map(len, pieces))
        self.transport.writelines(pieces)

    def flush(self) -> None:
        """Send what is encrypted."""
        if data := self._take():
            self._handed += len(data)
            self.transport.write(data)

    def close_notify(self) -> None:
        """Encrypt the alert that nothing more comes; the answer to it is not waited for."""
        assert self._tls is not None
        try:  # noqa: SIM105 - costs half of what `suppress` does, on every connection
            self._tls.unwrap()
        except ssl.SSLError:
            pass

    def unacknowledged(self) -> int:
        """Return the bytes handed on that the peer has not acknowledged, as far as the system says."""
        waiting = self.transport.get_write_buffer_size()
        if _fcntl is None:
            return waiting
        in_kernel = array("i", (0,))
        with contextlib.suppress(OSError):
            _fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), _termios.TIOCOUTQ, in_kernel)
        return waiting + in_kernel[0]

    def free(self) -> int:
        """Return how many bytes may be handed on at once."""
        return self.room - self.unacknowledged() if self._handed else self.room

    def enlarge(self) -> None:
        """Let WHOLE bytes lie in the kernel, until the connection ends."""
        self.room = WHOLE
        with contextlib.suppress(OSError):
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WHOLE)

    def count_anew(self) -> None:
        """Start counting the bytes of another answer."""
        self._handed = self._taken = 0

    def progressed(self, least: int) -> bool:
        """Return whether the client has taken `least` bytes since this was last true."""
        taken = self._handed - self.unacknowledged()
        if taken - self._taken < least:
            return False
        self._taken = taken
        return True
