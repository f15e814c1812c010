"""The updater of the virtual Pico: what it takes and refuses, by its own numbers, and what fits into the filesystem."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from otaseal.simulator.error_numbers import HttpError, UpdateError
from otaseal.simulator.filesystem import mounted, read_file
from otaseal.simulator.pico.chip import layout_in
from otaseal.simulator.pico.order import FIRMWARE, ORDER, SIZE, make_order, read_order
from otaseal.simulator.pico.release import release
from otaseal.simulator.pico.updater import Staged, update
from otaseal.simulator.report import Fault
from support import openssl
from support.chips import public_pem, sign
from support.pico_boards import BLOCK, SMALL, firmware, flash_with, setup_of, signed
from support.rsa_keys import make_rsa

OLD = firmware(1)
NEW = firmware(2)


def play(data: bytes, declared: int | None = None, files: dict[str, bytes] | None = None, **options: Any) -> Staged:
    return update(flash_with(OLD, files), data, setup_of(OLD, **options), declared)


def stored(after: Staged, name: str) -> bytes | None:
    return read_file(after.flash, layout_in(OLD), name)


def test_a_signed_image_becomes_a_file_without_its_signature_and_an_order(tmp_path: Path) -> None:
    data = signed(NEW)
    after = play(data)
    assert (after.fault, after.ordered, after.payload) == (None, True, NEW)
    assert openssl.accepts(data, public_pem(make_rsa(2048)), tmp_path / "openssl")
    assert stored(after, FIRMWARE) == NEW
    order = stored(after, ORDER)
    assert order is not None
    assert len(order) == SIZE
    [line] = read_order(order)
    assert (line.file, line.offset, line.length, line.address) == (b"firmware.bin", 0, len(NEW), 0x10000000)
    assert after.flash[: layout_in(OLD).fs_start] == flash_with(OLD)[: layout_in(OLD).fs_start], "the old one runs on"


def test_before_5_5_0_the_signature_stays_in_the_file() -> None:
    assert stored(play(signed(NEW), core="5.4.4"), FIRMWARE) == signed(NEW)
    assert stored(play(signed(NEW), core="5.5.0"), FIRMWARE) == NEW


@pytest.mark.parametrize("position", [0, 0x100, 0x2FF0, len(NEW) - 1, len(NEW), len(NEW) + 255, -4, -1])
def test_one_bit_of_it_and_it_is_refused_by_device_and_openssl(position: int, tmp_path: Path) -> None:
    data = bytearray(signed(NEW))
    data[position] ^= 0x10
    after = play(bytes(data))
    assert after.fault is not None
    assert (after.fault.error, after.step, after.ordered) == (UpdateError.SIGN, "signature", False)
    assert not openssl.accepts(bytes(data), public_pem(make_rsa(2048)), tmp_path / "openssl")
    assert stored(after, FIRMWARE) == b"", "what was refused is never closed"


@pytest.mark.parametrize(
    ("data", "step", "error"),
    [
        (NEW, "signature", UpdateError.SIGN),
        (sign(NEW, make_rsa(2048, 1)), "signature", UpdateError.SIGN),
        (b"", "space", UpdateError.SIZE),
        (b"\0\1\0\0", "signature", UpdateError.SIGN),
        (bytes(SMALL[1] + 1), "space", UpdateError.SPACE),
    ],
)
def test_what_is_not_signed_for_it_is_refused(data: bytes, step: str, error: UpdateError) -> None:
    after = play(data)
    assert after.fault is not None
    assert (after.step, after.fault.error, after.ordered) == (step, error, False)


def test_without_a_key_the_md5_counts_and_with_one_it_does_not() -> None:
    wrong, right = "0" * 32, hashlib.md5(NEW, usedforsecurity=False).hexdigest().upper()
    assert play(NEW, key=None, md5=right).ordered
    assert play(NEW, key=None).ordered
    refused = play(NEW, key=None, md5=wrong).fault
    assert refused is not None
    assert refused.error == UpdateError.MD5
    assert play(signed(NEW), md5=wrong).ordered
    short = play(signed(NEW), md5="0" * 31)
    assert short.fault is not None
    assert (short.step, short.fault.error) == ("answer", HttpError.SERVER_FAULTY_MD5)


@pytest.mark.parametrize("arrived", [1, BLOCK - 1, BLOCK, 3 * BLOCK + 7])
def test_a_body_that_ends_early_is_no_update(arrived: int) -> None:
    data = signed(NEW)
    after = play(data[:arrived], len(data))
    assert after.fault is not None
    assert (after.step, after.fault.error) == ("write", UpdateError.STREAM)


def test_room_is_what_littlefs_says_and_no_more() -> None:
    """The largest file that fits beside the order, found by trying; littlefs-python itself finds the same."""
    layout = layout_in(OLD)
    blocks = layout.fs_size // BLOCK
    fits = next(size for size in range(layout.fs_size, 0, -1) if _fits(size, blocks - 3))
    assert play(b"\1" * fits, key=None).ordered
    over = play(b"\1" * (fits + 1), key=None)
    assert (over.fault, over.ordered) == (None, False), "the sketch is told of success, and no order is left"
    full = play(b"\1" * (fits + 1 + BLOCK), key=None)
    assert full.fault is not None
    assert (full.step, full.fault.error) == ("write", UpdateError.SPACE)


def _fits(size: int, blocks: int) -> bool:
    """Tell whether a file fits into so many blocks: each but the first begins with words that lead to those before."""
    pointers = sum(4 * ((index & -index).bit_length()) for index in range(1, blocks))
    return size <= blocks * BLOCK - pointers


def test_other_files_take_room() -> None:
    data = signed(firmware(3, size=120_000))
    assert play(data, files={"/certs.ar": bytes(20_000)}).ordered
    after = play(data, files={"/certs.ar": bytes(140_000)})
    assert after.fault is not None
    assert after.fault.error == UpdateError.SPACE
    assert read_file(after.flash, layout_in(OLD), "/certs.ar") == bytes(140_000)


def test_a_second_update_has_the_room_of_the_first() -> None:
    big = signed(firmware(4, size=180_000))
    first = play(big)
    assert first.ordered
    assert update(first.flash, big, setup_of(OLD)).ordered


def test_the_library_clears_what_is_left_and_judges_before_the_order() -> None:
    refused = Fault(31, "no manifest", "F11")
    before = play(signed(NEW)).flash
    after = update(before, signed(NEW), setup_of(OLD, judge=lambda payload: refused, clears=True))
    assert (after.fault, after.step, after.ordered) == (refused, "manifest", False)
    layout = layout_in(OLD)
    mount = mounted(after.flash[layout.fs_start : layout.fs_end], layout)
    assert mount is not None
    assert mount.listdir("/") == [FIRMWARE], "the order of an update before is gone"


def test_a_filesystem_that_does_not_mount_is_formatted_first() -> None:
    blank = OLD.ljust(layout_in(OLD).flash_size, b"\xff")
    assert update(blank, signed(NEW), setup_of(OLD)).ordered


@pytest.mark.parametrize(
    "page", [b"", b"Pico OTA", make_order(NEW)[:-1], make_order(b"\1"), make_order(b"\x1f\x8b\x08")]
)
def test_what_is_no_order_has_no_lines(page: bytes) -> None:
    assert not read_order(page)


def test_a_damaged_order_has_no_lines() -> None:
    page = make_order(NEW)
    assert all(not read_order(page[:at] + bytes([page[at] ^ 1]) + page[at + 1 :]) for at in range(0, SIZE, 5))


def test_releases_that_were_not_read_are_not_played() -> None:
    assert [release(name).cuts for name in ("4.5.0", "5.4.4", "5.5.0", "6.0.0", "10.0.0")] == [False] * 2 + [True] * 3
    from otaseal.errors import ConfigError

    for name in ("4.4.4", "3.1.2-pico", "head", ""):
        with pytest.raises(ConfigError, match="arduino-pico"):
            release(name)
