"""The whole virtual Pico: against the real update server, and against servers that answer as they should not."""

from __future__ import annotations

import gzip
import ssl
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.certs import certstore
from otaseal.certs.pem import Source
from otaseal.client import archives
from otaseal.errors import ConfigError
from otaseal.image import gzip_payload, manifest, signed_image
from otaseal.image.manifest import Claim
from otaseal.rehearsal.loopback import HOST, Loopback, Request, TemporaryAuthority, response
from otaseal.release import signed_archive
from otaseal.simulator.device import Outcome
from otaseal.simulator.error_numbers import HttpError, UpdateError
from otaseal.simulator.filesystem import read_file, write_file
from otaseal.simulator.library import LibraryError
from otaseal.simulator.pico.chip import CHIPS, chip_of, layout_in
from otaseal.simulator.pico.device import PicoDevice
from otaseal.simulator.pico.order import ORDER
from otaseal.simulator.report import Result
from support.chips import public_pem, sign
from support.images import Signer
from support.pico_boards import firmware, flash_with
from support.pico_images import CHIPS as IMAGES
from support.pico_images import build_image
from support.servers import StartServer, World, operator, publish

NOW = datetime.now(timezone.utc)
PLACE = (0x60000, 0x40000)


def image(key: rsa.RSAPrivateKey, seed: int = 1, chip: str = "rp2040", **options: Any) -> bytes:
    """Return an image with the key in it, and with the library's record where a `counter` is given."""
    counter = options.pop("counter", None)
    record = b""
    if counter is not None:
        claim = Claim("blink", options.pop("board", "rpipicow"), f"1.{seed}", counter, int(NOW.timestamp()) - 3600)
        record = manifest.serialise(manifest.make(claim), manifest.IDENTITY_MAGIC)
    code = bytes([seed]) * 9000 + record + public_pem(key) + b"\0"
    return build_image(chip, code=code, filesystem=options.pop("filesystem", PLACE), **options)


def sealed(raw: bytes, key: rsa.RSAPrivateKey, counter: int, board: str = "rpipicow") -> bytes:
    made = manifest.make(Claim("blink", board, "1.2", counter, int(NOW.timestamp()) - 3600))
    payload = gzip_payload.pad4(raw) if raw[:2] == b"\x1f\x8b" else raw
    return signed_image.sign(manifest.attach(payload, made), Signer(key))


def board(running: bytes, chip: str = "rp2040", **options: Any) -> PicoDevice:
    made = PicoDevice.provision_board(
        running, chip_of(chip), flash_with(running)[layout_in(running).fs_start :][: PLACE[1]]
    )
    return replace(made, clock=NOW, **options)


@pytest.fixture(scope="module")
def authority() -> TemporaryAuthority:
    return TemporaryAuthority.create(NOW)


Serve = Callable[[PicoDevice, bytes], Outcome]


@pytest.fixture
def served(authority: TemporaryAuthority) -> Serve:
    """Return what gives a board one answer, over the TLS of the update server."""

    def serve(device: PicoDevice, answer: bytes) -> Outcome:
        trusting = replace(device, anchors=(authority.root,), session=None)
        with Loopback(lambda _: answer, authority.context("localhost")) as server:
            return trusting.poll(f"https://localhost:{server.port}/firmware.bin.signed", host=HOST)

    return serve


def body(data: bytes, *headers: tuple[str, str]) -> bytes:
    return response(200, (("Content-Length", str(len(data))), *headers), data)


