"""A download that a restart interrupts goes on after it, on chips that have a safe place for what has come."""

from __future__ import annotations

import random
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from otaseal.keys import public
from support import esp32_devices, pico_images
from support.answering import Ranges, reply
from support.esp32_devices import matrix
from support.firmware import OWN, PRODUCT, Device, Outcome, Signing, StartAnswers, identity, pack
from support.nginx import serve_static
from support.relay import Relay
from support.servers import Running, World, devices_seen, publish

pytestmark = pytest.mark.proof

CODE = 200_000
CONNECTION, HEADERS = 12_000, 2_000
"""Bytes that a connection takes beside its share of the file, and those of the answer's headers in them."""
FIRMWARE = f"/{PRODUCT}/firmware.bin.signed"
UP_TO_DATE = reply(b"", "304 Not Modified", None)
DEVICES = 60
COUNTER_LOWER = 36


@dataclass
class Chip:
    """A device of a chip, which keeps at least every `step` bytes of what comes, and what to offer it."""

    device: Device
    signing: Signing
    step: int
    journal: Sequence[str]

    @property
    def is_pico(self) -> bool:
        return "pico" in self.device.folder.name

    def signed(self, seed: int = 1, **claim: object) -> bytes:
        noise = random.Random(seed).randbytes(CODE)
        if self.is_pico:
            raw = pico_images.build_image(filesystem=(0x100000, 0x2FF000), code=noise)
        else:
            raw = esp32_devices.build_image(seed=seed, more=noise)
        return self.signing.sign(self.signing.payload(raw, **claim))

    def run(self, **settings: object) -> Outcome:
        """Start it; an ESP32 as its boot loader does, so that what is in its slots stays."""
        return self.device.run(**({} if self.is_pico else {"boot": "waits"}), **settings)

    def has(self, signed: bytes, done: Outcome) -> bool:
        """Tell whether all of a release was installed."""
        staged = self.device.get("firmware.bin") if self.is_pico else done.staged
        return done.results == [("installed", 0, 0)] and len(staged or b"") >= CODE and signed.startswith(staged or b"")

    @property
    def kept(self) -> list[Path]:
        """What is there of a download that is not complete."""
        return [path for path in map(self.device.folder.joinpath, self.journal) if path.exists()]


@pytest.fixture(params=["pico", "esp32"])
def chip(request: pytest.FixtureRequest, signing: Signing) -> Chip:
    device: Device = request.getfixturevalue(request.param)
    if request.param == "pico":
        return Chip(device, signing, 64 << 10, ("fs/otaseal.dl", "fs/otaseal.bin"))
    (device.folder / "slot0").write_bytes(esp32_devices.RAW)
    return Chip(device, signing, 16 << 10, ("nvs-download", "nvs-done"))


def cuts(seed: int, count: int, least: int) -> list[int]:
    """Return after how many bytes the power fails."""
    noise = random.Random(seed)
    return [least + noise.randrange(20_000) for _ in range(count)]


def test_a_release_of_the_real_server_arrives_over_several_starts(chip: Chip, server: Running) -> None:
    """The link breaks soon after the power has failed, before the sockets in between have taken the rest."""
    signed, came = chip.signed(), []
    publish(server, "1.1", signed)
    moments = cuts(1, 2, chip.step + 4096)
    with Relay(server.port, [after + CONNECTION for after in moments]) as link:
        for after in moments:
            broken = chip.run(port=link.port, cut_after=after)
            assert "cut" in broken.seen
            assert chip.kept
            came.append(int(broken.seen["came"]))
        done = chip.run(port=link.port)
    assert chip.has(signed, done)
    assert not chip.kept
    assert sum(came) + int(done.seen["came"]) < len(signed) + len(moments) * chip.step + 3 * HEADERS
    assert [one["deliveries"] for one in devices_seen(server)] == [1], "the last part counts, and no other"


def test_static_files_of_nginx(chip: Chip, world: World, tmp_path: Path) -> None:
    signed = chip.signed()
    with serve_static(world, tmp_path, {FIRMWARE: signed}) as port:
        assert "cut" in chip.run(port=port, cut_after=chip.step + 9000).seen
        done = chip.run(port=port)
    assert chip.has(signed, done)
    assert int(done.seen["came"]) < len(signed) - chip.step + HEADERS


def test_a_release_that_has_changed_begins_anew(chip: Chip, server: Running) -> None:
    publish(server, "1.1", chip.signed())
    chip.run(port=server.port, cut_after=chip.step + 9000)
    second = chip.signed(2, version="1.2")
    publish(server, "1.2", second)
    assert chip.has(second, chip.run(port=server.port))
    assert not chip.kept


def test_nothing_is_kept_once_nothing_is_due(chip: Chip, answers: StartAnswers) -> None:
    running = answers(firmware_bin_signed=Ranges(chip.signed(), sent=1 << 20))
    chip.run(port=running.port, cut_after=chip.step + 9000)
    assert chip.kept
    running.later[FIRMWARE] = UP_TO_DATE
    assert not chip.run(port=running.port).errors[0]
    assert not chip.kept


