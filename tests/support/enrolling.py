"""Devices that enrol: requests for a certificate as a chip makes them, and a device at the end of a serial line."""

from __future__ import annotations

import base64
import os
import secrets
import select
import threading
import tty

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

MAC = "5C:CF:7F:00:00:01"


def csr(key: ec.EllipticCurvePrivateKey, name: str = MAC) -> bytes:
    """Return a certificate request (DER) of the device `name`."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.DER)


class SerialDevice:
    """A device on a serial line, a pseudo-terminal: `with SerialDevice() as device:` and enrol at `device.port`.

    It follows the protocol of docs/adr/0021-enrolment.md and keeps what it gets: `received` are the host's lines,
    `certificate` is what it took, DER. To misbehave: `deaf` hellos are not heard, `introduction` is said in place of
    its own, `verdicts` to each certificate (None: nothing; the last one from then on), `chatter` before every answer.
    """

    SECONDS = 60.0

    def __init__(
        self,
        name: str = MAC,
        *,
        deaf: int = 0,
        introduction: bytes | None = None,
        verdicts: tuple[bytes | None, ...] = (b"otaseal ok",),
        chatter: bytes = b"",
    ) -> None:
        self.name, self.deaf, self.introduction = name, deaf, introduction
        self.verdicts, self.chatter = verdicts, chatter
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.proof_key = secrets.token_bytes(32)
        self.received: list[str] = []
        self.certificate: bytes | None = None
        self.errors: list[Exception] = []
        self._controller, terminal = os.openpty()
        tty.setraw(terminal)
        self.port = os.ttyname(terminal)
        self._terminal = terminal  # kept open, so that the line is there before and after the host
        self._stop, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> SerialDevice:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._wake, b"x")
        self._thread.join(self.SECONDS)
        for descriptor in (self._controller, self._terminal, self._stop, self._wake):
            os.close(descriptor)
        if self.errors:
            raise self.errors[0]

    def introduce(self) -> bytes:
        """Return the line in which the device says who it is."""
        request = base64.b64encode(csr(self.key, self.name))
        name = self.name.replace(":", "").lower()
        return f"otaseal device {name} {self.proof_key.hex()} ".encode() + request

    def _serve(self) -> None:
        buffered = b""
        try:
            while True:
                ready, _, _ = select.select([self._controller, self._stop], [], [])
                if self._controller not in ready:
                    return
                buffered += os.read(self._controller, 4096)
                *lines, buffered = buffered.split(b"\n")
                for line in lines:
                    self._hear(line.decode())
        except Exception as error:  # raised again when the device is switched off
            self.errors.append(error)

    def _hear(self, line: str) -> None:
        self.received.append(line)
        if line == "otaseal hello":
            if self.deaf:
                self.deaf -= 1
            else:
                self._say(self.introduce() if self.introduction is None else self.introduction)
        elif line.startswith("otaseal certificate "):
            self._take(line.split(" ")[2])
            verdict, self.verdicts = self.verdicts[0], self.verdicts[1:] or self.verdicts
            if verdict is not None:
                self._say(verdict)

    def _take(self, text: str) -> None:
        assert len("otaseal certificate ") + len(text) <= 1200, "the library has no room for more"
        certificate = base64.b64decode(text, validate=True)
        if certificate != self.certificate:
            parsed = x509.load_der_x509_certificate(certificate)
            assert parsed.public_key() == self.key.public_key()
        self.certificate = certificate
        self.key = ec.generate_private_key(ec.SECP256R1())  # of its next request

    def _say(self, line: bytes) -> None:
        os.write(self._controller, self.chatter + line + b"\r\n")
