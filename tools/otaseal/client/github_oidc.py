"""The short-lived token that GitHub gives to a job of Actions with `permissions: id-token: write` (OpenID Connect).

A job asks for one at ACTIONS_ID_TOKEN_REQUEST_URL and names its audience: the server that it is for, which no other
server then takes it for. One lasts a few minutes, and is asked for again before it ends.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlencode, urlsplit

from .. import addresses
from ..errors import ConfigError, SystemFaultError

URL_VARIABLE, SECRET_VARIABLE = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
TIMEOUT = 30.0
MAX_ANSWER = 64 * 1024
SPARE_SECONDS = 60.0
"""How long a token has to last at least when it is shown: an upload may take a while before it is read."""


@dataclass
class GithubToken:
    """Returns a token for an `audience` whenever it is called, the same one as long as it lasts."""

    url: str
    secret: str = field(repr=False)
    audience: str
    _token: str = field(default="", repr=False)
    _ends: float = 0.0

    @classmethod
    def of(cls, environment: Mapping[str, str], server: str) -> GithubToken:
        """Return what asks for the tokens of this job for a server; raises ConfigError outside of such a job."""
        url, secret = (environment.get(name, "") for name in (URL_VARIABLE, SECRET_VARIABLE))
        if not url or not secret:
            raise ConfigError(
                f"'{URL_VARIABLE if not url else SECRET_VARIABLE}' is not set: this is no job that gets tokens",
                "give the job 'permissions: id-token: write'; elsewhere leave --oidc and custom_otaseal_oidc out",
            )
        parts = addresses.split_url(url)
        if parts.scheme != "https" or not parts.hostname:
            raise ConfigError(f"{URL_VARIABLE} is '{url[:80]}'", "GitHub's runner sets it to an address with https")
        return cls(url, secret, server.rstrip("/"))

    def __call__(self) -> str:
        """Return a token that lasts; raises SystemFaultError."""
        if time.time() + SPARE_SECONDS > self._ends:
            self._token = self._ask()
            self._ends = _end_of(self._token)
        return self._token

    def _ask(self) -> str:
        parts = urlsplit(self.url)
        query = f"{parts.query}&{urlencode({'audience': self.audience})}".lstrip("&")
        path = parts._replace(scheme="", netloc="", query=query).geturl()
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(parts.hostname or "", parts.port, timeout=TIMEOUT, context=context)
        try:
            headers = {"Authorization": f"bearer {self.secret}", "Accept": "application/json"}
            connection.request("GET", path, headers=headers)
            with connection.getresponse() as response:
                status, data = response.status, response.read(MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise SystemFaultError(f"GitHub gives no token: {reason}", "run the job again") from error
        finally:
            connection.close()
        try:
            token = json.loads(data)["value"] if status == 200 else None
        except (ValueError, KeyError, TypeError, RecursionError):
            token = None
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise SystemFaultError(
                f"GitHub gives no token: its service answers {status}",
                "see that the job has 'permissions: id-token: write', and run it again",
            )
        return token


def _end_of(token: str) -> float:
    """Return when a token ends, in seconds since 1970, as it says itself; raises SystemFaultError."""
    try:
        claims = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise SystemFaultError("GitHub's token cannot be read", "run the job again") from error
