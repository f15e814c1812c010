"""The image in a file, whichever chip it is for."""

from __future__ import annotations

from typing import TypeAlias

from . import esp32, esp8266, pico
from .boot_image import MAGIC
from .esp32 import Esp32Image
from .esp8266 import Esp8266Image
from .pico import PicoImage

Image: TypeAlias = Esp8266Image | Esp32Image | PicoImage
"""What every one of them has.

`chip`, a name of `families.FAMILY_OF`; `data` and the `tail` behind `sketch_size` bytes. `flash_mode`, `flash_size`,
`core_release` and `filesystem`, each None where the image does not say. `faults()`, each checksum that does not hold as
a sentence. `sketch_digests()`, the MD5s with which a device may say that it runs this. `gzip_refusal(library=...)` and
`update_refusal()`, why devices would not start from a signed gzip of it, or could not be updated to it at all.
`as_dict()` and `lines()`, its facts for programs and for people.
"""


def begins_as_image(data: bytes | memoryview) -> bool:
    """Tell whether the first bytes are those of an image of any chip, damaged further on or not."""
    return data[:1] == bytes([MAGIC]) or pico.is_image(data)


def is_for_later_chip(data: bytes | memoryview) -> bool:
    """Tell whether the first bytes are those of an image for another chip than the ESP8266, damaged or not."""
    return pico.is_image(data) or esp32.is_image(data)


def parse(data: bytes | memoryview, subject: str = "this is") -> Image:
    """Return the image in `data`, as views into it.

    Raises InputError when `data` is not a complete image, cut short or too large; or something else, which is called by
    its name in a sentence that begins with `subject`.
    """
    if pico.is_image(data):
        return pico.parse(data, subject)
    if esp32.is_image(data):
        return esp32.parse(data, subject)
    return esp8266.parse(data, subject)


def damage(image: Image) -> str | None:
    """Return the fault by which signing refuses `image`, None without one.

    Of an ESP8266's only one whose core has a CRC of its own that does not fit: without it the checksums prove nothing
    (F30c).
    """
    proven = not isinstance(image, Esp8266Image) or image.crc_ok is False
    return next(iter(image.faults()), None) if proven else None
