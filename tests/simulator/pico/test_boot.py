"""The restart of the virtual Pico: what the stub copies, what a power cut leaves, and what the boot ROMs start."""

from __future__ import annotations

import gzip
import subprocess
import zlib
from pathlib import Path

import pytest

from otaseal.errors import InputError
from otaseal.simulator.filesystem import read_file, write_file
from otaseal.simulator.pico.boot import restart
from otaseal.simulator.pico.chip import CHIPS, chip_of, layout_in, start
from otaseal.simulator.pico.order import FIRMWARE, ORDER, make_order
from otaseal.simulator.pico.updater import update
from otaseal.simulator.power import Fate, Noted, Operation, cut_everywhere
from support import peers
from support.pico_boards import SMALL, firmware, flash_with, setup_of, signed, staged
from support.pico_images import CHIPS as IMAGES

RP2040 = CHIPS["rp2040"]
PAGE = 4096


@pytest.mark.parametrize("name", IMAGES)
def test_an_update_is_copied_once_and_the_order_erased(name: str) -> None:
    old, new = firmware(1, name), firmware(2, name)
    after = restart(staged(old, new).flash, chip_of(name))
    assert (after.copied, after.reason, after.started.cpu) == (True, "", "riscv" if "riscv" in name else "arm")
    assert after.flash.startswith(new)
    assert after.size == len(new)
    again = restart(after.flash, chip_of(name))
    assert (again.copied, again.operations, again.flash) == (False, 0, after.flash)
    layout = layout_in(new)
    assert read_file(after.flash, layout, ORDER) == b"\xff" * 656, "its block is erased behind LittleFS's back"
    assert read_file(after.flash, layout, FIRMWARE) == new, "the file stays, and takes its room"


def test_pages_that_are_equal_are_skipped() -> None:
    old = firmware(1)
    new = old[:0x5000] + bytes([old[0x5000] ^ 1]) + old[0x5001:]
    after = restart(staged(old, new).flash, RP2040)
    assert (after.copied, after.pages) == (True, 2), "the changed one, and the last, which is filled up with old bytes"
    assert after.operations == 2 * 17 + 1


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_gzip_is_unpacked_on_the_way(level: int) -> None:
    old, new = firmware(1), firmware(2)
    packed = gzip.compress(new, level, mtime=0)
    after = restart(staged(old, packed).flash, RP2040)
    assert (after.copied, after.reason, after.flash[: len(new)]) == (True, "", new)


def test_gzips_of_the_gzip_command_and_of_zopfli_are_unpacked(tmp_path: Path) -> None:
    old, new = firmware(1), firmware(2)
    for command in (["gzip", "-9k"], [peers.tool("zopfli", "zopfli"), "--i1"]):
        (tmp_path / "firmware.bin").write_bytes(new)
        subprocess.run([*command, "firmware.bin"], cwd=tmp_path, check=True)
        packed = (tmp_path / "firmware.bin.gz").read_bytes()
        (tmp_path / "firmware.bin.gz").unlink()
        after = restart(staged(old, packed).flash, RP2040)
        assert (after.copied, after.reason, after.flash[: len(new)]) == (True, "", new)


def test_a_signed_gzip_loses_the_chip_before_5_5_0() -> None:
    """The stub takes the length of the signature for that of the image, and writes one page of it."""
    old, packed = firmware(1), gzip.compress(firmware(2), mtime=0)
    after = restart(staged(old, packed, "5.4.4").flash, RP2040)
    assert (after.size, after.pages, after.started.cpu) == (256, 1, "")
    assert "boot stub" in after.started.reason
    assert restart(staged(old, firmware(2), "5.4.4").flash, RP2040).flash.startswith(signed(firmware(2)))


@pytest.mark.parametrize("change", [-4096, -1, 1, 5000])
def test_a_gzip_that_lies_about_its_length_is_noticed_here_only(change: int) -> None:
    old, new = firmware(1), firmware(2)
    packed = gzip.compress(new, mtime=0)
    lying = packed[:-4] + (len(new) + change).to_bytes(4, "little")
    after = restart(staged(old, lying).flash, RP2040)
    assert after.copied
    assert "last four bytes" in after.reason


@pytest.mark.parametrize("header", [b"\x1f\x8b\x09\0", b"\x1f\x8b\x08\xe0"])
def test_a_gzip_without_a_header_is_not_copied_and_tried_at_every_start(header: bytes) -> None:
    old = firmware(1)
    before = staged(old, header + bytes(100) + b"\0\1\0\0").flash
    after = restart(before, RP2040)
    assert (after.copied, after.pages, after.started.cpu, after.flash) == (False, 0, "arm", before)
    assert "header" in after.reason


def test_damaged_data_leaves_half_of_each() -> None:
    old, new = firmware(1), firmware(2, size=60_000)
    packed = bytearray(gzip.compress(new, mtime=0))
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    broken = bytes(packed[:10]) + stream.compress(new[:20_000]) + stream.flush(zlib.Z_FULL_FLUSH) + b"\xff" * 40
    after = restart(staged(old, broken + len(new).to_bytes(4, "little")).flash, RP2040)
    assert (after.copied, "damaged" in after.reason) == (False, True)
    assert after.flash[:0x4000] == new[:0x4000]
    assert after.flash[0x6000 : len(old)] == old[0x6000:]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", IMAGES)
