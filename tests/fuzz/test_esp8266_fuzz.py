"""Any bytes parse to parts in a row or raise our error; and nothing in a parsed image points outside it."""

from __future__ import annotations

import contextlib
import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.chips import esp8266
from otaseal.errors import InputError
from support.images import CORES, OTHER_CORES, build_image

VALID = tuple(build_image(core=core, code_size=size) for core in CORES | OTHER_CORES for size in (40, 96))


@st.composite
def parts(draw: st.DrawFn) -> bytes:
    """Draw a header and segments that nearly add up."""
    segments = draw(st.lists(st.tuples(st.integers(0, 0xFFFFFFFF), st.binary(max_size=40)), max_size=4))
    count = draw(st.just(len(segments)) | st.integers(0, 255))
    out = struct.pack("<BBBBI", 0xE9, count, draw(st.integers(0, 255)), draw(st.integers(0, 255)), 0)
    for address, data in segments:
        length = draw(st.just(len(data)) | st.integers(0, 0xFFFFFFFF))
        out += struct.pack("<II", address, length) + data
    return out + draw(st.binary(max_size=20))


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(VALID)))
    places = st.sampled_from([*range(32), *range(0xFF0, 0x1030)]) | st.integers(0, len(data) - 1)
    for _ in range(draw(st.integers(1, 4))):
        data[draw(places)] = draw(st.integers(0, 255))
    return bytes(data[: draw(st.integers(len(data) - 20, len(data)))]) + draw(st.binary(max_size=4))


images = st.tuples(parts().map(lambda part: part.ljust(0x1000, b"\xaa")), parts()).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=60), parts(), images, mutated()))
def test_images_survive_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(InputError):
        image = esp8266.parse(data)
        assert image.boot.size + len(image.filler) == esp8266.APP_OFFSET
        assert image.sketch_size + len(image.tail) == len(data)
        assert image.sketch_size % 16 == 0


@settings(max_examples=200, deadline=None)
@given(st.one_of(images, mutated()))
def test_a_parsed_image_answers_every_question(data: bytes) -> None:
    with contextlib.suppress(InputError):
        image = esp8266.parse(data)
        assert len(set(image.sketch_md5s().values())) == 4
        assert (image.core_release is None) == (image.core is None)
        assert image.crc_ok is None or image.core_release
        assert image.boot_checksum_ok in (True, False)
        assert image.app_checksum_ok in (True, False)
        assert image.flash_mode is None or image.flash_mode == data[2]
