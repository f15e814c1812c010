"""Opens signing keys, and refuses those that must not be used.

A signing key is a URI: `file:` (PEM on disk), `env:` (PEM in an environment variable, for CI), `pkcs11:` (a token) or
`command:` (a program).
Secrets come in through a callback and never leave: nothing here prints, prompts or reads the environment by itself.
It refuses every key that would lock devices out (F2) or that is already given away: readable by others, on its way
onto devices, tracked by git, or known to the public.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from .. import files, git
from ..errors import ConfigError, InputError, KeyRefusedError, OtasealError, SystemFaultError
from . import compromised, key_uri
from .public import KEY_SIZES, OWN_KEY_HINT, check_rsa, public_pem
from .secret_scan import Secrets

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

    PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey

KEEP_KEYS_HINT = "choose another name: devices that trust the existing key could never be updated without it"


@dataclass(frozen=True)
class KeySource:
    """What an opener may use: the project for relative paths, the environment, and a way to ask for a passphrase.

    `passphrase` is called with the name of what is to be unlocked, at most once for a key, and only if it is encrypted.
    `forbidden` are directories whose content gets onto devices: a private key in one of them is refused.
    """

    project: Path
    environment: Mapping[str, str] = field(repr=False)
    passphrase: Callable[[str], bytes] = field(repr=False)
    forbidden: tuple[Path, ...] = ()


class Signer(Protocol):
    """Anything that signs with one RSA key: a file, an environment variable, a token."""

    @property
    def public_key(self) -> RSAPublicKey:
        """The public half of the key."""

    def sign(self, payload: bytes) -> bytes:
        """Return the RSASSA-PKCS1-v1_5 signature with SHA-256 over `payload`, as long as the modulus."""


@dataclass(frozen=True)
class RsaSigner:
    """A private key in memory that signs as the device verifies: RSASSA-PKCS1-v1_5 with SHA-256 (F1, RFC 8017 8.2)."""

    private_key: RSAPrivateKey = field(repr=False)

    @property
    def public_key(self) -> RSAPublicKey:
        """The public half, which firmware carries."""
        return self.private_key.public_key()

    def sign(self, payload: bytes) -> bytes:
        """Return the signature over `payload`, as long as the modulus: 256 to 512 bytes."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        return self.private_key.sign(payload, padding.PKCS1v15(), hashes.SHA256())


def open_signer(uri: str, source: KeySource) -> Signer:
    """Return a signer for the key that `uri` names, such as `file:~/keys/signing.key` or `env:SIGNING_KEY`.

    Raises ConfigError for a URI that names nothing usable, KeyRefusedError for a key that must not be used, InputError
    when it cannot be read or unlocked, SystemFaultError when a token or its package fails.
    """
    scheme, rest = key_uri.split(uri)
    if scheme == "pkcs11":
        from . import pkcs11

        signer: Signer = pkcs11.open_signer(rest, source.project, source.passphrase)
    elif scheme == "command":
        from . import command

        signer = command.open_signer(rest, source.project, source.environment)
    else:
        data = key_uri.read(uri, source.project, source.environment)
        what = f"signing key in environment variable '{rest}'"
        if scheme == "file":
            path = files.resolve_path(rest, source.project)
            what = f"signing key '{path}'"
            refuse_public(data, what, path)
            refuse_exposed(path, source)
        signer = RsaSigner(load_private_key(data, what, source.passphrase))
    compromised.refuse(signer.public_key, f"the signing key '{uri}'")
    return signer


def in_token(uri: str) -> bool:
    """Tell whether the key that `uri` names stays in a token or a service, out of this machine's reach."""
    return key_uri.split(uri)[0] in ("pkcs11", "command")


def secrets(signer: Signer) -> Secrets:
    """Return what the leak check looks for; nothing for a key in a token, for it is not in this machine's memory."""
    return Secrets.of({"signing key": signer.private_key}) if isinstance(signer, RsaSigner) else Secrets()


