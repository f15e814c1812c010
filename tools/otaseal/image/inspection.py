"""All that a device or an engineer would want to know of an image file: raw, gzip, signed or none of these.

Everything is read off the bytes. Only a file too large for any flash raises: whatever else is wrong is part of the
answer, in the words with which signing refuses it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..chips import file_kinds, images
from ..chips.boot_image import FlashMode
from ..chips.esp32 import Esp32Image
from ..chips.esp8266_cores import NEWEST, SHOWN_CORES
from ..chips.families import FAMILY_OF
from ..chips.file_kinds import FileKind
from ..chips.images import Image
from ..chips.limits import MAX_IMAGE_SIZE, REBUILD
from ..chips.pico import PicoImage
from ..errors import InputError
from ..keys.public import public_pem
from ..simulator.esp32.verdict import SHOWN, STOCK, WHO, judge_file
from ..simulator.pico.verdict import SHOWN_RELEASES, judge_board
from ..simulator.trailer import AssumedKey
from ..simulator.verdict import Verdict, judge_on
from . import gzip_payload, manifest
from .firmware import GZIP_HOLDS, Firmware, check_payload
from .gzip_payload import GzipMember
from .manifest import Manifest
from .signed_image import SignedImage
from .signing import device_for

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MODE_REWRITE = "a chip writes its own mode into a raw image before it verifies"


@dataclass(frozen=True)
class Inspection:
    """What was found; None where a part is absent or cannot be read, and `problem` says why, `hint` what to do.

    `kind` is 'raw', 'gzip', 'signed raw', 'signed gzip', 'unknown', or the name of a `FileKind`, and `title` the same
    in words. `tried` are the names of the keys given, `signed_by` that of the one that fits. `identity` is that of the
    OtaSeal library in the firmware. `outcomes` has one entry a core, for a device of the image's own flash mode that
    has the key of the signature, or verifies nothing where nothing is signed; `flash_modes` says which chips of the
    newest core accept it (F7).
    """

    kind: str
    title: str
    size: int
    sha256: str
    payload_size: int
    image: Image | None
    member: GzipMember | None
    manifest: Manifest | None
    identity: Manifest | None
    signature: bytes | None
    tried: tuple[str, ...]
    signed_by: str | None
    outcomes: Mapping[str, Verdict]
    flash_modes: Mapping[FlashMode, bool]
    problem: str | None
    hint: str

    def as_dict(self) -> dict[str, Any]:
        """Return all of it in JSON's own types."""
        return {
            "kind": self.kind,
            "title": self.title,
            "size": self.size,
            "sha256": self.sha256,
            "payload_size": self.payload_size,
            "image": None if self.image is None else self.image.as_dict(),
            "gzip": None if self.member is None else _gzip_dict(self.member, self.payload_size),
            "manifest": None if self.manifest is None else self.manifest.as_dict(),
            "identity": None if self.identity is None else self.identity.as_dict(),
            "signature": None if self.signature is None else {"size": len(self.signature), "key": self.signed_by},
            "stock_cores": {core: _outcome_dict(outcome) for core, outcome in self.outcomes.items()},
            "flash_modes": {mode.name: accepted for mode, accepted in self.flash_modes.items()},
            "problem": self.problem,
            "hint": self.hint,
        }

    def lines(self, names: Sequence[str] = ()) -> list[str]:
        """Return the same for a person, one fact a line; products and boards by those of `names` that they have."""
        lines = [f"{'kind':<14}{self.title}, {self.size} bytes", f"{'sha-256':<14}{self.sha256}"]
        if self.problem:
            lines.append(f"{'problem':<14}{self.problem}")
        if self.image is not None:
            lines += self.image.lines()
        if self.member is not None:
            padded = "a multiple of 4" if self.payload_size % 4 == 0 else "no multiple of 4"
            lines.append(f"{'gzip':<14}{self.payload_size} bytes ({padded}), holds {self.member.isize}")
        if self.manifest is not None:
            lines.append(f"{'manifest':<14}{self.manifest.described(names)}")
        if self.identity is not None:
            lines.append(f"{'library':<14}OtaSeal, for {self.identity.described(names)}")
        elif self.image is not None and FAMILY_OF[self.image.chip].unverified:
            lines.append(f"{'library':<14}none: nothing in this firmware verifies the next update")
        if self.signature is not None:
            lines.append(f"{'signature':<14}{len(self.signature)} bytes, {self._key_line()}")
        lines += [
            f"{core if core in SHOWN else 'core ' + core:<14}{_outcome_line(outcome)}"
            for core, outcome in self.outcomes.items()
        ]
        refusing = [mode.name for mode, accepted in self.flash_modes.items() if not accepted]
        if refusing and len(refusing) < len(self.flash_modes):
            lines.append(f"{'flash modes':<14}chips that run in {', '.join(refusing)} refuse it: {MODE_REWRITE}")
        return lines

    def _key_line(self) -> str:
        if self.signed_by is not None:
            return f"made by key '{self.signed_by}'"
        return "made by none of the keys given" if self.tried else "not verified: give the public key with --key"


