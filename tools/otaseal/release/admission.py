"""What may become a release: checked by `deploy` before the upload and by the server after it, by the same code.

The server has public keys only. Files come in as they would be sent, and are refused by name: unsigned, cut short,
signed twice, signed by a stranger, fit for no device, of another product or board by name or by manifest, of another
flash layout than the release before, too large, or older than it, by version or by security counter. What is admitted
comes back as its record; whom it would strand, `stranding` says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..chips import file_kinds, pico
from ..chips.families import FAMILY_OF
from ..errors import InputError, VerificationError
from ..image import manifest, signing
from ..image.firmware import Firmware, is_signed
from ..keys import public
from . import records
from .records import Origin, Release

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_DESCRIBED = re.compile(r"(.+)-([0-9]+)-g[0-9a-f]{4,40}")
_NUMBERS = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_COMMIT = re.compile(r"(?=[0-9]*[a-f])[0-9a-f]{7,40}")  # all digits: more likely a date
_PART = re.compile(r"[0-9]+|[A-Za-z]+")


@dataclass(frozen=True)
class Policy:
    """What a product accepts.

    `keys` are its public keys; `boards` the boards it is built for (none: any); `max_size` bytes a file may have;
    `fs_start` the filesystem's offset in flash (None: space is not judged). `allow_downgrade` lets an older version
    follow, for this once.
    """

    product: str
    keys: Sequence[RSAPublicKey] = field(repr=False)
    boards: tuple[str, ...] = ()
    max_size: int = 4 * 1024 * 1024
    fs_start: int | None = None
    allow_downgrade: bool = False


def admit(files: Sequence[Firmware], origin: Origin, policy: Policy, current: Release | None) -> Release:
    """Return the record of the signed `files` (raw, gzip or both) if `policy` takes them after `current`.

    Raises InputError for files or an origin that do not belong here, VerificationError for a signature that does not
    hold or an image that devices would refuse; each names what to do.
    """
    _check_product(origin, policy)
    for firmware in files:
        _check_file(firmware, policy)
    new = records.describe(files, origin, policy.keys)
    for firmware in files:
        signing.check_runs(firmware, _key(new, policy))
    if FAMILY_OF[new.chip].unverified and not new.library:
        raise InputError(
            f"the firmware for the chip '{new.chip}' has no OtaSeal library, and its core verifies no update",
            "use the library in the sketch and build it again: a device with this firmware would take an update from "
            "anybody",
        )
    if current is not None:
        _check_layout(new, current)
        _check_counter(new, current)
        _check_age(new, current, policy)
    _check_space(new, current, policy)
    return new


def version_order(first: str, second: str) -> int:
    """Return -1, 0 or 1 as `first` is older than, equal to or newer than `second`; 0 too where nothing tells.

    Numbers count first, missing ones as zero; then `1.2-rc.1` and `1.2~rc1` come before `1.2` and `1.2-4-gabcdef`
    (`git describe`: four commits later) after it. A leading `v`, `+build` and `-dirty` say nothing. A version without
    a number in front has no order, nor has a bare commit.
    """
    keys = [_order_key(first), _order_key(second)]
    if keys[0] is None or keys[1] is None:
        return 0
    return (keys[0] > keys[1]) - (keys[0] < keys[1])


_Part = tuple[int, int, str]


def _order_key(version: str) -> tuple[tuple[int, ...], int, tuple[_Part, ...], int] | None:
    """Return release numbers, 0 for a pre-release or 1, the pre-release's parts, and the commits since."""
    text = version.partition("+")[0].removesuffix("-dirty").lstrip("vV")
    described = _DESCRIBED.fullmatch(text)
    text, commits = (described[1], int(described[2])) if described else (text, 0)
    numbers = _NUMBERS.match(text)
    if numbers is None or _COMMIT.fullmatch(text):
        return None
    values = [int(number) for number in numbers[0].split(".")]
    while values and values[-1] == 0:
        values.pop()
    rest = _PART.findall(text[numbers.end() :])
    parts = tuple((0, int(part), "") if part.isdigit() else (1, 0, part.lower()) for part in rest)
    return tuple(values), 0 if parts else 1, parts, commits


def _check_product(origin: Origin, policy: Policy) -> None:
    if origin.product != policy.product:
        raise InputError(
            f"the release is of product '{origin.product}', not '{policy.product}'",
            "deploy it to its own product, or correct custom_otaseal_product",
        )
    if policy.boards and origin.board not in policy.boards:
        raise InputError(
            f"the build is for board '{origin.board}', the product has {', '.join(policy.boards)}",
            "deploy the environment that builds for this product's board",
        )


