"""The patch that a server would make for a device of the rehearsal, and how the library there decodes it.

It is played beside the whole image, which devices get whose patch is not made yet, or has come to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

from ..delta import applying
from ..delta.errors import PatchError, WrongBaseError, WrongTargetError
from ..errors import LaterFormatError
from ..image.firmware import Firmware
from ..simulator.device import Device
from ..simulator.library import LibraryError
from ..simulator.report import Fault, Outcome, Result, Step

NOT_MADE = "the patch that devices get from a server which makes some: the package '{}' is not installed"
REFUSED = "the patch: a device refuses it ({}), and takes the whole image"


@lru_cache(maxsize=1)
def made(base: bytes, target: bytes) -> bytes:
    """Return the patch that makes the signed image `target` of a sketch; ModuleNotFoundError without bsdiff4."""
    from ..delta import making

    return making.make(base, target)


def decoded(base: bytes, patch: bytes) -> bytes | Fault:
    """Return what a device makes of a `patch`, or why it refuses it; it trusts no hash in it, but the signature."""
    image = bytearray()
    try:
        for piece in applying.pieces(base, [patch]):
            image += piece
    except WrongTargetError:
        pass
    except WrongBaseError as error:
        return Fault(LibraryError.PATCH_BASE, error.message, "F30b")
    except (PatchError, LaterFormatError) as error:
        return Fault(LibraryError.PATCH, error.message, "F30b")
    return bytes(image)


def for_device(device: Device, forms: Sequence[Firmware]) -> tuple[bytes | None, list[str]]:
    """Return the patch from what `device` runs to the raw one of `forms`, where it takes one that is smaller than each.

    And a note where none can be made here.
    """
    raw = next((form for form in forms if form.member is None), None)
    if raw is None or not device.takes_patches:
        return None, []
    try:
        patch = made(device.sketch, raw.data)
    except ModuleNotFoundError as error:
        return None, [NOT_MADE.format(error.name)]
    return (patch if len(patch) < min(len(form.data) for form in forms) else None), []


def polled(device: Device, url: str, host: str | None = None) -> tuple[tuple[Step, ...], Outcome]:
    """Poll, and once more for the whole image if a patch has come to nothing: that is no fault of the release.

    The steps of the first poll come apart, with the refusal as one that is good and has an error.
    """
    outcome = device.poll(url, host=host)
    if outcome.result is not Result.REFUSED or device.whole_only or not outcome.device.whole_only:
        return (), outcome
    *before, refused = outcome.steps
    said = replace(refused, ok=True, checked=f"{refused.checked}: {refused.reason}")
    return (*before, said), outcome.device.poll(url, host=host)


def refusals(steps: Sequence[Step]) -> tuple[str, ...]:
    """Return a note for each patch that was refused, and after which the whole image came."""
    return tuple(REFUSED.format(step.reason) for step in steps if step.ok and step.error)
