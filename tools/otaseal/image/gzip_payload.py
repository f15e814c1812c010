"""A gzip payload as eboot can take it: one RFC 1952 member, nothing behind it, its length a multiple of 4.

eboot reads the uncompressed size from the last four bytes and checks nothing else (F8b), and core 3.1.2 hashes whole
words only (F8). So padding goes into the header (FEXTRA), never behind the member. Decompression is bounded.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from ..chips.limits import MAX_IMAGE_SIZE, check_size
from ..errors import InputError, SystemFaultError, counted

MAGIC = b"\x1f\x8b"
ALIGNMENT = 4
ZOPFLI_ITERATIONS = 15  # its own command line's default; more of them gain next to nothing
PADDING_ID = b"\x00\x00"  # a subfield of zeros: SI1 0 and SI2 0 are reserved for nobody's content in RFC 1952

_DEFLATE = 8
_FTEXT, _FHCRC, _FEXTRA, _FNAME, _FCOMMENT, _RESERVED = 0x01, 0x02, 0x04, 0x08, 0x10, 0xE0
_FIXED = struct.Struct("<2sBBIBB")  # magic, method, flags, time, extra flags, system
_LENGTH = struct.Struct("<H")
_SUBFIELD = struct.Struct("<2sH")
_TRAILER = struct.Struct("<II")  # CRC-32, size of the content
_MAX_EXTRA = 0xFFFF


@dataclass(frozen=True)
class GzipMember:
    """One member, field by field (RFC 1952). `extra`, `name` and `comment` are None where the header has none.

    `deflate` is everything between header and trailer, as it stands in the file: `content` says whether it is one
    deflate stream to the byte.
    """

    text: bool
    time: int
    extra_flags: int
    system: int
    extra: bytes | None
    name: bytes | None
    comment: bytes | None
    header_crc: bool
    deflate: bytes
    crc32: int
    isize: int

    @cached_property
    def content(self) -> bytes:
        """What the member holds, if it is exactly one and sound.

        Raises InputError, naming the fault, for bytes behind the member, a second member, a wrong CRC or size, content
        over MAX_IMAGE_SIZE (F8b).
        """
        content, rest = _inflate(self.deflate)
        if rest:
            what = "a second member" if MAGIC in rest else f"{counted(len(rest), 'byte')} behind its member"
            raise InputError(f"gzip has {what}", "compress the image into one member, and pad with pad4 only")
        if zlib.crc32(content) != self.crc32:
            raise InputError(
                f"gzip CRC is 0x{self.crc32:08x}, not that of its content", "the file is damaged: rebuild it"
            )
        if len(content) != self.isize:
            raise InputError(
                f"gzip names a size of {self.isize} bytes, its content has {len(content)}",
                "the file is damaged: rebuild it",
            )
        return content

    def subfields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the subfields of `extra` as (two-byte id, content); raises InputError where they do not add up."""
        extra, position, subfields = self.extra or b"", 0, []
        while position < len(extra):
            if len(extra) - position < _SUBFIELD.size:
                raise _malformed("an extra field that is cut short")
            identity, length = _SUBFIELD.unpack_from(extra, position)
            position += _SUBFIELD.size
            if length > len(extra) - position:
                raise _malformed("an extra field that is cut short")
            subfields.append((identity, extra[position : position + length]))
            position += length
        return tuple(subfields)

    def with_subfield(self, identity: bytes, content: bytes) -> GzipMember:
        """Return a copy with one more subfield behind the others; raises InputError when there is no room (64 KiB)."""
        self.subfields()
        extra = (self.extra or b"") + _SUBFIELD.pack(identity, len(content)) + content
        if len(extra) > _MAX_EXTRA:
            raise InputError(
                f"gzip extra field of {len(extra)} bytes is over {_MAX_EXTRA}",
                "compress the image without an extra field",
            )
        return replace(self, extra=extra)


def is_gzip(data: bytes | memoryview) -> bool:
    """Return whether `data` begins as gzip does (F9)."""
    return data[:2] == MAGIC


def parse(data: bytes) -> GzipMember:
    """Return the fields of the one member that `data` is taken to be.

    Raises InputError when the header breaks RFC 1952, or `data` is cut short or over MAX_IMAGE_SIZE.
    """
    check_size(len(data), "gzip")
    if len(data) < _FIXED.size + _TRAILER.size:
        raise _malformed("a length below any header and trailer")
    magic, method, flags, time, extra_flags, system = _FIXED.unpack_from(data)
    if magic != MAGIC or method != _DEFLATE or flags & _RESERVED:
        raise _malformed(f"magic '{magic.hex()}', method {method} and flags 0x{flags:02x}")
    position, extra = _FIXED.size, None
    if flags & _FEXTRA:
        extra = _take_extra(data, position)
        position += _LENGTH.size + len(extra)
    name = _take_string(data, position) if flags & _FNAME else None
    position += 0 if name is None else len(name) + 1
    comment = _take_string(data, position) if flags & _FCOMMENT else None
    position += 0 if comment is None else len(comment) + 1
    if flags & _FHCRC:
        _check_header_crc(data, position)
        position += _LENGTH.size
    end = len(data) - _TRAILER.size
    if position > end:
        raise _malformed("a header that is cut short")
    crc32, isize = _TRAILER.unpack_from(data, end)
    text, header_crc = bool(flags & _FTEXT), bool(flags & _FHCRC)
    return GzipMember(
        text, time, extra_flags, system, extra, name, comment, header_crc, data[position:end], crc32, isize
    )


