"""The header of a patch, 68 bytes that a device reads before anything else: for which base, and what comes out.

The base is named by the MD5 that devices already know of themselves (F30), so that checking it costs a chip nothing.
What comes out is trusted for its signature alone; its SHA-256 tells a wrong patch early.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from ..chips.limits import MAX_IMAGE_SIZE
from ..formats import refuse_later
from .errors import MAKE_AGAIN, DamagedPatchError, PatchTooShortError, WrongBaseError, WrongTargetError
from .instructions import SETS

MAGIC = b"OtaSealD"
FORMAT = 1
MAX_SHIFTS = 64
"""Entries of the map, 512 bytes on a chip."""
MAX_CODE = 3
"""Runs of code in which instructions are looked at."""

_LAYOUT = struct.Struct("<8sBBBBI16sI32s")
SIZE = _LAYOUT.size


@dataclass(frozen=True)
class Header:
    """Sizes in bytes, the base's MD5 and the target's SHA-256; entries of the map and runs of code that follow.

    `instructions` is the number of the set that is in these runs.
    """

    base_size: int
    base_md5: bytes
    target_size: int
    target_sha256: bytes
    shifts: int = 0
    code: int = 0
    instructions: int = 0

    def check_base(self, base: bytes) -> None:
        """Raise WrongBaseError unless `base` is what the patch was made for."""
        if len(base) != self.base_size or md5(base) != self.base_md5:
            raise WrongBaseError(
                f"the patch is for a sketch of {self.base_size} bytes with MD5 '{self.base_md5.hex()}', not for this "
                f"one of {len(base)} bytes with MD5 '{md5(base).hex()}'",
                "give the image that the device runs, as 'otaseal delta inspect' names it",
            )

    def check_target(self, size: int, sha256: bytes) -> None:
        """Raise WrongTargetError unless what came out is what the header announces."""
        if (size, sha256) != (self.target_size, self.target_sha256):
            raise WrongTargetError(
                f"the patch makes bytes with SHA-256 '{sha256.hex()}', and announces '{self.target_sha256.hex()}'",
                f"the patch is damaged: {MAKE_AGAIN}",
            )


def md5(base: bytes) -> bytes:
    """Return what names a base: the MD5 of a sketch as a device reports it."""
    return hashlib.md5(base, usedforsecurity=False).digest()


def is_patch(data: bytes) -> bool:
    """Tell whether `data` begins as a patch of any format."""
    return data.startswith(MAGIC)


def serialise(header: Header) -> bytes:
    """Return the 68 bytes."""
    return _LAYOUT.pack(
        MAGIC,
        FORMAT,
        header.shifts,
        header.code,
        header.instructions,
        header.base_size,
        header.base_md5,
        header.target_size,
        header.target_sha256,
    )


def parse(data: bytes) -> Header:
    """Return the header at the beginning of `data`.

    Raises DamagedPatchError for what is no patch or beyond its limits, PatchTooShortError where it ends too early, and
    LaterFormatError for a format that is not known here.
    """
    if not MAGIC.startswith(data[: len(MAGIC)]):
        raise DamagedPatchError("this is no patch: it does not begin with 'OtaSealD'", "give what 'delta make' made")
    if len(data) > len(MAGIC):
        refuse_later(data[len(MAGIC)], FORMAT, "the patch")
    if len(data) < SIZE:
        raise PatchTooShortError(f"the patch ends within its header, after {len(data)} bytes", MAKE_AGAIN)
    _, written, shifts, code, known, base_size, base_md5, target_size, target_sha256 = _LAYOUT.unpack_from(data)
    is_known = known in SETS and bool(code or not known)
    if written != FORMAT or not is_known or shifts > MAX_SHIFTS or code > MAX_CODE:
        raise DamagedPatchError(
            f"the patch's header names format {written}, {shifts} shifts and {code} runs of code with instructions "
            f"{known}",
            MAKE_AGAIN,
        )
    if not 0 < base_size <= MAX_IMAGE_SIZE or not 0 < target_size <= MAX_IMAGE_SIZE:
        raise DamagedPatchError(
            f"the patch makes {target_size} bytes of {base_size}, and images have 1 to {MAX_IMAGE_SIZE}", MAKE_AGAIN
        )
    return Header(base_size, base_md5, target_size, target_sha256, shifts, code, known)
