"""The restart: the boot stub reads the order, copies the file to the start of the flash, and starts the application.

Done on flash itself, page by page, as ota/ota.c does: a page that is equal is skipped, a gzip is unpacked on the way,
and the order is erased when all is copied, so that a power cut begins it anew (F55b). Nothing asks whether the image
fits below the filesystem that it is read from. The stub is a part of the image, and copies itself with it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING

from ..filesystem import mounted
from ..flash import Layout
from ..power import Noted
from ..uzlib import GARBAGE, GZIP_MAGIC, Inflater
from .chip import APPLICATION, DISK, DIVISION, FLASH, MAX_FLASH, PAGE, Chip, Start, start
from .order import ORDER, SIZE, Write, make_order, read_order

if TYPE_CHECKING:
    from littlefs import LittleFS
    from littlefs.lfs import LFSConfig

Read = Callable[[int], bytes]
"""Returns the next bytes of a file, fewer at its end."""
PROGRAM = 256
ERASED = b"\xff"


@dataclass(frozen=True)
class BootResult:
    """The flash after a restart; `started` is what runs now.

    `copied`: an order was carried out to its end, for `size` bytes, of which `pages` of the flash were written, in that
    many `operations` (an erased page, or 256 bytes programmed). `reason` says what went wrong.
    """

    flash: bytes = field(repr=False)
    started: Start
    copied: bool = False
    size: int = 0
    pages: int = 0
    operations: int = 0
    reason: str = ""


def restart(flash: bytes, chip: Chip, noted: Noted | None = None) -> BootResult:
    """Return the chip after a restart; what is done to the flash is `noted`.

    Raises SystemFaultError where littlefs-python is missing.
    """
    first = start(flash, chip)
    if not first.stub:
        return BootResult(flash, first)
    stub = _Stub(bytearray(flash), noted)
    reason = stub.run()
    after = bytes(stub.flash)
    return BootResult(after, start(after, chip), stub.copied, stub.size, stub.pages, stub.operations, reason)


def start_from(stored: bytes, chip: Chip) -> BootResult:
    """Return what comes of `stored`, a file as it is ordered to be copied, on a chip of which nothing else is known.

    It has the room of the largest flash, and no filesystem that the copy could reach.
    """
    lines = read_order(make_order(stored))
    size = min(MAX_FLASH, max((line.length for line in lines), default=0) + 2 * PAGE)
    stub = _Stub(bytearray(ERASED * max(size, APPLICATION)))
    reason = stub.carry_out(lines, lambda _: nullcontext(BytesIO(stored).read))
    after = bytes(stub.flash)
    return BootResult(after, start(after, chip), stub.copied, stub.size, stub.pages, stub.operations, reason)


class _GivenUpError(Exception):
    """The stub stops where it is, and starts what is there; the order stays."""


class _Stub:
    """The stub at work: it runs in RAM, so that it may replace what it was started from."""

    def __init__(self, flash: bytearray, noted: Noted | None = None) -> None:
        self.flash, self.noted = flash, noted
        self.pages = self.operations = self.size = 0
        self.copied = False
        begin, end = struct.unpack_from("<2I", flash, DIVISION)
        self.begin, self.end = begin - FLASH, end - FLASH
        self.filesystem: LittleFS | None = None

    def run(self) -> str:
        """Carry out the order, if there is one; return what went wrong with it, "" for nothing."""
        self.filesystem = self._mounted()
        if self.filesystem is None:
            return ""
        page, block = self._order()
        reason = self.carry_out(read_order(page), self._open)
        if self.copied:
            self._erase(self.begin + block * PAGE)
        return reason

    def carry_out(self, lines: Sequence[Write], opened: Callable[[str], AbstractContextManager[Read]]) -> str:
        """Copy line by line, with what opens a file by its name; return what went wrong, "" for nothing."""
        reason = ""
        for line in lines:
            try:
                with opened(line.file.decode("latin-1")) as read:
                    source = _Source(read)
                    self._pages(source, line)
                    reason = source.odd()
            except _GivenUpError as error:
                self.copied = False
                return str(error)
            self.size += line.length
            self.copied = True
        return reason

    def _mounted(self) -> LittleFS | None:
        inside = APPLICATION <= self.begin < self.end <= len(self.flash) and (self.begin | self.end) % PAGE == 0
        if not inside:
            return None
        divided = Layout("", len(self.flash), self.begin, self.end, PAGE, disk=DISK)
        return mounted(bytes(self.flash[self.begin : self.end]), divided)

    def _order(self) -> tuple[bytes, int]:
        """Return the order page and the last block that was read for it, which is erased in the end."""
        from littlefs import LittleFSError, lfs

        assert self.filesystem is not None
        context, blocks = self.filesystem.context, [0]
        read = context.read

        def noting(cfg: LFSConfig, block: int, off: int, size: int) -> bytearray:
            blocks.append(block)
            return read(cfg, block, off, size)

        context.read = noting  # type: ignore[method-assign]
        try:
            file = lfs.file_open(self.filesystem.fs, ORDER, "r")
            page = lfs.file_read(self.filesystem.fs, file, SIZE)
            last = blocks[-1]
            lfs.file_close(self.filesystem.fs, file)
        except LittleFSError:
            return b"", 0
        finally:
            context.read = read  # type: ignore[method-assign]
        return page, last

    @contextmanager
    def _open(self, name: str) -> Iterator[Read]:
        """Open a file of the filesystem, and give what reads on in it."""
        from littlefs import LittleFSError, lfs

        assert self.filesystem is not None
        filesystem = self.filesystem.fs
        try:
            file = lfs.file_open(filesystem, name, "r")
            yield lambda size: bytes(lfs.file_read(filesystem, file, size))
            lfs.file_close(filesystem, file)
        except LittleFSError as error:
            raise _GivenUpError("the file cannot be read any more") from error

    def _pages(self, source: _Source, line: Write) -> None:
        buffer = GARBAGE * PAGE
        for done in range(0, line.length, PAGE):
            at = line.address - FLASH + done
            piece = source.take(min(PAGE, line.length - done))
            if piece is None:
                reason = f"the data is damaged: the stub finds out after {done} of {line.length} bytes"
                raise _GivenUpError(reason)
            if not 0 <= at <= len(self.flash) - PAGE:
                raise _GivenUpError(f"{line.length} bytes are more than the flash has")
            buffer = piece + buffer[len(piece) :]
            if self.flash[at : at + PAGE] != buffer:
                self._write(at, buffer)

    def _write(self, at: int, page: bytes) -> None:
        self._erase(at)
        for offset in range(0, PAGE, PROGRAM):
            self._change(at + offset, page[offset : offset + PROGRAM])
        self.pages += 1

    def _erase(self, at: int) -> None:
        self._change(at, ERASED * PAGE)

    def _change(self, at: int, content: bytes) -> None:
        """Erase or program; the filesystem that is read from changes with the flash below it."""
        if self.noted is not None:
            self.noted.note(at, content)
        self.flash[at : at + len(content)] = content
        if self.filesystem is not None and self.begin <= at < self.end:
            inside = at - self.begin
            self.filesystem.context.buffer[inside : inside + len(content)] = content
        self.operations += 1


class _Source:
    """A file as it is copied: its bytes, or what they unpack to."""

    def __init__(self, read: Read) -> None:
        self._rest, self._head = read, read(len(GZIP_MAGIC))
        self._inflater = Inflater(self._refill) if self._head == GZIP_MAGIC else None
        self._short = False
        if self._inflater is not None and not self._inflater.skip_header():
            raise _GivenUpError("the stub cannot read the gzip's header, and copies nothing")

    def _read(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        return head + self._rest(size - len(head))

    def take(self, size: int) -> bytes | None:
        """Return the next bytes, None where they are not to be had; a gzip that is over gives fewer, and no error."""
        if self._inflater is None:
            piece = self._read(size)
            return piece if len(piece) == size else None
        try:
            piece = self._inflater.inflate(size)
        except (zlib.error, EOFError):
            return None
        self._short |= len(piece) < size
        return piece

    def odd(self) -> str:
        """Return what is wrong with a gzip whose last four bytes do not say how much it holds."""
        if self._inflater is not None and (self._short or self.take(1)):
            return "the last four bytes of the file, its length to the stub, are not that of what the gzip holds"
        return ""

    def _refill(self) -> bytes:
        piece = self._read(PAGE)
        if not piece:
            raise EOFError
        return piece