def serialise(member: GzipMember) -> bytes:
    """Return the bytes of `member`; the header CRC, if there is one, is computed."""
    flags = (
        _FTEXT * member.text
        | _FHCRC * member.header_crc
        | _FEXTRA * (member.extra is not None)
        | _FNAME * (member.name is not None)
        | _FCOMMENT * (member.comment is not None)
    )
    header = _FIXED.pack(MAGIC, _DEFLATE, flags, member.time, member.extra_flags, member.system)
    if member.extra is not None:
        header += _LENGTH.pack(len(member.extra)) + member.extra
    for string in (member.name, member.comment):
        header += b"" if string is None else string + b"\0"
    if member.header_crc:
        header += _LENGTH.pack(zlib.crc32(header) & 0xFFFF)
    return header + member.deflate + _TRAILER.pack(member.crc32, member.isize)


def pad4(data: bytes, member: GzipMember | None = None) -> bytes:
    """Return `data` grown inside its header to a multiple of 4 bytes (F8); unchanged where it is one already.

    The same input gives the same output, content and existing subfields stay as they are. `member` is what `data` was
    parsed to, if it was. Raises InputError where the header cannot be read or has no room.
    """
    missing = -len(data) % ALIGNMENT
    member = member or parse(data)
    if not missing:
        return data
    fixed = _SUBFIELD.size + (_LENGTH.size if member.extra is None else 0)
    return serialise(member.with_subfield(PADDING_ID, bytes((missing - fixed) % ALIGNMENT)))


def compress(raw: bytes, method: str = "gzip") -> bytes:
    """Return `raw` as one member, its length a multiple of 4; equal input gives equal output (no time, no name).

    `method` is one of METHODS. Raises InputError when `raw` is over MAX_IMAGE_SIZE, ModuleNotFoundError where the
    package that the method needs is not installed.
    """
    check_size(len(raw))
    deflate = _DEFLATERS[method](raw)
    member = GzipMember(False, 0, 2, 255, None, None, None, False, deflate, zlib.crc32(raw), len(raw))
    return pad4(serialise(member))


def _zlib(raw: bytes) -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS, 9)
    return squeezer.compress(raw) + squeezer.flush()


def _zopfli(raw: bytes) -> bytes:
    """Compress with whichever of two packages is there: zopfli and zopflipy install a module of one name."""
    import zopfli

    if hasattr(zopfli, "ZopfliCompressor"):  # zopflipy, or both packages and this one the later
        squeezer = zopfli.ZopfliCompressor(zopfli.ZOPFLI_FORMAT_DEFLATE, iterations=ZOPFLI_ITERATIONS)
        return bytes(squeezer.compress(raw) + squeezer.flush())
    try:
        from zopfli.gzip import compress as squeeze
    except ImportError as error:
        raise SystemFaultError(
            f"the module 'zopfli' at '{next(iter(zopfli.__path__))}' is what one of the packages 'zopfli' and "
            "'zopflipy' left of the other",
            "uninstall both from that Python, and install one: pip uninstall zopfli zopflipy, pip install zopfli",
        ) from error
    return parse(bytes(squeeze(raw, numiterations=ZOPFLI_ITERATIONS))).deflate


_DEFLATERS: Mapping[str, Callable[[bytes], bytes]] = {"gzip": _zlib, "zopfli": _zopfli}
METHODS = tuple(_DEFLATERS)
"""How to compress: `gzip` with zlib's best level, or `zopfli`, a few per cent smaller and a hundred times slower."""


def _inflate(deflate: bytes) -> tuple[bytes, bytes]:
    """Return the content of the deflate stream and what follows it; at most MAX_IMAGE_SIZE bytes come out."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        content = stream.decompress(deflate, MAX_IMAGE_SIZE + 1)
    except zlib.error as error:
        raise _malformed(f"compressed data that is damaged ({error})") from error
    if len(content) > MAX_IMAGE_SIZE:
        raise InputError(f"gzip holds more than {MAX_IMAGE_SIZE} bytes", "no chip's flash can hold its content")
    if not stream.eof:
        raise _malformed("compressed data that is cut short")
    return content, stream.unused_data


def _take_extra(data: bytes, position: int) -> bytes:
    if len(data) - position < _LENGTH.size:
        raise _malformed("a header that is cut short")
    (length,) = _LENGTH.unpack_from(data, position)
    start = position + _LENGTH.size
    if length > len(data) - start:
        raise _malformed("an extra field that is cut short")
    return data[start : start + length]


def _take_string(data: bytes, position: int) -> bytes:
    end = data.find(b"\0", position)
    if end < 0:
        raise _malformed("a name or comment without an end")
    return data[position:end]


def _check_header_crc(data: bytes, position: int) -> None:
    if len(data) - position < _LENGTH.size:
        raise _malformed("a header that is cut short")
    if _LENGTH.unpack_from(data, position)[0] != zlib.crc32(data[:position]) & 0xFFFF:
        raise _malformed("a header whose CRC does not fit")


def _malformed(what: str) -> InputError:
    return InputError(f"gzip has {what}", "the file is damaged: rebuild it")
