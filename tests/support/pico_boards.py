"""Boards of the virtual Pico for the tests: a flash that runs an image, and signed files for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from littlefs import LittleFS

from otaseal.simulator.pico.chip import layout_in
from otaseal.simulator.pico.release import release
from otaseal.simulator.pico.updater import Setup, Staged, update
from support.chips import public_pem, sign
from support.pico_images import build_image
from support.rsa_keys import make_rsa

SMALL = (0x60000, 0x40000)  # a filesystem of 256 KiB
BLOCK = 4096


@cache
def firmware(seed: int = 1, chip: str = "rp2040", size: int = 20_000, **options: Any) -> bytes:
    """Return an image; `size` is about that of its code."""
    code = bytes(seed * 31 + index // 7 & 0xFF for index in range(size))
    return build_image(chip, code=code, filesystem=options.pop("filesystem", SMALL), **options)


def flash_with(image: bytes, files: Mapping[str, bytes] | None = None) -> bytes:
    """Return a flash that runs `image`, with these files in its filesystem."""
    divided = layout_in(image)
    made = LittleFS(
        block_size=BLOCK,
        block_count=divided.fs_size // BLOCK,
        read_size=256,
        prog_size=256,
        cache_size=256,
        disk_version=0x20001,
    )
    for name, content in (files or {}).items():
        with made.open(name, "wb") as file:
            file.write(content)
    return (image.ljust(divided.fs_start, b"\xff") + bytes(made.context.buffer)).ljust(divided.flash_size, b"\xff")


def setup_of(image: bytes, core: str = "6.0.0", **options: Any) -> Setup:
    """Return how a board that runs `image` judges an update: by the key of 2048 bits, unless told otherwise."""
    return Setup(release(core), layout_in(image), **{"key": public_pem(make_rsa(2048)), **options})


def signed(payload: bytes) -> bytes:
    return sign(payload, make_rsa(2048))


def staged(running: bytes, payload: bytes, core: str = "6.0.0", files: Mapping[str, bytes] | None = None) -> Staged:
    """Return what a board that runs `running` has after it took `payload`, signed for it."""
    return update(flash_with(running, files), signed(payload), setup_of(running, core))
