"""One poll, played: the order in which a device does things, and what is left of it afterwards.

The judging is elsewhere; here it is called in the device's order, and each judgement becomes a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..errors import ConfigError, counted
from . import flash as chip
from . import library, rotation, updater
from .anchors import AnchorList, Trust
from .connection import Endpoint, dial
from .core import core_rules
from .eboot import restart
from .error_numbers import RECEIVED_ALERT, HttpError, UpdateError, describe_tls
from .filesystem import read_file
from .firmware import read
from .http_client import Body, RecordedConnection, Response, Url, read_response, request_bytes
from .http_update import NOT_FOUND, NOT_MODIFIED, OK, Claims, judge_answer, judge_first_bytes
from .library import LibraryError
from .probe import probe_fragment_length
from .report import Fault, Result, Step
from .state import State
from .tls import ClientCertificate, Connection, Failure, TlsSettings, handshake
from .trust import ARCHIVE, CLIENT_CHAIN, CLIENT_KEY, check_heap, load_store
from .updater import Setup, Staged

__all__ = ["Answer", "Play"]


Answer = Callable[[bytes], bytes]
"""Takes the bytes of a request, and returns those of the response."""


class _Ended(Exception):
    """The poll is over."""


class Play:
    """One poll of `url`; its attributes are what came of it, `state` is the device afterwards."""

    def __init__(self, state: State, url: Url, timeout: float, host: str | None) -> None:
        self.state, self.url, self.timeout = state, url, timeout
        self.endpoint = Endpoint(url.host, url.port, host or url.host)
        self.own = state.identity
        self.steps: list[Step] = []
        self.result = Result.REFUSED
        self.error = self.tls_error = self.library_error = self.status = 0
        self.request = b""
        self._archive_hash = ""
        self._connection: Connection | None = None

    def update(self) -> Play:
        """Ask for firmware, and take it."""
        try:
            connection = self._connect()
            body, response = self._ask(connection, self._claims())
            self._install(body, response)
        except _Ended:
            pass
        return self._end()

    def renew(self, answer: Answer | None = None) -> Play:
        """Ask for another certificate archive, and take it; only the library does this.

        `answer` is given the request, and what it returns is taken for the server's response.
        """
        if self.own is None:
            raise ConfigError("the firmware of this device does not carry the OtaSeal library", "renew by uploadfs")
        try:
            connection = self._connect()
            body, response = self._ask(connection, {})
            if answer is not None and response.status in (OK, NOT_MODIFIED, NOT_FOUND):
                self._note(Step("answer", f"status {response.status}, in whose place the new one is played", True))
                body = Body(RecordedConnection(answer(self.request)))
                response = read_response(body)
                self.status = response.status
            self._renew(body, response)
        except _Ended:
            pass
        return self._end()

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _end(self) -> Play:
        self._hang_up()
        if self.own is not None:
            if not self.library_error and self.result is Result.REFUSED:
                self.library_error = library.classify(self.error, self.tls_error)
            self.state = replace(self.state, memory=replace(self.state.memory, error=int(self.library_error)))
        return self

    # Getting there

    def _connect(self) -> Connection:
        settings = self._settings(self._trust())
        step = check_heap(settings, self.state.free_heap)
        self._note(step)
        if not step.ok:
            self._give_up(HttpError.CONNECTION_FAILED, step.error)
        wire = dial(self.endpoint, self.timeout)
        where = f"{self.endpoint.name}:{self.endpoint.port}"
        if isinstance(wire, str):
            fault = Fault(HttpError.CONNECTION_FAILED, f"no connection: {wire}", "F29", "no-connection")
            self._refuse("handshake", where, fault)
        assert not isinstance(wire, str)
        found = handshake(wire, settings)
        if isinstance(found, Failure):
            self._failed_handshake(found, where)
        assert isinstance(found, Connection)
        self._connection = found
        self._shook_hands(found, where)
        return found

    def _trust(self) -> Trust:
        if self.state.anchors is not None:
            listed = AnchorList(self.state.anchors)
            self._note(Step("certificates", f"{counted(len(self.state.anchors), 'anchor')} compiled in", True))
            return listed
        heap, auto_format = self.state.free_heap, self.state.auto_format
        ready = load_store(self.state.flash, self.state.layout, heap, auto_format=auto_format)
        self._archive_hash = ready.archive_hash
        self.state = replace(self.state, flash=ready.flash)
        for step in ready.steps:
            self._note(step)
        failed = next((first.name for first in ready.steps if not first.ok), "")
        if self.own is not None and failed:
            self.library_error = LibraryError.FILE_SYSTEM if failed == "filesystem" else LibraryError.NO_CERTIFICATES
            raise _Ended
        return ready.trust

    def _settings(self, trust: Trust) -> TlsSettings:
        receive, send = self.state.receive_buffer, self.state.send_buffer
        if self.state.probe is not None:
            agreed = probe_fragment_length(self.endpoint, self.state.probe, self.timeout)
            receive, send = (self.state.probe, self.state.probe) if agreed else (16384, 512)
            reason = "" if agreed else "the server does not agree: records of 16 KB need their buffer"
            self._note(
                Step("fragment-length", f"records of {self.state.probe} bytes asked for", True, 0, reason, "F27")
            )
        session = self.state.session if self.state.resumes else None
        client = self.state.client or self._own_certificate()
        return TlsSettings(trust, self.endpoint.name, self.state.time, receive, send, client, session)

    def _own_certificate(self) -> ClientCertificate | None:
        """Return the certificate that the library finds in the filesystem."""
        if self.own is None or self.state.anchors is not None:
            return None
        files = (read_file(self.state.flash, self.state.layout, name) for name in (CLIENT_CHAIN, CLIENT_KEY))
        chain, key = files
        return ClientCertificate(chain, key) if chain is not None and key is not None else None

    def _failed_handshake(self, failure: Failure, where: str) -> None:
        self.state = replace(self.state, session=None)
        checked = f"{where}, {counted(len(failure.chain), 'certificate')}" if failure.chain else where
        reason, cause = failure.reason, ""
        if failure.error >= RECEIVED_ALERT:
            reason, cause = describe_tls(failure.error), f"alert-{failure.error - RECEIVED_ALERT}"
        self._note(Step.refused(failure.step, checked, Fault(failure.error, reason, failure.fact, cause)))
        if failure.crash:
            self.result = Result.CRASHED
        self._give_up(HttpError.CONNECTION_FAILED, failure.error)

    def _shook_hands(self, connection: Connection, where: str) -> None:
        how = "resumed" if connection.resumed else counted(len(connection.chain), "certificate")
        self._note(Step("handshake", f"{where}: TLS 1.2, {connection.suite.name}, {how}", True, fact="F21"))
        if connection.chain:
            self._note(Step("certificate-chain", f"for '{self.endpoint.name}'", True, fact="F22"))
        if connection.client_asked:
            shown = "shown" if connection.client_sent else "not shown: the device has none of that kind"
            self._note(Step("client-certificate", shown, True, fact="F28"))
        if self.state.probe is None:
            agreed = "agrees to short records" if connection.fragment_agreed else "sends records as long as it likes"
            self._note(Step("fragment-length", f"the server {agreed}", True, fact="F27"))
        self.state = replace(self.state, session=connection.session if self.state.resumes else None)

    def _claims(self) -> dict[str, str]:
        state = self.state
        return Claims(state.mac, state.flash, state.layout, state.real_size, state.version).headers()

    def _ask(self, connection: Connection, claims: dict[str, str]) -> tuple[Body, Response]:
        if self.own is not None:
            own = {"X-Otaseal-Counter": str(self.own.counter), "X-Otaseal-Error": str(self.state.memory.error)}
            claims = own | {"X-Otaseal-Certs": self._archive_hash or "0" * 64} | claims
        self.request = request_bytes(self.url, claims)
        said = f"GET {self.url.path or '/'} HTTP/1.0, {len(self.request)} bytes"
        if not connection.send(self.request):
            fault = Fault(HttpError.SEND_HEADER_FAILED, "the connection ends while the request is sent", "F29")
            self._refuse("request", said, fault)
        self._note(Step("request", said, True, fact="F28"))
        body = Body(connection)
        response = read_response(body)
        self.status = response.status
        if response.fault is not None:
            self.tls_error = body.wire_error
            self._refuse("answer", f"status {response.status}", response.fault)
        return body, response

    # What comes back

    def _install(self, body: Body, response: Response) -> None:
        rules, state = core_rules(self.state.core), self.state
        answered = f"status {response.status}, {response.size} bytes"
        if response.status == NOT_MODIFIED:
            self._hang_up()
            self._note(Step("answer", "304: nothing newer", True, fact="F29"))
            self.result = Result.UP_TO_DATE
            self.state = replace(state, memory=replace(state.memory, attempts=0))
            raise _Ended
        room = chip.free_space(state.flash, state.layout)
        refused = judge_answer(response, rules, room)
        if refused is not None:
            self._hang_up()
            self._refuse(refused[0], answered, refused[1])
        self._note(Step("answer", answered, True, fact="F29"))
        self._note(Step("space", f"{response.size} of {room} bytes", True, fact="F10"))
        if self._tried_often_enough(response):
            self._hang_up()
            reason = "this very release was tried three times"
            self.error = HttpError.CONNECTION_LOST
            self._refuse("manifest", f"x-MD5 {response.md5}", Fault(LibraryError.ATTEMPTS, reason, "F12"))
        fault = judge_first_bytes(body.peek(4), rules, state.real_size)
        if fault is not None:
            self._hang_up()
            self._refuse("first-byte", body.peek(4).hex(), fault)
        data = body.take(response.size)
        self._hang_up()
        self.tls_error = body.wire_error if len(data) < response.size else 0
        self._write(data, response, self._setup(response))

    def _tried_often_enough(self, response: Response) -> bool:
        stoppable = core_rules(self.state.core).stoppable
        return self.own is not None and stoppable and self.state.memory.exhausted_transfer(response.md5)

    def _setup(self, response: Response) -> Setup:
        state = self.state
        keys = state.firmware.keys if state.keys is None else state.keys
        following = keys[1] if self.own is not None and len(keys) > 1 else None
        return Setup(
            state.core,
            state.layout,
            key=keys[0] if keys else None,
            md5=response.md5 or None,
            flash_size=state.flash_size,
            next_key=following,
        )

    def _write(self, data: bytes, response: Response, setup: Setup) -> None:
        staged = updater.update(self.state.flash, data, setup, response.size)
        self.state = replace(self.state, flash=staged.flash)
        if staged.fault is not None and staged.step not in ("signature", "image"):
            self._refuse(staged.step, f"{len(data)} of {response.size} bytes", staged.fault)
        self._note(Step("write", f"{len(data)} bytes at 0x{staged.address:x}", True))
        verified = "no key in the firmware: nothing is verified" if setup.key is None else "by the key in the firmware"
        if staged.step == "signature" and staged.fault is not None:
            self._note_try(staged, response)
            self._refuse("signature", verified, staged.fault)
        self._note(Step("signature", f"{staged.payload_size} bytes in flash, {verified}", True, fact="F1"))
        if self.own is not None:
            self._manifest(staged, response)
        if staged.fault is not None:
            self._refuse("image", "what lies in flash", staged.fault)
        self._restart(staged)

    def _note_try(self, staged: Staged, response: Response) -> None:
        if self.own is not None and staged.payload_size < response.size:
            self.state = replace(self.state, memory=self.state.memory.noted(staged.payload, response.md5))

    def _manifest(self, staged: Staged, response: Response) -> None:
        assert self.own is not None
        offered = library.find(staged.payload)
        fault = library.judge(offered, self.own)
        if fault is None and self.state.memory.exhausted(staged.payload):
            fault = Fault(LibraryError.ATTEMPTS, "this very release was tried three times", "F12")
        self._note_try(staged, response)
        said = f"counter {offered.counter}, version {offered.version}" if offered else "none"
        if fault is not None:
            self.library_error = fault.error
            self._note(Step.refused("manifest", said, fault))
            self.error = UpdateError.SIGN
            raise _Ended
        self._note(Step("manifest", said, True, fact="F11"))

    def _restart(self, staged: Staged) -> None:
        after = restart(staged.flash, staged.command, self.state.core)
        assert staged.command is not None
        copied = f"{staged.command.size} bytes from 0x{staged.command.source:x} to 0, {after.written} written"
        whole = after.result == 0 and after.written > 0 and not after.reason
        self._note(Step("copy", copied, whole, after.result, after.reason, after.fact))
        self._note(Step("boot", f"boot block and application of {self.state.core}", after.starts, 0, after.reason))
        self.state = replace(self.state, flash=after.flash, session=None)
        if not after.starts or (after.written and not after.intact):
            self.result = Result.BRICKED
            raise _Ended
        if not after.written:
            raise _Ended  # the old firmware runs on, and nobody said why
        self.result = Result.UPDATED
        self._started()

    def _started(self) -> None:
        """Take from the new firmware what it says of itself."""
        found = read(self.state.flash[: self.state.layout.fs_start])
        core = found.core or self.state.core
        version = library.read_record(found.identity).version if found.identity else self.state.version
        self.state = replace(self.state, core=core, version=version)
        self._note(Step("result", f"runs sketch {chip.sketch_md5(self.state.flash)}, core {core}", True, fact="F30"))

    def _renew(self, body: Body, response: Response) -> None:
        answered = f"status {response.status}, {response.size} bytes"
        if response.status != OK:
            self._hang_up()
            if response.status not in (NOT_MODIFIED, NOT_FOUND):
                self._refuse("answer", answered, Fault(LibraryError.HTTP, f"status {response.status}", "F29"))
            self._note(Step("answer", answered, True, fact="F29"))
            self.result = Result.UP_TO_DATE
            raise _Ended
        fault = rotation.judge_size(response.size)
        data = b"" if fault else body.take(response.size)
        self._hang_up()
        if fault is None and len(data) < response.size:
            fault = Fault(LibraryError.TRUNCATED, f"{len(data)} of {response.size} bytes arrive", "F29")
        if fault is not None:
            self._refuse("answer", answered, fault)
        self._note(Step("answer", answered, True, fact="F29"))
        self._take_archive(data)

    def _take_archive(self, data: bytes) -> None:
        assert self.own is not None
        keys = self.state.firmware.keys if self.state.keys is None else self.state.keys
        taken = rotation.judge_archive(data, keys, self.own, self.state.memory.certificates)
        if isinstance(taken, Fault):
            self._refuse("manifest", f"{len(data)} bytes", taken)
        assert not isinstance(taken, Fault)
        self._note(Step("manifest", f"{len(taken.archive)} bytes of archive, built {taken.built}", True, fact="F14"))
        wire = dial(self.endpoint, self.timeout)
        settings = replace(self._settings(taken.store), session=None)
        found = Failure("handshake", 0, wire, "F29") if isinstance(wire, str) else handshake(wire, settings)
        if isinstance(found, Failure):
            reason = f"with it the server would not be trusted any more: {found.reason}"
            self._refuse("certificate-chain", "the new archive", Fault(LibraryError.ARCHIVE_LOCKOUT, reason, "F17"))
        assert isinstance(found, Connection)
        found.close()
        self._note(Step("certificate-chain", "the new archive, against this server", True, fact="F17"))
        flash = rotation.store(self.state.flash, self.state.layout, taken)
        if flash is None:
            fault = Fault(LibraryError.ARCHIVE_WRITE, "no room in the filesystem", "F19")
            self._refuse("write", f"{ARCHIVE}, {len(taken.archive)} bytes", fault)
        assert flash is not None
        memory = replace(self.state.memory, certificates=taken.built)
        self.state = replace(self.state, flash=flash, memory=memory, session=None)
        self._note(Step("result", f"{ARCHIVE} renewed, {counted(taken.store.count, 'certificate')}", True, fact="F16"))
        self.result = Result.UPDATED

    # Bookkeeping

    def _note(self, step: Step) -> None:
        self.steps.append(step)

    def _refuse(self, name: str, checked: str, fault: Fault) -> None:
        self._note(Step.refused(name, checked, fault))
        if isinstance(fault.error, LibraryError):
            self.library_error = fault.error
            raise _Ended
        self._give_up(fault.error, self.tls_error)

    def _give_up(self, error: int, tls_error: int) -> None:
        self.error, self.tls_error = error, tls_error
        raise _Ended
