"""Applying a patch, as a chip does it: one pass over the patch, the base read where the patch says, bytes out in order.

Nothing is kept but the map, the models and a few bytes, however large the images are. Bytes come out before all of the
patch is known to be right: they count once `apply` has returned, or `pieces` has ended without an error.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice

from . import header
from .errors import (
    MAKE_AGAIN,
    DamagedPatchError,
    OutsideBaseError,
    PatchTooShortError,
    TargetTooLongError,
    TrailingBytesError,
)
from .header import Header
from .instructions import SETS
from .models import Kind, Models, Tree, unfolded
from .range_coder import Decoder
from .relocation import WORD, AddressMap, Code, Shift


def apply(base: bytes, patch: bytes) -> bytes:
    """Return the target that `patch` makes of `base`; raises a PatchError for its cause, or LaterFormatError."""
    return b"".join(pieces(base, [patch]))


def pieces(base: bytes, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the target in pieces, while the patch comes in chunks of any size; raises as `apply`.

    The base is checked before the first piece, the whole target behind the last one.
    """
    patch = _Bytes(chunks)
    head = header.parse(patch.take(header.SIZE))
    head.check_base(base)
    digest, size = hashlib.sha256(), 0
    for piece in _Reader(base, head, patch).pieces():
        digest.update(piece)
        size += len(piece)
        yield piece
    head.check_target(size, digest.digest())


