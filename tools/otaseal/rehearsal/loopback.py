"""A small HTTPS server on the loopback interface for the length of a rehearsal, with whatever faults it is given.

One thread a connection, one request a connection, an end to everything. What it answers is the caller's: the update
server's own decisions for a release that is not published yet, or what a hostile server would say. TLS is that of the
update server (`server.tls`), so that suites, groups and record sizes are the same.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

__all__ = ["Loopback", "Request", "parse_head", "response"]

HOST = "127.0.0.1"
SECONDS = 10.0
"""How long one connection may take; a device on the same machine takes milliseconds."""
MAX_HEAD = 16 * 1024
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_REASONS = {200: "OK", 304: "Not Modified", 302: "Found", 403: "Forbidden", 404: "Not Found", 500: "Server Error"}


@dataclass(frozen=True)
class Request:
    """What a client asked: header names and values as bytes, as they stood on the wire."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]


Answer = Callable[[Request], bytes]
"""Takes a request, returns every byte of the response."""


@dataclass
class Loopback:
    """`with Loopback(answer, context) as server: ...`; `port` is where it listens, `asked` what it was asked.

    Without a `context` it speaks plain HTTP, and understands no handshake.
    """

    answer: Answer
    context: ssl.SSLContext | None
    asked: list[Request] = field(default_factory=list)
    _listening: socket.socket = field(init=False, repr=False)
    _threads: list[threading.Thread] = field(default_factory=list, repr=False)
    _ending: bool = field(default=False, init=False, repr=False)

    def __enter__(self) -> Loopback:
        self._listening = socket.create_server((HOST, 0))
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending = True
        with contextlib.suppress(OSError):  # a connection of our own wakes the thread that accepts
            socket.create_connection((HOST, self.port), SECONDS).close()
        for thread in self._threads:
            thread.join(SECONDS)

    @property
    def port(self) -> int:
        """The port that the system chose."""
        return int(self._listening.getsockname()[1])

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with self._listening:
            while True:
                connection, _ = self._listening.accept()
                if self._ending:
                    connection.close()
                    return
                self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        # What a client breaks off, or refuses, is the client's own verdict: it says so itself.
        with contextlib.suppress(OSError, ValueError), connection:
            connection.settimeout(SECONDS)
            if self.context is None:
                connection.recv(MAX_HEAD)
                connection.sendall(BAD_REQUEST)  # what a web server says to the first bytes of a handshake
                return
            with self.context.wrap_socket(connection, server_side=True, suppress_ragged_eofs=True) as encrypted:
                self._talk(encrypted)
                with contextlib.suppress(OSError):
                    encrypted.unwrap()

    def _talk(self, connection: socket.socket) -> None:
        data = bytearray()
        while b"\r\n\r\n" not in data:
            piece = connection.recv(4096)
            if not piece or len(data) > MAX_HEAD:
                return
            data += piece
        request = parse_head(bytes(data))
        self.asked.append(request)
        connection.sendall(self.answer(request))


def response(status: int, headers: tuple[tuple[str, str], ...] = (), body: bytes = b"") -> bytes:
    """Return a response in HTTP/1.0 and 1.1's common form; the headers are all that is sent."""
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Other')}", *(f"{name}: {value}" for name, value in headers)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body


def parse_head(data: bytes) -> Request:
    """Return the request at the front of `data`; raises ValueError for what does not begin like one."""
    first, *lines = data.partition(b"\r\n\r\n")[0].split(b"\r\n")
    method, path, _ = first.decode("latin-1").split(" ", 2)
    pairs = (line.partition(b":") for line in lines)
    return Request(method, path, tuple((name.strip(), value.strip()) for name, _, value in pairs))
