"""Signatures on the virtual ESP32, against mbedTLS itself: which padding, which keys."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.simulator.esp32 import signature
from otaseal.simulator.public_key import load_public_key
from support import peers
from support.chips import public_pem, sign
from support.rsa_keys import make_rsa

DATA = b"firmware" * 100
DIGEST = hashlib.sha256(DATA).digest()
INFO = bytes.fromhex("3031300d060960864801650304020105000420")
BARE_INFO = bytes.fromhex("302f300b06096086480165030402010420")


def raised(block: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """Return `block` as the private key turns it, whatever is in it."""
    numbers = key.private_numbers()
    value = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n)
    return value.to_bytes(key.key_size // 8, "big")


def padded(tail: bytes, key: rsa.RSAPrivateKey, filling: bytes = b"\xff", head: bytes = b"\0\1") -> bytes:
    room = key.key_size // 8 - len(head) - 1 - len(tail)
    return head + filling * room + b"\0" + tail


def blocks(key: rsa.RSAPrivateKey) -> dict[str, bytes]:
    good = INFO + DIGEST
    size = key.key_size // 8
    return {
        "good": padded(good, key),
        "without NULL": padded(BARE_INFO + DIGEST, key),
        "bare digest": padded(DIGEST, key),
        "another digest": padded(INFO + hashlib.sha256(b"").digest(), key),
        "encryption's padding": padded(good, key, head=b"\0\2"),
        "other filling": padded(good, key, b"\xfe"),
        "something behind": (b"\0\1" + b"\xff" * 8 + b"\0" + good).ljust(size, b"\x5a"),
        "a filling of nothing": (b"\0\1\0" + good).ljust(size, b"\0"),
        "zeros in front": padded(good, key, head=b"\0\0\1"),
    }


@pytest.mark.parametrize("bits", [1024, 2048, 3072, 4096])
def test_it_is_the_verdict_of_mbedtls(bits: int, tmp_path: Path) -> None:
    pair = make_rsa(bits)
    (tmp_path / "key.pem").write_bytes(public_pem(pair))
    made = {name: raised(block, pair) for name, block in blocks(pair).items()}
    real = sign(DATA, pair)[len(DATA) : -4]
    modulus = pair.public_key().public_numbers().n
    made |= {"openssl's": real, "a bit": bytes([real[0] ^ 1]) + real[1:], "short": real[1:], "long": b"\0" + real}
    made["not below the modulus"] = modulus.to_bytes(bits // 8, "big")
    program = peers.compiled("mbedtls_signature.c", "libmbedtls-dev", "mbedcrypto")
    lines = "".join(f"{DIGEST.hex()} {value.hex()}\n" for value in made.values())
    done = subprocess.run([program, tmp_path / "key.pem"], input=lines, capture_output=True, text=True, check=True)
    key = load_public_key(public_pem(pair))
    verdicts = {name: signature.verifies(value, key, DIGEST) for name, value in made.items()}
    assert verdicts == dict(zip(made, (line == "1" for line in done.stdout.split()), strict=True))
    assert [name for name, good in verdicts.items() if good] == ["good", "openssl's"]


def test_a_key_that_the_library_cannot_use_verifies_nothing() -> None:
    assert signature.length(public_pem(make_rsa(3072))) == 384
    assert signature.length(b"no key") == signature.length(None) == 0
    assert not signature.verifies(b"", None, DIGEST)
