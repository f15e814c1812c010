"""Firmware with the OtaSeal library for boards of every family, built and signed as one release."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import manifest
from otaseal.image.manifest import Claim
from support import images, other_images, pico_images
from support.by_bytes import sign_firmware
from support.images import Signer
from support.manifest_claims import library

BOARDS = {"nodemcuv2": "esp8266", "d1_mini": "esp8266", "rpipicow": "rp2040", "esp32dev": "esp32"}
"""Boards to their chips: two of one family."""


def build(claim: Claim, *keys: rsa.RSAPrivateKey) -> bytes:
    """Return the image that a build of `claim` makes for its board."""
    own = library(claim, *keys)
    if BOARDS[claim.board] == "rp2040":
        return pico_images.build_image("rp2040", code=own + bytes(range(256)) * 40)
    if BOARDS[claim.board] == "esp32":
        return other_images.esp32_image(constants=own)
    return images.build_image(code_size=20_000, embedded=own)


def signed(image: bytes, claim: Claim, key: rsa.RSAPrivateKey) -> bytes:
    """Return what the build signs of it."""
    return sign_firmware(image, Signer(key), embeds_key=False, claim=claim)


def board_key(board: str) -> str:
    """Return what a device with the library sends."""
    return manifest.name_id(board).hex()
