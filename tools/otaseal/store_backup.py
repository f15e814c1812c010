"""Backups of a release store: one deterministic tar file out, verified whole before anything is restored from it."""

from __future__ import annotations

from pathlib import Path

from .store import Store

__all__ = ["backup", "restore"]


def backup(store: Store, path: Path) -> None:
    """Write a snapshot of the store, without the devices seen, to the new file `path`: equal stores, equal bytes.

    Raises InputError when `path` exists, CorruptStoreError when the store is not whole, SystemFaultError.
    """
    raise NotImplementedError


def restore(path: Path, directory: Path) -> Store:
    """Make the store of the backup `path` in `directory`, which is missing or empty, and return it.

    Raises InputError for a backup that is damaged, cut short or not one, before `directory` is touched.
    """
    raise NotImplementedError
