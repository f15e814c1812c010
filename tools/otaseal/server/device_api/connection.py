"""One device's connection: requests one after the other over TLS, with a timeout for each step.

`tls_transport` is the TLS, `request_parser` the grammar, `DeviceApp` decides, `responses` sends. A client's certificate
is checked after every handshake, so that a resumed session is no way around a revocation.
"""

from __future__ import annotations

import asyncio
import enum
import ssl
import time
from collections.abc import Callable
from typing import cast

from ...errors import InputError, OtasealError
from .. import limits
from ..tls import ClientCertificate
from . import proxy_protocol
from .answers import Answer, DeviceRequest, LaterError, plain
from .heads import NO_HEAD
from .listener import ListenerContext
from .request_parser import RequestParser
from .responses import ACKNOWLEDGEMENT_SECONDS, Delivery, start_response
from .tls_transport import KERNEL_BUFFER, TlsTransport

Phase = enum.Enum("Phase", ("FORWARDED", "HANDSHAKE", "REQUEST", "LOADING", "ANSWER", "CLOSING"))
# Asked for so often that the way through the class shows
FORWARDED, HANDSHAKE, REQUEST, LOADING, ANSWER, CLOSING = Phase


class DeviceConnection(asyncio.Protocol):
    """The protocol of one accepted, plain TCP connection."""

    __slots__ = (
        "_answered",
        "_certificate",
        "_deadline",
        "_delivery",
        "_discarded",
        "_header",
        "_listener",
        "_phase",
        "_requests",
        "_tls",
    )

    def __init__(self, listener: ListenerContext) -> None:
        self._listener = listener
        self._tls: TlsTransport | None = None
        self._requests = RequestParser()
        self._certificate: ClientCertificate | None = None
        self._delivery: Delivery | None = None
        self._phase = HANDSHAKE
        self._discarded, self._deadline = 0, 0.0
        self._header = b""
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the handshake, unless there are too many connections."""
        self._tls = tls = TlsTransport(cast(asyncio.Transport, transport))
        if self._admit(tls):
            self._wait(limits.HANDSHAKE_SECONDS)
            if proxy_protocol.is_forwarder(tls.address, self._listener.forwarders):
                self._phase = FORWARDED

    def connection_lost(self, exc: Exception | None) -> None:
        """Release everything, and record what became of the answer."""
        self._listener.connections.forget(self)
        tls, self._tls = self._tls, None
        self._end_delivery(arrived=False)
        if tls is not None and tls.room != KERNEL_BUFFER:
            self._listener.connections.give_back()
        self._requests.close()

    def data_received(self, data: bytes) -> None:
        """Decrypt and go on; bound what is sent ahead and what is not wanted."""
        tls = self._tls
        if tls is None:
            return
        if not tls.begun:
            if tls.transport.is_closing():
                return
            if self._phase is FORWARDED:
                data = self._read_header(tls, data)
                if not data:
                    return
            tls.begin(self._listener.tls)
        if self._phase is CLOSING:
            self._discarded += len(data)
            if self._discarded > limits.LINGER_BYTES:
                tls.transport.abort()
            return
        tls.receive(data)
        self._go_on()
        if self._phase in (ANSWER, LOADING) and tls.held > limits.MAX_AHEAD:
            tls.transport.abort()

    def eof_received(self) -> None:
        """Note that the client has left, with its delivery or without; the transport closes itself."""
        delivery, tls = self._delivery, self._tls
        if delivery is not None and delivery.waits_until and tls is not None and not tls.unacknowledged():
            self._end_delivery(arrived=True)

    def pause_writing(self) -> None:
        """Hand on no more until the kernel has taken what was handed on."""
        if self._tls is not None:
            self._tls.paused = True

    def resume_writing(self) -> None:
        """Go on with the answer."""
        if self._tls is not None:
            self._tls.paused = False
        if self._phase is ANSWER:
            self._go_on()

    def abort(self) -> None:
        """End at once."""
        if self._tls is not None:
            self._tls.transport.abort()

    def finish(self) -> None:
        """Take nothing more on, and end when the answer on its way has arrived; who has none yet may still ask."""
        if self._delivery is not None:
            self._delivery.keeps = False
        elif self._phase is REQUEST and self._answered and self._tls is not None:
            self._close(self._tls)
            self._leave(self._tls)
        elif self._phase in (FORWARDED, HANDSHAKE, REQUEST):
            self._deadline = min(self._deadline, time.monotonic() + limits.LAST_SECONDS)

    def sweep(self, now: float) -> None:
        """End if something has taken too long by the monotonic clock."""
        tls = self._tls
        if now < self._deadline or tls is None:
            return
        if self._phase in (ANSWER, CLOSING) and tls.progressed(limits.STALL_BYTES):
            self._wait(limits.STALL_SECONDS)
        elif self._phase is REQUEST and not self._requests.within:
            self._close(tls)  # idle
            self._leave(tls)
        else:
            tls.transport.abort()

    def _admit(self, tls: TlsTransport) -> bool:
        """Count the connection for its client, and return whether there is room; end it where there is none."""
        if self._listener.connections.admit(self, tls.address or ""):
            return True
        self._listener.app.telemetry.count("otaseal_refused_connections_total")
        tls.transport.abort()
        return False

    def _read_header(self, tls: TlsTransport, data: bytes) -> bytes:
        """Read who the client is, and return what follows the header; end the connection where it cannot be one."""
        self._header += data
        try:
            header = proxy_protocol.parse_header(self._header)
        except InputError as error:
            self._listener.app.telemetry.alarm("forwarder", address=tls.address, message=error.message)
            tls.transport.abort()
            return b""
        if header is None:
            return b""
        self._phase, rest, self._header = HANDSHAKE, self._header[header.size :], b""
        if header.client is not None:
            self._listener.connections.forget(self)
            tls.address = header.client
            if not self._admit(tls):
                return b""
        return rest

    def _go_on(self, first: Callable[[TlsTransport], None] | None = None) -> None:
        """Do all that can be done without waiting for the network, `first` at first, and send what came of it."""
        tls = self._tls
        if tls is None or tls.transport.is_closing():
            return
        try:
            if first is not None:
                first(tls)
            self._advance(tls)
        except ssl.SSLError:
            tls.flush()  # the alert
            tls.transport.abort()
        except OtasealError:
            tls.transport.abort()
        else:
            if self._phase is CLOSING:
                self._leave(tls)
            else:
                tls.flush()

    def _advance(self, tls: TlsTransport) -> None:
        if self._phase is HANDSHAKE:
            connection = tls.handshake()
            if connection is None:
                return
            self._certificate = self._listener.inspect(connection)
            self._phase = REQUEST
            self._wait(limits.HEAD_SECONDS)
        if self._phase is ANSWER:
            self._send(tls)
        while self._phase is REQUEST:
            received = self._requests.take()
            if received is not None:
                head, proof, mac = received
                self._answer(tls, DeviceRequest(head, self._certificate, tls.address, proof, mac))
            elif data := tls.read():
                if self._requests.add(data):
                    self._wait(limits.HEAD_SECONDS)
            else:
                if data is not None:
                    self._close(tls)
                return

    def _answer(self, tls: TlsTransport, request: DeviceRequest) -> None:
        if request.head is NO_HEAD:
            self._respond(tls, request, plain(400, "request", self._requests.refusal or ""))
            return
        try:
            answer = self._listener.app.answer(request)
        except LaterError as later:
            self._answer_later(later.request or request, later)
            return
        self._respond(tls, request, answer)

    def _answer_later(self, request: DeviceRequest, later: LaterError) -> None:
        """Answer when a thread has done its work: the event loop does not wait for a disk."""
        self._phase = LOADING
        self._wait(limits.STALL_SECONDS)
        loading = asyncio.get_running_loop().run_in_executor(later.executor, later.work)
        loading.add_done_callback(lambda done: self._loaded(request, done.result()))

    def _loaded(self, request: DeviceRequest, answer: Answer | None) -> None:
        if self._phase is LOADING:
            self._phase = REQUEST
            self._go_on(
                lambda tls: self._answer(tls, request) if answer is None else self._respond(tls, request, answer)
            )

    def _respond(self, tls: TlsTransport, request: DeviceRequest, answer: Answer) -> None:
        head = request.head
        keeps = head.keeps and self._requests.expects_more() and not self._listener.connections.finishing
        self._answered = True
        self._delivery = start_response(self._listener, tls, request, answer, keeps=keeps)
        if self._delivery is None:
            self._go_on_or_close(keeps=keeps)
            return
        self._phase = ANSWER
        self._wait(limits.STALL_SECONDS)
        self._send(tls)

    def _send(self, tls: TlsTransport) -> None:
        """Go on with the delivery, and end it when all of it is where it should be."""
        delivery = self._delivery
        assert delivery is not None
        arrived = delivery.send(tls)
        if arrived is not None:
            self._end_delivery(arrived=arrived)
        elif delivery.waits_until and delivery.timer is None:
            self._deadline = delivery.waits_until + ACKNOWLEDGEMENT_SECONDS
            delivery.timer = asyncio.get_running_loop().call_later(delivery.pause(), self._check_again)

    def _check_again(self) -> None:
        if self._delivery is not None:
            self._delivery.timer = None
            self._go_on()

    def _end_delivery(self, *, arrived: bool) -> None:
        delivery, self._delivery = self._delivery, None
        if delivery is not None:
            delivery.finish(self._listener.app, arrived=arrived)
            self._go_on_or_close(keeps=delivery.keeps, ended=delivery.ended)

    def _go_on_or_close(self, *, keeps: bool, ended: bool = False) -> None:
        if self._tls is None:
            return
        if keeps:
            self._phase = REQUEST
            self._wait(limits.IDLE_SECONDS)
        else:
            self._close(self._tls, ended=ended)

    def _close(self, tls: TlsTransport, *, ended: bool = False) -> None:
        """End the TLS session, unless that was `ended`; `_leave` ends the connection itself."""
        self._phase = CLOSING
        if not ended:
            tls.close_notify()
        self._requests.clear()

    def _leave(self, tls: TlsTransport) -> None:
        """Send what is left, and close; what a client goes on sending is dropped for a while first."""
        tls.flush()
        if self._requests.unread:
            self._wait(limits.LINGER_SECONDS)
            tls.transport.write_eof()
        else:
            self._wait(limits.STALL_SECONDS)
            tls.transport.close()

    def _wait(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds
