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
