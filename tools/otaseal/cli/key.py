"""`otaseal key`: make a signing key, show what a key is, lock a private key by a passphrase and unlock it."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files
from ..errors import ConfigError
from ..keys import key_uri, passphrase, signers
from ..keys.public import KEY_SIZES, fingerprint, public_pem
from ..pki import key_lock
from ..pki.key_lock import KeyFile
from . import common

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey


def register(subparsers: common.Subparsers) -> None:
    """Declare `key new`, `show`, `lock` and `unlock`."""
    actions = common.group(subparsers, "key", "otaseal key new ~/keys/signing.key")

    parsers = {
        name: common.command(
            actions, name, run, summary=summary, example=f"otaseal key {name} {example}", json_help=json_help
        )
        for name, run, summary, example, json_help in (
            ("new", _new, "make a signing key and its public half", "~/keys/signing.key", "print JSON"),
            ("show", _show, "show a key's size and fingerprint", "~/keys/signing.pub", None),
            ("lock", _lock, "lock private keys by a passphrase", "~/keys/signing.key", "print JSON"),
            ("unlock", _unlock, "take the passphrase off private keys", "~/keys/signing.key", "print JSON"),
        )
    }
    new, show = parsers["new"], parsers["show"]
    new.add_argument(
        "path", type=common.path, help="where the private key goes; the public one lies beside it, ending in .pub"
    )
    new.add_argument("--bits", type=int, default=KEY_SIZES[0], help="2048 (default), 3072 or 4096")
    choice = new.add_mutually_exclusive_group()
    choice.add_argument("--passphrase-file", metavar="FILE", help="encrypt with the first line of FILE")
    choice.add_argument("--no-passphrase", action="store_true", help="do not encrypt: the file's mode protects it")
    show.add_argument(
        "key",
        help="a public key file, or a signing key: a path, file:<path>, env:<variable>, pkcs11:... or command:...",
    )
    for name in ("lock", "unlock"):
        keys = "a signing key's file, or an authority's key.pem"
        parsers[name].add_argument("keys", metavar="KEY", nargs="+", help=keys)
    for name, use in (("show", "unlock"), ("lock", "lock"), ("unlock", "unlock")):
        parsers[name].add_argument("--passphrase-file", metavar="FILE", help=f"{use} with the first line of FILE")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--pem", action="store_true", help="print the public key itself")
    form.add_argument("--json", action="store_true", help="print JSON")


def _new(arguments: argparse.Namespace) -> int:
    path: Path = arguments.path
    if arguments.bits not in KEY_SIZES:
        raise ConfigError(f"--bits {arguments.bits} is not a key size", f"use one of: {', '.join(map(str, KEY_SIZES))}")
    files.refuse_existing(path, signers.KEEP_KEYS_HINT)
    files.refuse_existing(path.with_suffix(".pub"), signers.KEEP_KEYS_HINT)
    secret: bytes | None = None
    if not arguments.no_passphrase:
        file = common.options(passphrase_file=arguments.passphrase_file).passphrase_file
        secret = passphrase.ask_new(f"'{path}'", file, os.environ) or None
    private_key = signers.new_signing_key(arguments.bits)
    public_path = signers.write_key_pair(path, private_key, secret)
    key = private_key.public_key()
    locked = "encrypted" if secret else "NOT encrypted"
    return common.show(
        arguments,
        {"private_key": str(path), "public_key": str(public_path), **_facts(key)},
        f"private key  {path} (mode 0600, {locked}): keep a copy in a safe place, and never in a repository",
        f"public key   {public_path}",
        _description(key),
        f"platformio.ini: custom_otaseal_signing_key = file:{path.absolute()}",
    )


def _show(arguments: argparse.Namespace) -> int:
    key = _load_any(arguments.key, arguments.passphrase_file)
    pem = public_pem(key).decode()
    return common.show(arguments, {**_facts(key), "pem": pem}, pem.rstrip() if arguments.pem else _description(key))


def _lock(arguments: argparse.Namespace) -> int:
    file = common.options(passphrase_file=arguments.passphrase_file).passphrase_file
    names = " and ".join(f"'{path}'" for path in arguments.keys)
    secret = passphrase.ask_new(names, file, os.environ, optional=False)
    # Of one that is locked already the passphrase has to be the same: init and the authorities know one
    key_files = [key_lock.read(path, lambda _: secret, os.environ) for path in arguments.keys]
    return _write_all(arguments, key_files, secret)


def _unlock(arguments: argparse.Namespace) -> int:
    file = common.options(passphrase_file=arguments.passphrase_file).passphrase_file
    known: list[bytes] = []

    def ask(what: str) -> bytes:
        if not known:
            known.append(common.source(file).passphrase(what))
        return known[0]

    return _write_all(arguments, [key_lock.read(path, ask, os.environ) for path in arguments.keys], None)


def _write_all(arguments: argparse.Namespace, key_files: list[KeyFile], secret: bytes | None) -> int:
    """Write those that are not yet locked, or unlocked without a secret: all could be read. Say which they were."""
    changed = [key_file for key_file in key_files if key_file.is_locked is (secret is None)]
    for key_file in changed:
        key_file.write(secret)
    state = "unlocked" if secret is None else "locked"
    rows = [{"key": str(file.path), "state": state if file in changed else "kept"} for file in key_files]
    note = ["copies and backups that were made before are as they were"] if changed else []
    return common.show(arguments, rows, *(f"{row['state']:<10} {row['key']}" for row in rows), *note)


def _load_any(text: str, passphrase_file: str | None) -> RSAPublicKey:
    """Return the public half of a signing key, or a public key; which one it is, the file says."""
    path = common.path(text.removeprefix("file:"))
    if path.is_file() and b"PRIVATE KEY-----" not in files.read_bounded(path, key_uri.MAX_KEY_FILE_SIZE, "key"):
        return common.load_key(path)
    return common.signer(text, passphrase_file).public_key


def _facts(key: RSAPublicKey) -> dict[str, object]:
    return {"type": "RSA", "bits": key.key_size, "fingerprint": fingerprint(key)}


def _description(key: RSAPublicKey) -> str:
    return f"type         RSA-{key.key_size}\nfingerprint  {fingerprint(key)}"
