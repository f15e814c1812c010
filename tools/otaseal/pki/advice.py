"""What no stack refuses, and what still costs or crashes devices: the second table of `check`.

Pure. A row returns one message for each thing found. `dangerous` rows make a chain bad although all accept
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..certs.x509_fields import strict_objection
from .certificate import Certificate
from .profile import MIN_SUBJECT_BYTES
from .rules import key_name

__all__ = ["ADVICE", "Advice", "Chain"]

LONGEST_DAYS = 398  # what browsers and Apple's stack take at most, the first and the last day included


@dataclass(frozen=True)
class Chain:
    """The certificates as sent, leaf first, and the anchors."""

    sent: tuple[Certificate, ...]
    anchors: tuple[Certificate, ...]


@dataclass(frozen=True)
class Advice:
    """A row: `find` returns a message for each thing found."""

    id: str
    fact: str
    find: Callable[[Chain], list[str]]
    hint: str
    dangerous: bool = False


def _short_subject(chain: Chain) -> list[str]:
    return [
        f"the subject of the anchor '{anchor.title}' encodes to {len(anchor.subject)} bytes, and the device copies 32"
        for anchor in chain.anchors
        if len(anchor.subject) < MIN_SUBJECT_BYTES
    ]


def _shadowed(chain: Chain) -> list[str]:
    subjects = [anchor.subject for anchor in chain.anchors]
    return [
        f"there is another anchor with the subject '{anchor.title}', and the device finds only the first"
        for index, anchor in enumerate(chain.anchors)
        if anchor.subject in subjects[:index]
    ]


def _weak_key(chain: Chain) -> list[str]:
    found = [(cert, *key_name(cert)) for cert in dict.fromkeys((*chain.sent, *chain.anchors))]
    return [
        f"'{cert.title}' has an RSA key of {bits} bits, which the device accepts and anybody can afford to break"
        for cert, kind, bits in found
        if kind == "RSA" and bits < 2048
    ]


def _weak_hash(chain: Chain) -> list[str]:
    hashed = [cert for cert in chain.sent if not cert.self_issued and cert.hash_name == "sha1"]
    return [f"'{cert.title}' is signed over SHA-1, which the device accepts" for cert in hashed]


def _dear_key(chain: Chain) -> list[str]:
    found = [(cert, *key_name(cert)) for cert in dict.fromkeys((*chain.sent, *chain.anchors))]
    return [
        f"'{cert.title}' has a key that costs the device several times an RSA-2048 handshake: {kind} {bits}"
        for cert, kind, bits in found
        if (kind == "RSA" and bits > 2048) or (kind == "P" and bits > 256)
    ]


def _root_sent(chain: Chain) -> list[str]:
    return [f"the root '{cert.title}' is sent" for cert in chain.sent[1:] if cert.self_issued]


def _long_life(chain: Chain) -> list[str]:
    leaf = chain.sent[0].fields
    days = (leaf.not_after - leaf.not_before).days
    return [f"the server's certificate is valid for {days} days"] if days > LONGEST_DAYS else []


def _anchor_is_server(chain: Chain) -> list[str]:
    return ["the server's own certificate is the trust anchor"] if chain.sent[0] in chain.anchors else []


def _not_strict(chain: Chain) -> list[str]:
    found = ((cert, strict_objection(cert.der)) for cert in dict.fromkeys((*chain.sent, *chain.anchors)))
    return [
        f"'{cert.title}': {objection} cannot be read by decoders that insist on DER, Python's cryptography among them"
        for cert, objection in found
        if objection is not None
    ]


ADVICE = (
    Advice("short-subject", "F18", _short_subject, "issue the root anew with a longer name", dangerous=True),
    Advice("shadowed-anchor", "F17", _shadowed, "drop one of them, or issue it under another name", dangerous=True),
    Advice("weak-key", "F2, F26", _weak_key, "RSA needs 2048 bits", dangerous=True),
    Advice("weak-hash", "F26", _weak_hash, "sign with SHA-256", dangerous=True),
    Advice("dear-key", "F27d", _dear_key, "RSA-2048 or P-256, for the server and above it"),
    Advice("root-sent", "F27b", _root_sent, "leave it out: whoever trusts it has it"),
    Advice("long-life", "F27b", _long_life, f"browsers and Apple's stack take {LONGEST_DAYS} days at most"),
    Advice("not-strict-der", "X.690", _not_strict, "nothing to do for the four stacks here; issued anew it suits all"),
    Advice("anchor-is-server", "F18c", _anchor_is_server, "trust a CA: this one cannot be renewed without the devices"),
)
