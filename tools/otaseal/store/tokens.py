"""Tokens of operators: 256 random bits, shown once, for a product and a channel, until a day.

The document `tokens.json` of the store holds their SHA-256.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path

from ..errors import ConfigError, InputError
from ..formats import refuse_later
from ..pki.scope import Scope
from .documents import TOKENS, Change, Documents, Reader
from .files import FileDocuments
from .hashed_secrets import digest, end_of, valid_at

FORMAT = 1
PREFIX = "otaseal_"  # secret scanners find it in a repository by this
SECRET_BYTES = 32
MAX_TOKENS_BYTES = 1024 * 1024
MAX_TOKENS = 1000
USUAL_DAYS = 90
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class Token:
    """One token: its product and channel (or `*`), its end (ISO 8601, UTC), and its secret's SHA-256 in hexadecimal."""

    id: str
    name: str
    product: str
    channel: str
    expires: str
    sha256: str = field(repr=False)

    def valid_at(self, now: datetime) -> bool:
        """Return whether it has not expired at `now` (aware)."""
        return valid_at(self.expires, now)

    @property
    def scope(self) -> Scope:
        """The product and channel that it allows."""
        return Scope(self.product, self.channel)


class TokenFile:
    """The tokens of a store, of `documents` or of those in a directory; read again when somebody has changed them."""

    def __init__(self, documents: Documents | Path) -> None:
        self._documents = FileDocuments(documents) if isinstance(documents, Path) else documents
        self._tokens: tuple[Token, ...] = ()
        self._stamp: object | None = None

    def list(self) -> tuple[Token, ...]:
        """Return all tokens, expired ones too; raises LaterFormatError, InputError when the file is damaged."""
        stamp = self._documents.stamp(TOKENS)
        if stamp is None or stamp != self._stamp:
            self._tokens, self._stamp = read_tokens(self._documents), stamp
        return self._tokens

    def issue(self, name: str, product: str, channel: str, days: int, now: datetime) -> tuple[Token, str]:
        """Make a token for `days`, and return it with its secret, which is not kept; raises ConfigError, InputError."""
        if not _NAME.fullmatch(name):
            raise ConfigError(f"a token's name cannot be '{name}'", "use letters, digits, '.', '_' and '-'")
        Scope(product, channel)
        expires = end_of("token", days, USUAL_DAYS, now)
        with self._documents.change() as change:
            tokens = read_tokens(change)
            if len(tokens) >= MAX_TOKENS:
                raise InputError(f"there are {len(tokens)} tokens", "revoke those that nobody uses")
            secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
            token = Token(secrets.token_hex(4), name, product, channel, expires, digest(secret))
            _write(change, (*tokens, token))
        self._documents.await_readers()
        return token, secret

    def revoke(self, identifier: str) -> Token:
        """Remove the token with this id and return it; raises InputError when there is none."""
        with self._documents.change() as change:
            tokens = read_tokens(change)
            revoked = [token for token in tokens if token.id == identifier]
            if not revoked:
                raise InputError(f"there is no token '{identifier}'", "otaseal token list shows their ids")
            _write(change, tuple(token for token in tokens if token.id != identifier))
        self._documents.await_readers()  # one that sees no database can change nothing
        return revoked[0]

    def find(self, secret: str, now: datetime) -> Token | None:
        """Return the token with this secret if it has not expired; every comparison takes constant time."""
        wanted = digest(secret)
        matches = [token for token in self.list() if hmac.compare_digest(token.sha256, wanted)]
        return next((token for token in matches if token.valid_at(now)), None)

    def get(self, identifier: str, now: datetime) -> Token | None:
        """Return the token with this id if it has not expired; raises as `list`."""
        return next((token for token in self.list() if token.id == identifier and token.valid_at(now)), None)


def read_tokens(reader: Reader) -> tuple[Token, ...]:
    """Return all tokens that a store has; raises LaterFormatError, InputError when the file is damaged."""
    data = reader.read(TOKENS, "the token file", MAX_TOKENS_BYTES)
    return () if data is None else _parse(data)


def _write(change: Change, tokens: tuple[Token, ...]) -> None:
    text = json.dumps({"format": FORMAT, "tokens": [asdict(token) for token in tokens]}, indent=1)
    change.replace(TOKENS, text.encode() + b"\n")


def _parse(data: bytes) -> tuple[Token, ...]:
    try:
        document = json.loads(data)
        refuse_later(document["format"], FORMAT, "the token file")
        if document["format"] != FORMAT:
            raise ValueError("no format of a token file")
        tokens = tuple(Token(**fields) for fields in document["tokens"])
        for token in tokens:
            token.scope  # noqa: B018  # refuses what cannot be one
            if len(bytes.fromhex(token.sha256)) != 32 or datetime.fromisoformat(token.expires).tzinfo is None:
                raise ValueError("a hash of another length, or a time without a zone")
    except (ConfigError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            "the token file is damaged", f"restore '{TOKENS}' from a backup, or remove it and make new tokens"
        ) from error
    return tokens
