"""The virtual updater, fact by fact. A file without a place for it: test_verdict; against C: test_judges."""

from __future__ import annotations

import gzip
import hashlib
import random
import struct
from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from otaseal.chips.boot_image import FlashMode
from otaseal.chips.esp8266 import parse
from otaseal.errors import ConfigError
from otaseal.image import gzip_payload
from otaseal.simulator.eboot import restart
from otaseal.simulator.error_numbers import HttpError, UpdateError
from otaseal.simulator.flash import LAYOUTS, free_space, layout, parse_layout, sketch_md5, sketch_size
from otaseal.simulator.updater import Setup, update
from otaseal.simulator.verdict import judge
from support.chips import chip, public_pem, sign
from support.images import build_image, signed_by_odd_key, signed_legacy

NEW = build_image(seed=7, code_size=30_000)
CORES = ("2.7.4", "3.0.2", "3.1.2", "head")
MakeSetup = Callable[..., Setup]


def aligned_gzip(data: bytes) -> bytes:
    packed = gzip_payload.compress(data)
    assert len(packed) % 4 == 0
    return packed


@pytest.mark.parametrize("core", CORES)
def test_f1_a_signed_image_is_staged_below_the_filesystem_copied_and_started(
    core: str, running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey
) -> None:
    signed = sign(NEW, rsa_key)
    staged = update(running, signed, make_setup(core))
    assert staged.error == 0
    assert staged.command is not None
    assert staged.command.source + -(-len(signed) // 4096) * 4096 == LAYOUTS["4m2m"].fs_start
    assert staged.payload == NEW
    after = restart(staged.flash, staged.command, core)
    assert (after.starts, after.intact, after.result) == (True, True, 0)
    assert after.flash[: len(NEW)] == NEW
    assert staged.flash[: sketch_size(running)] == running[: sketch_size(running)], "before the restart the old one is"


@pytest.mark.parametrize("core", CORES)
def test_f1_what_is_unsigned_changed_or_anothers_is_error_12(
    core: str,
    running: bytes,
    make_setup: MakeSetup,
    rsa_key: rsa.RSAPrivateKey,
    other_rsa_key: rsa.RSAPrivateKey,
) -> None:
    signed = sign(NEW, rsa_key)
    changed = bytearray(signed)
    changed[5000] ^= 1
    for data in (NEW, bytes(changed), sign(NEW, other_rsa_key), signed[:-1] + b"\1", signed + b"\0" * 4):
        staged = update(running, data, make_setup(core))
        assert (staged.error, staged.step, staged.command) == (UpdateError.SIGN, "signature", None)
        assert restart(staged.flash, None, core).flash[: len(NEW)] == running[: len(NEW)]


def test_f2_keys_that_the_device_takes_and_that_it_does_not(running: bytes, make_setup: MakeSetup) -> None:
    for exponent, good in ((607, True), (1279, True), (2203, True), (4253, False)):
        key, signed = signed_by_odd_key(NEW, exponent)
        verdict = update(running, signed, make_setup(key=public_pem(key)))
        assert verdict.error == (0 if good else UpdateError.SIGN), exponent
    key, signed = signed_by_odd_key(NEW, 2203, null=False)
    assert update(running, signed, make_setup(key=public_pem(key))).error == 0


def test_f2_a_key_on_a_curve_or_in_pkcs1_refuses_everything(
    running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey
) -> None:
    pkcs1 = rsa_key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    point = curve.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    private = rsa_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    on_curve = NEW + bytes(65) + struct.pack("<I", 65)
    for key, data in ((pkcs1, sign(NEW, rsa_key)), (private, sign(NEW, rsa_key)), (point, on_curve)):
        staged = update(running, data, make_setup(key=key))
        assert staged.fault is not None
        assert (staged.error, staged.fault.fact) == (UpdateError.SIGN, "F2")


def test_f3_the_old_form_is_for_old_cores_only(
    running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey
) -> None:
    old, new = signed_legacy(NEW, rsa_key), sign(NEW, rsa_key)
    assert judge(running, old, make_setup("2.5.2")).boots
    assert judge(running, new, make_setup("3.1.2")).boots
    for data, core in ((old, "3.1.2"), (old, "2.7.4"), (new, "2.5.2")):
        verdict = judge(running, data, make_setup(core))
        assert (verdict.error, verdict.fact) == (UpdateError.SIGN, "F3")


def test_f6_with_a_verifier_the_md5_is_not_looked_at(
    running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey
) -> None:
    wrong = "0" * 32
    assert update(running, sign(NEW, rsa_key), make_setup(md5=wrong)).error == 0
    open_to_all = make_setup(key=None, md5=wrong)
    assert update(running, NEW, open_to_all).error == UpdateError.MD5
    assert update(running, NEW, replace(open_to_all, md5=hashlib.md5(NEW).hexdigest().upper())).error == 0
    for setup in (replace(open_to_all, md5="00"), make_setup(md5="00")):
        assert update(running, NEW, setup).error == HttpError.SERVER_FAULTY_MD5


def test_f7_another_flash_mode_is_refused_and_a_gzip_escapes(
    running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey
) -> None:
    other = build_image(seed=7, code_size=30_000, mode="dout")
    verdict = judge(running, sign(other, rsa_key), make_setup())
    assert (verdict.error, verdict.fact) == (UpdateError.SIGN, "F7")
    packed = judge(running, sign(aligned_gzip(other), rsa_key), make_setup())
    assert packed.boots
    assert packed.flash[: len(other)] == other
    unverified = judge(running, other, make_setup(key=None))
    assert unverified.boots
    assert unverified.flash[2] == running[2], "without a verifier byte 2 is rewritten, and nobody minds"


@pytest.mark.parametrize(("core", "good"), [("3.0.2", True), ("3.1.2", False), ("head", True)])
def test_f8_a_payload_that_is_no_multiple_of_4(
    core: str, good: bool, running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey
) -> None:
    packed = next(one for size in range(9) if len(one := gzip.compress(NEW + bytes(16 * size))) % 4)
    verdict = judge(running, sign(packed, rsa_key), make_setup(core))
    assert verdict.boots is good
    assert good or (verdict.error, verdict.fact) == (UpdateError.SIGN, "F8")


def test_f8b_a_signed_gzip_bricks_or_is_ignored_on_2_7_4(
    running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey
) -> None:
    verdict = judge(running, sign(aligned_gzip(NEW), rsa_key), make_setup("2.7.4"))
    assert verdict.accepted
    assert verdict.bricks, "the length word 256 is taken for the size of the image"
    assert "256" in verdict.reason


@pytest.mark.parametrize("core", ["3.0.2", "3.1.2", "head"])
def test_f8b_what_follows_the_gzip_is_taken_for_its_size(
    core: str, running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey
) -> None:
    packed = aligned_gzip(NEW)
    two = aligned_gzip(NEW[:20_000]) + aligned_gzip(NEW[20_000:])
    negative = packed[:-4] + b"\xff" * 4
    damaged = packed[:80] + b"\7" + packed[81:]
    for data, boots, bricks in (
        (packed + b"\0\x10\0\0", False, False),  # the boot loader's sector alone is the new one
        (packed + b"\0\x20\0\0", False, True),
        (two, False, True),
        (negative, False, False),
        (damaged, False, True),
        (packed[:2] + b"\7" + packed[3:], False, False),
        (packed, True, False),
    ):
        verdict = judge(running, sign(data, rsa_key), make_setup(core))
        assert (verdict.accepted, verdict.boots, verdict.bricks) == (True, boots, bricks), verdict.reason


def test_f8b_nobody_on_the_chip_sees_that_a_stored_byte_has_changed(
    running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey
) -> None:
    packed = aligned_gzip(NEW)
    verdict = judge(running, sign(packed[:9000] + bytes(8) + packed[9008:], rsa_key), make_setup())
    assert verdict.boots
    assert not verdict.intact
    assert "checksum" in verdict.reason


def test_f9_the_first_byte(running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey) -> None:
    for first, error in ((0xE8, 10), (0x1F, 10), (0x00, 10)):
        data = sign(bytes([first]) + NEW[1:], rsa_key)
        assert update(running, data, make_setup()).error == error
    assert update(running, sign(aligned_gzip(NEW), rsa_key), make_setup("2.5.2")).error == 10


def test_f10_space_is_what_lies_below_the_filesystem(
    running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey
) -> None:
    room = free_space(running, LAYOUTS["1m64"])
    small = replace(make_setup(), layout=LAYOUTS["1m64"])
    flash = running[: 1 << 20]
    one_meg = NEW[:3] + bytes([NEW[3] & 0x0F | 0x20]) + NEW[4:]
    flash = flash[:3] + one_meg[3:4] + flash[4:]
    fits, too_large = one_meg.ljust(room - 260, b"\0"), one_meg.ljust(room - 256, b"\0")
    assert judge(flash, sign(fits, rsa_key), small).boots
    assert update(flash, sign(too_large, rsa_key), small).error == UpdateError.SPACE
    assert update(flash, sign(NEW, rsa_key), small).error == UpdateError.NEW_FLASH_CONFIG
    assert update(running[: 1 << 20], sign(NEW, rsa_key), small).error == UpdateError.FLASH_CONFIG


def test_f10_a_gzip_that_its_own_copy_overwrites(make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey) -> None:
    tail = random.Random(3).randbytes(470_000)
    noise = build_image(seed=3, embedded=bytes(500_000) + tail, size="1M")
    flash = chip(build_image(seed=1, code_size=2_000, size="1M"), LAYOUTS["1m64"])
    packed = judge(flash, sign(aligned_gzip(noise), rsa_key), make_setup("3.1.2", layout=LAYOUTS["1m64"]))
    assert packed.accepted
    assert packed.bricks
    assert packed.fact == "F10"


def test_f11_an_older_image_for_another_board_is_taken(
    running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey
) -> None:
    assert judge(running, sign(build_image(seed=99, core="2.7.4"), rsa_key), make_setup()).fact == "F11"


def test_f30_size_and_md5_are_those_the_server_reckons_with(running: bytes) -> None:
    for core in ("2.7.4", "3.1.2"):
        made = build_image(seed=5, core=core, code_size=12_345)
        flash = chip(made)
        assert sketch_size(flash) == parse(made).sketch_size
        assert sketch_md5(flash) == parse(made).sketch_md5(FlashMode.DIO)
        reported = flash[:2] + b"\3" + flash[3:]
        assert sketch_md5(reported) == parse(made).sketch_md5(FlashMode.DOUT)


def test_a_body_that_ends_early_is_error_6(running: bytes, make_setup: MakeSetup, rsa_key: rsa.RSAPrivateKey) -> None:
    signed = sign(NEW, rsa_key)
    staged = update(running, signed[:9000], make_setup(), declared=len(signed))
    assert (staged.error, staged.step) == (UpdateError.STREAM, "write")
    assert update(running, b"", make_setup()).error == UpdateError.SIZE


def test_layouts_are_the_linker_scripts() -> None:
    script = """PROVIDE ( _FS_start = 0x40500000 ); PROVIDE ( _FS_end = 0x405FA000 );
    PROVIDE ( _FS_page = 0x100 ); PROVIDE ( _FS_block = 0x2000 );"""
    assert parse_layout(script, "eagle.flash.4m1m.ld") == replace(LAYOUTS["4m1m"], name="eagle.flash.4m1m.ld")
    assert layout("eagle.flash.4m1m.ld") is layout("4m1m")
    for bad, name in ((script.replace("_FS_end", "_end"), "4m1m"), (script, "x"), (script, "1m64")):
        with pytest.raises(ConfigError):
            parse_layout(bad, name)
    with pytest.raises(ConfigError, match="'5m'"):
        layout("5m")
