"""The devices' API: the answer to a request, and the record of what became of it. Nothing here waits for anything.

`protocol` decides what is answered; `connection` reads requests and sends bodies. Content-Length is always there (F29).
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from ...errors import CorruptStoreError, InputError, OtasealError, SystemFaultError
from ...protocol import decisions
from ...protocol.answers import Decision, decide_archive
from ...protocol.enrolment import others
from ...protocol.request import (
    ARCHIVE_FILE,
    CERTIFICATE_FILE,
    MAX_PATH,
    Route,
    UpdateRequest,
    device_id,
    parse_request,
    route,
)
from ...store.device_rows import Asking, Sighting
from ..catalog import Catalog, Choice
from ..limits import origin
from ..telemetry import Event, Labelled, Telemetry, labelled
from ..tls import ClientCertificate
from .recorder import Recorder
from .request_parser import Head

if TYPE_CHECKING:
    from .enrolment import Enrolment

MAX_REASON = 512
REMEMBERED, REMEMBERED_BYTES = 1024, 1024
"""Requests of which it is remembered what they claim, and how long one may be: devices say the same thing all day."""
MAX_EVENTS, MAX_DECISIONS = 4, 256
_CLAIMS = attrgetter(*(field.name for field in dataclasses.fields(UpdateRequest) if field.name != "mac"))
_RANGE = re.compile(r"bytes=(\d{0,10})-(\d{0,10})")

Headers = tuple[tuple[str, str], ...]
NO_CHOICE = Choice()


class DeviceRequest(NamedTuple):
    """A request: its head, the certificate that the client proved to have, and its address."""

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
        """Whether it counts for the loop breaker that all of it arrives."""
        return self.delivers and self.device is not None


class LaterError(Exception):
    """An answer takes a disk: `work` is to be done in a thread of `executor`, None for any.

    It returns the answer, or None: then the request is to be answered once more.
    """

    def __init__(self, work: Callable[[], Answer | None], executor: Executor | None = None) -> None:
        super().__init__()
        self.work, self.executor = work, executor


@dataclass(eq=False)
class _CachedRequest:
    """What a head claims, or the `refusal` that it always gets; the last answer to it, and what that depended on."""

    request: UpdateRequest
    route: Route
    refusal: Answer | None = None
    device: str | None = None
    network: str = ""
    sighting: Sighting | None = None
    choice: Choice | None = None
    deliveries: int = 0
    answer: Answer | None = None
    ranged: bool = False
    events: dict[object, Event] = field(default_factory=dict)
    """The log's events of these answers, by what makes them differ."""

    def forget(self) -> None:
        """Drop the answer and its events: what led to them has changed."""
        self.answer = None
        self.events.clear()


