"""The release that is rehearsed: its signed files, the record that the server would make, and what it is built from.

A file that no server would admit can be rehearsed all the same, to see what a device would make of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..chips.esp8266 import Esp8266Image
from ..errors import InputError, OtasealError
from ..image.firmware import Firmware
from ..release import records
from ..release.records import Origin, Release

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["Candidate"]


@dataclass(frozen=True)
class Candidate:
    """The signed `forms`, raw or gzip or both, what is said about them, and the product's public keys.

    `admitted` is their record where they were admitted already.
    """

    forms: tuple[Firmware, ...] = field(repr=False)
    origin: Origin
    keys: tuple[RSAPublicKey, ...] = field(repr=False, default=())
    admitted: Release | None = field(repr=False, default=None)

    @cached_property
    def raw(self) -> bytes:
        """The image that devices run after the update, without manifest and trailer; raises InputError for none."""
        return self.forms[0].sketch

    @cached_property
    def twin(self) -> bytes:
        """`raw` with one filler byte before the application changed: another sketch MD5, and nothing else.

        It stands for the older release where none is named: same core, same keys, same size. Raises InputError for an
        image without a filler.
        """
        image = self.forms[0].image
        if not isinstance(image, Esp8266Image) or not image.filler:
            raise InputError(
                "the image has no filler to tell a twin by", "name what devices run now with --from OLD.bin"
            )
        at = image.boot.size + len(image.filler) - 1
        return self.raw[:at] + bytes([self.raw[at] ^ 0xFF]) + self.raw[at + 1 :]

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
        return self.admitted or records.describe(self.forms, self.origin, self.keys)

    def body(self, blob: str) -> bytes:
        """Return the form whose SHA-256 is `blob`."""
        import hashlib

        return next(form.data for form in self.forms if hashlib.sha256(form.data).hexdigest() == blob)
