"""One device's connection: TLS in memory, requests one after the other, and a bound on all that can be done slowly.

asyncio brings plain TCP; `records` is the TLS, `http_requests` the grammar, `DeviceApp` the answers. An answer has its
Content-Length and is never chunked (F29). It goes out as fast as the kernel takes it, with a record or a few of them in
memory: thousands of slow readers must not cost what they read. A client's certificate is looked at when its connection
stands, so that a resumed session is no way around a revocation.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import cast

from ...errors import OtasealError
from ..limits import HANDSHAKE_SECONDS, HEAD_SECONDS, IDLE_SECONDS, STALL_SECONDS
from ..sockets import KERNEL_BUFFER, unacknowledged
from ..tls import ClientCertificate, Inspect
from .app import Answer, DeviceApp, DeviceRequest, plain
from .listener import Connections
from .request_parser import Head, RequestParser
from .tls_buffer import RECORD, Records

__all__ = ["DeviceConnection", "make_device_protocol"]

STALL_BYTES = 16 * 1024
"""A reader has to take that many bytes in STALL_SECONDS."""
LINGER_SECONDS, LINGER_BYTES = 2.0, 1024 * 1024
"""How long, and how much, is still read after a refusal: a close before would take the answer with it."""
MAX_AHEAD = 64 * 1024
"""Encrypted bytes that a client may send while it is answered."""
WHOLE = 4 * KERNEL_BUFFER
"""Bytes that go to the kernel at once where there are few deliveries: a firmware, or most of it, in one call."""
NO_HEAD = Head("other", "", (), "1.1", keeps=False, has_body=False)
"""Of a request that cannot be read."""
FIRST_LOOK, LAST_LOOK, PATIENCE = 0.02, 0.2, 60.0  # seconds, for the acknowledgement of a delivery


class Phase(enum.Enum):
    """What a connection is at."""

    HANDSHAKE = enum.auto()
    REQUEST = enum.auto()
    ANSWER = enum.auto()
    CLOSING = enum.auto()


HANDSHAKE, REQUEST, ANSWER, CLOSING = Phase  # asked for so often that the way through the class shows


Elsewhere = Callable[[bytes, asyncio.Transport], bool]
"""Takes what a connection says first; True when it is another process's from now on."""


@dataclass(frozen=True)
class Surroundings:
    """What the connections of a listener have in common."""

    app: DeviceApp
    context: ssl.SSLContext
    inspect: Inspect
    connections: Connections
    leads_elsewhere: Elsewhere | None = None


@dataclass
class Sending:
    """An answer that takes a while, `position` bytes of its body handed on; without `keeps` it is the last one."""

    asked: DeviceRequest
    answer: Answer
    body: memoryview
    keeps: bool
    position: int = 0
    looks: float = FIRST_LOOK
    ended: bool = False
    """Whether the client was told that nothing comes after it."""
    waits_until: float = 0.0
    """When to give up on the acknowledgement; 0 until all was handed on."""


def make_device_protocol(
    app: DeviceApp,
    context: ssl.SSLContext,
    inspect: Inspect,
    connections: Connections,
    leads_elsewhere: Elsewhere | None = None,
) -> Callable[..., asyncio.Protocol]:
    """Return what makes the protocol of one accepted, plain TCP connection; `inspect` is called once for each.

    With what a connection has said before it came here the protocol begins with that; others ask `leads_elsewhere`.
    """
    surroundings = Surroundings(app, context, inspect, connections, leads_elsewhere)
    return lambda hello=b"": DeviceConnection(surroundings, hello)


