"""Which bytes of an image are the text of a public key, and what indents it."""

from __future__ import annotations

import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.simulator.firmware import keys_in
from otaseal.simulator.public_key import load_public_key
from support.chips import public_pem

ADDRESS = struct.pack("<I", 0x20000110)


@pytest.mark.parametrize("before", [b"", bytes(4), ADDRESS, b"code" + ADDRESS, b"text ", b"ab\0 "])
def test_a_word_before_the_key_is_no_indentation(rsa_key: rsa.RSAPrivateKey, before: bytes) -> None:
    """The fault: 0x2000.... is an address in a Pico's RAM, and its last two bytes are a zero and a blank."""
    (text,) = keys_in(before + public_pem(rsa_key) + b"\0")
    assert load_public_key(text) is not None


@pytest.mark.parametrize("before", [b"code\0\0\0\0 ", b"code\0\0\0\0    ", b"line\n\t"])
def test_an_indented_key_is_none_that_a_device_reads(rsa_key: rsa.RSAPrivateKey, before: bytes) -> None:
    (text,) = keys_in(before + public_pem(rsa_key) + b"\0")
    assert load_public_key(text) is None


def test_a_blank_that_the_image_points_at_indents(rsa_key: rsa.RSAPrivateKey) -> None:
    """The fault: a key indented by one blank, where a word ends, was taken for a good one."""
    pointer = struct.pack("<I", 0x10000000 + 7)
    (text,) = keys_in(pointer + b"ab\0 " + public_pem(rsa_key) + b"\0")
    assert load_public_key(text) is None


@pytest.mark.parametrize("end", [b"\r\n", b"\r\r\n", b"\n\r"])
def test_carriage_returns_are_skipped(rsa_key: rsa.RSAPrivateKey, end: bytes) -> None:
    """The fault: they were read as upstream's BearSSL reads them, and a public key from Windows was none."""
    (text,) = keys_in(bytes(4) + public_pem(rsa_key).replace(b"\n", end) + b"\0")
    assert load_public_key(text) == load_public_key(public_pem(rsa_key))
