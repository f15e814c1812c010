"""The library's port to arduino-pico: an update is a file there, and so is the order to the boot stub (F53 to F58)."""

from __future__ import annotations

import gzip
import hashlib
import re
import ssl
import struct
import time
import zlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.client import archives
from otaseal.delta import making
from otaseal.image import gzip_payload, manifest
from otaseal.pki.profile import Role
from otaseal.simulator.pico import boot
from otaseal.simulator.pico.chip import CHIPS
from support import cas
from support.answering import firmware_reply, reply
from support.firmware import (
    COUNTER,
    OWN,
    PRODUCT,
    Device,
    Signing,
    StartAnswers,
    pack,
)
from support.images import build_image as build_esp8266_image
from support.images import flipped
from support.pico_boards import flash_with
from support.pico_images import FLASH, RAM_END
from support.pico_images import build_image as build_any_image
from support.servers import StartServer, World, operator, publish

pytestmark = pytest.mark.proof

IMAGE, ORDER = "firmware.bin", "otacommand.bin"
TRUNCATED, SPACE, NOT_FIRMWARE, SIGNATURE, BOARD, LOWER, ATTEMPTS = 25, 26, 27, 30, 35, 36, 37
FLASH_SECTOR = 4096
UP_TO_DATE = reply(b"", "304 Not Modified", None)
FILESYSTEM = (0x100000, 0x2FF000)  # of this device: offset and bytes


def build_image(
    chip: str = "rp2040", *, filesystem: tuple[int, int] = FILESYSTEM, code: bytes = bytes(range(256)) * 8
) -> bytes:
    return build_any_image(chip, filesystem=filesystem, code=code)


RAW = build_image()
WAITING = b"Pico OTA" + bytes(648)  # as much as the library looks at


