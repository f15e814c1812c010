"""One verdict for one file: the same as that of the whole virtual Pico, which has a filesystem around it."""

from __future__ import annotations

import gzip

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.errors import ConfigError
from otaseal.image.inspection import inspect
from otaseal.simulator.pico.boot import restart
from otaseal.simulator.pico.chip import chip_of
from otaseal.simulator.pico.updater import update
from otaseal.simulator.pico.verdict import judge_board
from support.chips import public_pem, sign
from support.pico_boards import firmware, flash_with, setup_of, signed
from support.pico_images import CHIPS as IMAGES
from support.rsa_keys import make_rsa

KEY = public_pem(make_rsa(2048))
PACKED = gzip.compress(firmware(2), mtime=0)
FILES = {
    "signed": signed(firmware(2)),
    "another key": sign(firmware(2), make_rsa(2048, 1)),
    "unsigned": firmware(2),
    "a page": b"<html></html>" * 99,
    "gzip": signed(PACKED),
    "gzip of nothing": signed(gzip.compress(b"")),
    "gzip with a lie": signed(PACKED[:-4] + bytes([0, 64, 0, 0])),
    "gzip cut short": signed(PACKED[:-20] + PACKED[-4:]),
    "no gzip": signed(b"\x1f\x8b" + bytes(40)),
    "another chip": signed(firmware(2, "rp2350")),
    "nothing": signed(b""),
    "text": signed(b"text" * 4000),
}


@pytest.mark.parametrize("core", ["5.4.4", "6.0.0"])
@pytest.mark.parametrize("name", FILES)
def test_it_is_that_of_the_board(name: str, core: str) -> None:
    data, old = FILES[name], firmware(1)
    verdict = judge_board(core, "rp2040", KEY, data)
    staged = update(flash_with(old), data, setup_of(old, core))
    assert verdict.accepted is (staged.fault is None)
    assert verdict.error == (staged.fault.error if staged.fault else 0)
    if staged.fault is not None:
        assert verdict.reason == staged.fault.reason
        return
    after = restart(staged.flash, chip_of("rp2040"))
    sound = after.copied and not after.reason and bool(after.started.cpu)
    changed = after.pages > 0
    assert (verdict.boots, verdict.bricks) == (sound and changed, changed and not sound)
    assert verdict.reason


@pytest.mark.parametrize("chip", IMAGES)
def test_inspect_says_what_a_stock_board_does(chip: str, rsa_key: rsa.RSAPrivateKey) -> None:
    packed = sign(gzip.compress(firmware(2, chip), mtime=0), rsa_key)
    seen = inspect(packed, {"ours": rsa_key.public_key()})
    assert {core: (one.boots, one.bricks) for core, one in seen.outcomes.items()} == {
        "5.4.4": (False, True),
        "6.0.0": (True, False),
    }
    assert any("core 5.4.4    accepted, and BRICKED: the signature stays in the file" in line for line in seen.lines())
    assert set(seen.as_dict()["stock_cores"]) == {"5.4.4", "6.0.0"}
    assert not seen.flash_modes


def test_a_board_without_a_key_takes_anything() -> None:
    assert judge_board("6.0.0", "rp2040", None, firmware(2)).boots
    assert judge_board("6.0.0", "rp2040", None, bytes([1]) * 40_000).bricks


def test_a_release_that_was_not_read_is_none() -> None:
    with pytest.raises(ConfigError, match=r"arduino-pico '4\.0\.0'"):
        judge_board("4.0.0", "rp2040", None, b"")
