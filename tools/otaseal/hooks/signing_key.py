"""The signing key in a build: opened at most once in a run, and looked for in all that devices are given.

SCons runs a build's actions in one process, and two hooks want the key: a passphrase or a PIN is asked for once. A
filesystem run has no other use for the key, so there nothing is asked: a check that would have to ask is left out, with
a line that says so. A key in a token is not looked for: nothing on this machine could have written it anywhere.
"""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import ConfigError, KeyRefusedError, OtasealError
from ..settings import Settings
from . import build

if TYPE_CHECKING:
    from ..keys.secret_scan import Secrets
    from ..keys.signers import KeySource, Signer

MAX_ELF_SIZE = 256 * 1024 * 1024
"""Bytes; a sketch with all its debug information has some ten million."""
MAX_DATA_SIZE = 16 * 1024 * 1024
"""Bytes of a filesystem image, or of one file in it: the largest flash of an ESP8266."""

_opened: dict[str, Signer] = {}
_opening = threading.Lock()


def signer(env: build.Env, options: Settings) -> Signer:
    """Return the project's signing key, opened on first use; raises what `signers.open_signer` raises."""
    return _open(options, build.key_source(env, options))


def unprompted_secrets(env: build.Env, options: Settings) -> Secrets:
    """Return what to look for in a filesystem, as far as that is known without asking a person.

    Raises KeyRefusedError for a key that must not be used; a key that cannot be opened here is a warning.
    """
    from ..keys import passphrase, signers
    from ..keys.secret_scan import Secrets

    if options.signing_key is None or signers.in_token(options.signing_key):
        return Secrets()
    source = build.key_source(env, options)
    if options.passphrase_file is None and not os.environ.get(passphrase.VARIABLE):
        source = replace(source, passphrase=_never_ask)
    try:
        return signers.secrets(_open(options, source))
    except KeyRefusedError:
        raise
    except OtasealError as error:
        build.warn(f"the filesystem is not searched for the signing key: {error.message}")
        return Secrets()


def refuse_in_firmware(firmware: Path, content: bytes, secrets: Secrets) -> None:
    """Raise KeyRefusedError if a secret is in `firmware`, whose bytes are `content`, in its original or in its ELF."""
    from ..image import gzip_payload
    from ..keys import secret_scan

    secret_scan.refuse(firmware.name, content, secrets)
    others = [firmware.with_suffix(".elf")]
    if gzip_payload.is_gzip(content):
        others.append(firmware.with_name(firmware.name + ".orig"))
    for path in others:
        if secrets and path.is_file():
            secret_scan.refuse(path.name, files.read_bounded(path, MAX_ELF_SIZE, "build product"), secrets)


def refuse_in_data(data: Path, archive: bytes, image: Path, secrets: Secrets) -> None:
    """Raise KeyRefusedError if a secret is in `archive` or a file below `data`; then an older `image` goes as well.

    The files are searched one by one, because a filesystem may split one between its blocks.
    """
    from ..certs.packing import ARCHIVE_NAME
    from ..keys import secret_scan

    if not secrets:
        return
    try:
        secret_scan.refuse(ARCHIVE_NAME, archive, secrets)
        for directory, _, names in os.walk(data, followlinks=True):
            for path in (Path(directory, name) for name in sorted(names)):
                if path.is_file() and path.stat().st_size <= MAX_DATA_SIZE:
                    secret_scan.refuse(str(path), files.read_bounded(path, MAX_DATA_SIZE, "data file"), secrets)
    except KeyRefusedError:
        files.remove(image)
        raise


def refuse_in_image(image: Path, secrets: Secrets) -> None:
    """Raise KeyRefusedError if a secret is in the filesystem image that was just built, and remove it then."""
    from ..keys import secret_scan

    if not secrets:
        return
    try:
        secret_scan.refuse(image.name, files.read_bounded(image, MAX_DATA_SIZE, "filesystem image"), secrets)
    except KeyRefusedError:
        files.remove(image)
        raise


def _open(options: Settings, source: KeySource) -> Signer:
    from ..keys import key_uri, signers

    assert options.signing_key is not None
    identity = key_uri.identity(options.signing_key, source.project, source.environment)
    with _opening:  # with -j, two actions may want it at the same time
        if identity not in _opened:
            _opened[identity] = signers.open_signer(options.signing_key, source)
        return _opened[identity]


def _never_ask(what: str) -> bytes:
    raise ConfigError(f"{what} is locked, and a filesystem run does not ask for its passphrase", "give it in a file")
