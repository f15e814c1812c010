"""What tokens and claim codes share: secrets of random bits, shown once, of which the SHA-256 is kept, until a day.

Random bits need no salt and no stretching.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from ..errors import ConfigError

MAX_DAYS = 3660


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret in hexadecimal."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def end_of(what: str, days: int, usual: int, now: datetime) -> str:
    """Return when a secret ends that is made at `now` (aware) for `days` (ISO 8601, UTC); raises ConfigError."""
    if not 0 < days <= MAX_DAYS:
        raise ConfigError(f"a {what} cannot last '{days}' days", f"1 to {MAX_DAYS} days; {usual} is usual")
    return (now + timedelta(days=days)).isoformat(timespec="seconds")


def valid_at(expires: str, now: datetime) -> bool:
    """Return whether a secret that ends at `expires` is good at `now` (aware)."""
    return now < datetime.fromisoformat(expires)
