"""Servers that a device must refuse, each with the number that it has on the device: openssl, and bytes by hand."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from otaseal.errors import InputError
from otaseal.simulator.device import Device
from otaseal.simulator.flash import LAYOUTS
from otaseal.simulator.probe import probe_fragment_length
from otaseal.simulator.report import Outcome, Result
from otaseal.simulator.tls import ClientCertificate
from support import peers
from support.answers import HEAD, answering, body, listening
from support.chips import public_pem, sign
from support.images import build_image
from support.servers import World

SECONDS = 60.0
NOW = datetime.now(timezone.utc)
NEW = build_image(seed=61, code_size=40_000)


@pytest.fixture(scope="module")
def device(world: World) -> Device:
    image = build_image(seed=50, embedded=public_pem(world.key))
    root = ssl.PEM_cert_to_DER_cert(world.ca.read_text())
    return replace(Device.provision(image, LAYOUTS["4m2m"]), anchors=(root,), clock=NOW)


def ask(device: Device, port: int, timeout: float = SECONDS) -> Outcome:
    return device.poll(f"https://localhost:{port}/firmware.bin.signed", host="127.0.0.1", timeout=timeout)


def test_plain_http_is_no_tls(device: Device) -> None:
    with listening(lambda raw: raw.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n") if raw.recv(999) else None) as port:
        outcome = ask(device, port)
    assert (outcome.error, outcome.tls_error) == (-1, 3)
    assert outcome.failed is not None
    assert "plain HTTP" in outcome.failed.reason


def test_f21_tls_1_3_alone_locks_the_device_out(world: World, device: Device) -> None:
    with answering(world, b"", minimum_version=ssl.TLSVersion.TLSv1_3) as port:
        outcome = ask(device, port)
    assert (outcome.error, outcome.tls_error) == (-1, 256 + 70)
    assert outcome.failed is not None
    assert outcome.failed.fact == "F21"


def test_nobody_there_and_nobody_answering(device: Device) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent = ask(device, listener.getsockname()[1], timeout=0.3)
    assert (silent.error, silent.tls_error) == (-1, 0)
    with socket.socket() as taken:  # so that nobody else listens there
        taken.bind(("127.0.0.1", 0))
        gone = ask(device, taken.getsockname()[1])
    assert (gone.error, gone.result) == (-1, Result.REFUSED)


@pytest.mark.parametrize(
    ("answer", "error", "step"),
    [
        (HEAD + b"\r\n" + NEW, -101, "answer"),
        (HEAD + b"Content-Length: 0\r\n\r\n", -101, "answer"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1000\r\n" + NEW, -101, "answer"),
        (HEAD + b"Transfer-Encoding: gzip\r\nContent-Length: 9\r\n\r\n", -9, "answer"),
        (body(b"1000\r\n" + NEW, b"Transfer-Encoding: chunked"), -106, "first-byte"),
        (b"HTTP/1.0 302 Found\r\nLocation: https://elsewhere/\r\n\r\n", -104, "answer"),
        (b"HTTP/1.0 401 No\r\n\r\n", -108, "answer"),
        (b"HTTP/1.0 403 No\r\n\r\n", -103, "answer"),
        (b"HTTP/1.0 404 No\r\n\r\n", -102, "answer"),
        (b"HTTP/1.0 500 No\r\n\r\n", -104, "answer"),
        (b"220 mail.example ESMTP\r\n\r\n", -7, "answer"),
        (b"", -5, "answer"),
        (HEAD + b"Content-Length: 3000000\r\n\r\n", -100, "space"),
        (body(NEW[:2]), -106, "first-byte"),
        (body(b"<html>not found</html>"), -106, "first-byte"),
        (body(NEW[:3] + b"\x80" + NEW[4:]), -107, "first-byte"),
        (body(NEW), 12, "signature"),
        (body(NEW, b"x-MD5: 00"), -105, "answer"),
        (body(NEW).replace(b"Length: ", b"Length: 1"), 6, "write"),
    ],
)
def test_f29_answers_and_their_numbers(world: World, device: Device, answer: bytes, error: int, step: str) -> None:
    with answering(world, answer) as port:
        outcome = ask(device, port)
    assert outcome.failed is not None
    assert (outcome.error, outcome.failed.name) == (error, step), outcome.failed
    assert outcome.result is Result.REFUSED
    assert outcome.device.running == device.running


def test_a_401_before_core_3_is_any_other_status(world: World, device: Device) -> None:
    with answering(world, b"HTTP/1.0 401 No\r\n\r\n") as port:
        assert ask(replace(device, core="2.7.4"), port).error == -104


def test_304_and_a_good_answer_from_any_server(world: World, device: Device) -> None:
    with answering(world, b"HTTP/1.1 304 Not Modified\r\n\r\n") as port:
        assert ask(device, port).result is Result.UP_TO_DATE
    with answering(world, body(sign(NEW, world.key))) as port:
        outcome = ask(device, port)
    assert outcome.result is Result.UPDATED
    assert outcome.device.running == NEW


def test_f27_openssl_agrees_to_short_records(world: World, device: Device) -> None:
    small = replace(device, receive_buffer=512, free_heap=15_000)
    command = [peers.tool("openssl", "openssl"), "s_server", "-cert", str(world.chain), "-cert_chain", str(world.chain)]
    command += ["-key", str(world.chain.with_name("key.pem")), "-accept", "0", "-naccept", "2", "-WWW", "-tls1_2"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            port = next(int(line.rsplit(b":", 1)[1]) for line in process.stdout if line.startswith(b"ACCEPT"))
            assert probe_fragment_length("127.0.0.1", port, size=512, timeout=SECONDS)
            outcome = ask(small, port)
        finally:
            process.kill()
    assert (outcome.tls_error, outcome.status > 0 or outcome.error == -7) == (0, True)
    assert any("agrees" in step.checked for step in outcome.steps)


def test_f27_a_record_that_is_larger_than_the_buffer_is_error_6(device: Device) -> None:
    record = b"\x16\x03\x03" + (1000).to_bytes(2, "big") + b"\x02" + bytes(999)
    with listening(lambda raw: raw.sendall(record) if raw.recv(999) else None) as port:
        outcome = ask(replace(device, receive_buffer=512), port)
    assert (outcome.tls_error, outcome.failed is not None and outcome.failed.fact) == (6, "F27")


@pytest.mark.parametrize(
    "suite",
    [
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-ECDSA-AES256-CCM8",
        "ECDHE-ECDSA-AES128-SHA256",
        "ECDHE-ECDSA-AES256-SHA384",
        "ECDHE-ECDSA-AES128-SHA",
        "AES128-GCM-SHA256",
        "AES256-SHA256",
        "AES128-CCM8",
        "AES128-SHA",
    ],
)
def test_every_kind_of_suite_carries_an_update(suite: str, world: World, device: Device, tmp_path: Path) -> None:
    kind = "ECDSA" if "ECDSA" in suite else "RSA"
    chain, anchor = make_chain(kind, tmp_path)
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    settings.load_cert_chain(chain)
    settings.set_ciphers(f"{suite}:@SECLEVEL=0")

    def serve(raw: socket.socket) -> None:
        with settings.wrap_socket(raw, server_side=True) as connection:
            connection.recv(4096)
            connection.sendall(body(sign(NEW, world.key)))

    with listening(serve) as port:
        outcome = ask(replace(device, anchors=(anchor,)), port)
    assert outcome.ok, outcome.failed


def make_chain(kind: str, folder: Path) -> tuple[Path, bytes]:
    """Return a chain with its key in PEM, and the anchor above it in DER."""
    from support import cas

    name, ec = "Workshop of Blinking Things CA", cas.key("P-256")
    own = cas.key("RSA-2048", 3) if kind == "RSA" else cas.key("P-256", 4)
    from cryptography import x509

    alternative = (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
    span = (NOW - timedelta(days=1), NOW + timedelta(days=30))
    leaf = cas.issue("localhost", own.public_key(), (name, ec), (alternative,), span)
    secret = own.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "chain.pem"
    path.write_bytes(secret + cas.pem(leaf))
    return path, cas.root()


def test_a_server_without_the_key_of_its_certificate_is_error_27(device: Device, world: World, tmp_path: Path) -> None:
    chain, anchor = make_chain("ECDSA", tmp_path)
    settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    settings.load_cert_chain(chain)
    settings.set_ciphers("ECDHE-ECDSA-CHACHA20-POLY1305")

    def serve(raw: socket.socket) -> None:
        inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
        server = settings.wrap_bio(inside, outside, server_side=True)
        inside.write(raw.recv(4096))
        with contextlib.suppress(ssl.SSLWantReadError):
            server.do_handshake()
        flight = bytearray(outside.read())
        at = flight.rindex(b"\x0e\x00\x00\x00") - 20  # within the signature before ServerHelloDone
        flight[at] ^= 1
        raw.sendall(bytes(flight))
        raw.recv(10)

    with listening(serve) as port:
        outcome = ask(replace(device, anchors=(anchor,)), port)
    assert outcome.tls_error == 27


def test_a_device_s_own_key_of_a_kind_that_bearssl_does_not_know_is_refused(device: Device, world: World) -> None:
    key = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    client = ClientCertificate(chain=world.chain.read_bytes(), key=key)
    with (
        answering(world, b"", verify_mode=ssl.CERT_REQUIRED) as port,
        pytest.raises(InputError, match="cannot be read"),
    ):
        ask(replace(device, client=client), port)
