"""What a device is offered that it must not take: each refused by its number; and by the stock core where it can be."""

from __future__ import annotations

import ssl
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import manifest
from support import cas, peers
from support.answering import firmware_reply, reply
from support.firmware import Device, Signing, StartAnswers, pack, server_context
from support.images import build_image, flipped
from support.servers import World, run

pytestmark = pytest.mark.proof

NOW = int(time.time())


def unsigned(payload: bytes, signature: bytes) -> bytes:
    return payload + signature + struct.pack("<I", len(signature))


def changed(signing: Signing, **fields: object) -> bytes:
    """Return a signed image whose manifest has these fields, or bytes at offsets (`at9=1`)."""
    payload = bytearray(signing.payload())
    for name, value in fields.items():
        payload[len(payload) - manifest.SIZE + int(name.removeprefix("at"))] = int(str(value))
    return signing.sign_anything(bytes(payload))


# what it is: what is sent, the device's error number, whether the stock core refuses it too
IMAGES: dict[str, tuple[Callable[[Signing, Signing], bytes], int, bool]] = {
    "tampered image": (lambda own, _: flipped(own.sign(own.payload()), 2000), 30, True),
    "tampered manifest": (lambda own, _: flipped(own.sign(own.payload()), len(own.payload()) - 50), 30, True),
    "tampered signature": (lambda own, _: flipped(own.sign(own.payload()), len(own.payload()) + 9), 30, True),
    "no signature": (lambda own, _: own.payload(), 30, True),
    "noise for a signature": (lambda own, _: unsigned(own.payload(), bytes(256)), 30, True),
    "another key": (lambda own, other: other.sign(own.payload()), 30, True),
    "another flash mode": (lambda own, _: own.sign(own.payload(build_image(mode="qio", code_size=4000))), 30, True),
    "no manifest": (lambda own, _: own.sign(build_image(code_size=4000)), 31, False),
    "another format": (lambda own, _: changed(own, at8=2), 32, False),
    "a reserved bit": (lambda own, _: changed(own, at11=1), 32, False),
    "certificates for firmware": (lambda own, _: changed(own, at9=1), 33, False),
    "another product": (lambda own, _: own.sign(own.payload(product="toaster")), 34, False),
    "another board": (lambda own, _: own.sign(own.payload(board="nodemcuv2")), 35, False),
    "a lower counter": (lambda own, _: own.sign(own.payload(counter=4)), 36, False),
}


@pytest.mark.parametrize("name", IMAGES)
def test_images(
    name: str, answers: StartAnswers, device: Device, signing: Signing, other_rsa_key: rsa.RSAPrivateKey, tmp_path: Path
) -> None:
    make, error, stock_refuses = IMAGES[name]
    content = make(signing, Signing(other_rsa_key))
    done = device.run(port=answers(firmware_reply(content)).port)
    assert done.results[0][:2] == ("failed", error)
    assert done.staged is None
    assert done.seen["restarted"] == "0"
    key, file = tmp_path / "key.der", tmp_path / "image"
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    key.write_bytes(signing.key.public_key().public_bytes(*form))
    file.write_bytes(content)
    stock = run([peers.compiled("verify_signature.c", "libbearssl-dev", "bearssl"), key, file, "2"])
    assert (stock.returncode == 1) is stock_refuses, stock.stdout


# what it is: the response, the device's error number
RESPONSES: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "chunked": (
        lambda body: reply(b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body), length=None, Transfer_Encoding="chunked"),
        24,
    ),
    "no length": (lambda body: reply(body, length=None), 24),
    "length 0": (lambda body: reply(b""), 24),
    "an MD5 that is none": (lambda body: reply(body, x_MD5="none"), 20),
    "too short": (lambda body: reply(body[:3000], length=len(body)), 25),
    "only the first byte": (lambda body: reply(body[:1], length=len(body)), 25),
    "a page": (lambda body: reply(b"<html>welcome to your router</html>"), 27),
    "larger than the flash": (lambda body: reply(body, length=3 << 20), 26),
    "another encoding": (lambda body: reply(body, Transfer_Encoding="gzip"), 11),
    "not found": (lambda body: reply(b"", "404 Not Found"), 21),
    "forbidden": (lambda body: reply(b"", "403 Forbidden"), 22),
    "unauthorized": (lambda body: reply(b"", "401 Unauthorized"), 23),
    "broken": (lambda body: reply(b"", "500 Internal Server Error"), 20),
    "a redirect": (lambda body: reply(b"", "302 Found", Location="https://elsewhere.example/"), 20),
    "no HTTP": (lambda body: b"SSH-2.0-OpenSSH_9.2\r\n", 11),
    "nothing": (lambda body: b"", 11),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_responses(name: str, answers: StartAnswers, device: Device, signing: Signing) -> None:
    make, error = RESPONSES[name]
    done = device.run(port=answers(make(signing.sign(signing.payload()))).port, polls=2)
    assert done.errors == [error, error]
    assert done.results[0] == done.results[1], "the core's updater is ready for the next one"
    assert done.staged is None


