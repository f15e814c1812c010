"""One connection of an operator: limits that uvicorn's HTTP lacks, between TLS and uvicorn's own protocol.

They are for a request's head, in bytes and seconds, and for a client that stops reading. A client's certificate is
checked after every handshake, so that a resumed session is no way around a revocation, and again by who answers a
request, so that a connection that is kept open is none. uvicorn's protocol is used as
one of asyncio's, and by nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

from ...errors import OtasealError
from ..changes import Listener
from ..limits import HEAD_SECONDS, IDLE_SECONDS, MAX_HEAD_BYTES, STALL_SECONDS
from ..tls import ClientCertificate, Inspect

if TYPE_CHECKING:
    from uvicorn import Config
    from uvicorn.server import ServerState

SHUTDOWN_SECONDS = 30.0
"""How long a client has to answer the end of TLS."""
WRITE_BUFFER = 32 * 1024
"""Bytes of an answer that wait for a slow reader; more would be memory, and lost when a connection is closed."""
_TOO_LARGE = b"Request head is too large."
_REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"


class OperatorConnection(asyncio.Protocol):
    """The protocol of one connection whose handshake is over; `ended` is called once, at its end."""

    def __init__(self, config: Config, server_state: ServerState, inspect: Inspect, ended: Callable[[], None]) -> None:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

        self._inspect, self._ended = inspect, ended
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._listener: Listener | None = None
        self._state: dict[str, Any] = {
            "answered": self._answered,
            "hand_on": self._hand_on,
            "certificate": self._certificate,
        }
        self._http: asyncio.Protocol | None = HttpToolsProtocol(config, server_state, self._state)
        self._heads = RequestHeads()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._begun = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look at the client's certificate, and begin."""
        assert self._http is not None
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER)
        try:
            self._certificate()
        except OtasealError:
            self._transport.abort()
            return
        self._begun = True
        self._http.connection_made(transport)
        self._begin("headers", HEAD_SECONDS, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything at once: the buffers of a TLS connection are 256 KiB."""
        for name in tuple(self._timers):
            self._cancel(name)
        self._ended()
        http, self._http = self._http, None
        if http is not None and self._begun:
            http.connection_lost(exc)
        self._heads.close()
        self._state.clear()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.leave()

    def data_received(self, data: bytes) -> None:
        """Hand on what belongs to a request whose head is within the bounds."""
        if self._http is None or self._transport.is_closing() or not self._heads.wants(data):
            return
        begun = self._heads.begun
        self._heads.feed(data)
        if self._heads.too_large:
            self._transport.write(_REFUSAL % (len(_TOO_LARGE), _TOO_LARGE))
            self._transport.close()
            return
        if not self._heads.awaited:
            self._cancel("headers")
        elif self._heads.begun != begun:
            self._begin("headers", HEAD_SECONDS, self._transport.abort)
        self._http.data_received(data)

    def pause_writing(self) -> None:
        """Wait for the reader, for a bounded time."""
        if self._listener is not None:
            self._listener.pause()
        if self._http is not None:
            self._http.pause_writing()
        if self._http is not None or self._listener is not None:
            self._begin("stall", STALL_SECONDS, self._transport.abort)

    def resume_writing(self) -> None:
        """Go on with the answer."""
        self._cancel("stall")
        if self._listener is not None:
            self._listener.resume()
        if self._http is not None:
            self._http.resume_writing()

    def _hand_on(self, listener: Listener, head: bytes) -> None:
        """Answer a request with `head`, and let the rest of the connection be a listener's."""
        http, self._http = self._http, None
        if http is None:
            return
        http.connection_lost(ConnectionAbortedError())  # for uvicorn it is over
        self._heads.close()
        self._listener = listener
        self._transport.resume_reading()  # else the client's end would not be seen
        self._transport.write(head)
        listener.begin(self)

    def _certificate(self) -> ClientCertificate | None:
        """Return the client's certificate, as it is found now; raises OtasealError where it is not good any more."""
        return self._inspect(self._transport.get_extra_info("ssl_object"))

    def write(self, data: bytes) -> None:
        """Send what a listener is told."""
        self._transport.write(data)

    def close(self) -> None:
        """End a listener's connection."""
        self._transport.close()
        self._begin("end", SHUTDOWN_SECONDS, self._end)

    def _answered(self) -> None:
        """See to the end of a connection that closes with this answer, or soon because nothing more is asked."""
        if self._http is not None:
            if self._transport.is_closing():
                self._transport.resume_reading()  # uvicorn pauses in a body, and the client's end would not be seen
            self._begin("end", IDLE_SECONDS + SHUTDOWN_SECONDS, self._end)

    def _end(self) -> None:
        if self._transport.is_closing():  # older Pythons wait for the client's answer for ever
            self._transport.abort()

    def _begin(self, name: str, seconds: float, end: Callable[[], None]) -> None:
        self._cancel(name)
        self._timers[name] = self._loop.call_later(seconds, end)

    def _cancel(self, name: str) -> None:
        if (timer := self._timers.pop(name, None)) is not None:
            timer.cancel()


class RequestHeads:
    """Finds the heads of requests in what a client sends, and whether one is too large; `begun` counts them.

    `awaited`: a head has begun, or the first one has not. `close` it at the end: it and its parser refer to each other.
    """

    def __init__(self) -> None:
        import httptools

        self._parser: Any = httptools.HttpRequestParser(self)
        self.begun = self._received = self._parsed = 0
        self.awaited, self.too_large = True, False
        self._between = self._over = False

    def close(self) -> None:
        """Let go of the parser."""
        self._parser = None

    def wants(self, data: bytes) -> bool:
        """Tell whether `data` belongs to a request: not empty lines between two, nor what follows the last one."""
        return not self._over and not (self._between and not data.strip(b"\r\n"))

    def feed(self, data: bytes) -> None:
        """Take what a client has sent."""
        import httptools

        awaited = self.awaited
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._over = True  # uvicorn finds the same, and answers
        if awaited and self.awaited:
            self._received += len(data)
        self.too_large = self.too_large or max(self._received, self._parsed) > MAX_HEAD_BYTES

    def on_message_begin(self) -> None:
        """Note that a head begins (called by httptools)."""
        self.begun += 1
        self.awaited, self._between = True, False
        self._received = self._parsed = 0

    def on_url(self, url: bytes) -> None:
        """Count a part of the URL (called by httptools)."""
        self._parsed += len(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header (called by httptools)."""
        self._parsed += len(name) + len(value)

    def on_headers_complete(self) -> None:
        """Note that a head is over (called by httptools)."""
        self.awaited = False
        self.too_large = self.too_large or self._parsed > MAX_HEAD_BYTES

    def on_message_complete(self) -> None:
        """Note that a request is over (called by httptools)."""
        self._between = True
