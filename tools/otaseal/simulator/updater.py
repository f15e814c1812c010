"""The updater: `Update.begin`, `writeStream` and `end`, in their order and with their error numbers.

It judges what lies in flash after writing, where byte 2 has changed (F7) and a last word may not be read (F8). It is as
lenient as the device: a key of 512 bits is accepted (F2).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache

from . import flash as chip
from .core import Core, core_rules
from .error_numbers import HttpError, UpdateError
from .flash import MODE_BYTE, Layout
from .report import Fault
from .trailer import WORD, AssumedKey, Trailer, holds, no_key_fits, read_trailer

IMAGE_MAGIC = 0xE9
GZIP_MAGIC = b"\x1f\x8b"
HASH_PIECE = 128
MD5_DIGITS = 32


@dataclass(frozen=True)
class Setup:
    """What an update depends on beside the flash.

    `key` is the text compiled into the running firmware (PEM), or stands for a key that is not at hand; None where it
    verifies nothing, and then `md5`, 32 hex digits, counts if it was sent. With the library `next_key` is
    good, too.
    """

    core: str
    layout: Layout
    key: bytes | AssumedKey | None = None
    md5: str | None = None
    next_key: bytes | None = None

    @property
    def rules(self) -> Core:
        """The row of this core; raises ConfigError for an unknown one."""
        return core_rules(self.core)


@dataclass(frozen=True)
class Command:
    """eboot's command in RTC memory: copy `size` bytes from `source` to the start of the flash."""

    source: int
    size: int


@dataclass(frozen=True)
class Staged:
    """How an update ends before the restart: `fault` and its step where it is refused, and the flash as it is then.

    `command` is eboot's, None where nothing is to be copied. `payload` is what the signature covers, in flash.
    """

    flash: bytes
    fault: Fault | None = None
    step: str = ""
    command: Command | None = None
    address: int = 0
    payload_size: int = 0

    @property
    def error(self) -> int:
        """The updater's number, 0 if all went well."""
        return self.fault.error if self.fault else 0

    @property
    def payload(self) -> bytes:
        """What the signature covers (or all that was written), as it lies in flash."""
        return self.flash[self.address : self.address + self.payload_size]


def update(flash: bytes, data: bytes, setup: Setup, declared: int | None = None) -> Staged:
    """Return what becomes of `data`, the body as it arrived, announced as `declared` bytes (all of them where None).

    Raises ConfigError for an unknown core.
    """
    size = len(data) if declared is None else declared
    where = _begin(flash, size, setup)
    if isinstance(where, Fault):
        return Staged(flash, where, "space")
    fault = _first_byte(data, setup)
    if setup.md5 is not None and len(setup.md5) != MD5_DIGITS:
        reason = f"x-MD5 has {len(setup.md5)} characters, not {MD5_DIGITS}"
        return Staged(flash, Fault(HttpError.SERVER_FAULTY_MD5, reason, "F29", "md5-header"), "answer")
    if fault:
        return Staged(flash, fault, "first-byte")
    written = chip.write(flash, where, _as_written(flash, data[:size], setup))
    if len(data) < size:
        reason = f"the body ends after {len(data)} of {size} bytes, and the device waits in vain for more"
        return Staged(written, Fault(UpdateError.STREAM, reason, "F29"), "write")
    return _end(Staged(written, address=where, payload_size=size), data, setup)


def _begin(flash: bytes, size: int, setup: Setup) -> int | Fault:
    """Return where the update is written to, or why it does not begin (F10)."""
    divided = setup.layout
    if size == 0:
        return Fault(UpdateError.SIZE, "the update is empty", "F29")
    if setup.layout.flash_size < chip.configured_size(flash):
        reason = f"the running image is for {chip.configured_size(flash)} bytes of flash, the chip has"
        return Fault(UpdateError.FLASH_CONFIG, f"{reason} {setup.layout.flash_size}", "F10")
    start = max(divided.fs_start - chip.round_up(size), 0)
    used = chip.round_up(chip.sketch_size(flash))
    if start < used:
        reason = f"the running sketch takes {used} bytes and the update {chip.round_up(size)}, of {divided.fs_start}"
        return Fault(UpdateError.SPACE, f"{reason} below the filesystem", "F10")
    return start


def _first_byte(data: bytes, setup: Setup) -> Fault | None:
    allowed = {IMAGE_MAGIC, GZIP_MAGIC[0]} if setup.rules.gzip else {IMAGE_MAGIC}
    if data[:1] and data[0] in allowed:
        return None
    if data[:1] == GZIP_MAGIC[:1]:
        return Fault(UpdateError.MAGIC_BYTE, f"core {setup.core} takes no gzip", "F9")
    first = f"0x{data[0]:02x}" if data else "missing"
    return Fault(UpdateError.MAGIC_BYTE, f"the first byte is {first}, not 0xe9 or 0x1f", "F9")


