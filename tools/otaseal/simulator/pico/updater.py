"""The updater of arduino-pico: the file in LittleFS, the signature behind it, and the order for the boot stub.

`Update.begin`, `writeStream` and `end` in their order, with their error numbers, on littlefs itself: that a file fits
shows when it is written. The first bytes are not looked at by anybody. What was refused stays as a file of 0 bytes.
Each update is the first one after a restart (F55c).
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..error_numbers import HttpError, UpdateError
from ..filesystem import mount, mounted
from ..flash import Layout
from ..power import Noted
from ..report import Fault
from ..trailer import AssumedKey, holds, no_key_fits, read_trailer
from ..updater import MD5_DIGITS
from .chip import PAGE
from .order import FIRMWARE, ORDER, make_order
from .release import Release

if TYPE_CHECKING:
    from littlefs import LittleFS
    from littlefs.lfs import LFSConfig, LFSFile

Judge = Callable[[bytes], "Fault | None"]
"""Takes a payload that is signed, and returns why it is not taken."""

LENGTH_WORD = 4
HASH_PIECE = 128


@dataclass(frozen=True)
class Setup:
    """What an update depends on beside the flash.

    `key` is the text compiled into the running firmware (PEM), or stands for a key that is not at hand; None where it
    verifies nothing, and then `md5`, 32 hex digits, counts if it was sent. With the library `next_key` is good, too,
    `judge` says what it makes of a payload that is signed, and it `clears` away what an update before has left.
    """

    release: Release
    layout: Layout
    key: bytes | AssumedKey | None = None
    md5: str | None = None
    next_key: bytes | None = None
    judge: Judge | None = None
    clears: bool = False


@dataclass(frozen=True)
class Staged:
    """How an update ends before the restart: `fault` and its step where it is refused, and the flash as it is then.

    `payload` is what the signature covers, or all that was written; `stored` the file that is left, `ordered` whether
    the boot stub is told of it. An update without a fault and without an order is a success to the sketch.
    """

    flash: bytes = field(repr=False)
    fault: Fault | None = None
    step: str = ""
    payload: bytes = field(default=b"", repr=False)
    stored: bytes = field(default=b"", repr=False)
    ordered: bool = False


def update(flash: bytes, data: bytes, setup: Setup, declared: int | None = None, noted: Noted | None = None) -> Staged:
    """Return what becomes of `data`, the body as it arrived, announced as `declared` bytes (all of them where None).

    What is done to a flash with a filesystem is `noted`.

    Raises SystemFaultError where littlefs-python is missing.
    """
    size = len(data) if declared is None else declared
    room = setup.layout.fs_size
    if size == 0:
        return Staged(flash, Fault(UpdateError.SIZE, "the update is empty", "F29"), "space")
    if size > room:
        reason = f"{size} bytes do not fit into a filesystem of {room}"
        return Staged(flash, Fault(UpdateError.SPACE, reason, "F55"), "space")
    ready = mount(flash, setup.layout)
    filesystem = mounted(ready.flash[setup.layout.fs_start : setup.layout.fs_end], setup.layout)
    if filesystem is None:
        return Staged(ready.flash, Fault(UpdateError.SPACE, "the filesystem does not mount", "F55"), "space")
    if noted is not None:
        _note(filesystem, setup.layout, noted)
    return _Update(ready.flash, setup, filesystem).run(data, size)


def _note(filesystem: LittleFS, layout: Layout, noted: Noted) -> None:
    """Have what the filesystem does to its partition noted."""
    context = filesystem.context
    erase, program = context.erase, context.prog

    def erased(cfg: LFSConfig, block: int) -> int:
        noted.note(layout.fs_start + block * layout.block, b"\xff" * layout.block)
        return int(erase(cfg, block))

    def programmed(cfg: LFSConfig, block: int, off: int, data: bytes) -> int:
        noted.note(layout.fs_start + block * layout.block + off, bytes(data))
        return int(program(cfg, block, off, data))

    context.erase, context.prog = erased, programmed  # type: ignore[method-assign]


class _Update:
    """One update with its file open: the filesystem is the mounted one of the device, and changes as it would."""

    def __init__(self, flash: bytes, setup: Setup, filesystem: LittleFS) -> None:
        self.flash, self.setup, self.filesystem = flash, setup, filesystem

    def run(self, data: bytes, size: int) -> Staged:
        from littlefs import LittleFSError

        try:
            self._clear()
            file = self._create(FIRMWARE, "w+")
        except LittleFSError:
            return self._ended(Fault(UpdateError.SPACE, "there is no room for a file", "F55"), "space")
        md5 = self.setup.md5
        if md5 is not None and len(md5) != MD5_DIGITS:
            reason = f"x-MD5 has {len(md5)} characters, not {MD5_DIGITS}: nothing is updated until a restart"
            return self._ended(Fault(HttpError.SERVER_FAULTY_MD5, reason, "F29", "md5-header"), "answer")
        written = self._write(file, data, size)
        if written < min(size, len(data) if len(data) >= size else len(data) - len(data) % PAGE):
            return self._ended(self._full(written, size), "write")
        if len(data) < size:
            reason = f"the body ends after {len(data)} of {size} bytes, and the device waits in vain for more"
            return self._ended(Fault(UpdateError.STREAM, reason, "F29"), "write")
        return self._end(file, data[:size])

    def _clear(self) -> None:
        from littlefs import LittleFSError, lfs

        for name in (ORDER, FIRMWARE) if self.setup.clears else ():
            with contextlib.suppress(LittleFSError):
                lfs.remove(self.filesystem.fs, name)

    def _create(self, name: str, mode: str) -> LFSFile:
        """Open a file as the core does: emptied, and known to the directory at once."""
        from littlefs import lfs

        file = lfs.file_open(self.filesystem.fs, name, mode)
        lfs.file_sync(self.filesystem.fs, file)
        return file

    def _write(self, file: LFSFile, data: bytes, size: int) -> int:
        """Write page by page, and return how many bytes were taken; a last piece is written at the very end only."""
        from littlefs import LittleFSError, lfs

        for at in range(0, size, PAGE):
            piece = data[at : min(at + PAGE, size)]
            if len(piece) < min(PAGE, size - at):
                return at
            try:
                lfs.file_write(self.filesystem.fs, file, piece)
            except LittleFSError:
                return at
        return size

    def _full(self, written: int, size: int) -> Fault:
        reason = f"after {written} of {size} bytes the filesystem of {self.setup.layout.fs_size} bytes is full"
        return Fault(UpdateError.SPACE, f"{reason}: it holds other files, and its own administration", "F55")

    def _end(self, file: LFSFile, sent: bytes) -> Staged:
        """Do what `end` does: verify what lies in the file, cut the signature off, leave the order."""
        setup, payload = self.setup, sent
        if setup.key is not None:
            payload, fault = check_signature(self._read_back(file, sent), setup.key, setup.next_key)
            if fault is not None:
                return replace(self._ended(fault, "signature"), payload=payload)
            fault = None if setup.judge is None else setup.judge(payload)
            if fault is not None:
                return replace(self._ended(fault, "manifest"), payload=payload)
        elif setup.md5 is not None and hashlib.md5(sent, usedforsecurity=False).hexdigest() != setup.md5.lower():
            return self._ended(Fault(UpdateError.MD5, "x-MD5 is not that of the bytes sent", "F29", "md5"), "write")
        cut = len(payload) < len(sent) and setup.release.cuts
        stored = payload if cut else sent
        ordered = self._order(file, stored, cut=cut)
        return replace(self._ended(None, ""), payload=payload, stored=stored, ordered=ordered)

    def _read_back(self, file: LFSFile, sent: bytes) -> bytes:
        """Return the file as it lies in flash, which is read from its end and again from its beginning."""
        from littlefs import lfs

        lfs.file_seek(self.filesystem.fs, file, max(len(sent) - LENGTH_WORD, 0), 0)
        lfs.file_read(self.filesystem.fs, file, LENGTH_WORD)
        lfs.file_seek(self.filesystem.fs, file, 0, 0)
        pieces = (lfs.file_read(self.filesystem.fs, file, HASH_PIECE) for _ in range(0, len(sent), HASH_PIECE))
        return b"".join(pieces)

    def _order(self, file: LFSFile, stored: bytes, *, cut: bool) -> bool:
        """Close the file and write the order; what fails here is noticed by nobody on the device (F55)."""
        from littlefs import LittleFSError, lfs

        filesystem = self.filesystem.fs
        try:
            if cut:
                lfs.file_seek(filesystem, file, 0, 0)
                lfs.file_truncate(filesystem, file, len(stored))
            lfs.file_close(filesystem, file)
            order = self._create(ORDER, "w")
            lfs.file_write(filesystem, order, make_order(stored))
            lfs.file_close(filesystem, order)
        except LittleFSError:
            return False
        return True

    def _ended(self, fault: Fault | None, step: str) -> Staged:
        divided, changed = self.setup.layout, bytes(self.filesystem.context.buffer)
        return Staged(self.flash[: divided.fs_start] + changed + self.flash[divided.fs_end :], fault, step)


def check_signature(
    stored: bytes, key: bytes | AssumedKey, next_key: bytes | None = None
) -> tuple[bytes, Fault | None]:
    """Return the payload of what is `stored`, all of it where there is none, and why it is not taken (F1)."""
    trailer = read_trailer(stored, key, next_key)
    if trailer.fault is not None:
        return trailer.payload, trailer.fault
    digest = hashlib.sha256(trailer.payload).digest()
    good = any(holds(trailer.signature, tried, digest) for tried in trailer.keys)
    return trailer.payload, None if good else no_key_fits(trailer)