@dataclass(frozen=True)
class DeviceApp:
    """Answers what devices ask of the `catalog`, and keeps what is known of them in `devices`."""

    catalog: Catalog
    devices: Recorder
    telemetry: Telemetry
    enrolment: Enrolment

    def answer(self, request: DeviceRequest) -> Answer:
        """Return the answer to a request, 503 for a fault; raises LaterError where that takes a disk."""
        head = request.head
        cached = (_parse if head.size <= REMEMBERED_BYTES else _parse.__wrapped__)(head)
        if cached.refusal is not None:
            return cached.refusal
        try:
            device = device_id(cached.request, None if request.certificate is None else request.certificate.name)
            if cached.route.file == CERTIFICATE_FILE:
                return self.enrolment.answer(request, cached.route, device, proven=False)
            if cached.route.file == ARCHIVE_FILE:
                return self._archive(cached, head, device)
            return self._answer(cached, head, device, _network(request))
        except OtasealError as error:
            return fault(error)

    def _load(self, blob: str) -> Answer | None:
        """Read and hash a blob, in a thread; return what is answered where that cannot be."""
        try:
            self.catalog.body(blob)
        except OtasealError as error:
            return fault(error)
        return None

    def _body(self, blob: str) -> bytes:
        if blob not in self.catalog.bodies:
            raise LaterError(partial(self._load, blob))
        return self.catalog.body(blob)

    def _answer(self, cached: _CachedRequest, head: Head, device: str | None, network: str) -> Answer:
        """Return the last answer where nothing has changed, which is what nearly every poll gets."""
        choice = self.catalog.choose(cached.route.product, cached.route.channel, device, cached.request.runs)
        if cached.choice is not choice or cached.device != device or cached.network != network:
            cached.choice, cached.device, cached.network = choice, device, network
            cached.sighting = _sighting(cached)
            cached.forget()
        deliveries = self._record_poll(cached.sighting, choice)
        if cached.deliveries != deliveries:
            cached.deliveries = deliveries
            cached.forget()
        if cached.answer is not None:
            return cached.answer
        answer = self._decide(cached, head, choice, deliveries)
        if not answer.body:  # firmware is the catalog's to keep
            cached.answer = answer
        return answer

    def _decide(self, cached: _CachedRequest, head: Head, choice: Choice, deliveries: int) -> Answer:
        request, device, decision = cached.request, cached.device, _decision(cached.request, choice, deliveries)
        body: bytes | memoryview = decision.body
        if decision.form is not None:
            body = self._body(decision.form.blob)
            self._offer(cached, choice)
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
        if decision.form is None or not cached.ranged:
            return answer
        return _ranged(answer, head.headers, decision.form.blob)

    def _archive(self, cached: _CachedRequest, head: Head, device: str | None) -> Answer:
        """Return the answer to a device that asks for certificates, of which any number may come."""
        record, missing = self.catalog.archive(cached.route.product, cached.route.channel)
        decision = decide_archive(cached.request, record, missing)
        body = decision.body if decision.blob is None else self._body(decision.blob)
        answer = Answer(decision.status, decision.headers, body, decision.code, decision.reason, device)
        if decision.blob is None or not cached.ranged:
            return answer
        return _ranged(answer, head.headers, decision.blob)

    def _record_poll(self, sighting: Sighting | None, choice: Choice) -> int:
        """Record that a device asked, and return how often it was given the release in vain."""
        if sighting is None or choice.release is None:
            return 0
        try:
            return self.devices.poll(sighting, choice.release.version, time.time())
        except SystemFaultError as error:  # devices get their updates all the same
            self.telemetry.alarm("devices", message=error.message)
            return 0

    def _offer(self, cached: _CachedRequest, choice: Choice) -> None:
        request, device = cached.request, cached.device
        if device is None or choice.product is None or choice.release is None or request.method != "GET":
            return
        image = decisions.own_image(request, choice.release, choice.known)
        assert image is not None  # it is being sent
        # What the device comes back with: a raw image goes only to chips of its mode, and a gzip brings its own along.
        mode, names = image.flash_mode, image.runs
        expected = names[0] if len(names) == 1 else "" if mode is None else names[mode]
        asking = Asking(choice.product, device, cached.network)
        self.devices.offer(asking, choice.release.version, expected, time.time())

    def account(self, request: DeviceRequest, answer: Answer, sent: int, arrived: bool) -> None:
        """Count and log an answer: `sent` bytes of its body, and whether all of them `arrived`."""
        choice, device = answer.choice, answer.device
        if answer.delivers and arrived and device and choice.product and choice.release:
            asking = Asking(choice.product, device, _network(request))
            self.devices.deliver(asking, choice.release.version, time.time())
        self.telemetry.add(_counter(answer.status, answer.code))
        if answer.delivers:
            self.telemetry.count("otaseal_sent_bytes_total", sent)
        if answer.alarm:
            self.telemetry.count("otaseal_alarms_total", kind="device")
        cached = _parse(request.head) if request.head.size <= REMEMBERED_BYTES else None
        key = answer.status, answer.code, answer.reason, request.address, answer.device, sent, arrived
        event = None if cached is None else cached.events.get(key)
        if event is None:
            event = self._event(request, answer, sent, arrived)
            if cached is not None and cached.route.file != ARCHIVE_FILE and len(cached.events) < MAX_EVENTS:
                cached.events[key] = event
        self.telemetry.write(event)

    def _event(self, request: DeviceRequest, answer: Answer, sent: int, arrived: bool) -> Event:
        method = request.head.method
        return self.telemetry.make_event(
            "device",
            alarm=True if answer.alarm else None,
            method=method if method in ("GET", "HEAD") else "other",
            path=request.head.path[:MAX_PATH],
            status=answer.status,
            code=answer.code,
            reason=answer.reason[:MAX_REASON],
            device=answer.device,
            address=request.address,
            sent=sent or None,
            cut=True if sent and not arrived else None,
        )


