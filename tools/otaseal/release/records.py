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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..chips import esp8266
from ..chips.boot_image import FlashMode
from ..chips.esp8266 import SECTOR, sectors
from ..chips.families import FAMILY_OF
from ..chips.limits import MAX_IMAGE_SIZE
from ..errors import InputError, LaterFormatError, VerificationError
from ..image import manifest, signing_header
from ..image.firmware import Firmware
from ..image.manifest import Manifest
from ..keys import public
from ..names import NAME, check_name
from . import fields

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

FORMAT = 3
"""Of a record with a chip; what is for the ESP8266 is written as it was before there were others, in format 2."""
OLDEST_FORMAT = 1
MAX_RECORD_SIZE = 16 * 1024
"""Bytes of one record: several times what the longest allowed values make."""
KINDS = ("raw", "gzip")

VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+~-]{0,63}")
_BOARD = re.compile(r"[0-9A-Za-z._-]{0,64}")


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

    def fits(self, running_size: int, fs_start: int) -> bool:
        """Tell whether a device that runs a sketch of `running_size` bytes can stage and unpack this form.

        `fs_start` is the filesystem's offset in flash. The update is staged as high as possible below it and must not
        reach the running sketch (F10); a gzip's content must not reach the filesystem or the gzip not yet unpacked.
        """
        start = fs_start - sectors(self.size)
        return start >= max(sectors(running_size), self.min_start) and sectors(self.image_size) <= fs_start


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
    """A release, complete. `sketch_md5` is what a device that runs it reports: of an ESP8266 by flash mode 0 to 3.

    `flash_mode` and `flash_size` (bytes) are the image header's, None where it names none; `core_release` as in
    `esp8266.Esp8266Image`; `key_fingerprint` as `keys.public.fingerprint` makes it. `filesystem` are offset in
    flash and bytes of the one in which an update is staged, None for chips that stage it elsewhere.

    Of the manifest: `security_counter`, and `board_id` in hex; None without one. `embedded_keys` are the fingerprints
    of the public keys in the firmware, None where the record is older than that field (format 1); `library` tells
    whether the firmware has the OtaSeal library, which goes by manifests.
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
    security_counter: int | None = None
    board_id: str | None = None
    embedded_keys: tuple[str, ...] | None = None
    library: bool = False
    chip: str = "esp8266"
    filesystem: tuple[int, int] | None = None

    @property
    def runs(self) -> tuple[str, ...]:
        """What tells that a device runs this: its sketch MD5s, or its version where the core says no MD5 (F57)."""
        return self.sketch_md5 or (running_version(self.version),)

    def form(self, kind: str) -> Form | None:
        """Return the form of this kind, "raw" or "gzip", None if the release has none."""
        return next((form for form in self.forms if form.kind == kind), None)


def running_version(version: str) -> str:
    """Return what stands for a sketch MD5 where a device says its version only."""
    return f"version:{version}"


def describe(files: Sequence[Firmware], origin: Origin, keys: Sequence[RSAPublicKey]) -> Release:
    """Return the record of one build whose signed `files` are its raw form, its gzip form or both.

    Raises VerificationError when none of `keys` signed them, or the firmware says something else of itself than its
    manifest; InputError when they are no signed images or not of the same build, when `origin` is out of bounds, or
    when it says something else than the manifest.
    """
    if not 1 <= len(files) <= len(KINDS):
        raise InputError(
            f"a release has one or two files, not {len(files)}", "give its raw form, its gzip form or both"
        )
    check_name(origin.product, "product")
    check_version(origin.version)
    if not _BOARD.fullmatch(origin.board):
        raise InputError(f"board '{origin.board}' is not a valid name", "give PlatformIO's name of it, as in nodemcuv2")
    described = [_describe_file(firmware, keys) for firmware in files]
    facts = [description.facts for description in described]
    forms = tuple(sorted((description.form for description in described), key=lambda form: KINDS.index(form.kind)))
    if any(fact != facts[0] for fact in facts) or len({form.kind for form in forms}) != len(forms):
        raise InputError("the files are not the raw and the gzip form of one build", "sign both from one firmware.bin")
    firmware = files[0]
    parsed, attached, own = firmware.image, firmware.manifest, firmware.identity
    manifest.check_release(attached, origin.product, origin.version, origin.board, parsed.flash_mode)
    manifest.check_identity(own, attached, (origin.product, origin.board))
    release = Release(
        **asdict(origin),
        core_release=parsed.core_release,
        flash_mode=parsed.flash_mode,
        flash_size=parsed.flash_size,
        sketch_size=parsed.sketch_size,
        sketch_md5=parsed.sketch_digests(),
        key_fingerprint=described[0].fingerprint,
        forms=forms,
        security_counter=None if attached is None else attached.counter,
        board_id=None if attached is None else attached.board.hex(),
        embedded_keys=firmware.embedded_keys,
        library=own is not None,
        chip=parsed.chip,
        filesystem=None if parsed.filesystem is None else (parsed.filesystem.start, parsed.filesystem.size),
    )
    _check_values(asdict(release), _RELEASE)
    return release


def parse(data: bytes) -> Release:
    """Return the release of a JSON record; raises InputError for anything that `serialise` does not make.

    LaterFormatError, which is one, for the record of a later otaseal.
    """
    if len(data) > MAX_RECORD_SIZE:
        raise _damaged(f"{len(data)} bytes, more than {MAX_RECORD_SIZE}")
    try:
        values = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged("no JSON") from error
    written = values.pop("format", None) if isinstance(values, dict) else None
    if type(written) is int and written > FORMAT:
        raise LaterFormatError("the release record")
    if type(written) is not int or not OLDEST_FORMAT <= written <= FORMAT:
        raise _damaged(f"no object of format {OLDEST_FORMAT} to {FORMAT}")
    _check_values(values, _FORMATS[written])
    for form in values["forms"]:
        _check_values(form, _FORM)
    values["forms"] = tuple(Form(**form) for form in values["forms"])
    values["flash_mode"] = None if values["flash_mode"] is None else FlashMode(values["flash_mode"])
    for name in {"sketch_md5", "embedded_keys", "filesystem"} & set(values):
        values[name] = None if values[name] is None else tuple(values[name])
    release = Release(**values)
    if serialise(release) != data:  # a key given twice, another order or spelling: not written by us
        raise _damaged("not the one way to write it")
    return release


def from_json(value: object) -> Release:
    """Return the release of a record that came inside of other JSON; raises as `parse` does."""
    return parse((json.dumps(value, indent=2, sort_keys=True) + "\n").encode())


def serialise(release: Release) -> bytes:
    """Return `release` as JSON, UTF-8, keys sorted: equal releases give equal bytes.

    Each is written in the oldest format that has its fields: records never change.
    """
    written = OLDEST_FORMAT if release.embedded_keys is None else 2
    written = written if release.chip == Release.chip else FORMAT
    values = asdict(release)
    values = {"format": written, **{name: values[name] for name in _FORMATS[written]}}
    return (json.dumps(values, indent=2, sort_keys=True) + "\n").encode()


def manifest_of(signed: Firmware) -> Manifest | None:
    """Return the manifest of a `signed` file, None where there is none to be read; the signature is not looked at."""
    try:
        return signed.manifest if signed.signed else None
    except InputError:
        return None  # whoever admits the file says what is wrong with it


def check_version(version: str) -> str:
    """Return `version` if it can be a file name and a header value; else raise InputError."""
    if not VERSION.fullmatch(version):
        raise InputError(
            f"version '{version[:80]}' is not usable",
            "use 1 to 64 of A-Z, a-z, 0-9, '.', '_', '+', '~' and '-', a letter or digit first",
        )
    return version


@dataclass(frozen=True)
class _Described:
    """One file of a release, and what has to be the same in the other one."""

    form: Form
    fingerprint: str
    facts: tuple[object, ...]


def _describe_file(firmware: Firmware, keys: Sequence[RSAPublicKey]) -> _Described:
    key = firmware.signed_by(keys)
    if key is None:
        known = ", ".join(public.short_fingerprint(key) for key in keys) or "none"
        raise VerificationError(
            f"none of the product's {len(keys)} public keys made this signature",
            f"sign with one of its keys ({known}), or register the new public key first",
        )
    form = Form(
        kind="raw" if firmware.member is None else "gzip",
        blob=hashlib.sha256(firmware.data).hexdigest(),
        size=len(firmware.data),
        md5=hashlib.md5(firmware.data, usedforsecurity=False).hexdigest(),
        image_size=len(firmware.raw),
        min_start=0 if firmware.member is None else _min_start(firmware.payload, firmware.member.deflate),
    )
    sketch = firmware.image.sketch_digests() or firmware.sketch
    attached, fingerprint = firmware.manifest, public.fingerprint(key)
    # Signed at another time, a build is still the same.
    timeless = None if attached is None else replace(attached, build_time=0)
    return _Described(form, fingerprint, (sketch, fingerprint, timeless))


def _min_start(payload: bytes, deflate: bytes) -> int:
    """Return the lowest offset to stage the gzip at, so that eboot never writes over what it has yet to read (F10).

    It reads a sector, writes the whole sectors that come out, and goes on: the lead of the writing over the reading is
    what the gzip must lie further up.
    """
    position = len(payload) - len(deflate) - 8  # behind the header, before CRC and size
    stream, written, lead = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0
    for end in range(SECTOR, len(payload), SECTOR):
        written += len(stream.decompress(payload[position : max(position, end)]))
        position = max(position, end)
        if stream.eof:
            break
        lead = max(lead, written // SECTOR * SECTOR - end)
    return lead


def _is_time(value: Any) -> bool:
    if not fields.text(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")(value):
        return False
    try:
        datetime.strptime(value, "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        return False
    return True


_SIZE, _PLACE = fields.number(1, MAX_IMAGE_SIZE), fields.number(0, MAX_IMAGE_SIZE)
_FORM: Mapping[str, fields.Check] = {
    "kind": lambda value: value in KINDS,
    "blob": fields.SHA256,
    "size": _SIZE,
    "md5": fields.MD5,
    "image_size": _SIZE,
    "min_start": _PLACE,
}

_RELEASE: Mapping[str, fields.Check] = {
    "product": fields.text(NAME.pattern),
    "version": fields.text(VERSION.pattern),
    "created": _is_time,
    "board": fields.text(_BOARD.pattern),
    "git_commit": fields.text(r"([0-9a-f]{7,64})?"),
    "dirty": lambda value: isinstance(value, bool),
    "core_release": fields.optional(fields.text(r"[0-9A-Za-z._+-]{1,32}")),
    "flash_mode": lambda value: value is None or (not isinstance(value, bool) and value in tuple(FlashMode)),
    "flash_size": lambda value: value is None or (_SIZE(value) and value in esp8266.FLASH_SIZES.values()),
    "sketch_size": _SIZE,
    "sketch_md5": fields.sequence([0, 1, len(FlashMode)], fields.MD5),
    "key_fingerprint": fields.FINGERPRINT,
    "forms": fields.sequence([1, 2], lambda form: isinstance(form, dict)),
    "security_counter": fields.optional(fields.number(0, manifest.MAX_WORD)),
    "board_id": fields.optional(fields.text(r"[0-9a-f]{16}")),
    "embedded_keys": fields.sequence(range(signing_header.MAX_KEYS + 1), fields.FINGERPRINT),
    "library": lambda value: isinstance(value, bool),
    "chip": lambda value: value in FAMILY_OF,
    "filesystem": fields.optional(fields.sequence([2], _PLACE)),
}

_SINCE_3, _SINCE_2 = {"chip", "filesystem"}, {"security_counter", "board_id", "embedded_keys", "library"}
_RELEASE_2 = {name: check for name, check in _RELEASE.items() if name not in _SINCE_3}
_RELEASE_2["sketch_md5"] = fields.sequence([len(FlashMode)], fields.MD5)
_RELEASE_1 = {name: check for name, check in _RELEASE_2.items() if name not in _SINCE_2}
_FORMATS = {1: _RELEASE_1, 2: _RELEASE_2, 3: _RELEASE}


def _check_values(values: Mapping[str, Any], table: Mapping[str, fields.Check]) -> None:
    """Raise InputError unless `values` has exactly the keys of `table`, each with a value that its check takes."""
    for name in (*table, *values):
        if name not in values or name not in table:
            raise _damaged(f"{'an unknown' if name in values else 'no'} field '{name[:80]}'")
        if not table[name](values[name]):
            raise _damaged(f"{name} '{str(values[name])[:80]}'")


def _damaged(what: str) -> InputError:
    return InputError(f"release record has {what}", "restore it from a backup")
