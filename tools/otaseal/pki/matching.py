"""Whether a certificate is for a name: four stacks, three opinions (F22), all of them here.

Pure. BearSSL and mbedTLS compare the name, an address too, as text with each dNSName; OpenSSL and curl look
for an address among the iPAddress entries only. Who falls back to the common name, and when, differs again.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING

from .chain import Certificate, Stack

if TYPE_CHECKING:
    from cryptography import x509

__all__ = ["breaks_name_constraints", "matches"]

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def matches(stack: Stack, leaf: Certificate, name: str) -> bool:
    """Return whether `stack` takes `leaf` as the certificate of `name`, a host name or an address as text."""
    return _MATCHERS[stack](leaf, name)


def breaks_name_constraints(leaf: Certificate, constraints: x509.NameConstraints) -> str | None:
    """Return the first of the leaf's names that `constraints` do not allow, None if all are (RFC 5280,
    4.2.1.10).

    Only host names and addresses are looked at.
    """
    from cryptography import x509

    texts, addresses = _alternatives(leaf)
    if not texts:
        texts = [one for one in _common_names(leaf) if _address(one) is None]
    excluded = list(constraints.excluded_subtrees or ())
    permitted = list(constraints.permitted_subtrees or ())
    for kind, values in ((x509.DNSName, texts), (x509.IPAddress, addresses)):
        allowed = [one.value for one in permitted if isinstance(one, kind)]
        refused = [one.value for one in excluded if isinstance(one, kind)]
        for value in values:
            if (allowed and not any(_within(value, one) for one in allowed)) or any(
                _within(value, one) for one in refused
            ):
                return str(value)
    return None


def _matches_bearssl(leaf: Certificate, name: str) -> bool:
    return any(_same(one, name) or _wildcard(one, name, 1) for one in _texts_or_common_names(leaf))


def _matches_openssl(leaf: Certificate, name: str) -> bool:
    texts, addresses = _alternatives(leaf)
    address = _address(name)
    if address is not None:
        return address in addresses
    return any(_same(one, name) or _wildcard(one, name, 2) for one in texts or _common_names(leaf))


def _matches_curl(leaf: Certificate, name: str) -> bool:
    texts, addresses = _alternatives(leaf)
    address = _address(name)
    if not texts and not addresses:
        last = _common_names(leaf)[-1:]
        return any(_same(one, name) or (address is None and _wildcard(one, name, 2)) for one in last)
    if address is not None:
        return address in addresses
    return any(_same(one, name) or _wildcard(one, name, 2) for one in texts)


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


def _alternatives(leaf: Certificate) -> tuple[list[str], list[IpAddress]]:
    from cryptography import x509

    found = leaf.extension(x509.SubjectAlternativeName)
    if found is None:
        return [], []
    addresses = found.get_values_for_type(x509.IPAddress)
    return found.get_values_for_type(x509.DNSName), [one for one in addresses if isinstance(one, IpAddress)]


def _texts_or_common_names(leaf: Certificate) -> list[str]:
    from cryptography import x509

    if leaf.extension(x509.SubjectAlternativeName) is None:
        return _common_names(leaf)
    return _alternatives(leaf)[0]


def _common_names(leaf: Certificate) -> list[str]:
    from cryptography.x509.oid import NameOID

    return [str(one.value) for one in leaf.x509.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]


def _address(name: str) -> IpAddress | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _within(value: object, subtree: object) -> bool:
    if isinstance(value, str) and isinstance(subtree, str):
        wanted, had = subtree.lower().lstrip("."), value.lower()
        return not wanted or had == wanted or had.endswith("." + wanted)
    if isinstance(subtree, ipaddress.IPv4Network | ipaddress.IPv6Network):
        return isinstance(value, IpAddress) and value in subtree
    return False
