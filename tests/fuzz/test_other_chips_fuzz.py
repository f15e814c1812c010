"""Signed images of a Pico and of ESP32s that are changed are refused, by an error of ours, wherever they are read."""

from __future__ import annotations

import contextlib
import json
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.chips import images
from otaseal.errors import InputError, OtasealError
from otaseal.image import inspection, manifest
from otaseal.image.manifest import Claim
from otaseal.release.admission import Policy
from otaseal.release.records import Origin
from support import other_images
from support.by_bytes import admit, sign_firmware, verify_firmware
from support.images import Signer
from support.pico_images import CHIPS, build_image
from support.rsa_keys import make_rsa

CLAIM = Claim("blink", version="1.0")
ORIGIN = Origin("blink", "1.0", "2026-02-01T12:00:00Z")
ESP32_CHIPS = (other_images.ESP32, other_images.ESP32_C3, other_images.ESP32_S3)


@cache
def originals() -> tuple[bytes, ...]:
    own = manifest.serialise(manifest.make(CLAIM), manifest.IDENTITY_MAGIC)
    made = [build_image(chip, code=own + bytes(2000)) for chip in CHIPS]
    made += [other_images.esp32_image(chip, constants=own) for chip in ESP32_CHIPS]
    return tuple(sign_firmware(raw, Signer(make_rsa(2048)), embeds_key=False, claim=CLAIM) for raw in made)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """Draw a signed file with pieces of it replaced, most near its ends, where headers, manifest and signature are."""
    data = bytearray(draw(st.sampled_from(originals())))
    for _ in range(draw(st.integers(1, 3))):
        near = draw(st.integers(0, 400))
        place = draw(st.sampled_from((near, len(data) - near, draw(st.integers(0, len(data))))))
        data[place : place + draw(st.integers(0, 40))] = draw(st.binary(max_size=40))
    return bytes(data)


def takes(data: bytes) -> bool:
    """Tell whether a device or the server takes `data`; whatever they raise is an error of ours."""
    key = make_rsa(2048).public_key()
    taken = []
    for judge in (lambda: verify_firmware(data, key), lambda: admit([data], ORIGIN, Policy("blink", [key]), None)):
        with contextlib.suppress(OtasealError):
            taken.append(judge())
    return bool(taken)


def test_what_was_signed_is_taken() -> None:
    assert all(map(takes, originals()))


@settings(max_examples=300, deadline=None)
@given(changed())
def test_nothing_else_is(data: bytes) -> None:
    assert takes(data) == (data in originals())
    with contextlib.suppress(InputError):
        image = images.parse(data)
        assert len(image.tail) + image.sketch_size == len(data)
    found = inspection.inspect(data, {"ours": make_rsa(2048).public_key()})
    assert json.dumps(found.as_dict())
    assert found.lines()
