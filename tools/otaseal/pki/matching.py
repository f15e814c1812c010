"""Whether a certificate is for a name, by the rules of each stack (F22).

BearSSL and mbedTLS compare the name, an address too, as text with each dNSName; OpenSSL and curl look for an address
among the iPAddress entries only. They fall back to the common name under different conditions.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ..certs.x509_extensions import AlternativeNames, IpAddress, NameConstraints, Subtree
from .certificate import Certificate
from .chain import Stack


def matches(stack: Stack, leaf: Certificate, name: str) -> bool:
    """Return whether `stack` takes `leaf` as the certificate of `name`, a host name or an address as text."""
    names, address = leaf.alternatives or AlternativeNames(), _address(name)
    if stack in (Stack.BEARSSL, Stack.MBEDTLS):
        return _covers(leaf.common_names if leaf.alternatives is None else names.hosts, name, dots=1)
    if stack is Stack.CURL and not names.hosts and not names.addresses:
        last = leaf.common_names[-1:]
        return _covers(last, name, dots=2) if address is None else any(_same(text, name) for text in last)
    if address is not None:
        return address in names.addresses
    return _covers(names.hosts or (leaf.common_names if stack is Stack.OPENSSL else ()), name, dots=2)


def breaks_name_constraints(leaf: Certificate, constraints: NameConstraints) -> str | None:
    """Return the leaf's first host name or address that `constraints` do not allow, else None (RFC 5280, 4.2.1.10)."""
    names = leaf.alternatives or AlternativeNames()
    texts, addresses = names.hosts, names.addresses
    if not texts:
        texts = tuple(name for name in leaf.common_names if _address(name) is None)
    for value in (*texts, *addresses):
        permitted, excluded = (
            [subtree for subtree in subtrees if isinstance(subtree, str) is isinstance(value, str)]
            for subtrees in (constraints.permitted, constraints.excluded)
        )
        outside = permitted and not any(_within(value, subtree) for subtree in permitted)
        if outside or any(_within(value, subtree) for subtree in excluded):
            return str(value)
    return None


def _same(pattern: str, name: str) -> bool:
    return pattern.lower() == name.lower()


def _covers(patterns: Iterable[str], name: str, dots: int) -> bool:
    """Whether one of `patterns` is `name`, or its `*.rest` with `dots` at least: `*.local` is too wide for some."""
    _, dot, rest = name.partition(".")
    return any(
        _same(pattern, name)
        or (pattern.startswith("*.") and pattern.count(".") >= dots and bool(dot) and _same(pattern[2:], rest))
        for pattern in patterns
    )


def _address(name: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _within(value: str | IpAddress, subtree: Subtree) -> bool:
    if isinstance(value, str) and isinstance(subtree, str):
        wanted, had = subtree.lower().lstrip("."), value.lower()
        return not wanted or had == wanted or had.endswith("." + wanted)
    return not isinstance(value, str) and not isinstance(subtree, str) and value in subtree
