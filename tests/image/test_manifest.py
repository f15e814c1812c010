"""The manifest: its bytes, its places in raw and gzip payloads, and that stock devices and tools notice none of it."""

from __future__ import annotations

import gzip
import hashlib
import struct
import subprocess
import zlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otaseal.chips import esp8266
from otaseal.errors import InputError
from otaseal.image import gzip_payload, manifest
from otaseal.image.firmware import is_signed
from otaseal.image.manifest import ANY_BOARD, Claim, Kind, Manifest
from support.images import build_image

CLAIM = Claim("blink", "d1_mini", "1.2.3", 7, 1_700_000_000)
RAW = build_image(code_size=5000)
WORD = st.integers(0, 2**32 - 1)
ID = st.binary(min_size=8, max_size=8)
VERSION = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=28)
MANIFESTS = st.builds(
    Manifest, ID, ID, VERSION, WORD, WORD, st.sampled_from([0, 1, 2, 3, 255]), st.sampled_from(list(Kind))
)


def test_layout_byte_for_byte() -> None:
    expected = b"OtaSealM" + bytes([1, 0, 2, 0]) + struct.pack("<II", 7, 1_700_000_000)
    expected += hashlib.sha256(b"blink").digest()[:8] + hashlib.sha256(b"d1_mini").digest()[:8]
    expected += b"1.2.3".ljust(28, b"\0")
    assert len(expected) == 64
    made = manifest.make(CLAIM, flash_mode=2)
    assert manifest.serialise(made) == expected
    assert manifest.serialise(made, manifest.IDENTITY_MAGIC) == b"OtaSealI" + expected[8:]


def test_a_long_version_keeps_its_first_28_characters_and_no_board_is_any() -> None:
    made = manifest.make(Claim("blink", version="1.2.3-rc.1-4-g0123456789abcdef-dirty"))
    assert "any board, version 1.2.3-rc.1-4-g0123456789abcd, security counter 0" in str(made)
    assert str(made).endswith("built at an unknown time")
    assert (made.version, made.board, made.flash_mode) == ("1.2.3-rc.1-4-g0123456789abcd", ANY_BOARD, 255)
    assert made.is_for("blink")
    assert made.is_for("blink", "d1_mini")
    assert not made.is_for("blank")
    assert manifest.make(CLAIM).is_for("blink", "d1_mini")
    assert not manifest.make(CLAIM).is_for("blink", "nodemcuv2")


@given(MANIFESTS)
def test_every_manifest_comes_back(one: Manifest) -> None:
    text = one.version.rstrip("\0")
    assert manifest.parse(manifest.serialise(one)) == replace(one, version=text)
    assert manifest.parse(manifest.serialise(one, manifest.IDENTITY_MAGIC), manifest.IDENTITY_MAGIC) == one


@given(st.binary(min_size=52, max_size=52), st.integers(0, 2), st.integers(0, 2), st.integers(0, 255))
def test_bytes_parse_to_what_serialises_to_them_or_not_at_all(rest: bytes, form: int, kind: int, mode: int) -> None:
    data = manifest.MAGIC + bytes([form, kind, mode, 0]) + rest
    try:
        parsed = manifest.parse(data)
    except InputError:
        return
    assert manifest.serialise(parsed) == data


@pytest.mark.parametrize(
    ("offset", "value", "what"),
    [
        (0, b"o", "no manifest"),
        (7, b"I", "no manifest"),
        (8, b"\0", "format 0"),
        (8, b"\2", "format '2' was made by a newer"),
        (9, b"\2", "kind '2' was made by a newer"),
        (10, b"\4", "flash mode '4'"),
        (11, b"\1", "reserved byte 1"),
        (36, b"\x1f", "version"),
        (36, b"\x7f", "version"),
        (36, b"\0", "version"),
        (63, b"x", "version"),
        (63, b"\xe9", "version"),
    ],
)
def test_a_wrong_byte_is_refused(offset: int, value: bytes, what: str) -> None:
    data = bytearray(manifest.serialise(manifest.make(CLAIM)))
    data[offset : offset + 1] = value
    with pytest.raises(InputError, match=what):
        manifest.parse(bytes(data))


@pytest.mark.parametrize("size", [0, 8, 63, 65, 128])
def test_another_length_is_refused(size: int) -> None:
    data = (manifest.serialise(manifest.make(CLAIM)) * 2)[:size]
    with pytest.raises(InputError, match="no manifest"):
        manifest.parse(data)


@pytest.mark.parametrize(
    "claim", [replace(CLAIM, counter=2**32), replace(CLAIM, counter=-1), replace(CLAIM, build_time=2**32),
              replace(CLAIM, version="1.2\n"), replace(CLAIM, version="ä")]
)  # fmt: skip
def test_what_does_not_fit_is_refused(claim: Claim) -> None:
    with pytest.raises(InputError):
        manifest.make(claim)