def refuse_public(data: bytes, what: str, path: Path | None = None) -> None:
    """Raise KeyRefusedError if `data`, read from `path`, is a public key or a certificate in PEM."""
    header = re.match(rb"\s*-----BEGIN (?:RSA )?(PUBLIC KEY|CERTIFICATE)-----", data)
    if header is None:
        return
    siblings = [] if path is None else [path.with_suffix(suffix) for suffix in (".key", ".pem", "")]
    private = next((file for file in siblings if file != path and file.is_file()), None)
    hint = "name the private key that belongs to it" + (f": '{private}'" if private else "")
    raise KeyRefusedError(f"{what} is a {header[1].decode().lower()}", hint)


def refuse_exposed(path: Path, source: KeySource, what: str = "signing key") -> None:
    """Raise KeyRefusedError for a private key's file that is given away: by its mode, its place, or by git."""
    mode = files.open_to_others(path)
    if mode is not None:
        raise KeyRefusedError(f"{what} '{path}' is readable by others (mode {mode})", f"chmod 600 '{path}'")
    resolved = path.resolve()
    for directory in source.forbidden:
        if resolved.is_relative_to(directory.resolve()):
            raise KeyRefusedError(
                f"{what} '{path}' lies in '{directory}', which is copied onto every device",
                "move it out of the project, and make a new key if it was ever uploaded",
            )
    if _is_tracked(resolved, source.environment):
        raise KeyRefusedError(
            f"{what} '{path}' is tracked by git: everybody with the repository has it, now and in its history",
            "make a new key outside the repository, and 'git rm' this one",
        )


def _is_tracked(path: Path, environment: Mapping[str, str]) -> bool:
    """Tell whether git has `path` in the index of the repository around it; raises KeyRefusedError if git cannot."""
    try:
        answer = git.ask(path.parent, environment, "ls-files", "--error-unmatch", "--", f":(literal){path.name}")
    except SystemFaultError as error:
        raise KeyRefusedError(
            f"whether git tracks signing key '{path}' cannot be told: {error.message}",
            f"{error.hint}; or keep the key outside of the repository",
        ) from error
    return answer is not None and answer.yes


def load_private_key(data: bytes, what: str, passphrase: Callable[[str], bytes]) -> RSAPrivateKey:
    """Return the RSA key in `data`, PEM (PKCS#8, encrypted or not, or PKCS#1); `what` names it in messages.

    Raises KeyRefusedError for what is not a private key that a device could verify, InputError for a wrong passphrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    refuse_public(data, what)
    encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY" in data or b"Proc-Type: 4,ENCRYPTED" in data
    secret = passphrase(what) if encrypted else None
    try:
        # The primes are not tested again, which takes longer than all else in signing: every signature is verified
        # with the public half before anybody sees it, and a damaged key fails there.
        key = load_pem_private_key(data.lstrip(), secret, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if encrypted:
            raise InputError(f"{what} cannot be unlocked", "check the passphrase") from error
        raise KeyRefusedError(f"{what} is not a PEM private key", OWN_KEY_HINT) from error
    check_rsa(key.public_key(), what)
    return key  # type: ignore[return-value]  # check_rsa let RSA through only


def new_signing_key(bits: int = KEY_SIZES[0]) -> RSAPrivateKey:
    """Return a new RSA key of one of KEY_SIZES."""
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def private_key_pem(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """Return `key` as PKCS#8 PEM, encrypted under `passphrase` unless that is None."""
    from cryptography.hazmat.primitives import serialization

    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase)
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def write_key_pair(path: Path, key: RSAPrivateKey, passphrase: bytes | None) -> Path:
    """Write the private key to `path` (0600, PKCS#8, encrypted if there is a passphrase) and the public one beside it.

    Returns the public key's path, `path` with the suffix `.pub`. Raises InputError if one exists, and changes nothing.
    """
    public = path.with_suffix(".pub")
    if public == path:
        raise ConfigError(f"'{path}' is the name of a public key file", "name the private key, such as signing.key")
    files.refuse_existing(public, KEEP_KEYS_HINT)
    files.write_new(path, private_key_pem(key, passphrase), files.PRIVATE_MODE)
    try:
        files.write_new(public, public_pem(key.public_key()))
    except OtasealError:
        files.remove(path)  # half a pair would stand in the way of the next attempt
        raise
    return public