@pytest.fixture(params=["rp2040", "rp2350"])
def chip(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def device(pico: Device) -> Device:
    return pico


def carried_out(device: Device) -> bytes:
    """Return what the boot stub writes to flash, as `ota/ota.c` of the core reads the order; raises for none."""
    order = device.get(ORDER)
    sign, count, command = struct.unpack_from("<8sII", order)
    name, offset, size, address = struct.unpack_from("<64sIII", order, 16)
    crc = struct.unpack_from("<I", order, 12 + 8 * 80)[0]
    assert (sign, count, command, offset, address) == (b"Pico OTA", 1, 1, 0, FLASH)
    assert crc == zlib.crc32(order[: 12 + 8 * 80])
    content = device.get(name.rstrip(b"\0").decode())
    plain = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    return plain[:size]


@pytest.mark.parametrize("packed", [False, True])
def test_a_release_of_the_real_server_is_installed(
    start_server: StartServer, chip: str, packed: bool, device: Device, signing: Signing
) -> None:
    raw = build_image(chip, code=bytes(range(256)) * 100)
    payload = signing.payload(gzip_payload.compress(raw) if packed else raw)
    server = start_server()
    publish(server, "1.1", signing.sign(payload))
    done = device.run(port=server.port, stack=RAM_END[chip])
    assert done.results == [("installed", 0, 0)]
    assert done.seen["restarted"] == "1"
    assert device.get(IMAGE) == payload, "the boot stub copies the whole file: no trailer may be left in it"
    assert carried_out(device)[: len(raw)] == raw
    assert len(carried_out(device)) == (len(raw) if packed else len(raw) + manifest.SIZE)


def test_the_real_server_has_nothing_newer(start_server: StartServer, device: Device, signing: Signing) -> None:
    server = start_server()
    publish(server, "1.0", signing.sign(signing.payload(RAW, version="1.0")))
    assert set(device.run(port=server.port, polls=2).results) == {("up-to-date", 0, 0)}


def test_it_says_who_it_is(device: Device, answers: StartAnswers) -> None:
    device.runs(RAW)
    running = answers(UP_TO_DATE)
    device.run(port=running.port, sketch_md5="0" * 32)  # it finds that itself
    first = running.requests[0]
    assert "\r\nUser-Agent: Pico-HTTP-Update\r\n" in first
    for name in ("x-Pico-Chip-ID", "x-Pico-STA-MAC"):
        assert re.search(rf"\r\n{name}: \S+\r\n", first)
    board = hashlib.sha256(OWN.board.encode()).digest()[:8].hex()
    library = f"X-Otaseal-Counter: {COUNTER}", "X-Otaseal-Error: 0", f"X-Otaseal-Board: {board}"
    md5 = f"x-Pico-sketch-md5: {hashlib.md5(RAW).hexdigest()}"
    for line in ("x-Pico-Version: 1.0", md5, "x-Pico-Mode: sketch", *library):
        assert f"\r\n{line}\r\n" in first


def test_the_boot_stub_carries_out_what_a_patch_has_made(
    chip: str, device: Device, signing: Signing, answers: StartAnswers
) -> None:
    code = bytes(range(256)) * 100
    base, new = (build_image(chip, code=some) for some in (code, code[:9000] + b"something new" + code[9000:]))
    patch = making.make(base, signing.sign(signing.payload(new)))
    device.runs(base)
    done = device.run(port=answers(firmware_reply(patch)).port, stack=RAM_END[chip])
    assert done.results == [("installed", 0, 0)]
    assert len(patch) < len(new) / 20
    flash = flash_with(base, {name: device.get(name) for name in (IMAGE, ORDER)})
    after = boot.restart(flash, CHIPS[chip])
    assert after.flash.startswith(new)
    assert after.started.cpu == "arm"


def moved(by: int) -> bytes:
    return build_image(filesystem=(FILESYSTEM[0] - by, FILESYSTEM[1] + by), code=bytes(2000))


def too_large(size: int = FILESYSTEM[0] - manifest.SIZE + 1) -> bytes:
    """Return an image that ends behind where the filesystem begins; by default, with the manifest."""
    return RAW + bytes(size - len(RAW))


def bomb(size: int) -> bytes:
    return gzip.compress(too_large(size), mtime=0)


# what it is: the payload, the error
REFUSED: dict[str, tuple[Callable[[Signing], bytes], int]] = {
    "another board": (lambda s: s.payload(RAW, board="another"), BOARD),
    "another product": (lambda s: s.payload(RAW, product="toaster"), 34),
    "a lower counter": (lambda s: s.payload(RAW, counter=COUNTER - 1), LOWER),
    "no manifest": (lambda s: RAW, 31),
    "another format": (lambda s: changed(s, 8, 2), 32),
    "a reserved bit": (lambda s: changed(s, 11, 1), 32),
    "certificates for firmware": (lambda s: changed(s, 9, 1), 33),
    "another chip": (lambda s: s.payload(build_image("rp2350")), NOT_FIRMWARE),
    "the other CPU": (lambda s: s.payload(build_image("rp2350-riscv")), NOT_FIRMWARE),
    "an ESP8266's": (lambda s: s.payload(build_esp8266_image(code_size=20_000)), NOT_FIRMWARE),
    "a filesystem": (lambda s: s.payload(b"\x02\0\0\0\xf0\x0f\xff\xf7littlefs" + bytes(60_000)), NOT_FIRMWARE),
    "a few bytes": (lambda s: s.payload(b"a"), NOT_FIRMWARE),
    "half of a first page": (lambda s: s.payload(RAW[: 0x3000 - 64]), NOT_FIRMWARE),
    "a filesystem elsewhere": (lambda s: s.payload(moved(FLASH_SECTOR)), BOARD),
    "into the filesystem": (lambda s: s.payload(too_large()), SPACE),
    "a gzip into the filesystem": (lambda s: s.payload(bomb(FILESYSTEM[0] + 1)), SPACE),
}


def changed(signing: Signing, at: int, value: int) -> bytes:
    payload = bytearray(signing.payload(RAW))
    payload[len(payload) - manifest.SIZE + at] = value
    return bytes(payload)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_signed_and_not_for_it(name: str, device: Device, signing: Signing, answers: StartAnswers) -> None:
    make, error = REFUSED[name]
    done = device.run(port=answers(firmware_reply(signing.sign_anything(make(signing)))).port, room=4 << 20)
    assert done.results[0][:2] == ("failed", error)
    assert done.seen["restarted"] == "0"
    assert not device.has(ORDER)
    assert not device.has(IMAGE)


def test_the_largest_that_ends_where_the_filesystem_begins(
    device: Device, signing: Signing, answers: StartAnswers
) -> None:
    for payload in (signing.payload(too_large(FILESYSTEM[0] - manifest.SIZE)), signing.payload(bomb(FILESYSTEM[0]))):
        port = answers(firmware_reply(signing.sign(payload))).port
        assert device.run(port=port, room=4 << 20).results == [("installed", 0, 0)]


UNSIGNED: dict[str, Callable[[bytes], bytes]] = {
    "tampered image": lambda signed: flipped(signed, 2000),
    "tampered manifest": lambda signed: flipped(signed, len(signed) - 260 - 30),
    "tampered signature": lambda signed: flipped(signed, len(signed) - 100),
    "no signature": lambda signed: signed[:-260],
    "another length": lambda signed: signed[:-4] + struct.pack("<I", 255),
    "nothing but a trailer": lambda signed: signed[-260:],
    "a page": lambda signed: b"<html>welcome to your router</html>",
}


@pytest.mark.parametrize("name", UNSIGNED)
def test_what_is_not_signed(name: str, device: Device, signing: Signing, answers: StartAnswers) -> None:
    offered = UNSIGNED[name](signing.sign(signing.payload(RAW)))
    done = device.run(port=answers(firmware_reply(offered)).port)
    assert done.results[0][:2] == ("failed", SIGNATURE)
    assert not device.has(ORDER)


# what it is: the answer, the error
RESPONSES: dict[str, tuple[Callable[[bytes], bytes], int]] = {
    "no length": (lambda body: reply(body, length=None), 24),
    "length 0": (lambda body: reply(b""), 24),
    "an MD5 that is none": (lambda body: reply(body, x_MD5="none"), 20),
    "too short": (lambda body: reply(body[:3000], length=len(body)), TRUNCATED),
    "larger than the filesystem": (lambda body: reply(body, length=4 << 20), SPACE),
    "forbidden": (lambda body: reply(b"", "403 Forbidden"), 22),
    "unauthorized": (lambda body: reply(b"", "401 Unauthorized"), 23),
    "a redirect": (lambda body: reply(b"", "302 Found", Location="https://elsewhere.example/"), 20),
    "no HTTP": (lambda body: b"SSH-2.0-OpenSSH_9.2\r\n", 11),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_answers_that_are_no_update(name: str, device: Device, signing: Signing, answers: StartAnswers) -> None:
    make, error = RESPONSES[name]
    done = device.run(port=answers(make(signing.sign(signing.payload(RAW)))).port, polls=2)
    assert done.errors == [error, error]
    assert done.results[0] == done.results[1], "the core's updater is ready for the next one"
    assert not device.has(ORDER)


def test_an_order_that_was_left_over_is_gone_before_a_download(
    device: Device, signing: Signing, answers: StartAnswers, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    device.put(IMAGE, b"an older release, whole")
    device.put(ORDER, WAITING)
    offered = firmware_reply(Signing(other_rsa_key).sign(signing.payload(RAW)))
    assert device.run(port=answers(offered).port).errors == [SIGNATURE]
    assert not device.has(ORDER), "after a reset now, the boot stub would copy what is there of the refused release"


@pytest.mark.parametrize("answer", [UP_TO_DATE, reply(b"", "404 Not Found"), reply(b"", "500 Internal Server Error")])
def test_an_order_outlives_a_poll_without_news(answer: bytes, device: Device, answers: StartAnswers) -> None:
    device.put(IMAGE, b"a release that waits for the restart")
    device.put(ORDER, WAITING)
    device.run(port=answers(answer).port)
    assert device.has(ORDER)
    assert device.get(IMAGE) == b"a release that waits for the restart"


def test_what_was_installed_makes_room_for_certificates(
    device: Device, world: World, answers: StartAnswers, signing: Signing
) -> None:
    device.put(IMAGE, bytes(40_000))
    device.put(ORDER, b"\xff" * 656)  # as the boot stub leaves it
    archive = pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text()), cas.root())
    running = answers(UP_TO_DATE, certs_ar_signed=reply(signing.sign_anything(archived(archive))))
    done = device.run(port=running.port, room=40_000)
    assert done.results == [("up-to-date", 0, 0), ("renewed", 0, 0)]
    assert not device.has(IMAGE)


def archived(archive: bytes) -> bytes:
    """Return an archive of certificates with its manifest."""
    made = bytearray(manifest.serialise(manifest.make(OWN)))
    made[9] = 1
    made[16:20] = struct.pack("<I", int(time.time()))
    made[28:36] = bytes(8)
    return archive + bytes(made)


def test_a_refused_release_takes_no_room_from_certificates(
    device: Device, world: World, answers: StartAnswers, signing: Signing
) -> None:
    """The core keeps the refused file open; without its blocks the new archive finds none."""
    archive = pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text()), cas.root())
    offered = signing.sign(signing.payload(RAW, counter=COUNTER - 1))
    running = answers(firmware_reply(offered), certs_ar_signed=reply(signing.sign_anything(archived(archive))))
    room = len(device.get("certs.ar")) + len(offered) + len(archive)
    done = device.run(port=running.port, room=room)
    assert [one[:2] for one in done.results] == [("failed", LOWER), ("renewed", 0)]


