"""Who is signed in: short sessions of operators who showed a token once, in memory alone. A restart ends them.

A session holds the token's id, never its secret: what the token may do, and whether it is still good, is asked of the
store with each request. It is known by a cookie of 256 random bits, of which the SHA-256 is kept.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

IDLE_SECONDS = 3600.0
"""How long a session lasts without a request."""
LONGEST_SECONDS = 12 * 3600.0
MAX_SESSIONS = 1000
MAX_OF_TOKEN = 20
"""Sessions of one token: beyond that its own oldest ends, and nobody else's."""
SECRET_BYTES = 32


@dataclass(frozen=True)
class _Session:
    token: str
    begun: float
    used: float

    def is_over(self, now: float) -> bool:
        return now - self.used >= IDLE_SECONDS or now - self.begun >= LONGEST_SECONDS


@dataclass
class Sessions:
    """All sessions of this process, those used last at the end; and the proofs that a form is one of ours."""

    clock: Callable[[], float] = time.monotonic
    _sessions: OrderedDict[bytes, _Session] = field(default_factory=OrderedDict, repr=False)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(SECRET_BYTES), repr=False)

    def begin(self, token: str) -> str:
        """Begin a session of the token with this id, and return the secret for its cookie."""
        now = self.clock()
        for name in [name for name, session in self._sessions.items() if session.is_over(now)]:
            del self._sessions[name]
        own = [name for name, session in self._sessions.items() if session.token == token]
        for name in own[: max(0, len(own) - MAX_OF_TOKEN + 1)]:
            del self._sessions[name]
        while len(self._sessions) >= MAX_SESSIONS:
            self._sessions.popitem(last=False)
        secret = secrets.token_urlsafe(SECRET_BYTES)
        self._sessions[_name(secret)] = _Session(token, now, now)
        return secret

    def find(self, secret: str) -> str | None:
        """Return the id of the token whose session has this secret, None where there is none any more."""
        name, now = _name(secret), self.clock()
        session = self._sessions.pop(name, None)
        if session is None or session.is_over(now):
            return None
        self._sessions[name] = replace(session, used=now)
        return session.token

    def holds(self, secret: str) -> bool:
        """Return whether a session lasts, which this does not prolong."""
        session = self._sessions.get(_name(secret))
        return session is not None and not session.is_over(self.clock())

    def end(self, secret: str) -> None:
        """End a session, if there is one."""
        self._sessions.pop(_name(secret), None)

    def proof(self, name: str) -> str:
        """Return what a form has to bring that was made for the session, or the certificate, of this name.

        No page of another origin can read it, and nobody can compute it.
        """
        return hmac.new(self._key, name.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    def __len__(self) -> int:
        return len(self._sessions)


def _name(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
