"""Devices that ask a server for a certificate: a key as a chip makes it, and what is sent for it."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from otaseal.pki.enrolment import check_request
from otaseal.store.claims import Claim
from otaseal.store.enrolments import Enrolments
from otaseal.store.secrets import SECRETS_FILE, Secrets
from support.enrolling import csr
from support.proving import CAPABILITIES, ProvingDevice
from support.servers import PRODUCT, Reply, Running, World, get, talk

NOW = datetime.now(timezone.utc)
KITCHEN, ATTIC = "5C:CF:7F:F0:04:CB", "5C:CF:7F:00:00:01"


@dataclass
class Chip:
    """A device with a key that never leaves it, and the certificate that it got."""

    name: str = KITCHEN
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()), repr=False)

    def request(self, name: str | None = None) -> bytes:
        """Return a certificate request, DER."""
        return csr(self.key, name or self.name)

    def lines(self, claim: str | None = None) -> list[str]:
        """Return the headers by which it asks."""
        lines = [f"x-ESP8266-STA-MAC: {self.name}", f"X-Otaseal-Csr: {base64.b64encode(self.request()).decode()}"]
        return lines if claim is None else [*lines, f"X-Otaseal-Claim: {claim}"]

    def ask(
        self, server: Running, claim: str | None = None, *, client: Path | None = None, path: str = "/blink/client.crt"
    ) -> Reply:
        """Ask for a certificate, over a connection with that of the folder `client`."""
        return talk(server.world.context(client), server.port, get(path, *self.lines(claim)))

    def ask_proving(
        self, server: Running, prover: ProvingDevice, claim: str | None = None, *, last: bool = True
    ) -> str:
        """Ask with a proof, heed the answer, and return its status and what it says.

        The proof is the `last` header; or else it alone names the device, and the request stands behind it, as the
        device library does it.
        """
        lines = self.lines(claim)
        wire = prover.prove(get("/blink/client.crt", *(lines if last else ())))
        if not last:
            wire = wire.removesuffix(b"\r\n") + "".join(f"{line}\r\n" for line in lines[1:]).encode() + b"\r\n"
        reply = talk(server.world.context(), server.port, wire)
        assert reply.headers["x-otaseal-capabilities"] == CAPABILITIES
        return f"{reply.status} {prover.heed(reply.headers)}".strip()

    def keep(self, certificate: bytes, folder: Path) -> Path:
        """Write a certificate (DER) and its key as a client needs them, and return their folder."""
        folder.mkdir(parents=True)
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / "key.pem").write_bytes(pem)
        (folder / "chain.pem").write_bytes(x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM))
        return folder


def claimed(server: Running, device: str = "", uses: int = 1, days: int = 7) -> tuple[Claim, str]:
    """Make a claim code beside the running server, as the command does."""
    with Secrets(server.store / SECRETS_FILE) as secrets:
        return Enrolments(secrets).claims.issue(PRODUCT, device, days, uses, NOW)


def signed(world: World, request: bytes, days: int = 398) -> bytes:
    """Return the certificate that the devices' authority gives for a request, DER."""
    return world.pki.enroll(check_request(request), now=NOW, days=days).der