@pytest.mark.parametrize("missing", [1, 300, 2000])
def test_without_room_nothing_is_left_half(
    missing: int, device: Device, signing: Signing, answers: StartAnswers
) -> None:
    """Room for less than the file, or for all but the order; the core says of the latter that all went well."""
    offered = signing.sign(signing.payload(RAW))
    trailer, journal, order = 260, 41, 656
    room = len(device.get("certs.ar")) + len(offered) - trailer + journal + order - missing
    done = device.run(port=answers(firmware_reply(offered)).port, room=room)
    assert done.results[0][:2] == ("failed", SPACE)
    assert done.seen["restarted"] == "0"
    assert not device.has(ORDER)
    assert device.run(port=answers(firmware_reply(offered)).port).results == [("installed", 0, 0)]


def test_certificates_of_the_real_server(
    start_server: StartServer, device: Device, world: World, signing: Signing
) -> None:
    server = start_server()
    archive = pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text()), cas.root())
    archives.deploy_archive(operator(server), signing.sign_anything(archived(archive)), PRODUCT, "stable")
    done = device.run(port=server.port, polls=3)
    assert [name for name, _, _ in done.results].count("renewed") == 1
    assert device.get("certs.ar") == archive


def test_a_device_with_a_certificate(start_server: StartServer, world: World, device: Device, signing: Signing) -> None:
    authority = world.pki.directory / "device-ca" / "certificate.pem"
    server = start_server("--device-ca", authority)
    publish(server, "1.1", signing.sign(signing.payload(RAW)))
    assert device.run(port=server.port).results[0][0] == "failed"
    issued = world.client(Role.DEVICE, "porch")
    device.put("client.crt", (issued / "chain.pem").read_bytes())
    device.put("client.key", (issued / "key.pem").read_bytes())
    assert device.run(port=server.port).results == [("installed", 0, 0)]


