"""The release record: what a server has to know of a signed firmware to answer devices without reading it.

A release is one build of one product under one version, in one or two forms: raw, gzip, or both, so that every core
release can be given what it takes (F8b). A record is made from the signed bytes themselves, whose signature is verified
first; it serialises to JSON and back without loss, and JSON with anything missing, unknown or out of bounds is refused.
Where records and bytes are kept is not known here.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any

from . import esp8266, gzip_payload, image, public_keys
from .errors import InputError, OtasealError, VerificationError
from .esp8266 import MAX_IMAGE_SIZE, FlashMode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["Form", "Origin", "Release", "check_name", "check_version", "describe", "parse", "serialise"]

FORMAT = 1
MAX_RECORD_SIZE = 16 * 1024
"""Bytes of one record: four times what the longest allowed values make."""
MAX_SIGNED_SIZE = MAX_IMAGE_SIZE
KINDS = ("raw", "gzip")
SECTOR = 4096

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+~-]{0,63}")
_BOARD = re.compile(r"[0-9A-Za-z._-]{0,64}")
_COMMIT = re.compile(r"([0-9a-f]{7,64})?")
_CREATED = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_FINGERPRINT = re.compile(r"SHA256:[0-9a-f]{64}")
_MD5 = re.compile(r"[0-9a-f]{32}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CORE = re.compile(r"[0-9A-Za-z._-]{1,32}")


@dataclass(frozen=True)
class Form:
    """One signed file of a release: what is sent, byte for byte.

    `kind` is "raw" or "gzip"; `blob` the SHA-256 and `md5` the MD5 of the file in hex, `size` its bytes. `image_size`
    are the bytes that eboot writes. `min_start` is the lowest flash offset at which a gzip may be staged without its
    own unpacking overtaking it (F10), 0 for raw.
    """

    kind: str
    blob: str
    size: int
    md5: str
    image_size: int
    min_start: int = 0


@dataclass(frozen=True)
class Origin:
    """What the bytes don't say about a build: `created` is UTC as `2026-01-31T12:00:00Z`, `git_commit` may be empty."""

    product: str
    version: str
    created: str
    board: str = ""
    git_commit: str = ""
    dirty: bool = False


@dataclass(frozen=True)
class Release:
    """A release, complete. `sketch_md5` is what a device that runs it reports, by flash mode 0 to 3 (F30, F30b).

    `flash_mode` and `flash_size` (bytes) are the image header's, None where it names none; `core_release` as in
    `esp8266.Esp8266Image`; `key_fingerprint` as `public_keys.fingerprint` makes it.
    """

    product: str
    version: str
    created: str
    board: str
    git_commit: str
    dirty: bool
    core_release: str | None
    flash_mode: FlashMode | None
    flash_size: int | None
    sketch_size: int
    sketch_md5: tuple[str, ...]
    key_fingerprint: str
    forms: tuple[Form, ...]

    def form(self, kind: str) -> Form | None:
        """Return the form of this kind, "raw" or "gzip", None if the release has none."""
        return next((form for form in self.forms if form.kind == kind), None)


def describe(files: Sequence[bytes], origin: Origin, keys: Sequence[RSAPublicKey]) -> Release:
    """Return the record of one build whose signed `files` are its raw form, its gzip form or both.

    Raises VerificationError when none of `keys` signed them, InputError when they are no signed images, not of the same
    build, or `origin` is out of bounds.
    """
    raise NotImplementedError


def parse(data: bytes) -> Release:
    """Return the release of a JSON record; raises InputError for anything that `serialise` does not make."""
    raise NotImplementedError


def serialise(release: Release) -> bytes:
    """Return `release` as JSON, UTF-8, keys sorted: equal releases give equal bytes."""
    raise NotImplementedError


def check_name(name: str, what: str) -> str:
    """Return `name`, of a product or channel, if it can be a URL segment and a file name; else raise InputError."""
    raise NotImplementedError


def check_version(version: str) -> str:
    """Return `version` if it can be a file name and a header value; else raise InputError."""
    raise NotImplementedError
