"""Which store of authorities a command means, and the passphrase of its keys, asked only where a key is locked."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from .. import files, names
from ..certs import x509_names
from ..errors import ConfigError, InputError
from ..keys.passphrase import from_settings
from ..pki.authority import KEY_FILE, MAX_FILE_BYTES
from ..pki.store import Slot, Store, default_directory
from . import common

if TYPE_CHECKING:
    from ..pki.certificate import Certificate

MAX_INI_SIZE = 1024 * 1024
ENCRYPTED = b"ENCRYPTED"
NO_STORE_HINT = "otaseal init makes one for a project; --store names one that lies elsewhere"


def add_options(parser: argparse.ArgumentParser, *, passphrase: bool = False) -> None:
    """Declare the options that choose a store, and the one for its passphrase where the command needs a key."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--product", metavar="NAME", help="whose store; needed if there are several")
    which.add_argument("--store", type=common.path, metavar="DIR", help="the directory of a store that lies elsewhere")
    if passphrase:
        parser.add_argument(
            "--passphrase-file", metavar="FILE", help="unlock the authority with the first line of FILE"
        )


def now() -> datetime:
    """Return the time, in UTC."""
    return datetime.now(timezone.utc)


def config_home() -> Path:
    """Return the user's directory for configuration; a relative XDG_CONFIG_HOME counts as unset, as its rules say."""
    given = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    return given if given.is_absolute() else files.resolve_path("~/.config", Path())


def signing_key_path(product: str) -> Path:
    """Return where a product's signing key is by default."""
    return config_home() / "otaseal" / "keys" / product / "signing.key"


def available() -> dict[str, Path]:
    """Return the stores in the user's configuration by product."""
    folder = config_home() / "otaseal" / "pki"
    return {path.parent.parent.name: path.parent.parent for path in sorted(folder.glob("*/*-ca/certificate.pem"))}


def store_path(product: str) -> Path:
    """Return where a product's authorities are, or will be; a directory named before names had a rule counts, too."""
    stores = available()
    older = (path for name, path in stores.items() if names.normalised(name) == product)
    return stores.get(product) or next(older, default_directory(config_home(), product))


def choose(arguments: argparse.Namespace) -> Path:
    """Return the directory of the store that is meant: by option, by the project here, or the only one there is."""
    if arguments.store is not None:
        chosen: Path = arguments.store
        return chosen
    stores = available()
    if arguments.product is not None:
        named = stores.get(arguments.product) or store_path(names.normalised(arguments.product))
        if named not in stores.values():
            known = f"there are: {', '.join(stores)}" if stores else NO_STORE_HINT
            raise InputError(f"there is no store of the product '{arguments.product}'", known)
        return named
    if not stores:
        raise InputError(f"there is no store in '{config_home() / 'otaseal' / 'pki'}'", NO_STORE_HINT)
    here = [product for product in stores if len(stores) > 1 and _is_of_project(product)] or list(stores)
    if len(here) > 1:
        raise ConfigError(f"there are {len(here)} stores: {', '.join(here)}", f"say which: --product {here[0]}")
    return stores[here[0]]


def opened(directory: Path, *slots: Slot, passphrase_file: str | None = None) -> Store:
    """Return the store in `directory`, with the one passphrase of the authorities in `slots`, if they are locked.

    The passphrase is tried at once: what is made under it next must not be locked by a typing error.
    """
    try:
        product = _organization(Store(directory, "").certificate(Slot.DEVICE))
    except InputError as error:
        raise InputError(f"'{directory}' is not a complete store of authorities", NO_STORE_HINT) from error
    secrets = (locked_by(directory / slot.value / KEY_FILE, passphrase_file) for slot in slots)
    store = Store(directory, product, next((secret for secret in secrets if secret is not None), None))
    for slot in slots:
        store.authority(slot)
    return store


def is_locked(key: Path) -> bool:
    """Tell whether a passphrase locks the private key in a file; raises InputError and SystemFaultError."""
    return ENCRYPTED in files.read_bounded(key, MAX_FILE_BYTES, "private key")


def locked_by(key: Path, passphrase_file: str | None) -> bytes | None:
    """Return the passphrase of the file `key`, None if it is not locked; raises what `passphrase` raises."""
    if not is_locked(key):
        return None
    file = common.options(passphrase_file=passphrase_file).passphrase_file
    ask: Callable[[str], bytes] = from_settings(file, Path.cwd(), os.environ)
    return ask(f"'{key}'")


def _is_of_project(product: str) -> bool:
    """Tell whether the project in the current directory names the signing key of `product`."""
    ini = Path("platformio.ini")
    if not ini.is_file():
        return False
    text = files.read_bounded(ini, MAX_INI_SIZE, "project").decode(errors="replace")
    return f"/otaseal/keys/{product}/" in text.replace("\\", "/")


def _organization(certificate: Certificate) -> str:
    organizations = x509_names.values_of(certificate.subject, x509_names.ORGANIZATION)
    if not organizations:
        raise InputError(f"'{certificate.title}' is not an authority that otaseal made", NO_STORE_HINT)
    return organizations[0]
