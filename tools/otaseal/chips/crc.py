"""The CRC that boot ROMs and cores of several chips use."""

from __future__ import annotations

import zlib

_BIT_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc32_mpeg2(*chunks: bytes | memoryview) -> int:
    """Return the CRC of all `chunks` in a row: polynomial 0x04c11db7, start 0xffffffff, not reflected (F30c).

    It is zlib's CRC seen in a mirror: every byte reversed on the way in, the result reversed on the way out.
    """
    crc = 0
    for chunk in chunks:
        crc = zlib.crc32(bytes(chunk).translate(_BIT_REVERSED), crc)
    mirrored = (crc ^ 0xFFFFFFFF).to_bytes(4, "little").translate(_BIT_REVERSED)
    return int.from_bytes(mirrored, "big")
