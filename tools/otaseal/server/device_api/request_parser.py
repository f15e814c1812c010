"""The heads of HTTP/1 requests in bytes that come in any pieces; bodies are seen, and dropped.

The grammar is llhttp's (through httptools); added are how long a head may be, that HTTP/1.1 names one host (RFC 9112,
3.2), and how many requests may wait. The proof of a device's name is another one each time, and stands beside the head
that is the same all day.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple
from urllib.parse import unquote

from ...errors import InputError
from ...protocol.proof import PROOF_HEADER, Proof, find_proof, parse_proof
from ...protocol.request import CERTIFICATE_FILE
from ..limits import MAX_HEAD_BYTES

TOO_LONG = f"a request head of more than {MAX_HEAD_BYTES} bytes"
MAX_WAITING = 16
"""Requests that a client may send ahead; it gets the answers to these, and then the connection ends."""
MAX_REMEMBERED, REMEMBERED_BYTES, REMEMBERED_HEADERS = 60_000, 1024, 28
"""Heads that are remembered, how long one may be, and of how many headers: a device says the same thing, byte for byte,
all day, in some 20 of them. One takes 2 to 3 KB with the `memo` of it; each header that is its alone 150 bytes more."""
MAX_SHARED, SHARED_BYTES = 1024, 64
"""Headers that heads share, and how long the value of one may be: a fleet says most of them alike."""
_PROOF = PROOF_HEADER.lower().encode()
_PROOF_START = f"\r\n{PROOF_HEADER}: ".encode()
_END = b"\r\n\r\n"
_NEWLINE = 10


@dataclass(eq=False, slots=True)
class Head:
    """A request's head: the path decoded, header names in lower case, in order.

    `has_body`: bytes follow that are no request. `keeps`: the client keeps the connection open. A head that is
    remembered is one object, and with it the `memo` of who answers it.
    """

    method: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    version: str
    keeps: bool
    has_body: bool
    memo: Any = None


class Received(NamedTuple):
    """A request: its head without the header of the proof, and what that says, None where there is none."""

    head: Head
    proof: Proof | None = None


NO_HEAD = Head("other", "", (), "1.1", keeps=False, has_body=False)
"""Of a request that cannot be read."""


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
        rest, proof = without_proof(data)
        if between and (known := _remembered.get(key := _key(rest))) is not None:
            _remembered.move_to_end(key)
            self._between, self._fed, self.stopped = True, len(data), not known.keeps
            return [Received(known, proof)]
        return self._parse(data, between, rest, proof)

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

    def _parse(self, data: bytes, between: bool, rest: bytes, proof: Proof | None) -> list[Received]:
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
        # With nothing before it and nothing of another behind it, these bytes mean the same wherever they come again.
        # Line ends between requests say nothing, but a line with a proof could come back behind them.
        self._between = between and len(self._heads) == 1 and not (self.within or self.unread or self.refusal)
        if self._between and len(rest) <= REMEMBERED_BYTES and rest.find(_END) == len(rest) - len(_END):
            received = self._heads[0]
            # A request for a certificate has another signature each time, and perhaps a claim code.
            changes = received.proof != proof or received.head.path.endswith(CERTIFICATE_FILE)
            if not changes and len(received.head.headers) <= REMEMBERED_HEADERS:
                _remember(_key(rest), received.head)
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
            self._headers.append((name, value) if len(value) > SHARED_BYTES else _shared(name, value))

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


def without_proof(data: bytes) -> tuple[bytes, Proof | None]:
    """Return a head in bytes without its line with a proof, as the library writes it, and that proof.

    Of anything else, the same bytes and None. What is left says what it would with the line in it: the line is not the
    first one, and does not stand behind the head's end. That a line goes on in the next one llhttp takes for no HTTP.
    """
    start = data.rfind(_PROOF_START)
    if start <= 0 or data[start - 1] == _NEWLINE:
        return data, None
    found = find_proof(data, start + len(_PROOF_START))
    return (data, None) if found is None else (data[:start] + data[found[1] :], found[0])


_remembered: OrderedDict[bytes, Head] = OrderedDict()
"""The `_key` of bytes that were exactly one head, and what they say; of one event loop."""


def _key(data: bytes) -> bytes:
    return blake2b(data, digest_size=16).digest()


@lru_cache(MAX_SHARED)
def _shared(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    return name, value


def _remember(key: bytes, head: Head) -> None:
    _remembered[key] = head
    if len(_remembered) > MAX_REMEMBERED:
        _remembered.popitem(last=False)
