"""The devices' side: update requests are answered with firmware, 304 or a reason, and deliveries written down.

What is answered is decided in `protocol`; how requests come in and bodies go out is `connection`'s. Content-Length is
always there (F29). Nothing here waits: a call for the answer, and one when it is known what became of it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from ...errors import CorruptStoreError, InputError, OtasealError, SystemFaultError
from ...protocol import archive, decisions
from ...protocol.request import ARCHIVE_FILE, Route, UpdateRequest, route
from ...store.devices import Sighting
from ..catalog import Catalog, Choice
from ..telemetry import Event, Labelled, Telemetry, labelled
from ..tls import ClientCertificate
from .recorder import Recorder
from .request_parser import Head

__all__ = ["Answer", "DeviceApp", "DeviceRequest", "plain"]

MAX_PATH = 256
MAX_REASON = 512
REMEMBERED, REMEMBERED_BYTES = 1024, 1024
"""Requests of which it is remembered what they claim, and how long one may be: devices say the same thing all day."""
MAX_EVENTS, MAX_DECISIONS = 4, 256
_BUT_WHO = attrgetter(*(one.name for one in fields(UpdateRequest) if one.name != "mac"))
_RANGE = re.compile(r"bytes=(\d{0,10})-(\d{0,10})")

Headers = tuple[tuple[str, str], ...]
NO_CHOICE = Choice()


class DeviceRequest(NamedTuple):
    """What came in, who the client proved to be, and where it came from."""

    head: Head
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

    @property
    def counts(self) -> bool:
        """Whether it matters for the loop breaker that all of it arrives."""
        return self.delivers and self.device is not None


@dataclass(eq=False)
class _Said:
    """What one head claims, or the `refusal` that it gets from everybody; and of its last answer what led to it."""

    request: UpdateRequest
    route: Route
    refusal: Answer | None = None
    device: str | None = None
    sighting: Sighting | None = None
    choice: Choice | None = None
    deliveries: int = 0
    answer: Answer | None = None
    ranged: bool = False
    events: dict[object, Event] = field(default_factory=dict)
    """What the log was told of these answers."""

    def forget(self) -> None:
        """Let go of what no longer holds."""
        self.answer = None
        self.events.clear()


@dataclass(frozen=True)
class DeviceApp:
    """Answers what devices ask of the `catalog`, and keeps what is known of them in `devices`."""

    catalog: Catalog
    devices: Recorder
    telemetry: Telemetry

    def answer(self, asked: DeviceRequest) -> Answer:
        """Return what a request is answered; what is wrong with the store is 503 and an alarm, never other bytes."""
        head = asked.head
        said = (_said if head.size <= REMEMBERED_BYTES else _said.__wrapped__)(head)
        if said.refusal is not None:
            return said.refusal
        try:
            device = decisions.device_id(said.request, None if asked.certificate is None else asked.certificate.name)
            if said.route.file == ARCHIVE_FILE:
                return self._archive(said, head, device)
            return self._answer(said, head, device)
        except CorruptStoreError as error:
            return plain(503, "corrupt", error.message, alarm=True)
        except OtasealError as error:
            return plain(503, "fault", error.message, alarm=True)

    def _answer(self, said: _Said, head: Head, device: str | None) -> Answer:
        """Return the answer of before where nothing has changed, for that is what nearly every poll gets."""
        choice = self.catalog.choose(said.route.product, said.route.channel, device, said.request.sketch_md5)
        if said.choice is not choice or said.device != device:
            said.choice, said.device, said.sighting = choice, device, _sighting(said.request, device, choice)
            said.forget()
        deliveries = self._seen(said.sighting, choice)
        if said.deliveries != deliveries:
            said.deliveries = deliveries
            said.forget()
        if said.answer is not None:
            return said.answer
        answer = self._decide(said, head, device, choice, deliveries)
        if not answer.body:  # firmware is the catalog's to keep
            said.answer = answer
        return answer

    def _decide(self, said: _Said, head: Head, device: str | None, choice: Choice, deliveries: int) -> Answer:
        request, decision = said.request, _decision(said.request, choice, deliveries)
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
        if decision.form is None or not said.ranged:
            return answer
        return _ranged(answer, head.headers, decision.form.blob)

    def _archive(self, said: _Said, head: Head, device: str | None) -> Answer:
        """Return the answer to a device that asks for certificates, of which any number may come."""
        record, missing = self.catalog.archive(said.route.product, said.route.channel)
        decision = archive.decide(said.request, record, missing)
        body = decision.body if decision.blob is None else self.catalog.body(decision.blob)
        answer = Answer(decision.status, decision.headers, body, decision.code, decision.reason, device)
        if decision.blob is None or not said.ranged:
            return answer
        return _ranged(answer, head.headers, decision.blob)

    def _seen(self, sighting: Sighting | None, choice: Choice) -> int:
        """Write down that a device asked, and return how often it was given the release in vain."""
        if sighting is None or choice.release is None:
            return 0
        try:
            return self.devices.asked(sighting, choice.release.version, time.time())
        except SystemFaultError as error:
            self._forgot(error)
            return 0

    def _offer(self, request: UpdateRequest, device: str | None, choice: Choice) -> None:
        if device is None or choice.product is None or choice.release is None or request.method != "GET":
            return
        # What the device comes back with: a raw image goes only to chips of its mode, and a gzip brings its own along.
        mode = choice.release.flash_mode
        expected = "" if mode is None else choice.release.sketch_md5[mode]
        self.devices.offer(choice.product, device, choice.release.version, expected, time.time())

    def _forgot(self, error: SystemFaultError) -> None:
        """Say that the devices' memory has a fault; devices get their updates all the same."""
        self.telemetry.alarm("devices", message=error.message)

    def account(self, asked: DeviceRequest, answer: Answer, sent: int, arrived: bool) -> None:
        """Write down what became of an answer: `sent` bytes of its body, and whether the client has got them all."""
        choice, device = answer.choice, answer.device
        if answer.delivers and arrived and device and choice.product and choice.release:
            self.devices.deliver(choice.product, device, choice.release.version, time.time())
        self.telemetry.add(_counter(answer.status, answer.code))
        if answer.delivers:
            self.telemetry.count("otaseal_sent_bytes_total", sent)
        if answer.alarm:
            self.telemetry.count("otaseal_alarms_total", kind="device")
        said = _said(asked.head) if asked.head.size <= REMEMBERED_BYTES else None
        told = answer.status, answer.code, answer.reason, asked.address, answer.device, sent, arrived
        event = None if said is None else said.events.get(told)
        if event is None:
            event = self._event(asked, answer, sent, arrived)
            if said is not None and said.route.file != ARCHIVE_FILE and len(said.events) < MAX_EVENTS:
                said.events[told] = event
        self.telemetry.write(event)

    def _event(self, asked: DeviceRequest, answer: Answer, sent: int, arrived: bool) -> Event:
        method = asked.head.method
        return self.telemetry.make_event(
            "device",
            alarm=True if answer.alarm else None,
            method=method if method in ("GET", "HEAD") else "other",
            path=asked.head.path[:MAX_PATH],
            status=answer.status,
            code=answer.code,
            reason=answer.reason[:MAX_REASON],
            device=answer.device,
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
    """Return the part of the body that one `Range` header asks for (RFC 9110, 14); anything odd gets the whole."""
    asked = {name: value.decode("latin-1") for name, value in headers if name in (b"range", b"if-range")}
    match = _RANGE.fullmatch(asked.get(b"range", ""))
    tag = asked.get(b"if-range")
    if match is None or match[0] == "bytes=-" or (tag is not None and tag != f'"{blob}"'):
        return answer
    size = len(answer.body)
    first = int(match[1]) if match[1] else max(size - int(match[2]), 0)
    last = min(int(match[2]), size - 1) if match[1] and match[2] else size - 1
    if match[1] and match[2] and int(match[2]) < first:
        return answer
    if first >= size:
        refused = plain(416, "range", "there is no such range", (("Content-Range", f"bytes */{size}"),))
        return replace(refused, device=answer.device, choice=answer.choice)
    part = memoryview(answer.body)[first : last + 1]
    # x-MD5 is over the bytes sent (F29), and a part has none
    kept = tuple((name, value) for name, value in answer.headers if name not in ("Content-Length", "x-MD5"))
    lengths = (("Content-Length", str(len(part))), ("Content-Range", f"bytes {first}-{last}/{size}"))
    return replace(answer, status=206, headers=(*kept, *lengths), body=part, delivers=False, code="range")


@lru_cache(REMEMBERED)
def _said(head: Head) -> _Said:
    """Return what a head claims; the same object for the same head."""
    request, named, refusal, names = UpdateRequest(head.method), Route(""), None, {name for name, _ in head.headers}
    if head.method not in ("GET", "HEAD"):
        refusal = plain(405, "method", f"method '{head.method}'", (("Allow", "GET, HEAD"),))
    elif b"transfer-encoding" in names or (b"content-length" in names and _has_body(head)):
        refusal = plain(413, "body", "an update request has no body", (("Connection", "close"),))
    else:
        try:
            if len(head.path) > MAX_PATH:
                raise InputError(f"a path of {len(head.path)} characters", f"{MAX_PATH} are the most")
            named = route(head.path)
        except InputError as error:
            refusal = plain(404, "path", error.message)
        try:
            request = decisions.parse_request(head.method, head.headers)
        except InputError as error:
            refusal = refusal or plain(400, "request", error.message)
    return _Said(request, named, refusal, ranged=b"range" in names)


def _sighting(request: UpdateRequest, device: str | None, choice: Choice) -> Sighting | None:
    if device is None or choice.product is None or choice.release is None:
        return None
    claimed = request.sketch_md5 or "", request.version or "", request.mac or ""
    said = request.counter, request.error, request.certs or ""
    return Sighting(choice.product, choice.channel or "", device, *claimed, *said)


@lru_cache(REMEMBERED)
def _counter(status: int, code: str) -> Labelled:
    return labelled("otaseal_device_requests_total", status=str(status), code=code)


def _has_body(head: Head) -> bool:
    return any(name == b"content-length" and value.strip() != b"0" for name, value in head.headers)


def _decision(request: UpdateRequest, choice: Choice, deliveries: int) -> decisions.Decision:
    """Return what is decided; devices that say the same but for their address are told the same."""
    claimed = _BUT_WHO(request), deliveries
    decision = choice.decisions.get(claimed)
    if decision is None:
        state = decisions.State(choice.known, deliveries, choice.held, choice.missing)
        decision = decisions.decide(request, choice.release, state)
        if len(choice.decisions) >= MAX_DECISIONS:
            choice.decisions.clear()
        choice.decisions[claimed] = decision
    return decision
