"""A server that answers what a test tells it to, over TLS as it is told to: for what no honest server does."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from support.listening import Listening

Response = bytes | Callable[[str], bytes]


def reply(body: bytes, status: str = "200 OK", length: int | None = -1, **headers: str) -> bytes:
    """Return a response; `length` -1 is the body's own, None leaves it out. Underscores in header names are dashes."""
    lines = [f"HTTP/1.0 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if length is not None:
        lines.append(f"Content-Length: {len(body) if length < 0 else length}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def firmware_reply(body: bytes) -> bytes:
    """Return the response that an honest server gives to a device."""
    return reply(body, x_MD5=hashlib.md5(body).hexdigest())


@dataclass
class Ranges:
    """A server's answers to requests for a file: `sent` bytes of it at a time, then the connection ends.

    `lie` changes status and headers of a part.
    """

    body: bytes
    sent: int = 40_000
    tag: str = '"one"'
    lie: Callable[[str, dict[str, str]], str] = lambda status, headers: status

    def __call__(self, head: str) -> bytes:
        found = re.search(r"\r\nRange: bytes=(\d+)-\r\n", head)
        begin, headers = 0, {"ETag": self.tag, "x_MD5": hashlib.md5(self.body).hexdigest()}
        status = "200 OK"
        if found is not None:
            assert f"\r\nIf-Range: {self.tag}\r\n" in head
            begin = int(found[1])
            del headers["x_MD5"]
            headers["Content_Range"] = f"bytes {begin}-{len(self.body) - 1}/{len(self.body)}"
            status = self.lie("206 Partial Content", headers)
        length = int(headers.pop("length", len(self.body) - begin))
        return reply(self.body[begin : begin + self.sent], status, length, **headers)


class Answers(Listening):
    """Serves `paths`, 404 for others; `context` None is not TLS. A function makes its response from the request's head.

    `requests` are the heads that came, in order, and `certificates` (DER, or None) what each came with. What is in
    `later` takes the place of a path's response once that has been sent.
    """

    def __init__(self, context: ssl.SSLContext | None, paths: Mapping[str, Response]) -> None:
        super().__init__()
        self.paths = dict(paths)
        self.certificates: list[bytes | None] = []
        self.later: dict[str, bytes] = {}
        self.requests: list[str] = []
        self._context = context

    def take(self, connection: socket.socket) -> None:
        """Answer one request."""
        if self._context is None:
            connection.recv(4096)
            connection.sendall(reply(b"no TLS here", "400 Bad Request"))
            return
        with self._context.wrap_socket(connection, server_side=True) as secure:
            head = bytearray()
            while b"\r\n\r\n" not in head:
                piece = secure.recv(4096)
                if not piece:
                    return
                head += piece
            self.requests.append(head.decode("latin-1"))
            self.certificates.append(secure.getpeercert(binary_form=True))
            path = self.requests[-1].split(" ")[1]
            response = self.paths.get(path, reply(b"nothing here", "404 Not Found"))
            secure.sendall(response(self.requests[-1]) if callable(response) else response)
            if path in self.later:
                self.paths[path] = self.later.pop(path)
