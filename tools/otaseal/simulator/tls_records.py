"""Records over a connection: cut to the device's buffers, protected once keys are there, alerts understood."""

from __future__ import annotations

from .connection import Socket
from .error_numbers import RECEIVED_ALERT, TlsError
from .tls_messages import TLS_1_2, Reader
from .tls_suites import Protection, TlsClosed

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION = 20, 21, 22, 23
IN_OVERHEAD, OUT_OVERHEAD = 325, 85  # what the core adds to the buffers that a sketch asks for
MAX_PLAIN = 16384
HEADER = 5
MAX_HANDSHAKE = 1 << 18
CLOSE_NOTIFY, NO_RENEGOTIATION = 0, 100
WARNING, FATAL = 1, 2


class Records:
    """Both directions of one connection. `version` is that of the records that come in, 0 before the first."""

    def __init__(self, connection: Socket, receive_buffer: int, fragment: int) -> None:
        self._connection = connection
        self._room = receive_buffer + IN_OVERHEAD - HEADER
        self._fragment = fragment
        self._out: Protection | None = None
        self._in: Protection | None = None
        self._sent = self._received = 0
        self.version = 0
        self._alert_level = 0
        self._handshake = b""
        self.transcript = b""
        self.closed = False

    def protect_out(self, protection: Protection) -> None:
        """Protect what is sent from here on."""
        self._out, self._sent = protection, 0

    def protect_in(self, protection: Protection) -> None:
        """Expect protection from here on."""
        self._in, self._received = protection, 0

    def send(self, kind: int, data: bytes) -> bool:
        """Send `data` in records that fit, and tell whether it went out."""
        out = b""
        for at in range(0, len(data), self._fragment):
            piece = data[at : at + self._fragment]
            if self._out is not None:
                piece = self._out.seal(_header(self._sent, kind), piece)
                self._sent += 1
            # The hello goes out as version 1.0, for servers of old: nothing is agreed on yet.
            version = TLS_1_2 if self.version else 0x0301
            out += bytes([kind]) + version.to_bytes(2, "big") + len(piece).to_bytes(2, "big") + piece
        return self._connection.send(out)

    def send_handshake(self, data: bytes) -> None:
        """Send a handshake message, which is part of what Finished covers."""
        self.transcript += data
        if not self.send(HANDSHAKE, data):
            raise TlsClosed(TlsError.OK, "the server closes the connection during the handshake")

    def receive(self) -> tuple[int, bytes]:
        """Return the next record but for warnings: its kind and content. Raises TlsClosed where BearSSL closes."""
        for _ in range(MAX_HANDSHAKE):
            kind, data = self._record()
            if kind == ALERT:
                for byte in data:
                    self._alert(byte)
            elif data:  # an empty record has no kind
                return kind, data
        raise TlsClosed(TlsError.OK, "the server sends nothing but warnings")

    def _alert(self, byte: int) -> None:
        """Take one byte of an alert: a level, which is a warning's or fatal, then a number, in whatever records."""
        if not self._alert_level:
            self._alert_level = WARNING if byte == WARNING else FATAL
            return
        level, self._alert_level = self._alert_level, 0
        if level == FATAL or byte == NO_RENEGOTIATION:
            raise TlsClosed(RECEIVED_ALERT + byte, "the server refuses with a fatal alert")
        if byte == CLOSE_NOTIFY:
            self.closed = True
            raise TlsClosed(TlsError.OK, "the server closes the connection")

    def receive_handshake(self) -> bytes:
        """Return the next handshake message, which is part of what Finished covers."""
        while True:
            if len(self._handshake) >= 4:
                size = int.from_bytes(self._handshake[1:4], "big")
                if size > MAX_HANDSHAKE:
                    raise TlsClosed(TlsError.BAD_HANDSHAKE, f"a handshake message of {size} bytes")
                if len(self._handshake) >= 4 + size:
                    whole, self._handshake = self._handshake[: 4 + size], self._handshake[4 + size :]
                    self.transcript += whole
                    return whole
            kind, data = self.receive()
            if kind != HANDSHAKE:
                raise TlsClosed(TlsError.UNEXPECTED, f"a record of type {kind} in the handshake")
            self._handshake += data

    def receive_change_cipher_spec(self) -> None:
        """Read the ChangeCipherSpec."""
        kind, data = self.receive()
        if kind != CHANGE_CIPHER_SPEC or self._handshake:
            raise TlsClosed(TlsError.UNEXPECTED, f"a record of type {kind} where the keys should change")
        if data != b"\1":
            raise TlsClosed(TlsError.BAD_CCS, "a malformed ChangeCipherSpec")

    def close(self) -> None:
        """Send close_notify and close."""
        if not self.closed:
            self.send(ALERT, b"\1\0")
        self._connection.close()

    def _record(self) -> tuple[int, bytes]:
        head = self._connection.take(HEADER)
        if len(head) < HEADER:
            self.closed = not self._connection.timed_out
            raise TlsClosed(TlsError.OK, "nothing more comes" if self._connection.timed_out else "the connection ends")
        reader = Reader(head)
        kind, version, size = reader.number(1), reader.number(2), reader.number(2)
        self._check(kind, version, size, head)
        data = self._connection.take(size)
        if len(data) < size:
            raise TlsClosed(TlsError.OK, "the connection ends within a record")
        if self._in is not None:
            data = self._in.open(_header(self._received, kind), data)
            self._received += 1
        return kind, data

    def _check(self, kind: int, version: int, size: int, head: bytes) -> None:
        if version >> 8 != 3:
            shown = "'HTTP': plain HTTP" if head.startswith(b"HTTP") else head.hex()
            raise TlsClosed(TlsError.UNSUPPORTED_VERSION, f"the server does not speak TLS, it begins with {shown}")
        if self.version and version != self.version:
            raise TlsClosed(TlsError.BAD_VERSION, f"a record of version 0x{version:04x}")
        self.version = version
        if self._in is None and size > MAX_PLAIN:
            raise TlsClosed(TlsError.BAD_LENGTH, f"a record of {size} bytes")
        if size > self._room:
            reason = f"a record of {size} bytes, the device's buffer has {self._room}"
            raise TlsClosed(TlsError.TOO_LARGE, reason, "F27")
        if size and kind not in (CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION):
            raise TlsClosed(TlsError.UNEXPECTED, f"a record of type {kind}")


def _header(number: int, kind: int) -> bytes:
    return number.to_bytes(8, "big") + bytes([kind]) + TLS_1_2.to_bytes(2, "big")
