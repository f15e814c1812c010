"""What to do about a step that fails: each fault is played, and the fix has to be the one for its cause."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal import simulator as virtual
from otaseal.rehearsal.advice import FIXES, FIXES_BY_FACT, fix
from otaseal.simulator.device import Device
from otaseal.simulator.error_numbers import TlsError
from otaseal.simulator.flash import LAYOUTS
from otaseal.simulator.library import LibraryError
from otaseal.simulator.report import Step
from support.answers import HEAD, answering, body, listening
from support.chips import public_pem, sign
from support.images import build_image
from support.servers import World

NOW = datetime.now(timezone.utc)
NEW = build_image(seed=61, code_size=20_000)


@pytest.fixture(scope="module")
def device(world: World) -> Device:
    image = build_image(seed=50, embedded=public_pem(world.key))
    root = ssl.PEM_cert_to_DER_cert(world.ca.read_text())
    return replace(Device.provision(image, LAYOUTS["4m2m"]), anchors=(root,), clock=NOW)


def fix_of(device: Device, port: int, host: str = "localhost") -> str:
    failed = device.poll(f"https://{host}:{port}/firmware.bin.signed", host="127.0.0.1").failed
    assert failed is not None
    return fix(failed)


def status(code: int, *lines: bytes) -> bytes:
    return b"".join([b"HTTP/1.1 %d No\r\n" % code, *(line + b"\r\n" for line in lines), b"\r\n"])


ANSWERS = {
    "301": (status(301, b"Location: https://elsewhere/"), "the URL that the redirection leads to"),
    "308": (status(308, b"Location: https://elsewhere/"), "the URL that the redirection leads to"),
    "401": (status(401), "without a password"),
    "403": (status(403), "refuses this device"),
    "404": (status(404), "check the path"),
    "a mode": (status(403, b"X-Otaseal-Reason: flash_mode"), "board_build.flash_mode"),
    "no room": (status(403, b"X-Otaseal-Reason: space"), "a smaller filesystem"),
    "a gzip": (status(403, b"X-Otaseal-Reason: gzip_core"), "custom_otaseal_compress = no"),
    "a family": (status(403, b"X-Otaseal-Reason: platform"), "not for this chip"),
    "a board": (status(403, b"X-Otaseal-Reason: board"), "with an image for this board"),
    "500": (status(500), "it fails by itself"),
    "418": (status(418), "not the one that devices need"),
    "chunked": (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1000\r\n", "Content-Length and not chunk"),
    "packed": (HEAD + b"Transfer-Encoding: gzip\r\nContent-Length: 9\r\n\r\n", "without a transfer encoding"),
    "x-MD5": (body(NEW, b"x-MD5: 00"), "32 hex digits"),
    "mail": (b"220 mail.example ESMTP\r\n\r\n", "port of a web server"),
    "silence": (b"", "does not answer"),
    "too large": (HEAD + b"Content-Length: 3000000\r\n\r\n", "a smaller filesystem"),
    "no body": (body(NEW[:2]), "announces a body and sends none"),
    "a page": (body(b"<html>please log in</html>"), "and not a page"),
    "other flash": (body(NEW[:3] + b"\x80" + NEW[4:]), "flash size of the device"),
    "cut off": (body(NEW).replace(b"Length: ", b"Length: 1"), "did not come to its end"),
    "unsigned": (body(NEW), "sign with the key"),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_has_the_fix_for_its_cause(name: str, world: World, device: Device) -> None:
    answer, expected = ANSWERS[name]
    with answering(world, answer) as port:
        assert expected in fix_of(device, port)
        assert fix_of(device, port) not in ("", "docs/rehearsal.md explains each step")


def test_a_401_has_its_fix_on_cores_that_do_not_tell_it_apart(world: World, device: Device) -> None:
    with answering(world, status(401)) as port:
        assert "without a password" in fix_of(replace(device, core="2.7.4"), port)


def test_an_md5_of_another_file_is_told_from_a_broken_download(world: World, device: Device) -> None:
    with answering(world, body(NEW, b"x-MD5: " + b"0" * 32)) as port:
        assert "it is another file's" in fix_of(replace(device, keys=()), port)


@pytest.mark.parametrize("mode", range(4))
def test_a_chip_of_another_flash_mode(mode: int, world: World, device: Device) -> None:
    flash = device.flash[:2] + bytes([mode]) + device.flash[3:]
    with answering(world, body(sign(NEW, world.key))) as port:
        outcome = replace(device, flash=flash).poll(f"https://localhost:{port}/x", host="127.0.0.1")
    assert outcome.ok is (NEW[2] == mode)
    assert outcome.failed is None or "with --flash-mode, name the mode that they run in" in fix(outcome.failed)


def alert(number: int) -> AbstractContextManager[int]:
    """Refuse every hello with a fatal alert."""
    record = b"\x15\x03\x03\x00\x02\x02" + bytes([number])
    return listening(lambda raw: raw.sendall(record) if raw.recv(999) else None)


def other_suites(context: ssl.SSLContext) -> None:
    context.set_ciphers("ECDHE-RSA-CAMELLIA128-SHA256")


SERVERS: dict[str, tuple[Callable[[World], AbstractContextManager[int]], str]] = {
    "TLS 1.3": (lambda world: answering(world, b"", minimum_version=ssl.TLSVersion.TLSv1_3), "offer TLS 1.2"),
    "certificate": (lambda world: answering(world, b"", verify_mode=ssl.CERT_REQUIRED), "--device-cert"),
    "no suite": (lambda world: alert(40), "ECDHE with ChaCha20-Poly1305 or AES-GCM"),
    "too weak": (lambda world: alert(71), "security level"),
    "unknown name": (lambda world: alert(112), "a name that the server knows"),
    "internal error": (lambda world: alert(80), "pki check"),
    "plain HTTP": (lambda world: listening(lambda raw: raw.sendall(b"HTTP/1.1 400 B\r\n\r\n")), "port that speaks TLS"),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_handshake_has_the_fix_for_its_cause(name: str, world: World, device: Device) -> None:
    serve, expected = SERVERS[name]
    with serve(world) as port:
        assert expected in fix_of(device, port)


def test_openssl_without_a_suite_in_common_is_told_so(world: World, device: Device) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.chain, world.chain.with_name("key.pem"))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-RSA-CAMELLIA128-SHA256")

    def serve(raw: socket.socket) -> None:
        context.wrap_socket(raw, server_side=True)

    with listening(serve) as port:
        assert "offer a suite that devices know" in fix_of(device, port)


def test_a_server_that_is_not_there_is_to_be_started(device: Device) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "start the server" in fix_of(device, taken.getsockname()[1])


def test_buffers_have_their_own_fixes(device: Device) -> None:
    record = b"\x16\x03\x03" + (1000).to_bytes(2, "big") + b"\x02" + bytes(999)
    with listening(lambda raw: raw.sendall(record) if raw.recv(999) else None) as port:
        assert "short records" in fix_of(replace(device, receive_buffer=512), port)
        assert "setBufferSizes" in fix_of(replace(device, free_heap=1000), port)


def test_a_chain_has_the_fix_for_its_cause(
    world: World, device: Device, tmp_path: Path, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    stranger = ssl.PEM_cert_to_DER_cert(World.create(tmp_path, other_rsa_key).ca.read_text())
    with answering(world, b"") as port:
        assert "put the server's authority" in fix_of(replace(device, anchors=(stranger,)), port)
        assert "renew the server's certificate" in fix_of(replace(device, clock=NOW + timedelta(days=4000)), port)
        assert "set the clock" in fix_of(replace(device, clock=None), port)
        assert "with the name or address that devices use" in fix_of(device, port, "elsewhere.example")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (LibraryError.NO_MANIFEST, "custom_otaseal_product set"),
        (LibraryError.FORMAT, "the devices' library"),
        (LibraryError.KIND, "otaseal certs deploy"),
        (LibraryError.PRODUCT, "custom_otaseal_product"),
        (LibraryError.BOARD, "for this board"),
        (LibraryError.COUNTER, "custom_otaseal_security_counter"),
        (LibraryError.ATTEMPTS, "another release"),
        (LibraryError.ARCHIVE_OLDER, "sign the certificates again"),
    ],
)
def test_a_manifest_has_the_fix_for_its_number(error: LibraryError, expected: str) -> None:
    assert expected in fix(Step("manifest", "", False, error, fact="F11"))


def test_every_fix_can_be_reached() -> None:
    for name, fixes in FIXES.items():
        for key, expected in fixes.items():
            assert key == "" or expected != fixes.get("") or key in FIXES_BY_FACT, "the same without this entry"
            if isinstance(key, int):
                assert fix(Step(name, "", False, int(key))) == expected
            else:
                assert {fix(Step(name, "", False, cause=key)), fix(Step(name, "", False, fact=key))} >= {expected}
    for fact, expected in FIXES_BY_FACT.items():
        assert fix(Step("no such step", "", False, fact=fact)) == expected
    assert fix(Step("manifest", "", True, LibraryError.KIND)) == ""


def test_an_error_of_tls_is_not_taken_for_the_library_s_of_the_same_number() -> None:
    assert "pki check" in fix(Step("certificate-chain", "", False, TlsError.X509_NOT_PRIMITIVE, fact="F21"))


def test_there_is_a_fix_for_every_fact_cause_and_step_of_the_device() -> None:
    source = "".join(path.read_text() for path in Path(virtual.__file__).parent.glob("*.py"))
    steps = set(re.findall(r'(?:Step|refused|refuse|passed|_connection)\("([a-z-]+)"', source))
    facts = set(re.findall(r'"(F\d+[a-e]?)"', source))
    causes = set(re.findall(r'"F29", "([a-z0-9-]+)"', source))
    assert {"F7", "F21"} <= facts
    assert {"handshake", "heap", "signature", "manifest"} <= steps
    assert {"no-connection", "md5-header"} <= causes
    for step in steps - {"result", "fragment-length", "manifest", "signature", "first-byte"}:
        assert "" in FIXES[step], step
    known = {str(key) for fixes in FIXES.values() for key in fixes} | set(FIXES_BY_FACT)
    assert facts - known <= {"F5", "F11", "F12", "F14", "F21", "F28", "F29"}
    assert causes <= known
