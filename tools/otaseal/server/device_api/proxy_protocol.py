"""The header by which a forwarder of TCP says whose connection it hands on: PROXY protocol, version 2.

It is read from the addresses alone that --proxy-protocol-from names, and has to come first there: from anybody else the
same bytes are no TLS. Source: HAProxy's doc/proxy-protocol.txt, section 2.2.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import cache
from struct import Struct
from typing import NamedTuple

from ...errors import ConfigError, InputError

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
MAX_ADDED = 2048
"""Bytes after the fixed part: HAProxy sends up to 300, with all of its options."""
HINT = "let the forwarder send PROXY protocol version 2 (HAProxy: send-proxy-v2), or do not name it"

_FIXED = Struct("!12sBBH")
_TLV = Struct("!BH")
_VERSION, _LOCAL, _PROXY = 2, 0, 1
_FAMILIES = {0: 0, 1: 12, 2: 36, 3: 216}  # unspecified, IPv4, IPv6, Unix: bytes of both addresses and ports
_STREAM, _PROTOCOLS = 1, (0, 1, 2)  # unspecified, stream, datagrams
_ADDRESSES = {1: 4, 2: 16}
_CRC32C, _POLYNOMIAL = 3, 0x82F63B78  # RFC 9260, appendix A, reflected

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Header(NamedTuple):
    """A header of `size` bytes; `client` is who connected, None where the forwarder speaks for itself."""

    size: int
    client: str | None


def parse_network(text: str) -> Network:
    """Return the address or the network, as 10.0.0.0/24, whose connections begin with a header; raises ConfigError."""
    try:
        network = ipaddress.ip_network(text)
    except ValueError as error:
        raise ConfigError(
            f"'{text}' is no address of a forwarder, and no network", "write 10.0.0.5, 10.0.0.0/24 or fd00::5"
        ) from error
    if not network.prefixlen:
        raise ConfigError(
            f"'{text}' is every address, and everybody could say that he is somebody else", "name the forwarder's own"
        )
    return network


def is_forwarder(address: str | None, networks: Sequence[Network]) -> bool:
    """Return whether a connection from `address` has to begin with a header."""
    if not networks or address is None:
        return False
    parsed = ipaddress.ip_address(address.partition("%")[0])
    return any(parsed in network for network in networks)


def parse_header(data: bytes) -> Header | None:
    """Return the header at the beginning of `data`, None while it is not whole; raises InputError for anything else."""
    if not data.startswith(SIGNATURE[: len(data)]):
        version_1 = data.startswith(b"PROXY ")
        raise InputError(f"{'version 1' if version_1 else 'no header'} of the PROXY protocol, but version 2", HINT)
    if len(data) < _FIXED.size:
        return None
    _, version_command, family_protocol, added = _FIXED.unpack_from(data)
    version, command = divmod(version_command, 16)
    family, protocol = divmod(family_protocol, 16)
    if version != _VERSION or command not in (_LOCAL, _PROXY) or added > MAX_ADDED:
        raise _invalid(data)
    if command == _PROXY and (family not in _FAMILIES or protocol not in _PROTOCOLS or added < _FAMILIES[family]):
        raise _invalid(data)
    size = _FIXED.size + added
    if len(data) < size:
        return None
    if command == _LOCAL:  # a health check: what it says of addresses is to be ignored
        return Header(size, None)
    if family and protocol:  # what follows something unspecified is so, too
        _check_additions(data[:size], _FIXED.size + _FAMILIES[family])
    if protocol != _STREAM or family not in _ADDRESSES:
        return Header(size, None)
    client = ipaddress.ip_address(data[_FIXED.size : _FIXED.size + _ADDRESSES[family]])
    # A forwarder that listens for both families at once says ::ffff:192.0.2.1 of whom another calls 192.0.2.1.
    return Header(size, str(getattr(client, "ipv4_mapped", None) or client))


def _check_additions(header: bytes, position: int) -> None:
    """Pass over what else is said, and check the checksum where there is one; raises InputError."""
    while position < len(header):
        if position + _TLV.size > len(header):
            raise _invalid(header)
        kind, length = _TLV.unpack_from(header, position)
        value, position = position + _TLV.size, position + _TLV.size + length
        if position > len(header):
            raise _invalid(header)
        if kind == _CRC32C:
            zeroed = header[:value] + bytes(length) + header[position:]
            if length != 4 or int.from_bytes(header[value:position], "big") != crc32c(zeroed):
                raise InputError("a PROXY protocol header whose checksum is another", HINT)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of `data`."""
    table, crc = _table(), 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    rows = []
    for byte in range(256):
        row = byte
        for _ in range(8):
            row = row >> 1 ^ (_POLYNOMIAL if row & 1 else 0)
        rows.append(row)
    return tuple(rows)


def _invalid(data: bytes) -> InputError:
    return InputError(f"a PROXY protocol header that cannot be: {data[:28].hex()}", HINT)
