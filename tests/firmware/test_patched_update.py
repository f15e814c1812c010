"""Firmware that comes as a patch of what runs: installed byte for byte, or refused, and whole after that."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from otaseal.chips import esp8266
from otaseal.delta import header, making
from support import esp32_devices, pico_images
from support.answering import Ranges, firmware_reply
from support.firmware import PRODUCT, Device, Signing, StartAnswers
from support.images import build_image
from support.relay import Relay
from support.servers import Running, metrics, operator, publish, until

pytestmark = pytest.mark.proof
pytest.importorskip("bsdiff4")

TRUNCATED, SPACE, SIGNATURE, LOWER, WRONG_BASE, DAMAGED, ATTEMPTS = 25, 26, 30, 36, 60, 61, 37
FIRMWARE = f"/{PRODUCT}/firmware.bin.signed"
SAYS_MD5 = b"x-Pico-\0sketch-md5\0"  # as the library has it
NOISE = random.Random(5).randbytes(70_000)
CHANGED = NOISE[:30_000] + random.Random(6).randbytes(9_000) + NOISE[30_500:]


@dataclass
class Chip:
    """A device that runs `base`, and a release of which the patch has 9 KB."""

    name: str
    device: Device
    signing: Signing

    def __post_init__(self) -> None:
        self.base = self.image(NOISE)
        self.signed = self.signing.sign(self.signing.payload(self.image(CHANGED)))
        self.patch = making.make(self.base, self.signed)
        self.device.runs(self.base)

    def image(self, data: bytes) -> bytes:
        if self.name == "esp32":
            return esp32_devices.build_image(more=data)
        if self.name == "pico":
            return pico_images.build_image(code=data + SAYS_MD5, filesystem=(0x100000, 0x2FF000), data_size=2001)
        raw = build_image(embedded=data, code_size=0)
        return raw[: esp8266.parse(raw).sketch_size]

    def has(self, signed: bytes, staged: bytes | None) -> bool:
        """Tell whether all of a release is there that this chip keeps: an ESP32's slot takes the image alone."""
        return staged is not None and len(staged) > len(NOISE) and signed.startswith(staged)

    def answer(self, patch: bytes | Callable[[str], bytes]) -> Callable[[str], bytes]:
        """Return the answer of a server that has this patch, and the whole of the release for all others."""

        def one(head: str) -> bytes:
            if "patch1" not in head.partition("X-Otaseal-Capabilities: ")[2].partition("\r\n")[0].split():
                return firmware_reply(self.signed)
            return patch(head) if callable(patch) else firmware_reply(patch)

        return one


@pytest.fixture(params=["esp8266", "esp32", "pico"])
def chip(request: pytest.FixtureRequest, signing: Signing) -> Chip:
    device: Device = request.getfixturevalue({"esp8266": "device"}.get(request.param, request.param))
    return Chip(request.param, device, signing)


def words(requests: list[str], path: str = FIRMWARE) -> list[bool]:
    """Return for each request of `path` whether it says that a patch may come."""
    return [" patch1\r\n" in one for one in requests if one.startswith(f"GET {path} ")]


def test_it_makes_the_release_byte_for_byte(chip: Chip, answers: StartAnswers) -> None:
    running = answers(chip.answer(chip.patch))
    done = chip.device.run(port=running.port)
    assert done.results == [("installed", 0, 0)]
    assert chip.has(chip.signed, done.staged)
    assert done.seen["progress"] == str(len(chip.signed))
    assert words(running.requests) == [True]
    assert not any(words(running.requests, FIRMWARE.replace("firmware.bin", "certs.ar")))
    assert len(chip.patch) < len(chip.signed) / 5


