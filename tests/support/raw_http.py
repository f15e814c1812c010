"""A client that sends bytes which may be no HTTP, over TLS connections that it keeps as long as the server does."""

from __future__ import annotations

import re
import socket
import ssl
from dataclasses import dataclass, field

from support.servers import SECONDS, Reply

PATIENCE = 5.0  # seconds for an answer to bytes that may be no whole request
MAX_ANSWERS = 64
END = b"GET /the-end HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9]) [ -~]*")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([\t -~]*)")


@dataclass
class RawClient:
    """Asks one port; a session is resumed where the last connection left one."""

    context: ssl.SSLContext
    port: int
    source: str = "127.0.0.1"
    opened: int = 0
    waited: int = 0
    _connection: ssl.SSLSocket | None = field(default=None, repr=False)
    _session: ssl.SSLSession | None = field(default=None, repr=False)
    _received: bytes = field(default=b"", repr=False)

    def ask(self, request: bytes, method: str = "GET") -> Reply | None:
        """Return the answer to one whole request over the connection that stands, None if the server just closes."""
        for _ in range(2):  # the server may close an idle connection at any time
            fresh = self._connection is None
            try:
                self._connected().sendall(request)
                reply = self._answer(method)
            except OSError:
                reply = None
                self.close()
            if reply is not None or fresh:
                return reply
        return reply

    def tell(self, data: bytes) -> list[Reply]:
        """Return every answer to bytes that may be no request, one or many, on a connection of their own.

        A last request follows them, so that a server that waits for more gets it.
        """
        self.close()
        replies: list[Reply] = []
        try:
            self._connected().sendall(data + END)
            method = "HEAD" if data.lstrip().startswith(b"HEAD") else "GET"
            while len(replies) < MAX_ANSWERS and (reply := self._answer(method)) is not None:
                replies.append(reply)
                if method == "HEAD":
                    break  # whether a body follows depends on how much of it was understood
        except TimeoutError:
            self.waited += 1
        except OSError:
            pass
        self.close()
        return replies

    def close(self) -> None:
        if self._connection is not None:
            self._session = self._connection.session or self._session
            self._connection.close()
            self._connection = None
        self._received = b""

    def _connected(self) -> ssl.SSLSocket:
        if self._connection is None:
            raw = socket.create_connection(("127.0.0.1", self.port), SECONDS, (self.source, 0))
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connection = self.context.wrap_socket(raw, server_hostname="localhost", session=self._session)
            self._connection.settimeout(PATIENCE)
            self.opened += 1
        return self._connection

    def _answer(self, method: str) -> Reply | None:
        while b"\r\n\r\n" not in self._received:
            if not self._more():
                assert not self._received, self._received[:200]
                return None
        head, _, self._received = self._received.partition(b"\r\n\r\n")
        status, headers = _head(head)
        length = int(headers.get("content-length", "0"))
        if method == "HEAD" or status in (204, 304):
            length = 0
        if method == "HEAD" and status == 400:
            self.close()  # one that could not be read may be answered as if it had been another method
            return Reply(status, headers, b"")
        while len(self._received) < length:
            assert self._more(), f"{length} bytes are said to come, {len(self._received)} did"
        body, self._received = self._received[:length], self._received[length:]
        if headers.get("connection") == "close":
            assert not self._received, self._received[:200]
            self.close()
        return Reply(status, headers, body)

    def _more(self) -> bool:
        if self._connection is None:
            return False
        piece = self._connection.recv(65536)
        self._received += piece
        return bool(piece)


def _head(head: bytes) -> tuple[int, dict[str, str]]:
    """Return status and headers of a response; fails for one that is not HTTP to the letter."""
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    assert status, first
    headers: dict[str, str] = {}
    for line in lines:
        match = _HEADER.fullmatch(line)
        assert match, line
        name = match[1].decode().lower()
        assert name not in headers, f"'{name}' twice"
        headers[name] = match[2].decode()
    assert "transfer-encoding" not in headers
    return int(status[1]), headers