@given(MANIFESTS)
@settings(max_examples=40)
def test_a_raw_payload_carries_it_as_its_last_bytes(one: Manifest) -> None:
    payload = manifest.attach(RAW, one)
    assert payload == RAW + manifest.serialise(one)
    assert manifest.find(payload) == one
    assert manifest.find(RAW) is None
    before, after = esp8266.parse(RAW), esp8266.parse(payload)
    assert (after.sketch_size, after.sketch_md5s()) == (before.sketch_size, before.sketch_md5s())  # F30
    assert after.crc_ok
    assert len(payload) % 4 == 0
    assert not is_signed(payload)  # no version reads as a length word
    with pytest.raises(InputError, match="already"):
        manifest.attach(payload, one)


HEADERS = st.builds(
    dict,
    name=st.none() | st.binary(max_size=9).map(lambda text: text.replace(b"\0", b"")),
    comment=st.none() | st.binary(max_size=9).map(lambda text: text.replace(b"\0", b"")),
    header_crc=st.booleans(),
)
SUBFIELDS = st.lists(st.tuples(st.sampled_from([b"AB", b"zz"]), st.binary(max_size=9)), max_size=3)


@given(MANIFESTS, HEADERS, st.none() | SUBFIELDS)
@settings(max_examples=60)
def test_a_gzip_carries_it_first_in_its_header(
    one: Manifest, header: dict[str, object], subfields: list[tuple[bytes, bytes]] | None
) -> None:
    member = replace(gzip_payload.parse(gzip.compress(RAW, 1)), **header)  # type: ignore[arg-type]
    if subfields is not None:
        member = replace(member, extra=b"")
        for identity, content in subfields:
            member = member.with_subfield(identity, content)
    plain = gzip_payload.pad4(gzip_payload.serialise(member))
    payload = manifest.attach(plain, one)
    assert payload[3] & 4
    assert payload[12:16] == b"OS\x40\0"
    assert payload[16:80] == manifest.serialise(one)
    assert manifest.find(payload) == one
    assert manifest.find(plain) is None
    assert len(payload) % 4 == 0
    assert not is_signed(payload)
    after = gzip_payload.parse(payload)
    kept = [pair for pair in after.subfields() if pair[0] not in (b"OS", gzip_payload.PADDING_ID)]
    assert kept == (subfields or [])
    assert replace(after, extra=None) == replace(member, extra=None)
    stream = zlib.decompressobj(31)
    assert stream.decompress(payload) == RAW
    assert stream.eof
    assert not stream.unused_data
    with pytest.raises(InputError, match="already"):
        manifest.attach(payload, one)


def test_the_real_gzip_unpacks_it() -> None:
    payload = manifest.attach(gzip_payload.compress(RAW), manifest.make(CLAIM))
    assert subprocess.run(["gzip", "-dc"], input=payload, capture_output=True, check=True).stdout == RAW


def test_a_manifest_elsewhere_in_a_gzip_header_is_refused() -> None:
    content = manifest.serialise(manifest.make(CLAIM))
    member = gzip_payload.parse(gzip_payload.compress(RAW)).with_subfield(b"AB", b"").with_subfield(b"OS", content)
    with pytest.raises(InputError, match="another place"):
        manifest.find(gzip_payload.serialise(replace(member)))
    first = replace(member, extra=b"").with_subfield(b"OS", content)
    with pytest.raises(InputError, match="a second one"):
        manifest.find(gzip_payload.serialise(first.with_subfield(b"OS", content)))
    with pytest.raises(InputError, match="no manifest"):
        manifest.find(gzip_payload.serialise(replace(member, extra=b"").with_subfield(b"OS", content[:63])))


def test_a_certificate_archive_carries_it_too() -> None:
    archive = b"!<arch>\n" + bytes(62)
    one = replace(manifest.make(CLAIM), kind=Kind.CERTIFICATES)
    assert manifest.find(manifest.attach(archive, one)) == one


@given(MANIFESTS, st.binary(max_size=40), st.binary(max_size=40))
def test_the_identity_record_is_found_in_an_image(one: Manifest, before: bytes, after: bytes) -> None:
    record = manifest.serialise(one, manifest.IDENTITY_MAGIC)
    assert manifest.identity(before + record + after) == one
    assert manifest.identity(before + manifest.IDENTITY_MAGIC + record + after) == one  # the magic alone is code
    assert manifest.identity(record + record) == one


def test_no_identity_is_none_and_two_are_refused() -> None:
    assert manifest.identity(RAW) is None
    assert manifest.identity(RAW + manifest.serialise(manifest.make(CLAIM))) is None
    two = [manifest.serialise(manifest.make(replace(CLAIM, counter=n)), manifest.IDENTITY_MAGIC) for n in (1, 2)]
    with pytest.raises(InputError, match="2 identities"):
        manifest.identity(b"".join(two))
