"""One verdict for one file: what a device of a chip makes of it that has room for it, stock or with the library.

What a file is worth, and not where it fits: whether a slot has room for it is for `updater` to say.
"""

from __future__ import annotations

import hashlib

from ..library import MAGIC as MANIFEST_MAGIC
from ..library import SIZE as MANIFEST_SIZE
from ..library import LibraryError
from ..trailer import AssumedKey, no_key_fits, taken_by
from ..verdict import Verdict
from . import signature
from .chip import chip_of
from .image import HEADER, MAGIC, check
from .updater import UpdateError

STOCK, LIBRARY = "stock", "OtaSeal"
SHOWN = (STOCK, LIBRARY)
WHO = {STOCK: "the core's own updater", LIBRARY: "the OtaSeal library"}
"""Who takes the update: `HTTPUpdate` and `Update` of any core, which verify nothing, or the OtaSeal library."""
BY_LIBRARY = "the signature holds; product, board and counter of the manifest have to fit the device, too"


def judge_file(who: str, chip_name: str, key: bytes | AssumedKey | None, data: bytes) -> Verdict:
    """Return what a device makes of `data`, the whole file as it is served.

    `who` is one of SHOWN, `chip_name` as images are called, `key` what is in its firmware (PEM); without one the
    library takes nothing. Raises ConfigError for an unknown chip.
    """
    chip, image = chip_of(chip_name), data
    if who == LIBRARY:
        fault, image = _verified(key, data)
        if fault:
            return _verdict(LibraryError.SIGNATURE, (fault, "F1"))
    elif data[:1] != bytes([MAGIC]):
        return _verdict(UpdateError.MAGIC_BYTE, (f"the first byte is 0x{data[:1].hex() or '?'}, not 0xe9", "F87"))
    found = check(image, chip)
    if found.reason:
        first = len(image) < HEADER.size or image[0] != MAGIC
        error = (LibraryError.NOT_FIRMWARE if first else LibraryError.FLASH) if who == LIBRARY else UpdateError.ACTIVATE
        return _verdict(error, (found.reason, "F86"))
    if who == LIBRARY and isinstance(key, bytes):
        return _verdict(0, (BY_LIBRARY, "F11"), boots=True)
    return _verdict(0, taken_by(key if who == LIBRARY else None), boots=True)


def _verified(key: bytes | AssumedKey | None, data: bytes) -> tuple[str, bytes]:
    """Return why the signature does not hold, "" where it does, and the image that is written."""
    if key is None:
        return "it has no key, and verifies nothing that it could take", b""
    trailer = signature.read(data, key, None)
    if trailer.fault is not None:
        return trailer.fault.reason, b""
    digest = hashlib.sha256(trailer.payload).digest()
    if not any(signature.verifies(trailer.signature, tried, digest) for tried in trailer.keys):
        return no_key_fits(trailer).reason, b""
    has_manifest = trailer.payload[-MANIFEST_SIZE:].startswith(MANIFEST_MAGIC)
    return "", trailer.payload[:-MANIFEST_SIZE] if has_manifest else trailer.payload


def _verdict(error: int, explanation: tuple[str, str], *, boots: bool = False) -> Verdict:
    reason, fact = explanation
    return Verdict(int(error), boots, bricks=False, intact=True, reason=reason, fact=fact, flash=b"")