def fault(error: OtasealError) -> Answer:
    """Return the answer where the server cannot do what is asked."""
    code = "corrupt" if isinstance(error, CorruptStoreError) else "fault"
    return plain(503, code, error.message, alarm=True)


def plain(status: int, code: str, text: str, headers: Headers = (), *, alarm: bool = False) -> Answer:
    """Return an answer of one sentence, which is what the log has to say, too."""
    # What is wrong with the server is the log's, not the client's.
    body = b"the server cannot answer\n" if status >= 500 else f"{text}\n".encode("utf-8", "replace")
    fields = (("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", str(len(body))), *headers)
    return Answer(status, fields, body, code, text, alarm=alarm)


def _ranged(answer: Answer, headers: Iterable[tuple[bytes, bytes]], blob: str) -> Answer:
    """Return the part of the body that one `Range` header asks for (RFC 9110, 14); anything odd gets the whole."""
    fields = {name: value.decode("latin-1") for name, value in headers if name in (b"range", b"if-range")}
    match = _RANGE.fullmatch(fields.get(b"range", ""))
    tag = fields.get(b"if-range")
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
    others = tuple((name, value) for name, value in answer.headers if name not in ("Content-Length", "x-MD5"))
    lengths = (("Content-Length", str(len(part))), ("Content-Range", f"bytes {first}-{last}/{size}"))
    return replace(answer, status=206, headers=(*others, *lengths), body=part, delivers=False, code="range")


@lru_cache(REMEMBERED)
def _parse(head: Head) -> _CachedRequest:
    """Return what a head claims: the same object for the same head, as long as it is remembered."""
    request, target, refusal = UpdateRequest(head.method), Route(""), None
    if head.method not in ("GET", "HEAD"):
        refusal = plain(405, "method", f"method '{head.method}'", (("Allow", "GET, HEAD"),))
    elif head.has_body:
        refusal = plain(413, "body", "an update request has no body", (("Connection", "close"),))
    else:
        try:
            target = route(head.path)
        except InputError as error:
            refusal = plain(404, "path", error.message)
        try:
            asks = target.file == CERTIFICATE_FILE
            request = parse_request(head.method, others(head.headers) if asks else head.headers)
        except InputError as error:
            refusal = refusal or plain(400, "request", error.message)
    ranged = any(name == b"range" for name, _ in head.headers)
    return _CachedRequest(request, target, refusal, ranged=ranged)


def _network(request: DeviceRequest) -> str:
    """Return from where it is asked; "" where the device proves its name, which may ask from anywhere."""
    return "" if request.certificate is not None or request.address is None else origin(request.address)


def _sighting(cached: _CachedRequest) -> Sighting | None:
    request, device, choice = cached.request, cached.device, cached.choice
    if device is None or choice is None or choice.product is None or choice.release is None:
        return None
    claimed = request.runs or "", request.version or "", request.mac or ""
    report = request.counter, request.error, request.certs or ""
    return Sighting(choice.product, choice.channel or "", device, *claimed, *report, cached.network)


@lru_cache(REMEMBERED)
def _counter(status: int, code: str) -> Labelled:
    return labelled("otaseal_device_requests_total", status=str(status), code=code)


def _decision(request: UpdateRequest, choice: Choice, deliveries: int) -> Decision:
    """Return the decision on a request; those that differ in the MAC address alone share one."""
    claimed = _CLAIMS(request), deliveries
    decision = choice.decisions.get(claimed)
    if decision is None:
        state = decisions.State(choice.known, deliveries, choice.held, choice.missing)
        decision = decisions.decide(request, choice.release, state)
        if len(choice.decisions) >= MAX_DECISIONS:
            choice.decisions.clear()
        choice.decisions[claimed] = decision
    return decision