def test_a_request_says_what_arduino_pico_says(rsa_key: rsa.RSAPrivateKey, authority: TemporaryAuthority) -> None:
    asked: list[Request] = []
    device = board(image(rsa_key), anchors=(authority.root,), version="1.1", mac="28:CD:C1:00:00:01")

    def answer(request: Request) -> bytes:
        asked.append(request)
        return response(304)

    with Loopback(answer, authority.context("localhost")) as server:
        outcome = device.poll(f"https://localhost:{server.port}/x", host=HOST)
        port = server.port
    assert outcome.result is Result.UP_TO_DATE
    assert outcome.request.startswith(b"GET /x HTTP/1.0\r\n")
    assert asked[0].headers == (
        (b"Host", f"localhost:{port}".encode()),
        (b"User-Agent", b"Pico-HTTP-Update"),
        (b"Connection", b"close"),
        (b"x-Pico-Chip-ID", b"E6614103E72B6A2F"),
        (b"x-Pico-STA-MAC", b"28:cd:c1:00:00:01"),
        (b"x-Pico-AP-MAC", b"00:00:00:00:00:00"),
        (b"x-Pico-Mode", b"sketch"),
        (b"x-Pico-Version", b"1.1"),
        (b"Content-Length", b"0"),
    )


@pytest.mark.parametrize("name", IMAGES)
def test_a_stock_board_takes_what_is_signed_for_it(name: str, rsa_key: rsa.RSAPrivateKey, served: Serve) -> None:
    old, new = image(rsa_key, 1, name), image(rsa_key, 2, name)
    outcome = served(board(old, name), body(sign(new, rsa_key)))
    assert outcome.result is Result.UPDATED, outcome.failed
    assert isinstance(outcome.device, PicoDevice)
    assert outcome.device.running == new
    assert [step.name for step in outcome.steps][-8:] == [
        *("answer", "space", "write", "signature", "order", "copy", "boot", "result"),
    ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (response(403), HttpError.SERVER_FORBIDDEN),
        (response(404), HttpError.SERVER_FILE_NOT_FOUND),
        (response(401), HttpError.SERVER_UNAUTHORIZED),
        (response(500), HttpError.SERVER_WRONG_HTTP_CODE),
        (response(302, (("Location", "https://elsewhere.example/"),)), HttpError.SERVER_WRONG_HTTP_CODE),
        (response(200, (("Transfer-Encoding", "chunked"),), b"1\r\nx\r\n0\r\n\r\n"), HttpError.SERVER_NOT_REPORT_SIZE),
        (response(200, (("Transfer-Encoding", "gzip"), ("Content-Length", "1")), b"x"), HttpError.ENCODING),
        (body(b"<html></html>" * 100), UpdateError.SIGN),
        (body(b""), HttpError.SERVER_NOT_REPORT_SIZE),
        (b"no HTTP\r\n\r\n", HttpError.NO_HTTP_SERVER),
    ],
)
def test_what_is_no_update_is_reported_by_number(
    answer: bytes, error: int, rsa_key: rsa.RSAPrivateKey, served: Serve
) -> None:
    outcome = served(board(image(rsa_key)), answer)
    assert (outcome.result, outcome.error) == (Result.REFUSED, error)


def test_an_identity_encoding_is_none_and_the_later_md5_wins(rsa_key: rsa.RSAPrivateKey, served: Serve) -> None:
    """Both are otherwise on an ESP8266: there the first is an error, and two values are joined to one that is none."""
    data = sign(image(rsa_key, 2), rsa_key)
    twice = (("x-MD5", "0" * 31), ("x-MD5", "0" * 32), ("Transfer-Encoding", "identity"))
    assert served(board(image(rsa_key)), body(data, *twice)).ok


def test_a_board_with_the_library_judges_the_manifest(rsa_key: rsa.RSAPrivateKey, served: Serve) -> None:
    old, new = image(rsa_key, 1, counter=3), image(rsa_key, 2, counter=3)
    device = board(old)
    for data, error in (
        (sign(new, rsa_key), LibraryError.NO_MANIFEST),
        (sealed(new, rsa_key, 2), LibraryError.COUNTER),
        (sealed(new, rsa_key, 3, "pico2w"), LibraryError.BOARD),
        (new, LibraryError.SIGNATURE),
    ):
        outcome = served(device, body(data))
        assert (outcome.result, outcome.library_error, outcome.error) == (Result.REFUSED, error, UpdateError.SIGN)
        assert isinstance(outcome.device, PicoDevice)
        assert outcome.device.running == old
        assert not read_file(outcome.device.flash, outcome.device.layout, ORDER), "nothing is ordered"
    for payload in (new, gzip.compress(new, mtime=0)):
        outcome = served(device, body(sealed(payload, rsa_key, 3)))
        assert outcome.result is Result.UPDATED, outcome.failed
        assert outcome.device.version == "1.2"


