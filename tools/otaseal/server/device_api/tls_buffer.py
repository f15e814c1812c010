"""A server's end of a TLS connection in memory: records in, plain bytes out, and back.

Nothing here reads or writes a socket. What is encrypted stays in memory until it is taken, so that a whole answer goes
out in one system call, however short the records are that a device has agreed to (F27c): a server that lets OpenSSL
write to the socket pays a call for each.
"""

from __future__ import annotations

import ssl

__all__ = ["RECORD", "Records"]

RECORD = 16 * 1024
"""Bytes encrypted at once: OpenSSL's buffer for them never shrinks while the connection lasts."""
READ = 4 * 1024
"""Plain bytes handed on at once: a few requests of a device, and no flood of them."""


class Records:
    """One connection; every method but `close` raises ssl.SSLError when the other side breaks the protocol.

    `receive` takes what came from the network, `take` returns what has to go there, b"" for nothing, and `write`
    encrypts: at most RECORD bytes of it at once, for the memory's sake. All of them are the library's own.
    """

    __slots__ = ("incoming", "receive", "take", "tls", "write")

    def __init__(self, context: ssl.SSLContext) -> None:
        self.incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, outgoing, server_side=True)
        self.receive, self.take, self.write = self.incoming.write, outgoing.read, self.tls.write

    @property
    def held(self) -> int:
        """Bytes that were received and are not read yet."""
        return self.incoming.pending

    def handshake(self) -> bool:
        """Go on with the handshake, and return whether it is over."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self) -> bytes | None:
        """Return plain bytes, none when the other side has closed, None when more has to be received first."""
        if not self.incoming.pending and not self.tls.pending():
            return None  # an exception costs more than the question
        try:
            return self.tls.read(READ)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def close(self) -> None:
        """Say that nothing more comes; the other side's answer to that is not waited for."""
        try:  # noqa: SIM105 - costs half of what `suppress` does, on every connection
            self.tls.unwrap()
        except ssl.SSLError:
            pass
