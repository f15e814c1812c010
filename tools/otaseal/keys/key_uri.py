"""A signing key's URI, and what a build knows of the key unopened; light, because every build pays for it.

The schemes are `file:` (PEM on disk), `env:` (PEM in an environment variable, for CI), `pkcs11:` (a token, RFC 7512)
and `command:` (a program). How a key is opened, and which are refused, is known in `signers`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from .. import files
from ..errors import ConfigError, InputError
from .public import OWN_KEY_HINT

SCHEMES = ("file", "env", "pkcs11", "command")
MAX_KEY_FILE_SIZE = 64 * 1024


def split(uri: str) -> tuple[str, str]:
    """Return scheme and rest of a signing key's URI; raises ConfigError for what is none."""
    scheme, colon, rest = uri.partition(":")
    if not colon or scheme not in SCHEMES:
        shown = uri if len(uri) < 200 and "\n" not in uri else uri[:20] + "..."
        known = ", ".join(f"{name}:" for name in SCHEMES)
        raise ConfigError(f"signing key '{shown}' has no known scheme", f"write file:<path>; the schemes are {known}")
    if not rest:
        raise ConfigError(f"signing key '{uri}' names nothing", f"say where it is, as in {scheme}:<name>")
    return scheme, rest


def read(uri: str, project: Path, environment: Mapping[str, str]) -> bytes:
    """Return the key's encoding as it is stored, locked or not; of a token or a program nothing: its URI is all.

    A relative path starts at `project`. Raises ConfigError for a variable that is not set, InputError for a file that
    is missing or too large, SystemFaultError when it cannot be read.
    """
    scheme, rest = split(uri)
    if scheme == "file":
        path = files.resolve_path(rest, project)
        if not path.exists():
            raise InputError(f"signing key '{path}' does not exist", OWN_KEY_HINT)
        return files.read_bounded(path, MAX_KEY_FILE_SIZE, "signing key")
    if scheme == "env":
        value = environment.get(rest, "")
        if not value.strip():
            raise ConfigError(f"environment variable '{rest}' holds no signing key", "set it to the key's PEM text")
        # Some CI systems store a secret on one line, with \n in place of the line ends.
        return value.replace("\\n", "\n").encode()
    return b""


def identity(uri: str, project: Path, environment: Mapping[str, str]) -> str:
    """Return a text that changes when the key behind `uri` does, without unlocking it (a build depends on it).

    The digest of a private key's encoding tells nothing about the key. A key that is missing has an identity too, so
    that the step that needs it runs and explains; a URI that is wrong raises ConfigError.
    """
    split(uri)
    try:
        content = read(uri, project, environment)
    except (InputError, ConfigError):
        content = b""
    return hashlib.sha256(b"otaseal key identity\0" + uri.encode() + b"\0" + content).hexdigest()


def public_key_path(uri: str, project: Path) -> Path | None:
    """Return the public key file that `otaseal key new` wrote beside a `file:` key, None if there is none."""
    scheme, rest = split(uri)
    if scheme != "file":
        return None
    path = files.resolve_path(rest, project).with_suffix(".pub")
    return path if path.is_file() else None
