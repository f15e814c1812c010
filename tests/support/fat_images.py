"""FAT images as the platforms for the ESP32 make them: by FatFs itself, with ESP-IDF's wear levelling or without."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SECTOR = 4096


def fat_image(files: Mapping[str, bytes], size: int, *, wear_levelling: bool = True, removed: str = "") -> bytes:
    """Return the image of a partition of `size` bytes with these files; the one called `removed` was there once."""
    import fatfs
    from fatfs.partition_extended import PartitionExtended
    from fatfs.wrapper import PY_FR_OK, pyf_mkfs, pyf_unlink

    room: Any = fatfs.calculate_esp32_wl_overhead(size, SECTOR) if wear_levelling else {"fat_size": size}
    storage = bytearray(room["fat_size"])
    base = fatfs.Partition(fatfs.RamDisk(storage, sector_size=SECTOR, sector_count=len(storage) // SECTOR))
    assert pyf_mkfs(base.pname, n_fat=2, align=0, n_root=512, au_size=0, workarea_size=2 * SECTOR) == PY_FR_OK
    base.mount()
    partition = PartitionExtended(base)
    for name, content in files.items():
        with partition.open(f"/{name}", "w") as file:
            file.write(content)
    if removed:
        assert pyf_unlink(base.pname + f"/{removed}".encode()) == PY_FR_OK
    base.unmount()
    return bytes(fatfs.create_esp32_wl_image(bytes(storage), size, SECTOR)) if wear_levelling else bytes(storage)
