"""A private key's file locked by a passphrase, or unlocked: the same key, written anew in the same place as a whole.

For signing keys and those of authorities. A file that others can read or that git tracks is refused: a lock would come
too late.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import ConfigError, InputError, KeyRefusedError
from ..keys import signers
from ..keys.key_uri import MAX_KEY_FILE_SIZE
from .authority import load_private_key

if TYPE_CHECKING:
    from .profile import PrivateKey

ENCRYPTED = b"ENCRYPTED"


@dataclass(frozen=True)
class KeyFile:
    """A private key, and whether its file is locked; `read` makes it. `path` is the file itself, not a link to it."""

    path: Path
    is_locked: bool
    _key: PrivateKey = field(repr=False)

    def write(self, passphrase: bytes | None) -> None:
        """Replace the file (0600, PKCS#8, locked unless `passphrase` is None), or raise SystemFaultError."""
        files.write_atomic(self.path, signers.private_key_pem(self._key, passphrase), files.PRIVATE_MODE)


def read(text: str, passphrase: Callable[[str], bytes], environment: Mapping[str, str]) -> KeyFile:
    """Return the key in the file `text`, a path or `file:<path>`; `passphrase` is asked for one that is locked.

    Raises ConfigError for a key that is in no file, InputError where there is none or the passphrase does not fit,
    KeyRefusedError for one that is exposed or another user's.
    """
    if text.startswith(("env:", "pkcs11:", "command:")):
        raise ConfigError(f"'{text}' is in no file", "name the file of a private key")
    path = files.resolve_path(text.removeprefix("file:"), Path())
    data = files.read_bounded(path, MAX_KEY_FILE_SIZE, "private key")
    signers.refuse_public(data, f"'{path}'", path)
    signers.refuse_exposed(path, signers.KeySource(Path(), environment, passphrase), "private key")
    real = path.resolve()
    if hasattr(os, "geteuid") and real.stat().st_uid != os.geteuid():
        raise KeyRefusedError(
            f"private key '{path}' belongs to another user, who could not read it any more", "run this as that user"
        )
    is_locked = ENCRYPTED in data
    secret = passphrase(f"'{path}'") if is_locked else None
    try:
        return KeyFile(real, is_locked, load_private_key(data, secret))
    except KeyRefusedError as error:
        if is_locked:
            raise InputError(f"private key '{path}' cannot be unlocked", "check the passphrase") from error
        raise KeyRefusedError(
            f"'{path}' is not a private key that can be locked", "name a PEM file, RSA or EC"
        ) from error
