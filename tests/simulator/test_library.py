"""Devices whose firmware carries the OtaSeal library: manifests, attempts, two keys, and certificates over the air."""

from __future__ import annotations

import ssl
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.certs import certstore
from otaseal.certs.pem import Source
from otaseal.errors import ConfigError
from otaseal.image import gzip_payload, manifest
from otaseal.image.manifest import Claim, Kind, Manifest
from otaseal.simulator import library
from otaseal.simulator.device import Device
from otaseal.simulator.error_numbers import UpdateError
from otaseal.simulator.filesystem import read_file
from otaseal.simulator.flash import LAYOUTS
from otaseal.simulator.library import LibraryError, Memory
from otaseal.simulator.report import Outcome, Result
from support import cas
from support.answering import Answers, Ranges
from support.answers import answering, body
from support.chips import make_filesystem, public_pem, sign
from support.firmware import server_context
from support.images import build_image
from support.servers import World

PLACE = LAYOUTS["4m2m"]
NOW = datetime.now(timezone.utc)
BUILT = int((NOW - timedelta(hours=1)).timestamp())  # within the validity of certificates made now
OWN = Claim("blink", "d1_mini", "1.0", 5, BUILT)


def archive(*roots: bytes) -> bytes:
    sources = [Source(str(index), one) for index, one in enumerate(roots)]
    return certstore.pack(sources, NOW, certstore.Policy(expired="keep")).archive


def root_of(world: World) -> bytes:
    return ssl.PEM_cert_to_DER_cert(world.ca.read_text())


def sealed_image(*keys: bytes, seed: int = 1, claim: Claim = OWN) -> bytes:
    record = manifest.serialise(manifest.make(claim), manifest.IDENTITY_MAGIC)
    return build_image(seed=seed, code_size=20_000, embedded=record + b"".join(one + b"\0" for one in keys))


@pytest.fixture(scope="module")
def device(world: World, other_rsa_key: rsa.RSAPrivateKey) -> Device:
    image = sealed_image(public_pem(world.key), public_pem(other_rsa_key))
    made = Device.provision(image, PLACE, make_filesystem(PLACE, {"/certs.ar": archive(root_of(world))}))
    assert (made.auto_format, made.resumes, made.probe, made.version) == (False, True, 512, "1.0")
    return made


def offer(raw: bytes, key: rsa.RSAPrivateKey, **fields: object) -> bytes:
    return sign(manifest.attach(raw, replace(manifest.make(OWN), **fields)), key)  # type: ignore[arg-type]


def poll(device: Device, world: World, data: bytes) -> Outcome:
    with answering(world, body(data, b"x-MD5: " + b"a" * 32)) as port:
        return device.poll(f"https://localhost:{port}/blink/firmware.bin.signed", host="127.0.0.1")


NEW = sealed_image(seed=9, claim=replace(OWN, version="2.0", counter=6))


def test_an_update_with_a_manifest_is_taken_raw_or_compressed_by_either_key(
    device: Device, world: World, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    for payload, key in ((NEW, world.key), (gzip_payload.compress(NEW), world.key), (NEW, other_rsa_key)):
        outcome = poll(device, world, offer(payload, key, counter=6))
        assert outcome.ok, outcome.failed
        assert outcome.device.running == NEW
        assert outcome.device.version == "2.0"
        assert b"X-Otaseal-Counter: 5\r\nX-Otaseal-Error: 0\r\nX-Otaseal-Certs: " in outcome.request
        board = outcome.device.identity.board.hex() if outcome.device.identity else ""
        assert f"\r\nX-Otaseal-Board: {board}\r\n".encode() in outcome.request
    assert device.clock is None, "the build time is the clock of a device that never heard the time (F25)"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"product": manifest.name_id("other")}, LibraryError.PRODUCT),
        ({"board": manifest.name_id("nodemcuv2")}, LibraryError.BOARD),
        ({"counter": 4}, LibraryError.COUNTER),
        ({"kind": Kind.CERTIFICATES}, LibraryError.KIND),
    ],
)
def test_what_is_not_for_this_device_is_refused(
    fields: dict[str, object], error: LibraryError, device: Device, world: World
) -> None:
    for payload in (NEW, gzip_payload.compress(NEW)):
        outcome = poll(device, world, offer(payload, world.key, **fields))
        assert outcome.failed is not None
        assert (outcome.error, outcome.library_error, outcome.failed.name) == (12, error, "manifest")
        assert outcome.device.running == device.running
        assert outcome.device.memory.error == error


def test_unsigned_or_without_a_manifest(device: Device, world: World) -> None:
    assert poll(device, world, sign(NEW, world.key)).library_error == LibraryError.NO_MANIFEST
    changed = bytearray(offer(NEW, world.key))
    changed[3000] ^= 1
    assert poll(device, world, bytes(changed)).library_error == LibraryError.SIGNATURE
    loose = gzip_payload.compress(NEW)
    assert poll(device, world, sign(loose, world.key)).library_error == LibraryError.NO_MANIFEST


def test_a_release_is_tried_three_times(device: Device, world: World) -> None:
    bad = offer(NEW, world.key, counter=4)
    current = device
    for attempt in range(3):
        outcome = poll(current, world, bad)
        assert (outcome.library_error, outcome.device.memory.attempts) == (LibraryError.COUNTER, attempt + 1)
        current = outcome.device
    refused = poll(current, world, bad)
    assert refused.library_error == LibraryError.ATTEMPTS
    assert "write" not in [one.name for one in refused.steps], "it is not even downloaded"
    assert Memory().noted(b"x", "A" * 32).exhausted(b"x") is False


