"""The heads of HTTP/1 requests in bytes that come in any pieces; bodies are seen, and dropped.

The grammar is llhttp's (through httptools); added are how long a head may be, that HTTP/1.1 names one host (RFC 9112,
3.2), and how many requests may wait.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ..limits import MAX_HEAD_BYTES

TOO_LONG = f"a request head of more than {MAX_HEAD_BYTES} bytes"
MAX_WAITING = 16
"""Requests that a client may send ahead; it gets the answers to these, and then the connection ends."""
MAX_REMEMBERED, REMEMBERED_BYTES = 1024, 1024
"""Heads that are remembered, and how long one may be: a device says the same thing, byte for byte, all day."""


@dataclass(frozen=True, eq=False)
class Head:
    """A request's head, of `size` bytes: the path decoded, header names in lower case, in order.

    `has_body`: bytes follow that are no request. `keeps`: the client keeps the connection open. A head that is
    remembered is one object, and can be a key.
    """

    method: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    version: str
    keeps: bool
    has_body: bool
    size: int = 0


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
        "_url",
        "_waiting",
        "refusal",
        "stopped",
        "unread",
        "within",
    )

    def __init__(self) -> None:
        self._parser: Any = None  # made when it is needed: most heads are remembered
        self._waiting: deque[Head] = deque()
        self._heads: list[Head] = []
        self._headers: list[tuple[bytes, bytes]] = []
        self._url = b""
        self._fed = 0
        self._between = True
        self.within = self.stopped = self.unread = False
        self.refusal: str | None = None

    def close(self) -> None:
        """Release the parser."""
        self._parser = None

    def feed(self, data: bytes) -> list[Head]:
        """Return the heads that `data` completes."""
        if self.stopped:
            return []
        between, self._between = self._between, False
        if between and (known := _remembered.get(data)) is not None:
            _remembered.move_to_end(data)
            self._between, self._fed, self.stopped = True, len(data), not known.keeps
            return [known]
        return self._parse(data, between)

    def add(self, data: bytes) -> bool:
        """Parse `data`, and return whether a head begins in it that is not complete."""
        within = self.within
        self._waiting.extend(self.feed(data))
        return self.within and not within

    def take(self) -> Head | None:
        """Return the next head: NO_HEAD once for the `refusal` after all others, None when there is none yet."""
        if self._waiting:
            return self._waiting.popleft()
        return None if self.refusal is None else NO_HEAD

    def expects_more(self) -> bool:
        """Return whether another request is to be answered, or may come."""
        return bool(self._waiting or self.refusal or not self.stopped)

    def clear(self) -> None:
        """Drop the requests that wait."""
        self._waiting.clear()

    def _parse(self, data: bytes, between: bool) -> list[Head]:
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
        self._between = between and len(self._heads) == 1 and not (self.within or self.unread or self.refusal)
        if self._between and len(data) <= REMEMBERED_BYTES:
            _remember(data, self._heads[0])
        return self._heads

    def on_message_begin(self) -> None:
        """Start a head (called by httptools)."""
        self._url, self._headers, self.within = b"", [], True

    def on_url(self, url: bytes) -> None:
        """Add a part of the URL (called by httptools)."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header (called by httptools)."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """End a head (called by httptools)."""
        self.within = False
        if self.stopped or len(self._heads) >= MAX_WAITING:
            self.stopped = self.unread = True
            return
        try:
            head = self._head()
        except ValueError as error:
            self.refusal = str(error)
            raise  # through the parser, which stops
        self._heads.append(head)
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
        if version not in ("1.0", "1.1"):
            raise ValueError(f"HTTP {version}")
        if hosts > 1 or (version == "1.1" and not hosts):
            raise ValueError(f"{hosts} Host headers")
        try:
            path = unquote(httptools.parse_url(self._url).path.decode("ascii"))
        except (httptools.HttpParserError, UnicodeDecodeError, AttributeError) as error:
            raise ValueError("a URL that cannot be read") from error
        keeps = self._parser.should_keep_alive() and not body
        return Head(
            self._parser.get_method().decode("ascii"), path, tuple(self._headers), version, keeps, body, self._fed
        )

    def _refuse(self, refusal: str) -> None:
        self.stopped, self.unread, self.refusal, self.within = True, True, refusal, False


_remembered: OrderedDict[bytes, Head] = OrderedDict()
"""Bytes that were exactly one head, and what they say; of one event loop."""


def _remember(data: bytes, head: Head) -> None:
    _remembered[data] = head
    if len(_remembered) > MAX_REMEMBERED:
        _remembered.popitem(last=False)
