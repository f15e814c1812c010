"""Whose short-lived tokens a server takes in the place of its own: issuers (OpenID Connect), and what these must say.

A trust names an issuer, an audience, the claims that a token must have, and what may then be done. The document
`trusts.json` of the store holds them, and no secret. What a token says counts only once its signature was verified.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .. import addresses
from ..errors import ConfigError, InputError
from ..formats import refuse_later
from ..pki.scope import MAX_SCOPES, Scope, parse_scope
from .audit_log import line_of
from .documents import TRUSTS, Change, Documents, Reader
from .files import FileDocuments

FORMAT = 1
MAX_TRUSTS_BYTES = 1024 * 1024
MAX_TRUSTS, MAX_CLAIMS, MAX_TEXT, MAX_AUTHORITY = 100, 16, 512, 64 * 1024
KNOWN = {"github": "https://token.actions.githubusercontent.com", "gitlab": "https://gitlab.com"}
"""Issuers by a short name. Anybody can have a token of theirs."""
OWNERS: Mapping[str, frozenset[str]] = {
    KNOWN["github"]: frozenset({"sub", "repository", "repository_id", "repository_owner", "repository_owner_id"}),
    KNOWN["gitlab"]: frozenset({"sub", "project_path", "project_id", "namespace_path", "namespace_id"}),
}
"""The claims that say whose a token of such an issuer is: without one of them everybody's would fit."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CLAIM = re.compile(r"[A-Za-z0-9_:/.-]{1,128}")
_CHECKED = frozenset({"iss", "aud", "exp", "nbf", "iat"})


@dataclass(frozen=True)
class Trust:
    """One trust: `claims` must be equal, `patterns` match, where `*` stands for anything but a slash.

    `scopes` are as `parse_scope` takes them; `authority` is PEM, where the issuer's server has a certificate of its own
    authority.
    """

    id: str
    name: str
    issuer: str
    audience: str
    claims: Mapping[str, str]
    patterns: Mapping[str, str]
    scopes: tuple[str, ...]
    authority: str = ""

    @property
    def allowed(self) -> tuple[Scope, ...]:
        """What may be done by it."""
        return tuple(map(parse_scope, self.scopes))

    def mismatch(self, token: Mapping[str, Any]) -> str:
        """Return in words which verified claim of a token of this issuer does not fit, "" where all do."""
        if token.get("aud") != self.audience:
            return f"aud is {token.get('aud')!r}, not {self.audience!r}"
        for name, wanted in self.claims.items():
            if (said := _as_text(token.get(name))) != wanted:
                return f"{name} is {said!r}, not {wanted!r}"
        for name, pattern in self.patterns.items():
            said = _as_text(token.get(name))
            if said is None or not re.fullmatch("[^/]*".join(map(re.escape, pattern.split("*"))), said):
                return f"{name} is {said!r}, not like {pattern!r}"
        return ""


def _as_text(value: object) -> str | None:
    """Return a claim as options write it: true, 12, main; None for none, a list or an object."""
    if isinstance(value, bool | int):
        return json.dumps(value)
    return value if isinstance(value, str) else None


class TrustFile:
    """The trusts of a store, of `documents` or of those in a directory; read again when somebody has changed them."""

    def __init__(self, documents: Documents | Path) -> None:
        self._documents = FileDocuments(documents) if isinstance(documents, Path) else documents
        self._trusts: tuple[Trust, ...] = ()
        self._stamp: object | None = None

    def list(self) -> tuple[Trust, ...]:
        """Return all trusts; raises LaterFormatError, InputError when the file is damaged."""
        stamp = self._documents.stamp(TRUSTS)
        if stamp != self._stamp:
            self._trusts, self._stamp = read_trusts(self._documents), stamp
        return self._trusts

    def of(self, issuer: str) -> tuple[Trust, ...]:
        """Return the trusts in an issuer; raises as `list`."""
        return tuple(trust for trust in self.list() if trust.issuer == issuer)

    def add(self, trust: Trust, by: str) -> Trust:
        """Keep a new trust, and return it with its id; raises ConfigError, InputError."""
        _check(trust)
        with self._documents.change() as change:
            trusts = read_trusts(change)
            if len(trusts) >= MAX_TRUSTS:
                raise InputError(f"there are {len(trusts)} trusts", "remove those that nobody uses")
            if any(one.issuer == trust.issuer and one.authority != trust.authority for one in trusts):
                raise ConfigError(
                    f"the issuer '{trust.issuer}' is trusted already, with another --issuer-ca",
                    "give the same file, or remove those trusts first: otaseal trust list",
                )
            added = replace(trust, id=secrets.token_hex(4))
            event = {"event": "trust", **_logged(added), "by": by}
            line_of(event)  # raises before anything is written
            _write(change, (*trusts, added))
            change.append(event)
        self._documents.await_readers()
        return added

    def remove(self, identifier: str, by: str) -> Trust:
        """Remove the trust with this id and return it; raises InputError when there is none."""
        with self._documents.change() as change:
            trusts = read_trusts(change)
            removed = [trust for trust in trusts if trust.id == identifier]
            if not removed:
                raise InputError(f"there is no trust '{identifier}'", "otaseal trust list shows their ids")
            _write(change, tuple(trust for trust in trusts if trust.id != identifier))
            change.append({"event": "distrust", **_logged(removed[0]), "by": by})
        self._documents.await_readers()
        return removed[0]


