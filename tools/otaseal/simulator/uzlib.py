"""Compressed images as the boot loaders unpack them: uzlib's header, and its habit to check nothing but the structure.

Both eboot and arduino-pico's boot stub have it. CRC and length at the end of a gzip are looked at by neither.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Callable

GARBAGE = b"\xa5"
"""Stands for what uzlib makes out of nothing, behind the end of a stream."""
GZIP_MAGIC = b"\x1f\x8b"
_RESERVED_FLAGS, _FEXTRA, _FNAME, _FCOMMENT, _FHCRC = 0xE0, 0x04, 0x08, 0x10, 0x02


class Inflater:
    """A gzip that is read piece by piece: `read` returns the next one, and raises EOFError where there is none."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        self._read = read
        self._pending = b""
        self.stream = zlib.decompressobj(-zlib.MAX_WBITS)

    def skip_header(self) -> bool:
        """Skip the gzip's header, and tell whether uzlib takes it (F8): optional fields are skipped unchecked."""
        head = bytes(self._take() for _ in range(10))
        if head[:2] != GZIP_MAGIC or head[2] != zlib.DEFLATED or head[3] & _RESERVED_FLAGS:
            return False
        if head[3] & _FEXTRA:
            for _ in range(self._take() | self._take() << 8):
                self._take()
        for flag in (_FNAME, _FCOMMENT):
            while head[3] & flag and self._take():
                pass
        for _ in range(2 if head[3] & _FHCRC else 0):
            self._take()
        return True

    def inflate(self, wanted: int) -> bytes:
        """Return the next `wanted` bytes, fewer at the end of the stream; raises zlib.error, EOFError for damage."""
        out = b""
        while len(out) < wanted and not self.stream.eof:
            if not self._pending:
                self._pending = self._read()
            before = self.stream.copy()
            try:
                out += self.stream.decompress(self._pending, wanted - len(out))
            except zlib.error:  # zlib looks ahead, uzlib stops at the last byte that is wanted
                out += self._up_to_damage(before)
                if len(out) < wanted:
                    raise
                return out[:wanted]
            self._pending = self.stream.unconsumed_tail
        return out

    def _up_to_damage(self, stream: zlib._Decompress) -> bytes:
        """Return what `stream` makes of the pending bytes in front of the one that makes no sense."""
        out = b""
        with contextlib.suppress(zlib.error):
            for byte in self._pending:
                out += stream.decompress(bytes([byte]))
        return out

    def _take(self) -> int:
        if not self._pending:
            try:
                self._pending = self._read()
            except EOFError:
                return 0
        first, self._pending = self._pending[0], self._pending[1:]
        return first
