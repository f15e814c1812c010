"""The keys of devices as rows of the tables of secrets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from sys import intern
from typing import TYPE_CHECKING, Any, NamedTuple

from .sql import upsert

if TYPE_CHECKING:
    from .sql import Tables

TABLES = {
    "keys": """CREATE TABLE IF NOT EXISTS keys (product, device, key, agreed, enrolled,
    PRIMARY KEY (product, device)) WITHOUT ROWID""",
    "closed": "CREATE TABLE IF NOT EXISTS closed (since)",
    "waiting_keys": """CREATE TABLE IF NOT EXISTS waiting_keys (product, device, key, shown, address, last,
    PRIMARY KEY (product, device)) WITHOUT ROWID""",
}

Name = tuple[str, str]
"""A product, and one of its devices as `mac:AA:BB:CC:DD:EE:FF`."""


class ProofKey(NamedTuple):
    """The key of one device, and when it was agreed at first contact, or else enrolled (seconds since 1970)."""

    key: bytes
    agreed: float | None = None
    enrolled: float | None = None


class WaitingKey(NamedTuple):
    """A key that a device shows in place of the known one: since when, and last, and from which network."""

    key: bytes
    shown: float
    address: str
    last: float


_OF = "FROM {} WHERE product = ? AND device = ?"
_KEY, _WAITING = ", ".join(ProofKey._fields), ", ".join(WaitingKey._fields)


def read_keys(secrets: Tables) -> dict[Name, ProofKey]:
    """Return all keys; raises as `Tables.query`."""
    rows = secrets.query(f"SELECT product, device, {_KEY} FROM keys ORDER BY product, device")  # noqa: S608
    return {(intern(product), device): ProofKey(*values) for product, device, *values in rows}


def read_waiting(secrets: Tables) -> OrderedDict[Name, WaitingKey]:
    """Return the keys that wait, the longest waiting first; raises as `Tables.query`."""
    rows = secrets.query(f"SELECT product, device, {_WAITING} FROM waiting_keys ORDER BY shown")  # noqa: S608
    return OrderedDict(((product, device), WaitingKey(*values)) for product, device, *values in rows)


def read_one(secrets: Tables, name: Name) -> tuple[ProofKey | None, WaitingKey | None]:
    """Return the key of a device, and the one that waits for it, None where there is none; raises as `Tables.query`."""
    keys = secrets.query(f"SELECT {_KEY} {_OF.format('keys')}", name)
    waiting = secrets.query(f"SELECT {_WAITING} {_OF.format('waiting_keys')}", name)
    return ProofKey(*keys[0]) if keys else None, WaitingKey(*waiting[0]) if waiting else None


def read_closed(secrets: Tables) -> float | None:
    """Return since when keys wait for an operator, None where none does; raises as `Tables.query`."""
    rows = secrets.query("SELECT since FROM closed")
    return rows[0][0] if rows else None


def statements(
    rows: Iterable[tuple[Name, ProofKey | None, WaitingKey | None]],
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """Yield what makes the tables say what `rows` do."""
    for name, *values in rows:
        for table, value in zip(("keys", "waiting_keys"), values, strict=True):
            if value is None:
                yield f"DELETE FROM {table} WHERE product = ? AND device = ?", name  # noqa: S608 - our own names
            else:
                yield upsert(table, ("product", "device"), value._fields), (*name, *value)
