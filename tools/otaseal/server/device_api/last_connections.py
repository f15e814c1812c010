"""Ends a listening socket so that nobody who is connected already gets a reset.

A connection that completes between the last look at the queue and the close of the socket is reset by the kernel, and
whoever forwards it in TCP (HAProxy) cannot ask another server any more. So Linux drops new requests to connect first:
their clients repeat them, and are refused once the socket is closed, which a forwarder answers by asking elsewhere.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys

HALF_OPEN_SECONDS = 0.1
"""How long those that have begun to connect have to complete."""
_ATTACH_FILTER = 26
_SYN, _SYN_OR_ACK, _FLAGS_AT = 0x02, 0x12, 13
# Classic BPF over the TCP header: load the flags, keep SYN and ACK, drop where only SYN is left, else take all of it.
_DROP_SYN = (
    (0x30, 0, 0, _FLAGS_AT),
    (0x54, 0, 0, _SYN_OR_ACK),
    (0x15, 0, 1, _SYN),
    (0x06, 0, 0, 0),
    (0x06, 0, 0, 0xFFFF_FFFF),
)


def take_no_more(listening: socket.socket) -> bool:
    """Let nobody new connect to a listening socket, without a refusal; return False where the system cannot do that."""
    if not sys.platform.startswith("linux"):
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _DROP_SYN))
    try:
        listening.setsockopt(
            socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HL", len(_DROP_SYN), ctypes.addressof(program))
        )
    except OSError:
        return False
    return True
