"""The devices' side: one ASGI application that answers update requests with firmware, 304 or a reason.

What is answered is decided in `protocol`; here requests are read, bodies sent from memory in pieces, and deliveries
written down. Content-Length is always there and nothing is chunked (F29). It is plain ASGI: a framework would cost a
poll more than the answer itself.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from .. import protocol
from ..devices import Devices, Sighting
from ..errors import CorruptStoreError, InputError, OtasealError, SystemFaultError
from .catalog import Catalog, Choice
from .telemetry import Telemetry
from .tls import ClientCertificate

__all__ = ["Answer", "DeviceApp"]

PIECE = 64 * 1024
"""Bytes handed to the transport at once; the next piece waits until a slow reader has taken them."""
MAX_PATH = 256
MAX_REASON = 512
FIRST_LOOK, LAST_LOOK, PATIENCE = 0.002, 0.2, 60.0  # seconds
_RANGE = re.compile(r"bytes=(\d{0,10})-(\d{0,10})")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[str, str], ...]
T = TypeVar("T")
NO_CHOICE = Choice()


@dataclass(frozen=True)
class Answer:
    """A response, and for the log what it was about; `delivers` is set when the body is a whole firmware."""

    status: int
    headers: Headers
    body: bytes | memoryview
    code: str
    reason: str
    device: str | None = None
    choice: Choice = NO_CHOICE
    delivers: bool = False
    alarm: bool = False


@dataclass(frozen=True)
class DeviceApp:
    """Answers what devices ask of the `catalog`, and keeps what is known of them in `devices`."""

    catalog: Catalog
    devices: Devices
    telemetry: Telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; see the ASGI specification."""
        answer = self.answer(scope)
        head = scope["method"] == "HEAD"
        headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if not head:
            for start in range(0, len(answer.body), PIECE):
                piece = answer.body[start : start + PIECE]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        pending = scope["state"]["pending"]
        arrived = await _taken(pending) if answer.delivers and answer.device else pending() is not None
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        self._account(scope, answer, 0 if head else len(answer.body), arrived)

    def answer(self, scope: Scope) -> Answer:
        """Return what a request is answered; what is wrong with the store is 503 and an alarm, never other bytes."""
        try:
            if scope["method"] not in ("GET", "HEAD"):
                return _plain(405, "method", f"method '{scope['method']}'", (("Allow", "GET, HEAD"),))
            if _has_body(scope["headers"]):
                return _plain(413, "body", "an update request has no body", (("Connection", "close"),))
            return self._answer(scope)
        except CorruptStoreError as error:
            return _plain(503, "corrupt", error.message, alarm=True)
        except OtasealError as error:
            return _plain(503, "fault", error.message, alarm=True)

    def _answer(self, scope: Scope) -> Answer:
        try:
            if len(scope["path"]) > MAX_PATH:
                raise InputError(f"a path of {len(scope['path'])} characters", f"{MAX_PATH} are the most")
            product, channel = protocol.route(scope["path"])
        except InputError as error:
            return _plain(404, "path", error.message)
        try:
            request = protocol.parse_request(scope["method"], scope["headers"])
        except InputError as error:
            return _plain(400, "request", error.message)
        certificate: ClientCertificate | None = scope["state"]["certificate"]
        device = protocol.device_id(request, None if certificate is None else certificate.name)
        choice = self.catalog.choose(product, channel, device, request.sketch_md5)
        return self._decide(scope, request, device, choice)

    def _decide(self, scope: Scope, request: protocol.UpdateRequest, device: str | None, choice: Choice) -> Answer:
        state = protocol.State(missing=choice.missing)
        if choice.product is not None and choice.release is not None:
            known = self.catalog.known(choice.product)
            deliveries = self._seen(request, device, choice)
            state = protocol.State(known, deliveries, choice.held, choice.missing)
        decision = protocol.decide(request, choice.release, state)
        body: bytes | memoryview = decision.body
        if decision.form is not None:
            body = self.catalog.body(decision.form)
            self._offer(request, device, choice)
        answer = Answer(
            decision.status,
            decision.headers,
            body,
            decision.code,
            decision.reason,
            device,
            choice,
            delivers=decision.form is not None and request.method == "GET",
            alarm=decision.alarm,
        )
        return answer if decision.form is None else _ranged(answer, scope["headers"], decision.form.blob)

    def _seen(self, request: protocol.UpdateRequest, device: str | None, choice: Choice) -> int:
        """Write down that a device asked, and return how often it was given the release in vain."""
        if device is None or choice.product is None or choice.release is None:
            return 0
        md5, version, mac = request.sketch_md5 or "", request.version or "", request.mac or ""
        now = time.time()
        sighting = Sighting(choice.product, choice.channel or "", device, md5, version, mac)
        known = self._remembered(lambda: self.devices.see(sighting, now))
        return known.deliveries if known is not None and known.offered == choice.release.version else 0

    def _offer(self, request: protocol.UpdateRequest, device: str | None, choice: Choice) -> None:
        if device is None or choice.product is None or choice.release is None or request.method != "GET":
            return
        # What the device comes back with: a raw image goes only to chips of its mode, and a gzip brings its own along.
        mode = choice.release.flash_mode
        expected = "" if mode is None else choice.release.sketch_md5[mode]
        product, version = choice.product, choice.release.version
        self._remembered(lambda: self.devices.offer(product, device, version, expected, time.time()))

    def _remembered(self, call: Callable[[], T]) -> T | None:
        """Return what `call` does to the devices' memory; a fault there is an alarm, and devices get their updates."""
        try:
            return call()
        except SystemFaultError as error:
            self.telemetry.alarm("devices", message=error.message)
            return None

    def _account(self, scope: Scope, answer: Answer, sent: int, arrived: bool) -> None:
        choice, device = answer.choice, answer.device
        if answer.delivers and arrived and device and choice.product and choice.release:
            product, version = choice.product, choice.release.version
            self._remembered(lambda: self.devices.deliver(product, device, version, time.time()))
        self.telemetry.count("otaseal_device_requests_total", status=str(answer.status), code=answer.code)
        self.telemetry.count("otaseal_sent_bytes_total", sent if answer.delivers else 0)
        client = scope["client"]
        (self.telemetry.alarm if answer.alarm else self.telemetry.event)(
            "device",
            method=scope["method"] if scope["method"] in ("GET", "HEAD") else "other",
            path=scope["path"][:MAX_PATH],
            status=answer.status,
            code=answer.code,
            reason=answer.reason[:MAX_REASON],
            device=device,
            address=client[0] if client else None,
            sent=sent or None,
            cut=True if sent and not arrived else None,
        )


