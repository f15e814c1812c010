"""Whether a server resumes TLS 1.2 sessions by their id, tried with two connections: BearSSL knows no tickets.

Nothing is verified, and nothing is said on the connections: the checks beside this one judge the chain.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass

__all__ = ["Resumption", "look"]


@dataclass(frozen=True)
class Resumption:
    """Whether the server gave the first connection a session id, and whether the second was resumed with it."""

    gives_id: bool
    resumed: bool


def look(host: str, port: int, timeout: float) -> Resumption:
    """Return what became of two connections one after the other; raises OSError where one of them fails."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_TICKET
    session, _ = _connect(context, (host, port), timeout, None)
    if session is None or not session.id:
        return Resumption(False, False)
    _, resumed = _connect(context, (host, port), timeout, session)
    return Resumption(True, resumed)


def _connect(
    context: ssl.SSLContext, address: tuple[str, int], timeout: float, session: ssl.SSLSession | None
) -> tuple[ssl.SSLSession | None, bool]:
    with (
        socket.create_connection(address, timeout) as connection,
        context.wrap_socket(connection, server_hostname=address[0], session=session) as secured,
    ):
        found = secured.session, bool(secured.session_reused)
        with contextlib.suppress(OSError):  # OpenSSL forgets the session of a connection that just breaks off
            secured.unwrap()
        return found
