from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.chips.limits import MAX_IMAGE_SIZE
from otaseal.errors import InputError, KeyRefusedError, VerificationError
from otaseal.image import gzip_payload, signed_image
from otaseal.image.firmware import Firmware, check_payload, is_signed
from support import chips
from support.images import Signer, build_image


@pytest.mark.parametrize("bits", [2048, 2056, 3072, 4096])
def test_sign_then_verify_gives_the_payload(rsa_keys: Callable[..., rsa.RSAPrivateKey], bits: int) -> None:
    key, payload = rsa_keys(bits), build_image()
    signed = signed_image.sign(payload, Signer(key))
    assert len(signed) == len(payload) + bits // 8 + 4
    assert signed_image.verify(signed, key.public_key()) == payload
    assert signed_image.serialise(signed_image.parse(signed)) == signed


def sign(payload: bytes, signer: Signer) -> bytes:
    """Sign as a build does: nothing that is not fit to be signed."""
    check_payload(Firmware(payload, signed=False))
    return signed_image.sign(payload, signer)


def test_equal_input_gives_equal_bytes(rsa_key: rsa.RSAPrivateKey) -> None:
    assert signed_image.sign(build_image(), Signer(rsa_key)) == signed_image.sign(build_image(), Signer(rsa_key))


@pytest.mark.parametrize("bits", [1024, 4104])
def test_sign_refuses_key_sizes(rsa_keys: Callable[..., rsa.RSAPrivateKey], bits: int) -> None:
    with pytest.raises(KeyRefusedError, match=str(bits)):
        signed_image.sign(build_image(), Signer(rsa_keys(bits)))


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "empty"),
        (b"\x7fELF" + bytes(4096), "this is an ELF file"),
        (b"\x81" + bytes(4096), "0x81"),
        (build_image()[:-16], "application is cut short"),
        (build_image()[:4096], "application is cut short"),
        (build_image() + b"\0", "not a multiple of 4"),
        (gzip_payload.compress(build_image()) + b"\0\0\0\0", "4 bytes behind its member"),
        (gzip_payload.compress(build_image()) * 2, "second member"),
        (gzip_payload.compress(build_image())[:-4] + bytes(4), "names a size of 0"),
        (gzip_payload.compress(b"\xe9" + bytes(5000)), "application begins with 0x00"),
        (b"\x1f" + bytes(4999), "boot block begins with 0x1f"),
        (b"\xe9" + bytes(MAX_IMAGE_SIZE), "larger than"),
    ],
)
def test_sign_refuses_what_no_device_should_get(rsa_key: rsa.RSAPrivateKey, payload: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sign(payload, Signer(rsa_key))


@pytest.mark.parametrize("bits", [2048, 3072, 4096])
@pytest.mark.parametrize("compressed", [False, True])
def test_sign_refuses_what_is_signed_already(
    rsa_keys: Callable[..., rsa.RSAPrivateKey], bits: int, compressed: bool
) -> None:
    payload = gzip_payload.compress(build_image()) if compressed else build_image()
    signed = sign(payload, Signer(rsa_keys(bits)))
    assert is_signed(signed)
    assert not is_signed(payload)
    with pytest.raises(InputError, match="signed already"):
        sign(signed, Signer(rsa_keys(2048)))


def test_an_image_that_only_ends_like_a_signed_one_can_be_signed(rsa_key: rsa.RSAPrivateKey) -> None:
    """A payload whose last word is 256 by chance is not a signed image: nothing is complete before the trailer."""
    payload = build_image() + bytes(60) + struct.pack("<I", 256)
    assert not is_signed(payload)
    assert signed_image.verify(sign(payload, Signer(rsa_key)), rsa_key.public_key()) == payload


def test_sign_does_not_trust_the_signer(rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey) -> None:
    class WrongToken(Signer):
        def sign(self, payload: bytes) -> bytes:
            return Signer(other_rsa_key).sign(payload)

    class ShortToken(Signer):
        def sign(self, payload: bytes) -> bytes:
            return Signer(self.private_key).sign(payload)[:-1]

    for token in (WrongToken(rsa_key), ShortToken(rsa_key)):
        with pytest.raises(InputError):
            sign(build_image(), token)


def test_verify_refuses_other_keys(
    rsa_key: rsa.RSAPrivateKey, other_rsa_key: rsa.RSAPrivateKey, rsa_keys: Callable[..., rsa.RSAPrivateKey]
) -> None:
    signed = sign(build_image(), Signer(rsa_key))
    for key in (other_rsa_key, rsa_keys(3072)):
        with pytest.raises(VerificationError):
            signed_image.verify(signed, key.public_key())


@pytest.mark.parametrize("word", [0, 1, 64, 128, 255, 513, 1024, 0x01000100, 0xFFFFFFFF])
def test_parse_refuses_length_words(word: int) -> None:
    with pytest.raises(InputError, match=f"'{word}'"):
        signed_image.parse(bytes(2000) + struct.pack("<I", word))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no signature trailer"),
        (b"\0\1\0", "no signature trailer"),
        (bytes(255) + struct.pack("<I", 256), "cut short"),
        (bytes(256) + struct.pack("<I", 256), "empty payload"),
        (bytes(MAX_IMAGE_SIZE - 3) + struct.pack("<I", 256), "larger than"),
    ],
)
def test_parse_refuses_by_name(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        signed_image.parse(data)


def test_a_file_cut_anywhere_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    signed = sign(build_image(), Signer(rsa_key))
    for end in range(len(signed)):
        with pytest.raises(InputError):
            signed_image.verify(signed[:end], rsa_key.public_key())


def test_one_byte_more_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    signed = sign(build_image(), Signer(rsa_key))
    for surplus in range(256):
        with pytest.raises(InputError):
            signed_image.verify(signed + bytes([surplus]), rsa_key.public_key())


def test_importing_leaves_cryptography_alone() -> None:
    code = "import sys, otaseal.image.inspection; sys.exit('cryptography' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, check=True)


def test_twice_signed_by_hand_is_still_seen(rsa_key: rsa.RSAPrivateKey) -> None:
    assert is_signed(chips.sign(chips.sign(build_image(), rsa_key), rsa_key))


@pytest.mark.parametrize("size", range(5))
def test_what_is_shorter_than_a_trailer_has_none(size: int) -> None:
    message = "last word '0'" if size >= 4 else f"{size} bytes have no signature trailer"
    with pytest.raises(InputError, match=message):
        signed_image.parse(bytes(size))
