"""Each of OpenSSL's reasons to refuse a server gets its own fix: shown by real handshakes, and all numbers counted."""

from __future__ import annotations

import ctypes
import ctypes.util
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from otaseal.client.client import Client
from otaseal.client.tls import verification_fix
from otaseal.errors import OtasealError, SystemFaultError, VerificationError
from support import peers
from support.answers import listening
from support.chain_maker import (
    CLIENT_AUTH,
    NOW,
    SERVER_AUTH,
    Made,
    make,
    make_ec,
    make_rsa,
    raw_extension,
    san,
    with_sha1,
)
from support.verifiers import Presenter, presenting

DAY = timedelta(days=1)
BC, KU, SKI, AKI = x509.BasicConstraints, x509.KeyUsage, x509.SubjectKeyIdentifier, x509.AuthorityKeyIdentifier
Shown = tuple[list[Made], list[Made]]
GENERAL = {1, 17, 38, 40, 42, 43, 45, 46, 50, 63, 65, 69, 70, 71, 72, 73, 74, 75}
"""Codes that no client of ours can meet, or that say nothing: policies, proxies, OCSP, DANE, out of memory."""


def root(name: str = "a root with a name long enough", **options: Any) -> Made:
    return make(name, ca=True, **options)


def leaf(issuer: Made | None, **options: Any) -> Made:
    return make("an update server", issuer, **({"names": san("dns:localhost"), "uses": (SERVER_AUTH,)} | options))


def plain(**options: Any) -> Shown:
    top = root()
    return [leaf(top, **options)], [top]


def below(**options: Any) -> Shown:
    top = root()
    middle = make("an intermediate authority", top, **({"ca": True} | options))
    return [leaf(middle), middle], [top]


def too_long() -> Shown:
    top = root()
    upper = make("the upper intermediate", top, ca=True, path_length=0)
    lower = make("the lower intermediate", upper, ca=True)
    return [leaf(lower), lower, upper], [top]


def sha1() -> Shown:
    top = root(key=make_rsa(2048))
    return [with_sha1(leaf(top), top)], [top]


def twins() -> Shown:
    """The root that is trusted has name and identifier of the one that signed, and another key."""
    right = root(key=make_ec(index=91))
    identifier = SKI.from_public_key(right.key.public_key()).public_bytes().hex()
    wrong = root(key=make_ec(index=92), without=(SKI, AKI), others=(raw_extension("2.5.29.14", identifier),))
    return [leaf(right)], [wrong]


def strangers(*, sent: bool) -> Shown:
    top = root()
    return [leaf(top), *([top] if sent else [])], [root("another root altogether")]


OTHER_NAME = x509.NameConstraints([x509.DNSName("example.org")], None)
UNKNOWN = raw_extension("1.2.3.4.5", "0500")
CASES: dict[str, tuple[Callable[[], Shown], str]] = {
    "expired": (lambda: plain(start=-20 * DAY, end=-DAY), "renew it"),
    "issuer expired": (lambda: below(start=-20 * DAY, end=-DAY), "renew it"),
    "not yet valid": (lambda: plain(start=DAY), "set the clock of this machine"),
    "another name": (lambda: plain(names=san("dns:update.local")), "use a name that it is for"),
    "unknown authority": (lambda: strangers(sent=False), "name its authority with --ca"),
    "unknown authority, sent": (lambda: strangers(sent=True), "its authority is not the one that is trusted"),
    "issuer not sent": (lambda: (below()[0][:1], [root()]), "let the server send every issuer"),
    "self-signed": (lambda: ([leaf(None)], [root()]), "it names itself as its issuer"),
    "another key of that name": (twins, "another authority of the same name signed it"),
    "issuer is not a CA": (lambda: below(ca=False, usage=None), "its authority needs basicConstraints CA:TRUE"),
    "issuer may not sign": (
        lambda: below(usage=x509.KeyUsage(*[False] * 6, True, *[False] * 2)),
        "its authority needs basicConstraints CA:TRUE",
    ),
    "not for servers": (lambda: plain(uses=(CLIENT_AUTH,)), "issue it for servers"),
    "path too long": (too_long, "its chain is too long"),
    "name constraints": (lambda: below(constraints=OTHER_NAME), "may not issue for this name"),
    "weak key": (lambda: plain(key=make_rsa(1024)), "issue it with RSA-2048 or P-256"),
    "SHA-1": (sha1, "issue it with RSA-2048 or P-256 and SHA-256"),
    "unknown extension": (
        lambda: plain(others=(UNKNOWN,), critical=(BC, KU, x509.UnrecognizedExtension)),
        "the extensions that RFC 5280 asks for",
    ),
}
if sys.version_info >= (3, 13):  # whose contexts are strict
    CASES["no key identifier"] = lambda: plain(without=(AKI,)), "the extensions that RFC 5280 asks for"


