"""Whether a certificate is for a name, by the rules of each stack (F22).

BearSSL and mbedTLS compare the name, an address too, as text with each dNSName; OpenSSL and curl look
for an address among the iPAddress entries only. Who falls back to the common name, and when, differs again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from ..certs.x509_extensions import AlternativeNames, IpAddress, NameConstraints, Subtree
from .certificate import Certificate
from .chain import Stack


def matches(stack: Stack, leaf: Certificate, name: str) -> bool:
    """Return whether `stack` takes `leaf` as the certificate of `name`, a host name or an address as text."""
    return _MATCHERS[stack](leaf, name)


def breaks_name_constraints(leaf: Certificate, constraints: NameConstraints) -> str | None:
    """Return the leaf's first host name or address that `constraints` do not allow, else None (RFC 5280, 4.2.1.10)."""
    names = leaf.alternatives or AlternativeNames()
    texts, addresses = names.hosts, names.addresses
    if not texts:
        texts = tuple(name for name in leaf.common_names if _address(name) is None)
    for values, is_text in ((texts, True), (addresses, False)):
        allowed = [subtree for subtree in constraints.permitted if isinstance(subtree, str) is is_text]
        refused = [subtree for subtree in constraints.excluded if isinstance(subtree, str) is is_text]
        for value in values:
            if (allowed and not any(_within(value, subtree) for subtree in allowed)) or any(
                _within(value, subtree) for subtree in refused
            ):
                return str(value)
    return None


def _matches_bearssl(leaf: Certificate, name: str) -> bool:
    texts = leaf.common_names if leaf.alternatives is None else leaf.alternatives.hosts
    return any(_same(text, name) or _wildcard(text, name, 1) for text in texts)


def _matches_openssl(leaf: Certificate, name: str) -> bool:
    names = leaf.alternatives or AlternativeNames()
    texts, addresses = names.hosts, names.addresses
    address = _address(name)
    if address is not None:
        return address in addresses
    return any(_same(text, name) or _wildcard(text, name, 2) for text in texts or leaf.common_names)


def _matches_curl(leaf: Certificate, name: str) -> bool:
    names = leaf.alternatives or AlternativeNames()
    texts, addresses = names.hosts, names.addresses
    address = _address(name)
    if not texts and not addresses:
        last = leaf.common_names[-1:]
        return any(_same(text, name) or (address is None and _wildcard(text, name, 2)) for text in last)
    if address is not None:
        return address in addresses
    return any(_same(text, name) or _wildcard(text, name, 2) for text in texts)


_MATCHERS: dict[Stack, Callable[[Certificate, str], bool]] = {
    Stack.BEARSSL: _matches_bearssl,
    Stack.MBEDTLS: _matches_bearssl,
    Stack.OPENSSL: _matches_openssl,
    Stack.CURL: _matches_curl,
}


def _same(pattern: str, name: str) -> bool:
    return pattern.lower() == name.lower()


def _wildcard(pattern: str, name: str, dots: int) -> bool:
    """Whether `*.rest` covers `name`; `dots`: how many the pattern needs, because `*.local` is too wide for some."""
    _, dot, rest = name.partition(".")
    return pattern.startswith("*.") and pattern.count(".") >= dots and bool(dot) and _same(pattern[2:], rest)


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
