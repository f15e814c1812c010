"""A LittleFS image read back with littlefs-python, which we did not write, in the geometry of the device."""

from __future__ import annotations

from littlefs import LittleFS

BLOCK_SIZE = 8192
"""Bytes, as the linker scripts of 2 MB and larger filesystems and of the boards in the tests have it."""


def read_file(image: bytes, name: str, block_size: int = BLOCK_SIZE) -> bytes:
    """Return the file `name` of the filesystem `image`, mounted read-only in memory and never formatted."""
    filesystem = LittleFS(block_size=block_size, block_count=len(image) // block_size, mount=False)
    filesystem.context.buffer = bytearray(image)
    filesystem.mount()
    with filesystem.open(name, "rb") as file:
        content: bytes = file.read()
    return content
