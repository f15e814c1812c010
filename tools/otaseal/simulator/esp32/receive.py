"""How a device takes what a server sends: stock, by the core's HTTPUpdate, or by the loop of the OtaSeal library.

The library holds back the end of the file until the signature over all of it is verified, and writes the image alone:
manifest, signature and length never reach the slot (slot_update.cpp; F88).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

from ..error_numbers import HttpError
from ..library import SIZE as MANIFEST_SIZE
from ..library import LibraryError
from ..report import Fault
from ..trailer import WORD, AssumedKey, no_key_fits
from . import otadata, signature
from .chip import Chip
from .image import HEADER, MAGIC
from .nor import Flash
from .slot import HELD, Slot
from .table import Partition, Table
from .updater import WITHHELD, RefusedError, UpdateError, Updater, activate

MD5_DIGITS = 32

Judge = Callable[[bytes], "Fault | None"]
"""Takes a payload that is signed, and returns why it is not taken."""


@dataclass(frozen=True)
class Setup:
    """What an update depends on beside the flash.

    `judge`: the library is there, `key` is its own and `next_key` its second one; without it nothing is verified, and
    `md5` counts if it was sent. So many bytes are `noted` to be in the slot, of a download of the same file that a
    restart has ended; the library goes on behind them.
    """

    table: Table
    running: Partition
    chip: Chip
    md5: str | None = None
    key: bytes | AssumedKey | None = None
    next_key: bytes | None = None
    judge: Judge | None = None
    noted: int = 0


@dataclass(frozen=True)
class Staged:
    """How an update ends before the restart: `fault` and its step where it is refused; `crashed`: by a reset.

    `payload` is what the signature covers, all that was written without one; `address` is where in flash it lies.
    """

    flash: bytes = field(repr=False)
    fault: Fault | None = None
    step: str = ""
    payload: bytes = field(default=b"", repr=False)
    address: int = 0
    crashed: bool = False


def before_verdict(size: int) -> int:
    """Return how many bytes of so long a file the library writes before it has verified it."""
    return (size - HELD) // HELD * HELD if size >= 2 * HELD else 0


def update(flash: Flash, data: bytes, setup: Setup, declared: int | None = None) -> Staged:
    """Return what becomes of `data`, the body as it arrived, announced as `declared` bytes (all of them where None)."""
    size = len(data) if declared is None else declared
    receiver = _Receiver(flash, setup)
    try:
        if setup.judge is None:
            receiver.take_stock(data[:size], size)
        else:
            receiver.take_signed(data[:size], size)
    except RefusedError as refused:
        return receiver.staged(refused)
    return receiver.staged(None)


class _Receiver:
    def __init__(self, flash: Flash, setup: Setup) -> None:
        self.flash, self.setup = flash, setup
        self.updater = Updater(flash, setup.table, setup.running)
        self.payload = b""

    def staged(self, refused: RefusedError | None) -> Staged:
        content = bytes(self.flash.content)
        if refused is None:
            return Staged(content, payload=self.payload, address=self.updater.address)
        return Staged(content, refused.fault, refused.step, self.payload, self.updater.address, crashed=refused.crashed)

    def take_stock(self, data: bytes, size: int) -> None:
        """Do what HTTPUpdate does after it has seen the first byte."""
        md5, self.payload = self.setup.md5, data
        self.updater.begin(size)
        if md5 is not None and len(md5) != MD5_DIGITS:
            reason = f"x-MD5 has {len(md5)} characters, not {MD5_DIGITS}: nothing is updated until a restart"
            raise RefusedError("answer", Fault(HttpError.SERVER_FAULTY_MD5, reason, "F87", "md5-header"))
        self.updater.write(data)
        if len(data) < size:
            reason = f"the body ends after {len(data)} of {size} bytes, and the device waits in vain for more"
            raise RefusedError("write", Fault(UpdateError.STREAM, reason, "F87"))
        self.updater.end(self.setup.chip, md5)

    def take_signed(self, data: bytes, size: int) -> None:
        """Do what the library does: image, verdict, and only then the end of the image."""
        early = max(before_verdict(len(data)), self.setup.noted)
        slot = None
        if early:
            slot = self._open(data, size)
            self._write(slot, data[slot.written : early])
        if len(data) < size:
            reason = f"{len(data)} of {size} bytes arrive"
            raise RefusedError("write", Fault(LibraryError.TRUNCATED, reason, "F88"))
        self._judge((slot.read() if slot else b"") + data[early:], early)
        slot = slot or self._open(data, size)
        self._write(slot, self.payload[early:-MANIFEST_SIZE])
        try:
            activate(self.flash, self.setup.table, slot.place, slot.first, self.setup.chip)
        except RefusedError as refused:
            raise self._own(refused) from refused

    def _open(self, data: bytes, size: int) -> Slot:
        """Look at the header, and make ready; the core's updater is begun, too, but writes nothing (F126)."""
        setup = self.setup
        self._look_at(data)
        if setup.table.next_slot(setup.running) == setup.running:
            reason = f"'{setup.running.label}' is the only slot, and runs"
            raise RefusedError("space", Fault(LibraryError.SPACE, reason, "F87"))
        if otadata.read(self.flash, setup.table) is not None and setup.running in setup.table.slots:
            self._forget_waiting()
        try:
            self.updater.begin(self._room(size))
        except RefusedError as refused:
            raise self._own(refused) from refused
        place = setup.table.next_slot(setup.running)
        assert place is not None  # the updater has found one
        return Slot(self.flash, place, self._room(size), data[:WITHHELD] if setup.noted else b"", setup.noted)

    def _look_at(self, data: bytes) -> None:
        chip = self.setup.chip
        header = data[: HEADER.size]
        why = "it is shorter than a header"
        if len(header) == HEADER.size:
            magic, _, number, minimum, *_ = HEADER.unpack(header)
            why = "" if magic == MAGIC else f"the first byte is 0x{magic:02x}, not 0xe9"
            if not why and number != chip.number:
                why = f"it is for the chip with the id {number}, this one has {chip.number}"
            if not why and minimum > chip.revision:
                why = f"it needs revision {minimum // 100}.{minimum % 100} of the chip"
        if why:
            raise RefusedError("first-byte", Fault(LibraryError.NOT_FIRMWARE, why, "F88"))

    def _forget_waiting(self) -> None:
        """Have the boot loader start what runs, where an update before waits for its restart."""
        entries = otadata.read(self.flash, self.setup.table)
        assert entries is not None
        now, slots = otadata.active(entries), self.setup.table.slots
        if now is not None and slots[(entries[now].sequence - 1) % len(slots)] != self.setup.running:
            otadata.choose(self.flash, self.setup.table, self.setup.running)

    def _room(self, size: int) -> int:
        """Return what the updater is told to expect: the image, were it signed by the shorter key."""
        keys = (self.setup.key, self.setup.next_key)
        sizes = [known for known in map(signature.length, keys) if known]
        if not sizes or size <= MANIFEST_SIZE + min(sizes) + WORD:
            raise RefusedError(
                "signature", Fault(LibraryError.SIGNATURE, "the file is shorter than its signature", "F1")
            )
        return size - MANIFEST_SIZE - min(sizes) - WORD

    def _write(self, slot: Slot, data: bytes) -> None:
        try:
            slot.write(data)
        except RefusedError as refused:
            raise self._own(refused) from refused

    def _judge(self, data: bytes, early: int) -> None:
        setup = self.setup
        assert setup.key is not None
        assert setup.judge is not None
        trailer = signature.read(data, setup.key, setup.next_key)
        self.payload = trailer.payload
        fault = trailer.fault
        if fault is None and len(trailer.payload) - early < MANIFEST_SIZE:
            fault = Fault(LibraryError.SIGNATURE, "the file is shorter than its signature", "F1")
        digest = hashlib.sha256(trailer.payload).digest()
        if fault is None and not any(signature.verifies(trailer.signature, key, digest) for key in trailer.keys):
            fault = Fault(LibraryError.SIGNATURE, no_key_fits(trailer).reason, "F1")
        if fault is not None:
            raise RefusedError("signature", fault)
        fault = setup.judge(trailer.payload)
        if fault is not None:
            raise RefusedError("manifest", fault)
        self._look_at(trailer.payload)

    def _own(self, refused: RefusedError) -> RefusedError:
        """Return a refusal of the updater by the library's number."""
        full = refused.fault.error in (UpdateError.SPACE, UpdateError.SIZE, UpdateError.NO_PARTITION)
        number = LibraryError.SPACE if full else LibraryError.FLASH
        return RefusedError(refused.step, Fault(number, refused.fault.reason, refused.fault.fact))
