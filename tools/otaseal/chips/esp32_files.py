"""Files for the ESP32 family that are no application to be signed: other images, and whole flashes in one file."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from . import esp32
from .boot_image import MAGIC, segment_addresses, whole_part
from .esp32_chips import CHIPS

PARTITION_MAGIC = b"\xaa\x50"
_AFTER_ROWS = (b"\xeb\xeb", b"\xff\xff")
"""What a row may be followed by beside another one: the table's MD5, erased flash."""
_ROW = struct.Struct("<2sBBI24x")
_MAX_ROWS = 95
_APPLICATION = 0

_SECTOR = 4096
_LOADERS = (0, 0x1000, 0x2000)
"""Where the boot loader is in flash, by chip; and so what a file lacks whose first byte is the boot loader's."""
_TABLES = range(2 * _SECTOR, 0x21000, _SECTOR)
"""Where a partition table may be: at 0x8000 unless the project says something else."""

_HEADER = struct.Struct("<BBBBIB3sHBHH4sB")
_FIRST_ADDRESS = 0x3C000000
_PADDING = 0
"""Address of a segment that is not loaded: it moves what follows to where a page of flash begins."""
_MAPPED = {
    0: ((0x3F400000, 0x3F800000), (0x400D0000, 0x40400000)),
    2: ((0x3F000000, 0x3F3F0000), (0x40080000, 0x40B80000)),
    18: ((0x40000000, 0x4C000000),),
}
"""By chip, where flash is mapped to: an application has segments there, a boot loader has none."""
_LATER_MAPPED = ((0x3C000000, 0x3E000000), (0x42000000, 0x44000000))


def unknown_chip(view: memoryview) -> str:
    """Return what `view` is, "" unless it is an image of ESP-IDF for a chip that is not known; its checksum holds."""
    described = esp32.has_description(view)
    if not described and not (_loaded(view) and whole_part(view, _HEADER.size)):
        return ""
    what, chip = "application" if described else "image", _chip_id(view)
    return "" if chip in CHIPS else f"an {what} for a chip of Espressif's, id {chip}, that this otaseal does not know"


def boot_loader(view: memoryview) -> str:
    """Return what `view` is, "" unless it is an image of ESP-IDF and none of its code runs in flash."""
    return "" if _is_mapped(view) is not False else f"an {CHIPS[_chip_id(view)]} boot loader"


def other_application(view: memoryview) -> str:
    """Return what `view` is, "" unless it is an application of ESP-IDF without a description."""
    return f"an {CHIPS[_chip_id(view)]} application without a description" if _is_mapped(view) else ""


def _chip_id(view: memoryview) -> int:
    return int(_HEADER.unpack_from(view)[7])


def _is_mapped(view: memoryview) -> bool | None:
    """Tell whether an image for a known chip has segments that stay in flash; None for anything else."""
    addresses = _loaded(view)
    if not addresses or _chip_id(view) not in CHIPS:
        return None
    ranges = _MAPPED.get(_chip_id(view), _LATER_MAPPED)
    return any(first <= address < last for address in addresses for first, last in ranges)


def _loaded(view: memoryview) -> list[int]:
    """Return the addresses of the segments behind a header of ESP-IDF, none unless it is one without a description.

    That header has 24 bytes, of which the last is 0 or 1, and its segments add up.
    """
    if len(view) < _HEADER.size or view[0] != MAGIC or esp32.has_description(view):
        return []
    _, count, *_, reserved, hashed = _HEADER.unpack_from(view)
    addresses = list(segment_addresses(view, _HEADER.size, count))
    loaded = [address for address in addresses if address != _PADDING]
    fits = len(addresses) == count <= 16 and bool(loaded) and min(loaded) >= _FIRST_ADDRESS
    return loaded if fits and hashed in (0, 1) and not any(reserved) else []


def factory_image(view: memoryview) -> str:
    """Return what `view` is, "" unless it has a boot loader and a partition table, wherever that is."""
    if esp32.is_image(view) or not any(view[at : at + 1] == bytes([MAGIC]) for at in _LOADERS):
        return ""
    rows = next(filter(None, (list(_partitions(view, at)) for at in _TABLES)), None)
    if rows is None:
        return ""
    starts = [offset - lacking for kind, offset in rows if kind == _APPLICATION for lacking in _LOADERS]
    with_application = any(start > 0 and view[start : start + 1] == bytes([MAGIC]) for start in starts)
    return (
        f"an ESP32 factory image: boot loader, partition table{' and application' if with_application else ''} in one"
    )


def _partitions(view: memoryview, table: int) -> Iterator[tuple[int, int]]:
    """Yield type and offset of each partition in the table at this offset, none where there is no table."""
    for start in range(table, table + _MAX_ROWS * _ROW.size, _ROW.size):
        row, following = view[start : start + _ROW.size], bytes(view[start + _ROW.size :][:2])
        if len(row) < _ROW.size or row[:2] != PARTITION_MAGIC or following not in (PARTITION_MAGIC, *_AFTER_ROWS):
            return
        _, kind, _, offset = _ROW.unpack(row)
        yield kind, offset
