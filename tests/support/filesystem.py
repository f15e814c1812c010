"""A LittleFS image read back with littlefs-python, which we did not write, in the geometry of the device."""

from __future__ import annotations

from littlefs import LittleFS

BLOCK_SIZE = 8192
"""Bytes, as the linker scripts of 2 MB and larger filesystems and of the boards in the tests have it."""


def read_file(image: bytes, name: str) -> bytes:
    """Return the file `name` of the filesystem `image`, mounted read-only in memory and never formatted."""
    filesystem = LittleFS(block_size=BLOCK_SIZE, block_count=len(image) // BLOCK_SIZE, mount=False)
    filesystem.context.buffer = bytearray(image)
    filesystem.mount()
    with filesystem.open(name, "rb") as file:
        content: bytes = file.read()
    return content
