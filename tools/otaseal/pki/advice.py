"""Faults that no stack refuses but that cost or crash devices: the second table of `check`.

Pure. `dangerous` rows make a chain bad although all accept it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..certs.x509_fields import strict_objection
from .certificate import Certificate
from .profile import MIN_SUBJECT_BYTES
from .rules import key_name

LONGEST_DAYS = 398  # what browsers and Apple's stack take at most, the first and the last day included


@dataclass(frozen=True)
class Chain:
    """The certificates as sent, leaf first, and the anchors."""

    sent: tuple[Certificate, ...]
    anchors: tuple[Certificate, ...]

    @property
    def all(self) -> tuple[Certificate, ...]:
        """Every certificate once."""
        return tuple(dict.fromkeys((*self.sent, *self.anchors)))


@dataclass(frozen=True)
class Advice:
    """A row: `find` yields a message for each thing found."""

    id: str
    fact: str
    find: Callable[[Chain], Iterator[str]]
    hint: str
    dangerous: bool = False


def _short_subject(chain: Chain) -> Iterator[str]:
    for cert in chain.anchors:
        if len(cert.subject) < MIN_SUBJECT_BYTES:
            size = len(cert.subject)
            yield f"the subject of the anchor '{cert.title}' encodes to {size} bytes, and the device copies 32"


def _shadowed(chain: Chain) -> Iterator[str]:
    subjects = [cert.subject for cert in chain.anchors]
    for index, cert in enumerate(chain.anchors):
        if cert.subject in subjects[:index]:
            yield f"there is another anchor with the subject '{cert.title}', and the device finds only the first"


def _weak_key(chain: Chain) -> Iterator[str]:
    for cert in chain.all:
        kind, bits = key_name(cert)
        if kind == "RSA" and bits < 2048:
            weakness = "which the device accepts and anybody can afford to break"
            yield f"'{cert.title}' has an RSA key of {bits} bits, {weakness}"


def _weak_hash(chain: Chain) -> Iterator[str]:
    for cert in chain.sent:
        if not cert.self_issued and cert.hash_name == "sha1":
            yield f"'{cert.title}' is signed over SHA-1, which the device accepts"


def _costly_key(chain: Chain) -> Iterator[str]:
    for cert in chain.all:
        kind, bits = key_name(cert)
        if (kind == "RSA" and bits > 2048) or (kind == "P" and bits > 256):
            yield f"'{cert.title}' has a key that costs the device several times an RSA-2048 handshake: {kind} {bits}"


def _root_sent(chain: Chain) -> Iterator[str]:
    for cert in chain.sent[1:]:
        if cert.self_issued:
            yield f"the root '{cert.title}' is sent"


def _long_life(chain: Chain) -> Iterator[str]:
    leaf = chain.sent[0].fields
    days = (leaf.not_after - leaf.not_before).days
    if days > LONGEST_DAYS:
        yield f"the server's certificate is valid for {days} days"


def _anchor_is_server(chain: Chain) -> Iterator[str]:
    if chain.sent[0] in chain.anchors:
        yield "the server's own certificate is the trust anchor"


def _not_strict(chain: Chain) -> Iterator[str]:
    for cert in chain.all:
        if (objection := strict_objection(cert.der)) is not None:
            decoders = "decoders that insist on DER, Python's cryptography among them"
            yield f"'{cert.title}': {objection} cannot be read by {decoders}"


ADVICE = (
    Advice("short-subject", "F18", _short_subject, "issue the root anew with a longer name", dangerous=True),
    Advice("shadowed-anchor", "F17", _shadowed, "drop one of them, or issue it under another name", dangerous=True),
    Advice("weak-key", "F2, F26", _weak_key, "RSA needs 2048 bits", dangerous=True),
    Advice("weak-hash", "F26", _weak_hash, "sign with SHA-256", dangerous=True),
    Advice("dear-key", "F27d", _costly_key, "RSA-2048 or P-256, for the server and above it"),
    Advice("root-sent", "F27b", _root_sent, "leave it out: whoever trusts it has it"),
    Advice("long-life", "F27b", _long_life, f"browsers and Apple's stack take {LONGEST_DAYS} days at most"),
    Advice("not-strict-der", "X.690", _not_strict, "nothing to do for the four stacks here; issued anew it suits all"),
    Advice("anchor-is-server", "F18c", _anchor_is_server, "trust a CA: this one cannot be renewed without the devices"),
)
