"""`probeMaxFragmentLength`: a hello by hand on a connection of its own, which is dropped after the answer (F27c)."""

from __future__ import annotations

from . import tls_messages as messages
from .connection import Socket, dial
from .tls_messages import FRAGMENT_LENGTHS, MAX_FRAGMENT_LENGTH, Reader, vector
from .tls_suites import TlsClosed

RANDOM = bytes.fromhex("0102030405060708111213141516171801020304050607081112131415161718")
MAX_EXTENSION = 32
GOODBYE = bytes.fromhex("1503030002015a15030300020100")  # user cancelled, close notify
SMALLEST = 4 + 2 + 32 + 1 + 2 + 1


def probe_hello(size: int) -> bytes:
    """Return the record that asks for records of `size` bytes: 512, 1024, 2048 or 4096. It names no server."""
    asked = messages.ALGORITHMS + messages.extension(MAX_FRAGMENT_LENGTH, bytes([FRAGMENT_LENGTHS[size]]))
    return b"\x16\3\3" + vector(messages.client_hello(RANDOM, b"", asked), 2)


def probe_fragment_length(address: str, port: int, size: int, timeout: float) -> bool:
    """Return whether the server confirms records of `size` bytes; False, too, where nobody answers or no TLS 1.2."""
    if size not in FRAGMENT_LENGTHS:
        return False
    connection = dial(address, port, timeout)
    if not isinstance(connection, Socket):
        return False
    try:
        if not connection.send(probe_hello(size)):
            return False
        head = connection.take(5)
        length = int.from_bytes(head[3:5], "big")
        return head[:3] == b"\x16\3\3" and length >= SMALLEST and _confirms(Reader(connection.take(length)))
    except TlsClosed:
        return False
    finally:
        connection.send(GOODBYE)
        connection.close()


def _confirms(hello: Reader) -> bool:
    """Look for the extension in a ServerHello that fills its record; the cipher suite is not looked at.

    Raises TlsClosed for one that is malformed.
    """
    if hello.number(1) != messages.SERVER_HELLO or hello.number(3) != hello.left or hello.take(2) != b"\3\3":
        return False
    hello.take(32)
    if len(hello.vector(1)) > 32:
        return False
    hello.take(2)
    if hello.number(1) or not hello.number(2):
        return False
    while hello.left:
        kind, value = hello.number(2), hello.vector(2)
        if len(value) > MAX_EXTENSION:
            return False
        if kind == MAX_FRAGMENT_LENGTH:
            return len(value) == 1
    return False
