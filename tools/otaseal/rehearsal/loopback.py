"""An HTTPS server on the loopback interface for one rehearsal, and the authority that issues its certificate.

One thread per connection and one request per connection, each with a timeout. The caller supplies the answers. TLS is
that of the update server (`server.tls`), so suites, groups and record sizes are the same. Keys stay in memory, except
while the TLS library reads them from a private temporary folder.
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import ssl
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from .. import files
from ..pki.authority import Authority
from ..pki.profile import KeyType, Role
from ..server.tls import Credentials, server_context

HOST = "127.0.0.1"
SECONDS = 10.0
"""How long one connection may take; a device on the same machine takes milliseconds."""
POLL_SECONDS = 0.01
"""How often the listening thread looks whether it is to end."""
MAX_HEAD = 16 * 1024
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
AUTHORITY_AGE = timedelta(days=3 * 365)
"""So that it can have issued certificates that have run out."""
_REASONS = {200: "OK", 304: "Not Modified", 302: "Found", 403: "Forbidden", 404: "Not Found", 500: "Server Error"}


@dataclass(frozen=True)
class Request:
    """A client's request; header names and values are the bytes received."""

    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]


class Loopback(socketserver.ThreadingTCPServer):
    """`with Loopback(answer, context) as server: ...`; `port` is where it listens, `asked` what it was asked.

    `answer` takes a request, and returns every byte of the response. Without a `context` it speaks plain HTTP, and
    understands no handshake.
    """

    def __init__(self, answer: Callable[[Request], bytes], context: ssl.SSLContext | None) -> None:
        super().__init__((HOST, 0), _Connection)
        self.answer, self.context = answer, context
        self.asked: list[Request] = []
        self.port = int(self.server_address[1])

    def __enter__(self) -> Loopback:
        threading.Thread(target=self.serve_forever, args=(POLL_SECONDS,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Connection(socketserver.BaseRequestHandler):
    server: Loopback
    request: socket.socket

    def handle(self) -> None:
        # What a client breaks off, or refuses, is the client's own verdict: it says so itself.
        with contextlib.suppress(OSError, ValueError):
            self.request.settimeout(SECONDS)
            if self.server.context is None:
                self.request.recv(MAX_HEAD)
                self.request.sendall(BAD_REQUEST)  # what a web server says to the first bytes of a handshake
                return
            with self.server.context.wrap_socket(self.request, server_side=True) as encrypted:
                self._respond(encrypted)
                with contextlib.suppress(OSError):
                    encrypted.unwrap()

    def _respond(self, connection: socket.socket) -> None:
        data = bytearray()
        while b"\r\n\r\n" not in data:
            piece = connection.recv(4096)
            if not piece or len(data) > MAX_HEAD:
                return
            data += piece
        request = parse_head(bytes(data))
        self.server.asked.append(request)
        connection.sendall(self.server.answer(request))


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


@dataclass(frozen=True)
class TemporaryAuthority:
    """A server authority for one rehearsal, at the time `now` that its clocks show."""

    now: datetime
    authority: Authority = field(repr=False)

    @classmethod
    def create(cls, now: datetime) -> TemporaryAuthority:
        """Return a new one; P-256, because RSA keys take too long to make for each rehearsal."""
        return cls(
            now, Authority.create(role=Role.SERVER, product="rehearsal", now=now - AUTHORITY_AGE, key=KeyType.P_256)
        )

    @property
    def root(self) -> bytes:
        """The root certificate, DER: what the virtual device is told to trust."""
        return self.authority.certificate_der

    def context(self, name: str, age: timedelta = timedelta()) -> ssl.SSLContext:
        """Return the update server's own TLS, with a certificate for `name` that was issued `age` ago."""
        issued = self.authority.issue_server([name], now=self.now - age, key=KeyType.P_256)
        with tempfile.TemporaryDirectory(prefix="otaseal-") as folder:
            chain, key = Path(folder, "chain.pem"), Path(folder, "key.pem")
            files.write_new(chain, issued.chain_pem)
            files.write_new(key, issued.private_key_pem, files.PRIVATE_MODE)
            return server_context(Credentials(chain, key))
