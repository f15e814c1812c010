from __future__ import annotations

import gzip
import io
import random
import struct
import subprocess
import zlib

import pytest

from otaseal.chips.limits import MAX_IMAGE_SIZE
from otaseal.errors import InputError
from otaseal.image import gzip_payload
from otaseal.image.gzip_payload import GzipMember
from support import peers

CONTENT = random.Random(1).randbytes(300) * 9


def member(content: bytes = CONTENT, **fields: object) -> GzipMember:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflate = squeezer.compress(content) + squeezer.flush()
    values: dict[str, object] = {"text": False, "time": 0, "extra_flags": 0, "system": 3, "extra": None, "name": None}
    values |= {"comment": None, "header_crc": False, "deflate": deflate, "crc32": zlib.crc32(content)}
    return GzipMember(**(values | {"isize": len(content)} | fields))  # type: ignore[arg-type]


HEADERS: dict[str, dict[str, object]] = {
    "bare": {},
    "name": {"name": b"firmware.bin"},
    "comment": {"comment": b"by hand", "text": True},
    "extra": {"extra": b"AB\x03\x00xyz"},
    "empty extra": {"extra": b""},
    "all": {"extra": b"AB\x00\x00", "name": b"n", "comment": b"", "header_crc": True, "time": 1234567890},
    "crc": {"header_crc": True},
}


@pytest.mark.parametrize("fields", HEADERS.values(), ids=HEADERS)
def test_every_header_survives(fields: dict[str, object]) -> None:
    one = member(**fields)
    data = gzip_payload.serialise(one)
    assert gzip_payload.parse(data) == one
    assert gzip_payload.parse(data).content == CONTENT


@pytest.mark.parametrize("surplus", range(4))
@pytest.mark.parametrize("fields", HEADERS.values(), ids=HEADERS)
def test_padding_keeps_the_content(fields: dict[str, object], surplus: int) -> None:
    one = member(CONTENT, **(fields | {"name": b"n" * surplus}))
    data = gzip_payload.serialise(one)
    padded = gzip_payload.pad4(data)
    assert len(padded) % 4 == 0
    assert gzip_payload.pad4(padded) == padded
    assert gzip_payload.parse(padded).content == CONTENT
    assert padded[-4:] == data[-4:]
    parsed = gzip_payload.parse(padded)
    assert parsed.subfields()[: len(one.subfields())] == one.subfields()
    assert (parsed.name, parsed.comment, parsed.deflate) == (one.name, one.comment, one.deflate)
    assert padded == data or len(parsed.subfields()) == len(one.subfields()) + 1


@pytest.mark.parametrize("fields", HEADERS.values(), ids=HEADERS)
def test_gzip_itself_reads_padded_members(fields: dict[str, object]) -> None:
    command = peers.tool("gzip", "gzip")
    for surplus in range(4):
        padded = gzip_payload.pad4(gzip_payload.serialise(member(CONTENT, **(fields | {"comment": b"c" * surplus}))))
        done = subprocess.run([command, "-dc"], input=padded, capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (0, CONTENT), done.stderr
        assert gzip.decompress(padded) == CONTENT


def test_gzips_own_output_is_read_and_padded() -> None:
    command = peers.tool("gzip", "gzip")
    for level in ("-1", "-9"):
        data = subprocess.run([command, level, "-c"], input=CONTENT, capture_output=True, check=True).stdout
        assert gzip_payload.serialise(gzip_payload.parse(data)) == data
        assert gzip_payload.parse(gzip_payload.pad4(data)).content == CONTENT


def test_compress_is_deterministic_padded_and_small() -> None:
    for size in range(40):
        data = gzip_payload.compress(CONTENT[:size])
        assert data == gzip_payload.compress(CONTENT[:size])
        assert len(data) % 4 == 0
        assert gzip_payload.parse(data).content == CONTENT[:size] == gzip.decompress(data)
    assert gzip_payload.parse(data).time == 0
    assert len(gzip_payload.compress(CONTENT)) <= len(gzip.compress(CONTENT)) + 12


GOOD = gzip_payload.serialise(member())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "below any header"),
        (GOOD[:17], "below any header"),
        (b"PK" + GOOD[2:], "magic '504b'"),
        (GOOD[:2] + b"\x07" + GOOD[3:], "method 7"),
        (GOOD[:3] + b"\x20" + GOOD[4:], "flags 0x20"),
        (GOOD + b"\0", "1 byte behind"),
        (GOOD + GOOD, "second member"),
        (GOOD[:-4] + struct.pack("<I", len(CONTENT) + 1), f"names a size of {len(CONTENT) + 1}"),
        (GOOD[:-8] + bytes(4) + GOOD[-4:], "CRC is 0x00000000"),
        (GOOD[:-20] + GOOD[-8:], "cut short"),
        (GOOD[:10] + b"\xff" + GOOD[11:], "damaged"),
        (gzip_payload.serialise(member(extra=b"AB\x00\x00"))[:12], "below any header"),
        (GOOD[:3] + b"\x04" + GOOD[4:10] + b"\xff\xff" + GOOD[10:], "extra field that is cut short"),
        (GOOD[:3] + b"\x08" + GOOD[4:10] + b"n" * 20, "without an end"),
        (GOOD[:3] + b"\x02" + GOOD[4:10] + b"\0\0" + GOOD[10:], "whose CRC does not fit"),
        (bytes(MAX_IMAGE_SIZE + 1), "larger than"),
    ],
)
def test_what_eboot_would_mistake_is_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _ = gzip_payload.parse(data).content


def test_a_bomb_is_not_unpacked() -> None:
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as bomb:
        for _ in range(64):
            bomb.write(bytes(1 << 20))
    with pytest.raises(InputError, match="holds more than"):
        _ = gzip_payload.parse(buffer.getvalue()).content


def test_a_member_cut_anywhere_is_refused() -> None:
    for end in range(len(GOOD)):
        with pytest.raises(InputError):
            _ = gzip_payload.parse(GOOD[:end]).content


@pytest.mark.parametrize(
    ("extra", "message"),
    [(b"AB" + struct.pack("<H", 65531) + bytes(65531), "over 65535"), (b"AB\x09\x00x", "extra field"), (b"A", "extra")],
)
def test_an_extra_field_that_is_full_or_broken_is_not_padded(extra: bytes, message: str) -> None:
    members = (gzip_payload.serialise(member(extra=extra, name=b"n" * length)) for length in range(4))
    for data in members:
        if len(data) % 4:
            with pytest.raises(InputError, match=message):
                gzip_payload.pad4(data)
        else:
            assert gzip_payload.pad4(data) == data
