"""What a signed firmware's manifest claims, and firmware with one."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import rsa

from otaseal.image import gzip_payload, manifest
from otaseal.image.manifest import Claim
from otaseal.image.signing_header import embedded_key
from otaseal.release.records import Origin
from support.by_bytes import sign_firmware
from support.images import Signer, build_image

BOARD = "d1_mini"
CLAIM = Claim("blink", BOARD, "1.2.3", 7, 1_700_000_000)
ORIGIN = Origin("blink", "1.2.3", "2026-01-31T12:00:00Z", BOARD)
FORMS = ["raw", "gzip"]


def built(form: str, core: str = "3.1.2", **options: object) -> tuple[bytes, bytes]:
    """Return an image, and the payload that is made of it."""
    raw = build_image(core=core, code_size=6000, **options)  # type: ignore[arg-type]
    return raw, raw if form == "raw" else gzip_payload.compress(raw)


def sign(payload: bytes, key: rsa.RSAPrivateKey, claim: Claim | None = CLAIM, **options: object) -> bytes:
    return sign_firmware(payload, Signer(key), embeds_key=False, claim=claim, **options)  # type: ignore[arg-type]


def library(claim: Claim, *keys: rsa.RSAPrivateKey) -> bytes:
    """Return what firmware with the OtaSeal library carries."""
    record = manifest.serialise(manifest.make(claim), manifest.IDENTITY_MAGIC)
    return record + b"".join(embedded_key(key.public_key()) for key in keys)
