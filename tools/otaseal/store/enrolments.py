"""Requests for device certificates, until an operator's machine has signed them: the server has no authority's key.

They are in the file of `secrets`, one of each device, the latest. Who may ask: a claim code, for as many devices as it
is for; a key that was enrolled; a certificate; the last two for their own name. So nobody pushes out another device's
request, and a stolen code that is for any device takes no name that asks already, is enrolled, or has a key.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConflictError, InputError, NotFoundError
from .claims import Claim, Claims
from .sql import upsert

if TYPE_CHECKING:
    from .proof_key_rows import ProofKey
    from .sql import Tables, Transaction

MAX_REQUESTS = 100_000
WAITING_SECONDS = 90 * 86400.0
"""How long a request waits; after that it is as if it had not been made."""
REPLACED_SECONDS = 60.0
"""How long after its request a device may make another one, where no claim code bounds their number."""
CLAIM, KEY, CERTIFICATE = "claim", "key", "certificate"
PROOFS = (CLAIM, KEY, CERTIFICATE)
"""What a request was made with."""

TABLES = {
    "requests": """CREATE TABLE IF NOT EXISTS requests
    (product, device, key, csr, proof, credential, asked, certificate, ends,
    PRIMARY KEY (product, device)) WITHOUT ROWID"""
}
_TAKEN = "this device is known already, and proves nothing: it takes a claim code of its own (--device {})"
_HINT = "otaseal claim new makes a claim code on the server"


class NotAllowedError(InputError):
    """Who asks may not have what is asked for."""


class UnknownClaimError(NotAllowedError):
    """There is no such claim code: what who guesses gets."""


class Asking(NamedTuple):
    """What is asked: a certificate for a device, `AA:BB:CC:DD:EE:FF`, and the `key` in `csr` (DER), by its SHA-256."""

    product: str
    device: str
    key: str
    csr: bytes


class Applicant(NamedTuple):
    """Who asks, in the name of the device that is asked for.

    `certificate` is the serial number of the client's in hexadecimal, "" without one; `key` that by which the device
    can prove its name, None where none is known, and `proven` whether it did; `claim` is the code as typed, or "".
    """

    certificate: str = ""
    key: ProofKey | None = None
    proven: bool = False
    claim: str = ""


class Request(NamedTuple):
    """The latest request of a device, made with a `proof` of PROOFS; without a `certificate` (DER) it waits.

    `credential` is the claim's id or the certificate's serial number. `asked` is when, `ends` when its certificate
    does, in seconds since 1970.
    """

    device: str
    key: str
    csr: bytes
    proof: str
    credential: str
    asked: float
    certificate: bytes | None = None
    ends: float | None = None

    def is_over(self, now: float) -> bool:
        """Return whether the certificate has ended, or nobody gave one for so long."""
        return now >= (self.asked + WAITING_SECONDS if self.ends is None else self.ends)


class _Right(NamedTuple):
    """What allows a request: its `proof` and `credential`, and the claim code that it uses."""

    proof: str
    credential: str
    claim: Claim | None = None


_COLUMNS = ", ".join(Request._fields)
_SELECT = f"SELECT {_COLUMNS} FROM requests WHERE product = ?"  # noqa: S608 - our own names
_PUT = upsert("requests", ("product", "device"), Request._fields[1:])


class Enrolments:
    """The requests of a store; methods raise as `Tables.query` and `Tables.transaction` do."""

    def __init__(self, secrets: Tables, limit: int = MAX_REQUESTS) -> None:
        self.limit = limit
        self.claims = Claims(secrets)
        self._secrets = secrets

    def ask(self, asking: Asking, applicant: Applicant, now: float) -> Request:
        """Return the device's request for this key, made now if it was not; raises NotAllowedError."""
        if (made := self._made(asking, now)) is not None and made.key == asking.key:
            return made
        self._allow(asking, applicant, made, now)  # who may not writes nothing
        with self._secrets.transaction() as database:
            right = self._allow(asking, applicant, self._made(asking, now), now)
            if right.claim is not None:
                self.claims.use(database, right.claim)
            self._make_room(database, now)
            request = Request(asking.device, asking.key, asking.csr, right.proof, right.credential, now)
            database.execute(_PUT, (asking.product, *request))
        return request

    def find(self, product: str, device: str) -> Request | None:
        """Return the latest request of a device, None where it has made none."""
        rows = self._secrets.query(f"{_SELECT} AND device = ?", (product, device))
        return Request(*rows[0]) if rows else None

    def waiting(self, product: str, after: str, limit: int, now: float) -> list[Request]:
        """Return the requests of a product that wait, by device, at most `limit` of those behind the name `after`."""
        where = "device > ? AND certificate IS NULL AND asked > ? ORDER BY device LIMIT ?"
        values = (product, after, now - WAITING_SECONDS, limit)
        return [Request(*row) for row in self._secrets.query(f"{_SELECT} AND {where}", values)]

    def count_waiting(self, now: float) -> int:
        """Return how many requests of all products wait."""
        statement = "SELECT count(*) FROM requests WHERE certificate IS NULL AND asked > ?"
        return sum(count for (count,) in self._secrets.query(statement, (now - WAITING_SECONDS,)))

    def require(self, product: str, device: str, key: str) -> Request:
        """Return the request of a device for a key; raises NotFoundError, ConflictError where it is for another."""
        request = self.find(product, device)
        if request is None:
            raise NotFoundError(f"no request of '{device}' waits", "otaseal pki enroll asks for those that do")
        if request.key != key:
            raise ConflictError(f"the certificate is not for the key of '{device}' that waits", "sign its last request")
        return request

    def answer(self, product: str, device: str, key: str, certificate: bytes, ends: float) -> None:
        """Keep the certificate of a request, and no more of what was asked; raises as `require`."""
        with self._secrets.transaction() as database:
            self.require(product, device, key)
            statement = "UPDATE requests SET certificate = ?, ends = ?, csr = ? WHERE product = ? AND device = ?"
            database.execute(statement, (certificate, ends, b"", product, device))

    def forget(self, product: str, device: str) -> None:
        """Forget a device's request, and what it was given: a claim code for any device is good for it again."""
        if self.find(product, device) is not None:
            with self._secrets.transaction() as database:
                database.execute("DELETE FROM requests WHERE product = ? AND device = ?", (product, device))

    def revoke(self, identifier: str) -> tuple[Claim, int]:
        """Remove a claim code by its id, and the requests that wait by it; return it, and how many these were.

        Raises NotFoundError.
        """
        with self._secrets.transaction() as database:
            claim = self.claims.remove(database, identifier)
            statement = "DELETE FROM requests WHERE proof = ? AND credential = ? AND certificate IS NULL"
            return claim, database.execute(statement, (CLAIM, claim.id)).rowcount

    def _made(self, asking: Asking, now: float) -> Request | None:
        request = self.find(asking.product, asking.device)
        return None if request is None or request.is_over(now) else request

    def _allow(self, asking: Asking, applicant: Applicant, before: Request | None, now: float) -> _Right:
        """Return what allows a request; raises NotAllowedError where nothing does."""
        key = applicant.key
        is_enrolled = key is not None and key.enrolled is not None
        if applicant.certificate or (applicant.proven and is_enrolled):
            if before is not None and 0 <= now - before.asked < REPLACED_SECONDS:
                raise NotAllowedError("this device asked for another key a moment ago", "ask again in a minute")
            return _Right(CERTIFICATE if applicant.certificate else KEY, applicant.certificate)
        if not applicant.claim:
            raise NotAllowedError("a certificate takes a claim code, an enrolled key, or the certificate before", _HINT)
        claim = self.claims.find(applicant.claim)
        if claim is None:
            raise UnknownClaimError("there is no such claim code", _HINT)
        refusal = claim.refusal(asking.product, asking.device, datetime.fromtimestamp(now, timezone.utc))
        if refusal is None and not claim.device:
            taken = before is not None or is_enrolled or (key is not None and not applicant.proven)
            refusal = _TAKEN.format(asking.device) if taken else None
        if refusal is not None:
            raise NotAllowedError(refusal, _HINT)
        return _Right(CLAIM, claim.id, claim)

    def _make_room(self, database: Transaction, now: float) -> None:
        """Remove what is over where there are too many; raises InputError where that is not enough."""
        ((count,),) = self._secrets.query("SELECT count(*) FROM requests")
        if count < self.limit:
            return
        over = "DELETE FROM requests WHERE coalesce(ends, asked + ?) <= ?"
        if not database.execute(over, (WAITING_SECONDS, now)).rowcount:
            raise NotAllowedError(f"there is no room for more than {count} requests", "sign or revoke those that wait")
