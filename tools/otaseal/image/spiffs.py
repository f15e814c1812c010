"""One file out of a SPIFFS image, read as the core's own SPIFFS reads it; a build has no other reader of its own.

Layout: spiffs_nucleus.h of pellepl/spiffs, as the cores configure it: ids, spans and pages of 16 bits, names of 32
bytes, a magic number in every block; on the ESP32 four bytes of metadata, and the number of blocks in the magic (F75).
Layer 1: bytes in, bytes out; any bytes give a file, None, or an InputError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import InputError

MAGIC = 0x0529
INDEX_ID = 0x8000
"""Bit of an object's number that marks a page as part of its index."""
FREE = 0xFFFF
HEADER = struct.Struct("<HHB")
"""Of each page: object, which part of it, and flags, which are true where the bit is 0."""
USED, FINAL, INDEX, UNLINKED, DELETED = 0x01, 0x02, 0x04, 0x40, 0x80
INDEX_OTHER = 8
"""Where the table of data pages begins, in the pages of an index that follow the first."""
SIZE_AT, NAME_AT, NAME_SIZE = 8, 13, 32


@dataclass(frozen=True)
class Core:
    """How a core's SPIFFS is configured: where the table of data pages begins in the first page of an index, and
    whether the magic in a block has the number of blocks from there on in it.
    """

    table_at: int
    counts_blocks: bool


ESP8266 = Core(46, counts_blocks=False)
ESP32 = Core(49, counts_blocks=True)


@dataclass(frozen=True)
class _Image:
    content: bytes
    page: int
    block: int
    core: Core

    @property
    def lookups(self) -> int:
        """Return how many pages at the start of a block say whose the others are."""
        return max(1, self.block // self.page * 2 // self.page)

    def pages(self, wanted: int) -> Iterator[int]:
        """Yield the numbers of the pages that are said to be of the object `wanted`, or of any index with FREE."""
        per_block = self.block // self.page
        for block in range(len(self.content) // self.block):
            ids = struct.unpack_from(f"<{per_block - self.lookups}H", self.content, block * self.block)
            for number, object_id in enumerate(ids, block * per_block + self.lookups):
                if object_id == wanted or (wanted == FREE and object_id & INDEX_ID and object_id != FREE):
                    yield number

    def read(self, number: int) -> bytes:
        return self.content[number * self.page : (number + 1) * self.page]


def read_file(image: bytes, name: str, page: int, block: int, core: Core = ESP8266) -> bytes | None:
    """Return the file `name`, its first slash included, None where there is none; sizes are in bytes.

    Raises InputError where the core would not mount the image, or could not read the file.
    """
    filesystem = _Image(image, page, block, core)
    try:
        _check_magic(filesystem)
        return _read(filesystem, name.encode())
    except struct.error as error:
        raise _damaged() from error


def _check_magic(filesystem: _Image) -> None:
    """Refuse an image with more than one block that is not formatted, which is what the core puts up with."""
    blocks = range(0, len(filesystem.content), filesystem.block)
    place = filesystem.lookups * filesystem.page - 4
    marks = [struct.unpack_from("<H", filesystem.content, start + place)[0] for start in blocks]
    left = range(len(marks), 0, -1) if filesystem.core.counts_blocks else [0] * len(marks)
    wrong = sum(mark != (MAGIC ^ filesystem.page ^ count & 0xFFFF) for mark, count in zip(marks, left, strict=True))
    if not marks or wrong > 1:
        raise InputError(
            "there is no SPIFFS in it that a device could mount", "check board_build.filesystem, and what makes it"
        )


def _read(filesystem: _Image, name: bytes) -> bytes | None:
    for number in filesystem.pages(FREE):
        page = filesystem.read(number)
        object_id, span, flags = HEADER.unpack_from(page)
        stored_name = page[NAME_AT : NAME_AT + NAME_SIZE].partition(b"\0")[0]
        if span == 0 and flags & (UNLINKED | DELETED | FINAL) == UNLINKED | DELETED and stored_name == name:
            return _content(filesystem, object_id, page)
    return None


def _content(filesystem: _Image, object_id: int, first: bytes) -> bytes:
    size = struct.unpack_from("<I", first, SIZE_AT)[0]
    size = 0 if size == 0xFFFF_FFFF else size
    room = filesystem.page - HEADER.size
    if size > len(filesystem.content):
        raise _damaged()
    table = _table(first, filesystem.core.table_at)
    parts, index = [], 0
    for span in range(-(-size // room)):
        while span >= len(table):
            index += 1
            table += _table(_index_page(filesystem, object_id, index), INDEX_OTHER)
        page = filesystem.read(table[span])
        if not _is(page, object_id & ~INDEX_ID, span, INDEX | DELETED):
            raise _damaged()
        parts.append(page[HEADER.size :])
    return b"".join(parts)[:size]


def _index_page(filesystem: _Image, object_id: int, index: int) -> bytes:
    for number in filesystem.pages(object_id):
        page = filesystem.read(number)
        if _is(page, object_id, index, DELETED):
            return page
    raise _damaged()


def _table(page: bytes, start: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{(len(page) - start) // 2}H", page, start)


def _is(page: bytes, object_id: int, span: int, flags: int) -> bool:
    """Tell whether the page is that part of the object: written, finished, and of the four flags just `flags` set."""
    found_id, found_span, found_flags = HEADER.unpack_from(page)
    return (found_id, found_span, found_flags & (USED | FINAL | INDEX | DELETED)) == (object_id, span, flags)


def _damaged() -> InputError:
    return InputError("its SPIFFS is damaged", "build it again; if that does not help, look at what makes it")
