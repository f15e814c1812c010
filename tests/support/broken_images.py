"""Updates of every make, good and broken in each way that the device facts name, for those who judge them.

All of them are made for one small chip (`CHIP`). A case is what the server sends and what the device is like; its name
begins with the fact that it is about. Seeds are constants: the cases are the same in every run but for the keys.
"""

from __future__ import annotations

import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from otaseal.image import gzip_payload
from support.images import MODES, SIZES, Signer, build_image, signed_by_odd_key, signed_legacy
from support.rsa_keys import make_rsa

KIB = 1024
FLASH_SIZE, FS_START = 512 * KIB, 0x6B000
OLD = build_image(size="512K", code_size=20_000, seed=100)
NEW = build_image(size="512K", code_size=9_000, seed=7)
APPLICATION = 0x1000


@dataclass(frozen=True)
class Case:
    """What a chip with `running` and `key` (PEM, DER, or None) in it is sent; `said`: the size that is announced."""

    name: str
    data: bytes
    key: bytes | None
    running: bytes = OLD
    said: int | None = None

    @property
    def fact(self) -> str:
        return self.name.partition(" ")[0]

    @property
    def declared(self) -> int:
        return len(self.data) if self.said is None else self.said

    @property
    def flash(self) -> bytes:
        return self.running.ljust(FLASH_SIZE, b"\xff")


def signing_key(bits: int = 2048, index: int = 0) -> rsa.RSAPrivateKey:
    return make_rsa(bits, index)


def public(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, form: str = "PEM spki") -> bytes:
    encoding, kind = form.split()
    formats = {"spki": serialization.PublicFormat.SubjectPublicKeyInfo, "pkcs1": serialization.PublicFormat.PKCS1}
    encodings = {"PEM": serialization.Encoding.PEM, "DER": serialization.Encoding.DER}
    return key.public_bytes(encodings[encoding], formats[kind])


KEY = cache(lambda: public(signing_key(2048).public_key()))


def sign(payload: bytes, bits: int = 2048, index: int = 0) -> bytes:
    """Sign anything, also what `signed_image.sign` refuses."""
    signature = Signer(signing_key(bits, index)).sign(payload)
    return payload + signature + struct.pack("<I", len(signature))


def cases(random_share: int = 60) -> list[Case]:
    """Return all cases, among them `random_share` of each kind of random damage."""
    makers = (signatures, keys, modes, unaligned, first_bytes, space, gzips, headers, fields, lengths)
    found = [case for make in makers for case in make()] + list(damage(random_share))
    names = [case.name for case in found]
    assert len(set(names)) == len(names), sorted(name for name in set(names) if names.count(name) > 1)
    return found


def case(name: str, payload: bytes, key: bytes | None = None, running: bytes = OLD) -> Case:
    """Return the case of a payload that is signed, whatever it is."""
    return Case(name, sign(payload), key or KEY(), running)


def signatures() -> Iterator[Case]:
    signed = sign(NEW)
    yield Case("F1 signed", signed, KEY())
    yield Case("F1 unsigned", NEW, KEY())
    yield Case("F5 unsigned, and nothing is verified", NEW, None)
    yield Case("F5 signed, and nothing is verified", signed, None)
    yield Case("F1 signed by another key", sign(NEW, index=1), KEY())
    yield Case("F8c signed twice", sign(signed), KEY())
    yield Case("F1 of another image", NEW[:-4] + bytes(4) + signed[len(NEW) :], KEY())
    for value in (0, 4, 255, 257, 260, 384, 512, 0x01000100, 0xFFFFFFFF):
        yield Case(f"F1 length word {value}", signed[:-4] + struct.pack("<I", value), KEY())
    for size in (1, 3, 4, 5, 256, 259, 260, 261, 263, 264):
        yield Case(f"F1 the last {size} bytes of a signed image", b"\xe9" + signed[len(signed) - size + 1 :], KEY())
    for behind in (b"\0", b"\0" * 4, signed[-260:], signed[-4:]):
        yield Case(f"F1 {len(behind)} bytes behind the trailer, {behind[:2].hex()}", signed + behind, KEY())
    yield Case("F3 a legacy signature", signed_legacy(NEW, signing_key(2048)), KEY())


