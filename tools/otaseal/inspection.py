"""All that a device or an engineer would want to know of an image file: raw, gzip, signed or none of these.

Everything is read off the bytes. Only a file too large for any flash raises: whatever else is wrong is part of the
answer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from . import esp8266, gzip_payload, image, manifest, stock_core
from .errors import InputError, VerificationError
from .esp8266 import Esp8266Image, FlashMode
from .esp8266_cores import NEWEST
from .gzip_payload import GzipMember
from .image import SignedImage
from .manifest import Manifest
from .stock_core import Outcome, StockDevice

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["Inspection", "inspect"]

SHOWN_CORES = ("2.7.4", "3.0.2", "3.1.2", "head")
"""The newest release of each series and the development branch: what devices in the field have."""
MODE_REWRITE = "a chip writes its own mode into a raw image before it verifies"
LITTLEFS_MAGIC = (8, b"littlefs")  # offset in the first block, after revision and tag


@dataclass(frozen=True)
class Inspection:
    """What was found; None where a part is absent or cannot be read, and `problem` says why.

    `kind` is 'raw', 'gzip', 'signed raw', 'signed gzip', 'littlefs' or 'unknown'. `signed_by` is the name of the key
    that fits. `identity` is that of the OtaSeal library in the firmware. `outcomes` has one entry a core release, for
    a device of the image's own flash mode that trusts the fitting key, or verifies nothing where nothing is signed;
    `flash_modes` says which chips of core 3.1.2 accept it (F7).
    """

    kind: str
    size: int
    sha256: str
    payload_size: int
    image: Esp8266Image | None
    member: GzipMember | None
    manifest: Manifest | None
    identity: Manifest | None
    signature: bytes | None
    signed_by: str | None
    outcomes: Mapping[str, Outcome]
    flash_modes: Mapping[FlashMode, bool]
    problem: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return all of it in JSON's own types."""
        return {
            "kind": self.kind,
            "size": self.size,
            "sha256": self.sha256,
            "payload_size": self.payload_size,
            "image": None if self.image is None else _image_dict(self.image),
            "gzip": None if self.member is None else _gzip_dict(self.member, self.payload_size),
            "manifest": None if self.manifest is None else self.manifest.as_dict(),
            "identity": None if self.identity is None else self.identity.as_dict(),
            "signature": None if self.signature is None else {"size": len(self.signature), "key": self.signed_by},
            "stock_cores": {core: asdict(outcome) for core, outcome in self.outcomes.items()},
            "flash_modes": {mode.name: accepted for mode, accepted in self.flash_modes.items()},
            "problem": self.problem,
        }

    def lines(self) -> list[str]:
        """Return the same for a person, one fact a line."""
        lines = [f"{'kind':<14}{self.kind}, {self.size} bytes", f"{'sha-256':<14}{self.sha256}"]
        if self.problem:
            lines.append(f"{'problem':<14}{self.problem}")
        if self.image is not None:
            lines += _image_lines(self.image)
        if self.member is not None:
            padded = "a multiple of 4" if self.payload_size % 4 == 0 else "no multiple of 4"
            lines.append(f"{'gzip':<14}{self.payload_size} bytes ({padded}), holds {self.member.isize}")
        if self.manifest is not None:
            lines.append(f"{'manifest':<14}{self.manifest}")
        if self.identity is not None:
            lines.append(f"{'library':<14}OtaSeal, for {self.identity}")
        if self.signature is not None:
            lines.append(f"{'signature':<14}{len(self.signature)} bytes, {self._key_line()}")
        lines += [f"{'core ' + core:<14}{_outcome_line(outcome)}" for core, outcome in self.outcomes.items()]
        refusing = [mode.name for mode, accepted in self.flash_modes.items() if not accepted]
        if refusing and len(refusing) < len(self.flash_modes):
            lines.append(f"{'flash modes':<14}chips that run in {', '.join(refusing)} refuse it: {MODE_REWRITE}")
        return lines

    def _key_line(self) -> str:
        return "made by none of the keys given" if self.signed_by is None else f"made by key '{self.signed_by}'"


def inspect(data: bytes, public_keys: Mapping[str, RSAPublicKey]) -> Inspection:
    """Return what `data` is; `public_keys` are tried by name, in order, against its signature.

    Raises InputError when `data` is over MAX_IMAGE_SIZE.
    """
    if len(data) > image.MAX_IMAGE_SIZE:
        raise InputError(f"{len(data)} bytes are more than {image.MAX_IMAGE_SIZE}", "no ESP8266 flash can hold it")
    signed = _signed(data)
    payload = data if signed is None else signed.payload
    kind, parsed, member, problem = _read(payload)
    attached, own, unreadable = _marks(payload, parsed)
    signed_by = _fitting(data, public_keys) if signed else None
    key = _judging_key(signed is not None, signed_by, public_keys)
    known = kind in ("raw", "gzip")
    return Inspection(
        kind=f"signed {kind}" if signed else kind,
        size=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        payload_size=len(payload),
        image=parsed,
        member=member,
        manifest=attached,
        identity=own,
        signature=None if signed is None else signed.signature,
        signed_by=signed_by,
        outcomes={core: stock_core.judge(data, _device(core, key, parsed)) for core in _cores(parsed) if known},
        flash_modes={
            mode: stock_core.judge(data, _device(NEWEST.name, key, parsed, mode)).accepted
            for mode in FlashMode
            if known
        },
        problem=problem or unreadable,
    )


