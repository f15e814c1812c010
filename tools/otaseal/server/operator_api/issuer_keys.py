"""The public keys of the issuers that a store trusts: fetched when a token asks for one, and kept in memory.

What is fetched comes over HTTPS from where the issuer's own configuration says (OpenID Connect Discovery), bounded in
size and time, in threads of their own. Keys are fetched again after an hour, and for a key id that is not known; while
an issuer is away, known ones go on for a day. However many requests come, an issuer is asked once at a time, and not
again for a while.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ...errors import SystemFaultError
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
"""How long a request waits for an issuer in all, and `READ_SECONDS` how long one read does."""
READ_SECONDS = 5.0
MAX_ANSWER = 256 * 1024
MAX_KEYS = 64
DISCOVERY = "/.well-known/openid-configuration"
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What tokens may be signed with: private keys alone can do it. Each key is for one of them."""
MIN_RSA_BITS = 2048

Keys = Mapping[str, "PyJWK"]
"""By key id."""
Fetch = Callable[[str, str], Keys]
"""Takes an issuer and the PEM of its server's authority, "" for the system's; raises SystemFaultError."""


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

    def __init__(
        self,
        report: Callable[[str], None],
        fetch: Fetch | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._report, self._fetch, self._clock = report, fetch or fetch_keys, clock
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
            known.fetching = loop.run_in_executor(self._threads, self._fetch, issuer, authority)
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
    """Return the keys with which an issuer signs tokens; raises SystemFaultError with the reason."""
    try:
        context = ssl.create_default_context(cadata=authority or None)
        found = _get(issuer.rstrip("/") + DISCOVERY, context)
        if found.get("issuer") != issuer:
            raise _fault(f"its configuration is that of {found.get('issuer')!r:.200}")
        return parse_keys(_get(str(found.get("jwks_uri")), context))
    except (OSError, http.client.HTTPException, ValueError, RecursionError) as error:
        raise _fault(str(error) or type(error).__name__) from error


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
        raise _fault("it has no key for signatures")
    return keys


def _least_size(key: Mapping[str, Any]) -> int:
    return MIN_RSA_BITS if key.get("kty") == "RSA" else 0


def _get(url: str, context: ssl.SSLContext) -> dict[str, Any]:
    """Return the JSON object at an HTTPS address; redirects are not followed, other schemes not spoken."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise _fault(f"'{url[:200]}' is no address with https")
    connection = http.client.HTTPSConnection(parts.hostname, parts.port, timeout=READ_SECONDS, context=context)
    try:
        connection.request("GET", parts._replace(scheme="", netloc="").geturl(), headers={"Accept": "application/json"})
        with connection.getresponse() as response:
            if response.status != 200:
                raise _fault(f"'{url[:200]}' answers {response.status}")
            data = _read(response)
    finally:
        connection.close()
    value = json.loads(data)
    if not isinstance(value, dict):
        raise _fault(f"'{url[:200]}' answers no JSON object")
    return value


def _read(response: http.client.HTTPResponse) -> bytes:
    data, end = b"", time.monotonic() + WAIT_SECONDS
    while piece := response.read1(MAX_ANSWER):
        data += piece
        if len(data) > MAX_ANSWER:
            raise _fault(f"it answers with more than {MAX_ANSWER} bytes")
        if time.monotonic() > end:
            raise _fault(f"it takes more than {WAIT_SECONDS:.0f} seconds")
    return data


def _fault(reason: str) -> SystemFaultError:
    return SystemFaultError(reason, "see that the issuer is right, and reached from the server: otaseal trust list")
