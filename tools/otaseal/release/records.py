"""The release record: what a server has to know of a signed firmware to answer devices without reading it.

A release is one product under one version: an image for one board, or one for each of several, in one or two forms:
raw, gzip, or both, so that every core release can be given what it takes (F8b). A record is made from the signed bytes
themselves, whose signature is verified first. Where records and bytes are kept is not known here.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from ..chips.boot_image import FlashMode
from ..chips.esp8266 import SECTOR, sectors
from ..errors import InputError, VerificationError
from ..image import manifest
from ..image.firmware import Firmware
from ..image.manifest import Manifest
from ..keys import public
from ..names import check_name
from .record_fields import BOARD, KINDS, RELEASE, VERSION, check_values

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAX_BOARDS = 16
SHARED = ("product", "version", "created", "git_commit", "dirty")
_SAME = (*SHARED, "key_fingerprint", "security_counter")
"""What all images of a release have in common."""


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
    """A release, complete: the image for one board, and the `others`, which have none themselves, sorted by board.

    `sketch_md5` is what a device that runs it reports: of an ESP8266 by flash mode 0 to 3.

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
    others: tuple[Release, ...] = ()

    @cached_property
    def images(self) -> tuple[Release, ...]:
        """The image of each board, as a release for this board alone."""
        return (replace(self, others=()), *self.others) if self.others else (self,)

    @cached_property
    def runs(self) -> tuple[str, ...]:
        """What tells that a device runs this: its sketch MD5s, or its version where the core says no MD5 (F57)."""
        if self.others:
            return tuple(dict.fromkeys(name for image in self.images for name in image.runs))
        return self.sketch_md5 or (running_version(self.version),)

    @property
    def files(self) -> tuple[Form, ...]:
        """Every signed file of every board."""
        return tuple(form for image in self.images for form in image.forms)

    @cached_property
    def board_key(self) -> str | None:
        """The board's id in hex, by the manifest or the name; None where neither names one."""
        return board_key(self.board_id, self.board)

    def for_board(self, key: str | None) -> Release | None:
        """Return the image of the board with this `board_key`, None if there is none; one without a key fits any.

        Without a `key` the only image.
        """
        if key is None:
            return None if self.others else self
        return next((image for image in self.images if image.board_key in (key, None)), None)

    def form(self, kind: str) -> Form | None:
        """Return the form of this kind, "raw" or "gzip", None if the release has none."""
        return next((form for form in self.forms if form.kind == kind), None)


def board_key(board_id: str | None, name: str) -> str | None:
    """Return the id of a board in hex, by its manifest or its name; None for any board, or one that nothing names."""
    if board_id is not None and board_id != manifest.ANY_BOARD.hex():
        return board_id
    return manifest.name_id(name).hex() if name else None


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
    _check_origin(origin)
    described = [_describe_file(firmware, keys) for firmware in files]
    forms = _forms_of_one_build(described)
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
    check_values({name: value for name, value in asdict(release).items() if name != "others"}, RELEASE)
    return release


def _check_origin(origin: Origin) -> None:
    """Raise InputError for a product, a version or a board that cannot be one."""
    check_name(origin.product, "product")
    check_version(origin.version)
    if not BOARD.fullmatch(origin.board):
        raise InputError(f"board '{origin.board}' is not a valid name", "give PlatformIO's name of it, as in nodemcuv2")


def _forms_of_one_build(described: Sequence[_Described]) -> tuple[Form, ...]:
    """Return the forms in the order of KINDS; raises InputError where they are not of one build, or two of one kind."""
    facts = [description.facts for description in described]
    forms = tuple(sorted((description.form for description in described), key=lambda form: KINDS.index(form.kind)))
    if any(fact != facts[0] for fact in facts) or len({form.kind for form in forms}) != len(forms):
        raise InputError("the files are not the raw and the gzip form of one build", "sign both from one firmware.bin")
    return forms


def combine(images: Sequence[Release]) -> Release:
    """Return the release of all `images`, one for each board.

    Raises InputError where devices could not tell them apart, or where they differ in what has to be the same.
    """
    first, *others = sorted(images, key=lambda image: (image.board, image.board_key or ""))
    if not others:
        return first
    for one, other in itertools.combinations((first, *others), 2):
        if None in (one.board_key, other.board_key) or one.board_key == other.board_key:
            raise InputError(f"board '{one.board or one.board_key}' has two images", "give one for each board")
        _check_same(other, one)
        if set(one.sketch_md5) & set(other.sketch_md5):
            raise InputError(
                f"the images for '{one.board}' and '{other.board}' are the same, and devices could not be told apart",
                "build them with the OtaSeal library, or give one image to both as a release for any board",
            )
    return replace(first, others=tuple(others))


def _check_same(image: Release, first: Release) -> None:
    """Raise InputError where the images of two boards differ in what has to be the same."""
    for what in _SAME:
        if getattr(image, what) != getattr(first, what):
            raise InputError(
                f"the images of one release differ in {what.replace('_', ' ')}: '{getattr(first, what)}' for "
                f"'{first.board}', '{getattr(image, what)}' for '{image.board}'",
                "build all of them from one commit, with the same options",
            )


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
