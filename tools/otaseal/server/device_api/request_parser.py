"""The heads of HTTP/1 requests in bytes that come in any pieces; bodies are seen, and dropped.

The grammar is llhttp's (through httptools); added are how long a head may be, that HTTP/1.1 names one host (RFC 9112,
3.2), and how many requests may wait. What was parsed before is remembered (`heads`).
"""

from __future__ import annotations

from collections import deque
from typing import Any
from urllib.parse import unquote

from ...errors import InputError
from ...protocol.proof import PROOF_HEADER, parse_proof
from ...protocol.request import CERTIFICATE_FILE
from ..limits import MAX_HEAD_BYTES
from .heads import NO_HEAD, REMEMBERED_BYTES, Head, Received, RememberedHeads, without_chip, without_proof

TOO_LONG = f"a request head of more than {MAX_HEAD_BYTES} bytes"
MAX_WAITING = 16
"""Requests that a client may send ahead; it gets the answers to these, and then the connection ends."""
_PROOF = PROOF_HEADER.lower().encode()
_END = b"\r\n\r\n"


class RequestParser:
    """The requests of one connection: those sent ahead wait, up to MAX_WAITING of them.

    Once it `stopped` no more is parsed: after a last request, or because of the `refusal`. `within`: a head has begun
    and is not over. `unread`: the client sends more than is read. `close` it at the end: it and its parser refer to
    each other.
    """

    __slots__ = (
        "_between",
        "_fed",
        "_headers",
        "_heads",
        "_parser",
        "_proof",
        "_url",
        "_waiting",
        "refusal",
        "stopped",
        "unread",
        "within",
    )

    def __init__(self) -> None:
        self._parser: Any = None  # made when it is needed: most heads are remembered
        self._waiting: deque[Received] = deque()
        self._heads: list[Received] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._url = self._proof = b""
        self._fed = 0
        self._between = True
        self.within = self.stopped = self.unread = False
        self.refusal: str | None = None

    def close(self) -> None:
        """Release the parser."""
        self._parser = None

    def feed(self, data: bytes) -> list[Received]:
        """Return the requests whose heads `data` completes."""
        if self.stopped:
            return []
        between, self._between = self._between, False
        text, proof = without_proof(data)
        text, mac = without_chip(text)
        if between and (known := _remembered.get(text)) is not None:
            self._between, self._fed, self.stopped = True, len(data), not known.keeps
            return [Received(known, proof, mac)]
        heads = self._parse(data)
        # With nothing before it and nothing of another behind it, these bytes mean the same wherever they come again.
        # Line ends between requests say nothing, but a line with a proof could come back behind them.
        self._between = between and len(heads) == 1 and not (self.within or self.unread or self.refusal)
        if self._between and len(text) <= REMEMBERED_BYTES and text.find(_END) == len(text) - len(_END):
            received = heads[0]
            # A request for a certificate has another signature each time, and perhaps a claim code.
            if received.proof == proof and not received.head.path.endswith(CERTIFICATE_FILE):
                head = received.head if mac is None else _read_alone(text)
                _remembered.put(text, head)
                return [Received(head, proof, mac)]
        return heads

    def add(self, data: bytes) -> bool:
        """Parse `data`, and return whether a head begins in it that is not complete."""
        within = self.within
        self._waiting.extend(self.feed(data))
        return self.within and not within

    def take(self) -> Received | None:
        """Return the next request: NO_HEAD once for the `refusal` after all others, None when there is none yet."""
        if self._waiting:
            return self._waiting.popleft()
        return None if self.refusal is None else Received(NO_HEAD)

    def expects_more(self) -> bool:
        """Return whether another request is to be answered, or may come."""
        return bool(self._waiting or self.refusal or not self.stopped)

    def clear(self) -> None:
        """Drop the requests that wait."""
        self._waiting.clear()

    def _parse(self, data: bytes) -> list[Received]:
        import httptools

        if self._parser is None:
            self._parser = httptools.HttpRequestParser(self)
        self._heads = []
        self._fed += len(data)  # bytes of a head that goes on, or before one
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.stopped = self.unread = True  # answered as if it had not asked, and what follows is not HTTP
        except httptools.HttpParserError as error:
            self.unread = True
            if not self.stopped:  # what comes after a last request is nothing to us
                self._refuse(self.refusal or f"no HTTP request: {error}")
        if self._heads:
            self._fed = len(data)
        elif self._fed > MAX_HEAD_BYTES:
            self._refuse(TOO_LONG)
        return self._heads

    def on_message_begin(self) -> None:
        """Start a head (called by httptools)."""
        self._url, self._headers, self._proof, self.within = b"", [], b"", True

    def on_url(self, url: bytes) -> None:
        """Add a part of the URL (called by httptools)."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header (called by httptools)."""
        name = name.lower()
        if name == _PROOF and value and not self._proof:
            self._proof = value
        else:
            self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """End a head (called by httptools)."""
        self.within = False
        if self.stopped or len(self._heads) >= MAX_WAITING:
            self.stopped = self.unread = True
            return
        try:
            head, proof = self._head(), parse_proof(self._proof) if self._proof else None
        except (ValueError, InputError) as error:
            self.refusal = str(error)
            raise  # through the parser, which stops
        self._heads.append(Received(head, proof))
        self.stopped, self.unread = not head.keeps, head.has_body

    def _head(self) -> Head:
        import httptools

        version = self._parser.get_http_version()
        names = [name for name, _ in self._headers]
        hosts = names.count(b"host")
        body = b"transfer-encoding" in names or any(
            value.strip(b"0 ") for name, value in self._headers if name == b"content-length"
        )
        if (
            self._fed > MAX_HEAD_BYTES
            and len(self._url) + sum(len(a) + len(b) for a, b in self._headers) > MAX_HEAD_BYTES
        ):
            raise ValueError(TOO_LONG)
        if _PROOF in names:
            raise ValueError(f"{PROOF_HEADER} is given twice, or says nothing")
        if version not in ("1.0", "1.1"):
            raise ValueError(f"HTTP {version}")
        if hosts > 1 or (version == "1.1" and not hosts):
            raise ValueError(f"{hosts} Host headers")
        try:
            path = unquote(httptools.parse_url(self._url).path.decode("ascii"))
        except (httptools.HttpParserError, UnicodeDecodeError, AttributeError) as error:
            raise ValueError("a URL that cannot be read") from error
        keeps = self._parser.should_keep_alive() and not body
        return Head(self._parser.get_method().decode("ascii"), path, tuple(self._headers), version, keeps, body)

    def _refuse(self, refusal: str) -> None:
        self.stopped, self.unread, self.refusal, self.within = True, True, refusal, False


def _read_alone(text: bytes) -> Head:
    parser = RequestParser()
    ((head, *_),) = parser._parse(text)
    parser.close()
    return head


_remembered = RememberedHeads()
"""Of one event loop."""