def test_the_same_release_is_tried_three_times(rsa_key: rsa.RSAPrivateKey, served: Serve) -> None:
    """As long as it ends in the same firmware: a board that comes back to ask for it is told off."""
    device = board(image(rsa_key, 1, counter=3))
    data = sealed(image(rsa_key, 2, counter=3), rsa_key, 3)
    for _ in range(3):
        outcome = served(device, body(data, ("x-MD5", "0" * 32)))
        assert outcome.ok, outcome.failed
        device = replace(device, memory=outcome.device.memory)
    outcome = served(device, body(data, ("x-MD5", "0" * 32)))
    assert (outcome.result, outcome.library_error) == (Result.REFUSED, LibraryError.ATTEMPTS)


def test_the_second_key_counts_if_it_is_as_long_as_the_first(
    rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey, served: Serve
) -> None:
    from support.rsa_keys import make_rsa

    for key, taken in ((other_rsa_key, other_rsa_key.key_size == rsa_key.key_size), (make_rsa(3072), False)):
        device = board(image(rsa_key, 1, counter=3), keys=(public_pem(rsa_key), public_pem(key)))
        outcome = served(device, body(sealed(image(rsa_key, 2, counter=3), key, 3)))
        assert outcome.ok is taken, outcome.failed


def test_what_is_not_seen_by_the_updater(rsa_key: rsa.RSAPrivateKey, served: Serve) -> None:
    """Another chip's image, another filesystem, a broken gzip: signed, they are taken, and show at the restart."""
    device = board(image(rsa_key))
    other_chip = served(device, body(sign(image(rsa_key, 2, "rp2350"), rsa_key)))
    assert (other_chip.result, other_chip.failed and other_chip.failed.name) == (Result.BRICKED, "boot")
    packed = gzip.compress(image(rsa_key, 2), mtime=0)
    lying = served(device, body(sign(packed[:-4] + bytes([0, 64, 0, 0]), rsa_key)))
    assert (lying.result, lying.failed and lying.failed.name) == (Result.BRICKED, "copy")
    moved = image(rsa_key, 2, filesystem=(PLACE[0] + 0x10000, PLACE[1] - 0x10000))
    elsewhere = served(device, body(sign(moved, rsa_key)))
    assert (elsewhere.result, elsewhere.failed and elsewhere.failed.name) == (Result.UPDATED, "filesystem")
    before_5_5_0 = served(replace(device, core="5.4.4"), body(sign(packed, rsa_key)))
    assert before_5_5_0.result is Result.BRICKED


def test_a_success_that_is_none(rsa_key: rsa.RSAPrivateKey, served: Serve) -> None:
    """The image fits, the order does not: the sketch hears of success and restarts into the old firmware."""
    device, data = board(image(rsa_key)), sign(image(rsa_key, 2), rsa_key)
    blocks, own = PLACE[1] // 4096 - 2, len(data) // 4088 + 1

    def with_free(blocks_left: int) -> Outcome:
        filler = bytes((blocks - blocks_left) * 4088 - 400)
        full = write_file(device.flash, device.layout, "filler", filler)
        assert full is not None
        return served(replace(device, flash=full), body(data))

    short, exact, enough = (with_free(own + more) for more in (-1, 0, 1))
    assert (short.failed and short.failed.name, short.error) == ("write", UpdateError.SPACE)
    assert (exact.result, exact.failed and exact.failed.name, exact.error) == (Result.REFUSED, "order", 0)
    assert enough.result is Result.UPDATED


