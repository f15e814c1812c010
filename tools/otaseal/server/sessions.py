"""Which worker knows a TLS session: a table that worker processes share, and the session that a ClientHello asks for.

BearSSL resumes by session id and has no tickets, and OpenSSL keeps sessions in the process that made them: a device
whose next connection meets another worker would pay a whole handshake for every poll. The table is a hint and no
promise. An entry that is missing, overwritten or wrong costs a full handshake and nothing else, which is why it is
written without locks: every entry is one aligned word.
"""

from __future__ import annotations

import mmap

SLOTS = 1 << 20
"""Words of the table: with 40,000 sessions alive, as many as two of OpenSSL's caches hold, one in 26 is overwritten."""
WORD = 8
SESSION_BYTES = 32
"""What OpenSSL gives as an id; shorter ones are none of ours."""
MAX_WORKERS = 64

# RFC 5246, 6.2.1 and 7.4.1.2: record header, handshake header, version, random; then the length of the id, and the id.
_LENGTH_AT = 5 + 4 + 2 + 32
HELLO_BYTES = _LENGTH_AT + 1 + SESSION_BYTES
"""Bytes of a connection that tell the session which it asks for."""
_HANDSHAKE, _CLIENT_HELLO, _TLS = 22, 1, 3


def offered_session(hello: bytes) -> bytes | None:
    """Return the session id in the first HELLO_BYTES of a connection; None for anything but 32 bytes in a hello."""
    if len(hello) < HELLO_BYTES or hello[0] != _HANDSHAKE or hello[1] != _TLS or hello[5] != _CLIENT_HELLO:
        return None
    # A record that ends before the id has another record's header where the id would be.
    if int.from_bytes(hello[3:5], "big") < HELLO_BYTES - 5 or hello[_LENGTH_AT] != SESSION_BYTES:
        return None
    return hello[_LENGTH_AT + 1 : HELLO_BYTES]


class SessionTable:
    """Session id to worker, in memory that processes forked later share."""

    def __init__(self, slots: int = SLOTS) -> None:
        """Make an empty table; memory is taken only for the pages that are written."""
        self._slots = slots
        self._words = memoryview(mmap.mmap(-1, slots * WORD)).cast("Q")

    def note(self, session: bytes, worker: int) -> None:
        """Note that `worker` (0 to MAX_WORKERS - 1) knows a session; what is not an id of ours is ignored."""
        if len(session) == SESSION_BYTES:
            slot, tag = self._place(session)
            self._words[slot] = tag << WORD | (worker + 1)

    def owner(self, session: bytes | None) -> int | None:
        """Return the worker that knows a session, None if nobody is known to."""
        if session is None or len(session) != SESSION_BYTES:
            return None
        slot, tag = self._place(session)
        word = self._words[slot]
        return (word & 0xFF) - 1 if word and word >> WORD == tag else None

    def _place(self, session: bytes) -> tuple[int, int]:
        # Ids are random: their bytes are hash enough. Seven bytes of tag leave one for the worker.
        return int.from_bytes(session[:4], "big") % self._slots, int.from_bytes(session[4:11], "big")
