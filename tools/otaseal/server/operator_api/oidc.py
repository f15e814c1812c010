"""Tokens of issuers that a store trusts (OpenID Connect), as CI systems give them to a job for some minutes.

A token is verified before anything that it says counts, but for the issuer and the key id, which choose among what the
store trusts: no token makes the server ask anybody else. The algorithm is the key's, never the token's own choice.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import InputError
from ...pki.scope import Scope
from ...store.trusts import MAX_TEXT, Trust, TrustFile, short_issuer
from .issuer_keys import ALGORITHMS, IssuerKeys

LEEWAY_SECONDS = 30
"""How far the clocks of issuer and server may be apart."""
MAX_TOKEN = 8 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
_REQUIRED = ("iss", "aud", "exp", "iat", "sub")


class InvalidTokenError(InputError):
    """A token that is not taken; the message is for the one who showed it, `reason` for the server's own log."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message, "otaseal trust list shows on the server what is asked for")
        self.reason = reason or message


@dataclass(frozen=True)
class Bearer:
    """Who showed a verified token: its subject, the trusts that it fits, and what it says."""

    subject: str
    trusts: tuple[Trust, ...]
    claims: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        """Whose that is among the subjects of all issuers: `issuer#subject`. An issuer's address has no `#`."""
        return f"{short_issuer(self.trusts[0].issuer)}#{self.subject}"

    @property
    def has_ended(self) -> bool:
        """Tell whether it would not be taken any more."""
        return int(self.claims["exp"]) <= time.time() - LEEWAY_SECONDS

    @property
    def allowed(self) -> tuple[Scope, ...]:
        """What it may do: what any of the trusts allows."""
        return tuple(scope for trust in self.trusts for scope in trust.allowed)


def is_token(text: str) -> bool:
    """Tell whether a bearer's text is of this kind: ours have no dots."""
    return len(text) <= MAX_TOKEN and _TOKEN.fullmatch(text) is not None


class Oidc:
    """Verifies tokens by the trusts of a store."""

    def __init__(self, trusts: TrustFile, keys: IssuerKeys) -> None:
        self._trusts, self._keys = trusts, keys

    async def verify(self, token: str) -> Bearer:
        """Return whose a token is; raises InvalidTokenError, Refused where the issuer's keys are not known."""
        import jwt

        issuer, key_id = _claimed(token)
        trusts = self._trusts.of(issuer)
        if not trusts:
            raise InvalidTokenError(f"tokens of '{issuer[:200]}' are not taken here")
        key = await self._keys.find(issuer, trusts[0].authority, key_id)
        if key is None:
            raise InvalidTokenError(f"'{issuer}' has no key '{key_id[:64]}'")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": list(_REQUIRED), "verify_aud": False},  # each trust has an audience
            )
        except jwt.PyJWTError as error:
            raise InvalidTokenError(f"the token of '{issuer}' does not hold: {error}") from error
        return _fitting(trusts, claims)

    def again(self, bearer: Bearer) -> Bearer:
        """Return what a token that was verified before is good for by the trusts of now; raises InvalidTokenError."""
        return _fitting(self._trusts.of(bearer.claims["iss"]), bearer.claims)


def _claimed(token: str) -> tuple[str, str]:
    """Return the issuer and the key id that a token claims; raises InvalidTokenError."""
    import jwt

    try:
        found = jwt.api_jwt.decode_complete(token, options={"verify_signature": False})
        issuer, key_id = found["payload"].get("iss"), found["header"].get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise InvalidTokenError("the token cannot be read") from error
    if not isinstance(issuer, str) or not isinstance(key_id, str):
        raise InvalidTokenError("the token names no issuer or no key")
    return issuer, key_id


def _fitting(trusts: tuple[Trust, ...], claims: Mapping[str, Any]) -> Bearer:
    found = [(trust, trust.mismatch(claims)) for trust in trusts]
    fitting = tuple(trust for trust, mismatch in found if not mismatch)
    if not fitting:
        reason = "; ".join(f"'{trust.name}': {mismatch}" for trust, mismatch in found)
        raise InvalidTokenError("the token is genuine, and not for this server or not of whom it trusts", reason)
    subject = claims["sub"]
    if not 0 < len(subject) <= MAX_TEXT or not subject.isprintable():  # cut or escaped, two could look like one
        raise InvalidTokenError(
            f"the token's subject is empty, cannot be printed, or is longer than {MAX_TEXT} characters"
        )
    return Bearer(subject, fitting, claims)
