"""Synthetic images in true ESP8266 format: what a linker and the core's packing step would make, without either."""

from __future__ import annotations

import hashlib
import random
import struct
from dataclasses import dataclass
from functools import cache

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

MODES = {"qio": 0, "qout": 1, "dio": 2, "dout": 3}
SIZES = {"512K": 0, "256K": 1, "1M": 2, "2M": 3, "4M": 4, "8M": 8, "16M": 9}
FREQUENCIES = {"40": 0, "26": 1, "20": 2, "80": 15}
APP = 0x1000

# release: first word of the core's commit, and its length and CRC words' and commit's places in the file
CORES = {
    "2.7.4": (0x2843A5AC, 0x0FF8, 0x1010),
    "3.0.2": (0xCF6FF4C4, 0x1010, 0x1018),
    "3.1.2": (0x210897EF, 0x1010, 0x1018),
}
# cores before 2.7 write no length and CRC words; the last two are no releases
OTHER_CORES = {
    "2.3.0": (0x09826C6D, None, 0x1010),
    "2.4.2": (0xBB28D4A3, None, 0x1010),
    "2.5.2": (0x8B899C12, None, 0x1010),
    "2.6.3": (0x3D128E5C, None, 0x1010),
    "2.7.0": (0x9C56ED1F, 0x0FF8, 0x1010),
    "3.0.0": (0xEFB0341A, 0x1010, 0x1018),
    "3.0.1": (0xCBF44FB3, 0x1010, 0x1018),
    "3.1.0": (0x8AE300D4, 0x1010, 0x1018),
    "3.1.1": (0x0E5D358C, 0x1010, 0x1018),
    "2.7+git.3969889e": (0x3969889E, 0x0FF8, 0x1010),
    "3.0+git.f946290e": (0xF946290E, 0x1010, 0x1018),
}


@dataclass(frozen=True)
class Signer:
    """Signs with a key in memory."""

    private_key: rsa.RSAPrivateKey

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        return self.private_key.public_key()

    def sign(self, payload: bytes) -> bytes:
        return self.private_key.sign(payload, padding.PKCS1v15(), hashes.SHA256())


def build_image(
    *,
    mode: str = "dio",
    size: str = "4M",
    core: str = "3.1.2",
    code_size: int = 96,
    embedded: bytes = b"",
    seed: int = 1,
) -> bytes:
    """Return a complete image whose application has about `code_size` bytes of code and carries `embedded`."""
    noise = random.Random(seed)
    config = SIZES[size] << 4 | FREQUENCIES["40"]
    boot = _part(mode, config, [(0x4010F000, noise.randbytes(512))])
    irom = bytes(16) + noise.randbytes(code_size) + embedded
    irom += bytes(-len(irom) % 4)
    app = _part(
        mode, config, [(0x40201010, irom), (0x40100000, noise.randbytes(32)), (0x3FFE8000, noise.randbytes(16))]
    )
    image = bytearray(boot.ljust(APP, b"\xaa") + app)
    commit, words, place = (CORES | OTHER_CORES)[core]
    struct.pack_into("<I", image, place, commit)
    if words is not None and words < APP:
        struct.pack_into("<II", image, words, 0, 0)
    # The checksum covers the commit and two words that are still zero: the core's packing step fills them in last.
    image[-1] = _checksum(bytes(image[APP:]))
    if words is not None:
        struct.pack_into("<II", image, words, len(image), crc(bytes(image)))
    return bytes(image)


def signed_by_odd_key(payload: bytes, exponent: int, null: bool = True) -> tuple[rsa.RSAPublicKey, bytes]:
    """Return a key that no generator makes, of the primes 2**521 - 1 and 2**exponent - 1, and `payload` signed with it.

    Exponent 607 makes 1128 bits, 1279 makes 1800, 2203 makes 2724, 4253 makes 4774. Without `null` the DigestInfo has
    no parameters.
    """
    p, q, e = (1 << 521) - 1, (1 << exponent) - 1, 65537
    n, d = p * q, pow(e, -1, (p - 1) * (q - 1))
    size = (n.bit_length() + 7) // 8
    prefix = "3031300d060960864801650304020105000420" if null else "302f300b06096086480165030402010420"
    info = bytes.fromhex(prefix) + hashlib.sha256(payload).digest()
    block = b"\0\1" + b"\xff" * (size - 3 - len(info)) + b"\0" + info
    signature = pow(int.from_bytes(block, "big"), d, n).to_bytes(size, "big")
    return rsa.RSAPublicNumbers(e, n).public_key(), payload + signature + struct.pack("<I", size)


def signed_legacy(payload: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """Return `payload` signed as core 2.5.2 and older verify it: over the bare digest, without DigestInfo (F3)."""
    numbers, size = key.private_numbers(), key.key_size // 8
    digest = hashlib.sha256(payload).digest()
    block = b"\0\1" + b"\xff" * (size - 3 - len(digest)) + b"\0" + digest
    signature = pow(int.from_bytes(block, "big"), numbers.d, numbers.public_numbers.n).to_bytes(size, "big")
    return payload + signature + struct.pack("<I", size)


def _part(mode: str, config: int, segments: list[tuple[int, bytes]]) -> bytes:
    out = struct.pack("<BBBBI", 0xE9, len(segments), MODES[mode], config, segments[0][0])
    for address, data in segments:
        out += struct.pack("<II", address, len(data)) + data
    out += bytes(15 - len(out) % 16)
    return out + bytes([_checksum(out + b"\0")])


def _checksum(part: bytes) -> int:
    value, position = 0xEF, 8
    for _ in range(part[1]):
        (length,) = struct.unpack_from("<I", part, position + 4)
        for byte in part[position + 8 : position + 8 + length]:
            value ^= byte
        position += 8 + length
    return value


def crc(data: bytes) -> int:
    """Return the core's CRC: polynomial 0x04c11db7, start 0xffffffff, most significant bit first."""
    value, table = 0xFFFFFFFF, _crc_of_each_byte()
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ table[value >> 24 ^ byte]
    return value


@cache
def _crc_of_each_byte() -> list[int]:
    values = [byte << 24 for byte in range(256)]
    for _ in range(8):
        values = [value << 1 ^ (0x104C11DB7 if value & 0x80000000 else 0) for value in values]
    return values


def flipped(data: bytes, at: int) -> bytes:
    """Return `data` with one bit of the byte `at` changed."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
