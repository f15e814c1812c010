"""The heads of requests, and what of them is remembered: one for a fleet.

What its devices say differs in the proof of a name, which is another one each time, and in a few lines about the chip.
These are cut out of the bytes, and stand beside the head that is left.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ...protocol.proof import PROOF_HEADER, Proof, find_proof

REMEMBERED_BYTES, MAX_REMEMBERED_BYTES = 1024, 32 * 1024 * 1024
"""How long a head may be that is remembered, and what all of them may take: those of a fleet take a few KB, and of
devices with something else of their own in the head, 6,000 have room."""
_HEAD_COST, _HEADER_COST = 2048, 128
"""Bytes that a remembered head takes at most with the `memo` of it, and each header of it, beside twice its text."""
_PROOF_START = f"\r\n{PROOF_HEADER}: ".encode()
_NEWLINE = 10
_CHIPS = (
    ("ESP8266", "Chip-ID", "STA-MAC", "AP-MAC"),
    ("ESP32", "STA-MAC", "AP-MAC"),
    ("ESP32", "BASE-MAC", "STA-MAC", "AP-MAC"),
    ("Pico", "Chip-ID", "STA-MAC", "AP-MAC"),
)
"""The headers that are one chip's alone, as the cores write them, one behind the other (F28, F48, F57)."""
_MAC = ":".join(["[0-9A-Fa-f]{2}"] * 6)
_VALUES = {"Chip-ID": "[0-9A-F]{1,16}", "STA-MAC": f"({_MAC})", "AP-MAC": _MAC, "BASE-MAC": _MAC}
_CHIP = re.compile(
    "|".join(
        "".join(rf"\r\nx-{chip}-{name}: {_VALUES[name]}" for name in names) + r"(?=\r\n)" for chip, *names in _CHIPS
    ).encode()
)
_EMPTY = [b"".join(f"\r\nx-{chip}-{name}: ".encode() for name in names) for chip, *names in _CHIPS]


@dataclass(eq=False, slots=True)
class Head:
    """A request's head: the path decoded, header names in lower case, in order.

    `has_body`: bytes follow that are no request. `keeps`: the client keeps the connection open. A head that is
    remembered is one object, and with it the `memo` of who answers it.
    """

    method: str
    path: str
    headers: Sequence[tuple[bytes, bytes]]
    version: str
    keeps: bool
    has_body: bool
    memo: Any = None


class Received(NamedTuple):
    """A request: its head without the header of the proof, and what that says, None where there is none.

    `mac` is the station's MAC address where it was cut out of the head with what else is one chip's alone: those
    headers are empty there.
    """

    head: Head
    proof: Proof | None = None
    mac: str | None = None


NO_HEAD = Head("other", "", (), "1.1", keeps=False, has_body=False)
"""Of a request that cannot be read."""


def without_proof(data: bytes) -> tuple[bytes, Proof | None]:
    """Return a head in bytes without its line with a proof, as the library writes it, and that proof.

    Of anything else, the same bytes and None. What is left says what it would with the line in it: the line is not the
    first one, and does not stand behind the head's end. That a line goes on in the next one llhttp takes for no HTTP.
    """
    start = data.rfind(_PROOF_START)
    if start <= 0 or data[start - 1] == _NEWLINE:
        return data, None
    found = find_proof(data, start + len(_PROOF_START))
    return (data, None) if found is None else (data[:start] + data[found[1] :], found[0])


def without_chip(data: bytes) -> tuple[bytes, str | None]:
    """Return a head in bytes with nothing behind the names of the lines that one chip alone says, and its MAC address.

    Of anything but these lines as a core writes them, the same bytes and None. What is left is a head with the same
    names of headers; where it can be read, each value that was cut out was read as a header's, and well formed.
    """
    match = _CHIP.search(data)
    if match is None or match.lastindex is None:
        return data, None
    start, end = match.span()
    return data[:start] + _EMPTY[match.lastindex - 1] + data[end:], match[match.lastindex].decode().upper()


class RememberedHeads:
    """Bytes that were exactly one head, and what they say, those that came last."""

    def __init__(self) -> None:
        self._heads: OrderedDict[bytes, Head] = OrderedDict()
        self.size = 0

    def get(self, text: bytes) -> Head | None:
        """Return what these bytes say, None where that is not remembered."""
        head = self._heads.get(text)
        if head is not None:
            self._heads.move_to_end(text)
        return head

    def put(self, text: bytes, head: Head) -> None:
        """Remember what bytes say that are not remembered yet, and drop others where there is no room."""
        self._heads[text] = head
        self.size += _cost(text, head)
        while self.size > MAX_REMEMBERED_BYTES:
            self.size -= _cost(*self._heads.popitem(last=False))


def _cost(text: bytes, head: Head) -> int:
    return _HEAD_COST + 2 * len(text) + _HEADER_COST * len(head.headers)
