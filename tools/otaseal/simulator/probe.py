"""`probeMaxFragmentLength`: a hello by hand on a connection of its own, which is dropped after the answer (F27c)."""

from __future__ import annotations

from .connection import Endpoint, Socket, dial
from .tls_messages import FRAGMENT_LENGTHS, SERVER_HELLO, SIGNATURES, Vector, message, vector
from .tls_suites import SUITES, TlsStop

__all__ = ["probe_fragment_length", "probe_hello"]

RANDOM = bytes.fromhex("0102030405060708111213141516171801020304050607081112131415161718")
# Signature algorithms, groups, point format: fixed bytes, and no server name, as the core has them in its flash.
EXTENSIONS = bytes.fromhex("000d00160014") + SIGNATURES + bytes.fromhex("000a000a0008001700180019001d" + "000b00020100")
MAX_FRAGMENT = 1
MAX_EXTENSION = 32
GOODBYE = bytes.fromhex("1503030002015a15030300020100")  # user cancelled, close notify
SMALLEST = 4 + 2 + 32 + 1 + 2 + 1


def probe_hello(size: int) -> bytes:
    """Return the record that asks for records of `size` bytes: 512, 1024, 2048 or 4096."""
    suites = b"".join(suite.to_bytes(2, "big") for suite in SUITES)
    asked = EXTENSIONS + b"\0\1\0\1" + bytes([FRAGMENT_LENGTHS[size]])
    body = b"\3\3" + RANDOM + b"\0" + vector(suites, 2) + b"\1\0" + vector(asked, 2)
    return b"\x16\3\3" + vector(message(1, body), 2)


def probe_fragment_length(endpoint: Endpoint, size: int, timeout: float) -> bool:
    """Return whether the server confirms records of `size` bytes; False, too, where nobody answers or no TLS 1.2."""
    if size not in FRAGMENT_LENGTHS:
        return False
    connection = dial(endpoint, timeout)
    if not isinstance(connection, Socket):
        return False
    try:
        if not connection.send(probe_hello(size)):
            return False
        head = connection.take(5)
        length = int.from_bytes(head[3:5], "big")
        if head[:3] != b"\x16\3\3" or length < SMALLEST:
            return False
        return _confirms(connection.take(length))
    finally:
        connection.send(GOODBYE)
        connection.close()


def _confirms(record: bytes) -> bool:
    """Look for the extension in a ServerHello that fills its record; the cipher suite is not looked at."""
    reader = Vector(record)
    try:
        if reader.number(1) != SERVER_HELLO or reader.number(3) != reader.left or reader.take(2) != b"\3\3":
            return False
        reader.take(32)
        if len(reader.sub(1)) > 32:
            return False
        reader.take(2)
        if reader.number(1) or not reader.number(2):
            return False
        while reader.left:
            kind, value = reader.number(2), reader.sub(2)
            if len(value) > MAX_EXTENSION:
                return False
            if kind == MAX_FRAGMENT:
                return len(value) == 1
    except TlsStop:
        pass
    return False
