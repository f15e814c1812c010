"""The public keys of the issuers that a store trusts: fetched when a token asks for one, and kept in memory.

What is fetched comes over HTTPS from where the issuer's own configuration says (OpenID Connect Discovery), bounded in
size and time, in threads of their own. Keys are fetched again after an hour, and for a key id that is not known; while
an issuer is away, known ones go on for a day. However many requests come, an issuer is asked once at a time, and not
again for a while.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...errors import SystemFaultError
from .issuer_requests import fault, get_json
from .uploads import Refused

if TYPE_CHECKING:
    from jwt import PyJWK

FRESH_SECONDS = 3600.0
"""How long keys are taken without asking again: so long one that the issuer has withdrawn still counts."""
KEPT_SECONDS = 86400.0
"""How long they are taken while the issuer does not answer."""
PAUSE_SECONDS = 10.0
"""How soon an issuer is asked again, whatever is asked of us."""
WAIT_SECONDS = 10.0
"""How long an issuer has for both of its answers, and a request waits for them."""
MAX_KEYS = 64
DISCOVERY = "/.well-known/openid-configuration"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What tokens may be signed with: private keys alone can do it. Each key is for one of them."""
MIN_RSA_BITS = 2048

Keys = Mapping[str, "PyJWK"]
"""By key id."""


@dataclass
class _Known:
    """What is known of an issuer, and when that was read and last asked for, in seconds of a clock that only runs."""

    keys: Keys = field(default_factory=dict)
    read: float = float("-inf")
    asked: float = float("-inf")
    fault: str = ""
    fetching: asyncio.Future[Keys] | None = None


class IssuerKeys:
    """The keys of issuers; `report` is told in words when one cannot be read."""

    def __init__(self, report: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._clock = report, clock
        self._known: dict[tuple[str, str], _Known] = {}
        self._threads = ThreadPoolExecutor(4, "issuers")

    async def find(self, issuer: str, authority: str, key_id: str) -> PyJWK | None:
        """Return a key of an issuer, None where it has none of that id; raises Refused where that is not known."""
        known = self._known.setdefault((issuer, authority), _Known())
        if key_id not in known.keys or self._clock() - known.read >= FRESH_SECONDS:
            await self._refresh(known, issuer, authority)
        age = self._clock() - known.read
        if key_id in known.keys and age < KEPT_SECONDS:
            return known.keys[key_id]
        if age < FRESH_SECONDS:
            return None
        fault = known.fault or "it does not answer"
        raise Refused(503, f"the keys of '{issuer}' cannot be read: {fault}", "try again when the issuer is back")

    async def _refresh(self, known: _Known, issuer: str, authority: str) -> None:
        """Wait for the issuer's answer, for a while; whoever comes meanwhile waits for the same one."""
        if known.fetching is None:
            if self._clock() - known.asked < PAUSE_SECONDS:
                return
            loop, known.asked = asyncio.get_running_loop(), self._clock()
            known.fetching = loop.run_in_executor(self._threads, fetch_keys, issuer, authority)
            known.fetching.add_done_callback(lambda answer: self._take(known, issuer, answer))
        await asyncio.wait({known.fetching}, timeout=WAIT_SECONDS)

    def _take(self, known: _Known, issuer: str, answer: asyncio.Future[Keys]) -> None:
        known.fetching = None
        if answer.cancelled():
            return
        try:
            known.keys = answer.result()
        except SystemFaultError as error:
            known.fault = error.message
            self._report(f"the keys of '{issuer}' cannot be read: {error.message}")
        else:
            known.read, known.fault = self._clock(), ""


def fetch_keys(issuer: str, authority: str) -> Keys:
    """Return the keys with which an issuer signs tokens, within WAIT_SECONDS; raises SystemFaultError with the reason.

    It has an event loop of its own, which goes on in this thread while the system still looks up a name.
    """
    try:
        return asyncio.run(asyncio.wait_for(_fetch(issuer, authority), WAIT_SECONDS))
    except asyncio.TimeoutError as error:
        raise fault(f"it takes more than {WAIT_SECONDS:g} seconds") from error


async def _fetch(issuer: str, authority: str) -> Keys:
    try:
        context = ssl.create_default_context(cadata=authority or None)
    except (ssl.SSLError, ValueError) as error:  # ValueError: not ASCII
        raise fault("the authority of its trust is no certificate in PEM") from error
    found = await get_json(issuer.rstrip("/") + DISCOVERY, context)
    if found.get("issuer") != issuer:
        raise fault(f"its configuration is that of {found.get('issuer')!r:.200}")
    return parse_keys(await get_json(str(found.get("jwks_uri")), context))


def parse_keys(document: Mapping[str, Any]) -> Keys:
    """Return the keys of a JWK Set that can verify a signature, by id; raises SystemFaultError where there is none."""
    import jwt

    listed = document.get("keys")
    keys: dict[str, PyJWK] = {}
    for one in listed[:MAX_KEYS] if isinstance(listed, list) else ():
        if not isinstance(one, dict) or not isinstance(one.get("kid"), str) or one.get("use", "sig") != "sig":
            continue
        try:
            key = jwt.PyJWK(one)
        except (jwt.PyJWTError, ValueError, TypeError, KeyError):
            continue  # of a kind that is not known here, which the next key may be
        if key.algorithm_name in ALGORITHMS and getattr(key.key, "key_size", MIN_RSA_BITS) >= _least_size(one):
            keys[one["kid"]] = key
    if not keys:
        raise fault("it has no key for signatures")
    return keys


def _least_size(key: Mapping[str, Any]) -> int:
    return MIN_RSA_BITS if key.get("kty") == "RSA" else 0
