"""Partition table, otadata and boot loader, against `esp-idf-defs`, which parses what a device writes."""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from esp_idf_defs.otadata import OtaDataSelectEntry, OtaImageState
from esp_idf_defs.partitions import PartitionTable

from otaseal.errors import ConfigError, InputError
from otaseal.rehearsal.candidate import repaired
from otaseal.simulator.esp32 import boot, otadata
from otaseal.simulator.esp32.chip import CHIPS, Chip
from otaseal.simulator.esp32.device import Esp32Device
from otaseal.simulator.esp32.image import check
from otaseal.simulator.esp32.nor import SECTOR, Flash
from otaseal.simulator.esp32.otadata import State
from otaseal.simulator.esp32.table import APPLICATION, DATA, TABLE_AT, Partition, Table, default, parse, serialise
from support import peers
from support.esp32_boards import board, image, sealed
from support.other_images import esp32_image

SIZES = (4 << 20, 8 << 20, 16 << 20)
OTADATA = Partition("otadata", DATA, 0, 0xE000, 0x2000)


def table_of(*slots: int, factory: bool = False) -> bytes:
    """Return a table with slots of these numbers, each of 256 KiB, and perhaps a factory application."""
    rows = [OTADATA] + ([Partition("factory", APPLICATION, 0, 0x10000, 0x40000)] if factory else [])
    rows += [Partition(f"app{one}", APPLICATION, 0x10 + one, 0x100000 + one * 0x40000, 0x40000) for one in slots]
    return serialise(rows)


def entries(flash: bytes) -> list[OtaDataSelectEntry | None]:
    return [OtaDataSelectEntry.from_bytes(flash[at : at + 32]) for at in (0xE000, 0xE000 + SECTOR)]


def with_slot(device: Esp32Device, name: str, content: bytes) -> bytes:
    place = next(row for row in device.table.rows if row.label == name)
    return device.flash[: place.offset] + content.ljust(place.size, b"\xff") + device.flash[place.end :]


@pytest.mark.parametrize("size", SIZES)
def test_the_core_s_tables_are_read_as_the_peer_reads_them(size: int) -> None:
    written, table = default(size), parse(default(size), size)
    peer = PartitionTable.from_binary(written)
    assert [(row.name, row.type, row.subtype, row.offset, row.size) for row in peer] == [
        tuple(row) for row in table.rows
    ]
    peer.verify()
    assert peer.to_binary()[: len(written)] == written
    assert [slot.label for slot in table.slots] == ["app0", "app1"]
    assert table.layout.fs_size > 0
    assert table.rows[-1].end <= size


def test_a_table_that_the_boot_loader_does_not_take_is_none() -> None:
    good = default(4 << 20)
    for bad in (b"", bytes(0xC00), good[:0x40] + b"\0" + good[0x41:], good[:8] + b"\xff\xff\xff\x7f" + good[12:]):
        with pytest.raises(InputError):
            parse(bad, 4 << 20)
    with pytest.raises(InputError, match="ends at"):
        parse(default(16 << 20), 4 << 20)
    assert not PartitionTable.from_binary(good[:0x40].ljust(0xC00, b"\xff"), md5sum=False)[2:], "the peer reads it, too"


def test_a_board_that_was_written_by_cable_says_so_in_otadata(rsa_key: rsa.RSAPrivateKey) -> None:
    first, second = entries(board(image(rsa_key)).flash)
    assert first is not None
    assert (first.seq, first.ota_state, second) == (1, OtaImageState.UNDEFINED, None)


def test_an_erased_otadata_starts_the_first_slot_and_is_written(rsa_key: rsa.RSAPrivateKey) -> None:
    device = board(image(rsa_key))
    flash = Flash(device.flash)
    for at in (0xE000, 0xF000):
        flash.erase(at)
    started = boot.start(flash, device.table, device.chip)
    assert started.slot == device.running_slot
    first, second = entries(bytes(flash.content))
    assert first is not None
    assert (first.seq, first.ota_state, second) == (1, OtaImageState.VALID, None)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_updates_go_round_all_slots_by_numbers_that_the_peer_reads(count: int, rsa_key: rsa.RSAPrivateKey) -> None:
    device = board(image(rsa_key), partitions=table_of(*range(count)))
    table, flash, running = device.table, Flash(device.flash), device.running_slot
    for turn in range(1, 2 * count + 2):
        after = table.next_slot(running)
        assert after == table.slots[turn % count]
        flash.erase(after.offset, after.size)
        flash.program(after.offset, image(rsa_key))
        otadata.choose(flash, table, after)
        best, _ = OtaDataSelectEntry.select(*entries(bytes(flash.content)))
        assert best is not None
        assert (best.ota_slot(count), best.seq, best.ota_state) == (turn % count, turn + 1, OtaImageState.NEW)
        started = boot.start(flash, table, device.chip)
        assert started.slot == after
        assert started.slot is not None
        running = started.slot
        boot.confirm(flash, table, running)
        best, _ = OtaDataSelectEntry.select(*entries(bytes(flash.content)))
        assert best is not None
        assert best.ota_state is OtaImageState.VALID


@pytest.mark.parametrize("state", [State.INVALID, State.ABORTED, State.PENDING])
def test_a_slot_that_was_given_up_is_not_started_again(state: State, rsa_key: rsa.RSAPrivateKey) -> None:
    device = board(image(rsa_key))
    flash = Flash(with_slot(device, "app1", image(rsa_key, 2)))
    otadata.write(flash, device.table, 1, 2, state)
    assert boot.start(flash, device.table, device.chip).slot == device.running_slot