def test_a_power_cut_at_any_step_begins_anew(name: str, packed: bool) -> None:
    old, new = firmware(1, name), firmware(2, name)
    before = staged(old, gzip.compress(new, mtime=0) if packed else new).flash
    assert old[:0x3000] == new[:0x3000], "the same core: the stub's pages are skipped"
    for state in torn(before, name):
        after = restart(state, chip_of(name))
        assert after.started.cpu
        assert after.flash.startswith(new)
        assert restart(after.flash, chip_of(name)).operations == 0


def torn(before: bytes, name: str = "rp2040") -> list[bytes]:
    """Return the flash as each operation of a restart leaves it when the power fails."""
    states: list[bytes] = []

    def fate(state: bytes, _: Operation) -> Fate:
        states.append(state)
        return Fate.OLD

    noted = Noted()
    noted.begin("copy")
    whole = restart(before, chip_of(name), noted)
    cuts = cut_everywhere(before, noted, fate)
    assert cuts.operations == whole.operations == len(states)
    return states


def test_another_filesystem_size_is_copied_and_a_power_cut_then_ends_it() -> None:
    """With the new words in place the stub looks for its order where there is none, and starts half of each."""
    old, new = firmware(1), firmware(2, filesystem=(SMALL[0] + 0x10000, SMALL[1] - 0x10000))
    before = staged(old, new).flash
    whole = restart(before, RP2040)
    assert whole.flash.startswith(new)
    after = restart(torn(before)[17 + 20], RP2040)
    assert (after.copied, after.flash[: len(new)] in (old, new)) == (False, False)


def test_an_image_that_reaches_into_the_filesystem_is_copied_over_it() -> None:
    old = firmware(1, filesystem=(0x10000, 0x80000))
    large = firmware(2, size=150_000, filesystem=(0x10000, 0x80000))
    after = restart(staged(old, large).flash, RP2040)
    assert after.size > layout_in(old).fs_start or after.reason
    assert read_file(after.flash, layout_in(old), FIRMWARE) != large, "the file is gone under the stub's hands"


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("chip", sorted(CHIPS))
def test_an_image_starts_on_its_own_chip_only(name: str, chip: str) -> None:
    image = firmware(1, name)
    found = start(flash_with(image), CHIPS[chip])
    assert bool(found.cpu) is (chip_of(name).name == chip)
    assert bool(found.reason) is not bool(found.cpu)


def test_another_chip_s_image_is_copied_all_the_same_and_loses_the_device() -> None:
    after = restart(staged(firmware(1), firmware(2, "rp2350")).flash, RP2040)
    assert (after.copied, after.started.cpu) == (True, "")
    assert "boot stage 2" in after.started.reason
    after = restart(staged(firmware(1, "rp2350"), firmware(2)).flash, CHIPS["rp2350"])
    assert (after.copied, after.started.cpu) == (True, "")


def test_the_rp2350_changes_its_cpu_with_the_image() -> None:
    """Each image brings a stub of its own CPU, and the boot ROM starts the CPU that the image names."""
    after = restart(staged(firmware(1, "rp2350"), firmware(2, "rp2350-riscv")).flash, CHIPS["rp2350"])
    assert (after.copied, after.started.cpu) == (True, "riscv")


@pytest.mark.parametrize(
    ("at", "content", "reason"),
    [
        (0xFC, bytes(4), "checksum"),
        (0x100, b"\xff" * 4, "stack"),
        (0x104, bytes(4), "reset"),
        (0x3000, (0x20042004).to_bytes(4, "little"), "stack"),
        (0x3000, (0x20001002).to_bytes(4, "little"), "stack"),
        (0x3004, (0x10003100).to_bytes(4, "little"), "reset"),
        (0x3004, (0x20000101).to_bytes(4, "little"), "reset"),
    ],
)
def test_what_does_not_start_is_told(at: int, content: bytes, reason: str) -> None:
    flash = flash_with(firmware(1))
    found = start(flash[:at] + content + flash[at + len(content) :], RP2040)
    assert (found.cpu, reason in found.reason) == ("", True)


def test_a_broken_loop_of_blocks_starts_nothing() -> None:
    image = firmware(1, "rp2350")
    flash = flash_with(image)
    last = image.rindex(b"\xd3\xde\xff\xff", 0, 0x3000) if image.count(b"\xd3\xde\xff\xff", 0, 0x3000) > 1 else None
    at = last if last is not None else image.index(b"\xd3\xde\xff\xff")
    assert not start(flash[:at] + bytes(4) + flash[at + 4 :], CHIPS["rp2350"]).cpu


def test_no_filesystem_no_order() -> None:
    old = firmware(1)
    blank = old.ljust(layout_in(old).flash_size, b"\xff")
    assert restart(blank, RP2040).flash == blank
    order = write_file(flash_with(old), layout_in(old), ORDER, make_order(firmware(2)))
    assert order is not None
    missing = restart(order, RP2040)
    assert (missing.copied, missing.started.cpu, "file" in missing.reason) == (False, "arm", True)


@pytest.mark.parametrize("image", [b"", bytes(0x3000), firmware(1)[:0x2FF0] + b"\xff" * 16])
def test_what_does_not_say_where_its_filesystem_is_is_refused(image: bytes) -> None:
    with pytest.raises(InputError, match=r"arduino-pico|puts its filesystem"):
        layout_in(image)


def test_a_stub_of_an_older_update_is_not_confused_by_what_was_refused() -> None:
    """A refused update between two restarts changes nothing."""
    old, new = firmware(1), firmware(2)
    refused = update(flash_with(old), new, setup_of(old))
    after = restart(refused.flash, RP2040)
    assert (after.copied, after.operations) == (False, 0)
