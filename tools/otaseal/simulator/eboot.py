"""The restart: eboot copies the staged image, raw or gzip, and the chip starts or fails to.

The copy works on the flash itself, sector by sector, as bootloaders/eboot/eboot.c does, so it can overwrite what it has
not read yet. eboot checks neither CRC nor structure (F8b); the boot ROM checks eboot's checksum, and nothing checks the
application's. There is no second slot, and the command lies in RTC memory, which a power cut empties (F12): what is in
flash then is started as it is.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from .core import Core, core_rules
from .flash import APPLICATION, SECTOR
from .power import Noted
from .updater import GZIP_MAGIC, IMAGE_MAGIC, Command
from .uzlib import GARBAGE, Inflater

UNALIGNED, BAD_HEADER, BAD_DATA = 1, 5, 6  # eboot's own results
MAX_SEGMENTS = 16


@dataclass(frozen=True)
class BootResult:
    """The flash after the restart, into which `written` bytes were copied.

    `result` is eboot's code, 0 for success. `starts`: boot ROM and eboot can start what is in flash. `intact`: the
    application's own checksum holds. `reason` and `fact` are empty unless something is wrong.
    """

    flash: bytes
    result: int
    written: int
    starts: bool
    intact: bool
    reason: str = ""
    fact: str = ""

    @property
    def starts_new(self) -> bool:
        """Whether the copied application starts; the first sector alone is the boot loader."""
        return self.starts and self.written > APPLICATION


def restart(flash: bytes, command: Command | None, core: str, noted: Noted | None = None) -> BootResult:
    """Return the chip after a restart with eboot's `command`; what that does to the flash is `noted`.

    Raises ConfigError for an unknown core.
    """
    noted = noted or Noted([("", [])])
    rules = core_rules(core)
    if command is None:
        return _started(flash)
    if command.source % SECTOR:
        return _started(flash, result=UNALIGNED, reason="eboot copies whole sectors only", fact="F12")
    if rules.gzip and flash[command.source : command.source + 2] == GZIP_MAGIC:
        return _copy_gzip(flash, command, rules, noted)
    copied = bytearray(flash)
    for offset in range(0, command.size, SECTOR):
        at = command.source + offset
        _write(copied, offset, bytes(copied[at : at + SECTOR]), rules, noted)
    return _started(bytes(copied), written=command.size)


def _write(flash: bytearray, at: int, sector: bytes, rules: Core, noted: Noted) -> None:
    """Erase and program a sector; the boot loader's own is left alone where it would stay as it is."""
    if at or rules.trailer_copied or flash[:SECTOR] != sector:  # cores before 3.0 copy that one, too
        noted.sector(at, sector)
    flash[at : at + SECTOR] = sector


def _copy_gzip(flash: bytes, command: Command, rules: Core, noted: Noted) -> BootResult:
    copier = _GzipCopier(bytearray(flash), command, rules, noted)
    last = copier.flash[command.source + command.size - 4 : command.source + command.size]
    left = int.from_bytes(last, "little", signed=True)
    if not copier.skip_header():
        return _started(flash, result=BAD_HEADER, reason="eboot cannot read the gzip's header, and copies nothing")
    size = f"eboot takes {left} for the uncompressed size"
    if left <= 0:
        return _started(flash, reason=f"{size}, and copies nothing")
    whole = copier.run(left, erases_first=rules.erases_first)
    after, written = bytes(copier.flash), copier.produced
    if copier.overtook:
        reason = "the growing copy overwrites the gzip it is read from"
        result = 0 if whole else BAD_DATA
        return BootResult(after, result, written, starts=False, intact=False, reason=reason, fact="F10")
    if not whole:
        reason = "the compressed data is damaged: eboot finds out half way"
        return _started(after, result=BAD_DATA, written=written, reason=reason)
    if left != written or copier.has_more():
        trailer = " from the trailer" if rules.trailer_copied else ""
        reason = f"{size}{trailer}, and the gzip holds something else"
        return _started(after, written=min(left, written), reason=reason)
    return _started(after, written=written)


