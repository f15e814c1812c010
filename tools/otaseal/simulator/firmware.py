"""What a firmware image tells about itself: the core's release, the embedded keys, the library's record."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from .core import COMMITS, LENGTHS
from .flash import APPLICATION, CHIP_SIZES, flash_mode, sketch_size

IDENTITY_MAGIC = b"OtaSealI"
IDENTITY_SIZE = 64
MIN_IMAGE = APPLICATION + 16
PICO_FLASH = 0x1000_0000
"""Where a Pico's flash, and with it the image, appears in the address space."""

# With what indents it: the core takes no banner that does not begin its line.
_PEM = re.compile(
    rb"(?:(?<=[\0\n])[ \t]+)?"
    rb"-----BEGIN (?:RSA |EC )?PUBLIC KEY-----[A-Za-z0-9+/=\s]{16,4096}-----END [A-Z ]{10,14}-----"
)


@dataclass(frozen=True)
class Firmware:
    """What an image says of itself.

    `core` is the release by its commit, or the nearest to a core from git, None where nothing tells. `keys` are the
    public keys as embedded (PEM), each once, in the order of the image. `identity` is the library's record of 64 bytes,
    None in a sketch without it. `flash_mode` and `flash_size` (bytes, 0 for an unknown code) are those of the header.
    """

    core: str | None
    keys: tuple[bytes, ...]
    identity: bytes | None
    flash_mode: int
    flash_size: int


def read(image: bytes) -> Firmware:
    """Return what `image` says of itself; of what is not an image, nothing."""
    if len(image) < MIN_IMAGE:
        return Firmware(None, (), None, 255, 0)
    end = sketch_size(image) or len(image)
    sketch = image[:end]
    flash_size = CHIP_SIZES.get(sketch[3] >> 4, 0)
    return Firmware(_core(sketch), keys_in(sketch), identity_in(sketch), flash_mode(sketch), flash_size)


def keys_in(sketch: bytes) -> tuple[bytes, ...]:
    """Return the public keys (PEM) that are compiled in, each once."""
    return tuple(dict.fromkeys(_without_address(match, sketch) for match in _PEM.finditer(sketch)))


def _without_address(match: re.Match[bytes], sketch: bytes) -> bytes:
    """Return the text without one blank that ends a word: an address in a Pico's RAM ends with a zero and a blank.

    A blank that something in the image points at is where the text begins.
    """
    ends_word = match[0].startswith(b" -") and match.start() % 4 == 3
    return match[0][1:] if ends_word and struct.pack("<I", PICO_FLASH + match.start()) not in sketch else match[0]


def _core(sketch: bytes) -> str | None:
    words = {at: _word(sketch, at) for at in (*LENGTHS, *(at for at, _ in COMMITS))}
    released = (COMMITS[word] for word in words.items() if word in COMMITS)
    nearest = (name for at, name in LENGTHS.items() if words[at] == len(sketch))
    return next(released, None) or next(nearest, None)


def _word(sketch: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", sketch, at)[0]) if at + 4 <= len(sketch) else 0


def identity_in(sketch: bytes) -> bytes | None:
    """Return the first record with the magic whose format is known: the magic alone may be a comparison's constant."""
    at = sketch.find(IDENTITY_MAGIC)
    while at >= 0:
        record = sketch[at : at + IDENTITY_SIZE]
        if len(record) == IDENTITY_SIZE and record[8] == 1:
            return record
        at = sketch.find(IDENTITY_MAGIC, at + 1)
    return None
