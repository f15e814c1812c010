"""The heads of HTTP/1 requests in bytes that come in any pieces; bodies are seen, and dropped.

The grammar is llhttp's (through httptools); added are how long a head may be, that HTTP/1.1 names one host (RFC 9112,
3.2), and how many requests may wait. What the devices of a fleet say differs in the proof of a name and in a few lines
about the chip: these stand beside the head, which is remembered once for the whole fleet.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import unquote

from ...errors import InputError
from ...protocol.proof import PROOF_HEADER, Proof, find_proof, parse_proof
from ...protocol.request import CERTIFICATE_FILE
from ..limits import MAX_HEAD_BYTES

TOO_LONG = f"a request head of more than {MAX_HEAD_BYTES} bytes"
MAX_WAITING = 16
"""Requests that a client may send ahead; it gets the answers to these, and then the connection ends."""
REMEMBERED_BYTES, MAX_REMEMBERED_BYTES = 1024, 32 * 1024 * 1024
"""How long a head may be that is remembered, and what all of them may take: those of a fleet take a few KB, and of
devices with something else of their own in the head, 6,000 have room."""
_HEAD_COST, _HEADER_COST = 2048, 128
"""Bytes that a remembered head takes at most with the `memo` of it, and each header of it, beside twice its text."""
_PROOF = PROOF_HEADER.lower().encode()
_PROOF_START = f"\r\n{PROOF_HEADER}: ".encode()
_END = b"\r\n\r\n"
_NEWLINE = 10
_CHIPS = (
    ("ESP8266", "Chip-ID", "STA-MAC", "AP-MAC"),
    ("ESP32", "STA-MAC", "AP-MAC"),
    ("ESP32", "BASE-MAC", "STA-MAC", "AP-MAC"),
    ("Pico", "Chip-ID", "STA-MAC", "AP-MAC"),
)
"""The headers that are one chip's alone, as the cores write them, one behind the other (F28, F48, F57)."""
_MAC = ":".join(["[0-9A-Fa-f]{2}"] * 6)
_VALUES = {"Chip-ID": "[0-9A-F]{1,16}", "STA-MAC": f"({_MAC})", "AP-MAC": _MAC, "BASE-MAC": _MAC}
_CHIP = re.compile(
    "|".join(
        "".join(rf"\r\nx-{chip}-{name}: {_VALUES[name]}" for name in names) + r"(?=\r\n)" for chip, *names in _CHIPS
    ).encode()
)
_EMPTY = [b"".join(f"\r\nx-{chip}-{name}: ".encode() for name in names) for chip, *names in _CHIPS]


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
    """A request: its head without the header of the proof, and what that says, None where there is none.

    `mac` is the station's MAC address where it was cut out of the head with what else is one chip's alone: those
    headers are empty there.
    """

    head: Head
    proof: Proof | None = None
    mac: str | None = None


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


def without_chip(data: bytes) -> tuple[bytes, str | None]:
    """Return a head in bytes with nothing behind the names of the lines that one chip alone says, and its MAC address.

    Of anything but these lines as a core writes them, the same bytes and None. What is left is a head with the same
    names of headers; where it can be read, each value that was cut out was read as a header's, and well formed.
    """
    match = _CHIP.search(data)
    if match is None or match.lastindex is None:
        return data, None
    start, end = match.span()
    return data[:start] + _EMPTY[match.lastindex - 1] + data[end:], match[match.lastindex].decode().upper()


def _read_alone(text: bytes) -> Head:
    parser = RequestParser()
    ((head, *_),) = parser._parse(text)
    parser.close()
    return head


class _Remembered:
    """Bytes that were exactly one head, and what they say, those that came last; of one event loop."""

    def __init__(self) -> None:
        self._heads: OrderedDict[bytes, Head] = OrderedDict()
        self.size = 0

    def __len__(self) -> int:
        return len(self._heads)

    def get(self, text: bytes) -> Head | None:
        head = self._heads.get(text)
        if head is not None:
            self._heads.move_to_end(text)
        return head

    def put(self, text: bytes, head: Head) -> None:
        self._heads[text] = head
        self.size += _cost(text, head)
        while self.size > MAX_REMEMBERED_BYTES:
            self.size -= _cost(*self._heads.popitem(last=False))

    def clear(self) -> None:
        self._heads.clear()
        self.size = 0


def _cost(text: bytes, head: Head) -> int:
    return _HEAD_COST + 2 * len(text) + _HEADER_COST * len(head.headers)


_remembered = _Remembered()
