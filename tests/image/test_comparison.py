"""What a comparison of two builds finds."""

from __future__ import annotations

import gzip
import random

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from otaseal.image import signing
from otaseal.image.comparison import Difference, built_image, differences
from otaseal.image.firmware import Firmware
from otaseal.image.manifest import Claim
from support.images import Signer, build_image

CODE = random.Random(1).randbytes(20_000)


def with_text(text: bytes, offset: int = 9000) -> bytes:
    return CODE[:offset] + b"\0" + text + b"\0" + CODE[offset + len(text) + 2 :]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("claim", [None, Claim("blink", board="nodemcuv2", version="1.0", counter=1, build_time=1)])
def test_what_was_signed_is_what_was_built(rsa_key: rsa.RSAPrivateKey, compressed: bool, claim: Claim | None) -> None:
    raw = build_image()
    image = Firmware(gzip.compress(raw) if compressed else raw, signed=False)
    signed = signing.sign_firmware(image, Signer(rsa_key), embeds_key=False, claim=claim)
    assert built_image(Firmware(signed.data)) == raw


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        (b"built Nov 28 2026", b"built Nov 29 2026", "a time"),
        (b"at 10:20:30 today", b"at 11:20:31 today", "a time"),
        (b"/home/anna/blink/main.cpp", b"/home/bert/blink/main.cpp", "a path"),
        (b"C:/Users/a/main.cpp", b"D:/Users/b/main.cpp", "a path"),
        (b"GET /a HTTP/1.0 abc", b"GET /a HTTP/1.0 abd", ""),
    ],
)
def test_texts_say_why(before: bytes, after: bytes, reason: str) -> None:
    (found, *others) = differences(with_text(before), with_text(after))
    assert (found.before, found.after) == (before.decode(), after.decode())
    assert found.reason.startswith(reason)
    assert bool(found.reason) is bool(reason)
    assert not others or all(one.before == before.decode() for one in others)


def test_the_same_and_what_is_longer() -> None:
    assert differences(CODE, CODE) == ()
    assert differences(CODE, CODE + b"\0" * 8) == (Difference(len(CODE), 8, "", ""),)
    assert differences(CODE[:-4], CODE)[0].size == 4


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_every_byte_that_differs_is_in_a_range(before: bytes, after: bytes) -> None:
    found = differences(before, after)
    covered = {offset for one in found for offset in range(one.offset, one.offset + one.size)}
    longest = max(len(before), len(after))
    assert {i for i in range(longest) if before[i : i + 1] != after[i : i + 1]} <= covered <= set(range(longest))
    assert [one.offset for one in found] == sorted({one.offset for one in found})