def keys() -> Iterator[Case]:
    for bits in (2048, 3072, 4096):
        yield Case(f"F2 RSA-{bits}", sign(NEW, bits), public(signing_key(bits).public_key()))
        yield Case(
            f"F2 RSA-{bits} for a device with RSA-{6144 - bits}",
            sign(NEW, bits),
            public(signing_key(6144 - bits).public_key()),
        )
    for exponent in (607, 1279, 2203, 4253):
        for null in (True, False):
            key, signed = signed_by_odd_key(NEW, exponent, null)
            yield Case(f"F2 {key.key_size} bits, parameters {null}", signed, public(key))
    own = signing_key(2048).public_key()
    yield Case("F2 key in DER", sign(NEW), public(own, "DER spki"))
    for form in ("PEM pkcs1", "DER pkcs1"):
        yield Case(f"F2 key as {form}", sign(NEW), public(own, form))
    pem = public(own)
    first, *rest = pem.splitlines(keepends=True)
    for form, text in {
        "indented": b"".join(b"  " + line for line in pem.splitlines(keepends=True)),
        "with an indented banner": b"  " + pem,
        "with indented Base64": first + b"".join(b"  " + line for line in rest[:-1]) + rest[-1],
        "with an indented trailer": b"".join([first, *rest[:-1], b" ", rest[-1]]),
        "with CRLF": pem.replace(b"\n", b"\r\n"),
        "without an end of line": pem.rstrip(),
        "with a zero byte behind it": pem + b"\0garbage",
        "with a zero byte in it": pem[:200] + b"\0" + pem[200:],
        "behind other text": b"a comment\n\n" + pem,
        "with empty lines": pem.replace(b"\n", b"\n\n"),
        "on one line": first + b"".join(rest[:-1]).replace(b"\n", b"") + b"\n" + rest[-1],
        "in lines of 7": first + b"\n".join([rest[0][:7], rest[0][7:]]) + b"".join(rest[1:]),
        "in lower-case banners": first.lower() + b"".join(rest[:-1]) + rest[-1].lower(),
        "behind another object": pem.replace(b"PUBLIC KEY", b"NOTHING") + pem,
        "in front of a damaged object": pem + b"-----BEGIN NOTHING-----\n!\n",
        "cut short": pem[:300],
    }.items():
        yield Case(f"F2 key in PEM {form}", sign(NEW), text)
    long = public(signing_key(3072).public_key())
    padded = long.replace(b"\n-----END", b"\n\n-----END")
    for form, text in {"": long, ", an empty line behind its padding": padded}.items():
        yield Case(f"F2 key of 3072 bits in PEM{form}", sign(NEW, 3072), text)
    for curve in (ec.SECP256R1(), ec.SECP384R1()):
        elliptic = public(ec.generate_private_key(curve).public_key())
        yield Case(f"F2 {curve.name} in the firmware", sign(NEW), elliptic)
        yield Case(f"F2 {curve.name} and its length word", NEW + bytes(65) + struct.pack("<I", 65), elliptic)


def modes() -> Iterator[Case]:
    for chip in MODES:
        running = build_image(mode=chip, size="512K", code_size=20_000, seed=100)
        for built in MODES:
            raw = build_image(mode=built, size="512K", code_size=9_000, seed=7)
            yield case(f"F7 {built} for a chip in {chip}", raw, running=running)
            yield case(f"F7 {built} in a gzip for a chip in {chip}", gzip_payload.compress(raw), running=running)
            yield Case(f"F7 {built} unsigned for a chip in {chip}", raw, None, running)
    signed = sign(NEW)
    for value in (0, 3, 4, 7, 0x42, 0xFF):
        changed = signed[:2] + bytes([value]) + signed[3:]
        yield Case(f"F7 byte 2 changed to {value}", changed, KEY())
        strange = OLD[:2] + bytes([value]) + OLD[3:]
        yield Case(f"F7 a chip whose byte 2 is {value}", signed, KEY(), strange)
        yield case(f"F7 byte 2 signed as {value}", changed[: len(NEW)], running=strange)


def unaligned() -> Iterator[Case]:
    for surplus in range(1, 4):
        yield case(f"F8 raw and {surplus} bytes", NEW + b"xyz"[:surplus])
        yield case(f"F8 a gzip {surplus} above whole words", levelled(NEW, 9, surplus))
        yield Case(f"F8 a gzip {surplus} above whole words, nothing verified", levelled(NEW, 9, surplus), None)
    for size in (1, 2, 3, 5, 127, 129, 130, 131, 255):
        yield case(f"F8 a payload of {size} bytes", NEW[:size])
    whole = NEW + bytes(-len(NEW) % 128)
    for surplus in range(1, 4):
        yield case(f"F8 {surplus} bytes that the chunk before has, too", whole + whole[-128:][:surplus])
        yield case(f"F8 {surplus} bytes that it has not", whole + b"\x55" * surplus)


