"""Flash as a chip has it: erased in sectors to ones, programmed to zeros only."""

from __future__ import annotations

from ..power import Noted

ERASED = 0xFF
SECTOR = 4096


class Flash:
    """A flash that changes in place; what is done to it is `noted`."""

    def __init__(self, content: bytes, noted: Noted | None = None) -> None:
        self.content, self._noted = bytearray(content), noted

    def read(self, at: int, size: int) -> bytes:
        """Return `size` bytes, fewer at the end of the flash."""
        return bytes(self.content[at : at + size])

    def erase(self, at: int, size: int = SECTOR) -> None:
        """Erase whole sectors."""
        self._operate(at, bytes([ERASED]) * size)

    def program(self, at: int, data: bytes) -> None:
        """Write `data`: a bit that is 0 stays so."""
        before = int.from_bytes(self.content[at : at + len(data)], "little")
        self._operate(at, (before & int.from_bytes(data, "little")).to_bytes(len(data), "little"))

    def _operate(self, at: int, after: bytes) -> None:
        if self._noted is not None:
            self._noted.note(at, after)
        self.content[at : at + len(after)] = after
