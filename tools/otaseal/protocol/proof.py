"""Proof of a device's name: what the library says of it, what its MAC is over, and whether that holds. Pure.

A device proves its MAC address by a key that nobody else has: HMAC-SHA256 of what it says, and of a number that is
higher each time, so that what was overheard or kept counts once. docs/adr/0020-proof.md has the reasons.
"""

from __future__ import annotations

import hmac
import re
from binascii import unhexlify
from collections.abc import Iterable
from typing import NamedTuple

from ..chips.families import PREFIXES
from ..errors import InputError

PROOF_HEADER, CAPABILITIES_HEADER = "X-Otaseal-Proof", "X-Otaseal-Capabilities"
"""Of requests and of answers."""
OFFERED = ("proof", "enroll")
"""What the server can, in its answer to who says what it can itself; unknown words are passed over on both sides."""
CAPABILITIES = " ".join(("1", *OFFERED))
MAC_BYTES = 16
UNKNOWN, WRONG, AFTER = "unknown", "wrong", "after"
"""What is answered where a proof does not hold: the server knows no key, or another; the number is not above this."""
_FIRST = b"otaseal-proof-1"
_PROOF = re.compile(rb"([0-9a-f]{12}) (0|[1-9][0-9]{0,9}) ([0-9a-f]{32})(?: ([0-9a-f]{64}))?(?=\r\n)")
_SAID = tuple(f"x-otaseal-{name}".encode() for name in ("counter", "error", "certs", "board", "capabilities"))
_VERSIONS, _MD5S = (tuple(f"{prefix}{name}".encode() for prefix in PREFIXES) for name in ("version", "sketch-md5"))


class Proof(NamedTuple):
    """What a device says to prove its `name`, as `name_of` has it.

    `mac` is the first half of an HMAC; `key` is there where the server said that it does not know it.
    """

    name: bytes
    sequence: int
    mac: bytes
    key: bytes | None = None

    @property
    def device(self) -> str:
        """Its MAC address as `AA:BB:CC:DD:EE:FF`."""
        digits = self.name.decode().upper()
        return ":".join(digits[start : start + 2] for start in range(0, 12, 2))


def parse_proof(value: bytes) -> Proof:
    """Return what the value of PROOF_HEADER says; raises InputError, which does not quote it: a key may be in it."""
    found = find_proof(value + b"\r\n", 0)
    if found is None or found[1] != len(value):
        raise InputError(
            f"header '{PROOF_HEADER}', of {len(value)} bytes, is not a proof",
            "send a name, a number, a MAC and a key as the OtaSeal library does",
        )
    return found[0]


def find_proof(data: bytes, start: int) -> tuple[Proof, int] | None:
    """Return the proof that a line in `data` is from `start` on, and where the line ends; None for anything else."""
    match = _PROOF.match(data, start)
    if match is None:
        return None
    name, number, mac, key = match.groups()
    sequence = int(number)
    if sequence > 0xFFFFFFFF:
        return None
    return Proof(name, sequence, unhexlify(mac), key and unhexlify(key)), match.end()


def name_of(device: str) -> bytes:
    """Return the name that a device proves, of its MAC address: 12 lower-case hex digits."""
    return device.replace(":", "").lower().encode()


class Said(NamedTuple):
    """What proofs are over, `before` the name of the device and `behind` it, but for the number: the same all day."""

    before: bytes
    behind: bytes

    def by(self, device: str) -> bytes:
        """Return what a proof by the device with this MAC address is over."""
        return self.before + name_of(device) + self.behind


def said(path: str, headers: Iterable[tuple[bytes, bytes]]) -> Said:
    """Return what is said in a request: `path` is the decoded one, `headers` have names in lower case."""
    given = {name: value.strip() for name, value in headers}
    version, md5 = (next((given[name] for name in names if name in given), b"") for names in (_VERSIONS, _MD5S))
    values = version, md5, *(given.get(name, b"") for name in _SAID)
    return Said(b"\n".join((_FIRST, path.encode("utf-8", "surrogateescape"), b"")), b"\n".join((b"", *values, b"")))


def holds(proof: Proof, key: bytes, text: bytes) -> bool:
    """Return whether who has `key` said `text`, which `Said.by` returned, with the number in `proof`."""
    made = hmac.digest(key, text + b"%d\n" % proof.sequence, "sha256")
    return hmac.compare_digest(made[:MAC_BYTES], proof.mac)