def _as_written(flash: bytes, data: bytes, setup: Setup) -> bytes:
    """Return what is written: byte 2 of a raw image becomes the chip's flash mode, a gzip stays as it is (F7)."""
    if data[:1] == GZIP_MAGIC[:1] or len(data) <= MODE_BYTE:
        return data
    running = chip.flash_mode(flash)
    sent = chip.flash_mode(data[: MODE_BYTE + 1])
    return data if sent == running else data[:MODE_BYTE] + bytes([running]) + data[MODE_BYTE + 1 :]


def _end(staged: Staged, data: bytes, setup: Setup) -> Staged:
    size = staged.payload_size
    if setup.key is not None and setup.rules.verifies:
        covered, fault = _verify(staged, data, setup)
        staged = replace(staged, payload_size=covered)
        if fault:
            return replace(staged, fault=fault, step="signature")
    elif setup.md5 is not None and hashlib.md5(data, usedforsecurity=False).hexdigest() != setup.md5.lower():
        return replace(
            staged, fault=Fault(UpdateError.MD5, "x-MD5 is not that of the bytes sent", "F29", "md5"), step="write"
        )
    fault = _verify_end(staged, setup)
    if fault:
        return replace(staged, fault=fault, step="image")
    copied = size if setup.rules.trailer_copied else staged.payload_size
    return replace(staged, command=Command(source=staged.address, size=copied))


def _verify(staged: Staged, data: bytes, setup: Setup) -> tuple[int, Fault | None]:
    """Verify as `end` does: length word, hash over flash, signature (F1).

    Return the bytes that the signature covers, all of them where it comes to none, and the fault.
    """
    assert setup.key is not None
    trailer = read_trailer(staged.payload, setup.key, setup.next_key)
    if trailer.fault is not None:
        return len(trailer.payload), trailer.fault
    size, digest = len(trailer.payload), _digest(trailer.payload, setup.rules)
    form = setup.rules.digest_info
    if digest is not None and any(holds(trailer.signature, key, digest, digest_info=form) for key in trailer.keys):
        return size, None
    return size, _why_not(trailer, data, setup)


def _why_not(trailer: Trailer, data: bytes, setup: Setup) -> Fault:
    """Return the signature error, with the most likely reason."""
    signature, payload, keys = trailer.signature, trailer.payload, trailer.keys

    def would_hold(content: bytes, rules: Core) -> bool:
        return any(holds(signature, key, _sha256(content), digest_info=rules.digest_info) for key in keys)

    rules, sent = setup.rules, data[: len(payload)]
    other = replace(rules, digest_info=not rules.digest_info)
    if rules.word_reads and len(payload) % WORD and would_hold(payload, rules):
        return Fault(UpdateError.SIGN, f"core {rules.name} cannot hash {len(payload)} bytes, no multiple of 4", "F8")
    if sent != payload and would_hold(sent, rules):
        reason = f"byte 2 of the image, flash mode {sent[MODE_BYTE]}, becomes the chip's {payload[MODE_BYTE]} before"
        return Fault(UpdateError.SIGN, f"{reason} it is hashed", "F7")
    if would_hold(payload, other) or would_hold(sent, other):
        form = "verifies another form of signature"
        if not rules.digest_info:
            form = "takes signatures of the old form only, over the bare digest"
        return Fault(UpdateError.SIGN, f"core {rules.name} {form}", "F3")
    return no_key_fits(trailer)


def _digest(payload: bytes, rules: Core) -> bytes | None:
    """Return the SHA-256 that the device computes; None where it takes in memory that nobody wrote.

    Pieces of 128 bytes go through one buffer, and a last one of an odd size is not read into it: the
    piece before is hashed again in its place (F8).
    """
    rest = len(payload) % HASH_PIECE
    if not rules.word_reads or rest % WORD == 0:
        return _sha256(payload)
    whole = len(payload) - rest
    if whole == 0:
        return None
    return _sha256(payload[:whole] + payload[whole - HASH_PIECE : whole - HASH_PIECE + rest])


@lru_cache(maxsize=4)
def _sha256(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()


def _verify_end(staged: Staged, setup: Setup) -> Fault | None:
    """Check the first four bytes in flash, as `_verifyEnd` does after the signature."""
    head = staged.flash[staged.address : staged.address + 4]
    if head[:2] == GZIP_MAGIC and setup.rules.gzip:
        return None
    if head[0] != IMAGE_MAGIC:
        return Fault(UpdateError.MAGIC_BYTE, f"the update begins with {head[:2].hex()}: no image and no gzip", "F9")
    wanted = chip.configured_size(head)
    if wanted > setup.layout.flash_size:
        reason = f"the image is for {wanted} bytes of flash, the chip has {setup.layout.flash_size}"
        return Fault(UpdateError.NEW_FLASH_CONFIG, reason, "F10")
    return None
