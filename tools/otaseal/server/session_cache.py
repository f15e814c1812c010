"""How many TLS sessions a listener keeps, and for how long: two settings of OpenSSL that Python's `ssl` does not have.

OpenSSL ends a session two hours after it began, however often it is resumed, and keeps 20,480. Of a fleet that polls
once an hour two polls in five would then pay a whole handshake. Both are set through ctypes, in the library that
Python's own module is linked to; where that cannot be done, they stay OpenSSL's (docs/adr/0023-tls-sessions.md).
"""

from __future__ import annotations

import ctypes
import ssl
import sys

SESSION_SECONDS = 25 * 3600
"""A device with the OtaSeal library resumes for a day, and then checks certificates and dates anew."""
MAX_SESSIONS, MAX_CERTIFIED_SESSIONS = 100_000, 20_480
"""As many as devices are known, at 1.1 KB each, and OpenSSL's own limit where a session holds a client's certificate,
and takes about 6 KB. OpenSSL drops the oldest beyond that."""

_OPENSSL_SECONDS, _SET_CACHE_SIZE, _GET_CACHE_SIZE = 7200, 42, 43  # openssl/ssl.h


def keep_sessions(context: ssl.SSLContext, count: int) -> bool:
    """Let `context` resume so many sessions for SESSION_SECONDS; return whether that can be set here."""
    openssl = _functions()
    if openssl is None:
        return False
    # CPython's SSLContext begins with its SSL_CTX. Asked first: the time-out that OpenSSL begins with tells that it is.
    pointer = ctypes.c_void_p.from_address(id(context) + object.__basicsize__)
    if openssl.SSL_CTX_get_timeout(pointer) != _OPENSSL_SECONDS:
        return False
    openssl.SSL_CTX_set_timeout(pointer, SESSION_SECONDS)
    openssl.SSL_CTX_ctrl(pointer, _SET_CACHE_SIZE, count, None)
    return bool(openssl.SSL_CTX_ctrl(pointer, _GET_CACHE_SIZE, 0, None) == count)


def _functions() -> ctypes.CDLL | None:
    """Return the OpenSSL that `ssl` uses, None where it cannot be reached: built into Python, or another Python."""
    if sys.implementation.name != "cpython":
        return None
    try:
        import _ssl

        openssl = ctypes.CDLL(_ssl.__file__)
        openssl.SSL_CTX_set_timeout.argtypes = [ctypes.c_void_p, ctypes.c_long]
        openssl.SSL_CTX_get_timeout.argtypes = [ctypes.c_void_p]
        openssl.SSL_CTX_ctrl.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_long, ctypes.c_void_p]
        for function in (openssl.SSL_CTX_set_timeout, openssl.SSL_CTX_get_timeout, openssl.SSL_CTX_ctrl):
            function.restype = ctypes.c_long
    except (ImportError, AttributeError, OSError):
        return None
    return openssl
