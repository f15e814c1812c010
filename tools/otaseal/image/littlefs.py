"""One file out of a LittleFS image, read as the core's own littlefs reads it; a build has no other reader of its own.

Layout: SPEC.md of littlefs-project/littlefs. Checked are what the core checks when it mounts: disk version, block size
and count of the partition, and its limits for names, files and attributes (F15b, F73, F75). For images that a tool has
just made: a move that a power cut left half done, which only a device leaves behind, is not followed. Layer 1: bytes
in, bytes out; any bytes give a file, None, or an InputError.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from ..errors import InputError

LARGEST_FILE, LARGEST_ATTRIBUTE = 0x7FFF_FFFF, 1022
BLANK = 0xFFFF_FFFF
NO_DATA = 0x3FF
"""Length of a tag that deletes: nothing follows it."""
# Types of tags: the upper three bits are the family. A commit ends with its CRC, whose last bit is the next tag's.
FAMILY, NAME, STRUCT, SPLICE, TAIL = 0x700, 0x000, 0x200, 0x400, 0x600
CRC_MASK, CRC = 0x780, 0x500
FILE, SUPERBLOCK, INLINE, SKIP_LIST, CREATE, HARD_TAIL = 0x001, 0x0FF, 0x201, 0x202, 0x401, 0x601
MAGIC = b"littlefs"


@dataclass(frozen=True)
class Core:
    """What a core's littlefs mounts: disk versions from 2.0 to 2.`minor`, with names of at most `names` bytes."""

    title: str
    minor: int
    names: int
    tool: str

    @property
    def limits(self) -> dict[str, int]:
        """Largest sizes in bytes that the core is built with, in the superblock's order."""
        return {"names": self.names, "files": LARGEST_FILE, "attributes": LARGEST_ATTRIBUTE}


ESP8266 = Core("the ESP8266's core", 0, 32, "the platform's own mklittlefs, or another one before 4.0")
PICO = Core("arduino-pico", 1, 255, "the platform's own mklittlefs")
ESP32 = Core("arduino-esp32", 1, 64, "the platform itself")


@dataclass
class _Entry:
    kind: int = -1
    name: bytes = b""
    form: int = -1
    content: bytes = b""


@dataclass
class _Directory:
    """What one metadata pair holds: entries, and the pair that follows; `hard` if that is of the same directory."""

    entries: list[_Entry] = field(default_factory=list)
    tail: tuple[int, int] = (BLANK, BLANK)
    hard: bool = False


def read_file(image: bytes, name: str, block: int, count: int, core: Core = ESP8266) -> bytes | None:
    """Return the file `name` of the root directory, None where there is none.

    The partition of a device with `core` has `count` blocks of `block` bytes. Raises InputError where that core would
    not mount the image, or could not read the file.
    """
    try:
        return _read(image, name.encode(), block, count, core)
    except (struct.error, IndexError) as error:
        raise _damaged() from error


def _read(image: bytes, name: bytes, block: int, count: int, core: Core) -> bytes | None:
    pairs = list(_walk(image, block))
    roots = [number for number, pair in enumerate(pairs) if _superblock(pair) is not None]
    if not roots:
        raise InputError(
            "there is no LittleFS in it that a device could mount", "check board_build.filesystem, and what makes it"
        )
    for number in roots:
        _check(_superblock(pairs[number]) or b"", block, count, core)
    here = roots[-1]
    while True:
        for entry in pairs[here].entries:
            if (entry.kind, entry.name) == (FILE, name):
                return entry.content if entry.form == INLINE else _skip_list(image, entry, block)
        if not pairs[here].hard:
            return None
        here += 1


