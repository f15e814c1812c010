"""Attacks on an ESP32: what the library has to refuse, and what the boot loader's check refuses without it, too."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import replace

from ..image import signed_image
from ..simulator.esp32.chip import CHIPS
from ..simulator.esp32.device import Esp32Device
from ..simulator.report import Outcome
from .candidate import repaired
from .target import Attack, Target, firmware

CHIP_AT, MINIMUM_AT = 12, 15  # in the header, two bytes each (F47)
NEWEST_REVISION = 9900
CHECKSUM_FROM_END, HASH_FROM_END = 33, 1
FACTORY_OFFSET = 0x1000


def downgrade(target: Target) -> Outcome:
    """Give out a lower counter than the device has; one with counter 0, which has none below it, is given 1 first."""
    device, own = target.rekeyed, target.device.firmware.identity
    counter = 0 if own is None else int.from_bytes(own[12:16], "little")
    if own is not None and not counter:
        assert isinstance(device, Esp32Device)
        raised = own[:12] + (1).to_bytes(4, "little") + own[16:]
        running, at = device.running, device.running_slot.offset
        changed = repaired(running.replace(own, raised))
        device = replace(device, flash=device.flash[:at] + changed + device.flash[at + len(running) :])
    return target.served(target.sign(target.raw, counter=max(0, counter - 1)), device)


def _changed(target: Target, at: int, value: int) -> bytes:
    """Return the image with two other bytes in its header, and sums that hold."""
    return repaired(target.raw[:at] + value.to_bytes(2, "little") + target.raw[at + 2 :])


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _other_chip(target: Target) -> Outcome:
    assert isinstance(target.device, Esp32Device)
    own = target.device.chip.number
    other = next(chip.number for chip in CHIPS.values() if chip.number != own)
    return target.served(target.sign(_changed(target, CHIP_AT, other)), target.rekeyed)


def _newer_revision(target: Target) -> Outcome:
    return target.served(target.sign(_changed(target, MINIMUM_AT, NEWEST_REVISION)), target.rekeyed)


def _damaged(target: Target, from_end: int) -> Outcome:
    spoilt = _flipped(target.raw, len(target.raw) - from_end)
    return target.served(target.sign(spoilt), target.rekeyed)


def _too_large(target: Target) -> Outcome:
    assert isinstance(target.device, Esp32Device)
    return target.served(target.sign(target.raw.ljust(target.device.room + 4, b"\0")), target.rekeyed)


def _compressed(target: Target) -> Outcome:
    return target.served(target.sign(gzip.compress(target.raw)), target.rekeyed)


def _faulty_md5(target: Target) -> Outcome:
    headers = b"x-MD5: " + b"0" * 31 + b"\r\n\r\n"
    return target.answered(firmware(target.signed).replace(b"\r\n\r\n", b"\r\n" + headers, 1))


SIGNATURE, FIRST, WHOLE = ("signature",), ("first-byte",), ("activation",)
ROWS: Sequence[Attack] = (
    Attack(
        "tampered image",
        lambda t: t.served(_flipped(t.signed, len(t.raw) // 2)),
        (*SIGNATURE, *WHOLE),
        (30, 9),
    ),
    Attack("unsigned image", lambda t: t.served(t.raw), SIGNATURE, (30,), stock_accepts=True),
    Attack(
        "signed with a stranger's key",
        lambda t: t.served(signed_image.sign(t.raw, t.key)),
        SIGNATURE,
        (30,),
        stock_accepts=True,
    ),
    Attack(
        "length of the signature 0", lambda t: t.served(t.signed[:-4] + bytes(4)), SIGNATURE, (30,), stock_accepts=True
    ),
    Attack("a byte behind the signature", lambda t: t.served(t.signed + b"\0"), SIGNATURE, (30,), stock_accepts=True),
    Attack("image of another chip", _other_chip, (*FIRST, *WHOLE), (27, 9)),
    Attack("image for a newer revision", _newer_revision, (*FIRST, *WHOLE), (27, 9)),
    Attack("damaged checksum", lambda t: _damaged(t, CHECKSUM_FROM_END), WHOLE, (28, 9)),
    Attack("damaged SHA-256", lambda t: _damaged(t, HASH_FROM_END), WHOLE, (28, 9)),
    Attack("larger than the slot", _too_large, ("space",), (26, -100)),
    Attack("gzip", _compressed, FIRST, (27, -106)),
    Attack("factory image", lambda t: t.served(t.sign(b"\xff" * FACTORY_OFFSET + t.raw), t.rekeyed), FIRST, (27, -106)),
    Attack("page of a captive portal", lambda t: t.served(b"<html>" * 500), FIRST, (27, -106)),
    Attack("truncated body", lambda t: t.answered(firmware(t.signed)[: -len(t.signed) // 2]), ("write",), (25, 6)),
    Attack("x-MD5 that is none", _faulty_md5, ("answer",), (20, -105)),
)
REPLACED = frozenset(
    (*(row.name for row in ROWS), "image for another flash mode", "image for a larger flash", "TLS 1.3 only")
)
"""Attacks on an ESP8266 that are others here, or none: mode and size play no part (F91), core 3 knows TLS 1.3 (F89)."""
