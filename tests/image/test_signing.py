"""From firmware.bin to what is published: nothing leaves that the device it was built for would refuse (F1-F11)."""

from __future__ import annotations

import gzip
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.chips import esp8266
from otaseal.errors import InputError, KeyRefusedError, VerificationError
from otaseal.image import gzip_payload, signed_image, signing
from otaseal.image.signing_header import embedded_key
from otaseal.keys.public import public_pem
from support import chips, peers
from support.by_bytes import belongs_to, compress, missing_space, sign_firmware, unsigned, verify_firmware
from support.images import APP, CORES, MODES, SIZES, Signer, build_image


@dataclass(frozen=True)
class TwoKeyedSigner:
    """Says one key and signs with another, as a token with two keys may."""

    shown: rsa.RSAPrivateKey
    used: rsa.RSAPrivateKey

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        return self.shown.public_key()

    def sign(self, payload: bytes) -> bytes:
        return Signer(self.used).sign(payload)


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("mode", MODES)
def test_a_raw_image_is_signed_as_openssl_signs_it(core: str, mode: str, rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(core=core, mode=mode)
    signed = sign_firmware(raw, Signer(rsa_key), embeds_key=False)
    assert signed == chips.sign(raw, rsa_key)
    assert verify_firmware(signed, rsa_key.public_key()) == raw


def test_openssl_confirms_the_signature(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    signed = sign_firmware(build_image(), Signer(rsa_key), embeds_key=False)
    for name, content in (
        ("key.pub", public_pem(rsa_key.public_key())),
        ("payload", signed[:-260]),
        ("signature", signed[-260:-4]),
    ):
        (tmp_path / name).write_bytes(content)
    command = [peers.tool("openssl", "openssl"), "dgst", "-sha256", "-verify", "key.pub", "-signature", "signature"]
    assert b"Verified OK" in subprocess.run([*command, "payload"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert signed[-4:] == (256).to_bytes(4, "little")


@pytest.mark.parametrize("size", SIZES)
def test_every_flash_size_can_be_signed_and_verified(size: str, rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(size=size)
    signed = sign_firmware(raw, Signer(rsa_key), embeds_key=False)
    assert verify_firmware(signed, rsa_key.public_key()) == raw


GZIP_STARTS = ["3.0.0", "3.0.1", "3.0.2", "3.1.0", "3.1.1", "3.1.2", "3.0+git.f946290e"]


@pytest.mark.parametrize("core", GZIP_STARTS)
@pytest.mark.parametrize("name", ["", "a", "ab", "abc"])
def test_a_gzip_is_padded_inside_and_still_holds_the_image(core: str, name: str, rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(core=core)
    packed = gzip.compress(raw, mtime=0)
    header = packed[:3] + b"\x08" + packed[4:10] + name.encode() + b"\0"
    signed = sign_firmware(header + packed[10:], Signer(rsa_key), embeds_key=False)
    payload = verify_firmware(signed, rsa_key.public_key())
    assert len(payload) % 4 == 0
    assert gzip.decompress(payload) == raw
    assert int.from_bytes(payload[-4:], "little") == len(raw)


def test_a_gzip_for_the_core_that_it_bricks_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(core="2.7.4")
    assert sign_firmware(raw, Signer(rsa_key), embeds_key=False)
    with pytest.raises(InputError, match=r"signed gzip for core 2\.7\.4 leaves devices unable to start"):
        sign_firmware(gzip.compress(raw), Signer(rsa_key), embeds_key=False)
    signed = chips.sign(gzip_payload.pad4(gzip.compress(raw)), rsa_key)
    with pytest.raises(VerificationError, match=r"device with core 2\.7\.4 would not run this update"):
        verify_firmware(signed, rsa_key.public_key())


@pytest.mark.parametrize(
    ("core", "reason"),
    [
        ("2.3.0", "core 2.3.0 takes no gzip"),
        ("2.6.3", "core 2.6.3 takes no gzip"),
        ("2.7.0", "a signed gzip for core 2.7.0 leaves devices unable to start"),
        ("2.7+git.3969889e", "core 2.7+git.3969889e, from git, is older than 3.0"),
        ("none", "does not say which core"),
    ],
)
@pytest.mark.parametrize("made", ["by the build", "here"])
def test_a_gzip_is_refused_where_its_core_is_not_known_to_start_from_it(
    made: str, core: str, reason: str, rsa_key: rsa.RSAPrivateKey
) -> None:
    raw = build_image(core="2.6.3" if core == "none" else core)
    if core == "none":
        raw = raw[:0x1010] + b"\x01\x02\x03\x04" + raw[0x1014:]
    packed = gzip.compress(raw)
    with pytest.raises(InputError, match=re.escape(reason)) as caught:
        compress(raw, "gzip") if made == "here" else sign_firmware(packed, Signer(rsa_key), embeds_key=False)
    assert "3.0.0 or newer" in caught.value.hint
    assert sign_firmware(raw, Signer(rsa_key), embeds_key=False).startswith(raw)


def test_the_old_form_of_signatures_is_named_where_the_firmware_verifies_by_it(rsa_key: rsa.RSAPrivateKey) -> None:
    key = embedded_key(rsa_key.public_key())
    with pytest.raises(VerificationError, match=r"core 2\.5\.2 takes signatures of the old form only") as caught:
        sign_firmware(build_image(core="2.5.2", embedded=key), Signer(rsa_key), embeds_key=True)
    assert "2.6.0" in caught.value.hint
    assert sign_firmware(build_image(core="2.6.3", embedded=key), Signer(rsa_key), embeds_key=True)
    assert sign_firmware(build_image(core="2.4.2", embedded=key), Signer(rsa_key), embeds_key=True)


@pytest.mark.parametrize("core", CORES)
def test_a_damaged_image_is_refused_by_its_own_crc(core: str, rsa_key: rsa.RSAPrivateKey) -> None:
    raw = bytearray(build_image(core=core))
    raw[APP + 64] ^= 1
    assert esp8266.parse(bytes(raw)).core_release == core
    for firmware in (bytes(raw), gzip.compress(bytes(raw))):
        with pytest.raises(InputError, match="own CRC does not fit"):
            sign_firmware(firmware, Signer(rsa_key), embeds_key=False)


@pytest.mark.parametrize("extra", [b"\0", b"\0\0\0\0", b"\n"])
def test_bytes_behind_a_gzip_are_refused(extra: bytes, rsa_key: rsa.RSAPrivateKey) -> None:
    packed = gzip.compress(build_image())
    with pytest.raises(InputError):
        sign_firmware(packed + extra, Signer(rsa_key), embeds_key=False)


def test_what_is_signed_is_not_signed_again(rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    for firmware in (build_image(), gzip.compress(build_image())):
        signed = sign_firmware(firmware, Signer(rsa_key), embeds_key=False)
        with pytest.raises(InputError):
            sign_firmware(signed, Signer(other_rsa_key), embeds_key=False)


def test_a_signer_that_signs_with_another_key_is_found_out(
    rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    with pytest.raises(VerificationError):
        sign_firmware(build_image(), TwoKeyedSigner(rsa_key, other_rsa_key), embeds_key=False)


@pytest.mark.parametrize("bits", [1024, 4104])
def test_a_key_of_the_wrong_size_is_refused(bits: int, rsa_keys: Callable[..., rsa.RSAPrivateKey]) -> None:
    with pytest.raises(KeyRefusedError, match=str(bits)):
        sign_firmware(build_image(), Signer(rsa_keys(bits)), embeds_key=False)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_embedded_key_has_to_be_the_one_that_signs(
    pack: Callable[[bytes], bytes], rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    firmware = pack(build_image(embedded=embedded_key(rsa_key.public_key())))
    assert sign_firmware(firmware, Signer(rsa_key), embeds_key=True)
    with pytest.raises(VerificationError, match="carries another public key than SHA256:"):
        sign_firmware(firmware, Signer(other_rsa_key), embeds_key=True)
    with pytest.raises(VerificationError, match="does not contain the public key SHA256:"):
        sign_firmware(pack(build_image()), Signer(rsa_key), embeds_key=True)


def test_an_embedded_key_counts_only_with_its_closing_zero(rsa_key: rsa.RSAPrivateKey) -> None:
    key = rsa_key.public_key()
    unclosed = build_image(embedded=public_pem(key) + b"\xff")
    with pytest.raises(VerificationError):
        signing.check_embedded_key(unsigned(unclosed), key)
    signing.check_embedded_key(unsigned(build_image(embedded=b"x" + embedded_key(key))), key)


def test_missing_space_is_what_the_updater_computes(rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(code_size=9000)
    signed = sign_firmware(raw, Signer(rsa_key), embeds_key=False)
    sectors = sum(-(-size // 4096) for size in (esp8266.parse(raw).sketch_size, len(signed)))
    assert missing_space(signed, raw, sectors * 4096) == 0
    assert missing_space(signed, raw, sectors * 4096 - 1) == 1
    assert missing_space(signed, raw, 4 * 1024 * 1024) < 0


def test_the_trailer_counts_where_it_needs_one_sector_more(rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(code_size=96 + (-len(build_image()) - 64) % 4096)
    assert -len(raw) % 4096 == 64
    signed = sign_firmware(raw, Signer(rsa_key), embeds_key=False)
    assert missing_space(signed, raw, 0) == missing_space(raw, raw, 0) + 4096


def test_a_gzip_needs_the_room_of_the_sketch_that_runs_and_its_own(rsa_key: rsa.RSAPrivateKey) -> None:
    raw = build_image(code_size=9000, embedded=bytes(20000))
    packed = gzip.compress(raw)
    signed = sign_firmware(packed, Signer(rsa_key), embeds_key=False)
    needed = -(-esp8266.parse(raw).sketch_size // 4096) * 4096 + -(-len(signed) // 4096) * 4096
    assert missing_space(signed, packed, needed) == 0


def test_belongs_to_its_own_firmware_only(rsa_key: rsa.RSAPrivateKey) -> None:
    raw, other = build_image(), build_image(seed=2)
    for firmware in (raw, gzip.compress(raw, mtime=0)):
        signed = sign_firmware(firmware, Signer(rsa_key), embeds_key=False)
        assert belongs_to(signed, firmware)
        assert not belongs_to(signed, other)
        assert not belongs_to(signed, gzip.compress(other, mtime=0))
        assert not belongs_to(firmware, firmware)
        assert not belongs_to(b"", firmware)
        assert not belongs_to(signed, b"\x1f\x8b")


def test_verifying_refuses_a_tampered_a_foreign_and_a_cut_one(
    rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey
) -> None:
    signed = sign_firmware(build_image(), Signer(rsa_key), embeds_key=False)
    tampered = bytearray(signed)
    tampered[APP + 100] ^= 0x80
    with pytest.raises(VerificationError):
        verify_firmware(bytes(tampered), rsa_key.public_key())
    with pytest.raises(VerificationError):
        verify_firmware(signed, other_rsa_key.public_key())
    for end in (0, 3, 259, len(signed) - 1, len(signed) - 260):
        with pytest.raises(InputError):
            verify_firmware(signed[:end], rsa_key.public_key())


@pytest.mark.parametrize("behind", [1, 2, 3])
def test_verifying_refuses_a_good_signature_that_core_3_1_2_cannot_hash(
    behind: int, rsa_key: rsa.RSAPrivateKey
) -> None:
    unaligned = build_image() + bytes(behind)
    signed = chips.sign(unaligned, rsa_key)
    assert signed_image.verify(signed, rsa_key.public_key()) == unaligned
    with pytest.raises(VerificationError, match=r"core 3\.1\.2"):
        verify_firmware(signed, rsa_key.public_key())


def test_verifying_refuses_a_good_signature_over_what_is_no_firmware(rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(InputError):
        verify_firmware(chips.sign(b"hello, world", rsa_key), rsa_key.public_key())
