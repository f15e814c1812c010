"""What a device has in flash of the image it runs: the base of a patch is exactly what its sketch MD5 covers (F30b).

On an ESP8266 byte 2 is the chip's own flash mode, whatever mode the image was built for. Nothing is made equal before
it is compared: a chip reads its flash as it is.
"""

from __future__ import annotations

from ..chips.boot_image import FlashMode
from ..chips.esp8266 import FLASH_MODE_OFFSET, Esp8266Image
from ..chips.images import Image
from .header import Header, md5


def for_target(image: Image, target: Image) -> bytes:
    """Return what is in flash where `image` runs, of devices that can be updated to `target`.

    An ESP8266 takes a raw image of its own flash mode only (F7), so that the target tells the device's mode.
    """
    return _in_mode(image, target.data[FLASH_MODE_OFFSET])


def for_patch(image: Image, head: Header) -> bytes:
    """Return what is in flash where `image` runs, in that flash mode for which a patch was made.

    In the image's own where there is none: then the base is refused.
    """
    variants = (_in_mode(image, mode) for mode in FlashMode)
    return next((data for data in variants if md5(data) == head.base_md5), bytes(image.data[: image.sketch_size]))


def _in_mode(image: Image, mode: int) -> bytes:
    data = bytearray(image.data[: image.sketch_size])
    if isinstance(image, Esp8266Image):
        data[FLASH_MODE_OFFSET] = mode
    return bytes(data)
