"""Where a firmware that was built again differs from the one that was signed, and why, where its text says so. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from . import manifest
from .firmware import Firmware

BLOCK = 4096
GAP = 16
"""Ranges with fewer equal bytes between them are one."""
NEAR = 48
"""Bytes before and behind a range in which its text is looked for."""
_TEXT = re.compile(rb"[\x20-\x7e]{4,}")
_TIME = re.compile(r"\b(?:[A-Z][a-z]{2} [ 0-9][0-9] 20[0-9]{2}|[0-9]{2}:[0-9]{2}:[0-9]{2})\b")
_PATH = re.compile(r"(?:^|[^\w.])(?:/[\w.+@~-]+){2,}|[A-Za-z]:[\\/][\w.+@~-]+")


@dataclass(frozen=True)
class Difference:
    """A range of `size` bytes from `offset` on, and the texts that it touches in the signed and in the new firmware."""

    offset: int
    size: int
    before: str
    after: str

    @property
    def reason(self) -> str:
        """Why it differs, "" where its text does not tell."""
        if _TIME.search(self.before) or _TIME.search(self.after):
            return "a time: leave __DATE__ and __TIME__ out, or set SOURCE_DATE_EPOCH"
        if _PATH.search(self.before) or _PATH.search(self.after):
            return "a path: build in the same folder, or with -ffile-prefix-map"
        return ""


def built_image(signed: Firmware) -> bytes:
    """Return what the build made: what was signed, unpacked, without its manifest; raises InputError."""
    if signed.member is None and signed.manifest is not None:
        return signed.payload[: -manifest.SIZE]
    return signed.raw


def differences(before: bytes, after: bytes) -> tuple[Difference, ...]:
    """Return where two images differ, by ascending offset; what one has more than the other is the last range."""
    ranges = list(_merged(_differing(before, after)))
    if len(before) != len(after):
        ranges.append((min(len(before), len(after)), max(len(before), len(after))))
    return tuple(
        Difference(start, end - start, _text(before, start, end), _text(after, start, end)) for start, end in ranges
    )


def _differing(before: bytes, after: bytes) -> Iterator[int]:
    for start in range(0, min(len(before), len(after)), BLOCK):
        one, other = before[start : start + BLOCK], after[start : start + BLOCK]
        if one != other:
            yield from (start + i for i, (left, right) in enumerate(zip(one, other, strict=False)) if left != right)


def _merged(offsets: Iterator[int]) -> Iterator[tuple[int, int]]:
    """Yield ranges, each with its end, of the offsets that are less than GAP apart."""
    begin = end = -1
    for offset in offsets:
        if begin >= 0 and offset - end >= GAP:
            yield begin, end
            begin = offset
        begin, end = (offset if begin < 0 else begin), offset + 1
    if begin >= 0:
        yield begin, end


def _text(image: bytes, start: int, end: int) -> str:
    """Return the first text that touches a range, "" where there is none."""
    first = max(0, start - NEAR)
    around = image[first : min(end, start + BLOCK) + NEAR]
    for found in _TEXT.finditer(around):
        if first + found.start() < end and first + found.end() > start:
            return found[0].decode()
    return ""
