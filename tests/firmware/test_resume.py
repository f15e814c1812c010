"""A download whose link breaks goes on at that byte, from our server and from others, or begins anew."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import esp32_devices, pico_images
from support.answering import Ranges, reply
from support.firmware import PRODUCT, Device, Signing, StartAnswers
from support.images import build_image
from support.nginx import serve_static
from support.relay import Relay
from support.servers import Running, World, devices_seen, publish

pytestmark = pytest.mark.proof

HTTP, TRUNCATED = 20, 25
CODE = 90_000
CONNECTION = 24_000
"""Bytes that a connection takes beside its share of the file: handshake, headers, the record that is lost with it."""
FIRMWARE = f"/{PRODUCT}/firmware.bin.signed"
MOST_CONNECTIONS, MOST_IN_VAIN = 13, 7


@dataclass
class Chip:
    """A device, what it runs, and what to offer it."""

    name: str
    device: Device
    signing: Signing

    def signed(self, seed: int = 1, version: str = "1.1") -> bytes:
        noise = random.Random(seed).randbytes(CODE)
        match self.name:
            case "esp8266":
                raw = build_image(seed=seed, code_size=CODE)
            case "pico":
                raw = pico_images.build_image(filesystem=(0x100000, 0x2FF000), code=noise)
            case _:
                raw = esp32_devices.build_image(seed=seed, more=noise)
        return self.signing.sign(self.signing.payload(raw, version=version))

    def has(self, signed: bytes, staged: bytes | None) -> bool:
        """Tell whether all of a release is there that this chip keeps: an ESP32's slot takes the image alone."""
        if self.name == "pico":
            staged = self.device.get("firmware.bin")
        return staged is not None and len(staged) >= CODE and signed.startswith(staged)


@pytest.fixture(params=["esp8266", "pico", "esp32"])
def chip(request: pytest.FixtureRequest, signing: Signing) -> Chip:
    device: Device = request.getfixturevalue({"esp8266": "device"}.get(request.param, request.param))
    return Chip(request.param, device, signing)


def cuts(seed: int, count: int = 4) -> list[int]:
    """Return where links break: the first one within the file, the others anywhere, in the handshake, too."""
    noise = random.Random(seed)
    return [noise.randrange(20_000, 60_000), *(noise.randrange(100, 40_000) for _ in range(count - 1))]


def test_a_release_of_the_real_server_arrives_over_a_broken_link(chip: Chip, server: Running) -> None:
    signed = chip.signed()
    publish(server, "1.1", signed)
    with Relay(server.port, cuts(seed=len(chip.name))) as link:
        done = chip.device.run(port=link.port)
    assert done.results == [("installed", 0, 0)]
    assert chip.has(signed, done.staged)
    assert not link.cuts, "it broke as often as it was to"
    assert sum(link.came) < len(signed) + len(link.came) * CONNECTION
    assert done.seen["progress"] == str(len(signed))
    assert [one["deliveries"] for one in devices_seen(server)] == [1], "the last part counts, and no other"


def test_a_release_that_has_changed_begins_anew(chip: Chip, server: Running) -> None:
    first, second = chip.signed(), chip.signed(2, "1.2")
    publish(server, "1.1", first)
    with Relay(server.port, [50_000], lambda: publish(server, "1.2", second)) as link:
        done = chip.device.run(port=link.port)
    assert done.results == [("installed", 0, 0)]
    assert chip.has(second, done.staged)


def test_static_files_of_nginx(chip: Chip, world: World, tmp_path: Path) -> None:
    signed = chip.signed()
    with serve_static(world, tmp_path, {FIRMWARE: signed}) as port, Relay(port, cuts(seed=7)) as link:
        done = chip.device.run(port=link.port)
    assert done.results == [("installed", 0, 0)]
    assert chip.has(signed, done.staged)
    assert sum(link.came) < len(signed) + len(link.came) * CONNECTION


@pytest.mark.parametrize("silent_after", [1000, 50_000])
def test_a_connection_that_stands_still_is_given_up_for_another(silent_after: int, chip: Chip, server: Running) -> None:
    signed = chip.signed()
    publish(server, "1.1", signed)
    done = chip.device.run(port=server.port, silent_after=silent_after)
    assert done.results == [("installed", 0, 0)]
    assert chip.has(signed, done.staged)
    assert 30_000 <= int(done.seen["longest"]) < 35_000


def ranged(requests: list[str]) -> list[str]:
    """Return the first byte that each request for firmware wants."""
    asked = [one for one in requests if one.startswith(f"GET {FIRMWARE} ")]
    return [found[1] if (found := re.search(r"\r\nRange: bytes=(\d+)-", one)) else "" for one in asked]