def first_bytes() -> Iterator[Case]:
    for value in (0x00, 0x1E, 0x1F, 0x20, 0x4E, 0xE8, 0xEA, 0xFF):
        changed = bytes([value]) + NEW[1:]
        yield case(f"F9 first byte {value:#x}", changed)
        yield Case(f"F9 first byte {value:#x}, nothing verified", changed, None)
    yield case("F9 second byte of a gzip", b"\x1f\x8c" + gzip_payload.compress(NEW)[2:])
    yield Case("F9 a page of HTML", b"<html>not found</html>", KEY())
    yield Case("F9 a filesystem image", b"\x01\0\0\0littlefs" + bytes(8000), KEY())


def space() -> Iterator[Case]:
    """Whole sectors of sketch and update, to the byte (F10), and flash sizes in the header."""
    for used in (20_000, 5 * 4096 - 700, 300_000):
        running = build_image(size="512K", code_size=used, seed=100)
        room = FS_START - -(-len(running) // 4096) * 4096
        for size in (room - 4096, room - 1, room, room + 1, room + 4096):
            filled = NEW + bytes(max(size - 260 - len(NEW), 0))
            yield Case(f"F10 {size} of {room} bytes, sketch of {len(running)}", sign(filled), KEY(), running)
    for code in range(16):
        for gzipped in (False, True):
            raw = NEW[:3] + bytes([code << 4]) + NEW[4:]
            payload = gzip_payload.compress(raw) if gzipped else raw
            yield case(f"F10 flash size code {code}{', in a gzip' if gzipped else ''}", payload)
    for name, code in SIZES.items():
        running = OLD[:3] + bytes([code << 4]) + OLD[4:]
        yield Case(f"F10 on a chip that believes in {name}", sign(NEW), KEY(), running)


def gzips() -> Iterator[Case]:
    yield from members()
    noise = random.Random(2).randbytes(12 * 4096)
    for start, parts in enumerate((bytes(80 * 4096) + noise, noise + bytes(80 * 4096), noise + bytes(90 * 4096))):
        grown = build_image(size="512K", embedded=parts)
        yield case(f"F10 a gzip that grows over itself {start}", gzip_payload.compress(grown))
        yield Case(f"F10 one that grows, nothing verified {start}", gzip_payload.compress(grown), None)


def members() -> Iterator[Case]:
    packed = gzip_payload.compress(NEW)
    parsed = gzip_payload.parse(packed)
    yield case("F8b one member", packed)
    yield Case("F8b one member, nothing verified", packed, None)
    yield Case("F8b signed, nothing verified", sign(packed), None)
    for level in (0, 1, 9):
        yield case(f"F8b level {level}", levelled(NEW, level))
    options = {
        "subfield": parsed.with_subfield(b"ab", b"content"),
        "name": replace(parsed, name=b"firmware.bin"),
        "name and comment": replace(parsed, name=b"firmware.bin", comment=b"xyz"),
        "header CRC": replace(parsed, header_crc=True),
    }
    for name, member in options.items():
        serialised = gzip_payload.serialise(member)
        yield case(f"F8 {name}", serialised)
        yield Case(f"F8 {name}, nothing verified", serialised, None)
    for size in (-5000, -4, -1, 1, 4, 4000, 5000, 200_000):
        changed = packed[:-4] + struct.pack("<I", len(NEW) + size)
        yield case(f"F8b size off by {size}", changed)
    for size in (0, 1, 100, 4096, 4097, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
        yield case(f"F8b size {size}", packed[:-4] + struct.pack("<I", size))
    yield case("F8b wrong CRC", packed[:-8] + bytes(4) + packed[-4:])
    for method in (0, 7, 9):
        yield case(f"F8b method {method}", packed[:2] + bytes([method]) + packed[3:])
    for flag in (0x01, 0x20, 0x40, 0x80):
        yield case(f"F8b flag {flag:#x}", packed[:3] + bytes([packed[3] | flag]) + packed[4:])
    for behind in (bytes(4), b"\x01\0\0\0", bytes(8), b"\0\x30\0\0", struct.pack("<I", len(NEW)), packed):
        yield case(f"F8b {len(behind)} bytes behind it, {behind[:4].hex()}", packed + behind)
    yield case("F8b two members", levelled(NEW[:2000], 9) + levelled(NEW[2000:], 9))
    for content in (b"", b"\xe9", bytes(5000), b"\xe9" * 5000, NEW[:3000], NEW[:6000], NEW + b"\xff" * 5000):
        yield case(f"F8b a gzip of {len(content)} bytes, {content[:2].hex()}", levelled(content, 9))
    for kept in (10, 20, 100, 4000, len(packed) - 8):
        yield case(f"F8b cut to {kept // 4 * 4}", packed[: kept // 4 * 4])
    for sectors in range(4):
        yield case(f"F8b damaged behind {sectors} sectors", damaged_behind(NEW, sectors))
        yield Case(f"F8b damaged behind {sectors} sectors, nothing verified", damaged_behind(NEW, sectors), None)


def damaged_behind(content: bytes, sectors: int) -> bytes:
    """Return a gzip that holds whole `sectors` of `content`, and then what is no deflate: eboot's error 6."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    good = deflate.compress(content[: sectors * 4096]) + deflate.flush(zlib.Z_FULL_FLUSH)
    trailer = struct.pack("<II", zlib.crc32(content), len(content))
    return b"\x1f\x8b\x08\0" + bytes(6) + good + b"\xff" * (100 + -(len(good) + 10) % 4) + trailer


def levelled(content: bytes, level: int, surplus: int = 0) -> bytes:
    """Return a gzip at that level, in whole words as F8 asks for and `surplus` bytes above them."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -15)
    body = deflate.compress(content) + deflate.flush() + struct.pack("<II", zlib.crc32(content), len(content))
    room = (surplus - (10 + 2 + 4 + len(body))) % 4
    extra = b"pa" + struct.pack("<H", room) + bytes(room)
    return b"\x1f\x8b\x08\x04" + bytes(6) + struct.pack("<H", len(extra)) + extra + body


def headers() -> Iterator[Case]:
    """What a signature does not look at (F11): the headers that decide whether the chip starts."""
    for offset in (0, 1, 4, 8, 12, 13, 16, 100, 528):
        for start, part in ((0, "boot loader"), (APPLICATION, "application")):
            at = start + offset
            changed = NEW[:at] + bytes([NEW[at] ^ 0x01]) + NEW[at + 1 :]
            yield case(f"F11 byte {offset} of the {part}", changed)
            yield case(f"F11 byte {offset} of the {part}, in a gzip", gzip_payload.compress(changed))
    for kept in (16, 600, APPLICATION, APPLICATION + 4, APPLICATION + 8, 8000, len(NEW) - 16, len(NEW) - 4):
        yield case(f"F11 an image cut to {kept}", NEW[:kept])
    yield case("F11 without an application", NEW[:APPLICATION].ljust(len(NEW), b"\xff"))
    yield case("F11 an application without a boot loader", NEW[APPLICATION:])
    yield case("F11 one more segment than there is", NEW[:1] + b"\x02" + NEW[2:])
    for core in ("2.7.4", "3.0.2"):
        yield case(f"F30c built with core {core}", build_image(size="512K", core=core, code_size=9_000))


def fields() -> Iterator[Case]:
    """Other images that are as good as any: sizes of all kinds."""
    for size in (0, 1, 50, 96, 128, 1000, 4096, 9999, 33_333):
        raw = build_image(size="512K", code_size=size, seed=size)
        yield case(f"F1 code of {size} bytes", raw)
        yield case(f"F8 code of {size} bytes in a gzip", gzip_payload.compress(raw))


def lengths() -> Iterator[Case]:
    signed = sign(NEW)
    yield Case("F29 nothing", b"", KEY())
    yield Case("F29 nothing, though announced", b"", KEY(), said=1000)
    for said in (1, 100, len(signed) - 260, len(signed) - 1):
        yield Case(f"F29 announced as {said}", signed, KEY(), said=said)
    for missing in (1, 4, 260, 8000):
        yield Case(f"F29 {missing} bytes missing", signed[:-missing], KEY(), said=len(signed))


def damage(share: int) -> Iterator[Case]:
    noise = random.Random(20)
    packed = gzip_payload.compress(NEW)
    wholes = {"raw": sign(NEW), "gzip": sign(packed)}
    for index in range(share):
        for name, whole in wholes.items():
            at, bit = noise.randrange(len(whole)), 1 << noise.randrange(8)
            changed = whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :]
            yield Case(f"F1 {name}, bit {bit} of byte {at} flipped ({index})", changed, KEY())
        at = noise.randrange(len(NEW))
        stretch = noise.randbytes(noise.randrange(1, 60))
        yield case(f"F11 {len(stretch)} bytes at {at} damaged, then signed ({index})", overlay(NEW, at, stretch))
        at = noise.randrange(len(packed))
        yield case(f"F8b {len(stretch)} bytes at {at} of a gzip damaged ({index})", overlay(packed, at, stretch))
        yield Case(f"F1 {index} cut", wholes["raw"][: noise.randrange(len(wholes["raw"]))], KEY())


def overlay(data: bytes, at: int, stretch: bytes) -> bytes:
    return (data[:at] + stretch + data[at + len(stretch) :])[: len(data)]