class _GzipCopier(Inflater):
    """uzlib over flash that changes under it: it reads a sector when it needs one, and writes one when it is full."""

    def __init__(self, flash: bytearray, command: Command, rules: Core, noted: Noted) -> None:
        super().__init__(self._sector)
        self.flash, self.command, self.rules, self.noted = flash, command, rules, noted
        self.produced, self.overtook = 0, False
        self.next_read = command.source

    def run(self, left: int, *, erases_first: bool) -> bool:
        """Write `left` bytes in whole sectors from the target on; False where the data stops making sense.

        With `erases_first` the sector that such data was meant for is gone by then.
        """
        target = 0
        buffer = GARBAGE * SECTOR
        while left > 0 and target < len(self.flash):
            wanted = min(left, SECTOR)
            try:
                piece = self.inflate(wanted)
            except (zlib.error, EOFError):
                if erases_first:
                    self.flash[target : target + SECTOR] = b"\xff" * SECTOR
                return False
            self.produced += len(piece)
            # Behind the end of the stream uzlib goes on with whatever comes; before it, the buffer keeps old bytes.
            filled = piece + (buffer[len(piece) : wanted] if piece else GARBAGE * wanted)
            buffer = filled.ljust(SECTOR, b"\xff")
            _write(self.flash, target, buffer, self.rules, self.noted)
            end = self.command.source + self.command.size
            self.overtook |= left > SECTOR and not self.stream.eof and self.next_read < min(end, target + SECTOR)
            target, left = target + SECTOR, left - SECTOR
        return True

    def has_more(self) -> bool:
        """Tell whether the stream holds a byte behind what was written."""
        try:
            return bool(self.inflate(1))
        except (zlib.error, EOFError):
            return False

    def _sector(self) -> bytes:
        at = self.next_read
        if at >= len(self.flash):
            raise EOFError
        self.next_read += SECTOR
        return bytes(self.flash[at : at + SECTOR])


def _started(flash: bytes, *, result: int = 0, written: int = 0, reason: str = "", fact: str = "F8b") -> BootResult:
    fault = _rom_fault(flash) or _application_fault(flash, written)
    if fault:
        reason = f"{reason}; {fault}" if reason else fault
        return BootResult(flash, result, written, starts=False, intact=False, reason=reason, fact=fact)
    intact = _application_intact(flash)
    if written > APPLICATION and not intact and not reason:
        reason = "the application's own checksum does not hold, and eboot starts it all the same"
    return BootResult(flash, result, written, starts=True, intact=intact, reason=reason, fact=fact if reason else "")


def _rom_fault(flash: bytes) -> str:
    """Return why the boot ROM does not start what lies at 0: it wants magic, segments, and a checksum that holds."""
    if flash[0] != IMAGE_MAGIC:
        return f"the flash begins with 0x{flash[0]:02x}: the boot ROM finds nothing to start"
    end = _segments_end(flash, 0)
    if end is None or end > APPLICATION:
        return "the boot loader's segments do not end in its sector"
    if _checksum(flash, 0) != flash[(end + 16) // 16 * 16 - 1]:
        return "the boot ROM refuses the boot loader: its checksum is wrong"
    return ""


def _application_fault(flash: bytes, written: int) -> str:
    """Return why eboot does not get the application going, if `written` bytes from 0 on are new.

    It loads the segments that the header counts, and never looks at the header's first byte.
    """
    end = _segments_end(flash, APPLICATION)
    if end is None:
        return "the application's segments lead nowhere"
    if APPLICATION < written < (end + 16) // 16 * 16:
        return f"the application is cut short: {written} bytes of {(end + 16) // 16 * 16}"
    return ""


def _segments_end(flash: bytes, start: int) -> int | None:
    position = start + 8
    if flash[start + 1] > MAX_SEGMENTS:
        return None
    for _ in range(flash[start + 1]):
        if position + 8 > len(flash):
            return None
        position += 8 + int(struct.unpack_from("<I", flash, position + 4)[0])
    return position if position + 16 <= len(flash) else None


def _checksum(flash: bytes, start: int) -> int:
    value, position = 0xEF, start + 8
    for _ in range(flash[start + 1]):
        (length,) = struct.unpack_from("<I", flash, position + 4)
        value ^= _folded(flash[position + 8 : position + 8 + length])
        position += 8 + length
    return value


def _application_intact(flash: bytes) -> bool:
    """Tell whether the application's checksum holds, the core's length and CRC words counted as zero (F30c)."""
    end = _segments_end(flash, APPLICATION)
    assert end is not None
    value, stored = _checksum(flash, APPLICATION), flash[(end + 16) // 16 * 16 - 1]
    return stored in (value, value ^ _folded(flash[APPLICATION + 16 : APPLICATION + 24]))


def _folded(data: bytes) -> int:
    """Return the XOR of all bytes, by folding one big integer in halves."""
    value, size = int.from_bytes(data, "little"), len(data)
    while size > 1:
        size = (size + 1) // 2
        value = (value >> 8 * size) ^ (value & ((1 << 8 * size) - 1))
    return value