def test_each_part_is_asked_for_with_a_proof_of_its_own(chip: Chip, answers: StartAnswers) -> None:
    signed = chip.signed()
    running = answers(firmware_bin_signed=Ranges(signed))
    done = chip.device.run(port=running.port)
    assert done.results == [("installed", 0, 0)]
    wanted = [str(begin) for begin in range(40_000, len(signed), 40_000)]
    assert ranged(running.requests) == ["", *wanted]
    proofs = [int(found) for found in re.findall(r"X-Otaseal-Proof: \w+ (\d+) ", "".join(running.requests))]
    assert proofs == sorted(set(proofs)), "the number rises"
    assert len(proofs) > len(wanted)


def changed(**headers: str) -> Callable[[str, dict[str, str]], str]:
    def lie(status: str, given: dict[str, str]) -> str:
        given |= headers
        return headers.pop("status", status)

    return lie


LIES: dict[str, tuple[Callable[[str, dict[str, str]], str], int]] = {
    "another range": (changed(Content_Range="bytes 39999-99999/100000"), 206),
    "no range": (changed(Content_Range=""), 206),
    "another tag": (changed(ETag='"two"'), 206),
    "another length": (changed(length="3"), 206),
    "gone": (lambda status, headers: "404 Not Found", 404),
    "broken": (lambda status, headers: "500 Internal Server Error", 500),
    "withdrawn": (lambda status, headers: "304 Not Modified", 304),
    "out of range": (lambda status, headers: "416 Range Not Satisfiable", 416),
}


@pytest.mark.parametrize("name", LIES)
def test_what_is_not_the_rest_is_refused(name: str, device: Device, signing: Signing, answers: StartAnswers) -> None:
    lie, detail = LIES[name]
    running = answers(firmware_bin_signed=Ranges(Chip("esp8266", device, signing).signed(), lie=lie))
    done = device.run(port=running.port)
    assert done.results[0] == ("failed", 21 if detail == 404 else HTTP, detail)
    assert done.staged is None
    assert len(ranged(running.requests)) == 2


@pytest.mark.parametrize("digits", [71, 101])
def test_a_long_name_of_the_file_is_kept(digits: int, device: Device, signing: Signing, answers: StartAnswers) -> None:
    """As registries have it, "sha256:" and 64 digits, and as long as a device keeps one."""
    chip = Chip("esp8266", device, signing)
    signed, tag = chip.signed(), f'"{"0123456789" * 11:.{digits}}"'
    running = answers(firmware_bin_signed=Ranges(signed, tag=tag))
    done = device.run(port=running.port)
    assert done.results == [("installed", 0, 0)]
    assert chip.has(signed, done.staged)
    assert all(f"If-Range: {tag}\r\n" in one for one in running.requests if "\r\nRange: " in one)
    assert len(ranged(running.requests)) > 1


@pytest.mark.parametrize("tag", ["", 'W/"one"', f'"{"0123456789" * 11:.102}"'])
def test_without_a_name_of_the_file_nothing_is_resumed(tag: str, chip: Chip, answers: StartAnswers) -> None:
    running = answers(firmware_bin_signed=Ranges(chip.signed(), tag=tag))
    done = chip.device.run(port=running.port)
    assert done.results[0] == ("failed", TRUNCATED, 0)
    assert ranged(running.requests) == [""]


def test_a_server_without_ranges_is_asked_a_bounded_number_of_times(chip: Chip, answers: StartAnswers) -> None:
    """Each answer is the whole file anew, and ends early."""
    signed = chip.signed()
    running = answers(reply(signed[:50_000], length=len(signed), ETag='"one"'))
    done = chip.device.run(port=running.port)
    assert done.results[0] == ("failed", TRUNCATED, 0)
    assert len(ranged(running.requests)) == MOST_CONNECTIONS
    running.later[FIRMWARE] = reply(signed, ETag='"one"')
    done = chip.device.run(port=running.port)
    assert done.results == [("installed", 0, 0)]
    assert chip.has(signed, done.staged)


def test_connections_in_vain_are_few_and_far_between(chip: Chip, answers: StartAnswers) -> None:
    running = answers(firmware_bin_signed=Ranges(chip.signed(), sent=100))
    done = chip.device.run(port=running.port)
    assert done.results[0] == ("failed", TRUNCATED, 0)
    assert len(ranged(running.requests)) == MOST_IN_VAIN
    assert 63_000 <= int(done.seen["longest"]) < 70_000, "1, 2, 4, 8, 16 and 32 seconds"