class _Bytes:
    """The bytes of chunks, one at a time."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._bytes = (byte for chunk in chunks for byte in chunk)

    def take(self, size: int) -> bytes:
        """Return the next bytes, fewer where they end."""
        return bytes(islice(self._bytes, size))

    def one(self) -> int:
        """Return the next byte; raises PatchTooShortError."""
        byte = next(self._bytes, None)
        if byte is None:
            raise PatchTooShortError("the patch ends before the image is whole", "fetch it again: it is cut short")
        return byte

    def is_at_end(self) -> bool:
        """Tell whether there is no byte left."""
        return next(self._bytes, None) is None


class _Reader:
    """What follows the header, while it is read: `pieces` is all that it does, once."""

    def __init__(self, base: bytes, head: Header, patch: _Bytes) -> None:
        self._base, self._head, self._patch = base, head, patch
        self._coder, self._models = Decoder(patch.one), Models()
        self._missed = dict.fromkeys(Kind, 0)
        self._code = self._read_code()
        self._shifts = self._read_shifts()

    def pieces(self) -> Iterator[bytes]:
        """Yield the target in pieces, and raise where the stream says what it cannot."""
        source, left = 0, self._head.target_size
        while left:
            size = self._counted(self._models.copied, left)
            if not 0 <= source <= len(self._base) - size:
                raise OutsideBaseError(
                    f"the patch copies {size} bytes from {source}, and the base has {len(self._base)}", MAKE_AGAIN
                )
            left -= size
            yield from self._copy(source, source + size, self._head.target_size - left - size)
            added = self._counted(self._models.added, left)
            left -= added
            yield from (bytes([self._coder.symbol(self._models.byte)]) for _ in range(added))
            if not size and not added:
                raise DamagedPatchError("the patch has a step that makes nothing", MAKE_AGAIN)
            if left:
                source += size + unfolded(self._coder.number(self._models.seek))
        if not self._coder.is_at_end:
            raise DamagedPatchError("the patch does not end as its encoder ends", MAKE_AGAIN)
        if not self._patch.is_at_end():
            raise TrailingBytesError("the patch goes on behind its end", MAKE_AGAIN)

    def _counted(self, tree: Tree, left: int) -> int:
        """Return a number of bytes to make, of which `left` are announced."""
        size = self._coder.number(tree)
        if size > left:
            raise TargetTooLongError(
                f"the patch makes more than the {self._head.target_size} bytes that it announces", MAKE_AGAIN
            )
        return size

    def _read_code(self) -> list[Code]:
        runs, end = [], 0
        for _ in range(self._head.code):
            start, size, address = (self._coder.number(self._models.place) for _ in range(3))
            moved = unfolded(self._coder.number(self._models.shift))
            runs.append(Code(end + start, size, address, moved, SETS[self._head.instructions]))
            end = runs[-1].end
            if end > len(self._base):
                raise OutsideBaseError(
                    f"the patch has code up to {end}, and the base has {len(self._base)} bytes", MAKE_AGAIN
                )
        return runs

    def _read_shifts(self) -> AddressMap:
        shifts, start, amount = [], 0, 0
        for _ in range(self._head.shifts):
            start += self._coder.number(self._models.place)
            if start > WORD:
                raise DamagedPatchError(f"the patch shifts what begins at 0x{start:x}, which is no address", MAKE_AGAIN)
            amount = amount + unfolded(self._coder.number(self._models.shift)) & WORD
            shifts.append(Shift(start, amount))
        return AddressMap(tuple(shifts))

    def _copy(self, place: int, end: int, made: int) -> Iterator[bytes]:
        """Yield the bytes that come of the base's from `place` to `end`, and which the target has from `made` on."""
        moved = made - place
        differs = self._next_difference(place, end)
        while place < end:
            unit = bytearray(self._unit(place, end, moved))
            while differs < place + len(unit):
                unit[differs - place] = unit[differs - place] + self._coder.symbol(self._models.difference) & 0xFF
                differs = self._next_difference(differs + 1, end)
            place += len(unit)
            yield bytes(unit)

    def _next_difference(self, place: int, end: int) -> int:
        """Return where the next byte differs from what is expected, `end` where none does."""
        if place == end:
            return end
        same = self._coder.number(self._models.same)
        if same > end - place:
            raise DamagedPatchError("the patch expects more equal bytes than it copies", MAKE_AGAIN)
        return place + same

    def _unit(self, place: int, end: int, moved: int) -> bytes:
        """Return what is expected for the next bytes of the base: an address, an instruction, or up to four others."""
        word = self._address(place, end, moved)
        if word is not None:
            to = word + self._shifts.amount(word) & WORD
            return self._expected(Kind.WORD, place, to.to_bytes(4, "little"))
        for run in self._code:
            known = run.instructions
            if run.start <= place and place + known.width <= min(end, run.end) and known.begins(place):
                return self._instruction(run, place, end, moved)
        after = min(end, (place | 3) + 1, *(run.start for run in self._code if run.start > place))
        return self._base[place:after]

    def _address(self, place: int, end: int, moved: int) -> int | None:
        """Return the aligned word at `place` if the map says that it moves."""
        if place % 4 or moved % 4 or place + 4 > end:
            return None
        word = int.from_bytes(self._base[place : place + 4], "little")
        return word if self._shifts.amount(word) else None

    def _instruction(self, run: Code, place: int, end: int, moved: int) -> bytes:
        known = run.instructions
        old = known.at(self._base, place)
        after = place + known.size(old)
        for aligned in range(place + 3 & ~3, after, 4):
            if self._address(aligned, end, moved) is not None:
                return self._base[place:aligned]
        kind = known.kind(old)
        if kind is None:
            return self._base[place:after]
        at = run.address + place - run.start
        to = known.target(old, at)
        now = known.aimed(old, at + moved + run.moved & WORD, to + self._shifts.amount(to) & WORD)
        if now == old:
            return self._base[place:after]
        return self._expected(kind, place, now.to_bytes(known.size(old), "little"))

    def _expected(self, kind: Kind, place: int, predicted: bytes) -> bytes:
        """Return what is `predicted` where the patch says that this holds, else the base's own bytes."""
        self._missed[kind] = self._coder.symbol(self._models.held[kind, self._missed[kind]])
        return self._base[place : place + len(predicted)] if self._missed[kind] else predicted
