"""Flash as a chip has it: erased in sectors to ones, programmed to zeros only; the power may fail at any operation."""

from __future__ import annotations

ERASED = 0xFF
SECTOR = 4096
_WEAK = 0x5A  # what is left of bytes at which the power failed


class PowerCutError(Exception):
    """The power has failed during an operation."""


class Flash:
    """A flash that changes in place; at operation number `power` the power fails, None: never."""

    def __init__(self, content: bytes, power: int | None = None) -> None:
        self.content = bytearray(content)
        self.operations, self._power = 0, power

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
        fails = self.operations == self._power
        self.operations += 1
        self.content[at : at + len(after)] = bytes([_WEAK]) * len(after) if fails else after
        if fails:
            raise PowerCutError
