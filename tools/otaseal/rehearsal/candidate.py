"""The release that is rehearsed: its signed files, the record that the server would make, and what it is built from.

A file that no server would admit can be rehearsed all the same, to see what a device would make of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..chips import esp8266
from ..errors import InputError, OtasealError
from ..image import gzip_payload, signed_image
from ..release import records
from ..release.records import Origin, Release

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["Candidate", "raw_of", "twin"]


@dataclass(frozen=True)
class Candidate:
    """The signed `forms`, raw or gzip or both, what is said about them, and the product's public keys."""

    forms: tuple[bytes, ...] = field(repr=False)
    origin: Origin
    keys: tuple[RSAPublicKey, ...] = field(repr=False, default=())

    @cached_property
    def raw(self) -> bytes:
        """The image that devices run after the update, without manifest and trailer; raises InputError for none."""
        return raw_of(self.forms[0])

    @cached_property
    def refusal(self) -> OtasealError | None:
        """Why the update server would not admit these files, None if it would."""
        try:
            _ = self.release
        except OtasealError as error:
            return error
        return None

    @cached_property
    def release(self) -> Release:
        """The record that the server makes of them; raises InputError, VerificationError."""
        return records.describe(self.forms, self.origin, self.keys)

    def body(self, blob: str) -> bytes:
        """Return the form whose SHA-256 is `blob`."""
        import hashlib

        return next(form for form in self.forms if hashlib.sha256(form).hexdigest() == blob)


def raw_of(data: bytes) -> bytes:
    """Return the image itself out of what is signed, compressed or with a manifest behind it: as long as it runs."""
    payload = data
    if signed_image.is_signed(data):
        payload = signed_image.parse(data).payload
    raw = gzip_payload.decompress(payload) if gzip_payload.is_gzip(payload) else payload
    return raw[: esp8266.parse(raw).sketch_size]


def twin(raw: bytes) -> bytes:
    """Return `raw` with one filler byte before the application changed: another sketch MD5, and nothing else.

    It stands for the older release where none is named: same core, same keys, same size. Raises InputError for an image
    without a filler.
    """
    parsed = esp8266.parse(raw)
    if not parsed.filler:
        raise InputError("the image has no filler to tell a twin by", "name what devices run now with --from OLD.bin")
    at = parsed.boot.size + len(parsed.filler) - 1
    return raw[:at] + bytes([raw[at] ^ 0xFF]) + raw[at + 1 :]