def _walk(image: bytes, block: int) -> Iterator[_Directory]:
    """Yield all metadata pairs, each of which names the next."""
    pair = (0, 1)
    for _ in range(len(image) // block + 1):
        if BLANK in pair:
            return
        directory = _fetch(image, pair, block)
        if directory is None:
            if pair == (0, 1):
                return
            raise _damaged()
        yield directory
        pair = directory.tail
    raise _damaged()


def _fetch(image: bytes, pair: tuple[int, int], block: int) -> _Directory | None:
    """Return what the newer of the two blocks with a whole commit holds, None if neither has one."""
    logs = [_log(image[number * block : (number + 1) * block]) for number in pair]
    whole = [log for log in logs if log is not None]
    if not whole:
        return None
    newest = whole[0]
    if len(whole) == 2 and (whole[1][0] - whole[0][0]) & BLANK < 0x8000_0000:
        newest = whole[1]
    return _replay(newest[1])


def _log(content: bytes) -> tuple[int, list[tuple[int, int, bytes]]] | None:
    """Return a metadata block's revision and the type, number and data of the tags of all its whole commits."""
    if len(content) < 4:
        return None
    tags: list[tuple[int, int, bytes]] = []
    pending: list[tuple[int, int, bytes]] = []
    start, position, previous, commits = 0, 4, BLANK, 0
    while position + 4 <= len(content):
        tag = int.from_bytes(content[position : position + 4], "big") ^ previous
        kind, number, length = tag >> 20, tag >> 10 & 0x3FF, tag & 0x3FF
        end = position + 4 + (0 if length == NO_DATA else length)
        if tag >> 31 or end > len(content):
            break
        if kind & CRC_MASK == CRC:
            checksum = content[position + 4 : position + 8]
            if zlib.crc32(content[start : position + 4]) ^ BLANK != int.from_bytes(checksum, "little"):
                break
            tags, pending, start, commits = tags + pending, [], end, commits + 1
            tag ^= (kind & 1) << 31
        else:
            pending.append((kind, number, content[position + 4 : end]))
        position, previous = end, tag
    return (int.from_bytes(content[:4], "little"), tags) if commits else None


def _replay(tags: list[tuple[int, int, bytes]]) -> _Directory:
    directory = _Directory()
    for kind, number, data in tags:
        family = kind & FAMILY
        if family == SPLICE and kind == CREATE:
            directory.entries.insert(number, _Entry())
        elif family == SPLICE:
            del directory.entries[number]
        elif family in (NAME, STRUCT):
            while number >= len(directory.entries):  # a rewritten log has no tags that create
                directory.entries.append(_Entry())
            entry = directory.entries[number]
            if family == NAME:
                entry.kind, entry.name = kind, data
            else:
                entry.form, entry.content = kind, data
        elif family == TAIL:
            directory.tail, directory.hard = struct.unpack("<2I", data), kind == HARD_TAIL
    return directory


def _superblock(pair: _Directory) -> bytes | None:
    first = pair.entries[0] if pair.entries else _Entry()
    return first.content if (first.kind, first.name) == (SUPERBLOCK, MAGIC) else None


def _check(superblock: bytes, block: int, count: int, core: Core) -> None:
    """Refuse what the core does not mount, in the words of what would have to be another."""
    version, size, blocks, *largest = struct.unpack("<6I", superblock)
    major, minor = version >> 16, version & 0xFFFF
    if major != 2 or minor > core.minor:
        mounted = f"2.0 to 2.{core.minor}" if core.minor else "2.0"
        raise InputError(
            f"its LittleFS has disk version {major}.{minor}, and {core.title} mounts {mounted} only",
            f"make it with {core.tool}",
        )
    if (size, blocks) != (block, count):
        raise InputError(
            f"its LittleFS has {blocks} blocks of {size} bytes, and the partition {count} of {block}",
            "give mklittlefs the block size, and the partition's size, that the platform has for the board",
        )
    for (what, limit), wanted in zip(core.limits.items(), largest, strict=True):
        if wanted > limit:
            raise InputError(
                f"its LittleFS allows {what} of {wanted} bytes, {core.title} {limit}, and does not mount it then",
                "make it with the platform's own mklittlefs, or one that is built with the core's limits",
            )


def _skip_list(image: bytes, entry: _Entry, block: int) -> bytes:
    """Return a file of whole blocks: number n begins with as many pointers backwards as 2n has trailing zero bits."""
    if entry.form != SKIP_LIST:
        raise _damaged()
    head, size = struct.unpack("<2I", entry.content)
    if size > len(image):
        raise _damaged()
    room, number = block, 0
    while room < size:
        number += 1
        room += block - _pointers(number)
    pieces: list[bytes] = []
    while True:
        content = image[head * block : (head + 1) * block]
        pieces.append(content[_pointers(number) :])
        if number == 0:
            break
        head, number = struct.unpack_from("<I", content)[0], number - 1
    whole = b"".join(reversed(pieces))[:size]
    if len(whole) != size:
        raise _damaged()
    return whole


def _pointers(number: int) -> int:
    """Return the bytes of pointers at the start of a file's block `number`."""
    return 4 * (number & -number).bit_length()


def _damaged() -> InputError:
    return InputError("its LittleFS is damaged", "build it again; if that does not help, look at what makes it")
