"""Which public key a build compiles into the firmware: the one that signs, or for a bridge release the one after it.

A stock device holds one key, so a key is replaced by a release that the old one signs and that carries the new one.
Identities are for SCons: they are cheap, never ask for anything, and a file that is missing is the action's to report.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..keys import key_uri
from ..keys.public import load_public_key
from ..settings import Settings
from . import build

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAX_PUBLIC_KEY_SIZE = 64 * 1024


def load(env: build.Env, options: Settings) -> RSAPublicKey:
    """Return the public key for the firmware: the next one where a bridge release is asked for, else the current one.

    Raises what `load_public_key` and `open_signer` raise, and KeyRefusedError for a publicly known one, or a next key
    that is the current one.
    """
    current = load_current(env, options)
    following = load_next(env, options)
    if following is None:
        return current
    from ..image import signing

    signing.check_next_key(following, current)
    return following


def load_current(env: build.Env, options: Settings) -> RSAPublicKey:
    """Return the option's key, else that of the file beside the signing key, else the signing key's own."""
    file = _current_file(env, options)
    if file is not None:
        return _read(file, "public key")
    from . import signing_key

    return signing_key.signer(env, options).public_key


def load_next(env: build.Env, options: Settings) -> RSAPublicKey | None:
    """Return the key that a bridge release carries, None where none is asked for; raises as `load` does."""
    file = _next_file(env, options)
    return None if file is None else _read(file, "next public key")


def identity(env: build.Env, options: Settings) -> str:
    """Return a text that changes whenever the key that `load` returns may be another."""
    file = _current_file(env, options)
    if file is None:
        assert options.signing_key is not None
        current = build.key_identity(env, options.signing_key)
    else:
        current = _digest(file)
    return f"{current} {next_identity(env, options)}"


def next_identity(env: build.Env, options: Settings) -> str:
    """Return a text that changes when the next key does, or whether there is one."""
    file = _next_file(env, options)
    return "no next key" if file is None else _digest(file)


def _current_file(env: build.Env, options: Settings) -> Path | None:
    project = build.path(env, ".")
    if options.public_key is not None:
        return files.resolve_path(options.public_key.removeprefix("file:"), project)
    assert options.signing_key is not None
    return key_uri.public_key_path(options.signing_key, project)


def _next_file(env: build.Env, options: Settings) -> Path | None:
    given = options.next_public_key
    return None if given is None else files.resolve_path(given.removeprefix("file:"), build.path(env, "."))


def _read(file: Path, what: str) -> RSAPublicKey:
    from ..keys import compromised

    name = f"{what} '{file}'"
    key = load_public_key(files.read_bounded(file, MAX_PUBLIC_KEY_SIZE, what), name)
    compromised.refuse(key, name)
    return key


def _digest(file: Path) -> str:
    content = file.read_bytes() if file.is_file() else b""
    return hashlib.sha256(content).hexdigest()
