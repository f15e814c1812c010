"""What a stock device makes of an update: a model of the core's updater and of eboot, one release a table row.

Written from what `Updater.cpp`, `Esp.cpp`, `BearSSLHelpers.cpp` and `eboot.c` of each release do, in their order, with
their error numbers, and from nothing that otaseal would like them to do: a key of 512 bits is as good here as it is
there (F2). It models `Update.begin`, `writeStream`, `end` and the copy after the restart; not the HTTP client before
them, not a power cut (F12), and not `FLASH_MAP_SUPPORT`. Flash is read at any address, as the chips do.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from . import esp8266
from .errors import ConfigError, InputError
from .esp8266 import FlashMode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["CORES", "Outcome", "StockDevice", "UpdateError", "judge"]

SECTOR = 4096
HASH_CHUNK = 128
MODE_OFFSET = 2
WORD = 4
BEARSSL_MAX_RSA_BITS = 4096
_GZIP_MAGIC = b"\x1f\x8b"
_RESERVED_FLAGS = 0xE0

# DigestInfo of SHA-256 as BearSSL takes it: with NULL parameters, and without any.
_DIGEST_INFOS = (
    bytes.fromhex("3031300d060960864801650304020105000420"),
    bytes.fromhex("302f300b06096086480165030402010420"),
)


class UpdateError(IntEnum):
    """The updater's own error numbers, as far as a file can cause them."""

    SPACE = 4
    SIZE = 5
    NEW_FLASH_CONFIG = 9
    MAGIC_BYTE = 10
    SIGN = 12


@dataclass(frozen=True)
class CoreRules:
    """What tells the releases apart.

    `hashes_whole_words`: a last chunk that is no multiple of 4 is not read, and old bytes are hashed in its place (F8).
    `copies_trailer`: eboot is told the size with signature and length word (F8b).
    """

    hashes_whole_words: bool
    copies_trailer: bool


CORES: Mapping[str, CoreRules] = {
    "2.7.4": CoreRules(hashes_whole_words=False, copies_trailer=True),
    "3.0.2": CoreRules(hashes_whole_words=False, copies_trailer=False),
    "3.1.2": CoreRules(hashes_whole_words=True, copies_trailer=False),
}


@dataclass(frozen=True)
class StockDevice:
    """A device as far as an update depends on it; sizes in bytes, `fs_start` an offset in flash.

    Without `public_key` nothing is verified. `fs_start` None leaves space unjudged (F10).
    """

    core: str
    public_key: RSAPublicKey | None = None
    flash_mode: FlashMode = FlashMode.DIO
    flash_size: int = 4 * 1024 * 1024
    running_sketch_size: int = 0
    fs_start: int | None = None

    @property
    def rules(self) -> CoreRules:
        """The row of this core; raises ConfigError for a release that is not modelled."""
        if self.core not in CORES:
            raise ConfigError(f"core release '{self.core}' is not known", f"use one of {', '.join(CORES)}")
        return CORES[self.core]


@dataclass(frozen=True)
class Outcome:
    """What happens: `accepted` by the updater, `boots` the new image after the restart, or `bricks` the chip.

    An update that is not accepted has the updater's `error`. Accepted, not booting and not bricking means that the old
    firmware goes on running. `fact` is the number of the device fact behind `reason`.
    """

    accepted: bool
    boots: bool
    bricks: bool
    error: int | None
    reason: str
    fact: str


def judge(data: bytes, device: StockDevice) -> Outcome:
    """Return what `device` makes of `data`, the whole file as it is served; raises ConfigError for an unknown core."""
    rules = device.rules
    refusal = _begin(data, device)
    if refusal:
        return refusal
    staged = data
    if data[0] != _GZIP_MAGIC[0]:  # the rewrite comes before the hash (F7)
        staged = data[:MODE_OFFSET] + bytes([device.flash_mode]) + data[MODE_OFFSET + 1 :] if len(data) > 2 else data
    payload_size = len(data)
    if device.public_key is not None:
        refusal = _verify(staged, data, device, rules)
        if refusal:
            return refusal
        payload_size -= _signature_size(device.public_key) + WORD
    refusal = _verify_end(staged, device)
    if refusal:
        return refusal
    copied = len(data) if rules.copies_trailer else payload_size
    return _copy(staged[:copied], data, device)