def test_a_board_is_made_of_what_fits(rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(ConfigError, match="larger than the partition"):
        PicoDevice.provision_board(image(rsa_key), CHIPS["rp2040"], bytes(PLACE[1] + 1))
    with pytest.raises(ConfigError, match="reaches into the filesystem"):
        PicoDevice.provision_board(firmware(1, size=60_000, filesystem=(0x10000, 0x10000)), CHIPS["rp2040"])
    with pytest.raises(ConfigError, match="arduino-pico"):
        PicoDevice.provision_board(image(rsa_key), CHIPS["rp2040"], core="4.4.0")


def test_the_real_server_s_release_is_taken_once(start_server: StartServer, world: World) -> None:
    """Certificates from the filesystem, firmware from the server, and then it has nothing newer for it."""
    server = start_server()
    old, new = image(world.key, 1, counter=0), image(world.key, 2, counter=0)
    publish(server, "1.2", sealed(new, world.key, 0))
    root = ssl.PEM_cert_to_DER_cert(world.ca.read_text())
    archive = certstore.pack([Source("root", root)], NOW).archive
    made = flash_with(old, {"/certs.ar": archive})[PLACE[0] : sum(PLACE)]
    device = replace(PicoDevice.provision_board(old, CHIPS["rp2040"], made), clock=NOW)
    url = f"https://localhost:{server.port}/blink/firmware.bin.signed"
    outcome = device.poll(url, host="127.0.0.1")
    assert outcome.result is Result.UPDATED, outcome.failed
    assert isinstance(outcome.device, PicoDevice)
    assert outcome.device.running.startswith(new)
    assert read_file(outcome.device.flash, outcome.device.layout, "/certs.ar") == archive
    assert outcome.device.poll(url, host="127.0.0.1").result is Result.UP_TO_DATE


def test_certificates_come_over_the_air_into_the_same_filesystem(start_server: StartServer, world: World) -> None:
    """With the library: signed, published and fetched as on an ESP8266, and asked for as a Pico."""
    server = start_server()
    running = image(world.key, 1, counter=0)
    root = ssl.PEM_cert_to_DER_cert(world.ca.read_text())
    archive = certstore.pack([Source("root", root)], NOW).archive
    made = flash_with(running, {"/certs.ar": archive})[PLACE[0] : sum(PLACE)]
    device = replace(PicoDevice.provision_board(running, CHIPS["rp2040"], made), clock=NOW)
    url = f"https://localhost:{server.port}/blink/certs.ar.signed"
    nothing = device.renew_certificates(url, host="127.0.0.1")
    assert nothing.result is Result.UP_TO_DATE, "none was published"
    assert b"User-Agent: Pico-HTTP-Update\r\n" in nothing.request
    successor = ssl.PEM_cert_to_DER_cert((world.pki.directory / "server-ca-next" / "certificate.pem").read_text())
    both = certstore.pack([Source("root", root), Source("next", successor)], NOW).archive
    claim = Claim("blink", build_time=int(NOW.timestamp()))
    signed = signed_archive.sign(both, claim, Signer(world.key), NOW)
    archives.deploy_archive(operator(server), signed, "blink", "stable")
    outcome = device.renew_certificates(url, host="127.0.0.1")
    assert outcome.result is Result.UPDATED, outcome.failed
    assert read_file(outcome.device.flash, outcome.device.layout, "/certs.ar") == both
    assert outcome.device.renew_certificates(url, host="127.0.0.1").result is Result.UP_TO_DATE


def test_a_power_cut_loses_the_chip_only_while_the_stub_is_replaced(rsa_key: rsa.RSAPrivateKey) -> None:
    old, new = image(rsa_key), image(rsa_key, 2)
    cuts = board(old).cut_power(sign(new, rsa_key))
    assert cuts.lost == 0
    written, copied = cuts.phases
    assert (written.old, copied.new) == (written.operations, copied.operations)
    other_stub = new[:0x1800] + bytes([new[0x1800] ^ 1]) + new[0x1801:]
    _, copied = board(old).cut_power(sign(other_stub, rsa_key)).phases
    assert copied.lost == tuple(range(17)), "an erased page, and its 16 times 256 bytes"
