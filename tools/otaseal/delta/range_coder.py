"""The binary range coder of the stream: adaptive bits, symbols of a few bits, and numbers.

The decoder is that of LZMA with chances of 8 bits: two words of state, one multiplication a bit, no division, and at
most one byte read for a bit. Encoder and decoder take a byte at the same moment, so that the decoder has read exactly
what the encoder wrote. What is coded with which model stands in `models`.
"""

from __future__ import annotations

from collections.abc import Callable

from .models import BITS, CERTAIN, CLASS_BITS, MAX_NUMBER, Tree

_TOP = 1 << 24
_WORD = 0xFFFF_FFFF
_START = 4
"""Bytes that the decoder reads before the first bit."""


class Encoder:
    """Collects coded bits; `finish` returns the bytes."""

    def __init__(self) -> None:
        self._low = 0
        self._range = _WORD
        self._bytes = bytearray()

    def symbol(self, tree: Tree, value: int) -> None:
        """Code a value of as many bits as the tree is deep, the highest first, by chances that adapt to it."""
        chances, rate, node = tree.chances, tree.rate, 1
        for place in range(tree.depth - 1, -1, -1):
            chance = chances[node]
            bound = (self._range >> BITS) * chance
            if value >> place & 1:
                self._low += bound
                self._range -= bound
                chances[node] = chance - (chance >> rate)
                node = node * 2 + 1
            else:
                self._range = bound
                chances[node] = chance + (CERTAIN - chance >> rate)
                node *= 2
            if self._range < _TOP:
                self._put_byte()

    def number(self, tree: Tree, value: int) -> None:
        """Code a number from 0 to MAX_NUMBER: the length of its successor, then the bits below the highest as they are.

        Raises ValueError for any other: nothing that is measured in an image comes near.
        """
        if not 0 <= value <= MAX_NUMBER:
            raise ValueError(value)
        size = (value + 1).bit_length() - 1
        self.symbol(tree, size)
        for place in range(size - 1, -1, -1):
            self._range >>= 1
            if value + 1 >> place & 1:
                self._low += self._range
            if self._range < _TOP:
                self._put_byte()

    def finish(self) -> bytes:
        """Return what was coded, to its last byte."""
        for _ in range(_START):
            self._put_byte()
        return bytes(self._bytes)

    def _put_byte(self) -> None:
        if self._low > _WORD:  # carry into what is there already
            self._low &= _WORD
            place = len(self._bytes) - 1
            while self._bytes[place] == 0xFF:
                self._bytes[place] = 0
                place -= 1
            self._bytes[place] += 1
        self._bytes.append(self._low >> 24)
        self._low = self._low << 8 & _WORD
        self._range <<= 8


class Decoder:
    """Takes bits out of the bytes that `read` gives one at a time; what `read` raises passes through."""

    def __init__(self, read: Callable[[], int]) -> None:
        self._read = read
        self._range = _WORD
        self._code = 0
        for _ in range(_START):
            self._code = self._code << 8 | read()

    @property
    def is_at_end(self) -> bool:
        """Whether an encoder can have finished here."""
        return self._code == 0

    def symbol(self, tree: Tree) -> int:
        """Return a value of as many bits as the tree is deep, by chances that adapt to it."""
        node = 1
        for _ in range(tree.depth):
            node = node * 2 + self._bit(tree, node)
        return node - (1 << tree.depth)

    def number(self, tree: Tree) -> int:
        """Return a number from 0 to 2**32 - 2."""
        assert tree.depth == CLASS_BITS
        value = 1
        for _ in range(self.symbol(tree)):
            self._range >>= 1
            bit = int(self._code >= self._range)
            self._code -= self._range * bit
            value = value * 2 + bit
            self._take_byte()
        return value - 1

    def _bit(self, tree: Tree, node: int) -> int:
        chance = tree.chances[node]
        bound = (self._range >> BITS) * chance
        bit = int(self._code >= bound)
        if bit:
            self._code -= bound
            self._range -= bound
            tree.chances[node] = chance - (chance >> tree.rate)
        else:
            self._range = bound
            tree.chances[node] = chance + (CERTAIN - chance >> tree.rate)
        self._take_byte()
        return bit

    def _take_byte(self) -> None:
        if self._range < _TOP:
            self._range <<= 8
            self._code = self._code << 8 | self._read()