def test_the_next_poll_goes_on_as_the_next_start_does(chip: Chip, answers: StartAnswers) -> None:
    """Also where connections end too often for one poll."""
    signed = chip.signed()
    running = answers(firmware_bin_signed=Ranges(signed, sent=5_000))
    first = chip.run(port=running.port)
    assert first.results[0] == ("failed", 25, 0)
    running.paths[FIRMWARE] = Ranges(signed, sent=1 << 20)
    assert chip.has(signed, chip.run(port=running.port))
    last = [one for one in running.requests if FIRMWARE in one][-1]
    assert "\r\nRange: bytes=" in last


def test_a_server_that_knows_no_ranges_sends_all_of_it(chip: Chip, answers: StartAnswers) -> None:
    signed = chip.signed()
    running = answers(reply(signed, ETag='"one"'))
    chip.run(port=running.port, cut_after=chip.step + 9000)
    assert chip.has(signed, chip.run(port=running.port))


def damaged(content: bytes) -> list[bytes]:
    """Return the content with bytes of it changed, cut off, or added."""
    noise = random.Random(3)
    found = [b"", content[:-1], content + b"\0"]
    for _ in range(5):
        at = noise.randrange(len(content))
        found.append(content[:at] + bytes([content[at] ^ 1 << noise.randrange(8)]) + content[at + 1 :])
    return found


@pytest.mark.parametrize("number", [0, 1])
def test_what_is_damaged_begins_anew_and_is_no_fault_of_the_release(
    number: int, chip: Chip, answers: StartAnswers
) -> None:
    """Whatever became of the journal, or of what has come: within this poll all is there, or the rest of it."""
    signed = chip.signed()
    running = answers(firmware_bin_signed=Ranges(signed, sent=1 << 20))
    chip.run(port=running.port, cut_after=chip.step + 9000)
    before = {path: path.read_bytes() for path in chip.device.folder.rglob("*") if path.is_file()}
    path = chip.device.folder / chip.journal[number]
    for content in damaged(before[path]):
        for other in chip.device.folder.rglob("*"):
            if other.is_file() and other not in before:
                other.unlink()
        for other, known in before.items():
            other.write_bytes(known)
        path.write_bytes(content)
        assert chip.has(signed, chip.run(port=running.port)), content
        assert not chip.kept


def test_what_others_have_written_meanwhile_is_noticed(chip: Chip, answers: StartAnswers) -> None:
    signed = chip.signed()
    running = answers(firmware_bin_signed=Ranges(signed, sent=1 << 20))
    chip.run(port=running.port, cut_after=chip.step + 9000)
    path = chip.device.folder / ("fs/otaseal.bin" if chip.is_pico else "slot1")
    path.write_bytes(path.read_bytes()[:5000] + b"other" + path.read_bytes()[5005:])
    assert chip.has(signed, chip.run(port=running.port))
    wanted = ["Range" in one for one in running.requests if FIRMWARE in one]
    assert wanted == [False, True, False]


def test_a_refused_release_is_not_gone_on_with(chip: Chip, answers: StartAnswers) -> None:
    """What it is refused for is true of it, however much of it was there before."""
    running = answers(firmware_bin_signed=Ranges(chip.signed(counter=0), sent=1 << 20))
    chip.run(port=running.port, cut_after=chip.step + 9000)
    assert chip.run(port=running.port).errors == [COUNTER_LOWER]
    assert not chip.kept
    wanted = ["Range" in one for one in running.requests if FIRMWARE in one]
    assert wanted == [False, True]


def test_what_was_verified_comes_no_more_but_for_its_end(chip: Chip, answers: StartAnswers) -> None:
    """The power fails between the verdict and the boot loader's order; which operations those are, the chip shows."""
    signed = chip.signed()
    running = answers(firmware_bin_signed=Ranges(signed, sent=1 << 20))
    before = {path: path.read_bytes() for path in chip.device.folder.rglob("*") if path.is_file()}
    last = int(chip.run(port=running.port).seen["operations"])
    came = []
    for operation in range(last - 58, last - 48, 3):
        for path in chip.device.folder.rglob("*"):
            if path.is_file():
                path.unlink()
        for path, content in before.items():
            path.write_bytes(content)
        assert int(chip.run(port=running.port, cut_at=operation).seen["came"]) > len(signed)
        if not (chip.device.folder / "staged.bin").exists():
            done = chip.run(port=running.port)
            assert chip.has(signed, done)
            assert not chip.kept
            came.append(int(done.seen["came"]))
    assert len(came) > 1
    assert max(came) < (16 << 10) + HEADERS
    assert min(came) < HEADERS


def test_power_cuts_at_every_kind_of_moment(
    chip: Chip, world: World, signing: Signing, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """In flash that is erased or written, while the journal is, and between."""
    programs = request.getfixturevalue("pico_programs" if chip.is_pico else "esp32_programs")
    files = {
        "key": public.public_pem(signing.key.public_key()),
        "identity": identity(OWN),
        "certs": pack(ssl.PEM_cert_to_DER_cert(world.ca.read_text())),
        "signed": chip.signed(),
    }
    found = matrix(programs, tmp_path, "resume", files, str(DEVICES), "1")
    assert found["failures"] > DEVICES
    assert (found["wrong"], found["stuck"], found["lost"]) == (0, 0, 0), found
    assert found["came"] < DEVICES * found["once"] + found["failures"] * (chip.step + 4096)
