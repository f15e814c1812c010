"""The devices' API: the answer to a request, and the record of what became of it. Nothing here waits for anything.

`protocol` decides what is answered; `connection` reads requests and sends bodies. Content-Length is always there (F29).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import cast

from ...chips.families import FAMILIES
from ...errors import InputError, OtasealError, SystemFaultError
from ...protocol import decisions
from ...protocol.answers import Decision, Headers, decide_archive
from ...protocol.enrolment import others
from ...protocol.proof import CAPABILITIES, CAPABILITIES_HEADER, PROOF_HEADER, Said, said
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
from ...protocol.running import own_image
from ...release.waves import USUAL_PACE, wait
from ...store.device_rows import NO_HARDWARE, Asking, Hardware, Sighting
from ...store.labels import Labels
from ...store.release_notes import ReleaseNotes
from ..catalog import Catalog
from ..choices import Choice
from ..limits import origin
from ..patches import Patches
from ..telemetry import DeviceEvent, Event, Labelled, Telemetry, labelled, make_event
from .answers import Answer, DeviceRequest, LaterError, fault, plain, ranged
from .enrolment import Enrolment
from .heads import Head
from .proofs import Claim, Identity, ProofCheck, Standing
from .recorder import Recorder

MAX_REASON = 512
MAX_DECISIONS, MAX_COUNTERS, MAX_EVENTS = 4, 1024, 256
UNKNOWN_CLIENT = Identity(Standing())


@dataclass(eq=False, slots=True)
class _Shared:
    """What a head claims, or the `refusal` that it always gets, whichever device of a fleet says it."""

    request: UpdateRequest
    route: Route
    refusal: Answer | None = None
    ranged: bool = False
    capabilities: Headers = ()
    """What is answered to a device that says what it can."""
    hardware: Hardware = NO_HARDWARE
    """What it says of the chip."""
    said: Said | None = None
    """What proofs are over, once one was asked for."""
    decisions: dict[tuple[Choice, int, bool, bool], Decision] = field(default_factory=dict)
    """Those that were made, by what they depend on: release, deliveries in vain, whether a proof is wanted, a pin."""


@dataclass(frozen=True)
class DeviceApp:
    """Answers what devices ask of the `catalog`, and keeps what is known of them in `devices`."""

    catalog: Catalog
    devices: Recorder
    telemetry: Telemetry
    proofs: ProofCheck
    enrolment: Enrolment
    patches: Patches
    labels: Labels
    notes: ReleaseNotes

    def answer(self, request: DeviceRequest) -> Answer:
        """Return the answer to a request, 503 for a fault; raises LaterError where that takes a disk."""
        cached = _parse(request.head)
        identity, answer = request.identity or UNKNOWN_CLIENT, cached.refusal
        try:
            if answer is None:
                identity = request.identity or self._identify(cached, request)
                answer = self._answer(cached, request, identity)
        except OtasealError as error:
            answer = fault(error)
        except LaterError as later:
            later.request, work = request._replace(identity=identity), later.work
            later.work = lambda: (done := work()) and _with_capabilities(cached, identity, done)
            raise
        return _with_capabilities(cached, identity, answer)

    def _identify(self, cached: _Shared, request: DeviceRequest) -> Identity:
        certificate, proof, mac = request.certificate, request.proof, request.mac or cached.request.mac
        if mac is None and proof is not None:  # the core's updater names the device, and asks for firmware alone
            mac = proof.device
        name = "" if certificate is None else certificate.name
        product = self.catalog.product_of(cached.route.product)
        if name or mac is None or product is None:
            proven = bool(name)
            return Identity(Standing(device_id(mac, name), proven=proven, accepted=proven or certificate is not None))
        if cached.said is None:
            cached.said = said(request.head.path, request.head.headers)
        identity = self.proofs.identify(Claim(product, mac, cached.said), proof, _network(request))
        if certificate is None:
            return identity
        # One without a name shows that it is a device of ours, and not which one.
        return identity._replace(standing=identity.standing._replace(accepted=True))

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

    def _answer(self, cached: _Shared, request: DeviceRequest, identity: Identity) -> Answer:
        standing = identity.standing
        if cached.route.file == CERTIFICATE_FILE:
            proven = standing.proven or identity.met
            return self.enrolment.answer(request, cached.route, standing.device, proven=proven)
        if cached.route.file == ARCHIVE_FILE:
            return self._archive(cached, request.head, standing)
        return self._firmware(cached, request, identity)

    def _firmware(self, cached: _Shared, request: DeviceRequest, identity: Identity) -> Answer:
        standing, (product, channel) = identity.standing, (cached.route.product, cached.route.channel)
        choice = self.catalog.choose(product, channel, standing.device, cached.request.runs, self._tags)
        waits = self._wait(choice, standing.device) if choice.opening and cached.capabilities else None
        deliveries, before = self._record_poll(cached, request, identity, choice)
        decision = self._decide(cached, choice, deliveries, standing)
        body: bytes | memoryview = decision.body
        if decision.form is not None:
            patched = self._patched(decision, request.head, deliveries)
            decision, body = patched or (decision, self._body(decision.form.blob))
        headers = decision.headers
        if decision.form is not None and cached.capabilities and choice.product and choice.release:
            headers = (*headers, *self.notes.headers(choice.product, choice.release.version))
        if decision.form is not None and cached.request.method == "GET":
            self._offer(cached, request, standing, choice)
        elif decision.answered != before is not None and decision.answered:
            self._note_answer(request, standing, choice, decision.answered)
        answer = Answer(
            decision.status,
            headers,
            body,
            decision.code,
            decision.reason,
            standing.device,
            choice,
            delivers=decision.form is not None and cached.request.method == "GET",
            alarm=decision.alarm,
            proven=standing.proven,
            form="" if decision.form is None else decision.form.kind,
        )
        if decision.code == "window" and waits is not None:
            return answer._replace(headers=(*answer.headers, (decisions.WAIT_HEADER, str(waits))))
        if decision.blob is None or not cached.ranged:
            return answer
        return ranged(answer, request.head.headers, decision.blob)

    def _wait(self, choice: Choice, device: str | None) -> int | None:
        """Return in how many seconds a device that waits for its window is to ask, None where its own pace is right."""
        if choice.opening is None or choice.product is None or device is None:
            return None
        row, now = self.devices.row(choice.product, device), time.time()
        return wait(choice.opening, now, device, USUAL_PACE if row is None else now - row.last_seen)

    def _tags(self, product: str, device: str) -> frozenset[str]:
        return self.labels.tags_of(product, device, self.devices.row(product, device))

    def _patched(self, decision: Decision, head: Head, deliveries: int) -> tuple[Decision, bytes] | None:
        """Return the decision to send a patch, and that, None where there is none that is smaller.

        After a delivery that came to nothing there is none either, but for who asks for the rest of one: what the
        device's system had acknowledged when its link broke was delivered.
        """
        patch = None if decision.patch is None else self.patches.find(decision.patch)
        if patch is None or decision.form is None or patch.form.size >= decision.form.size:
            return None
        if deliveries and (b"if-range", f'"{patch.form.blob}"'.encode()) not in head.headers:
            return None
        return decisions.patched(decision, patch.form), patch.data

    def _decide(self, cached: _Shared, choice: Choice, deliveries: int, standing: Standing) -> Decision:
        """Return the decision on a request, which is made once for a fleet."""
        unproven = self.proofs.keys.closed is not None and not standing.accepted
        pinned = self.labels.is_pinned(choice.product or "", standing.device)
        decision = cached.decisions.get(case := (choice, deliveries, unproven, pinned))
        if decision is None:
            if len(cached.decisions) >= MAX_DECISIONS:
                cached.decisions.clear()
            closed = choice.opening is not None
            state = decisions.State(
                choice.known, deliveries, choice.held, choice.missing, unproven, pinned, choice.behind, closed
            )
            decision = cached.decisions[case] = decisions.decide(cached.request, choice.release, state)
        return decision

    def _archive(self, cached: _Shared, head: Head, standing: Standing) -> Answer:
        """Return the answer to a device that asks for certificates, of which any number may come."""
        record, missing = self.catalog.archive(cached.route.product, cached.route.channel)
        decision = decide_archive(cached.request, record, missing)
        body = decision.body if decision.blob is None else self._body(decision.blob)
        answer = Answer(decision.status, decision.headers, body, decision.code, decision.reason, standing.device)
        if decision.blob is None or not cached.ranged:
            return answer
        return ranged(answer, head.headers, decision.blob)

    def _record_poll(
        self, cached: _Shared, request: DeviceRequest, identity: Identity, choice: Choice
    ) -> tuple[int, str | None]:
        """Record that a device asked, and return how often it was given the release in vain.

        Beside it stands why its poll before was answered as it was; None where that is not kept.
        """
        said, (device, proven, enrolled, _) = cached.request, identity.standing
        if device is None or choice.product is None or choice.release is None:
            return 0, None
        claimed = said.runs or "", said.version or "", request.mac or said.mac or ""
        report = said.counter, said.error, said.certs or ""
        place = choice.product, choice.channel or "", device
        sighting = Sighting(*place, *claimed, *report, _network(request), enrolled, proven, cached.hardware)
        try:
            return self.devices.poll(sighting, choice.release.version, time.time(), identity.sequence)
        except SystemFaultError as error:  # devices get their updates all the same
            self.telemetry.alarm("devices", message=error.message)
            return 0, None

    def _note_answer(self, request: DeviceRequest, standing: Standing, choice: Choice, answered: str) -> None:
        assert choice.product is not None
        assert standing.device is not None
        asking = Asking(choice.product, standing.device, _network(request), standing.proven)
        self.devices.answer(asking, answered, time.time())

    def _offer(self, cached: _Shared, asked: DeviceRequest, standing: Standing, choice: Choice) -> None:
        request, device = cached.request, standing.device
        if device is None or choice.product is None or choice.release is None:
            return
        image = own_image(request, choice.release, choice.known)
        assert image is not None  # it is being sent
        # What the device comes back with: a raw image goes only to chips of its mode, and a gzip brings its own along.
        mode, names = image.flash_mode, image.runs
        expected = names[0] if len(names) == 1 else "" if mode is None else names[mode]
        asking = Asking(choice.product, device, _network(asked), standing.proven)
        self.devices.offer(asking, choice.release.version, expected, time.time())

    def account(self, request: DeviceRequest, answer: Answer, sent: int, arrived: bool) -> None:
        """Count and log an answer: `sent` bytes of its body, and whether all of them `arrived`."""
        choice, device = answer.choice, answer.device
        if answer.delivers and arrived and device and choice.product and choice.release:
            asking = Asking(choice.product, device, _network(request), answer.proven)
            self.devices.deliver(asking, choice.release.version, time.time())
            self.telemetry.count("otaseal_deliveries_total", form=answer.form)
        self.telemetry.add(_counter(answer.status, answer.code))
        if answer.delivers:
            self.telemetry.count("otaseal_sent_bytes_total", sent)
        if answer.alarm:
            self.telemetry.count("otaseal_alarms_total", kind="device")
        head, cut = request.head, bool(sent and not arrived)
        event = _event(
            head.method,
            head.path[:MAX_PATH],
            answer.status,
            answer.code,
            answer.reason[:MAX_REASON],
            answer.alarm,
            sent,
            cut,
        )
        self.telemetry.write(DeviceEvent(event, answer.device, request.address))


def _parse(head: Head) -> _Shared:
    """Return what a head claims: the same object for the same head, as long as it is remembered."""
    if head.memo is not None:
        return cast(_Shared, head.memo)
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
    capabilities = () if request.capabilities is None else ((CAPABILITIES_HEADER, CAPABILITIES),)
    head.memo = cached = _Shared(request, target, refusal, ranged, capabilities, _hardware(request))
    return cached


def _hardware(said: UpdateRequest) -> Hardware:
    chip = said.family if said.family in FAMILIES else ""
    return Hardware(said.board or "", chip, said.free_space, said.sketch_size, said.chip_size, said.sdk_version or "")


def _with_capabilities(cached: _Shared, identity: Identity, answer: Answer) -> Answer:
    """Return the answer with what the server offers to who asked for that, and what is wrong with a proof."""
    more = cached.capabilities
    if identity.answer:
        more = (*more, (PROOF_HEADER, identity.answer))
    return answer._replace(headers=(*answer.headers, *more)) if more else answer


def _network(request: DeviceRequest) -> str:
    """Return from where it is asked; "" where a certificate proves the name, which may ask from anywhere."""
    certificate = request.certificate
    return "" if request.address is None or (certificate and certificate.name) else origin(request.address)


@lru_cache(MAX_COUNTERS)
def _counter(status: int, code: str) -> Labelled:
    return labelled("otaseal_device_requests_total", status=str(status), code=code)


@lru_cache(MAX_EVENTS)
def _event(method: str, path: str, status: int, code: str, reason: str, alarm: bool, sent: int, cut: bool) -> Event:
    """Return what the log says of an answer to any device."""
    return make_event(
        "device",
        alarm=alarm or None,
        method=method if method in ("GET", "HEAD") else "other",
        path=path,
        status=status,
        code=code,
        reason=reason,
        sent=sent or None,
        cut=cut or None,
    )