class DeviceConnection(asyncio.Protocol):
    """See the module."""

    __slots__ = (
        "_certificate",
        "_connection",
        "_deadline",
        "_discarded",
        "_handed",
        "_hello",
        "_look",
        "_most",
        "_parser",
        "_paused",
        "_phase",
        "_records",
        "_sending",
        "_surroundings",
        "_taken",
        "_transport",
        "_waiting",
    )

    def __init__(self, surroundings: Surroundings, hello: bytes = b"") -> None:
        self._surroundings = surroundings
        self._hello = hello
        self._transport: asyncio.Transport | None = None
        self._records: Records | None = None
        self._parser: RequestParser | None = None
        self._certificate: ClientCertificate | None = None
        self._waiting: deque[Head] = deque()
        self._sending: Sending | None = None
        self._look: asyncio.TimerHandle | None = None
        self._phase = HANDSHAKE
        self._paused = False
        self._handed = self._taken = self._discarded = 0
        self._deadline = 0.0
        self._most = KERNEL_BUFFER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin, if there is room for one more."""
        self._transport = cast(asyncio.Transport, transport)
        if not self._surroundings.connections.admit(self, self._address() or ""):
            self._surroundings.app.telemetry.count("otaseal_refused_connections_total")
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=0)
        self._wait(HANDSHAKE_SECONDS)
        if self._hello:
            self.data_received(self._hello)
            self._hello = b""

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything, and write down what became of the answer."""
        self._surroundings.connections.forget(self)
        self._transport = self._records = None
        self._end_answer(arrived=False)
        self._give_back()
        if self._parser is not None:
            self._parser.close()
            self._parser = None

    def data_received(self, data: bytes) -> None:
        """Decrypt and go on; bound what is sent ahead and what is not wanted."""
        records = self._records
        if records is None:
            records = self._begin_handshake(data)
            if records is None:
                return
        if self._phase is CLOSING:
            self._discarded += len(data)
            if self._discarded > LINGER_BYTES:
                self.abort()
            return
        records.receive(data)
        self._go_on()
        if self._phase is ANSWER and records.held > MAX_AHEAD:
            self.abort()

    def _begin_handshake(self, data: bytes) -> Records | None:
        """Return the server's end of TLS, None where the connection is not, or no longer, to be served here."""
        transport, leads_elsewhere = self._transport, self._surroundings.leads_elsewhere
        if transport is None or transport.is_closing():
            return None
        if leads_elsewhere is not None and not self._hello and leads_elsewhere(data, transport):
            transport.abort()  # closes what is this process's of it
            return None
        self._records = Records(self._surroundings.context)
        return self._records

    def eof_received(self) -> None:
        """Note that the client has left, with its delivery or without; the transport closes itself."""
        sending = self._sending
        if sending is not None and sending.waits_until and not self._unacknowledged():
            self._end_answer(arrived=True)

    def pause_writing(self) -> None:
        """Hand on no more until the kernel has taken what was handed on."""
        self._paused = True

    def resume_writing(self) -> None:
        """Go on with the answer."""
        self._paused = False
        if self._phase is ANSWER:
            self._go_on()

    def abort(self) -> None:
        """End at once."""
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Take nothing more on, and end when the answer on its way has arrived."""
        if self._sending is not None:
            self._sending.keeps = False
        elif self._phase is REQUEST:
            self._close()
            self._leave()
        elif self._phase is HANDSHAKE:
            self.abort()

    def sweep(self, now: float) -> None:
        """End if something has taken too long by the monotonic clock."""
        if now < self._deadline or self._transport is None:
            return
        taken = self._handed - self._unacknowledged()
        if self._phase in (ANSWER, CLOSING) and taken - self._taken >= STALL_BYTES:
            self._taken = taken
            self._wait(STALL_SECONDS)
        elif self._phase is REQUEST and self._parser is not None and not self._parser.within:
            self._close()  # at rest, and told so
            self._leave()
        else:
            self._transport.abort()

    def _go_on(self) -> None:
        """Do all that can be done without waiting for the network, and send what came of it."""
        if self._transport is None or self._transport.is_closing():
            return
        try:
            self._advance()
        except ssl.SSLError:
            self._flush()  # the alert
            self.abort()
        except OtasealError:
            self.abort()
        else:
            if self._phase is CLOSING:
                self._leave()
            else:
                self._flush()

    def _advance(self) -> None:
        records = self._records
        assert records is not None
        if self._phase is HANDSHAKE:
            if not records.handshake():
                return
            self._certificate = self._surroundings.inspect(records.tls)
            self._parser = RequestParser()
            self._phase = REQUEST
            self._wait(HEAD_SECONDS)
        if self._phase is ANSWER:
            self._send()
        while self._phase is REQUEST:
            if self._waiting:
                self._answer(self._waiting.popleft())
            elif not self._read(records):
                return

    def _read(self, records: Records) -> bool:
        """Read on, and return whether there was anything to be done with it."""
        parser = self._parser
        assert parser is not None
        if parser.refusal is not None:
            answer = plain(400, "request", parser.refusal)
            self._begin(DeviceRequest(NO_HEAD, self._certificate, self._address()), answer)
            return True
        data = records.read()
        if data == b"":
            self._close()
        if not data:
            return False
        within = parser.within
        self._waiting.extend(parser.feed(data))
        if parser.within and not within:
            self._wait(HEAD_SECONDS)
        return True

    def _answer(self, head: Head) -> None:
        asked = DeviceRequest(head, self._certificate, self._address())
        self._begin(asked, self._surroundings.app.answer(asked))

    def _begin(self, asked: DeviceRequest, answer: Answer) -> None:
        """Send what fits into one record, which is all of it but for firmware."""
        parser, records = self._parser, self._records
        assert parser is not None
        assert records is not None
        keeps = asked.head.keeps and bool(self._waiting or parser.refusal or not parser.stopped)
        body = b"" if asked.head.method == "HEAD" else answer.body
        head = _response_head(answer, asked.head.version, keeps=keeps)
        room = max(RECORD - len(head), 0)
        records.write(head + body[:room])
        if len(body) <= room and not answer.counts:
            self._surroundings.app.account(asked, answer, len(body), True)
            self._go_on_or_close(keeps=keeps)
            return
        self._sending = Sending(asked, answer, memoryview(body), keeps, min(len(body), room))
        self._phase = ANSWER
        self._handed = self._taken = 0
        self._wait(STALL_SECONDS)
        if len(body) > RECORD + KERNEL_BUFFER:
            self._make_room()
        self._send()

    def _make_room(self) -> None:
        """Let the kernel have all of the answer at once, unless there are many that want that.

        Who has that room keeps it until the connection ends, which is not before the client has it all: otherwise the
        kernel would hold a firmware for each of thousands of slow readers.
        """
        assert self._transport is not None
        if self._most == KERNEL_BUFFER and self._surroundings.connections.lend():
            self._most = WHOLE
            with contextlib.suppress(OSError):
                self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, WHOLE)

    def _give_back(self) -> None:
        if self._most != KERNEL_BUFFER:
            self._most = KERNEL_BUFFER
            self._surroundings.connections.give_back()

    def _send(self) -> None:
        """Hand on as much of the answer as there is room for, and end it when all of it is where it should be."""
        sending, records = self._sending, self._records
        assert sending is not None
        assert records is not None
        while sending.position < len(sending.body):
            if self._paused or self._transport is None or self._transport.is_closing():
                return
            room = self._most - self._unacknowledged() if self._handed else self._most
            end = min(sending.position + max(RECORD, room), len(sending.body))
            part, pieces = sending.body[sending.position : end], [records.take()]
            for start in range(0, len(part), RECORD):
                records.write(part[start : start + RECORD])
                pieces.append(records.take())
            sending.position = end
            if end == len(sending.body) and not sending.keeps:
                sending.ended = True
                records.close()
                pieces.append(records.take())
            self._hand_on(pieces)
        if not sending.answer.counts and self._most == KERNEL_BUFFER:
            self._end_answer(arrived=True)
            return
        self._flush()
        self._await_acknowledgement(sending)

    def _await_acknowledgement(self, sending: Sending) -> None:
        """End the answer once the client has acknowledged all of it, or has had its time.

        What lies in a buffer when a device loses its network was not delivered, and must not count as a loop.
        """
        now = time.monotonic()
        if not sending.waits_until:
            sending.waits_until = now + PATIENCE
            self._wait(2 * PATIENCE)
        if not self._unacknowledged():
            self._end_answer(arrived=True)
        elif now > sending.waits_until:
            self._end_answer(arrived=False)
        elif self._look is None:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(sending.looks, self._look_again)
            sending.looks = min(2 * sending.looks, LAST_LOOK)

    def _look_again(self) -> None:
        self._look = None
        if self._sending is not None and self._transport is not None:
            self._go_on()

    def _end_answer(self, *, arrived: bool) -> None:
        sending, self._sending = self._sending, None
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if sending is not None:
            self._surroundings.app.account(sending.asked, sending.answer, len(sending.body), arrived)
            self._go_on_or_close(keeps=sending.keeps, ended=sending.ended)

    def _go_on_or_close(self, *, keeps: bool, ended: bool = False) -> None:
        """Wait for the next request, or for none."""
        if self._records is None:
            return
        if keeps:
            self._phase = REQUEST
            self._wait(IDLE_SECONDS)
        else:
            self._close(ended=ended)

    def _close(self, *, ended: bool = False) -> None:
        """Say over TLS that nothing more comes, unless that was said; `_leave` ends the connection itself."""
        assert self._records is not None
        self._phase = CLOSING
        if not ended:
            self._records.close()
        self._waiting.clear()

    def _leave(self) -> None:
        """Send what is left, and close; from a client that is still sending, hear for a while without listening."""
        assert self._transport is not None
        assert self._parser is not None
        self._flush()
        if self._parser.unread:
            self._wait(LINGER_SECONDS)
            self._transport.write_eof()
        else:
            self._wait(STALL_SECONDS)
            self._transport.close()

    def _flush(self) -> None:
        if self._records is not None and (data := self._records.take()):
            assert self._transport is not None
            self._handed += len(data)
            self._transport.write(data)

    def _hand_on(self, pieces: list[bytes]) -> None:
        assert self._transport is not None
        self._handed += sum(map(len, pieces))
        self._transport.writelines(pieces)

    def _unacknowledged(self) -> int:
        if self._transport is None:
            return 0
        return self._transport.get_write_buffer_size() + unacknowledged(self._transport.get_extra_info("socket"))

    def _address(self) -> str | None:
        peer = None if self._transport is None else self._transport.get_extra_info("peername")
        return peer[0] if peer else None

    def _wait(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds


def _response_head(answer: Answer, version: str, *, keeps: bool) -> bytes:
    lines = [_STATUS_LINES[answer.status], f"Date: {_date(int(time.time()))}"]
    lines += [f"{name}: {value}" for name, value in answer.headers if name != "Connection"]
    if not keeps:
        lines.append("Connection: close")
    elif version == "1.0":
        lines.append("Connection: keep-alive")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


_STATUS_LINES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}" for one in HTTPStatus}