def _begin(data: bytes, device: StockDevice) -> Outcome | None:
    if not data:
        return _refused(UpdateError.SIZE, "the update is empty", "F29")
    start = _start(len(data), device)
    if start is not None and start < _sectors(device.running_sketch_size):
        needed = f"{_sectors(device.running_sketch_size)} + {_sectors(len(data))} bytes"
        return _refused(
            UpdateError.SPACE,
            f"running sketch and update need {needed} of {device.fs_start} below the filesystem",
            "F10",
        )
    if data[0] not in (esp8266.MAGIC, _GZIP_MAGIC[0]):
        return _refused(UpdateError.MAGIC_BYTE, f"the first byte is 0x{data[0]:02x}, not 0xe9 or 0x1f", "F9")
    return None


def _verify(staged: bytes, data: bytes, device: StockDevice, rules: CoreRules) -> Outcome | None:
    """Do what `Update.end()` does with a verifier installed; None means that the signature holds."""
    assert device.public_key is not None
    size = _signature_size(device.public_key)
    said = int.from_bytes(staged[-WORD:], "little") if len(staged) >= WORD else 0
    if said != size:
        return _refused(UpdateError.SIGN, f"the length word is {said}, the device's key makes {size}", "F1")
    end = len(staged) - WORD - size
    if end < 0:
        return _refused(UpdateError.SIGN, "the file is shorter than its signature", "F1")
    digest = _digest(staged[:end], rules)
    if digest is not None and _signature_holds(staged[end:-WORD], digest, device.public_key):
        return None
    if end % WORD and rules.hashes_whole_words:
        return _refused(UpdateError.SIGN, f"core {device.core} cannot hash {end} bytes, no multiple of 4", "F8")
    sent = hashlib.sha256(data[:end]).digest()
    if staged != data and _signature_holds(data[end:-WORD], sent, device.public_key):
        reason = (
            f"flash mode {data[MODE_OFFSET]} of the image becomes the chip's {device.flash_mode.name} before hashing"
        )
        return _refused(UpdateError.SIGN, reason, "F7")
    return _refused(UpdateError.SIGN, "the signature does not fit image and key", "F1")


def _digest(payload: bytes, rules: CoreRules) -> bytes | None:
    """Return the SHA-256 that the device computes, None where it hashes memory that was never written."""
    rest = len(payload) % HASH_CHUNK
    if not (rules.hashes_whole_words and rest % WORD):
        return hashlib.sha256(payload).digest()
    whole = len(payload) - rest
    if not whole:
        return None
    stale = payload[whole - HASH_CHUNK : whole - HASH_CHUNK + rest]  # the chunk before is still in the buffer
    return hashlib.sha256(payload[:whole] + stale).digest()


def _signature_holds(signature: bytes, digest: bytes, key: RSAPublicKey) -> bool:
    """Do what BearSSL's `br_rsa_pkcs1_vrfy` does: any modulus up to 4096 bits, both forms of the DigestInfo (F2)."""
    if key.key_size > BEARSSL_MAX_RSA_BITS:
        return False
    numbers = key.public_numbers()
    opened = _opened(signature, numbers.n, numbers.e)
    for prefix in _DIGEST_INFOS:
        filling = len(signature) - 3 - len(prefix) - len(digest)
        if filling >= 8 and opened == b"\x00\x01" + b"\xff" * filling + b"\x00" + prefix + digest:
            return True
    return False


@lru_cache(maxsize=8)
def _opened(signature: bytes, modulus: int, exponent: int) -> bytes | None:
    value = int.from_bytes(signature, "big")
    return pow(value, exponent, modulus).to_bytes(len(signature), "big") if value < modulus else None


def _verify_end(staged: bytes, device: StockDevice) -> Outcome | None:
    """Do what `_verifyEnd()` does, after the signature: magic bytes, and the flash size of a raw image."""
    if staged[:2] == _GZIP_MAGIC:
        return None
    if staged[0] != esp8266.MAGIC:
        return _refused(UpdateError.MAGIC_BYTE, f"the image begins with {staged[:2].hex()}, no gzip and no image", "F9")
    wanted = esp8266.FLASH_SIZES.get(staged[3] >> 4, 0) if len(staged) > 3 else 0
    if wanted > device.flash_size:
        reason = f"the image is for {wanted} bytes of flash, the chip has {device.flash_size}"
        return _refused(UpdateError.NEW_FLASH_CONFIG, reason, "F10")
    return None


def _copy(staged: bytes, data: bytes, device: StockDevice) -> Outcome:
    """Do what eboot does after the restart with `staged`, of which it knows address and size."""
    if staged[:2] == _GZIP_MAGIC:
        return _copy_gzip(staged, data, device)
    fault = _boot_fault(staged)
    if fault:
        return _bricked(fault, "F8b")
    if staged[: MODE_OFFSET + 1] != data[: MODE_OFFSET + 1]:
        reason = f"byte 2 ({data[MODE_OFFSET]}) is replaced by the chip's flash mode {device.flash_mode.name}"
        return _booted(f"{reason} before anything is checked", "F7")
    return _booted(*_acceptance(device))


