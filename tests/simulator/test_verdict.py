"""What a device with room for it makes of a file, against the facts; BearSSL itself: peers/test_signature_peer.py."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.chips.boot_image import FlashMode
from otaseal.errors import ConfigError
from otaseal.image import gzip_payload, signed_image
from otaseal.simulator.error_numbers import UpdateError
from otaseal.simulator.trailer import AssumedKey
from otaseal.simulator.verdict import StockDevice, Verdict, judge_on
from support.broken_images import damaged_behind
from support.chips import public_pem
from support.images import CORES, Signer, build_image, signed_by_odd_key, signed_legacy

KIB = 1024
every_core = pytest.mark.parametrize("core", CORES)


def sign(payload: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """Sign anything, also what `signed_image.sign` refuses."""
    return signed_image.serialise(signed_image.SignedImage(payload, Signer(key).sign(payload)))


def kind(found: Verdict) -> str:
    if found.accepted:
        return "boots" if found.boots else "bricks" if found.bricks else "keeps"
    return str(found.error)


def verdict(data: bytes, device: StockDevice) -> tuple[str, str]:
    found = judge_on(device, data)
    assert (found.error == 0) == found.accepted
    assert found.reason
    assert found.reason.endswith("the old firmware goes on running") == (kind(found) == "keeps")
    return kind(found), found.fact


@every_core
@pytest.mark.parametrize("bits", [2048, 3072, 4096])
def test_a_signed_raw_image_boots(core: str, bits: int, rsa_keys: Callable[..., rsa.RSAPrivateKey]) -> None:
    key = rsa_keys(bits)
    signed = signed_image.sign(build_image(core=core), Signer(key))
    assert verdict(signed, StockDevice(core, public_pem(key))) == ("boots", "F11")


@every_core
def test_nothing_else_gets_past_the_key(
    core: str, rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    device, raw = StockDevice(core, public_pem(rsa_key)), build_image()
    sign_error = str(int(UpdateError.SIGN))
    assert verdict(raw, device) == (sign_error, "F1")
    assert verdict(signed_image.sign(raw, Signer(other_rsa_key)), device) == (sign_error, "F1")
    assert verdict(signed_image.sign(raw, Signer(rsa_keys(3072))), device) == (sign_error, "F1")
    assert verdict(b"\xe9\0\0\0" + struct.pack("<I", 256), device) == (sign_error, "F1")
    assert verdict(signed_legacy(raw, rsa_key), device) == (sign_error, "F3")


@every_core
def test_the_length_word_must_be_that_of_the_key(core: str, rsa_key: rsa.RSAPrivateKey) -> None:
    signed = signed_image.sign(build_image(), Signer(rsa_key))
    for word in (0, 255, 257, 512, 0x01000100):
        changed = signed[:-4] + struct.pack("<I", word)
        assert verdict(changed, StockDevice(core, public_pem(rsa_key))) == ("12", "F1")


@every_core
@pytest.mark.parametrize(("exponent", "verified"), [(607, True), (4253, False)])
def test_the_model_knows_no_lower_bound_but_bearssls_upper_one(core: str, exponent: int, verified: bool) -> None:
    """1128 bits: far below ours, and devices verify it all the same; 4774 bits: BearSSL gives up (F2)."""
    key, signed = signed_by_odd_key(build_image(), exponent)
    assert judge_on(StockDevice(core, public_pem(key)), signed).accepted is verified


@every_core
@pytest.mark.parametrize("chip", list(FlashMode))
@pytest.mark.parametrize("built_for", list(FlashMode))
def test_flash_mode_trap(core: str, chip: FlashMode, built_for: FlashMode, rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(mode=built_for.name.lower())
    device = StockDevice(core, public_pem(rsa_key), chip)
    own = chip is built_for
    assert verdict(signed_image.sign(raw, Signer(rsa_key)), device) == (("boots", "F11") if own else ("12", "F7"))
    assert verdict(raw, StockDevice(core, None, chip)) == (("boots", "F5") if own else ("boots", "F7"))
    if core != "2.7.4":
        packed = signed_image.sign(gzip_payload.compress(raw), Signer(rsa_key))
        assert verdict(packed, device) == (("boots", "F11") if own else ("boots", "F7"))


@every_core
def test_a_changed_byte_2_is_put_right_by_the_chip(core: str, rsa_key: rsa.RSAPrivateKey) -> None:
    signed = signed_image.sign(build_image(mode="dio"), Signer(rsa_key))
    for value in range(256):
        changed = signed[:2] + bytes([value]) + signed[3:]
        expected = "F11" if value == FlashMode.DIO else "F7"
        assert verdict(changed, StockDevice(core, public_pem(rsa_key), FlashMode.DIO)) == ("boots", expected)


@pytest.mark.parametrize("surplus", [1, 2, 3])
@pytest.mark.parametrize(("core", "expected"), [("2.7.4", "boots"), ("3.0.2", "boots"), ("3.1.2", "12")])
def test_a_payload_that_is_no_multiple_of_4(core: str, expected: str, surplus: int, rsa_key: rsa.RSAPrivateKey) -> None:
    signed = sign(build_image() + b"xyz"[:surplus], rsa_key)
    assert verdict(signed, StockDevice(core, public_pem(rsa_key))) == (expected, "F8" if expected == "12" else "F11")


def test_the_bytes_that_3_1_2_hashes_instead_are_those_of_the_chunk_before(rsa_key: rsa.RSAPrivateKey) -> None:
    """Not a way to sign, but what the code does: where the chunk before has the same bytes, it goes unnoticed."""
    raw = build_image(code_size=(-len(build_image(code_size=0)) % 128))
    assert len(raw) % 128 == 0
    signed = sign(raw + raw[-128:-125], rsa_key)
    assert judge_on(StockDevice("3.1.2", public_pem(rsa_key)), signed).accepted
    alone = sign(b"\xe9\0\2", rsa_key)
    assert verdict(alone, StockDevice("3.1.2", public_pem(rsa_key))) == ("12", "F8")


@pytest.mark.parametrize(
    ("core", "expected"), [("2.7.4", ("bricks", "F8b")), ("3.0.2", ("boots", "F11")), ("3.1.2", ("boots", "F11"))]
)
def test_a_signed_gzip(core: str, expected: tuple[str, str], rsa_key: rsa.RSAPrivateKey) -> None:
    signed = signed_image.sign(gzip_payload.compress(build_image()), Signer(rsa_key))
    assert verdict(signed, StockDevice(core, public_pem(rsa_key))) == expected


@every_core
def test_a_signed_gzip_bricks_a_device_that_verifies_nothing(core: str, rsa_key: rsa.RSAPrivateKey) -> None:
    member = gzip_payload.compress(build_image())
    assert verdict(member, StockDevice(core)) == ("boots", "F5")
    assert verdict(signed_image.sign(member, Signer(rsa_key)), StockDevice(core)) == ("bricks", "F8b")


RAW = build_image()
MEMBER = gzip_payload.compress(RAW)
KEPT = ["keeps", "keeps", "bricks", "bricks"]


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (MEMBER + bytes(4), "keeps"),
        (MEMBER + b"\x01\0\0\0", "bricks"),
        (MEMBER[:-4] + struct.pack("<I", len(RAW) - 1), "bricks"),
        (MEMBER[:-4] + struct.pack("<I", len(RAW) + 1), "boots"),
        (MEMBER[:-4] + b"\0\0\0\x80", "keeps"),
        (gzip_payload.compress(RAW[:2000]) + gzip_payload.compress(RAW[2000:]), "keeps"),
        (MEMBER[:40] + b"\xff\xff\xff\xff" + MEMBER[44:], "keeps"),
        (MEMBER[:2] + b"\x07" + MEMBER[3:], "keeps"),
        (MEMBER[:3] + b"\x80" + MEMBER[4:], "keeps"),
        (MEMBER[:1] + b"\x8c" + MEMBER[2:], "10"),
        (gzip_payload.compress(bytes(5000)), "bricks"),
    ],
)
@pytest.mark.parametrize("core", ["3.0.2", "3.1.2"])
def test_what_eboot_makes_of_a_gzip_that_is_signed_all_the_same(
    core: str, payload: bytes, expected: str, rsa_key: rsa.RSAPrivateKey
) -> None:
    result, fact = verdict(sign(payload, rsa_key), StockDevice(core, public_pem(rsa_key)))
    assert (result, fact) == (expected, "F9" if expected == "10" else "F8b")


@pytest.mark.parametrize(("core", "expected"), [("2.7.4", ["bricks"] * 4), ("3.0.2", KEPT), ("3.1.2", KEPT)])
def test_eboot_stops_at_damage_and_has_written_the_sectors_before_it(core: str, expected: list[str]) -> None:
    """Its error 6. The first sector holds the boot loader, so that the old application outlives two good ones."""
    raw = build_image(code_size=12_000)
    assert [verdict(damaged_behind(raw, sectors), StockDevice(core))[0] for sectors in range(4)] == expected


def test_a_boot_loader_that_does_not_start_is_lost_with_the_first_sector() -> None:
    raw = bytearray(build_image(code_size=12_000))
    raw[20] ^= 1
    assert verdict(damaged_behind(bytes(raw), 0), StockDevice("3.1.2"))[0] == "keeps"
    assert verdict(damaged_behind(bytes(raw), 1), StockDevice("3.1.2"))[0] == "bricks"


@every_core
@pytest.mark.parametrize("fields", ["extra", "name", "header crc"])
def test_eboot_skips_all_optional_fields(core: str, fields: str) -> None:
    from dataclasses import replace

    member = gzip_payload.parse(MEMBER)
    if fields == "extra":
        member = member.with_subfield(b"ab", b"content")
    elif fields == "name":
        member = replace(member, name=b"firmware.bin", comment=b"")
    else:
        member = replace(member, header_crc=True)
    assert verdict(gzip_payload.serialise(member), StockDevice(core)) == ("boots", "F5")


@every_core
def test_an_image_that_cannot_start_is_copied_all_the_same(core: str, rsa_key: rsa.RSAPrivateKey) -> None:
    device = StockDevice(core, public_pem(rsa_key))
    damaged = RAW[:64] + bytes([RAW[64] ^ 1]) + RAW[65:]
    assert verdict(sign(damaged, rsa_key), device) == ("bricks", "F8b")  # the boot ROM checks this checksum
    cut = build_image(code_size=2000)[:-1200]
    assert verdict(sign(cut, rsa_key), device) == ("bricks", "F8b")
    assert verdict(cut, StockDevice(core)) == ("bricks", "F8b")


@every_core
def test_a_signed_image_signed_again_boots(core: str, rsa_key: rsa.RSAPrivateKey) -> None:
    """The device takes it (F8c): that is why `signed_image.sign` refuses."""
    twice = sign(sign(RAW, rsa_key), rsa_key)
    assert verdict(twice, StockDevice(core, public_pem(rsa_key))) == ("boots", "F11")


@every_core
def test_first_byte(core: str) -> None:
    for first in range(256):
        expected = (
            ("boots", "F5") if first == 0xE9 else ("10", "F9")
        )  # 0x1f alone is not a gzip, which shows at the end
        assert verdict(bytes([first]) + RAW[1:], StockDevice(core)) == expected
    assert verdict(b"", StockDevice(core))[0] == "5"


@every_core
def test_flash_size(core: str) -> None:
    raw = build_image(size="4M")
    assert verdict(raw, StockDevice(core, flash_size=4096 * KIB))[0] == "boots"
    assert verdict(raw, StockDevice(core, flash_size=1024 * KIB)) == ("9", "F10")
    assert verdict(gzip_payload.compress(raw), StockDevice(core, flash_size=1024 * KIB))[0] == "boots"


def test_an_unknown_core_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'2\.2\.0'"):
        judge_on(StockDevice("2.2.0"), RAW)


@every_core
@pytest.mark.parametrize("pack", [bytes, gzip_payload.compress])
def test_a_key_that_is_not_at_hand_is_taken_to_fit_what_was_signed(
    core: str, pack: Callable[[bytes], bytes], rsa_key: rsa.RSAPrivateKey
) -> None:
    signed = sign(pack(RAW), rsa_key)
    assumed = AssumedKey(256, hashlib.sha256(pack(RAW)).digest())
    for mode in FlashMode:
        known, unknown = (judge_on(StockDevice(core, key, mode), signed) for key in (public_pem(rsa_key), assumed))
        assert (known.accepted, known.boots, known.bricks) == (unknown.accepted, unknown.boots, unknown.bricks)
    of_raw = AssumedKey(256, hashlib.sha256(RAW).digest())
    assert judge_on(StockDevice("2.5.2", of_raw), sign(RAW, rsa_key)).fact == "F3"
    changed = signed[:100] + bytes([signed[100] ^ 1]) + signed[101:]
    assert verdict(changed, StockDevice(core, assumed)) == ("12", "F1")


def test_what_runs_on_a_device_that_is_sent_the_boot_loader_alone() -> None:
    """No more than its sector is copied: the old application runs on, whatever was meant (F12)."""
    for cut in (600, 4096):
        assert verdict(RAW[:cut], StockDevice("3.1.2")) == ("keeps", "F8b")
    assert verdict(RAW[:4100], StockDevice("3.1.2")) == ("bricks", "F8b")


@pytest.mark.parametrize("core", ["2.3.0", "2.4.2"])
def test_a_core_before_2_5_verifies_nothing(core: str, rsa_key: rsa.RSAPrivateKey) -> None:
    for data in (RAW, sign(RAW, rsa_key)):
        assert verdict(data, StockDevice(core, public_pem(rsa_key))) == ("boots", "F5")
    assert verdict(gzip_payload.compress(RAW), StockDevice(core)) == ("10", "F9")


@pytest.mark.parametrize(("core", "like"), [("3.0+git.f946290e", "3.1.2"), ("2.7+git.3969889e", "2.7.4")])
def test_a_core_from_git_is_the_strictest_that_it_can_be(core: str, like: str, rsa_key: rsa.RSAPrivateKey) -> None:
    for payload in (RAW, RAW + b"x", gzip_payload.compress(RAW)):
        signed = sign(payload, rsa_key)
        assert verdict(signed, StockDevice(core, public_pem(rsa_key))) == verdict(
            signed, StockDevice(like, public_pem(rsa_key))
        )
