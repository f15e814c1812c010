"""Client certificates end when they expire, and no session that was made before is a way around that."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from otaseal.pki.authority import Authority
from otaseal.pki.profile import Role, Validity, leaf_builder, root_builder, subject_name
from otaseal.server.tls import ClientCertificate
from support.servers import SECONDS, Running, StartServer, World, get, talk, until

LIFE = 5
"""Seconds that the certificates here have left: time for two connections each."""
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
REFUSED = (ssl.SSLError, ConnectionError, AssertionError)


def write(folder: Path, builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey, issuer: object) -> Path:
    folder.mkdir()
    signed = builder.sign(issuer, hashes.SHA256())  # type: ignore[arg-type]
    (folder / "chain.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return folder


def client(folder: Path, authority: Authority, name: str, validity: Validity) -> Path:
    """Write key and chain of a client whose certificate is valid just then."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = subject_name(f"blink {authority.role.value}s", name)
    builder = leaf_builder(authority.certificate, authority.role, subject, key.public_key(), validity)
    return write(folder, builder, key, authority.key)


@dataclass
class Resuming:
    """A client that offers the session of its last connection."""

    world: World
    folder: Path
    version: ssl.TLSVersion
    port: int
    session: ssl.SSLSession | None = None
    resumed: bool = False
    context: ssl.SSLContext = field(init=False)

    def __post_init__(self) -> None:
        self.context = self.world.context(self.folder)
        self.context.minimum_version = self.context.maximum_version = self.version

    def ask(self) -> bytes:
        """Return the status line of an answer; raises one of REFUSED."""
        with (
            socket.create_connection(("127.0.0.1", self.port), SECONDS) as raw,
            self.context.wrap_socket(raw, server_hostname="localhost", session=self.session) as connection,
        ):
            connection.sendall(get("/healthz"))
            received = bytearray()
            while piece := connection.recv(65536):
                received += piece
            self.session, self.resumed = connection.session, bool(connection.session_reused)
        assert received
        return bytes(received).partition(b"\r\n")[0]


@contextlib.contextmanager
def expiring(server: Running, clients: dict[str, tuple[Path, int]], end: datetime) -> Iterator[list[Resuming]]:
    """Yield clients that have just resumed a session, when the time of their certificates is over."""
    world = server.world
    known = [Resuming(world, folder, one, port) for folder, port in clients.values() for one in VERSIONS]
    for one in known:
        first = one.ask()
        assert one.ask() == first
        assert one.resumed, "what is tested is a resumed session"
    assert datetime.now(timezone.utc) < end, "the machine is too slow for certificates that expire so soon"
    while time.time() <= end.timestamp() + 1:
        time.sleep(0.05)
    yield known


@pytest.mark.proof
def test_an_expired_certificate_is_not_resumed(world: World, start_server: StartServer, tmp_path: Path) -> None:
    device, operator = (Authority.load(world.pki.directory / f"{role}-ca") for role in ("device", "operator"))
    options = [f"--{role}-ca={world.pki.directory}/{role}-ca/certificate.pem" for role in ("device", "operator")]
    server = start_server(*options)
    end = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=LIFE)
    validity = Validity(end - timedelta(days=2), end)
    clients = {
        "device": (client(tmp_path / "device", device, "short-lived", validity), server.port),
        "operator": (client(tmp_path / "operator", operator, "short-lived", validity), server.operators),
    }
    with expiring(server, clients, end) as known:
        for one in known:
            with pytest.raises(REFUSED):
                one.ask()
            one.session = None
            with pytest.raises(REFUSED):
                one.ask()
    until(lambda: sum(line.startswith("expired name=short-lived") for line in server.lines()) >= 2, "not in the log")


@pytest.mark.proof
def test_an_expired_authority_ends_the_sessions_of_its_clients(
    world: World, start_server: StartServer, tmp_path: Path
) -> None:
    """OpenSSL does not look at the chain of a session, either."""
    end = datetime.now(timezone.utc).replace(microsecond=0) + timedelta(seconds=LIFE)
    soon, later = (Validity(end - timedelta(days=2), end + timedelta(days=more)) for more in (0, 30))
    key = ec.generate_private_key(ec.SECP256R1())
    root = root_builder(subject_name("blink", "blink device CA 00000000"), key.public_key(), soon)
    authority = Authority(Role.DEVICE, "blink", root.sign(key, hashes.SHA256()), key)
    (tmp_path / "ca.pem").write_bytes(authority.certificate_pem)
    server = start_server("--device-ca", tmp_path / "ca.pem", "--no-revocations")
    folder = client(tmp_path / "device", authority, "outlives", later)
    with expiring(server, {"device": (folder, server.port)}, end) as known:
        for one in known:
            with pytest.raises(REFUSED):
                one.ask()


def test_the_dates_of_a_certificate() -> None:
    one = ClientCertificate("hall", 1, (), 100.0, 200.0)
    for now in (100.0, 150.0, 200.0):
        one.check_dates(now)
    for now, said in ((99.0, "is not valid yet"), (201.0, "has expired")):
        with pytest.raises(Exception, match=f"the certificate of 'hall' {said}"):
            one.check_dates(now)


def test_a_valid_certificate_is_resumed(world: World, start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--device-ca", world.pki.directory / "device-ca" / "certificate.pem")
    folder = world.client(Role.DEVICE, "resumes")
    for version in VERSIONS:
        one = Resuming(world, folder, version, server.port)
        assert one.ask() == one.ask() == b"HTTP/1.1 404 Not Found"
        assert one.resumed
    assert talk(world.context(folder), server.port, get("/healthz")).status == 404