def _copy_gzip(staged: bytes, data: bytes, device: StockDevice) -> Outcome:
    left = int.from_bytes(staged[-WORD:], "little", signed=True)
    if len(staged) < 10 or staged[2] != zlib.DEFLATED or staged[3] & _RESERVED_FLAGS:
        return _kept("eboot cannot read the gzip header and copies nothing", "F8b")
    if left <= 0:
        return _kept(f"eboot takes {left} for the uncompressed size and copies nothing", "F8b")
    try:
        content = _inflate(staged, min(left, esp8266.MAX_IMAGE_SIZE))
    except (zlib.error, IndexError):
        return _bricked("the compressed data is damaged, and eboot finds out half way", "F8b")
    fault = _boot_fault(content)
    if fault:
        return _bricked(f"eboot takes {left} for the uncompressed size; {fault}", "F8b")
    if left > len(content):
        return _booted(f"eboot writes {left} bytes, all behind the first {len(content)} are garbage", "F8b")
    if _overtakes(staged, left, _start(len(data), device)):
        return _bricked("the growing copy overwrites the gzip it is read from", "F10")
    if device.fs_start is not None and _sectors(left) > device.fs_start:
        return _booted(f"eboot writes {left} bytes, over the filesystem at {device.fs_start}", "F10")
    if content[MODE_OFFSET] != device.flash_mode:
        reason = f"flash mode {content[MODE_OFFSET]} is written, the chip now runs in {device.flash_mode.name}"
        return _booted(f"{reason}: nothing in a gzip is rewritten", "F7")
    return _booted(*_acceptance(device))


def _boot_fault(content: bytes) -> str | None:
    """Return why the chip cannot start from `content` at the start of its flash; eboot itself checks nothing."""
    try:
        image = esp8266.parse(content)
    except InputError as error:
        return f"what eboot copies does not start: {error.message}"
    return None if image.boot_checksum_ok else "the boot ROM refuses the boot block: its checksum is wrong"


def _inflate(staged: bytes, limit: int) -> bytes:
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(staged[_deflate_start(staged) :], limit)


def _deflate_start(staged: bytes) -> int:
    """Return where eboot's uzlib begins to inflate: it skips all optional fields and checks none of them."""
    flags, position = staged[3], 10
    if flags & 0x04:
        position += 2 + int.from_bytes(staged[position : position + 2], "little")
    for flag in (0x08, 0x10):
        if flags & flag:
            position = staged.find(b"\0", position) + 1 or len(staged)
    return position + (2 if flags & 0x02 else 0)


def _overtakes(staged: bytes, left: int, start: int | None) -> bool:
    """Return whether eboot, which reads and writes whole sectors, writes over a sector of the gzip still to be read."""
    if start is None:
        return False
    stream, written, offset = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0
    position = _deflate_start(staged)
    while not stream.eof and offset < len(staged) and written < left:
        offset += SECTOR
        written += len(stream.decompress(staged[position : max(position, offset)]))
        position = max(position, offset)
        if not stream.eof and offset < len(staged) and written // SECTOR * SECTOR > start + offset:
            return True
    return False


def _start(size: int, device: StockDevice) -> int | None:
    """Return where the update is staged: as high as it fits below the filesystem, 0 where it does not (F10)."""
    return None if device.fs_start is None else max(device.fs_start - _sectors(size), 0)


def _sectors(size: int) -> int:
    return (size + SECTOR - 1) // SECTOR * SECTOR


def _signature_size(key: RSAPublicKey) -> int:
    return (key.key_size + 7) // 8


def _acceptance(device: StockDevice) -> tuple[str, str]:
    if device.public_key is None:
        return "nothing is verified: any image is accepted", "F5"
    return "the signature holds; it covers neither version nor board", "F11"


def _refused(error: UpdateError, reason: str, fact: str) -> Outcome:
    return Outcome(False, False, False, int(error), reason, fact)


def _booted(reason: str, fact: str) -> Outcome:
    return Outcome(True, True, False, None, reason, fact)


def _kept(reason: str, fact: str) -> Outcome:
    return Outcome(True, False, False, None, f"{reason}: the old firmware goes on running", fact)


def _bricked(reason: str, fact: str) -> Outcome:
    return Outcome(True, False, True, None, reason, fact)
