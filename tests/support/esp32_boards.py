"""Boards of the virtual ESP32 for the tests: images with a key and the library's record, and signed files for them."""

from __future__ import annotations

from datetime import datetime, timezone
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import manifest, signed_image
from otaseal.image.manifest import Claim
from otaseal.image.signing_header import embedded_key
from otaseal.simulator.esp32.chip import CHIPS, Chip
from otaseal.simulator.esp32.device import Esp32Device
from otaseal.simulator.esp32.table import parse
from support.images import Signer
from support.other_images import esp32_image

NOW = datetime.now(timezone.utc)
BUILT = int(NOW.timestamp()) - 3600
BOARD = "esp32dev"


@cache
def image(
    key: rsa.RSAPrivateKey,
    seed: int = 1,
    chip: str = "esp32",
    counter: int | None = 3,
    board: str = BOARD,
    next_key: rsa.RSAPrivateKey | None = None,
    more: bytes = b"",
) -> bytes:
    """Return an application that carries the key, the library's record unless `counter` is None, and `more`."""
    constants = bytes([seed]) * 200 + more + embedded_key(key.public_key())
    if next_key is not None:
        constants += b"\0" + embedded_key(next_key.public_key())
    if counter is not None:
        constants += manifest.serialise(claims(counter, board, seed), manifest.IDENTITY_MAGIC)
    return esp32_image(CHIPS[chip].number, constants=constants)


def claims(counter: int = 3, board: str = BOARD, seed: int = 2) -> manifest.Manifest:
    return manifest.make(Claim("blink", board, f"1.{seed}", counter, BUILT))


def sealed(raw: bytes, key: rsa.RSAPrivateKey, counter: int = 3, board: str = BOARD, seed: int = 2) -> bytes:
    """Return `raw` as `sign` makes it: manifest, signature and length behind it."""
    return signed_image.sign(manifest.attach(raw, claims(counter, board, seed)), Signer(key))


def board(running: bytes, chip: Chip = CHIPS["esp32"], partitions: bytes | None = None, **options: Any) -> Esp32Device:
    table = None if partitions is None else parse(partitions, options.pop("flash_size", None))
    return Esp32Device.provision_board(running, chip, table, **options)
