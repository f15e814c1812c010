"""Any bytes parse and serialise to themselves or raise our error; and what we accept, zlib reads the same way."""

from __future__ import annotations

import contextlib
import gzip
import zlib
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.errors import InputError
from otaseal.image import gzip_payload
from otaseal.image.gzip_payload import GzipMember

strings = st.none() | st.binary(max_size=20).map(lambda text: text.replace(b"\0", b""))


@st.composite
def members(draw: st.DrawFn) -> GzipMember:
    """Draw a sound member with any header."""
    squeezer = zlib.compressobj(draw(st.integers(0, 9)), zlib.DEFLATED, -15)
    content = draw(st.binary(max_size=300))
    deflate = squeezer.compress(content) + squeezer.flush()
    member = GzipMember(
        text=draw(st.booleans()),
        time=draw(st.integers(0, 0xFFFFFFFF)),
        extra_flags=draw(st.integers(0, 255)),
        system=draw(st.integers(0, 255)),
        extra=draw(st.none() | st.just(b"")),
        name=draw(strings),
        comment=draw(strings),
        header_crc=draw(st.booleans()),
        deflate=deflate,
        crc32=zlib.crc32(content),
        isize=len(content),
    )
    for identity, value in draw(
        st.lists(st.tuples(st.binary(min_size=2, max_size=2), st.binary(max_size=9)), max_size=3)
    ):
        member = member.with_subfield(identity, value)
    return member


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(gzip_payload.serialise(draw(members())))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(data)))
        data[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(data)


headers = st.binary(max_size=80).map(lambda rest: b"\x1f\x8b\x08" + rest)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=80), headers, mutated()))
def test_members_survive_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(InputError):
        assert gzip_payload.serialise(gzip_payload.parse(data)) == data


@settings(max_examples=200, deadline=None)
@given(members())
def test_a_sound_member_is_padded_and_stays_what_it_was(member: GzipMember) -> None:
    data = gzip_payload.serialise(member)
    assert gzip_payload.parse(data) == member
    padded = gzip_payload.pad4(data)
    assert len(padded) % 4 == 0
    assert 0 <= len(padded) - len(data) <= 9
    assert gzip_payload.pad4(padded) == padded
    assert gzip_payload.parse(padded).content == gzip.decompress(data)
    grown = gzip_payload.parse(padded)
    assert grown.subfields()[: len(member.subfields())] == member.subfields()
    assert replace(grown, extra=member.extra) == member


@settings(max_examples=300, deadline=None)
@given(st.one_of(headers, mutated()))
def test_what_is_taken_for_a_single_member_is_one_to_zlib(data: bytes) -> None:
    with contextlib.suppress(InputError):
        content = gzip_payload.parse(data).content
        stream = zlib.decompressobj(31)
        assert stream.decompress(data) == content
        assert (stream.eof, stream.unused_data) == (True, b"")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=500))
def test_compress_and_back(raw: bytes) -> None:
    data = gzip_payload.compress(raw)
    assert len(data) % 4 == 0
    assert gzip_payload.parse(data).content == raw
