"""The signing key and the public key that devices get: looked at, never unlocked, never shown."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..chips.families import Family
from ..errors import ConfigError, InputError
from ..keys import compromised, key_uri
from ..keys import signers as signing_keys
from ..keys.public import FIRST_KEY_HINT, load_public_key, short_fingerprint
from ..project import boards
from ..project.project import Project
from .report import CheckResult, Subject, advice, ok, problem, skipped, warning

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

MAX_PUBLIC_KEY_SIZE = 64 * 1024

_UPDATERS: Mapping[Family | None, str] = {
    boards.ESP8266: "Update, ArduinoOTA or ESP8266httpUpdate",
    boards.PICO: "Update, ArduinoOTA or HTTPUpdate",
}
"""What makes the firmware of a family of chips carry the key; on the ESP32 nothing else verifies (F46)."""


class _LockedError(ConfigError):
    """The key wants a passphrase, which nobody is asked for here."""


def signing_key(subject: Subject) -> Iterator[CheckResult]:
    """Judge the key as a build would: where it is, who can read it, whether git has it, how strong it is."""
    for path in _among_the_sources(subject.project):
        yield problem(
            f"'{path}' lies among the sources, and arduino-pico's builder takes it for its own",
            "move a private key out of the project and name it in custom_otaseal_signing_key; remove a public one",
        )
    uri = subject.project.settings.signing_key
    if uri is None:
        raise ConfigError("custom_otaseal_signing_key is not set", f"set it to file:<path>; {FIRST_KEY_HINT}")
    scheme, _ = key_uri.split(uri)
    if signing_keys.in_token(uri):
        where = "in a token, which is not asked without its PIN"
        yield skipped(f"it lies {where if scheme == 'pkcs11' else 'behind a program, which is not run'}")
        return
    project = subject.project
    source = signing_keys.KeySource(project.folder, project.variables, _refuse_to_ask, (project.data,))
    where = "in a file" if scheme == "file" else "in an environment variable"
    try:
        opened = signing_keys.open_signer(uri, source)
    except _LockedError:
        yield ok(f"{where} and locked by a passphrase; private, outside of git and of the data folder")
        return
    key = opened.public_key
    if scheme == "file":
        path = project.path(key_uri.split(uri)[1])
        yield advice(
            f"RSA-{key.key_size} {short_fingerprint(key)} {where}, not locked by a passphrase: a copy of it signs, too",
            f"otaseal key lock {shlex.quote(str(path))}",
        )
    else:
        yield ok(f"RSA-{key.key_size} {short_fingerprint(key)} {where}")


def public_key(subject: Subject) -> Iterator[CheckResult]:
    """Find the public key that belongs into the firmware, and look for it in the firmware that was built."""
    from ..image.signing_header import embedded_key

    key = expected_key(subject.project)
    if key is None:
        unset = subject.project.settings.signing_key is None
        yield skipped(
            "no key is set" if unset else "there is no .pub file beside the signing key, and the key is not opened here"
        )
        return
    shown = f"RSA-{key.key_size} {short_fingerprint(key)}"
    if subject.built is None:
        yield ok(f"{shown}; no firmware is built that could carry it")
        return
    raw, family = subject.built.raw, subject.project.family
    if embedded_key(key) in raw:
        yield ok(f"{shown}, compiled into the firmware")
    elif b"-----BEGIN PUBLIC KEY-----" in raw:
        raise InputError(
            f"the firmware carries another public key than {short_fingerprint(key)}",
            "build again; custom_otaseal_public_key and custom_otaseal_signing_key have to be a pair",
        )
    else:
        yield warning(
            "the firmware carries no public key: a device that runs it takes updates from anybody",
            f"attach pre:.../verify_updates.py, and use {_UPDATERS.get(family, 'the OtaSeal library')} in the sketch",
        )


def expected_key(project: Project) -> RSAPublicKey | None:
    """Return the key that the firmware is to carry, None where only the locked private key knows it.

    Raises KeyRefusedError for one that no device can use or that is publicly known, InputError for a missing file.
    """
    options = project.settings
    given = options.next_public_key or options.public_key
    if given is not None:
        path = project.path(given.removeprefix("file:"))
    elif options.signing_key is None or signing_keys.in_token(options.signing_key):
        return None
    else:
        beside = key_uri.public_key_path(options.signing_key, project.folder)
        if beside is None:
            return None
        path = beside
    name = f"public key '{path}'"
    key = load_public_key(files.read_bounded(path, MAX_PUBLIC_KEY_SIZE, "public key"), name)
    compromised.refuse(key, name)
    return key


def _among_the_sources(project: Project) -> Iterator[Path]:
    """Yield the keys that the builder for a Pico would sign with and compile in by itself (F70)."""
    for name in ("private.key", "public.key"):
        path = project.sources[0] / name
        if project.family is boards.PICO and path.exists():
            yield path


def _refuse_to_ask(what: str) -> bytes:
    raise _LockedError(f"{what} is locked", "it is not opened here")
