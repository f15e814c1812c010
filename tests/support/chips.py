"""Chips for the tests of the virtual device: flash with an image in it, and signatures on anything."""

from __future__ import annotations

import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from littlefs import LittleFS

from otaseal.simulator.flash import LAYOUTS, Layout
from support.images import Signer


def public_pem(key: rsa.RSAPrivateKey | rsa.RSAPublicKey) -> bytes:
    public = key.public_key() if isinstance(key, rsa.RSAPrivateKey) else key
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def chip(image: bytes, layout: Layout = LAYOUTS["4m2m"]) -> bytes:
    """Return a flash with `image` at 0, erased behind it."""
    return image.ljust(layout.flash_size, b"\xff")


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