def test_a_download_goes_on_where_its_connection_ended(device: Device, world: World) -> None:
    path, data = "/blink/firmware.bin.signed", offer(NEW, world.key, counter=6)
    lying = Ranges(data, 9_000, lie=lambda status, headers: "404 Not Found")
    flash = make_filesystem(PLACE, {"/certs.ar": archive(root_of(world))})
    stock = replace(Device.provision(build_image(code_size=20_000), PLACE, flash), clock=NOW)
    for asked, answers, ends in (
        (device, Ranges(data, 9_000), LibraryError.NONE),
        (device, lying, LibraryError.NOT_FOUND),
        (device, Ranges(data, 9_000, tag=""), LibraryError.TRUNCATED),
        (stock, Ranges(data, 9_000), None),
    ):
        with Answers(server_context(world), {path: answers}) as running:
            outcome = asked.poll(f"https://localhost:{running.port}{path}", host="127.0.0.1")
        if ends is None:
            assert outcome.error == UpdateError.STREAM, "a stock device waits in vain for the rest"
            assert len(running.requests) == 1
        else:
            assert outcome.library_error == ends
            assert outcome.ok == (ends == LibraryError.NONE)


def test_numbers_of_the_connection(device: Device, world: World) -> None:
    with answering(world, b"HTTP/1.0 404 No\r\n\r\n") as port:
        url = f"https://localhost:{port}/blink/firmware.bin.signed"
        assert device.poll(url, host="127.0.0.1").library_error == LibraryError.NOT_FOUND
        late = replace(device, clock=NOW + timedelta(days=900))
        assert late.poll(url, host="127.0.0.1").library_error == LibraryError.CERTIFICATE_TIME
        other = device.poll(url.replace("localhost", "other.example"), host="127.0.0.1")
        assert other.library_error == LibraryError.SERVER_NAME
    assert device.poll(url, host="127.0.0.1").library_error == LibraryError.CONNECT
    blank = replace(device, flash=device.running.ljust(PLACE.flash_size, b"\xff"))
    outcome = blank.poll(url, host="127.0.0.1")
    assert (outcome.library_error, outcome.device.flash) == (LibraryError.FILE_SYSTEM, blank.flash), "never formatted"


def renew(device: Device, world: World, data: bytes) -> Outcome:
    with answering(world, body(data)) as port:
        return device.renew_certificates(f"https://localhost:{port}/blink/certs.ar.signed", host="127.0.0.1")


def package(content: bytes, key: rsa.RSAPrivateKey, **fields: object) -> bytes:
    record = replace(manifest.make(OWN), kind=Kind.CERTIFICATES, **fields)  # type: ignore[arg-type]
    return sign(content + manifest.serialise(record), key)


@pytest.mark.proof
def test_certificates_are_renewed_over_the_air(device: Device, world: World) -> None:
    content = archive(root_of(world), cas.root("The successor of the workshop CA"))
    outcome = renew(device, world, package(content, world.key))
    assert outcome.ok, outcome.failed
    assert read_file(outcome.device.flash, PLACE, "/certs.ar") == content
    assert outcome.device.memory.certificates == BUILT
    assert poll(outcome.device, world, offer(NEW, world.key)).ok
    older = renew(outcome.device, world, package(content, world.key, build_time=BUILT - 1))
    assert older.library_error == LibraryError.ARCHIVE_OLDER


@pytest.mark.proof
def test_certificates_that_are_not_taken(device: Device, world: World, other_rsa_key: rsa.RSAPrivateKey) -> None:
    good, stranger = archive(root_of(world)), cas.root("Workshop of Blinking Things CA")
    twice = b"!<arch>\n" + 2 * good[8:]
    for data, error in (
        (package(archive(stranger), world.key), LibraryError.ARCHIVE_LOCKOUT),
        (package(twice, world.key), LibraryError.ARCHIVE_STRUCTURE),
        (package(good, world.key, product=manifest.name_id("other")), LibraryError.PRODUCT),
        (offer(NEW, world.key), LibraryError.KIND),
        (sign(good, world.key), LibraryError.NO_MANIFEST),
        (good + bytes(400), LibraryError.SIGNATURE),
        (b"x", LibraryError.ARCHIVE_SIZE),
    ):
        outcome = renew(device, world, data)
        assert outcome.library_error == error, outcome.failed
        assert outcome.result is Result.REFUSED
        assert read_file(outcome.device.flash, PLACE, "/certs.ar") == good


def test_a_stock_device_has_no_such_thing(device: Device) -> None:
    stock = Device.provision(build_image(), PLACE)
    assert stock.identity is None
    with pytest.raises(ConfigError):
        stock.renew_certificates("https://localhost:1/certs.ar.signed")


def test_two_readers_of_the_manifest_agree() -> None:
    for payload in (NEW, gzip_payload.compress(NEW)):
        made: Manifest = manifest.make(OWN, 2)
        found = library.find(manifest.attach(payload, made))
        assert found is not None
        assert (found.product, found.board, found.counter) == (made.product, made.board, made.counter)
        assert (found.build_time, found.flash_mode, found.kind, found.version) == (BUILT, 2, 0, "1.0")
        assert library.find(payload) is None
