"""What may become a release: checked by `deploy` before the upload and by the server after it, by the same code.

The server has public keys only. Files come in as they would be sent, and are refused by name: unsigned, cut short,
signed twice, signed by a stranger, fit for no device, of another product or board by name or by manifest, of another
flash layout than the release before, too large, or older than it, by version or by security counter. What is admitted
comes back as its record; whom it would strand, `stranding` says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..chips import file_kinds, pico
from ..chips.families import FAMILY_OF
from ..errors import InputError, VerificationError
from ..image import manifest, signing
from ..image.firmware import Firmware, is_signed
from ..keys import public
from . import records
from .boards import by_board
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

    `keys` are its public keys; `max_size` bytes a file may have. `allow_downgrade` lets an older version follow, for
    this once.
    """

    product: str
    keys: Sequence[RSAPublicKey] = field(repr=False)
    max_size: int = 4 * 1024 * 1024
    allow_downgrade: bool = False


def admit(
    files: Sequence[Firmware],
    origin: Origin,
    policy: Policy,
    current: Release | None,
    boards: Sequence[str] = (),
) -> Release:
    """Return the record of the signed `files` (of each board raw, gzip or both) if `policy` takes them after `current`.

    `boards` are the names of those that the files are for, where there are several.
    Raises InputError for files or an origin that do not belong here, VerificationError for a signature that does not
    hold or an image that devices would refuse; each names what to do.
    """
    _check_product(origin, policy)
    for firmware in files:
        _check_file(firmware, policy)
    built = by_board(files, boards or [origin.board])
    return records.combine(
        [_admit_board(each.files, replace(origin, board=each.board), policy, current, len(built)) for each in built]
    )


def _admit_board(
    files: Sequence[Firmware], origin: Origin, policy: Policy, current: Release | None, boards: int
) -> Release:
    """Return the record of the image for one of so many `boards`."""
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
        before = _image_before(new, current, boards)
        if before is not None:
            _check_layout(new, before)
        _check_counter(new, before or current)
        _check_age(new, current, policy)
    _check_space(new)
    return new


def _image_before(new: Release, current: Release, boards: int) -> Release | None:
    """Return the image that devices of the same board were given before; None for a board that is new."""
    if boards == 1 and not current.others:
        return current
    if new.board_key is None:
        names = ", ".join(f"'{image.board or image.board_key}'" for image in current.images)
        raise InputError(
            f"release {current.version} is for the boards {names}, and this image names none",
            "sign it with its product and board: custom_otaseal_product, or otaseal sign --product --board",
        )
    return current.for_board(new.board_key)


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


def _check_space(new: Release) -> None:
    """Refuse what never fits the filesystem in which a device stages it (F55)."""
    if new.filesystem is not None:
        smallest = min(form.size for form in new.forms)
        if pico.staging_size(smallest) > new.filesystem[1]:
            raise VerificationError(
                f"{smallest} bytes do not fit a filesystem of {new.filesystem[1]}, where the device keeps an update",
                "make the firmware smaller, deploy a gzip, or give board_build.filesystem_size more",
            )


def _board_ids(new: Release, current: Release) -> tuple[str, str]:
    """Return the ids of both boards, the same where one of them has none; a name has an id, too."""
    if new.board_key is None or current.board_key is None:
        return "any", "any"
    return new.board_key, current.board_key


def _filesystem(release: Release) -> str:
    return "none" if release.filesystem is None else f"{release.filesystem[1]} bytes at {release.filesystem[0]}"


def _shown(value: object) -> str:
    return getattr(value, "name", None) or str(value)
