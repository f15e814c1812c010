"""One poll of a server, in the order of the device; each check becomes a step of the outcome."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from ..errors import counted
from . import library
from .anchors import AnchorList, Trust
from .certstore import CLIENT_CHAIN, CLIENT_KEY, load_store
from .connection import Socket, dial
from .error_numbers import OUT_OF_MEMORY, RECEIVED_ALERT, HttpError, UpdateError, describe_alert
from .filesystem import read_file
from .http_client import Body, Response, Url, read_response, request_bytes
from .http_update import NOT_MODIFIED, OK, PARTIAL_CONTENT, judge_status
from .library import LibraryError
from .probe import probe_fragment_length
from .report import Fault, Outcome, Result, Step
from .tls import ClientCertificate, Connection, Failure, TlsSettings, handshake

if TYPE_CHECKING:
    from .device import Device

CONTEXTS = 5_200
"""Bytes that a connection takes beside its buffers, so that it is about 22 KB with those of the core (F27)."""

PATCHES = "1 patch1"
"""The version of the library's protocol, and that patches of format 1 are taken."""
MOST_REOPENED = 12
"""Connections after the first one over which the library goes on with a download (download.cpp)."""


class PollEnded(Exception):
    """The poll has ended early."""


class Poll:
    """One poll of `url`; its attributes are what came of it, `device` is the device afterwards."""

    def __init__(self, device: Device, url: Url, timeout: float, host: str | None) -> None:
        self.device, self.url, self.timeout = device, url, timeout
        self.address = host or url.host
        self.own = device.identity
        self.steps: list[Step] = []
        self.result = Result.REFUSED
        self.error = self.tls_error = self.library_error = self.status = 0
        self.request = b""
        self._archive_hash = ""
        self._connection: Connection | None = None

    def run(self) -> Outcome:
        """Run the poll to its end."""
        with suppress(PollEnded):
            self.exchange(self._connect())
        self.hang_up()
        if self.own is not None:
            if not self.library_error and self.result is Result.REFUSED:
                self.library_error = library.classify(self.error, self.tls_error)
            memory = replace(self.device.memory, error=int(self.library_error))
            self.device = replace(self.device, memory=memory)
        return Outcome(
            result=self.result,
            steps=tuple(self.steps),
            device=self.device,
            error=self.error,
            tls_error=self.tls_error,
            library_error=self.library_error,
            status=self.status,
            request=self.request,
        )

    def exchange(self, connection: Connection) -> None:
        """Ask for something over `connection`, and take it; raises PollEnded where the poll ends early."""
        raise NotImplementedError

    def passed(self, name: str, checked: str, fact: str = "") -> None:
        """Add a step that is good."""
        self.steps.append(Step(name, checked, fact=fact))

    def refuse(self, name: str, checked: str, fault: Fault) -> NoReturn:
        """Add the step at which `fault` ends the poll."""
        self.steps.append(Step.refused(name, checked, fault))
        if isinstance(fault.error, LibraryError):
            self.library_error = fault.error
        else:
            self.error = fault.error
        raise PollEnded

    def hang_up(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def ask(self, connection: Connection, headers: dict[str, str]) -> tuple[Body, Response]:
        """Send the request with `headers`, and read those of the answer."""
        if self.own is not None:
            own = {"X-Otaseal-Counter": str(self.own.counter), "X-Otaseal-Error": str(self.device.memory.said)}
            own |= {"X-Otaseal-Certs": self._archive_hash or "0" * 64, "X-Otaseal-Board": self.own.board.hex()}
            headers = own | headers
        self.request = request_bytes(self.url, headers, self.device.dialect)
        checked = f"GET {self.url.path or '/'} HTTP/1.0, {len(self.request)} bytes"
        if not connection.send(self.request):
            reason = "the connection ends while the request is sent"
            self.refuse("request", checked, Fault(HttpError.SEND_HEADER_FAILED, reason, "F29"))
        self.passed("request", checked, "F28")
        body = Body(connection)
        response = read_response(body, self.device.dialect)
        self.status = response.status
        if response.fault is not None:
            self.tls_error = body.tls_error
            self.refuse("answer", f"status {response.status}", response.fault)
        return body, response

    def dial(self) -> Socket | str:
        """Return a TCP connection to the server, or the reason why there is none."""
        return dial(self.address, self.url.port, self.timeout)

    def tls_settings(self, trust: Trust) -> TlsSettings:
        """Return the TLS client's settings, after a probe for short records where the device makes one."""
        device = self.device
        receive, send = device.receive_buffer, device.send_buffer
        if device.probe is not None:
            agreed = probe_fragment_length(self.address, self.url.port, size=device.probe, timeout=self.timeout)
            receive, send = (device.probe, device.probe) if agreed else (16384, 512)
            reason = "" if agreed else "the server does not agree: records of 16 KB need their buffer"
            checked = f"records of {device.probe} bytes asked for"
            self.steps.append(Step("fragment-length", checked, reason=reason, fact="F27"))
        return TlsSettings(
            trust,
            name=self.url.host,
            now=device.time,
            receive_buffer=receive,
            send_buffer=send,
            client=device.client or self._own_certificate(),
            session=device.session if device.resumes else None,
        )

    def _connect(self) -> Connection:
        settings = self.tls_settings(self._trust())
        self._check_heap(settings)
        connected = self.dial()
        where = f"{self.url.host}:{self.url.port}"
        if not isinstance(connected, Socket):
            fault = Fault(HttpError.CONNECTION_FAILED, f"no connection: {connected}", "F29", "no-connection")
            self.refuse("handshake", where, fault)
        connection = handshake(connected, settings)
        if isinstance(connection, Failure):
            self._refuse_handshake(connection, where)
        self._connection = connection
        self._handshake_passed(connection, where)
        return connection

    def _trust(self) -> Trust:
        device = self.device
        if device.anchors is not None:
            self.passed("certificates", f"{counted(len(device.anchors), 'anchor')} compiled in")
            return AnchorList(device.anchors)
        loaded = load_store(device.flash, device.layout, device.free_heap, auto_format=device.auto_format)
        self._archive_hash = loaded.archive_hash
        self.device = replace(device, flash=loaded.flash)
        self.steps += loaded.steps
        failed = next((step.name for step in loaded.steps if not step.ok), "")
        if self.own is not None and failed:
            self.library_error = LibraryError.FILE_SYSTEM if failed == "filesystem" else LibraryError.NO_CERTIFICATES
            raise PollEnded
        return loaded.store

    def _check_heap(self, settings: TlsSettings) -> None:
        """Refuse where the buffers and BearSSL's contexts do not fit in the heap (F27)."""
        needed, free = settings.memory + CONTEXTS, self.device.free_heap
        buffers = f"{settings.receive_buffer} in, {settings.send_buffer} out"
        checked = f"{needed} bytes for a connection ({buffers}), {free} free"
        if needed > free:
            reason = "the buffers do not fit in the heap: negotiate shorter records"
            self._refuse_connection("heap", checked, Fault(OUT_OF_MEMORY, reason, "F27"))
        self.passed("heap", checked, "F27")

    def _own_certificate(self) -> ClientCertificate | None:
        """Return the certificate that the library finds in the filesystem."""
        if self.own is None or self.device.anchors is not None:
            return None
        chain = read_file(self.device.flash, self.device.layout, CLIENT_CHAIN)
        key = read_file(self.device.flash, self.device.layout, CLIENT_KEY)
        return ClientCertificate(chain=chain, key=key) if chain is not None and key is not None else None

    def _refuse_handshake(self, failure: Failure, where: str) -> NoReturn:
        self.device = replace(self.device, session=None)
        checked = f"{where}, {counted(len(failure.chain), 'certificate')}" if failure.chain else where
        reason, cause = failure.reason, ""
        if failure.error >= RECEIVED_ALERT:
            reason, cause = describe_alert(failure.error), f"alert-{failure.error - RECEIVED_ALERT}"
        if failure.crash:
            self.result = Result.CRASHED
        self._refuse_connection(failure.step, checked, Fault(failure.error, reason, failure.fact, cause))

    def _refuse_connection(self, name: str, checked: str, fault: Fault) -> NoReturn:
        """Add the step at which there is no connection; the fault's number is BearSSL's."""
        self.steps.append(Step.refused(name, checked, fault))
        self.error, self.tls_error = HttpError.CONNECTION_FAILED, fault.error
        raise PollEnded

    def _handshake_passed(self, connection: Connection, where: str) -> None:
        device = self.device
        how = "resumed" if connection.resumed else counted(len(connection.chain), "certificate")
        self.passed("handshake", f"{where}: TLS 1.2, {connection.suite.name}, {how}", "F21")
        if connection.chain:
            self.passed("certificate-chain", f"for '{self.url.host}'", "F22")
        if connection.client_asked:
            shown = "shown" if connection.client_sent else "not shown: the device has none of that kind"
            self.passed("client-certificate", shown, "F28")
        if device.probe is None:
            agreed = "agrees to short records" if connection.fragment_agreed else "sends records as long as it likes"
            self.passed("fragment-length", f"the server {agreed}", "F27")
        self.device = replace(device, session=connection.session if device.resumes else None)


class UpdatePoll(Poll):
    """A poll for firmware: what the cores have in common, and the library's part where the firmware carries it."""

    def exchange(self, connection: Connection) -> None:
        """Ask for firmware, and install it."""
        body, response = self.ask(connection, self._firmware_headers())
        if response.status == NOT_MODIFIED:
            self.passed("answer", "304: nothing newer", "F29")
            self.result = Result.UP_TO_DATE
            self.device = replace(self.device, whole_only=False)
            if not self.device.memory.gave_way:
                self.device = replace(self.device, memory=replace(self.device.memory, attempts=0))
            return
        is_patch = self._begin(response, body)
        data = body.take(response.size)
        reopened = MOST_REOPENED if self.own is not None else 0
        while len(data) < response.size and response.tag.startswith('"') and reopened > 0:
            reopened -= 1
            body, part = self._go_on(len(data), response)
            if part.status == OK:
                is_patch = self._begin(part, body)
                response, data = part, b""
            data += body.take(response.size - len(data))
        self.hang_up()
        self.tls_error = body.tls_error if len(data) < response.size else 0
        if is_patch:
            data, response = self._decode(data, response)
        self.install(data, response)
        self.device = replace(self.device, whole_only=False)

    def _firmware_headers(self) -> dict[str, str]:
        return self.claims() | ({"X-Otaseal-Capabilities": PATCHES} if self.device.takes_patches else {})

    def _begin(self, response: Response, body: Body) -> bool:
        """Judge an answer by its headers and first bytes, if it is no patch; return whether it is one."""
        is_patch = self.device.takes_patches and response.status == OK and response.size > 0
        is_patch = is_patch and body.peek(1) == library.PATCH_START
        if not is_patch:
            self.judge_response(response, body)
        return is_patch

    def _decode(self, data: bytes, response: Response) -> tuple[bytes, Response]:
        """Return the image that a patch makes of the sketch, judged as if it had come whole (installation.cpp)."""
        decoder, sketch = self.device.decoder, self.device.sketch
        assert decoder is not None
        self.passed("answer", f"status {response.status}, a patch of {response.size} bytes", "F29")
        self.refuse_exhausted(response)
        checked = f"{len(data)} of {response.size} bytes, for a sketch of {len(sketch)}"
        if len(data) < response.size:
            self.refuse("patch", checked, Fault(LibraryError.TRUNCATED, "the rest of it does not come", "F113"))
        self.device = replace(self.device, whole_only=True)
        made = decoder(sketch, data)
        if isinstance(made, Fault):
            self.refuse("patch", checked, made)
        self.passed("patch", f"{len(data)} bytes make {len(made)} of the sketch's {len(sketch)}", "F30b")
        response = replace(response, size=len(made))
        self.judge_response(response, Body(None, made))
        return made, response

    def _go_on(self, done: int, response: Response) -> tuple[Body, Response]:
        """Ask over another connection for what is behind `done` bytes of a body (download.cpp); 200 begins anew."""
        self.hang_up()
        wanted = {"Range": f"bytes={done}-", "If-Range": response.tag}
        body, part = self.ask(self._connect(), self._firmware_headers() | wanted)
        size, checked = response.size, f"the rest behind {done} of {response.size} bytes"
        rest = (PARTIAL_CONTENT, f"bytes {done}-{size - 1}/{size}", response.tag, size - done)
        if part.status != OK and (part.status, part.content_range, part.tag, part.size) != rest:
            fault = judge_status(part)
            reason = f"status {part.status}, '{part.content_range}': not the rest of the same file"
            error = library.classify(fault.error, 0) if fault is not None else LibraryError.HTTP
            self.refuse("answer", checked, Fault(error, reason, "F113"))
        self.passed("answer", f"{checked}, status {part.status}", "F113")
        return body, part

    def claims(self) -> dict[str, str]:
        """Return what the core says of the device, as headers."""
        raise NotImplementedError

    def judge_response(self, response: Response, body: Body) -> None:
        """Refuse what is not an update, by its headers or the first bytes of its body."""
        raise NotImplementedError

    def install(self, data: bytes, response: Response) -> None:
        """Write what was sent, judge it, and restart."""
        raise NotImplementedError

    def refuse_exhausted(self, response: Response) -> None:
        """With the library, refuse a release that was tried often enough, by the MD5 that is announced."""
        if self.own is not None and self.device.memory.exhausted_transfer(response.md5):
            self.refuse("manifest", f"x-MD5 {response.md5}", library.EXHAUSTED)

    def note_attempt(self, payload: bytes, response: Response) -> None:
        """Have the library count a try at `payload`, which is shorter than the body where a signature was found."""
        if self.own is not None and len(payload) < response.size:
            self.device = replace(self.device, memory=self.device.memory.noted(payload, response.md5))

    def judge_signature(self, written: str, key: object, fault: Fault | None) -> None:
        """Add the step of the signature over what was `written`, and the `fault`; `key` None: nothing is verified."""
        verified = "no key in the firmware: nothing is verified" if key is None else "by the key in the firmware"
        if fault is not None:
            self.refuse("signature", verified, fault)
        self.passed("signature", f"{written}, {verified}", "F1")

    def judge_manifest(self, payload: bytes, fault: Fault | None) -> None:
        """Add the library's step: what `payload` says of itself, and the `fault`, if there is one."""
        if self.own is None:
            return
        offered = library.find(payload)
        checked = f"counter {offered.counter}, version {offered.version}" if offered else "none"
        if fault is not None:
            self.error = UpdateError.SIGN
            self.refuse("manifest", checked, fault)
        self.passed("manifest", checked, "F11")