def _check_file(signed: Firmware, policy: Policy) -> None:
    if len(signed.data) > policy.max_size:
        raise InputError(
            f"file of {len(signed.data)} bytes is over the limit of {policy.max_size}",
            "make the firmware smaller, or raise the product's limit",
        )
    try:
        payload = signed.payload
    except InputError as error:
        raise _no_trailer(signed.data) from error
    if is_signed(payload):
        raise InputError("the file is signed twice", "sign the original firmware.bin, not the '.signed' file")


def _no_trailer(data: bytes) -> InputError:
    """Return the error for a file without signature trailer: never signed, cut short afterwards, or no firmware."""
    kind = file_kinds.recognize(data)
    if kind is not None:
        return kind.error()
    try:
        whole = manifest.surplus(Firmware(data, signed=False).image) is None
    except InputError:
        whole = False
    if whole:
        return InputError("the file is not signed", "deploy firmware.bin.signed, which sign_firmware.py makes")
    return InputError(f"the file of {len(data)} bytes is cut short or damaged", "build and upload it again")


def _key(new: Release, policy: Policy) -> RSAPublicKey:
    return next(key for key in policy.keys if public.fingerprint(key) == new.key_fingerprint)


def _check_layout(new: Release, current: Release) -> None:
    for what, ours, theirs in (
        ("chip", new.chip, current.chip),
        ("board", new.board or current.board, current.board or new.board),
        ("board id", *_board_ids(new, current)),
        ("flash mode", _shown(new.flash_mode), _shown(current.flash_mode)),
        ("flash size", _shown(new.flash_size), _shown(current.flash_size)),
        ("filesystem", _filesystem(new), _filesystem(current)),
    ):
        if ours != theirs:
            raise InputError(
                f"the image is for {what} '{ours}', release {current.version} is for '{theirs}'",
                "devices with that release would refuse it or not start: build for their board, or make "
                "this another product",
            )


def _check_counter(new: Release, current: Release) -> None:
    before, after = current.security_counter or 0, new.security_counter or 0
    if after < before:
        raise InputError(
            f"security counter {after} is below {before}, that of the current release '{current.version}'",
            f"set custom_otaseal_security_counter = {before}; --allow-downgrade does not help: devices with the "
            "OtaSeal library refuse it whatever the server allows",
        )
    if current.library and new.security_counter is None:
        raise InputError(
            f"the image has no manifest, and devices that run '{current.version}' take none without one",
            "sign it with custom_otaseal_product, or --product",
        )


def _check_age(new: Release, current: Release, policy: Policy) -> None:
    if policy.allow_downgrade or new.version == current.version:  # the store says whether it is the very same release
        return
    order = version_order(new.version, current.version)
    if order < 0 or (order == 0 and new.created < current.created):
        raise InputError(
            f"version '{new.version}' of {new.created} is older than the current '{current.version}' of "
            f"{current.created}",
            "raise custom_otaseal_version, roll back instead, or allow it with --allow-downgrade",
        )


def _check_space(new: Release, current: Release | None, policy: Policy) -> None:
    """Refuse what does not fit beside the running sketch: the current one now, the new one at the next update (F10).

    Or what never fits the filesystem in which a device stages it (F55).
    """
    if new.filesystem is not None:
        smallest = min(form.size for form in new.forms)
        if pico.staging_size(smallest) > new.filesystem[1]:
            raise VerificationError(
                f"{smallest} bytes do not fit a filesystem of {new.filesystem[1]}, where the device keeps an update",
                "make the firmware smaller, deploy a gzip, or give board_build.filesystem_size more",
            )
        return
    if policy.fs_start is None or FAMILY_OF[new.chip].slots:
        return
    running = max(new.sketch_size, current.sketch_size if current else 0)
    if not any(form.fits(running, policy.fs_start) for form in new.forms):
        smallest = min(form.size for form in new.forms)
        raise VerificationError(
            f"{smallest} bytes do not fit beside a running sketch of {running} below the filesystem at "
            f"{policy.fs_start}",
            "make the firmware smaller, deploy a gzip, or choose a layout with a smaller filesystem",
        )


def _board_ids(new: Release, current: Release) -> tuple[str, str]:
    """Return the ids of both boards, the same where one of them has none; a name has an id, too."""
    ids = [
        release.board_id or (manifest.name_id(release.board).hex() if release.board else None)
        for release in (new, current)
    ]
    known = [board for board in ids if board not in (None, manifest.ANY_BOARD.hex())]
    return (known[0], known[1]) if len(known) == 2 else ("any", "any")


def _filesystem(release: Release) -> str:
    return "none" if release.filesystem is None else f"{release.filesystem[1]} bytes at {release.filesystem[0]}"


def _shown(value: object) -> str:
    return getattr(value, "name", None) or str(value)
