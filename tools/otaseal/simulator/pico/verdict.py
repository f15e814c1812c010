"""One verdict for one file: signature, copy and start in a row, without a filesystem around it.

What a file is worth, and not where it fits: whether it has room is for `updater` to say, over LittleFS.
"""

from __future__ import annotations

from ..trailer import AssumedKey, taken_by
from ..uzlib import GZIP_MAGIC
from ..verdict import Verdict
from .boot import start_from
from .chip import chip_of
from .release import DEFAULT_RELEASE, release
from .updater import check_signature

SHOWN_RELEASES = ("5.4.4", DEFAULT_RELEASE)
"""The last that leaves a signature in the file, and the newest one that was read (F53)."""


def judge_board(core: str, image_chip: str, key: bytes | AssumedKey | None, data: bytes) -> Verdict:
    """Return what a board makes of `data`, the whole file as it is served.

    `core` is its release of arduino-pico, `image_chip` as images are called, `key` what is in its firmware (PEM; None:
    it verifies nothing). Raises ConfigError for an unknown core.
    """
    rules, payload = release(core), data
    if key is not None:
        payload, fault = check_signature(data, key)
        if fault is not None:
            return _verdict(int(fault.error), (fault.reason, fault.fact))
    after = start_from(payload if rules.cuts else data, chip_of(image_chip))
    why = after.reason or after.started.reason
    if not after.pages:
        why = after.reason or "nothing in it can be copied"
        return _verdict(0, (f"{why}: the old firmware goes on running", "F55"), flash=after.flash)
    if why and data.startswith(GZIP_MAGIC) and not rules.cuts:
        return _verdict(0, (f"the signature stays in the file: {why}", "F53"), bricks=True, flash=after.flash)
    if why:
        return _verdict(0, (why, "F55" if after.reason else "F56"), bricks=True, flash=after.flash)
    return _verdict(0, taken_by(key), boots=True, flash=after.flash)


def _verdict(
    error: int, explanation: tuple[str, str], *, boots: bool = False, bricks: bool = False, flash: bytes = b""
) -> Verdict:
    reason, fact = explanation
    return Verdict(error, boots, bricks, intact=not bricks, reason=reason, fact=fact, flash=flash)