def devices(cores: Sequence[str]) -> str:
    """Return in words who takes or refuses a file: cores by their releases, an ESP32's by what takes its updates."""
    if set(cores) <= set(SHOWN):
        return ", ".join(WHO[core] for core in cores) or "none"
    return f"core {', '.join(cores)}"


def inspect(data: bytes, public_keys: Mapping[str, RSAPublicKey]) -> Inspection:
    """Return what `data` is; `public_keys` are tried by name, in order, against its signature.

    Raises InputError when `data` is over MAX_IMAGE_SIZE.
    """
    if len(data) > MAX_IMAGE_SIZE:
        raise InputError(f"{len(data)} bytes are more than {MAX_IMAGE_SIZE}", "no chip's flash can hold it")
    firmware, content = _read(data)
    signed = firmware.trailer if firmware.signed else None
    signed_by = _fitting(firmware, public_keys) if signed else None
    key = _device_key(signed, public_keys, signed_by)
    judged = content.kind in ("raw", "gzip") and content.other is None and not content.other_chip
    outcomes, flash_modes = _judged(content.parsed, key, data) if judged else ({}, {})
    return Inspection(
        kind=f"signed {content.kind}" if signed else content.kind,
        title=f"signed {content.title}" if signed else content.title,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        payload_size=len(firmware.payload),
        image=content.parsed,
        member=content.member,
        manifest=content.manifest,
        identity=content.identity,
        signature=None if signed is None else signed.signature,
        tried=tuple(public_keys),
        signed_by=signed_by,
        outcomes=outcomes,
        flash_modes=flash_modes,
        problem=content.problem,
        hint=content.hint,
    )


@dataclass
class _Content:
    """What a payload is, the fields as in `Inspection`; the first problem counts.

    `other`: what is not firmware; `other_chip`: a damaged image that begins as one for a later chip than the ESP8266.
    `whole`: a complete image, or a sound gzip of anything.
    """

    kind: str
    title: str
    other: FileKind | None = None
    other_chip: bool = False
    parsed: Image | None = None
    member: GzipMember | None = None
    manifest: Manifest | None = None
    identity: Manifest | None = None
    problem: str | None = None
    hint: str = ""
    whole: bool = False

    def blame(self, problem: str, hint: str) -> None:
        if self.problem is None:
            self.problem, self.hint = problem, hint


def _read(data: bytes) -> tuple[Firmware, _Content]:
    """Return the firmware in `data` and what it is; a payload that is damaged does not hide a trailer that is there."""
    unsigned = Firmware(data, signed=False)
    try:
        signed = Firmware(data)
        content = _content(signed)
    except InputError:
        return unsigned, _content(unsigned)
    if content.whole:
        return signed, content
    without = _content(unsigned)
    damaged = without.kind in ("raw", "gzip") and without.parsed is None
    return (signed, content) if damaged else (unsigned, without)


def _content(firmware: Firmware) -> _Content:
    """Return what the payload is; raises InputError where it is to have a trailer and has none."""
    payload = firmware.payload
    if gzip_payload.is_gzip(payload):
        return _gzip_content(firmware)
    if images.begins_as_image(payload):
        content = _Content("raw", "raw")
        _look_at(content, firmware, "this is")
        content.whole = content.parsed is not None
    else:
        content = _Content("unknown", "unknown", file_kinds.recognize(payload))
        try:
            check_payload(Firmware(payload, signed=False))
        except InputError as error:
            content.blame(error.message, error.hint)
    if content.other is not None:
        content.kind, content.title = content.other.name, content.other.title
    return content


