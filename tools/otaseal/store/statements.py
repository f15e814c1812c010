"""What devices without proof said that they run, where nothing explains that they run something else now.

One request in a device's name must not make the server forget which keys and counters it has (`release.stranding`). So
what a device said it ran is remembered for a while, unless an update that was delivered explains the change; and what
is said in its name elsewhere is remembered beside it. All of it counts: that makes more careful, never less.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..release.evidence import is_proven
from .device_rows import Device, Sighting
from .row_changes import at_home

if TYPE_CHECKING:
    from .sql import Transaction

REMEMBERED_SECONDS = 30 * 86400.0
MAX_STATEMENTS = 4
"""Of one device beside the one in its row. The device's own find room before those of others."""
REFRESHED_SECONDS = 86400.0
"""How old a statement has to be to be written again."""
TABLES = (
    """CREATE TABLE IF NOT EXISTS statements (product, device, md5, version, channel, address, said_at,
    PRIMARY KEY (product, device, md5)) WITHOUT ROWID""",
    """CREATE TRIGGER IF NOT EXISTS forget_statements AFTER DELETE ON devices BEGIN
    DELETE FROM statements WHERE product = old.product AND device = old.device; END""",
)
STATEMENT_COLUMNS = ("product", "device", "md5", "version", "channel", "address", "said_at")
_OF = "FROM statements WHERE product = ? AND device = ?"
SAID = f"SELECT md5, said_at {_OF}"
_PUT = """INSERT INTO statements (product, device, md5, version, channel, address, said_at) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (product, device, md5) DO UPDATE SET version = excluded.version, channel = excluded.channel,
    address = excluded.address, said_at = excluded.said_at"""
Said = Iterable[tuple[str, float]]
"""What a device said that it runs, by sketch MD5, and when."""


def is_new(said: Said, known: Device, claim: Sighting, now: float) -> bool:
    """Return whether what is said in a device's name elsewhere is to be remembered."""
    if not claim.md5 or claim.md5 == known.md5 or at_home(known, claim, now):
        return False
    lately = {md5: said_at for md5, said_at in said if said_at >= now - REMEMBERED_SECONDS}
    if claim.md5 in lately:
        return bool(now - lately[claim.md5] >= REFRESHED_SECONDS)
    return len(lately) < MAX_STATEMENTS


def remember(database: Transaction, known: Device, claim: Sighting, now: float) -> None:
    """Remember what a device ran, or what is said elsewhere, where `claim` differs from the row before it."""
    if is_proven(known.device, claim.enrolled) or not claim.md5 or claim.md5 == known.md5:
        return
    if not at_home(known, claim, now):
        said = database.execute(SAID, (known.product, known.device)).fetchall()
        if is_new(said, known, claim, now):
            _put(database, claim, now)
        return
    key = known.product, known.device
    database.execute(f"DELETE {_OF} AND md5 = ?", (*key, claim.md5))
    if known.delivered_at is not None and claim.md5 == known.expected_md5:
        database.execute(f"DELETE {_OF} AND address = ?", (*key, claim.address))
    elif known.md5:
        database.execute(f"DELETE {_OF} AND said_at < ?", (*key, now - REMEMBERED_SECONDS))
        (count,) = database.execute(f"SELECT count(*) {_OF}", key).fetchone()
        if count >= MAX_STATEMENTS:
            oldest = f"SELECT md5 {_OF} ORDER BY address = ?, said_at LIMIT 1"
            database.execute(f"DELETE {_OF} AND md5 = ({oldest})", (*key, *key, known.address))
        _put(database, known, known.last_seen)


def _put(database: Transaction, said: Device | Sighting, when: float) -> None:
    values = said.product, said.device, said.md5, said.version, said.channel, said.address, when
    database.execute(_PUT, values)
