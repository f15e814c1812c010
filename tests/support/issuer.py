"""An issuer of tokens (OpenID Connect) on loopback, with real keys and TLS; it also answers as GitHub does to a job."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from .web import Handler, serving, tls_of

JOB_SECRET = "what-the-runner-gives-to-the-job"
JOB = {"sub": "repo:me/blink:environment:release", "repository": "me/blink", "environment": "release", "run_attempt": 1}
"""What GitHub says of a job, as far as these tests look at it."""

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Answer = tuple[int, bytes]


@dataclass
class Issuer:
    """The issuer at `url`; `keys` are those that it publishes, by id, and `asked` the paths that it was asked for."""

    url: str = ""
    keys: dict[str, PrivateKey] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    instead: dict[str, Callable[[], Answer]] = field(default_factory=dict)
    """What is answered to a path in place of the truth."""

    def token(self, key_id: str, *, key: PrivateKey | None = None, **claims: object) -> str:
        """Return a token as the issuer signs it: of JOB, for five minutes, with these claims; None leaves one out."""
        key = key or self.keys[key_id]
        algorithm = "RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256"
        now = int(time.time())
        said = {"iss": self.url, "iat": now, "nbf": now, "exp": now + 300, **JOB, **claims}
        return jwt.encode({k: v for k, v in said.items() if v is not None}, key, algorithm, {"kid": key_id})

    def answer(self, path: str, authorization: str) -> Answer:
        """Return status and body for a request."""
        self.asked.append(path)
        if path in self.instead:
            return self.instead[path]()
        found: Mapping[str, Any]
        if path == "/.well-known/openid-configuration":
            found = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        elif path == "/keys":
            found = {"keys": [_jwk(key_id, key) for key_id, key in self.keys.items()]}
        elif path.startswith("/job?") and authorization == f"bearer {JOB_SECRET}":
            audience = parse_qs(urlsplit(path).query)["audience"][0]
            found = {"count": 1, "value": self.token(next(iter(self.keys)), aud=audience)}
        else:
            return 401, b"{}"
        return 200, json.dumps(found).encode()

    def job(self) -> dict[str, str]:
        """Return the variables of a job that may ask for its token."""
        return {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.url}/job?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": JOB_SECRET,
        }


@contextmanager
def issuing(chain: Path, **keys: PrivateKey) -> Iterator[Issuer]:
    """Run an issuer with the certificate `chain` (its key.pem beside it), which is for localhost."""
    issuer = Issuer(keys=dict(keys))

    class Publish(Handler):
        def do_GET(self) -> None:
            status, body = issuer.answer(self.path, self.headers.get("Authorization", ""))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if status == 302:
                self.send_header("Location", f"{issuer.url}/keys")
            self.end_headers()
            self.wfile.write(body)

    with serving(Publish, tls_of(chain)) as port:
        issuer.url = f"https://localhost:{port}"
        yield issuer


def by_hand(header: Mapping[str, object], claims: Mapping[str, object], secret: bytes | None = None) -> str:
    """Return a token as no issuer makes it: signed by HMAC with a `secret`, or not at all."""
    parts = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{parts}.{'' if secret is None else _encoded(hmac.digest(secret, parts.encode(), hashlib.sha256))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _jwk(key_id: str, key: PrivateKey) -> dict[str, object]:
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    made: dict[str, object] = algorithm.to_jwk(key.public_key(), as_dict=True)  # type: ignore[arg-type]
    return {**made, "kid": key_id, "use": "sig"}
