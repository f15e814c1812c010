"""What a stock device makes of an update: a model of the core's updater and of eboot, one release a table row.

Written from what `Updater.cpp`, `Esp.cpp`, `BearSSLHelpers.cpp` and `eboot.c` of each release do, in their order, with
their error numbers, and from nothing that otaseal would like them to do: a key of 512 bits is as good here as it is
there (F2). It models `Update.begin`, `writeStream`, `end` and the copy after the restart; not the HTTP client before
them, not a power cut (F12), and not `FLASH_MAP_SUPPORT`. Flash is read at any address, as the chips do.
"""

from __future__ import annotations

import contextlib
import hashlib
import zlib
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING

from ..chips import esp8266
from ..chips.esp8266 import CORES, Core, FlashMode, SignedGzip, core_by_name
from ..errors import ConfigError, InputError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["Outcome", "StockDevice", "UpdateError", "judge"]

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
class StockDevice:
    """A device as far as an update depends on it; sizes in bytes, `fs_start` an offset in flash.

    Without `public_key` nothing is verified, unless `unseen_key` has the bytes of a signature by a key that is not at
    hand, which is taken to fit what was sent. `fs_start` None leaves space unjudged (F10).
    """

    core: str
    public_key: RSAPublicKey | None = None
    flash_mode: FlashMode = FlashMode.DIO
    flash_size: int = 4 * 1024 * 1024
    running_sketch_size: int = 0
    fs_start: int | None = None
    unseen_key: int = 0

    @property
    def signature_size(self) -> int:
        """Bytes of the signature that the updater asks for, 0 where it verifies nothing."""
        if not self.rules.verifies:
            return 0
        return self.unseen_key if self.public_key is None else (self.public_key.key_size + 7) // 8

    @property
    def rules(self) -> Core:
        """The row of this core; raises ConfigError for a release that is not modelled."""
        found = core_by_name(self.core)
        if found is None:
            raise ConfigError(f"core release '{self.core}' is not known", f"use one of {', '.join(CORES)}")
        return found


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
    if device.signature_size:
        refusal = _verify(staged, data, device)
        if refusal:
            return refusal
        payload_size -= device.signature_size + WORD
    refusal = _verify_end(staged, device)
    if refusal:
        return refusal
    copied = payload_size if rules.signed_gzip is SignedGzip.STARTS else len(data)
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
    if data[0] == _GZIP_MAGIC[0] and device.rules.signed_gzip is SignedGzip.REFUSED:
        return _refused(UpdateError.MAGIC_BYTE, f"core {device.core} takes no gzip", "F9")
    if data[0] not in (esp8266.MAGIC, _GZIP_MAGIC[0]):
        return _refused(UpdateError.MAGIC_BYTE, f"the first byte is 0x{data[0]:02x}, not 0xe9 or 0x1f", "F9")
    return None


def _verify(staged: bytes, data: bytes, device: StockDevice) -> Outcome | None:
    """Do what `Update.end()` does with a verifier installed; None means that the signature holds."""
    size, rules = device.signature_size, device.rules
    said = int.from_bytes(staged[-WORD:], "little") if len(staged) >= WORD else 0
    if said != size:
        return _refused(UpdateError.SIGN, f"the length word is {said}, the device's key makes {size}", "F1")
    end = len(staged) - WORD - size
    if end < 0:
        return _refused(UpdateError.SIGN, "the file is shorter than its signature", "F1")
    digest, sent = _digest(staged[:end], rules), hashlib.sha256(data[:end]).digest()
    if digest is not None and _fits(staged[end:-WORD], digest, sent, device):
        return None
    if end % WORD and rules.whole_words:
        return _refused(UpdateError.SIGN, f"core {device.core} cannot hash {end} bytes, no multiple of 4", "F8")
    if staged != data and _fits(data[end:-WORD], sent, sent, device):
        reason = (
            f"flash mode {data[MODE_OFFSET]} of the image becomes the chip's {device.flash_mode.name} before hashing"
        )
        return _refused(UpdateError.SIGN, reason, "F7")
    if not rules.digest_info:
        reason = f"core {device.core} takes signatures of the old form only, over the bare digest"
        return _refused(UpdateError.SIGN, reason, "F3")
    return _refused(UpdateError.SIGN, "the signature does not fit image and key", "F1")