def _gzip_content(firmware: Firmware) -> _Content:
    content = _Content("gzip", "gzip")
    try:
        content.member = firmware.member
        _ = firmware.raw
    except InputError as error:
        content.blame(error.message, error.hint)
        return content
    content.whole = True
    _look_at(content, firmware, GZIP_HOLDS)
    refusal = content.parsed and content.parsed.gzip_refusal(library=content.identity is not None)
    if refusal:
        content.blame(refusal.message, refusal.hint)
    if content.other is not None:
        content.title = f"gzip of {content.other.title}"
    return content


def _look_at(content: _Content, firmware: Firmware, subject: str) -> None:
    """Read the image into `found`: what signing refuses is a problem, and so is a wrong checksum."""
    try:
        content.parsed = firmware.image
        content.identity = firmware.identity
    except InputError as error:
        content.blame(error.message, error.hint)
    parsed = content.parsed
    if parsed is None:
        content.title, content.other = f"{content.title}, damaged", file_kinds.recognize(firmware.raw)
        content.other_chip = images.is_for_later_chip(firmware.raw)
        return
    surplus = manifest.surplus(parsed)
    if surplus is not None:
        content.blame(f"{subject} {surplus.title}", surplus.hint)
    for fault in parsed.faults():
        content.blame(fault, REBUILD)
    try:
        content.manifest = firmware.manifest
    except InputError as error:
        content.blame(error.message, error.hint)


def _fitting(firmware: Firmware, public_keys: Mapping[str, RSAPublicKey]) -> str | None:
    key = firmware.signed_by(tuple(public_keys.values()))
    return next((name for name, tried in public_keys.items() if tried is key), None)


def _judged(
    parsed: Image | None, key: bytes | AssumedKey | None, data: bytes
) -> tuple[dict[str, Verdict], dict[FlashMode, bool]]:
    """Return the verdicts of stock devices by their core, and by the flash mode that they run in, if they have one."""
    if isinstance(parsed, PicoImage):
        return {core: judge_board(core, parsed.chip, key, data) for core in SHOWN_RELEASES}, {}
    if isinstance(parsed, Esp32Image):
        asked = SHOWN if key is not None else (STOCK,)
        return {who: judge_file(who, parsed.chip, key, data) for who in asked}, {}
    device = device_for(parsed, NEWEST.name, key)
    modes = {mode: judge_on(replace(device, flash_mode=int(mode)), data).accepted for mode in FlashMode}
    return {core: judge_on(replace(device, core=core), data) for core in _cores(parsed)}, modes


def _cores(parsed: Image | None) -> tuple[str, ...]:
    """Return the cores to be asked: those that are shown always, and the one that the image was built with."""
    own = None if parsed is None else parsed.core_release
    return SHOWN_CORES if own is None or own in SHOWN_CORES else (own, *SHOWN_CORES)


def _device_key(
    signed: SignedImage | None, public_keys: Mapping[str, RSAPublicKey], signed_by: str | None
) -> bytes | AssumedKey | None:
    """Return the key of the device to judge by: the one that fits, else the first that was given.

    Where none was, that of the signature, whatever it is; None where nothing is signed.
    """
    if signed is None:
        return None
    if not public_keys:
        return AssumedKey(len(signed.signature), hashlib.sha256(signed.payload).digest())
    return public_pem(public_keys[signed_by or next(iter(public_keys))])


def _gzip_dict(member: GzipMember, size: int) -> dict[str, Any]:
    return {
        "isize": member.isize,
        "crc32": member.crc32,
        "padded": size % gzip_payload.ALIGNMENT == 0,
        "extra_size": None if member.extra is None else len(member.extra),
        "name": None if member.name is None else member.name.decode("latin-1"),
    }


def _outcome_dict(outcome: Verdict) -> dict[str, Any]:
    fields = {name: getattr(outcome, name) for name in ("accepted", "boots", "bricks", "error", "reason", "fact")}
    return {**fields, "error": outcome.error or None}


def _outcome_line(outcome: Verdict) -> str:
    if not outcome.accepted:
        verdict = f"refused, error {outcome.error}"
    elif outcome.boots:
        verdict = "accepted"
    else:
        verdict = "accepted, and BRICKED" if outcome.bricks else "accepted, without effect"
    return f"{verdict}: {outcome.reason}"