def test_over_a_link_that_breaks(chip: Chip, answers: StartAnswers) -> None:
    running = answers(chip.answer(Ranges(chip.patch, sent=2_000)))
    done = chip.device.run(port=running.port)
    assert done.results == [("installed", 0, 0)]
    assert chip.has(chip.signed, done.staged)
    assert len(words(running.requests)) == -(-len(chip.patch) // 2_000)


def test_a_link_that_stays_away_says_nothing_of_the_patch(chip: Chip, answers: StartAnswers) -> None:
    running = answers(chip.answer(Ranges(chip.patch, sent=2_000, tag="")))
    done = chip.device.run(port=running.port, polls=2)
    assert done.errors == [TRUNCATED, TRUNCATED]
    assert words(running.requests) == [True, True]


def put(at: int, data: bytes) -> Callable[[Chip], bytes]:
    return lambda chip: chip.patch[:at] + data + chip.patch[at + len(data) :]


def flip(at: float) -> Callable[[Chip], bytes]:
    """Return what changes a bit of the stream, at this share of it."""

    def change(chip: Chip) -> bytes:
        place = header.SIZE + int((len(chip.patch) - header.SIZE - 1) * at)
        return chip.patch[:place] + bytes([chip.patch[place] ^ 0x10]) + chip.patch[place + 1 :]

    return change


# what it is: the patch, and the errors that it may end with
BAD: dict[str, tuple[Callable[[Chip], bytes], set[int]]] = {
    "for another sketch": (lambda c: making.make(c.image(NOISE[::-1]), c.signed), {WRONG_BASE}),
    "for a longer sketch": (lambda c: making.make(c.image(NOISE + b"more"), c.signed), {WRONG_BASE}),
    "a later format": (put(8, b"\2"), {DAMAGED}),
    "too large a map": (put(9, b"\xff"), {DAMAGED}),
    "too many runs of code": (put(10, b"\xff"), {DAMAGED}),
    "no size": (put(32, bytes(4)), {DAMAGED}),
    "a size beyond all chips": (put(32, struct.pack("<I", 1 << 31)), {DAMAGED}),
    "a size beyond this chip": (put(32, struct.pack("<I", 1 << 24)), {SPACE}),
    "less than it makes": (lambda c: put(32, struct.pack("<I", len(c.signed) - 1))(c), {DAMAGED, SIGNATURE}),
    "more than it makes": (lambda c: put(32, struct.pack("<I", len(c.signed) + 1))(c), {DAMAGED, SIGNATURE}),
    "only a header": (lambda c: c.patch[: header.SIZE], {DAMAGED}),
    "half a header": (lambda c: c.patch[:20], {DAMAGED}),
    "one byte": (lambda c: c.patch[:1], {DAMAGED}),
    "one byte less": (lambda c: c.patch[:-1], {DAMAGED}),
    "one byte more": (lambda c: c.patch + b"\0", {DAMAGED}),
    **{f"a bit at {at}": (flip(at), {DAMAGED, SIGNATURE}) for at in (0, 0.01, 0.3, 0.6, 0.97)},
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_patch_of_the_sketch_is_refused_and_the_whole_comes(
    name: str, chip: Chip, answers: StartAnswers
) -> None:
    make, errors = BAD[name]
    running = answers(chip.answer(make(chip)))
    done = chip.device.run(port=running.port)
    assert done.errors[0] in errors
    assert done.staged is None
    again = chip.device.run(port=running.port, polls=2)
    assert again.errors[0] in errors
    assert again.results[-1] == ("installed", 0, 0)
    assert chip.has(chip.signed, again.staged)
    assert words(running.requests) == [True, True, False], "after a restart it may be tried once more"


def test_the_word_is_back_when_nothing_is_due(chip: Chip, answers: StartAnswers) -> None:
    running = answers(chip.answer(chip.patch[:-1]))
    running.later[FIRMWARE] = b"HTTP/1.0 304 Not Modified\r\n\r\n"
    done = chip.device.run(port=running.port, polls=3)
    assert done.errors[:2] == [DAMAGED, 0]
    assert words(running.requests) == [True, False, True]


def test_what_it_makes_is_judged_as_any_release(chip: Chip, answers: StartAnswers) -> None:
    """And tried as often: what was refused does not come whole for ever either."""
    chip.signed = chip.signing.sign(chip.signing.payload(chip.image(CHANGED), counter=4))
    done = chip.device.run(port=answers(chip.answer(making.make(chip.base, chip.signed))).port, polls=4)
    assert done.errors == [LOWER, LOWER, LOWER, ATTEMPTS]
    assert done.staged is None


def test_the_real_server_makes_it_for_who_runs_the_release_before(chip: Chip, server: Running) -> None:
    publish(server, "1.0", chip.signing.sign(chip.signing.payload(chip.base, version="1.0")))
    assert chip.device.run(port=server.port).errors[0] == 0
    publish(server, "1.1", chip.signed)
    until(lambda: bool(operator(server).get(f"/v1/products/{PRODUCT}/releases")["patches"]), "no patch is made")
    # With records of 16 KB all of the patch comes in one, and the headers, too.
    with Relay(server.port, [9_000] if chip.name == "esp8266" else []) as link:
        done = chip.device.run(port=link.port)
    assert done.results == [("installed", 0, 0)]
    assert chip.has(chip.signed, done.staged)
    assert not link.cuts, "it broke within the patch"
    assert sum(link.came) < len(chip.signed) / 2, "handshakes included"
    until(lambda: 'otaseal_deliveries_total{form="patch"} 1' in metrics(server), "the last part is no delivery")
