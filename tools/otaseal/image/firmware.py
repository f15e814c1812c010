"""A firmware file, read once: what is signed, verified, admitted, described, inspected and deployed.

Each part of it is read when it is asked for first, and kept: so that a file which another key signed is refused before
its content is looked at. Nothing is judged here but whether it can be read, and what is fit to be signed (F1-F9).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..chips import file_kinds, images
from ..chips.esp8266_cores import NEWEST
from ..chips.families import FAMILY_OF
from ..chips.images import Image
from ..chips.limits import check_size
from ..errors import InputError, VerificationError
from . import gzip_payload, manifest, signed_image, signing_header
from .gzip_payload import GzipMember
from .manifest import Manifest
from .signed_image import SignedImage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

GZIP_HOLDS = "the gzip holds"


@dataclass(frozen=True)
class Firmware:
    """A firmware file by its bytes, with a trailer behind its payload or, where it is not `signed`, without.

    Every property raises InputError where that part cannot be read.
    """

    data: bytes = field(repr=False)
    signed: bool = True

    @cached_property
    def trailer(self) -> SignedImage:
        """Payload and signature; whether they fit is for `signed_by` to say. Without a trailer no signature."""
        return signed_image.parse(self.data) if self.signed else SignedImage(self.data, b"")

    @property
    def payload(self) -> bytes:
        """What is signed: the image with its manifest, or a gzip of the image."""
        return self.trailer.payload

    @cached_property
    def member(self) -> GzipMember | None:
        """The gzip, None where the payload is none."""
        return gzip_payload.parse(self.payload) if gzip_payload.is_gzip(self.payload) else None

    @property
    def raw(self) -> bytes:
        """The payload uncompressed: the image, and whatever stands behind it."""
        return self.payload if self.member is None else self.member.content

    @property
    def sketch(self) -> bytes:
        """The image itself, without what stands behind it: what runs."""
        return self.raw[: self.image.sketch_size]

    @cached_property
    def image(self) -> Image:
        """The image in `raw`."""
        return images.parse(self.raw, "this is" if self.member is None else GZIP_HOLDS)

    @cached_property
    def manifest(self) -> Manifest | None:
        """The manifest of the payload, None without one."""
        return manifest.find(self.payload, self.member)

    @cached_property
    def identity(self) -> Manifest | None:
        """The identity record of the OtaSeal library in the image, None without it."""
        return manifest.identity(self.raw)

    @cached_property
    def embedded_keys(self) -> tuple[str, ...]:
        """The fingerprints of the public keys in the image, sorted."""
        return signing_header.embedded_keys(self.raw)

    @property
    def is_whole(self) -> bool:
        """Whether the payload is a complete image, or a gzip member that ends where the payload does."""
        try:
            _ = self.image if self.member is None else self.raw
        except InputError:
            return False
        return True

    def signed_by(self, keys: Sequence[RSAPublicKey]) -> RSAPublicKey | None:
        """Return the first of `keys` that made the signature, None where none did; InputError without a trailer."""
        image = self.trailer if self.signed else signed_image.parse(self.data)
        for key in keys:
            try:
                signed_image.check_signature(image, key)
            except VerificationError:
                continue
            return key
        return None

    def payload_with(self, attached: Manifest | None) -> bytes:
        """Return the payload as it is signed, with a manifest or without, and padded for devices (F8)."""
        if attached is not None:
            return manifest.attach(self.payload, attached, self.member)
        return self.payload if self.member is None else gzip_payload.pad4(self.payload, self.member)


def read(data: bytes) -> Firmware:
    """Return the firmware in `data`, signed or not (F8c), valid signature or not.

    The last word alone proves nothing: code can end that way. It is signed if that word is a plausible length and there
    is a complete image before the trailer: the application ends so early that signature and word fit behind it, or a
    gzip member ends exactly where the signature begins.
    """
    signed = Firmware(data)
    return signed if signed.is_whole else Firmware(data, signed=False)


def is_signed(data: bytes) -> bool:
    """Tell whether `data` is a signed image already, as `read` takes it."""
    return read(data).signed


def check_payload(unsigned: Firmware) -> None:
    """Raise InputError, naming the fault, unless the payload is fit to be signed once it is padded.

    Refused: empty, over MAX_IMAGE_SIZE, a first byte other than 0xE9 or 0x1F (F9), signed already (F8c), an ESP8266's
    raw image whose size is not a multiple of 4 (F8), a gzip with anything but one sound member (F8b), an image that is
    cut short.
    """
    payload = unsigned.payload
    check_size(len(payload))
    if payload[:1] != gzip_payload.MAGIC[:1] and not images.begins_as_image(payload):
        kind = file_kinds.recognize(payload)
        if kind is not None:
            raise kind.error()
        raise InputError(
            f"payload begins with 0x{payload[0]:02x}, not 0xe9 or 0x1f", "devices take firmware only, raw or gzip"
        )
    if is_signed(payload):
        raise InputError("payload is signed already", "sign the original firmware.bin, not the '.signed' file")
    whole_words = FAMILY_OF[unsigned.image.chip].whole_words
    if whole_words and unsigned.member is None and len(payload) % gzip_payload.ALIGNMENT:
        raise InputError(
            f"payload of {len(payload)} bytes is not a multiple of {gzip_payload.ALIGNMENT}",
            f"build it again: core {NEWEST.name} refuses it otherwise",
        )
