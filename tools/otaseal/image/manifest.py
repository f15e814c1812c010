"""The manifest: 64 signed bytes that say what an image is for, and how old it is.

A stock device's signature covers neither board nor version (F11). These bytes stand inside of what is signed: at the
end of a raw payload, in the gzip header of a compressed one, and nothing that the stock cores do with either changes.
A device with the OtaSeal library takes them from the very bytes it hashes, and refuses what is not for it. The same
layout under another magic is the identity record, which the library carries in the firmware. Pure; whoever decides by
a manifest has verified the signature before.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from enum import IntEnum
from typing import Any

from ..chips import file_kinds
from ..chips.file_kinds import FileKind
from ..chips.images import Image
from ..errors import InputError, LaterFormatError, VerificationError
from ..formats import refuse_later
from . import gzip_payload
from .gzip_payload import GzipMember

MAGIC = b"OtaSealM"
IDENTITY_MAGIC = b"OtaSealI"
FORMAT = 1
SIZE = 64
ANY_FLASH_MODE = 255
ANY_BOARD = bytes(8)
SUBFIELD_ID = b"OS"
"""The gzip subfield with the manifest. It is the first: bytes 16 to 79 of the payload, where a device finds it."""
MAX_VERSION = 28
"""Characters; of a longer version the first ones are kept."""
MAX_WORD = 0xFFFF_FFFF

_LAYOUT = struct.Struct("<8sBBBBII8s8s28s")
_ID_SIZE = 8
_VERSION = re.compile(r"[ -~]*")
assert _LAYOUT.size == SIZE


class Kind(IntEnum):
    """What the payload is."""

    FIRMWARE = 0
    CERTIFICATES = 1


@dataclass(frozen=True)
class Manifest:
    """The fields as they stand in the 64 bytes; InputError where one of them cannot.

    `counter` is the security counter: a device refuses a lower one than its own. `build_time` in Unix seconds.
    `product` and `board` are ids as `name_id` makes them, ANY_BOARD fits every board. `flash_mode` is byte 2 of the
    image's header (0 to 3), or ANY_FLASH_MODE.
    """

    product: bytes
    board: bytes = ANY_BOARD
    version: str = ""
    counter: int = 0
    build_time: int = 0
    flash_mode: int = ANY_FLASH_MODE
    kind: Kind = Kind.FIRMWARE

    def __post_init__(self) -> None:
        for what, number in (("security counter", self.counter), ("build time", self.build_time)):
            if not 0 <= number <= MAX_WORD:
                raise InputError(f"{what} '{number}' is not within 0 to {MAX_WORD}", "it is an unsigned 32-bit number")
        for what, identity in (("product", self.product), ("board", self.board)):
            if len(identity) != _ID_SIZE:
                raise InputError(f"{what} id has {len(identity)} bytes", f"it has {_ID_SIZE}, as name_id makes it")
        if self.flash_mode not in (0, 1, 2, 3, ANY_FLASH_MODE):
            raise InputError(f"flash mode '{self.flash_mode}' is unknown", f"it is 0 to 3, or {ANY_FLASH_MODE} for any")
        if len(self.version) > MAX_VERSION or not _VERSION.fullmatch(self.version):
            raise InputError(
                f"version '{self.version[:80]!a}' is not usable",
                f"use at most {MAX_VERSION} printable ASCII characters",
            )

    def as_dict(self) -> dict[str, Any]:
        """Return the fields in JSON's own types, ids in hex."""
        return {
            "kind": self.kind.name.lower(),
            "product": self.product.hex(),
            "board": None if self.board == ANY_BOARD else self.board.hex(),
            "version": self.version,
            "security_counter": self.counter,
            "build_time": self.build_time,
            "flash_mode": None if self.flash_mode == ANY_FLASH_MODE else self.flash_mode,
        }

    def __str__(self) -> str:
        return self.described()

    def described(self, names: Sequence[str] = ()) -> str:
        """Return the fields for a person; a product or board that is called one of `names` by its name."""
        board = "any board" if self.board == ANY_BOARD else f"board {named(self.board, names)}"
        made = datetime.fromtimestamp(self.build_time, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        made = made if self.build_time else "at an unknown time"
        version = f"version {self.version}" if self.version else "no version"
        return (
            f"product {named(self.product, names)}, {board}, {version}, security counter {self.counter}, built {made}"
        )

    def is_for(self, product: str, board: str = "") -> bool:
        """Tell whether this is for `product` and, where both sides name one, for `board`."""
        same_board = not board or self.board in (ANY_BOARD, name_id(board))
        return self.product == name_id(product) and same_board


@dataclass(frozen=True)
class Claim:
    """What a build says of itself, in names; `board` "" is any, `build_time` in Unix seconds."""

    product: str
    board: str = ""
    version: str = ""
    counter: int = 0
    build_time: int = 0


def make(claim: Claim, flash_mode: int | None = None) -> Manifest:
    """Return the manifest of `claim`, for firmware; raises InputError for what does not fit in its fields."""
    return Manifest(
        product=name_id(claim.product),
        board=name_id(claim.board) if claim.board else ANY_BOARD,
        version=claim.version[:MAX_VERSION],
        counter=claim.counter,
        build_time=claim.build_time,
        flash_mode=ANY_FLASH_MODE if flash_mode is None else flash_mode,
    )


def name_id(name: str) -> bytes:
    """Return the id of a product or board: the first 8 bytes of SHA-256 over its name in UTF-8."""
    return hashlib.sha256(name.encode()).digest()[:_ID_SIZE]


def named(identity: bytes, names: Sequence[str]) -> str:
    """Return that of `names`, quoted, which has this id; else the id in hex: a name cannot be had from it."""
    return next((f"'{name}'" for name in names if name_id(name) == identity), identity.hex())


def serialise(manifest: Manifest, magic: bytes = MAGIC) -> bytes:
    """Return the 64 bytes of `manifest`; with IDENTITY_MAGIC the identity record."""
    version = manifest.version.encode("ascii")
    head = (magic, FORMAT, manifest.kind, manifest.flash_mode, 0, manifest.counter, manifest.build_time)
    return _LAYOUT.pack(*head, manifest.product, manifest.board, version)


def parse(data: bytes, magic: bytes = MAGIC) -> Manifest:
    """Return the manifest in these 64 bytes; raises InputError for anything that `serialise` does not make."""
    if len(data) != SIZE or data[: len(magic)] != magic:
        raise InputError(f"{len(data)} bytes are no manifest", f"it has {SIZE} and begins with {magic.decode()}")
    _, layout, kind, mode, reserved, counter, time, product, board, text = _LAYOUT.unpack(data)
    refuse_later(layout, FORMAT, f"the manifest of format '{layout}'")
    if layout != FORMAT:
        raise _damaged(f"format {layout}")
    if reserved == 0:
        refuse_later(kind, max(Kind), f"the manifest of kind '{kind}'")
    if kind not in tuple(Kind) or reserved:
        raise _damaged(f"kind {kind} and reserved byte {reserved}")
    try:
        manifest = Manifest(product, board, text.rstrip(b"\0").decode("latin-1"), counter, time, mode, Kind(kind))
    except InputError as error:
        raise _damaged(error.message) from error
    return manifest


def attach(payload: bytes, manifest: Manifest, member: GzipMember | None = None) -> bytes:
    """Return `payload`, raw or one gzip member, with `manifest` where devices look for it, and padded for them (F8).

    `member` is what a gzip was parsed to, if it was.
    Raises InputError when there is one already, or a gzip header that cannot be read or has no room.
    """
    member = _member(payload, member)
    if find(payload, member) is not None:
        raise InputError("the payload has a manifest already", "sign the original firmware.bin")
    if member is None:
        return payload + serialise(manifest)
    others = tuple(pair for pair in member.subfields() if pair[0] != gzip_payload.PADDING_ID)
    member = replace(member, extra=b"").with_subfield(SUBFIELD_ID, serialise(manifest))
    for identity, content in others:
        member = member.with_subfield(identity, content)
    return gzip_payload.pad4(gzip_payload.serialise(member), member)


def find(payload: bytes, member: GzipMember | None = None) -> Manifest | None:
    """Return the manifest of an unsigned `payload`, None if it has none.

    `member` is what a gzip was parsed to, if it was.
    Raises InputError for one that is damaged, or in a gzip not where devices look for it.
    """
    member = _member(payload, member)
    if member is None:
        last = payload[-SIZE:]
        return parse(last) if last.startswith(MAGIC) else None
    subfields = member.subfields()
    ours = [position for position, (identity, _) in enumerate(subfields) if identity == SUBFIELD_ID]
    if not ours:
        return None
    if ours != [0]:
        raise _damaged("another place than the first in the gzip header, or a second one")
    return parse(subfields[0][1])


def _member(payload: bytes, member: GzipMember | None) -> GzipMember | None:
    return gzip_payload.parse(payload) if member is None and gzip_payload.is_gzip(payload) else member


def surplus(parsed: Image) -> FileKind | None:
    """Return what an image is that has more behind its application than a manifest, None for one that has not."""
    tail = parsed.tail
    if bytes(tail[-SIZE : -SIZE + len(MAGIC)]) == MAGIC:
        tail = tail[:-SIZE]
    return file_kinds.behind(tail, parsed.sketch_size) if len(tail) else None


def identity(image: bytes) -> Manifest | None:
    """Return the identity record that the uncompressed `image` carries: that of the OtaSeal library, None without it.

    Raises InputError when it carries two that differ, LaterFormatError when it carries only one of a later format.
    """
    found, later, position = set(), None, image.find(IDENTITY_MAGIC)
    while position >= 0:
        try:  # the eight bytes alone may stand in code that looks for them
            found.add(parse(image[position : position + SIZE], IDENTITY_MAGIC))
        except LaterFormatError as error:
            later = error
        except InputError:
            pass
        position = image.find(IDENTITY_MAGIC, position + 1)
    if len(found) > 1:
        raise InputError(f"the firmware has {len(found)} identities that differ", "build it anew, from one environment")
    if later is not None and not found:
        raise LaterFormatError(later.what.replace("manifest", "identity record"))
    return found.pop() if found else None


def check_identity(own: Manifest | None, attached: Manifest | None, names: Sequence[str] = ()) -> None:
    """Hold the `attached` manifest against the firmware's `own` identity; None: the firmware has no OtaSeal library.

    `names` are those of products and boards that messages may say. Raises InputError where devices with the library
    would find no manifest, VerificationError where the two differ.
    """
    if own is None:
        return
    if attached is None:
        raise InputError(
            "the firmware has the OtaSeal library and no manifest: devices with the library refuse it",
            "sign it with custom_otaseal_product, or --product",
        )
    for what, there, here in (
        ("product", named(own.product, names), named(attached.product, names)),
        ("board", named(own.board, names), named(attached.board, names)),
        ("security counter", f"'{own.counter}'", f"'{attached.counter}'"),
        ("version", f"'{own.version}'", f"'{attached.version}'"),
    ):
        if there != here and "''" not in (there, here):  # no version says nothing
            raise VerificationError(
                f"the firmware was compiled for {what} {there}, and is signed for {here}",
                "build and sign it with the same custom_otaseal_ options, or give the same --product, --board, "
                "--version and --security-counter",
            )


def check_release(attached: Manifest | None, product: str, version: str, board: str, flash_mode: int | None) -> None:
    """Raise InputError if a release is said to be something else than its signed manifest says, which devices go by.

    `board` "" is not said; `flash_mode` is that of the image's header.
    """
    if attached is None:
        return
    if attached.kind is not Kind.FIRMWARE:
        raise InputError("the manifest is that of a certificate archive", "deploy the firmware's own signed file")
    if not attached.is_for(product):
        raise InputError(
            f"the manifest is for another product than '{product}' (id {attached.product.hex()})",
            "deploy it to its own product, or sign it with that one's custom_otaseal_product",
        )
    if not attached.is_for(product, board):
        raise InputError(
            f"the manifest is for another board than '{board}' (id {attached.board.hex()})",
            "deploy it as the board it was signed for, or sign it for that board",
        )
    if attached.version not in ("", version[:MAX_VERSION]):
        raise InputError(
            f"the manifest is for version '{attached.version}', and the release is called '{version}'",
            f"deploy it as '{attached.version}', or build and sign it again as '{version}'",
        )
    if attached.flash_mode not in (ANY_FLASH_MODE, flash_mode):
        raise InputError(
            f"the manifest says flash mode {attached.flash_mode}, the image's header {flash_mode}",
            "build and sign it again",
        )


def _damaged(what: str) -> InputError:
    return InputError(f"manifest has {what}", "the file is damaged: build and sign it again")