def bearssl_says(world: World, port: int, name: str, when: int, anchor: bytes) -> int:
    """Return what the stock core's TLS stack makes of the server: its error number, 0 for none."""
    file = world.folder / "asked.der"
    file.write_bytes(anchor)
    program = peers.compiled("tls_client.c", "libbearssl-dev", "bearssl")
    word, _, number = run([program, str(port), name, str(when), file]).stdout.decode().partition(" ")
    return 0 if word == "ok\n" else int(number)


def only_tls13(world: World) -> ssl.SSLContext:
    context = server_context(world)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


@pytest.mark.parametrize(
    ("name", "error", "detail"),
    [
        ("wrong name", 13, 56),
        ("expired", 14, 54),
        ("not yet valid", 14, 54),
        ("1970", 14, 54),
        ("foreign authority", 15, 62),
        ("TLS 1.3 only", 12, 256 + 70),
        ("plain HTTP", 12, None),
    ],
)
def test_servers(
    name: str, error: int, detail: int | None, answers: StartAnswers, device: Device, world: World, offered: bytes
) -> None:
    running = answers(offered, tls=name != "plain HTTP", context=only_tls13(world) if name == "TLS 1.3 only" else None)
    server = "update.example" if name == "wrong name" else "localhost"
    years = {"expired": 40, "not yet valid": -10}.get(name, 0)
    when = 0 if name == "1970" else NOW + years * 365 * 24 * 3600
    anchor = ssl.PEM_cert_to_DER_cert(world.ca.read_text())
    if name == "foreign authority":
        anchor = cas.root()
        device.put("certs.ar", pack(anchor))
    done = device.run(port=running.port, server=server, ntp=when, floor=1)
    assert done.results[0][:2] == ("failed", error)
    assert done.staged is None
    stock = bearssl_says(world, running.port, server, when, anchor)
    assert done.results[0][2] == stock != 0
    assert detail in (None, stock)
    assert not running.requests, "nothing is asked of a server that is not the right one"


STALL_SECONDS, LONGEST_SECONDS = 30, 600


def test_a_download_that_stands_still_is_given_up(answers: StartAnswers, device: Device, offered: bytes) -> None:
    done = device.run(port=answers(offered).port, silent_after=4096)
    assert done.results[0][:2] == ("failed", 25)
    assert STALL_SECONDS <= int(done.seen["longest"]) / 1000 <= STALL_SECONDS + 1, "the core alone waits for 60 s"


@pytest.mark.parametrize(("pace", "seconds"), [(100, STALL_SECONDS), (7, LONGEST_SECONDS)])
def test_a_download_that_trickles_ends(
    pace: int, seconds: int, answers: StartAnswers, device: Device, signing: Signing
) -> None:
    """A byte each 100 ms makes 4 KB in seven minutes, one each 7 ms makes them in 29 seconds."""
    running = answers(firmware_reply(signing.sign(signing.payload(build_image(code_size=90_000)))))
    done = device.run(port=running.port, pace=pace)
    assert done.results[-1][:2] == ("failed", 25)
    assert seconds <= int(done.seen["longest"]) / 1000 <= seconds + 10


def test_certificates_that_trickle_end(answers: StartAnswers, device: Device, signing: Signing) -> None:
    nothing_new = b"HTTP/1.0 304 Not Modified\r\n\r\n"
    body = signing.sign(signing.payload(build_image(code_size=12000)))
    running = answers(nothing_new, certs_ar_signed=firmware_reply(body))
    done = device.run(port=running.port, pace=100)
    assert done.results[-1][:2] == ("failed", 25)
    assert LONGEST_SECONDS <= int(done.seen["longest"]) / 1000 <= LONGEST_SECONDS + 10


def test_a_slow_download_arrives(answers: StartAnswers, device: Device, signing: Signing) -> None:
    done = device.run(port=answers(firmware_reply(signing.sign(signing.payload()))).port, pace=5)
    assert done.results == [("installed", 0, 0)]