@pytest.mark.parametrize("bits", [2048, 3072])
def test_either_of_two_keys_of_one_size(
    bits: int,
    device: Device,
    signing: Signing,
    answers: StartAnswers,
    rsa_keys: Callable[..., rsa.RSAPrivateKey],
) -> None:
    own, following = rsa_keys(bits, 1), rsa_keys(bits, 2)
    device.belongs(OWN, own.public_key(), following.public_key())
    for key in (own, following):
        port = answers(firmware_reply(Signing(key).sign(signing.payload(RAW)))).port
        assert device.run(port=port).results == [("installed", 0, 0)]
    port = answers(firmware_reply(signing.sign(signing.payload(RAW)))).port
    assert device.run(port=port).errors == [SIGNATURE]


def test_a_release_is_tried_three_times(device: Device, signing: Signing, answers: StartAnswers) -> None:
    port = answers(firmware_reply(signing.sign(signing.payload(RAW, counter=COUNTER - 1)))).port
    assert [device.run(port=port).errors for _ in range(4)] == [[LOWER], [LOWER], [LOWER], [ATTEMPTS]]


def test_time_servers_are_asked_once_there_is_a_network(device: Device) -> None:
    done = device.run(port=1, online=0)  # lwIP aborts the program if it is called without, or without its lock
    assert done.ready
    assert not done.results
