"""The release that is rehearsed: its signed files, the record that the server would make, and the server's answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ..chips import esp32, images
from ..chips.esp32 import Esp32Image
from ..chips.esp8266 import Esp8266Image
from ..chips.pico import PicoImage
from ..errors import InputError, OtasealError
from ..image.firmware import Firmware
from ..protocol import decisions
from ..protocol.answers import Decision
from ..protocol.request import UpdateRequest, parse_request
from ..protocol.running import known_images
from ..release import records
from ..release.records import Origin, Release
from ..server.patches import Patch
from .loopback import Request, response

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

BEFORE = "-before"
"""What the version of the release that a device had before is called by, where there is none with a name."""
PIN = 9  # in the header of an ESP32's image: how strongly the boot ROM drives a pin, which no application asks for
LAST_DATA = 64  # from the end of a Pico's image: what start-up code copies to RAM


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

        It stands for the older release where none is named: same core, same keys, same size. An image of a Pico has
        another value in its data, one of an ESP32 in its header. Raises InputError for an image without a filler.
        """
        image = self.forms[0].image
        if isinstance(image, Esp32Image):
            return repaired(_changed(self.raw, PIN))
        if isinstance(image, PicoImage):
            return _changed(self.raw, len(self.raw) - LAST_DATA)
        if not isinstance(image, Esp8266Image) or not image.filler:
            raise InputError(
                "the image has no filler to tell a twin by", "name what devices run now with --from OLD.bin"
            )
        return _changed(self.raw, image.boot.size + len(image.filler) - 1)

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


def _changed(image: bytes, at: int) -> bytes:
    return image[:at] + bytes([image[at] ^ 0xFF]) + image[at + 1 :]


def repaired(application: bytes) -> bytes:
    """Return a changed application of the ESP32 with its own checksum, and SHA-256 where it has one (F47)."""
    image = esp32.parse(application)
    summed = application[: image.part.size - 1] + bytes([image.part.computed_checksum])
    return summed + (b"" if image.stored_hash is None else hashlib.sha256(summed).digest())


@dataclass(frozen=True)
class CandidateServer:
    """Answers as the update server will once it has `candidate`: its own decisions, and the bytes it would store.

    `old` is the image that the device runs, `known` the server's releases, `patch` what it has made of both. A
    candidate that no server would admit is sent all the same, so that the device's own verdict can be seen.
    """

    candidate: Candidate
    old: bytes = field(repr=False)
    known: tuple[Release, ...] = ()
    patch: bytes | None = field(default=None, repr=False)

    def __call__(self, request: Request) -> bytes:
        """Return the response to `request`."""
        try:
            parsed = parse_request(request.method, request.headers)
        except InputError as error:
            return response(400, (("Content-Length", str(len(error.message))),), error.message.encode())
        if self.candidate.refusal is not None:
            return self._unadmitted(parsed.runs)
        decision = self._decided(parsed)
        if self.patch is not None and decision.patch is not None:
            sent = Patch.of(self.patch, decision.patch.target.image_size)
            return response(200, decisions.patched(decision, sent.form).headers, self.patch)
        body = decision.body if decision.form is None else self._blob(decision.form.blob)
        return response(decision.status, decision.headers, body)

    def whole_size(self, request: Request) -> int:
        """Return the bytes of the whole form that answers this request, 0 where none does."""
        form = self._decided(parse_request(request.method, request.headers)).form
        return 0 if form is None else form.size

    def _decided(self, parsed: UpdateRequest) -> Decision:
        release = self.candidate.release
        return decisions.decide(parsed, release, decisions.State(known_images((release, *self._known))))

    def _blob(self, digest: str) -> bytes:
        return next(form.data for form in self.candidate.forms if hashlib.sha256(form.data).hexdigest() == digest)

    @cached_property
    def _known(self) -> tuple[Release, ...]:
        """The server's releases; a twin, or any image where it knows none, counts as one built as this is."""
        release = self.candidate.release
        if self.known and self.old != self.candidate.twin:
            return self.known
        digests = images.parse(self.old).sketch_digests()
        return (*self.known, replace(release, version=f"{release.version}{BEFORE}", sketch_md5=digests))

    def _unadmitted(self, runs: str | None) -> bytes:
        form = self.candidate.forms[0]
        try:
            digests = form.image.sketch_digests()
        except InputError:
            digests = ()  # no image: what the device says of it is what is asked for
        if runs in (digests or (records.running_version(self.candidate.origin.version),)):
            return response(304)
        md5 = hashlib.md5(form.data, usedforsecurity=False).hexdigest()
        return response(200, (("Content-Length", str(len(form.data))), ("x-MD5", md5)), form.data)
