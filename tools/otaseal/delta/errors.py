"""Why a patch is refused: one class for each cause, so that a device can count them apart."""

from __future__ import annotations

from ..errors import InputError

MAKE_AGAIN = "make it again with 'otaseal delta make'"


class PatchError(InputError):
    """A patch is not applied: nothing of what it has made so far is an image."""


class DamagedPatchError(PatchError):
    """What is in the patch is no patch: its header, its map, or bits that no encoder writes."""


class PatchTooShortError(PatchError):
    """The patch ends before the image is whole."""


class TrailingBytesError(PatchError):
    """The image is whole, and the patch goes on."""


class OutsideBaseError(PatchError):
    """The patch copies from where the base has no bytes."""


class TargetTooLongError(PatchError):
    """The patch makes more bytes than it has announced."""


class WrongBaseError(PatchError):
    """The patch is for another base than the one that is here."""


class WrongTargetError(PatchError):
    """The bytes that came out are not those which the header announces."""