def _fits(signature: bytes, digest: bytes, sent: bytes, device: StockDevice) -> bool:
    """Return whether `signature` is over `digest`; one by a key that is not at hand is over what was `sent`."""
    if device.public_key is None:
        return digest == sent and device.rules.digest_info
    prefixes = _DIGEST_INFOS if device.rules.digest_info else (b"",)
    return _signature_holds(signature, digest, device.public_key, prefixes)


def _digest(payload: bytes, rules: Core) -> bytes | None:
    """Return the SHA-256 that the device computes, None where it hashes memory that was never written."""
    rest = len(payload) % HASH_CHUNK
    if not (rules.whole_words and rest % WORD):
        return hashlib.sha256(payload).digest()
    whole = len(payload) - rest
    if not whole:
        return None
    stale = payload[whole - HASH_CHUNK : whole - HASH_CHUNK + rest]  # the chunk before is still in the buffer
    return hashlib.sha256(payload[:whole] + stale).digest()


def _signature_holds(signature: bytes, digest: bytes, key: RSAPublicKey, prefixes: tuple[bytes, ...]) -> bool:
    """Do what BearSSL's `br_rsa_pkcs1_vrfy` does: moduli up to 4096 bits, one of `prefixes` before the digest (F2)."""
    if key.key_size > BEARSSL_MAX_RSA_BITS:
        return False
    numbers = key.public_numbers()
    opened = _opened(signature, numbers.n, numbers.e)
    for prefix in prefixes:
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
    content, damaged = _inflate(staged, min(left, esp8266.MAX_IMAGE_SIZE))
    if damaged:
        return _half_way(content, device.rules)
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


def _half_way(unpacked: bytes, rules: Core) -> Outcome:
    """Return what is left of the chip when eboot meets damage (its error 6) behind the sectors that it has `unpacked`.

    The first sector holds the boot loader alone: with a good one in it, the old application still starts.
    """
    if not rules.erases_first and (not unpacked or (len(unpacked) <= SECTOR and esp8266.boot_block_starts(unpacked))):
        return _kept("the compressed data is damaged, and eboot stops before it erases the application", "F8b")
    return _bricked("the compressed data is damaged, and eboot finds out half way", "F8b")


def _boot_fault(content: bytes) -> str | None:
    """Return why the chip cannot start from `content` at the start of its flash; eboot itself checks nothing."""
    try:
        image = esp8266.parse(content)
    except InputError as error:
        return f"what eboot copies does not start: {error.message}"
    return None if image.boot_checksum_ok else "the boot ROM refuses the boot block: its checksum is wrong"


def _inflate(staged: bytes, limit: int) -> tuple[bytes, bool]:
    """Return at most `limit` bytes of content and False; where it is damaged, the whole sectors before and True."""
    deflate = staged[_deflate_start(staged) :]
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflate, limit), False
    except zlib.error:
        pass
    stream, content = zlib.decompressobj(-zlib.MAX_WBITS), bytearray()
    with contextlib.suppress(zlib.error):  # which keeps to itself what the same call has unpacked before the damage
        for byte in deflate:
            content += stream.decompress(bytes([byte]))
    if len(content) >= limit:
        return bytes(content[:limit]), False
    return bytes(content[: len(content) // SECTOR * SECTOR]), True


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


def _acceptance(device: StockDevice) -> tuple[str, str]:
    if not device.signature_size:
        return "nothing is verified: any image is accepted", "F5"
    if device.public_key is None:
        return "if it has the key that made the signature, which covers neither version nor board", "F11"
    return "the signature holds; it covers neither version nor board", "F11"


def _refused(error: UpdateError, reason: str, fact: str) -> Outcome:
    return Outcome(False, False, False, int(error), reason, fact)


def _booted(reason: str, fact: str) -> Outcome:
    return Outcome(True, True, False, None, reason, fact)


def _kept(reason: str, fact: str) -> Outcome:
    return Outcome(True, False, False, None, f"{reason}: the old firmware goes on running", fact)


def _bricked(reason: str, fact: str) -> Outcome:
    return Outcome(True, False, True, None, reason, fact)
