"""Where a user's stores of authorities are, by product, and how one is opened: for the commands and for the build."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from .. import files, names
from ..certs import x509_names
from ..errors import ConfigError, InputError
from ..names import check_name
from .authority import KEY_FILE, MAX_FILE_BYTES
from .certificate import Certificate
from .key_lock import ENCRYPTED
from .store import Slot, Store

NO_STORE_HINT = "otaseal init makes one for a project; --store names one that lies elsewhere"


def config_home(environment: Mapping[str, str]) -> Path:
    """Return the user's directory for configuration; a relative XDG_CONFIG_HOME counts as unset, as its rules say."""
    given = Path(environment.get("XDG_CONFIG_HOME", ""))
    return given if given.is_absolute() else files.resolve_path("~/.config", Path())


def default_directory(config: Path, product: str) -> Path:
    """Return where a product's authorities are by default, given the user's configuration directory."""
    return config / "otaseal" / "pki" / check_name(product, "product", ConfigError)


def available(config: Path) -> dict[str, Path]:
    """Return the stores in the user's configuration directory by product."""
    folder = config / "otaseal" / "pki"
    return {path.parent.parent.name: path.parent.parent for path in sorted(folder.glob("*/*-ca/certificate.pem"))}


def store_path(config: Path, product: str) -> Path:
    """Return where a product's authorities are, or will be; a directory named before names had a rule counts, too."""
    stores = available(config)
    older = (path for name, path in stores.items() if names.normalised(name) == product)
    return stores.get(product) or next(older, default_directory(config, product))


def open_store(directory: Path, *slots: Slot, passphrase: Callable[[str], bytes]) -> Store:
    """Return the store in `directory`; `passphrase` is asked for the one of the authorities in `slots` that are locked.

    It is tried at once: what is made under it next must not be locked by a typing error. Raises InputError where there
    is no whole store, KeyRefusedError for a wrong passphrase, and what `passphrase` raises.
    """
    try:
        product = _organization(Store(directory, "").certificate(Slot.DEVICE))
    except InputError as error:
        raise InputError(f"'{directory}' is not a complete store of authorities", NO_STORE_HINT) from error
    keys = (directory / slot.value / KEY_FILE for slot in slots)
    secrets = (passphrase(f"'{key}'") for key in keys if is_locked(key))
    store = Store(directory, product, next(secrets, None))
    for slot in slots:
        store.authority(slot)
    return store


def is_locked(key: Path) -> bool:
    """Tell whether a passphrase locks the private key in a file; raises InputError and SystemFaultError."""
    return ENCRYPTED in files.read_bounded(key, MAX_FILE_BYTES, "private key")


def _organization(certificate: Certificate) -> str:
    organizations = x509_names.values_of(certificate.subject, x509_names.ORGANIZATION)
    if not organizations:
        raise InputError(f"'{certificate.title}' is not an authority that otaseal made", NO_STORE_HINT)
    return organizations[0]
