"""What may become a release: checked by `deploy` before the upload and by the server after it, by the same code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .release import Origin, Release

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

__all__ = ["Policy", "admit", "version_order"]


@dataclass(frozen=True)
class Policy:
    """What a product accepts: its public keys, board names (none: any), bytes a file may have, and where the
    filesystem begins in flash (None: space is not judged)."""

    product: str
    keys: Sequence[RSAPublicKey] = field(repr=False)
    boards: tuple[str, ...] = ()
    max_size: int = 4 * 1024 * 1024
    fs_start: int | None = None
    allow_downgrade: bool = False
    allow_new_layout: bool = False


def admit(files: Sequence[bytes], origin: Origin, policy: Policy, current: Release | None) -> Release:
    """Return the record of the signed `files` (raw, gzip or both) if `policy` takes them after `current`.

    Raises InputError or VerificationError, each naming what to do.
    """
    raise NotImplementedError


def version_order(first: str, second: str) -> int:
    """Return -1, 0 or 1 as `first` is older than, equal to or newer than `second`."""
    raise NotImplementedError
