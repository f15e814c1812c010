"""The core's HTTPClient, as far as an update uses it: the request's bytes, and the response's headers (F28, F29).

Headers are read as leniently as the client reads them: the last one of a name wins, the order does not matter.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from ..errors import ConfigError
from .error_numbers import HttpError
from .report import Fault
from .tls import Connection
from .tls_suites import TlsClosed

DEFAULT_PORTS = {"http": 80, "https": 443}
STATUS_PREFIX = b"HTTP/1."
MAX_HEADERS = 1 << 16
ENCODING_LIMIT = 200


@dataclass(frozen=True)
class Dialect:
    """What tells the cores' clients apart: `agent`, and the `encodings` that are known beside none at all.

    `joins`: of a header that comes twice both values are kept, joined by a comma; else the later one wins.
    `says_length`: a request has a Content-Length of 0.
    """

    agent: str
    encodings: tuple[str, ...] = ("chunked",)
    joins: bool = True
    says_length: bool = True


ESP8266 = Dialect("ESP8266-http-Update")


@dataclass(frozen=True)
class Url:
    """A URL as the client takes it apart; `authorization` is the base64 of what stood before the host, or ""."""

    host: str
    port: int
    path: str
    authorization: str = ""

    @property
    def host_header(self) -> str:
        """The host as it is sent: with the port, unless that is 80 or 443."""
        return self.host if self.port in DEFAULT_PORTS.values() else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Response:
    """Status, announced size (-1: none), x-MD5 ("": none); `fault` where the client gives up instead.

    `server_reason` is the update server's own word for its answer (X-Otaseal-Reason), which no device reads. `tag` and
    `content_range` are headers that the OtaSeal library reads.
    """

    status: int
    size: int
    md5: str
    fault: Fault | None = None
    server_reason: str = ""
    tag: str = ""
    content_range: str = ""


def parse_url(text: str) -> Url:
    """Return the parts of `text`; raises ConfigError for what is no http or https URL with a host."""
    scheme, colon, rest = text.partition("://")
    host, slash, path = rest.partition("/")
    user, at, host = host.rpartition("@")
    name, _, port = host.partition(":")
    if not colon or scheme.lower() not in DEFAULT_PORTS or not name or not text.isascii() or " " in text:
        raise ConfigError(f"'{text}' is not a URL for a device", "write https://host:port/path")
    number = int(port) if port.isdigit() and len(port) < 6 else 0 if port else DEFAULT_PORTS[scheme.lower()]
    if not 0 < number < 65536:
        raise ConfigError(f"'{text}' has no port that a device can use", "write https://host:port/path")
    authorization = base64.b64encode(user.encode()).decode() if at else ""
    return Url(name, number, slash + path, authorization)


def request_bytes(url: Url, headers: dict[str, str], dialect: Dialect = ESP8266) -> bytes:
    """Return a GET as every release sends it: HTTP/1.0, then `headers`, then a length of 0 where the core says one."""
    lines = [f"GET {url.path or '/'} HTTP/1.0", f"Host: {url.host_header}", f"User-Agent: {dialect.agent}"]
    if url.authorization:
        lines.append(f"Authorization: Basic {url.authorization}")
    lines.append("Connection: close")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["Content-Length: 0"] if dialect.says_length else []
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")


class Body:
    """What the server sends, read as a stream; `tls_error` is BearSSL's number where TLS itself failed.

    Without a `connection` it is `data`, and nothing after it.
    """

    def __init__(self, connection: Connection | None, data: bytes = b"") -> None:
        self._connection = connection
        self._data = bytearray(data)
        self.ended = connection is None
        self.tls_error = 0
        self.reason = "" if connection else "the connection ends"

    def line(self) -> bytes | None:
        """Return the next line without its end, what there is of one at the end, None where there is nothing."""
        while b"\n" not in self._data and not self.ended and len(self._data) <= MAX_HEADERS:
            self._fill()
        if not self._data:
            return None
        line, newline, rest = self._data.partition(b"\n")
        self._data = rest
        return bytes(line) if newline or self.ended else None

    def take(self, count: int) -> bytes:
        """Return `count` bytes, or fewer where no more come."""
        taken = self.peek(count)
        del self._data[:count]
        return taken

    def peek(self, count: int) -> bytes:
        """Return the next `count` bytes, and leave them there."""
        while len(self._data) < count and not self.ended:
            self._fill()
        return bytes(self._data[:count])

    def _fill(self) -> None:
        assert self._connection is not None
        try:
            self._data += self._connection.read()
        except TlsClosed as closed:
            self.ended, self.tls_error, self.reason = True, closed.error, closed.reason


def read_response(body: Body, dialect: Dialect = ESP8266) -> Response:
    """Read the headers as `handleHeaderResponse` does."""
    status, size, md5, encoding = 0, -1, "", ""
    others = {"x-otaseal-reason": "", "etag": "", "content-range": ""}
    for _ in range(MAX_HEADERS):
        line = body.line()
        if line is None:
            return Response(status, size, md5, _nothing(body))
        if line.startswith(STATUS_PREFIX):
            status = _number(line[len(STATUS_PREFIX) + 2 :].partition(b" ")[0])
            continue
        name, colon, raw = line.partition(b":")
        if colon and name:
            value = raw.strip().decode("latin-1")
            key = name.decode("latin-1").lower()
            size = _number(raw.strip()) if key == "content-length" else size
            encoding = value if key == "transfer-encoding" else encoding
            if key == "x-md5":
                md5 = f"{md5},{value}".lstrip(",") if dialect.joins else value
            if key in others:
                others[key] = value
        elif not line.strip():
            return Response(status, size, md5, _fault(status, encoding, dialect), *others.values())
    return Response(status, size, md5, Fault(HttpError.CONNECTION_LOST, "headers without end", "F29", "no-answer"))


def _fault(status: int, encoding: str, dialect: Dialect) -> Fault | None:
    if encoding and encoding.lower() not in dialect.encodings:
        return Fault(
            HttpError.ENCODING, f"Transfer-Encoding '{encoding[:ENCODING_LIMIT]}' is not known", "F29", "encoding"
        )
    if status <= 0:
        return Fault(HttpError.NO_HTTP_SERVER, "the answer has no HTTP status", "F29", "no-http")
    return None


def _nothing(body: Body) -> Fault:
    late = body.reason == "nothing more comes"
    error = HttpError.READ_TIMEOUT if late else HttpError.CONNECTION_LOST
    return Fault(error, f"no answer: {body.reason or 'a line without end'}", "F29", "no-answer")


def _number(text: bytes) -> int:
    """Return what `String.toInt` makes of text: leading digits, 0 for none."""
    sign, digits = (-1, text[1:]) if text.startswith(b"-") else (1, text)
    end = next((at for at, digit in enumerate(digits) if not 0x30 <= digit <= 0x39), len(digits))
    return sign * int(digits[:end][:10] or b"0")