async def _taken(pending: Callable[[], int | None]) -> bool:
    """Wait until the client has acknowledged all that was sent, and return whether it has.

    What lies in a buffer when a device loses its network was not delivered, and must not count as a loop.
    """
    delay, end = FIRST_LOOK, time.monotonic() + PATIENCE
    while left := pending():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(delay)
        delay = min(2 * delay, LAST_LOOK)
    return left is not None


def _plain(status: int, code: str, text: str, headers: Headers = (), *, alarm: bool = False) -> Answer:
    # What is wrong with the server is the log's, not the client's.
    body = b"the server cannot answer\n" if status >= 500 else f"{text}\n".encode("utf-8", "replace")
    shown = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *headers)
    return Answer(status, shown, body, code, text, alarm=alarm)


def _ranged(answer: Answer, headers: Iterable[tuple[bytes, bytes]], blob: str) -> Answer:
    """Return the part of the firmware that one `Range` header asks for (RFC 9110, 14); anything odd gets the whole."""
    asked = {name: value.decode("latin-1") for name, value in headers if name in (b"range", b"if-range")}
    match = _RANGE.fullmatch(asked.get(b"range", ""))
    whole = replace(answer, headers=(*answer.headers, ("Accept-Ranges", "bytes")))
    tag = asked.get(b"if-range")
    if match is None or match[0] == "bytes=-" or (tag is not None and tag != f'"{blob}"'):
        return whole
    size = len(answer.body)
    first = int(match[1]) if match[1] else max(size - int(match[2]), 0)
    last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
    if match[1] and match[2] and int(match[2]) < first:
        return whole
    if first >= size:
        refused = _plain(416, "range", "there is no such range", (("Content-Range", f"bytes */{size}"),))
        return replace(refused, device=answer.device, choice=answer.choice)
    part = memoryview(answer.body)[first : last + 1]
    # x-MD5 is over the bytes sent (F29), and a part has none
    kept = tuple((name, value) for name, value in whole.headers if name not in ("Content-Length", "x-MD5"))
    lengths = (("Content-Length", str(len(part))), ("Content-Range", f"bytes {first}-{last}/{size}"))
    return replace(answer, status=206, headers=(*kept, *lengths), body=part, delivers=False, code="range")


def _has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0") for name, value in headers
    )
