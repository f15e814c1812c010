"""The verdict on one file without a server: updater and restart, on a device that has room for it."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from . import eboot, updater
from . import flash as chip
from .flash import APPLICATION, CHIP_SIZES, MODE_BYTE, MODES, SECTOR, Layout
from .trailer import WORD, AssumedKey, taken_by
from .updater import GZIP_MAGIC, IMAGE_MAGIC, Setup

MOST_ROOM = max(CHIP_SIZES.values())
MOST_GROWTH = 1032  # of deflate
EMPTY_CHECKSUM = 0xEF


@dataclass(frozen=True)
class Verdict:
    """`accepted` by the updater, whose number is `error`; `boots` the new image after the restart, or `bricks`.

    Neither of the two: the old firmware goes on running. `intact`: the checksum of what runs holds, which nothing on
    the chip checks. `fact` is the device fact behind `reason`, `flash` the chip at the end.
    """

    error: int
    boots: bool
    bricks: bool
    intact: bool
    reason: str
    fact: str
    flash: bytes = field(repr=False)

    @property
    def accepted(self) -> bool:
        """Whether the updater takes it."""
        return not self.error


@dataclass(frozen=True)
class StockDevice:
    """A device by its core release, the `key` in its firmware (PEM; None: it verifies nothing), and its flash.

    `flash_mode` is 0 to 3, `flash_size` in bytes.
    """

    core: str
    key: bytes | AssumedKey | None = None
    flash_mode: int = 2
    flash_size: int = 4 * 1024 * 1024


def judge_on(device: StockDevice, data: bytes) -> Verdict:
    """Return what `device` makes of `data`, the whole file as it is served; raises ConfigError for an unknown core."""
    start = 2 * SECTOR + chip.round_up(min(_largest_content(data), MOST_GROWTH * len(data), MOST_ROOM))
    end = start + chip.round_up(len(data))
    layout = Layout("", device.flash_size, fs_start=end, fs_end=end, block=0)
    code = next(code for code, size in CHIP_SIZES.items() if size == device.flash_size)
    part = struct.pack("<BBBBI7xB", IMAGE_MAGIC, 0, device.flash_mode, code << 4, 0, EMPTY_CHECKSUM)
    flash = (part.ljust(APPLICATION, b"\xff") + part).ljust(layout.fs_start, b"\xff")
    return judge(flash, data, Setup(device.core, layout, device.key))


def judge(flash: bytes, data: bytes, setup: Setup) -> Verdict:
    """Return what a device with that `flash` makes of `data`, the whole file as it is served.

    Raises ConfigError for an unknown core.
    """
    staged = updater.update(flash, data, setup)
    if staged.fault:
        return Verdict(
            error=int(staged.error),
            boots=False,
            bricks=False,
            intact=True,
            reason=staged.fault.reason,
            fact=staged.fault.fact,
            flash=staged.flash,
        )
    after = eboot.restart(staged.flash, staged.command, setup.core)
    reason, fact = after.reason, after.fact
    if not reason and after.starts_new:
        reason, fact = _accepted(flash, data, setup, after.flash)
    elif after.starts and not after.starts_new:
        reason = f"{reason or 'nothing but the boot loader is copied'}: the old firmware goes on running"
    return Verdict(
        error=0,
        boots=after.starts_new,
        bricks=not after.starts,
        intact=after.intact,
        reason=reason,
        fact=fact or "F8b",
        flash=after.flash,
    )


def _accepted(before: bytes, data: bytes, setup: Setup, after: bytes) -> tuple[str, str]:
    """Return a remark on an accepted update, and the fact behind it."""
    old, new = chip.flash_mode(before), chip.flash_mode(after)
    if data[:1] == GZIP_MAGIC[:1] and new != old:
        mode = f"flash mode {after[MODE_BYTE]} is written, the chip now runs in {_mode(old)}"
        return f"{mode}: nothing in a gzip is rewritten", "F7"
    if data[:1] != GZIP_MAGIC[:1] and data[MODE_BYTE] != after[MODE_BYTE]:
        byte = f"byte 2 ({data[MODE_BYTE]}) is replaced by the chip's flash mode {_mode(new)}"
        return f"{byte} before anything is checked", "F7"
    return taken_by(setup.key if setup.rules.verifies else None)


def _mode(number: int) -> str:
    return MODES[number] if number < len(MODES) else str(number)


def _largest_content(data: bytes) -> int:
    """Return the most bytes that eboot may take a gzip to hold: what stands at its end, with a trailer or without."""
    if data[:2] != GZIP_MAGIC:
        return 0
    trailer = int.from_bytes(data[-WORD:], "little")
    ends = (data[-WORD:], data[-WORD - trailer - WORD : -WORD - trailer])
    return max(int.from_bytes(end, "little") for end in ends)
