"""The extensions that the stacks look at, decoded from their values as liberally as the stacks do.

Each function takes an extension's value as encoded and raises ValueError where no stack could make sense of it. What a
stack makes of a value is decided by the rules.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from .pem import children
from .x509_fields import BIT_STRING, BOOLEAN, INTEGER, OCTET_STRING, OID, SEQUENCE, boolean, object_identifier, only

SERVER_AUTH, ANY_USE = "1.3.6.1.5.5.7.3.1", "2.5.29.37.0"
KEY_USAGES = (
    *("digitalSignature", "nonRepudiation", "keyEncipherment", "dataEncipherment", "keyAgreement"),
    *("keyCertSign", "cRLSign", "encipherOnly", "decipherOnly"),
)
"""The bits, from the first on (RFC 5280, 4.2.1.3)."""
CONTEXT, CONSTRUCTED = 0x80, 0xA0  # of tags 0 and up
DNS_NAME, DIRECTORY_NAME, URI, IP_ADDRESS = CONTEXT + 2, CONSTRUCTED + 4, CONTEXT + 6, CONTEXT + 7
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Subtree = str | IpNetwork
"""A part of the host names, or of the addresses."""


@dataclass(frozen=True)
class BasicConstraints:
    """Whether it is a CA, and how many intermediates may stand below it, None for any number."""

    ca: bool
    path_length: int | None


@dataclass(frozen=True)
class AlternativeNames:
    """Host names, addresses and URIs, each in its order."""

    hosts: tuple[str, ...] = ()
    addresses: tuple[IpAddress, ...] = ()
    uris: tuple[str, ...] = ()


@dataclass(frozen=True)
class AuthorityKeyIdentifier:
    """Whose key signed: its identifier, and name (as encoded) and serial number of its certificate's issuer."""

    key: bytes | None = None
    issuer: bytes | None = None
    serial: int | None = None


@dataclass(frozen=True)
class NameConstraints:
    """The parts of the host names and addresses that are permitted and excluded."""

    permitted: tuple[Subtree, ...] = ()
    excluded: tuple[Subtree, ...] = ()


def basic_constraints(value: bytes) -> BasicConstraints:
    """Return the basic constraints."""
    parts = list(children(only(children(value), SEQUENCE)))
    ca = boolean(parts.pop(0)[1]) if parts and parts[0][0] == BOOLEAN else False
    if not parts:
        return BasicConstraints(ca, None)
    length = int.from_bytes(only(parts, INTEGER), "big", signed=True)
    if length < 0:
        raise ValueError("a path length below zero")
    return BasicConstraints(ca, length)


def key_usage(value: bytes) -> frozenset[str]:
    """Return the usages, by the names of KEY_USAGES."""
    content = only(children(value), BIT_STRING)
    if not content or content[0] > 7:
        raise ValueError("a key usage without its count of unused bits")
    bits = int.from_bytes(content[1:3].ljust(2, b"\0"), "big")
    return frozenset(name for index, name in enumerate(KEY_USAGES) if bits & 0x8000 >> index)


def extended_key_usage(value: bytes) -> frozenset[str]:
    """Return what the key is for, as object identifiers in dots."""
    return frozenset(object_identifier(only([element], OID)) for element in children(only(children(value), SEQUENCE)))


def subject_key_identifier(value: bytes) -> bytes:
    """Return the identifier."""
    return only(children(value), OCTET_STRING)


def authority_key_identifier(value: bytes) -> AuthorityKeyIdentifier:
    """Return the key's identifier, and issuer and serial number, as far as they are there."""
    parts = {tag: content for tag, content, _ in children(only(children(value), SEQUENCE))}
    serial = parts.get(CONTEXT + 2)
    issuers = [content for tag, content, _ in children(parts.get(CONSTRUCTED + 1, b"")) if tag == DIRECTORY_NAME]
    return AuthorityKeyIdentifier(
        parts.get(CONTEXT),
        issuers[0] if issuers else None,
        None if serial is None else int.from_bytes(serial, "big", signed=True),
    )


def alternative_names(value: bytes) -> AlternativeNames:
    """Return host names, addresses and URIs; other kinds of names are not looked at, nor is what is not an address."""
    hosts, addresses, uris = [], [], []
    for tag, content, _ in children(only(children(value), SEQUENCE)):
        if tag == DNS_NAME:
            hosts.append(_text(content))
        elif tag == URI:
            uris.append(_text(content))
        elif tag == IP_ADDRESS and len(content) in (4, 16):
            addresses.append(ipaddress.ip_address(content))
    return AlternativeNames(tuple(hosts), tuple(addresses), tuple(uris))


def name_constraints(value: bytes) -> NameConstraints:
    """Return the host names and addresses among the constraints."""
    parts = {tag: content for tag, content, _ in children(only(children(value), SEQUENCE))}
    return NameConstraints(*(_subtrees(parts.get(CONSTRUCTED + index, b"")) for index in (0, 1)))


def policies(value: bytes) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return each policy with the kinds of its qualifiers, all as object identifiers in dots."""
    return tuple(_policy(children(only([element], SEQUENCE))) for element in children(only(children(value), SEQUENCE)))


def _policy(parts: tuple[tuple[int, bytes, bytes], ...]) -> tuple[str, tuple[str, ...]]:
    listed = children(only(parts[1:], SEQUENCE)) if parts[1:] else ()
    kinds = (object_identifier(only(children(only([element], SEQUENCE))[:1], OID)) for element in listed)
    return object_identifier(only(parts[:1], OID)), tuple(kinds)


def _subtrees(content: bytes) -> tuple[Subtree, ...]:
    bases = (base for element in children(content) for base in children(only([element], SEQUENCE))[:1])
    subtrees = (_subtree(tag, base) for tag, base, _ in bases)
    return tuple(subtree for subtree in subtrees if subtree is not None)


def _subtree(tag: int, base: bytes) -> Subtree | None:
    if tag == DNS_NAME:
        return _text(base)
    if tag != IP_ADDRESS or len(base) not in (8, 32):
        return None
    half = len(base) // 2
    bits = f"{int.from_bytes(base[half:], 'big'):0{8 * half}b}"
    if "01" in bits:
        raise ValueError("name constraints with a mask that is none")
    return ipaddress.ip_network((base[:half], bits.count("1")), strict=False)


def _text(content: bytes) -> str:
    return content.decode("latin-1")  # IA5String: what is not ASCII matches no name
