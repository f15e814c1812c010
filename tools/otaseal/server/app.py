"""The devices' side: update requests are answered with firmware, 304 or a reason, and deliveries written down.

What is answered is decided in `protocol`; how requests come in and bodies go out is `device_http`'s. Content-Length is
always there (F29). Nothing here waits: a call for the answer, and one when it is known what became of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import chain
from typing import TypeVar

from .. import archive_protocol, protocol
from ..devices import Sighting
from ..errors import CorruptStoreError, InputError, OtasealError, SystemFaultError
from ..update_request import ARCHIVE_FILE, Route, UpdateRequest, route
from .catalog import Catalog, Choice
from .recorder import Recorder
from .telemetry import Telemetry
from .tls import ClientCertificate

__all__ = ["Answer", "DeviceApp", "DeviceRequest", "plain"]

MAX_PATH = 256
MAX_REASON = 512
REMEMBERED, REMEMBERED_BYTES = 1024, 1024
"""Requests of which it is remembered what they claim, and how long: devices say the same thing all day."""
_RANGE = re.compile(r"bytes=(\d{0,10})-(\d{0,10})")

Headers = tuple[tuple[str, str], ...]
RawHeaders = tuple[tuple[bytes, bytes], ...]
T = TypeVar("T")
NO_CHOICE = Choice()


@dataclass(frozen=True)
class DeviceRequest:
    """What came in: the path decoded, header names in lower case, who the client proved to be, where it came from."""

    method: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    certificate: ClientCertificate | None = None
    address: str | None = None


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
    devices: Recorder
    telemetry: Telemetry

    def answer(self, asked: DeviceRequest) -> Answer:
        """Return what a request is answered; what is wrong with the store is 503 and an alarm, never other bytes."""
        try:
            if asked.method not in ("GET", "HEAD"):
                return plain(405, "method", f"method '{asked.method}'", (("Allow", "GET, HEAD"),))
            headers = tuple(asked.headers)
            short = sum(map(len, chain.from_iterable(headers))) <= REMEMBERED_BYTES
            if (_has_body if short else _has_body.__wrapped__)(headers):
                return plain(413, "body", "an update request has no body", (("Connection", "close"),))
            return self._answer(asked, _claims if short else _claims.__wrapped__)
        except CorruptStoreError as error:
            return plain(503, "corrupt", error.message, alarm=True)
        except OtasealError as error:
            return plain(503, "fault", error.message, alarm=True)

    def _answer(self, asked: DeviceRequest, claims: Callable[[str, RawHeaders], UpdateRequest]) -> Answer:
        try:
            if len(asked.path) > MAX_PATH:
                raise InputError(f"a path of {len(asked.path)} characters", f"{MAX_PATH} are the most")
            named = route(asked.path)
        except InputError as error:
            return plain(404, "path", error.message)
        try:
            request = claims(asked.method, tuple(asked.headers))
        except InputError as error:
            return plain(400, "request", error.message)
        device = protocol.device_id(request, None if asked.certificate is None else asked.certificate.name)
        if named.file == ARCHIVE_FILE:
            return self._archive(asked, request, device, named)
        choice = self.catalog.choose(named.product, named.channel, device, request.sketch_md5)
        return self._decide(asked, request, device, choice)

    def _decide(self, asked: DeviceRequest, request: UpdateRequest, device: str | None, choice: Choice) -> Answer:
        state = protocol.State(missing=choice.missing)
        if choice.product is not None and choice.release is not None:
            known = self.catalog.known(choice.product)
            deliveries = self._seen(request, device, choice)
            state = protocol.State(known, deliveries, choice.held, choice.missing)
        decision = protocol.decide(request, choice.release, state)
        body: bytes | memoryview = decision.body
        if decision.form is not None:
            body = self.catalog.body(decision.form.blob)
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
        return answer if decision.form is None else _ranged(answer, asked.headers, decision.form.blob)

    def _archive(self, asked: DeviceRequest, request: UpdateRequest, device: str | None, named: Route) -> Answer:
        """Return the answer to a device that asks for certificates, of which any number may come."""
        record, missing = self.catalog.archive(named.product, named.channel)
        decision = archive_protocol.decide(request, record, missing)
        body = decision.body if decision.blob is None else self.catalog.body(decision.blob)
        answer = Answer(decision.status, decision.headers, body, decision.code, decision.reason, device)
        return answer if decision.blob is None else _ranged(answer, asked.headers, decision.blob)

    def _seen(self, request: UpdateRequest, device: str | None, choice: Choice) -> int:
        """Write down that a device asked, and return how often it was given the release in vain."""
        if device is None or choice.product is None or choice.release is None:
            return 0
        md5, claimed, mac = request.sketch_md5 or "", request.version or "", request.mac or ""
        now = time.time()
        said = (request.counter, request.error, request.certs or "")
        sighting = Sighting(choice.product, choice.channel or "", device, md5, claimed, mac, *said)
        version = choice.release.version
        return self._remembered(lambda: self.devices.asked(sighting, version, now)) or 0

    def _offer(self, request: UpdateRequest, device: str | None, choice: Choice) -> None:
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

    def account(self, asked: DeviceRequest, answer: Answer, sent: int, arrived: bool) -> None:
        """Write down what became of an answer: `sent` bytes of its body, and whether the client has got them all."""
        choice, device = answer.choice, answer.device
        if answer.delivers and arrived and device and choice.product and choice.release:
            product, version = choice.product, choice.release.version
            self._remembered(lambda: self.devices.deliver(product, device, version, time.time()))
        self.telemetry.count("otaseal_device_requests_total", status=str(answer.status), code=answer.code)
        self.telemetry.count("otaseal_sent_bytes_total", sent if answer.delivers else 0)
        (self.telemetry.alarm if answer.alarm else self.telemetry.event)(
            "device",
            method=asked.method if asked.method in ("GET", "HEAD") else "other",
            path=asked.path[:MAX_PATH],
            status=answer.status,
            code=answer.code,
            reason=answer.reason[:MAX_REASON],
            device=device,
            address=asked.address,
            sent=sent or None,
            cut=True if sent and not arrived else None,
        )


def plain(status: int, code: str, text: str, headers: Headers = (), *, alarm: bool = False) -> Answer:
    """Return an answer of one sentence, which is what the log has to say, too."""
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
        refused = plain(416, "range", "there is no such range", (("Content-Range", f"bytes */{size}"),))
        return replace(refused, device=answer.device, choice=answer.choice)
    part = memoryview(answer.body)[first : last + 1]
    # x-MD5 is over the bytes sent (F29), and a part has none
    kept = tuple((name, value) for name, value in whole.headers if name not in ("Content-Length", "x-MD5"))
    lengths = (("Content-Length", str(len(part))), ("Content-Range", f"bytes {first}-{last}/{size}"))
    return replace(answer, status=206, headers=(*kept, *lengths), body=part, delivers=False, code="range")


@lru_cache(REMEMBERED)
def _claims(method: str, headers: RawHeaders) -> UpdateRequest:
    return protocol.parse_request(method, headers)


@lru_cache(REMEMBERED)
def _has_body(headers: RawHeaders) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0") for name, value in headers
    )
