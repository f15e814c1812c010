"""Proof of a device's name: what the library says of it, what its MAC is over, and whether that holds. Pure.

A device proves its MAC address by a key that nobody else has: HMAC-SHA256 of what it says, and of a number that is
higher each time, so that what was overheard or kept counts once. docs/adr/0020-proof.md has the reasons.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from typing import NamedTuple

from ..chips.families import PREFIXES
from ..errors import InputError

PROOF_HEADER, CAPABILITIES_HEADER = "X-Otaseal-Proof", "X-Otaseal-Capabilities"
"""Of requests and of answers."""
OFFERED = ("proof", "enroll")
"""What the server can, in its answer to who says what it can itself; unknown words are passed over on both sides."""
CAPABILITIES = " ".join(("1", *OFFERED))
MAC_BYTES, KEY_BYTES = 16, 32
UNKNOWN, WRONG, AFTER = "unknown", "wrong", "after"
"""What is answered where a proof does not hold: the server knows no key, or another; the number is not above this."""
_FIRST = b"otaseal-proof-1"
_PROOF = re.compile(rb"([0-9a-f]{12}) (0|[1-9][0-9]{0,9}) ([0-9a-f]{32})(?: ([0-9a-f]{64}))?")
_SAID = tuple(f"x-otaseal-{name}".encode() for name in ("counter", "error", "certs", "board", "capabilities"))
_VERSIONS, _MD5S = (tuple(f"{prefix}{name}".encode() for prefix in PREFIXES) for name in ("version", "sketch-md5"))


class Proof(NamedTuple):
    """What a device says to prove that it is `device`: its MAC address as `AA:BB:CC:DD:EE:FF`.

    `mac` is the first half of an HMAC; `key` is there where the server said that it does not know it.
    """

    device: str
    sequence: int
    mac: bytes
    key: bytes | None = None


def parse_proof(value: bytes) -> Proof:
    """Return what the value of PROOF_HEADER says; raises InputError."""
    match = _PROOF.fullmatch(value)
    if match is None or (sequence := int(match[2])) > 0xFFFFFFFF:
        raise InputError(
            f"header '{PROOF_HEADER}' is '{value[:128].decode('latin-1')}', not a proof",
            "send a name, a number, a MAC and a key as the OtaSeal library does",
        )
    name, key = match[1].decode().upper(), match[4]
    device = ":".join(name[start : start + 2] for start in range(0, 12, 2))
    return Proof(device, sequence, bytes.fromhex(match[3].decode()), key and bytes.fromhex(key.decode()))


def said(path: str, device: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return what a proof by `device` is over, but for the number: the text is the same all day.

    `path` is the decoded one that is asked for; `headers` have names in lower case.
    """
    given = {name: value.strip() for name, value in headers}
    version, md5 = (next((given[name] for name in names if name in given), b"") for names in (_VERSIONS, _MD5S))
    name = device.replace(":", "").lower().encode()
    values = path.encode("utf-8", "surrogateescape"), name, version, md5, *(given.get(name, b"") for name in _SAID)
    return b"\n".join((_FIRST, *values, b""))


def holds(proof: Proof, key: bytes, text: bytes) -> bool:
    """Return whether a device that has `key` said this: `text` is what `said` returned."""
    computed = hmac.digest(key, b"%b%d\n" % (text, proof.sequence), "sha256")[:MAC_BYTES]
    return hmac.compare_digest(computed, proof.mac)