def _signed(data: bytes) -> SignedImage | None:
    """Return payload and signature; a payload that is damaged does not hide a trailer that is there."""
    try:
        signed = image.parse(data)
    except InputError:
        return None
    _, _, _, problem = _read(data)
    return signed if image.is_signed(data) or (problem and data[0] in image.FIRST_BYTES) else None


def _read(payload: bytes) -> tuple[str, Esp8266Image | None, GzipMember | None, str | None]:
    """Return kind, image, gzip member and what is wrong with them."""
    offset, magic = LITTLEFS_MAGIC
    if payload[offset : offset + len(magic)] == magic:
        return "littlefs", None, None, None
    if payload[:1] == bytes([esp8266.MAGIC]):
        parsed, problem = _try_image(payload)
        return "raw", parsed, None, problem
    if not gzip_payload.is_gzip(payload):
        return "unknown", None, None, "neither an ESP8266 image nor a gzip"
    member = None
    try:
        member = gzip_payload.parse(payload)
        content = gzip_payload.check_single_member(payload)
    except InputError as error:
        return "gzip", None, member, error.message
    parsed, problem = _try_image(content)
    return "gzip", parsed, member, problem


def _marks(payload: bytes, parsed: Esp8266Image | None) -> tuple[Manifest | None, Manifest | None, str | None]:
    """Return the manifest, the identity record of the firmware, and what is wrong with either."""
    attached = None
    try:
        attached = manifest.find(payload)
        own = None if parsed is None else manifest.identity(bytes(parsed.data))
    except InputError as error:
        return attached, None, error.message
    return attached, own, None


def _try_image(content: bytes) -> tuple[Esp8266Image | None, str | None]:
    try:
        return esp8266.parse(content), None
    except InputError as error:
        return None, error.message


def _fitting(data: bytes, public_keys: Mapping[str, RSAPublicKey]) -> str | None:
    for name, key in public_keys.items():
        try:
            image.verify(data, key)
        except VerificationError:
            continue
        return name
    return None


def _cores(parsed: Esp8266Image | None) -> tuple[str, ...]:
    """Return the cores to be asked: those that are shown always, and the one that the image was built with."""
    own = None if parsed is None else parsed.core_release
    return SHOWN_CORES if own is None or own in SHOWN_CORES else (own, *SHOWN_CORES)


def _judging_key(signed: bool, signed_by: str | None, public_keys: Mapping[str, RSAPublicKey]) -> RSAPublicKey | None:
    """Return the key of the device to judge by: the one that fits, else the first; none for what is not signed."""
    if signed_by is not None:
        return public_keys[signed_by]
    return next(iter(public_keys.values()), None) if signed else None


def _device(
    core: str, key: RSAPublicKey | None, parsed: Esp8266Image | None, mode: FlashMode | None = None
) -> StockDevice:
    own = parsed.flash_mode if parsed is not None and parsed.flash_mode is not None else FlashMode.DIO
    size = parsed.flash_size if parsed is not None else None
    return StockDevice(core, key, own if mode is None else mode, size or esp8266.FLASH_SIZES[4])


def _image_dict(parsed: Esp8266Image) -> dict[str, Any]:
    mode = parsed.flash_mode
    return {
        "core_release": parsed.core_release,
        "flash_mode": None if mode is None else mode.name,
        "flash_size": parsed.flash_size,
        "flash_frequency_mhz": parsed.flash_frequency,
        "entry": parsed.app.entry,
        "segments": [{"address": segment.address, "size": len(segment.data)} for segment in parsed.app.segments],
        "boot_checksum_ok": parsed.boot_checksum_ok,
        "app_checksum_ok": parsed.app_checksum_ok,
        "crc_ok": parsed.crc_ok,
        "sketch_size": parsed.sketch_size,
        "sketch_md5": {mode.name: digest for mode, digest in parsed.sketch_md5s().items()},
        "bytes_behind": len(parsed.tail),
    }


def _gzip_dict(member: GzipMember, size: int) -> dict[str, Any]:
    return {
        "isize": member.isize,
        "crc32": member.crc32,
        "padded": size % gzip_payload.ALIGNMENT == 0,
        "extra_size": None if member.extra is None else len(member.extra),
        "name": None if member.name is None else member.name.decode("latin-1"),
    }


def _image_lines(parsed: Esp8266Image) -> list[str]:
    mode = "unknown" if parsed.flash_mode is None else parsed.flash_mode.name
    size = "unknown size" if parsed.flash_size is None else f"{parsed.flash_size // 1024} KiB"
    frequency = "unknown frequency" if parsed.flash_frequency is None else f"{parsed.flash_frequency} MHz"
    sums = [("boot", parsed.boot_checksum_ok), ("application", parsed.app_checksum_ok), ("CRC", parsed.crc_ok)]
    return [
        f"{'core release':<14}{parsed.core_release or 'unknown'}",
        f"{'flash':<14}{mode}, {size}, {frequency}",
        f"{'checksums':<14}" + ", ".join(f"{name} {'ok' if good else 'WRONG'}" for name, good in sums),
        f"{'sketch size':<14}{parsed.sketch_size} bytes",
        *(f"{'sketch md5':<14}{digest} ({mode.name})" for mode, digest in parsed.sketch_md5s().items()),
    ]


def _outcome_line(outcome: Outcome) -> str:
    if not outcome.accepted:
        verdict = f"refused, error {outcome.error}"
    elif outcome.boots:
        verdict = "accepted"
    else:
        verdict = "accepted, and BRICKED" if outcome.bricks else "accepted, without effect"
    return f"{verdict}: {outcome.reason}"
