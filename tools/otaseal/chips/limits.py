"""How large an image can be, whatever chip it is for."""

from __future__ import annotations

from ..errors import InputError

MAX_IMAGE_SIZE = 16 * 1024 * 1024
"""The largest flash that an ESP8266's header can name, all of it that an RP2040 maps, and an ESP32's largest slot."""
FIRMWARE = "give the firmware.bin that the build made"
REBUILD = "the image is damaged: build it again"


def check_size(size: int, what: str = "image") -> None:
    """Raise InputError, which calls it `what`, for more bytes than any flash can hold."""
    if size > MAX_IMAGE_SIZE:
        raise InputError(f"{what} of {size} bytes is larger than {MAX_IMAGE_SIZE}", "no chip's flash can hold it")
