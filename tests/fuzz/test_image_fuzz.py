"""Any bytes parse and serialise to themselves or raise our error: signed images, and what judges and tells of them."""

from __future__ import annotations

import contextlib
import json
import struct
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.chips.boot_image import FlashMode
from otaseal.errors import InputError
from otaseal.image import gzip_payload, inspection, signed_image
from otaseal.image.firmware import Firmware, check_payload, is_signed
from otaseal.simulator.verdict import StockDevice, judge_on
from support.chips import public_pem
from support.images import Signer, build_image
from support.rsa_keys import make_rsa


@cache
def valid() -> tuple[bytes, ...]:
    raw = build_image()
    packed = gzip_payload.compress(raw)
    signer = Signer(make_rsa(2048))
    return raw, packed, signed_image.sign(raw, signer), signed_image.sign(packed, signer)


trailers = st.one_of(st.integers(0, 600), st.integers(0, 0xFFFFFFFF)).map(lambda word: struct.pack("<I", word))
made_up = st.tuples(st.binary(max_size=700), trailers).map(b"".join)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Draw a valid file with a few bytes changed, a piece cut out or put in, or its end cut off."""
    data = bytearray(draw(st.sampled_from(valid())))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(len(data) - 1, 0)))
        length = draw(st.integers(0, 8))
        data[place : place + length] = draw(st.binary(max_size=8))
    return bytes(data[: draw(st.integers(len(data) - 300, len(data)))])


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=700), made_up, mutated()))
def test_signed_images_survive_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(InputError):
        parsed = signed_image.parse(data)
        assert signed_image.serialise(parsed) == data
        assert parsed.payload


@settings(max_examples=200, deadline=None)
@given(st.one_of(made_up, mutated()))
def test_what_verifies_is_what_was_signed(data: bytes) -> None:
    with contextlib.suppress(InputError):
        assert signed_image.verify(data, make_rsa(2048).public_key()) in valid()


@settings(max_examples=200, deadline=None)
@given(st.one_of(made_up, mutated()))
def test_what_is_signed_is_accepted_and_never_signed_twice(payload: bytes) -> None:
    with contextlib.suppress(InputError):
        check_payload(Firmware(payload, signed=False))
        signed = signed_image.sign(
            gzip_payload.pad4(payload) if payload[:1] == b"\x1f" else payload, Signer(make_rsa(2048))
        )
        assert is_signed(signed)
        assert not is_signed(payload)
        mode = FlashMode(payload[2]) if payload[2] < 4 else FlashMode.DIO
        device = StockDevice("3.0.2", public_pem(make_rsa(2048)), mode)
        assert judge_on(device, signed).accepted == (gzip_payload.is_gzip(payload) or payload[2] < 4)


@pytest.mark.proof
@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=700), made_up, mutated()))
def test_every_file_is_judged_and_told_of(data: bytes) -> None:
    found = inspection.inspect(data, {"key": make_rsa(2048).public_key()})
    assert json.dumps(found.as_dict())
    assert found.lines()
    for outcome in found.outcomes.values():
        assert outcome.accepted or outcome.error
        assert not (outcome.boots and outcome.bricks)