@pytest.fixture(scope="module")
def presenter() -> Iterator[Presenter]:
    with presenting() as made:
        yield made


def ask(port: int, anchors: list[Made], folder: Path, **options: Any) -> OtasealError:
    """Return what the operators' client says to the server."""
    ca = folder / "ca.pem"
    ca.write_text("".join(ssl.DER_cert_to_PEM_cert(one.der) for one in anchors))
    with pytest.raises(OtasealError) as caught:
        Client(f"https://localhost:{port}", None, ca, **options).put("/v1/nothing", b"")
    return caught.value


@pytest.mark.parametrize("case", CASES)
def test_each_reason_has_its_own_fix(case: str, presenter: Presenter, tmp_path: Path) -> None:
    made, fix = CASES[case]
    chain, anchors = made()
    presenter.present([one.der for one in chain], chain[0].key)
    error = ask(presenter.port, anchors, tmp_path)
    assert isinstance(error, VerificationError)
    assert error.hint.startswith(fix) or fix in error.hint, (error.message, error.hint)
    clock = case in ("expired", "issuer expired", "not yet valid")
    assert (f"this machine's clock says {NOW.astimezone():%Y-%m-%d}" in error.message) is clock


def test_every_number_of_openssl_has_a_row() -> None:
    library = ctypes.util.find_library("crypto")
    peers.require("libcrypto", library is not None, "openssl")
    name = ctypes.CDLL(library).X509_verify_cert_error_string
    name.restype = ctypes.c_char_p
    known = {code for code in range(1, 95) if not name(ctypes.c_long(code)).startswith(b"unknown")}
    assert len(known) > 80
    general = verification_fix(-1)
    assert {code for code in known if verification_fix(code) == general} == GENERAL


@pytest.fixture
def wanting(presenter: Presenter) -> Iterator[tuple[int, Made, Made]]:
    """A server that wants a client's certificate and ends by the book: its port, the clients' authority, its root."""
    (chain, (top,)), operators = plain(), root("an authority of operators")
    presenter.present([one.der for one in chain], chain[0].key)
    context = presenter.context
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(cadata=operators.der)

    def serve(raw: socket.socket) -> None:
        with context.wrap_socket(raw, server_side=True, do_handshake_on_connect=False) as connection:
            try:
                connection.do_handshake()
            except ssl.SSLError:  # what is left unread would reset the connection, and the alert would be lost
                socket.socket.shutdown(connection, socket.SHUT_WR)
                while socket.socket.recv(connection, 4096):
                    pass

    with listening(serve) as port:
        yield port, operators, top


def client_files(folder: Path, made: Made) -> tuple[Path, Path]:
    chain, key = folder / "client.pem", folder / "client.key"
    chain.write_text(ssl.DER_cert_to_PEM_cert(made.der))
    key.write_bytes(made.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return chain, key


@pytest.mark.parametrize(
    ("case", "message", "hint"),
    [
        ("none", "wants a client's certificate", "--cert and --cert-key"),
        ("expired", "operator's certificate has expired", "otaseal pki renew"),
        ("stranger", "does not know who issued", "--operator-ca"),
        ("server", "not one for clients", "otaseal pki operator"),
    ],
)
def test_what_a_server_minds_about_ours_is_said(
    case: str, message: str, hint: str, wanting: tuple[int, Made, Made], tmp_path: Path
) -> None:
    port, operators, top = wanting
    own = {
        "none": lambda: None,
        "expired": lambda: make("ada", operators, uses=(CLIENT_AUTH,), start=-20 * DAY, end=-DAY),
        "stranger": lambda: make("ada", root("another authority of operators"), uses=(CLIENT_AUTH,)),
        "server": lambda: make("ada", operators, uses=(SERVER_AUTH,)),
    }[case]()
    error = ask(port, [top], tmp_path, certificate=client_files(tmp_path, own) if own else None)
    assert message in error.message
    assert hint in error.hint


def test_a_port_without_tls_is_told_from_one_that_nobody_listens_on(tmp_path: Path) -> None:
    with listening(lambda raw: raw.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")) as port:
        error = ask(port, [root()], tmp_path)
    assert "does not speak TLS" in error.message
    gone = ask(port, [root()], tmp_path)
    assert isinstance(gone, SystemFaultError)
    assert "cannot be reached" in gone.message
