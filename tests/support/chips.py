"""Chips for the tests of the virtual device: flash with an image in it, and signatures on anything."""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from littlefs import LittleFS

from otaseal.simulator.flash import APPLICATION, CHIP_SIZES, LAYOUTS, Layout, sketch_size
from otaseal.simulator.updater import Setup
from support.images import Signer


def public_pem(key: rsa.RSAPrivateKey | rsa.RSAPublicKey) -> bytes:
    public = key.public_key() if isinstance(key, rsa.RSAPrivateKey) else key
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def chip(image: bytes, layout: Layout = LAYOUTS["4m2m"]) -> bytes:
    """Return a flash with `image` at 0, erased behind it."""
    return image.ljust(layout.flash_size, b"\xff")


def room(
    core: str,
    key: rsa.RSAPrivateKey | None,
    *,
    running: int,
    fs_start: int,
    mode: int = 2,
    flash_size: int = 4 * 1024 * 1024,
) -> tuple[bytes, Setup]:
    """Return a chip that runs a sketch of `running` bytes, a multiple of 16 from 0x1020 on, and its setup."""
    config = next(code for code, size in CHIP_SIZES.items() if size == flash_size) << 4
    boot = struct.pack("<BBBBI7xB", 0xE9, 0, mode, config, 0, 0xEF)
    length = running - APPLICATION - 32
    segment = struct.pack("<BBBBIII", 0xE9, 1, mode, config, 0, 0x40201010, length) + bytes(length + 15) + b"\xef"
    flash = (boot.ljust(APPLICATION, b"\xff") + segment).ljust(flash_size, b"\xff")
    assert sketch_size(flash) == running
    layout = Layout("", flash_size, fs_start, flash_size, 0)
    return flash, Setup(core, layout, None if key is None else public_pem(key))


def sign(data: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """Sign anything: what the signing side would refuse, too."""
    signature = Signer(key).sign(data)
    return data + signature + struct.pack("<I", len(signature))


def make_filesystem(layout: Layout, files: dict[str, bytes], **options: int) -> bytes:
    """Return a LittleFS image for the layout's partition, as mklittlefs makes it unless `options` say otherwise."""
    given = {
        "block_size": layout.block,
        "block_count": layout.fs_size // layout.block,
        "name_max": 32,
        "disk_version": 0x20000,
        "read_size": 256,
        "prog_size": 256,
        "cache_size": 256,
    }
    filesystem = LittleFS(**(given | options))
    for name, content in files.items():
        with filesystem.open(name, "wb") as file:
            file.write(content)
    return bytes(filesystem.context.buffer)
