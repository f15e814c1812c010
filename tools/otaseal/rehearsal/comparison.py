"""What a build changes against the release before it: sizes, core, keys, manifest, and the patch between both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..delta import bases
from ..image.firmware import Firmware
from . import patches

UNKNOWN = "unknown"
SHORT = len("SHA256:") + 16
"""Characters of a fingerprint, as `keys.public.short_fingerprint` has it."""


class Row(NamedTuple):
    """A property of an image, before ("" without an image) and now, and what is to be said of the change."""

    name: str
    before: str
    now: str
    change: str = ""


def compare(before: Firmware | None, forms: Sequence[Firmware]) -> tuple[Row, ...]:
    """Return what there is to say of the `forms` of a build; of `before` where that is known."""
    raw = next((form for form in forms if form.member is None), forms[0])
    old = {} if before is None else _described(before)
    rows = [Row(name, old.get(name, ""), now, _changed(old.get(name), now)) for name, now in _described(raw).items()]
    rows.append(_size_row("image", before, raw))
    packed = next((form for form in forms if form.member is not None), None)
    if packed is not None and packed is not raw:
        rows.append(_size_row("image as gzip", None, packed))
    if before is not None and raw.member is None:
        rows.append(_patch_row(before, raw))
    return tuple(rows)


def _described(firmware: Firmware) -> dict[str, str]:
    image, attached = firmware.image, firmware.manifest
    keys = ", ".join(key[:SHORT] for key in firmware.embedded_keys)
    return {
        "version": attached.version if attached is not None and attached.version else UNKNOWN,
        "security counter": str(attached.counter) if attached is not None else "none",
        "chip": image.chip,
        "core": str(image.core_release or UNKNOWN),
        "OtaSeal library": "yes" if firmware.identity is not None else "no",
        "keys that it trusts": keys or "none",
    }


def _changed(before: str | None, now: str) -> str:
    return "changed" if before is not None and before != now else ""


def _size_row(name: str, before: Firmware | None, now: Firmware) -> Row:
    size = len(now.data)
    if before is None or (before.member is None) is not (now.member is None):
        return Row(name, "", f"{size:,} bytes")
    grown = size - len(before.data)
    return Row(name, f"{len(before.data):,} bytes", f"{size:,} bytes", f"{grown:+,} bytes" if grown else "")


def _patch_row(before: Firmware, now: Firmware) -> Row:
    """Return how large the patch for devices with `before` is, which the server makes as we do, and what it makes."""
    if before.image.chip != now.image.chip:
        return Row("patch", "", "none", "it is for another chip")
    base = bases.for_target(before.image, now.image)
    try:
        patch = patches.made(base, now.data)
    except ModuleNotFoundError as error:
        return Row("patch", "", UNKNOWN, f"the package '{error.name}' is not installed")
    made, share = patches.decoded(base, patch), f"{100 * len(patch) / len(now.data):.2g} % of the image"
    told = "devices make this build of it" if made == now.data else "devices do NOT make this build of it"
    return Row("patch", "", f"{len(patch):,} bytes", f"{share}, {told}")
