"""Signing keys in tokens: the `pkcs11:` scheme, by RFC 7512 URIs and python-pkcs11. The key never leaves the token.

Hashing and padding happen in there as well (CKM_SHA256_RSA_PKCS, F1). The PIN comes through the same callback as a
passphrase, or from the file that `pin-source` names; never from the URI, which stands in platformio.ini and in logs. It
is tried once, because tokens lock themselves. python-pkcs11 is imported when a token is opened.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_to_bytes

from .. import files
from ..errors import ConfigError, InputError, KeyRefusedError, OtasealError, SystemFaultError
from .passphrase import read_file
from .public import check_rsa

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

EXAMPLE = "pkcs11:token=<label>;object=<label>?module-path=/usr/lib/softhsm/libsofthsm2.so"
TOKEN_ATTRIBUTES = ("token", "serial", "manufacturer", "model")
PATH_ATTRIBUTES = (*TOKEN_ATTRIBUTES, "object", "id", "type")
QUERY_ATTRIBUTES = ("module-path", "pin-source")
MAX_URI_LENGTH = 2048
"""Characters; also what a message may have to quote."""


@dataclass(frozen=True)
class KeyUri:
    """A parsed URI: what the token and the key are called, the module that reaches them, and the PIN's file or None.

    `token` maps attributes of RFC 7512 to what they have to be, as text; `label` and `id` are None where any will do.
    """

    token: Mapping[str, str]
    label: str | None
    id: bytes | None
    module: Path
    pin_file: Path | None

    @property
    def token_name(self) -> str:
        """The token as messages call it."""
        return f"token '{self.token['token']}'" if "token" in self.token else f"token {dict(self.token)}"

    @property
    def key_name(self) -> str:
        """The key as messages call it."""
        return f"signing key '{self.label if self.label is not None else (self.id or b'').hex()}' in {self.token_name}"


@dataclass(frozen=True)
class TokenSigner:
    """A private key in a token that signs as the device verifies; the session ends with this object."""

    public_key: RSAPublicKey
    _key: Any = field(repr=False)
    _name: str = ""

    def sign(self, payload: bytes) -> bytes:
        """Return the RSASSA-PKCS1-v1_5 signature with SHA-256 over `payload`; raises SystemFaultError if it fails."""
        pkcs11 = _import()
        try:
            return bytes(self._key.sign(payload, mechanism=pkcs11.Mechanism.SHA256_RSA_PKCS))
        except pkcs11.PKCS11Error as error:
            raise _translated(error, self._name) from error


def parse(rest: str, project: Path) -> KeyUri:
    """Return what a `pkcs11:` URI says after its scheme (RFC 7512 2.3); relative paths start at `project`.

    Raises ConfigError for anything unknown, doubled or missing, and for a PIN in the URI.
    """
    if len(rest) > MAX_URI_LENGTH:
        raise ConfigError(f"a pkcs11: URI of {len(rest)} characters", f"{MAX_URI_LENGTH} are the most")
    path_text, _, query_text = rest.partition("?")
    if any(part.partition("=")[0].strip() == "pin-value" for part in _parts(query_text, "&;")):
        raise ConfigError(
            "the pkcs11: URI holds a PIN (pin-value)",
            "take it out, and change it; give it at the prompt, in OTASEAL_PASSPHRASE or by pin-source=file:<path>",
        )
    path = _attributes(_parts(path_text, ";"), PATH_ATTRIBUTES)
    query = _attributes(_parts(query_text, "&"), QUERY_ATTRIBUTES)
    if path.get("type", "private") != "private":
        raise ConfigError(
            f"the pkcs11: URI names an object of type '{path['type']}'", "a private key signs: type=private"
        )
    if not any(name in path for name in TOKEN_ATTRIBUTES) or not {"object", "id"} & set(path):
        raise ConfigError("the pkcs11: URI names no token or no key in it", f"write {EXAMPLE}")
    if "module-path" not in query:
        raise ConfigError("the pkcs11: URI names no module", f"write {EXAMPLE}")
    pin_source = unquote(query.get("pin-source", ""))
    if pin_source.startswith("|"):
        raise ConfigError("pin-source names a program to run", "name a file: pin-source=file:<path>")
    pin_path = pin_source.removeprefix("file:").removeprefix("//")
    return KeyUri(
        token={name: unquote(path[name]) for name in TOKEN_ATTRIBUTES if name in path},
        label=unquote(path["object"]) if "object" in path else None,
        id=unquote_to_bytes(path["id"]) if "id" in path else None,
        module=files.resolve_path(unquote(query["module-path"]), project),
        pin_file=files.resolve_path(pin_path, project) if pin_path else None,
    )


def open_signer(rest: str, project: Path, passphrase: Callable[[str], bytes]) -> TokenSigner:
    """Return a signer for the key that a `pkcs11:` URI names; `passphrase` is asked for the PIN, once.

    Raises ConfigError for a URI that names no module, token or key, or more than one, KeyRefusedError for a key that
    devices cannot use, InputError for a wrong PIN, SystemFaultError for a locked one and for what the token fails at.
    """
    uri = parse(rest, project)
    if not uri.module.is_file():
        raise ConfigError(f"PKCS#11 module '{uri.module}' does not exist", "install it, or correct module-path")
    pkcs11 = _import()
    try:
        token = _only(_tokens(uri, pkcs11.lib(str(uri.module))), uri.token_name, "name its serial as well")
        session = token.open(user_pin=_pin(uri, passphrase))
    except pkcs11.UserAlreadyLoggedIn:
        session = token.open()  # a process logs in once, for all of its sessions (PKCS#11 v2.40, C_Login)
    except (pkcs11.PKCS11Error, RuntimeError) as error:
        raise _translated(error, uri.token_name) from error
    template = {pkcs11.Attribute.CLASS: pkcs11.ObjectClass.PRIVATE_KEY}
    template |= {} if uri.label is None else {pkcs11.Attribute.LABEL: uri.label}
    template |= {} if uri.id is None else {pkcs11.Attribute.ID: uri.id}
    try:
        key = _only(session.get_objects(template), uri.key_name, "name its id as well")
        signer = TokenSigner(_public_key(key, uri.key_name, pkcs11), key, uri.key_name)
    except pkcs11.PKCS11Error as error:
        session.close()
        raise _translated(error, uri.key_name) from error
    except OtasealError:
        session.close()
        raise
    weakref.finalize(signer, session.close)
    return signer


def _parts(text: str, separators: str) -> list[str]:
    for separator in separators[1:]:
        text = text.replace(separator, separators[0])
    return [part for part in text.split(separators[0]) if part]


def _attributes(parts: Iterable[str], known: tuple[str, ...]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if name not in known or not equals:
            raise ConfigError(f"the pkcs11: URI says '{name}'", f"what it may say there: {', '.join(known)}")
        if name in attributes or not value:
            raise ConfigError(f"the pkcs11: URI says '{name}' twice or says nothing for it", f"write {EXAMPLE}")
        attributes[name] = value
    return attributes


def _import() -> Any:
    try:
        return import_module("pkcs11")
    except ModuleNotFoundError as error:
        raise SystemFaultError(
            "signing with a token needs the package 'python-pkcs11'",
            f'install it: "{sys.executable}" -m pip install python-pkcs11',
        ) from error


def _pin(uri: KeyUri, passphrase: Callable[[str], bytes]) -> str:
    secret = read_file(uri.pin_file) if uri.pin_file is not None else passphrase(f"{uri.token_name} (its PIN)")
    try:
        return secret.decode()
    except UnicodeDecodeError as error:
        raise InputError(f"the PIN for {uri.token_name} is not UTF-8", "PINs are text (PKCS#11 v2.40)") from error


def _tokens(uri: KeyUri, module: Any) -> Iterable[Any]:
    for token in module.get_tokens():
        about = {
            "token": token.label,
            "serial": token.serial.decode(errors="replace").strip(),
            "manufacturer": token.manufacturer_id,
            "model": token.model,
        }
        if all(str(about[name]).strip() == wanted for name, wanted in uri.token.items()):
            yield token


def _only(candidates: Iterable[Any], name: str, hint: str) -> Any:
    """Return the only candidate; which of several is meant is not guessed."""
    listed = list(candidates)
    if not listed:
        raise ConfigError(f"there is no {name}", "list what there is: pkcs11-tool --module <module-path> -O --login")
    if len(listed) > 1:
        raise ConfigError(f"there are {len(listed)} of {name}", hint)
    return listed[0]


def _public_key(key: Any, name: str, pkcs11: Any) -> RSAPublicKey:
    """Return the public half as the private key object tells it, so that the two cannot be of different pairs."""
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    if key.key_type != pkcs11.KeyType.RSA:
        kind = getattr(key.key_type, "name", key.key_type)
        raise KeyRefusedError(f"{name} is of type {kind}, and devices verify RSA only", "make an RSA-2048 key")
    if not hasattr(key, "sign"):  # python-pkcs11's way to say that CKA_SIGN is false
        raise KeyRefusedError(f"{name} is not allowed to sign", "make a key with the usage 'sign'")
    modulus, exponent = (key[x] for x in (pkcs11.Attribute.MODULUS, pkcs11.Attribute.PUBLIC_EXPONENT))
    try:
        public = RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")).public_key()
    except ValueError as error:
        raise KeyRefusedError(f"{name} has an unusable public key", "make an RSA-2048 key") from error
    return check_rsa(public, name)


_FAULTS: Mapping[str, tuple[type[OtasealError], str, str]] = {
    "PinIncorrect": (InputError, "refuses the PIN", "check it: tokens lock themselves after a few wrong ones"),
    "PinInvalid": (InputError, "refuses the PIN", "check it: tokens lock themselves after a few wrong ones"),
    "PinLenRange": (InputError, "refuses the PIN for its length", "check it"),
    "PinLocked": (SystemFaultError, "has locked its PIN", "unlock it with the security officer's PIN"),
    "PinExpired": (SystemFaultError, "wants another PIN: this one has expired", "set a new one"),
    "UserPinNotInitialized": (SystemFaultError, "has no user PIN yet", "set one with the token's own tool"),
    "AttributeTypeInvalid": (KeyRefusedError, "does not tell its public key", "import the key with its public half"),
    "MechanismInvalid": (KeyRefusedError, "cannot sign with CKM_SHA256_RSA_PKCS", "use a token that can"),
}


def _translated(error: Exception, name: str) -> OtasealError:
    kind = type(error).__name__
    if kind in _FAULTS:
        family, what, hint = _FAULTS[kind]
        return family(f"{name} {what}", hint)
    detail = f": {error}" if str(error) else ""
    return SystemFaultError(f"{name} failed with {kind}{detail}", "check the module, and that the token is there")