def test_a_damaged_choice_counts_as_none(rsa_key: rsa.RSAPrivateKey) -> None:
    device = board(image(rsa_key))
    flash = Flash(with_slot(device, "app1", image(rsa_key, 2)))
    otadata.write(flash, device.table, 1, 2, State.VALID)
    chosen = boot.start(flash, device.table, device.chip).slot
    assert chosen is not None
    assert chosen.label == "app1"
    flash.program(0xF000 + 28, bytes(4))
    assert boot.start(flash, device.table, device.chip).slot == device.running_slot


def test_what_does_not_start_gives_way_to_what_does(rsa_key: rsa.RSAPrivateKey) -> None:
    device = board(image(rsa_key))
    broken = image(rsa_key, 2)
    flash = Flash(with_slot(device, "app1", broken[:5000] + bytes([broken[5000] ^ 1]) + broken[5001:]))
    otadata.write(flash, device.table, 1, 2, State.VALID)
    started = boot.start(flash, device.table, device.chip)
    assert started.slot == device.running_slot
    assert "checksum" in started.refused
    flash.erase(device.running_slot.offset)
    assert boot.start(flash, device.table, device.chip).slot is None


def test_a_factory_application_is_what_is_left(rsa_key: rsa.RSAPrivateKey) -> None:
    device = board(image(rsa_key), partitions=table_of(0, 1, factory=True))
    assert device.running_slot.label == "factory"
    place = device.table.next_slot(device.running_slot)
    assert place is not None
    assert place.label == "app0"


def test_firmware_that_does_not_fit_or_does_not_start_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(ConfigError, match="does not fit"):
        board(image(rsa_key) + bytes(0x40000), partitions=table_of(0, 1))
    with pytest.raises(ConfigError, match="does not start"):
        board(image(rsa_key), CHIPS["esp32s3"])
    with pytest.raises(ConfigError, match="first slot"):
        board(image(rsa_key), partitions=serialise((OTADATA,)))


@pytest.mark.parametrize("chip", CHIPS.values(), ids=lambda chip: chip.name)
def test_each_chip_starts_its_own_applications_only(chip: Chip) -> None:
    mine = esp32_image(chip.number)
    assert check(mine, chip).length == len(mine)
    for other in CHIPS.values():
        assert (check(mine, other).reason == "") is (other == chip)


def test_what_the_boot_loader_refuses() -> None:
    chip, good = CHIPS["esp32"], esp32_image()
    assert check(good + b"manifest, signature", chip).length == len(good)
    for at, value, why in (
        (0, b"\xe8", "first byte"),
        (1, b"\x11", "segments"),
        (12, b"\x05", "the id 5"),
        (15, (302).to_bytes(2, "little"), "needs revision 3.2"),
        (17, (300).to_bytes(2, "little"), "up to 3.0"),
        (0x1C, (0x2903).to_bytes(2, "little"), "impossible length"),
        (0x18, b"\x24", "can be mapped"),
        (len(good) - 40, b"\x5a", "SHA-256"),
        (len(good) - 33, b"\x5a", "checksum"),
        (0x200, b"\x5a", "checksum"),
    ):
        bad = good[:at] + value + good[at + len(value) :]
        assert why in check(bad, chip).reason, why
    for size in (0, 10, 23, 24, 40, 1000, len(good) - 33, len(good) - 1):
        assert check(good[:size], chip).reason


def test_an_image_without_a_hash_is_started_by_its_checksum() -> None:
    good = esp32_image()
    bare = good[:23] + b"\0" + good[24:-32]
    assert check(bare, CHIPS["esp32"]).length == len(bare)
    assert hashlib.sha256(good[:-32]).digest() == good[-32:]


def test_a_table_at_its_place_is_what_the_device_goes_by(rsa_key: rsa.RSAPrivateKey) -> None:
    device = board(image(rsa_key))
    peer = PartitionTable.from_binary(device.flash[TABLE_AT : TABLE_AT + 0xC00])
    assert [row.name for row in peer] == ["nvs", "otadata", "app0", "app1", "spiffs"]
    assert isinstance(replace(device, version="x").table, Table)
    assert sealed(image(rsa_key), rsa_key)


def test_pages_smaller_than_usual_are_for_chips_that_have_them() -> None:
    """Built for a flash of 2 MiB, an ESP32-C6 maps pages of 32 KiB; applications of ESP-IDF 5.1 do not say so."""
    image = bytearray(esp32_image(13))
    image[0x18:0x1C] = (0x42808020).to_bytes(4, "little")
    assert not check(repaired(bytes(image)), CHIPS["esp32c6"]).reason
    image[0x20 + 180] = 16
    assert "can be mapped" in check(bytes(image), CHIPS["esp32c6"]).reason
    assert "can be mapped" in check(esp32_image()[:0x18] + b"\x20\x80" + esp32_image()[0x1A:], CHIPS["esp32"]).reason


@pytest.mark.parametrize("chip", ["esp32", "esp32s3", "esp32c3"])
def test_esptool_agrees_on_what_is_whole(chip: str, tmp_path: Path) -> None:
    good = esp32_image(CHIPS[chip].number)
    for name, data in (
        ("whole", good),
        ("checksum", good[:5000] + bytes([good[5000] ^ 1]) + good[5001:]),
        ("hash", good[:-1] + bytes([good[-1] ^ 1])),
    ):
        (tmp_path / "image.bin").write_bytes(data)
        command = [peers.tool("esptool", "esptool of PyPI"), "--chip", chip, "image-info", str(tmp_path / "image.bin")]
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        sums = [line for line in said.splitlines() if line.startswith(("Checksum:", "Validation hash:"))]
        assert len(sums) == 2, said
        assert all("(valid)" in line for line in sums) is (check(data, CHIPS[chip]).reason == "") is (name == "whole")
