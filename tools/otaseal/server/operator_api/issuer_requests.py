"""One request to an issuer: a JSON object over HTTPS, from a server that may be slow or hostile.

It is bounded in bytes, from the first of the head, and by who awaits it in time: from the look-up of the name to the
last byte all is asyncio's, so that a server which sends a byte now and then is given up like one that sends none.
"""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from typing import Any
from urllib.parse import SplitResult

from ... import addresses
from ...errors import SystemFaultError

MAX_ANSWER = 256 * 1024
"""Bytes of an answer, its head with it."""
HTTPS_PORT = 443
_URL = re.compile(r"https://[!-~]+")


async def get_json(url: str, context: ssl.SSLContext) -> dict[str, Any]:
    """Return the JSON object at an address; redirects are not followed, other schemes not spoken.

    Raises SystemFaultError with the reason.
    """
    parts = _split(url)
    try:
        answer = await _get(parts, context)
    except OSError as error:
        raise fault(str(error) or type(error).__name__) from error
    if answer.status != 200:
        raise fault(f"'{url[:200]}' answers {answer.status}")
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise fault(f"'{url[:200]}' answers no JSON: {error}") from error
    if not isinstance(value, dict):
        raise fault(f"'{url[:200]}' answers no JSON object")
    return value


def fault(reason: str) -> SystemFaultError:
    """Return the error that an issuer's keys cannot be read."""
    return SystemFaultError(reason, "see that the issuer is right, and reached from the server: otaseal trust list")


def _split(url: str) -> SplitResult:
    """Return the parts of an address that can be asked; raises SystemFaultError."""
    parts = addresses.split_url(url)
    if _URL.fullmatch(url) and parts.hostname and parts.port != 0:
        return parts
    raise fault(f"'{url[:200]}' is no address with https")


async def _get(parts: SplitResult, context: ssl.SSLContext) -> _Answer:
    """Return what a server answers; raises OSError, SystemFaultError."""
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    host = parts.netloc.rpartition("@")[2]
    head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\nAccept: application/json\r\nConnection: close\r\n\r\n"
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or HTTPS_PORT, ssl=context)
    answer = _Answer()
    try:
        writer.write(head.encode())
        while not answer.is_over and (data := await reader.read(MAX_ANSWER)):
            answer.feed(data)
    finally:
        writer.transport.abort()
    return answer


class _Answer:
    """An answer that comes in pieces: its `status`, 0 before there is one, and its `body` as far as it came."""

    def __init__(self) -> None:
        import httptools

        self._parser: Any = httptools.HttpResponseParser(self)
        self._left = MAX_ANSWER
        self.status, self.body, self.is_over = 0, b"", False

    def feed(self, data: bytes) -> None:
        """Take what a server has sent; raises SystemFaultError."""
        import httptools

        self._left -= len(data)
        if self._left < 0:
            raise fault(f"it answers with more than {MAX_ANSWER} bytes")
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise fault("it answers no HTTP") from error

    def on_headers_complete(self) -> None:
        """Note what is answered (called by httptools)."""
        self.status = self._parser.get_status_code()

    def on_body(self, data: bytes) -> None:
        """Take a part of the body (called by httptools)."""
        self.body += data

    def on_message_complete(self) -> None:
        """Note that nothing more belongs to it (called by httptools)."""
        self.is_over = True