def short_issuer(issuer: str) -> str:
    """Return an issuer by its short name where it has one, as people read it: no address is one of these."""
    return next((name for name, address in KNOWN.items() if address == issuer), issuer)


def check_issuer(issuer: str) -> str:
    """Return an issuer as its tokens name it, of its address or its short name; raises ConfigError."""
    issuer = KNOWN.get(issuer, issuer)
    parts = addresses.split_url(issuer)
    if parts.scheme != "https" or not parts.hostname or parts.query or "#" in issuer or parts.username:
        raise ConfigError(
            f"'{issuer}' is not an issuer",
            f"write it as its tokens do, https://...; or {' or '.join(KNOWN)}",
        )
    return issuer


def _check(trust: Trust) -> None:
    """Raise ConfigError for a trust that cannot be, or that would let everybody in."""
    check_issuer(trust.issuer)
    if not _NAME.fullmatch(trust.name):
        raise ConfigError(f"a trust's name cannot be '{trust.name}'", "use letters, digits, '.', '_' and '-'")
    if not 0 < len(trust.audience) <= MAX_TEXT:
        raise ConfigError(f"the audience is '{trust.audience[:80]}'", "give the operators' address of this server")
    if not 0 < len(trust.scopes) <= MAX_SCOPES:
        raise ConfigError(
            f"there are {len(trust.scopes)} scopes", f"give 1 to {MAX_SCOPES}: product or product/channel"
        )
    for scope in trust.scopes:
        parse_scope(scope)
    _check_claims(trust)


def _check_claims(trust: Trust) -> None:
    claims = (*trust.claims.items(), *trust.patterns.items())
    if len(claims) > MAX_CLAIMS:
        raise ConfigError(f"there are {len(claims)} claims", f"{MAX_CLAIMS} are the most")
    for name, value in claims:
        if not _CLAIM.fullmatch(name) or name in _CHECKED or not 0 < len(value) <= MAX_TEXT:
            raise ConfigError(f"'{name[:80]}={value[:80]}' is not a claim to ask for", "write repository=me/blink")
    if both := sorted(trust.claims.keys() & trust.patterns.keys()):
        raise ConfigError(f"the claim '{both[0]}' is asked for twice", "give --claim or --claim-like")
    owners = OWNERS.get(trust.issuer)
    if owners is None and not trust.claims:
        raise ConfigError(f"every token of '{trust.issuer}' would do", "say which, as in --claim sub=...")
    if owners is not None and not owners & trust.claims.keys():
        raise ConfigError(
            f"anybody can have a token of '{trust.issuer}'",
            f"say whose, with --claim and one of: {', '.join(sorted(owners))}",
        )


def _logged(trust: Trust) -> dict[str, object]:
    """Return what the audit log keeps: all but an authority's certificate."""
    return {name: value for name, value in asdict(trust).items() if name != "authority"}


def read_trusts(reader: Reader) -> tuple[Trust, ...]:
    """Return all trusts that a store has; raises LaterFormatError, InputError when the file is damaged."""
    data = reader.read(TRUSTS, "the file of trusts", MAX_TRUSTS_BYTES)
    return () if data is None else _parse(data)


def _write(change: Change, trusts: Iterable[Trust]) -> None:
    text = json.dumps({"format": FORMAT, "trusts": [asdict(trust) for trust in trusts]}, indent=1)
    change.replace(TRUSTS, text.encode() + b"\n")


def _parse(data: bytes) -> tuple[Trust, ...]:
    try:
        document = json.loads(data)
        refuse_later(document["format"], FORMAT, "the file of trusts")
        if document["format"] != FORMAT:
            raise ValueError("no format of a file of trusts")
        trusts = tuple(Trust(**{**one, "scopes": tuple(one["scopes"])}) for one in document["trusts"])
        for trust in trusts:
            _check(trust)
    except (ConfigError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(
            "the file of trusts is damaged", f"restore '{TRUSTS}' from a backup, or remove it and add them anew"
        ) from error
    return trusts
