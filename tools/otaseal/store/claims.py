"""Claim codes: with one a device may ask for its first certificate. 80 random bits that people can type, shown once.

A code is for a product, until a day, and for one device or for so many; its SHA-256 is kept in the file of `secrets`.
"""

from __future__ import annotations

import secrets as random
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ConfigError, InputError, NotFoundError
from .hashed_secrets import digest, end_of, valid_at

if TYPE_CHECKING:
    from .sql import Tables, Transaction

USUAL_DAYS = 7
MAX_CLAIMS = 1000
MAX_USES = 10_000
"""Devices that one code enrols at most: a stolen one fills no more of the requests."""
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Crockford's base 32: no letter in it is taken for a digit."""
GROUPS, GROUP = 4, 4
_TYPED = str.maketrans("OIL", "011", "- ")

TABLES = {
    "claims": """CREATE TABLE IF NOT EXISTS claims (sha256, id, product, device, expires, uses, used,
    PRIMARY KEY (sha256)) WITHOUT ROWID"""
}


class Claim(NamedTuple):
    """One code: its `device` ("" for any), its end (ISO 8601, UTC), for how many devices it is, and how many it had."""

    id: str
    product: str
    device: str
    expires: str
    uses: int
    used: int = 0

    def refusal(self, product: str, device: str, now: datetime) -> str | None:
        """Return why the code is not good for a device at `now` (aware), None where it is."""
        if product != self.product:
            return f"the claim code {self.id} is for another product"
        if self.device not in ("", device):
            return f"the claim code {self.id} is for another device"
        if not valid_at(self.expires, now):
            return f"the claim code {self.id} has expired: otaseal claim new makes another"
        if self.used >= self.uses:
            return f"the claim code {self.id} is used up: otaseal claim new makes another"
        return None


_COLUMNS = ", ".join(Claim._fields)
_SELECT = f"SELECT {_COLUMNS} FROM claims"  # noqa: S608 - our own names


class Claims:
    """The claim codes of a store; methods raise as `Tables.query` and `Tables.transaction` do."""

    def __init__(self, secrets: Tables) -> None:
        self._secrets = secrets

    def list(self) -> list[Claim]:
        """Return all of them, expired ones and those that are used up too, by product and end."""
        return [Claim(*row) for row in self._secrets.query(f"{_SELECT} ORDER BY product, expires, id")]

    def issue(self, product: str, device: str, days: int, uses: int, now: datetime) -> tuple[Claim, str]:
        """Make a code for a product, and for one device or any `uses` of them (""); return it with what is shown once.

        It is good for `days` from `now` (aware). Raises ConfigError, InputError where there are too many.
        """
        if not 0 < uses <= (1 if device else MAX_USES):
            most = "a code for one device is used once" if device else f"1 to {MAX_USES}"
            raise ConfigError(f"a claim code cannot be used '{uses}' times", most)
        end = end_of("claim code", days, USUAL_DAYS, now)
        claim = Claim(random.token_hex(4), product, device, end, uses)
        code = "-".join("".join(map(random.choice, (ALPHABET,) * GROUP)) for _ in range(GROUPS))
        with self._secrets.transaction() as database:
            ((count,),) = self._secrets.query("SELECT count(*) FROM claims")
            if count >= MAX_CLAIMS:
                raise InputError(f"there are {count} claim codes", "revoke those that nobody uses")
            places = ", ".join("?" * (1 + len(claim)))
            database.execute(f"INSERT INTO claims (sha256, {_COLUMNS}) VALUES ({places})", (_hashed(code), *claim))  # noqa: S608
        return claim, code

    def find(self, code: str) -> Claim | None:
        """Return the claim with this code, as people type it; None where there is none."""
        rows = self._secrets.query(f"{_SELECT} WHERE sha256 = ?", (_hashed(code),))
        return Claim(*rows[0]) if rows else None

    def use(self, database: Transaction, claim: Claim) -> None:
        """Count one more device, in a transaction of the caller."""
        database.execute("UPDATE claims SET used = used + 1 WHERE id = ?", (claim.id,))

    def remove(self, database: Transaction, identifier: str) -> Claim:
        """Remove the claim with this id, in a transaction of the caller, and return it; raises NotFoundError."""
        rows = self._secrets.query(f"{_SELECT} WHERE id = ?", (identifier,))
        if not rows:
            raise NotFoundError(f"there is no claim code '{identifier}'", "otaseal claim list shows their ids")
        database.execute("DELETE FROM claims WHERE id = ?", (identifier,))
        return Claim(*rows[0])


def _hashed(code: str) -> str:
    return digest(code.upper().translate(_TYPED))
