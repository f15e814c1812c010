"""Which store of authorities a command means, and the passphrase of its keys, asked only where a key is locked."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from .. import files, names
from ..errors import ConfigError, InputError
from ..keys.passphrase import from_settings
from ..pki import places
from ..pki.places import NO_STORE_HINT
from ..pki.store import Slot, Store
from . import common

MAX_INI_SIZE = 1024 * 1024


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
    """Return the user's directory for configuration."""
    return places.config_home(os.environ)


def signing_key_path(product: str) -> Path:
    """Return where a product's signing key is by default."""
    return config_home() / "otaseal" / "keys" / product / "signing.key"


def available() -> dict[str, Path]:
    """Return the stores in the user's configuration by product."""
    return places.available(config_home())


def store_path(product: str) -> Path:
    """Return where a product's authorities are, or will be."""
    return places.store_path(config_home(), product)


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
    """Return the store in `directory`, with the one passphrase of the authorities in `slots`, if they are locked."""
    return places.open_store(directory, *slots, passphrase=_passphrase(passphrase_file))


def locked_by(key: Path, passphrase_file: str | None) -> bytes | None:
    """Return the passphrase of the file `key`, None if it is not locked; raises what `passphrase` raises."""
    return _passphrase(passphrase_file)(f"'{key}'") if places.is_locked(key) else None


def _passphrase(file: str | None) -> Callable[[str], bytes]:
    def ask(what: str) -> bytes:
        return from_settings(common.options(passphrase_file=file).passphrase_file, Path.cwd(), os.environ)(what)

    return ask


def _is_of_project(product: str) -> bool:
    """Tell whether the project in the current directory names the signing key of `product`."""
    ini = Path("platformio.ini")
    if not ini.is_file():
        return False
    text = files.read_bounded(ini, MAX_INI_SIZE, "project").decode(errors="replace")
    return f"/otaseal/keys/{product}/" in text.replace("\\", "/")
