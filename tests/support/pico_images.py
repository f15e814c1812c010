"""Images as arduino-pico 6.0.0 links them, by its linker scripts and start-up code, without a line of the product."""

from __future__ import annotations

import struct

FLASH, RAM, APP = 0x10000000, 0x20000000, 0x3000
RAM_END = {"rp2040": 0x20042000, "rp2350": 0x20082000, "rp2350-riscv": 0x20082000}
CHIPS = tuple(RAM_END)
FILESYSTEM = (0x100000, 0xFF000)


def crc(data: bytes) -> int:
    """Return the boot ROM's CRC bit by bit, as the datasheet of the RP2040 has it (2.8.1.3.1)."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 0x80000000 else 0)) & 0xFFFFFFFF
    return value


def boot_stage(seed: int = 0) -> bytes:
    code = bytes((index * 7 + seed) % 251 for index in range(252))
    return code + struct.pack("<I", crc(code))


def block(chip: str, following: int) -> bytes:
    """Return an image definition as the SDK's start-up code has it; `following` is the way to the next block."""
    kind = {"rp2350": 0x1021, "rp2350-riscv": 0x1101}[chip]
    items = struct.pack("<BBH", 0x42, 1, kind)
    if chip == "rp2350-riscv":
        items += struct.pack("<BBHII", 0x44, 3, 0, FLASH + 0x22, RAM_END[chip])
    last = struct.pack("<BHBI", 0xFF, len(items) // 4, 0, following & 0xFFFFFFFF)
    return struct.pack("<I", 0xFFFFDED3) + items + last + struct.pack("<I", 0xAB123579)


def end_block(back: int) -> bytes:
    body = struct.pack("<BBHBHBI", 0xFE, 1, 0, 0xFF, 1, 0, -back & 0xFFFFFFFF)
    return struct.pack("<I", 0xFFFFDED3) + body + struct.pack("<I", 0xAB123579)


def vectors(chip: str, at: int, count: int) -> bytes:
    """Return the table at `at` in flash; on the RP2350 the image definition stands behind it."""
    handlers = (FLASH + at + count * 4 + 1 for _ in range(count - 1))
    return struct.pack(f"<{count}I", RAM_END[chip], *handlers)


def build_image(
    chip: str = "rp2040",
    *,
    filesystem: tuple[int, int] = FILESYSTEM,
    code: bytes = bytes(range(256)) * 60,
    data_size: int = 2000,
) -> bytes:
    """Return an image whose filesystem is at (offset in flash, bytes); `code` is put behind the start-up code."""
    start, size = FLASH + filesystem[0], filesystem[1]
    layout = struct.pack("<4I", start, start + size, start + size, filesystem[0])
    text = code + bytes(-len(code) % 4)
    end = 0
    for _ in range(2):  # once for the sizes, once with the place of the last block
        stub = boot_stage() + _head(chip, 0, 0) if chip == "rp2040" else _stub_with_blocks(chip)
        stub = stub.ljust(APP - 16, b"\0") + layout
        app = _head(chip, APP, end)
        table_at = APP + len(app) + 8
        source = table_at + 4 * 12 + len(text)
        rows = (
            (FLASH + source, RAM + 0x110, RAM + 0x110 + data_size),
            (FLASH + source + data_size, RAM_END[chip] - 0x2000, RAM_END[chip] - 0x2000),
            (FLASH + source + data_size, RAM_END[chip] - 0x1000, RAM_END[chip] - 0x1000),
        )
        table = b"".join(struct.pack("<3I", *row) for row in rows) + bytes(12)
        image = stub + app + bytes(range(1, 9)) + table + text + b"\xda" * data_size
        end = len(image) + 3 & ~3  # the RP2350's last block is aligned
    assert len(image) == source + data_size
    return image if chip == "rp2040" else image.ljust(end, b"\xaa") + end_block(end - APP)


def _stub_with_blocks(chip: str, last: int = 0x2000) -> bytes:
    """Return a stub whose two blocks lead to each other, as the boot ROM wants it."""
    head = _head(chip, 0, last)
    return head.ljust(last, b"\0") + end_block(last - head.index(struct.pack("<I", 0xFFFFDED3)))


def _head(chip: str, at: int, end: int) -> bytes:
    if chip == "rp2040":
        return vectors(chip, at or 0x100, 48)
    if chip == "rp2350-riscv":
        return block(chip, end - at)
    return vectors(chip, at, 68) + b"\x70\x47" * 10 + block(chip, end - at - 68 * 4 - 20)
